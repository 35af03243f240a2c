//! Writes the archive of a week and reads it back: one gzipped tar of plain dumps that `tar` and `sha256sum` read as
//! well. Invariant: the same members give the same bytes, and no byte of a member is handed on unless all of it is
//! right at the end.
//!
//! In this order: `MANIFEST.json`, what the archive holds; `SHA256SUMS`, for `sha256sum -c`; `RUNBOOK.md`, what to do with
//! it on the worst day; then each member as plain SQL under the key it had, databases together.

mod read;
mod write;

pub use read::{read, read_member};
pub use write::{Contents, Writer};

use std::io;

use crate::types::{PlainFacts, Sha256, counted};

/// The entry that says what the archive holds.
pub const MANIFEST_NAME: &str = "MANIFEST.json";

/// The entry that `sha256sum -c` reads.
pub const SUMS_NAME: &str = "SHA256SUMS";

/// The entry that a person reads.
pub const RUNBOOK_NAME: &str = "RUNBOOK.md";

/// Why an archive cannot be written or is not right.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A member's text is not what its manifest says.
    #[error("`{path}` has {found}, its manifest says {expected}")]
    Differs {
        /// The member.
        path: String,
        /// What its text was.
        found: Facts,
        /// What it should be.
        expected: Facts,
    },
    /// An entry is not the one that belongs there.
    #[error("entry {number} is {found}, and should be {expected}")]
    Entry {
        /// Its place, from 1.
        number: usize,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// A member's text could not be read while the archive was written.
    #[error("`{path}` could not be read: {cause}")]
    Source {
        /// The member.
        path: String,
        /// Why.
        cause: io::Error,
    },
    /// The archive could not be written or is no tar.gz to its end.
    #[error("{0}")]
    Io(io::Error),
    /// Whoever was to take the text did not.
    #[error(transparent)]
    Sink(io::Error),
}

/// Length and hash of a text, as errors tell them.
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
