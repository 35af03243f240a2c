//! Says why a restore, a query or a comparison did not come to its end. Nothing of a target is then changed.

use std::io;
use std::path::Path;

use super::proof::Proof;
use crate::copy::ReadingError;
use crate::engine::drill::DrillError;
use crate::quote;
use crate::source::d1::ApiError;
use crate::source::{SourceError, sqlite_message};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// No storage gave the copy's right bytes.
    #[error("{}", all(.0))]
    Unreadable(Vec<ReadingError>),
    /// A file's text is not what it should be.
    #[error("`{}` {why}", quote::line(path))]
    File {
        /// The file.
        path: String,
        /// What is wrong, perhaps with a hint.
        why: String,
    },
    /// The text does not become a database.
    #[error(transparent)]
    Dump(DrillError),
    /// The restored database is not what the manifest says.
    #[error("the restored database differs from what was backed up: {}", .0.first_difference())]
    Differs(Box<Proof>),
    /// A table was asked for that the copy does not have.
    #[error("the copy has no table `{}`\nhint: {hint}", quote::name(name))]
    NoTable {
        /// What was asked for.
        name: String,
        /// The nearest, or all.
        hint: String,
    },
    /// The target is there, and nobody said that it may be replaced.
    #[error(
        "{what} is there already\nhint: `--replace` puts the copy in its place, after a safety copy"
    )]
    Exists {
        /// The target.
        what: String,
    },
    /// Somebody works with the target.
    #[error(
        "{what} is in use: {by}\nhint: stop what uses it, then restore again; nothing was changed"
    )]
    InUse {
        /// The target.
        what: String,
        /// Who or what holds it.
        by: String,
    },
    /// The target cannot be made or changed.
    #[error("{what} cannot be written: {why}")]
    Target {
        /// The target.
        what: String,
        /// The cause, perhaps with a hint.
        why: String,
    },
    /// D1 cannot hold what the copy holds.
    #[error("D1 cannot take this copy: {0}\nhint: restore it into a file: `--to FILE`")]
    NotForD1(String),
    /// Cloudflare did not do what it was asked.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The target could not be read: for its safety copy, or to prove what was restored.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Single tables were asked for, and SQLite cannot take them out of an image.
    #[error(
        "single tables cannot be taken out of this image: {0}\nhint: restore all of it and take them out with the program \
         that the database belongs to"
    )]
    Image(String),
    /// The statement of a query is refused.
    #[error("the query is refused: {0}")]
    Query(String),
    /// The answer to a query cannot be shown.
    #[error(transparent)]
    Shown(io::Error),
    /// It was asked to end.
    #[error("stopped; nothing was changed")]
    Stopped,
}

impl From<DrillError> for RestoreError {
    fn from(error: DrillError) -> Self {
        match error {
            DrillError::Stopped => Self::Stopped,
            DrillError::Scratch(why) => Self::Target {
                what: "the private database beside the target".to_owned(),
                why: format!("{why}\nhint: nothing was changed; look for free space"),
            },
            other => Self::Dump(other),
        }
    }
}

impl RestoreError {
    /// Whether the copy itself is at fault, so that an older one may do.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Unreadable(troubles) => troubles.iter().any(|trouble| {
                matches!(trouble, ReadingError::Damaged(_) | ReadingError::Missing(_))
            }),
            Self::Dump(_) | Self::Differs(_) | Self::File { .. } => true,
            _ => false,
        }
    }

    /// The target `path` cannot be written.
    pub(super) fn target(path: &Path, cause: &io::Error) -> Self {
        let hint = match cause.kind() {
            io::ErrorKind::PermissionDenied => "\nhint: let Patina's user write the folder",
            io::ErrorKind::StorageFull | io::ErrorKind::FileTooLarge => {
                "\nhint: nothing was changed; look for free space"
            }
            io::ErrorKind::NotFound => "\nhint: make the folder first",
            _ => "",
        };
        Self::Target {
            what: shown(path),
            why: format!("{cause}{hint}"),
        }
    }

    /// SQLite's error about the target `path`.
    pub(super) fn sqlite(path: &Path, cause: &rusqlite::Error) -> Self {
        match cause.sqlite_error_code() {
            Some(rusqlite::ErrorCode::OperationInterrupted) => Self::Stopped,
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                Self::InUse {
                    what: shown(path),
                    by: "another connection has a lock on it".to_owned(),
                }
            }
            Some(rusqlite::ErrorCode::DiskFull | rusqlite::ErrorCode::SystemIoFailure) => {
                Self::Target {
                    what: shown(path),
                    why: format!(
                        "{}\nhint: nothing was changed; look for free space",
                        sqlite_message(cause)
                    ),
                }
            }
            _ => Self::Target {
                what: shown(path),
                why: sqlite_message(cause),
            },
        }
    }
}

/// A path for a message.
pub(super) fn shown(path: &Path) -> String {
    format!("`{}`", quote::line(&path.to_string_lossy()))
}

fn all(troubles: &[ReadingError]) -> String {
    let texts: Vec<String> = troubles.iter().map(ToString::to_string).collect();
    texts.join("\nerror: ")
}
