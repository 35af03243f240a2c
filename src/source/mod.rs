//! Reads one database as canonical SQL. Invariant: the evidence comes from the source, never from the dump.

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

/// Parses the module and the options of a `CREATE VIRTUAL TABLE` text, for `fuzz/`.
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
///
/// ```
/// use patina::dump::Header;
/// use patina::engine::spool::Writing;
/// use patina::source::{DumpForm, DumpRequest, Look, Source, SqliteSource};
/// use patina::types::{Compression, JobId};
///
/// # let folder = tempfile::tempdir()?;
/// # let file = folder.path().join("blog.db");
/// # rusqlite::Connection::open(&file)?.execute_batch("CREATE TABLE a(b); INSERT INTO a VALUES (1), (2);")?;
/// let source = SqliteSource::new(file, folder.path().to_owned());
/// let header = Header {
///     agent: "example".to_owned(),
///     database: "blog".parse()?,
///     generated: chrono::DateTime::UNIX_EPOCH,
///     job: JobId::random(),
///     source: "sqlite blog.db".to_owned(),
/// };
/// let request = DumpRequest {
///     header: &header,
///     skip_data: &[],
///     form: DumpForm::Sql,
///     look: Look::Nothing,
///     progress: &Default::default(),
///     stop: &Default::default(),
/// };
/// let mut sink = Writing::create(&folder.path().join("blog.partial"), Compression::None)?;
/// let dumped = source.dump(&request, &mut sink)?;
/// assert_eq!(dumped.evidence.total_rows(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Source: Send + Sync {
    /// Its kind and id, as the manifest records them.
    fn facts(&self) -> SourceFacts;

    /// Approximate size of a dump in bytes; `None` if unknown.
    fn size_hint_bytes(&self) -> Option<u64> {
        None
    }

    /// Upper bound for the size of the database in bytes, including what only its log holds: the restored copy may need as
    /// much. `None` if unknown.
    fn database_bytes(&self) -> Option<u64> {
        self.size_hint_bytes()
    }

    /// True if it can be dumped as an image.
    fn has_image(&self) -> bool {
        false
    }

    /// Writes the whole database into `sink` and returns its evidence. Blocks; `request.stop` ends it early.
    ///
    /// # Errors
    /// If anything could not be read or written. The sink's content is then worthless.
    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError>;
}

/// The parameters of a dump.
pub struct DumpRequest<'a> {
    /// Data for the dump's first lines.
    pub header: &'a Header,
    /// Tables whose rows are left out.
    pub skip_data: &'a [String],
    /// Form of the dump.
    pub form: DumpForm,
    /// Extent of the second, independent reading of the source, for the proof.
    pub look: Look,
    /// Counter of the rows.
    pub progress: &'a Progress,
    /// Cancels the dump.
    pub stop: &'a CancellationToken,
}

/// Form in which a database is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DumpForm {
    /// SQL text that represents everything, or [`SourceError::NotAsSql`].
    WholeSql,
    /// SQL text; what it cannot represent becomes an exception.
    Sql,
    /// The pages of a SQLite file.
    Image,
}

/// Extent of the second reading of a source, in the snapshot that is dumped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// No second reading: nothing is compared with its result.
    Nothing,
    /// Its content.
    Content,
    /// Its content and its integrity.
    ContentAndHealth,
}

/// The result of a dump.
#[derive(Debug)]
pub struct Dumped {
    /// Evidence of the source's content.
    pub evidence: SourceEvidence,
    /// The best class a restore of this dump can reach.
    pub class: EvidenceClass,
    /// The D1 Time Travel bookmark, if there is one.
    pub bookmark: Option<String>,
    /// True if a table's schema could not be read and the table is missing.
    pub incomplete: bool,
    /// Warnings to read before a restore.
    pub warnings: Vec<String>,
    /// Parts that the dump does not contain, as far as the reader of the source knows.
    pub exceptions: Vec<Exception>,
    /// The independent second reading of the source, in the same snapshot. `None` if there was none.
    pub witness: Option<Witness>,
}

/// The reason that a source could not be dumped.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The database does not exist.
    #[error("{what} does not exist\nhint: correct its path in patina.toml, or `patina remove` it")]
    NotFound {
        /// The database.
        what: String,
    },
    /// The file is not a database.
    #[error("{what} is not a SQLite database: {why}\nhint: {hint}")]
    NotADatabase {
        /// The file.
        what: String,
        /// The finding.
        why: String,
        /// Hint how to correct it.
        hint: &'static str,
    },
    /// Another process has locked it.
    #[error(
        "{what} is locked by another process; waited {waited_ms} ms\nhint: find the process with `fuser`, or use \
         journal_mode=WAL, in which readers and writers do not wait for each other"
    )]
    Locked {
        /// The database.
        what: String,
        /// Waiting time in milliseconds.
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
        /// The finding.
        why: String,
    },
    /// SQL text cannot represent everything that it contains.
    #[error(
        "SQL text cannot carry all of {what}: {why}\nhint: set `method = \"image\"` or `\"auto\"` for this database; a copy \
         is then the file's pages"
    )]
    NotAsSql {
        /// The database.
        what: String,
        /// Content that SQL text cannot represent.
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
    /// A log of it may be in a place that cannot be seen.
    #[error("{what} cannot be read safely: {why}\nhint: {hint}")]
    UnknownLog {
        /// The database.
        what: String,
        /// The finding.
        why: String,
        /// Hint what to configure, mount or move.
        hint: String,
    },
    /// It could not be read for another reason.
    #[error("{what} cannot be read: {why}")]
    Unavailable {
        /// The database.
        what: String,
        /// The cause, possibly with a hint.
        why: String,
        /// True if a retry may help.
        retryable: bool,
    },
    /// The dump could not be written.
    #[error("the spool cannot be written: {0}")]
    Sink(#[from] io::Error),
    /// The dump was cancelled.
    #[error("the export was stopped")]
    Stopped,
}

impl SourceError {
    /// Returns the reason that SQL text is not a complete copy, if that is what failed: an image may be complete.
    pub fn not_as_sql(&self) -> Option<String> {
        match self {
            Self::NotAsSql { why, .. } => Some(why.clone()),
            Self::Damaged { why, .. } => Some(format!("SQL cannot read all of it: {why}")),
            _ => None,
        }
    }

    /// True if a retry may succeed.
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
