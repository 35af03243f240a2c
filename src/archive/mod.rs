//! Writes and reads weekly archives: one gzipped tar of plain dumps, which `tar` and `sha256sum` can read, too.
//! Invariant: the same members give the same bytes, and the last block of a member is passed on only after all of its
//! bytes proved correct.
//!
//! Order of the entries: `MANIFEST.json`, the contents; `SHA256SUMS`, for `sha256sum -c`; `RUNBOOK.md`, instructions
//! for disaster recovery; then each member as plain SQL under its original key, grouped by database.

mod read;
mod write;

pub use read::{read, read_member};
pub use write::{Contents, Writer};

use std::io;

use crate::types::{PlainFacts, Sha256, counted};

/// Entry that lists the contents of the archive.
pub const MANIFEST_NAME: &str = "MANIFEST.json";

/// Entry for `sha256sum -c`.
pub const SUMS_NAME: &str = "SHA256SUMS";

/// Entry for people.
pub const RUNBOOK_NAME: &str = "RUNBOOK.md";

/// Reason that an archive cannot be written or is damaged.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A member's text differs from its manifest.
    #[error("`{path}` has {found}, its manifest says {expected}")]
    Differs {
        /// The member.
        path: String,
        /// Facts of its text.
        found: Facts,
        /// Facts in its manifest.
        expected: Facts,
    },
    /// An entry is not the expected one.
    #[error("entry {number} is {found}, and should be {expected}")]
    Entry {
        /// Position, from 1.
        number: usize,
        /// The entry found.
        found: String,
        /// The entry expected.
        expected: String,
    },
    /// A member's text could not be read while the archive was being written.
    #[error("`{path}` could not be read: {cause}")]
    Source {
        /// The member.
        path: String,
        /// The error.
        cause: io::Error,
    },
    /// The archive could not be written, or is not a complete tar.gz.
    #[error("{0}")]
    Io(io::Error),
    /// The receiver of the text failed.
    #[error(transparent)]
    Sink(io::Error),
}

/// Length and hash of a text, formatted for errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts(pub PlainFacts);

impl Facts {
    fn of(size_bytes: u64, sha256: Sha256) -> Self {
        Self(PlainFacts { sha256, size_bytes })
    }
}

impl std::fmt::Display for Facts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let PlainFacts { sha256, size_bytes } = self.0;
        write!(f, "{} with SHA-256 {sha256}", counted(size_bytes, "byte"))
    }
}
