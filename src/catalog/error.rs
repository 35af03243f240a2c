//! Errors of the catalog, each with a way out. Invariant: every error names the file or the row.

use std::io;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;

use crate::types::{DatabaseName, JobId, ObjectKey};

/// Error of a catalog call; nothing of the call took effect.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A later version of Patina changed the schema.
    #[error(
        "the catalog `{}` was written by a newer Patina (schema {found}; this one knows {known})\n\
         hint: run that Patina, or move the file away and let `patina rebuild` make one from the stores",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Schema version of the file.
        found: u32,
        /// Latest schema version this program knows.
        known: u32,
    },
    /// An earlier version of Patina wrote the file, and it was opened for reading only.
    #[error(
        "the catalog `{}` was written by an older Patina (schema {found}; this one needs {known})\n\
         hint: the next `patina backup` or the daemon's start brings it up to date",
        path.display()
    )]
    Older {
        /// The file.
        path: PathBuf,
        /// Schema version of the file.
        found: u32,
        /// Schema version this program needs.
        known: u32,
    },
    /// The file is not a SQLite database.
    #[error(
        "the catalog `{}` is not a SQLite database\n\
         hint: no backup is lost; the daemon's next start, `patina backup` and `patina rebuild` keep the file under another \
         name and rebuild the catalog from the storages",
        path.display()
    )]
    NotADatabase {
        /// The file.
        path: PathBuf,
    },
    /// The file is a SQLite database of another program.
    #[error(
        "`{}` is a SQLite database, but not a catalog of Patina; it was left as it is\n\
         hint: give the catalog a path of its own",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is internally inconsistent.
    #[error(
        "the catalog `{}` is damaged: {cause}\n\
         hint: no backup is lost; the daemon's next start, `patina backup` and `patina rebuild` keep the file under another \
         name and rebuild the catalog from the storages",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Damage that was found.
        cause: String,
    },
    /// Another process has been writing for longer than [`BUSY_TIMEOUT`](super::BUSY_TIMEOUT).
    #[error(
        "the catalog `{}` is in use by another process\n\
         hint: try again, or look for a second patina or a tool that has the file open",
        path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error(
        "no space left to write the catalog `{}`\nhint: free space; what is in it is safe",
        path.display()
    )]
    NoSpace {
        /// The file.
        path: PathBuf,
    },
    /// The system refuses to open or write the file.
    #[error(
        "cannot open or write the catalog `{}`: {cause}\n\
         hint: the user who runs patina must own the file and its folder",
        path.display()
    )]
    Denied {
        /// The file.
        path: PathBuf,
        /// Message of the system.
        cause: String,
    },
    /// Any other error of SQLite.
    #[error("the catalog `{}` failed: {cause}", path.display())]
    Failed {
        /// The file.
        path: PathBuf,
        /// Message of SQLite.
        cause: String,
    },
    /// The job to be ended is not running: another process took it for dead.
    #[error("job `{job}` is not running any more")]
    NotRunning {
        /// The job.
        job: JobId,
    },
    /// The dump to be settled or discarded is not waiting.
    #[error("job `{job}` has no dump of database `{database}` waiting")]
    NotSpooled {
        /// The job.
        job: JobId,
        /// The database.
        database: DatabaseName,
    },
    /// The backup to be committed is in no storage.
    #[error("`{key}` lies in no storage, so it does not count")]
    Unstored {
        /// The object.
        key: ObjectKey,
    },
    /// One key has two different contents.
    #[error(
        "`{key}` in storage `{storage}` is already known with other bytes\n\
         hint: keys are never written twice; look who else writes to this storage"
    )]
    Conflict {
        /// The object.
        key: ObjectKey,
        /// The storage.
        storage: String,
    },
    /// The copy is unknown.
    #[error("the catalog knows no copy `{key}` in storage `{storage}`")]
    NoSuchCopy {
        /// The object.
        key: ObjectKey,
        /// The storage.
        storage: String,
    },
}

impl CatalogError {
    /// True if the same call may succeed later without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy { .. })
    }

    /// True if the cause may be that the file or its folder is not writable.
    pub fn may_be_unwritable(&self) -> bool {
        matches!(
            self,
            Self::Denied { .. } | Self::NoSpace { .. } | Self::Failed { .. } | Self::Older { .. }
        )
    }

    pub(super) fn denied(path: &Path, cause: &io::Error) -> Self {
        Self::Denied {
            path: path.to_owned(),
            cause: cause.to_string(),
        }
    }

    pub(super) fn from_sqlite(path: &Path, error: &rusqlite::Error) -> Self {
        let (path, cause) = (path.to_owned(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase) => Self::NotADatabase { path },
            Some(ErrorCode::DatabaseCorrupt) => Self::Damaged { path, cause },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Busy { path },
            Some(ErrorCode::DiskFull) => Self::NoSpace { path },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Denied { path, cause }
            }
            Some(_) => Self::Failed { path, cause },
            None => match error {
                rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..) => Self::Damaged { path, cause },
                _ => Self::Failed { path, cause },
            },
        }
    }
}

/// Reason that a transaction stopped, before the file's name is added.
pub(super) enum Stop {
    Sqlite(rusqlite::Error),
    Refused(CatalogError),
}

impl Stop {
    pub(super) fn in_file(self, path: &Path) -> CatalogError {
        match self {
            Self::Sqlite(error) => CatalogError::from_sqlite(path, &error),
            Self::Refused(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<CatalogError> for Stop {
    fn from(error: CatalogError) -> Self {
        Self::Refused(error)
    }
}
