//! Reads one database out as canonical SQL. Invariant: the evidence comes from the source, never from the dump.

pub mod d1;
mod describe;
mod sqlite;
mod virtual_table;
mod witness;

use std::io;

use tokio_util::sync::CancellationToken;

use crate::dump::{Header, Sink};
use crate::progress::Progress;
use crate::types::{EvidenceClass, Exception, SourceEvidence, SourceFacts};

pub use sqlite::{
    Cap, Claim, SqliteSource, content_by, content_of, lift_limits, open_scratch, sqlite_message,
};
pub use witness::{Testimony, Witness};

/// Reads the module and the options of a `CREATE VIRTUAL TABLE` text, for `fuzz/`.
#[cfg(fuzzing)]
pub fn fuzz_module(sql: &str) {
    if let Some(module) = virtual_table::Module::of(sql) {
        let _ = (module.is_full_text(), module.full_text());
    }
    let _ = virtual_table::counts_up(sql);
}

#[cfg(fuzzing)]
pub use d1::fuzz_cell;

/// A database that can be dumped.
pub trait Source: Send + Sync {
    /// Its kind and id, as the manifest records them.
    fn facts(&self) -> SourceFacts;

    /// About how many bytes a dump will have; `None` where nobody knows before.
    fn size_hint_bytes(&self) -> Option<u64> {
        None
    }

    /// How large the database is at most, with what only its log holds: its copy may need as much when it is restored.
    /// `None`: it does not say.
    fn database_bytes(&self) -> Option<u64> {
        self.size_hint_bytes()
    }

    /// Whether it can be dumped as an image.
    fn has_image(&self) -> bool {
        false
    }

    /// Writes the whole database into `sink` and says what it held. Blocks; `request.stop` ends it early.
    ///
    /// # Errors
    /// Where anything could not be read or written. What the sink got until then is worthless.
    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError>;
}

/// How to dump.
pub struct DumpRequest<'a> {
    /// What the dump's first lines say.
    pub header: &'a Header,
    /// Tables whose rows are left out.
    pub skip_data: &'a [String],
    /// In which form.
    pub form: DumpForm,
    /// How far to look at the source a second time, for the drill.
    pub look: Look,
    /// Where to count rows.
    pub progress: &'a Progress,
    /// Asks the dump to end.
    pub stop: &'a CancellationToken,
}

/// In which form a database is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpForm {
    /// SQL text that carries everything, or [`SourceError::NotAsSql`].
    WholeSql,
    /// SQL text; what it cannot carry becomes an exception.
    Sql,
    /// The pages of a SQLite file.
    Image,
}

/// How far a source is looked at a second time, in the snapshot that is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Not at all: nothing is held against what would be found.
    Nothing,
    /// What it holds.
    Content,
    /// What it holds, and whether it is whole.
    ContentAndHealth,
}

/// What a dump was made of.
#[derive(Debug)]
pub struct Dumped {
    /// What the source held.
    pub evidence: SourceEvidence,
    /// The best class a restore of this dump can reach.
    pub class: EvidenceClass,
    /// The D1 Time Travel bookmark, where there is one.
    pub bookmark: Option<String>,
    /// True where a table's schema could not be read and the table is missing.
    pub incomplete: bool,
    /// What a person should know before restoring.
    pub warnings: Vec<String>,
    /// What the dump does not carry, as far as whoever read the source knows.
    pub exceptions: Vec<Exception>,
    /// What an independent look at the source finds, in the same snapshot. `None`: nobody looked.
    pub witness: Option<Witness>,
}

/// Why a source could not be dumped.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// There is no such database.
    #[error("{what} does not exist\nhint: correct its path in patina.toml, or `patina remove` it")]
    NotFound {
        /// The database.
        what: String,
    },
    /// What is there is not a database.
    #[error("{what} is not a SQLite database: {why}\nhint: {hint}")]
    NotADatabase {
        /// The file.
        what: String,
        /// What was found.
        why: String,
        /// The way out.
        hint: &'static str,
    },
    /// Another process holds it.
    #[error(
        "{what} is locked by another process; waited {waited_ms} ms\nhint: find the process with `fuser`, or use \
         journal_mode=WAL, in which readers and writers do not wait for each other"
    )]
    Locked {
        /// The database.
        what: String,
        /// How long was waited.
        waited_ms: u64,
    },
    /// Its content contradicts itself.
    #[error(
        "{what} is damaged: {why}\nhint: `sqlite3 FILE 'PRAGMA integrity_check'` says where; `.recover` saves what can \
         be read; earlier copies are kept"
    )]
    Damaged {
        /// The database.
        what: String,
        /// What was found.
        why: String,
    },
    /// SQL text cannot carry everything that it holds.
    #[error(
        "SQL text cannot carry all of {what}: {why}\nhint: set `method = \"image\"` or `\"auto\"` for this database; a copy \
         is then the file's pages"
    )]
    NotAsSql {
        /// The database.
        what: String,
        /// What SQL text cannot carry.
        why: String,
    },
    /// It changed in a way that a read transaction does not cover.
    #[error("{what} {how} while it was read; nothing of it is kept")]
    Changed {
        /// The database.
        what: String,
        /// `was replaced`, `was deleted`.
        how: &'static str,
    },
    /// A log of it may lie where it cannot be seen.
    #[error("{what} cannot be read safely: {why}\nhint: {hint}")]
    UnknownLog {
        /// The database.
        what: String,
        /// What was found.
        why: String,
        /// What to configure, mount or move.
        hint: String,
    },
    /// It could not be read for another reason.
    #[error("{what} cannot be read: {why}")]
    Unavailable {
        /// The database.
        what: String,
        /// The cause, perhaps with a hint.
        why: String,
        /// Whether a second try may help.
        retryable: bool,
    },
    /// The dump could not be written.
    #[error("the spool cannot be written: {0}")]
    Sink(#[from] io::Error),
    /// It was asked to end.
    #[error("the export was stopped")]
    Stopped,
}

impl SourceError {
    /// What keeps SQL text from being a whole copy, where that is what failed: an image may carry it.
    pub fn not_as_sql(&self) -> Option<String> {
        match self {
            Self::NotAsSql { why, .. } => Some(why.clone()),
            Self::Damaged { why, .. } => Some(format!("SQL cannot read all of it: {why}")),
            _ => None,
        }
    }

    /// Whether a second try may succeed.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Locked { .. } | Self::Changed { .. } => true,
            Self::Unavailable { retryable, .. } => *retryable,
            Self::NotFound { .. }
            | Self::NotADatabase { .. }
            | Self::Damaged { .. }
            | Self::NotAsSql { .. }
            | Self::UnknownLog { .. }
            | Self::Sink(_)
            | Self::Stopped => false,
        }
    }
}
