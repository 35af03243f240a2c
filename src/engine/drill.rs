//! Proves a spooled dump: restores it into a scratch database and compares that with the source's evidence.
//!
//! Invariant: a dump is executed with no right to touch anything but the scratch database.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::spool::{Partial, Ready};
use crate::dump::{Check, ReadError, SplitError, Splitter, decoder};
use crate::progress::Progress;
use crate::source::content_of;
use crate::types::{Hasher, PlainFacts, SourceEvidence, StoredFacts, TableEvidence};

/// Our own statements stay below 90 kB; a schema text may be longer.
const MAX_STATEMENT_BYTES: usize = 64 * 1024 * 1024;

/// A restored database may be this many times its dump, for its indexes.
const MAX_GROWTH: u64 = 16;

/// What a scratch database may take in any case.
const MIN_CAP_BYTES: u64 = 64 * 1024 * 1024;

const PAGE_BYTES: u64 = 4096;

/// How much text is handed from the reading to the executing thread at a time, and how many such blocks wait.
const BLOCK_BYTES: usize = 256 * 1024;
const WAITING_BLOCKS: usize = 4;

/// What a dump is held against, and where.
pub struct Trial<'a> {
    /// What the source held.
    pub evidence: &'a SourceEvidence,
    /// Tables whose rows the dump leaves out.
    pub skip_data: &'a [String],
    /// A path at which nothing exists; the scratch database is made there and removed.
    pub scratch: &'a Path,
    /// Where to count bytes.
    pub progress: &'a Progress,
    /// Asks the drill to end.
    pub stop: &'a CancellationToken,
}

/// Why a dump is not proven.
#[derive(Debug, thiserror::Error)]
pub enum DrillError {
    /// The spool's bytes are not those that were written.
    #[error("the spool changed on disk: {0}\nhint: the disk or its memory may be failing")]
    Spool(String),
    /// The text is not a complete dump.
    #[error(transparent)]
    Incomplete(#[from] ReadError),
    /// The text cannot be split into statements.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// SQLite refused a statement.
    #[error("the dump does not restore: {why}, in the statement at byte {at_bytes}: `{text}`")]
    Refused {
        /// SQLite's message.
        why: String,
        /// Where the statement begins.
        at_bytes: u64,
        /// Its first characters.
        text: String,
    },
    /// The restored database is not consistent.
    #[error("the restored copy is not consistent: {0}")]
    Inconsistent(String),
    /// The restored database differs from the source.
    #[error("the restored copy differs from the source: {0}")]
    Differs(String),
    /// The scratch database cannot be used.
    #[error("the scratch database cannot be used: {0}")]
    Scratch(String),
    /// It was asked to end.
    #[error("the drill was stopped")]
    Stopped,
}

/// Restores the dump of `partial` and compares; only then it becomes [`Ready`].
///
/// # Errors
/// Where the dump is incomplete, does not restore, or differs from the evidence. The spool is then removed.
pub fn prove(partial: Partial, trial: &Trial<'_>) -> Result<Ready, DrillError> {
    let scratch = Scratch::create(trial.scratch)?;
    let found = restore_and_read(&partial, trial, &scratch)?;
    if let Some(difference) = difference(trial.evidence, &found) {
        return Err(DrillError::Differs(difference));
    }
    drop(scratch);
    make_ready(partial)
}

/// Reads the dump of `partial` to its end without restoring it; the copy then counts as checked, not as proven.
///
/// # Errors
/// Where the dump is incomplete or changed. The spool is then removed.
pub fn check_only(partial: Partial, trial: &Trial<'_>) -> Result<Ready, DrillError> {
    let mut text = Text::open(&partial, trial.progress)?;
    io::copy(&mut text, &mut io::sink()).map_err(|error| DrillError::Spool(error.to_string()))?;
    text.finish(&partial)?;
    make_ready(partial)
}

fn make_ready(partial: Partial) -> Result<Ready, DrillError> {
    partial
        .into_ready()
        .map_err(|error| DrillError::Spool(error.to_string()))
}

fn restore_and_read(
    partial: &Partial,
    trial: &Trial<'_>,
    scratch: &Scratch,
) -> Result<SourceEvidence, DrillError> {
    let mut connection = open_scratch(&scratch.path, partial.plain, trial.stop)?;
    let told = |error: rusqlite::Error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => DrillError::Stopped,
        _ => DrillError::Scratch(error.to_string()),
    };
    connection.execute_batch("BEGIN").map_err(told)?;
    execute(&connection, partial, trial)?;
    if connection.is_autocommit() {
        let why = "the dump ends its own transaction".to_owned();
        return Err(DrillError::Inconsistent(why));
    }
    connection.execute_batch("COMMIT").map_err(told)?;
    let verdict: String = connection
        .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
        .map_err(told)?;
    if verdict != "ok" {
        return Err(DrillError::Inconsistent(verdict));
    }
    content_of(&mut connection, trial.skip_data, trial.stop).map_err(told)
}

fn execute(
    connection: &Connection,
    partial: &Partial,
    trial: &Trial<'_>,
) -> Result<(), DrillError> {
    let text = Text::open(partial, trial.progress)?;
    let mut splitter = Splitter::new(text, MAX_STATEMENT_BYTES);
    while let Some((at_bytes, statement)) = splitter.next_statement()? {
        let refused = |why: String| DrillError::Refused {
            why,
            at_bytes,
            text: shortened(statement),
        };
        let sql = std::str::from_utf8(statement)
            .map_err(|error| refused(format!("the text is not UTF-8: {error}")))?;
        connection.execute_batch(sql).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => DrillError::Stopped,
            Some(ErrorCode::DiskFull) => DrillError::Scratch(error.to_string()),
            _ => refused(error.to_string()),
        })?;
        if trial.stop.is_cancelled() {
            return Err(DrillError::Stopped);
        }
    }
    splitter.into_input().finish(partial)
}

/// The statement's first line of SQL, cut.
fn shortened(statement: &[u8]) -> String {
    let text = String::from_utf8_lossy(&statement[..statement.len().min(4096)]);
    let line = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with("--"));
    line.unwrap_or_default().chars().take(80).collect()
}

fn open_scratch(
    path: &Path,
    plain: PlainFacts,
    stop: &CancellationToken,
) -> Result<Connection, DrillError> {
    let cap_bytes = plain.size_bytes.saturating_mul(MAX_GROWTH).max(MIN_CAP_BYTES);
    let pages = cap_bytes / PAGE_BYTES;
    let open = || -> rusqlite::Result<Connection> {
        let connection = Connection::open(path)?;
        connection.execute_batch(&format!(
            "PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
             PRAGMA locking_mode=EXCLUSIVE; PRAGMA cache_size=-16000; PRAGMA foreign_keys=OFF;
             PRAGMA max_page_count={pages};"
        ))?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        connection.authorizer(Some(permit))?;
        let stop = stop.clone();
        connection.progress_handler(100_000, Some(move || stop.is_cancelled()))?;
        Ok(connection)
    };
    open().map_err(|error| DrillError::Scratch(error.to_string()))
}

/// What a dump needs, and nothing else.
fn permit(context: AuthContext<'_>) -> Authorization {
    const PRAGMAS: [&str; 6] = [
        "defer_foreign_keys",
        "user_version",
        "application_id",
        "encoding",
        "data_version",
        "integrity_check",
    ];
    let is_allowed = match context.action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => false,
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name),
        AuthAction::Function { function_name } => {
            !["load_extension", "writefile", "readfile", "edit"].contains(&function_name)
        }
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => false,
        _ => true,
    };
    if is_allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

/// The first difference, as a sentence; `None` where there is none.
fn difference(source: &SourceEvidence, copy: &SourceEvidence) -> Option<String> {
    if source == copy {
        return None;
    }
    let names = |evidence: &SourceEvidence| -> Vec<String> {
        evidence.tables.iter().map(|table| table.name.clone()).collect()
    };
    if names(source) != names(copy) {
        return Some(format!("tables {:?}, restored {:?}", names(source), names(copy)));
    }
    let pairs = source.tables.iter().zip(&copy.tables);
    if let Some(text) = pairs.filter_map(|(a, b)| table_difference(a, b)).next() {
        return Some(text);
    }
    if source.schema != copy.schema {
        return Some("the schema's text or sqlite_sequence".to_owned());
    }
    let pairs = [
        ("user_version", source.user_version, copy.user_version),
        ("application_id", source.application_id, copy.application_id),
    ];
    if let Some((what, a, b)) = pairs.into_iter().find(|(_, a, b)| a != b) {
        return Some(format!("{what} {a}, restored {b}"));
    }
    let (a, b) = (source.foreign_key_violations, copy.foreign_key_violations);
    // Rows that were left out may be parents of rows that were not.
    let is_whole = source.tables.iter().all(|table| table.omitted.is_none());
    (is_whole && a != b).then(|| format!("{a} rows violate a foreign key, restored {b}"))
}

fn table_difference(source: &TableEvidence, copy: &TableEvidence) -> Option<String> {
    let name = &source.name;
    if source.rows != copy.rows {
        let (a, b) = (source.rows, copy.rows);
        return Some(format!("table `{name}` has {a} rows, restored {b}"));
    }
    (source != copy).then(|| format!("table `{name}` has other values"))
}

/// Hashes a spool that an earlier process left.
///
/// # Errors
/// Where the file cannot be read.
pub(super) fn hash_file(path: &Path) -> io::Result<(crate::types::Sha256, u64)> {
    let mut file = File::open(path)?;
    let mut hasher = Hasher::default();
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        let count = file.read(&mut block)?;
        if count == 0 {
            let size_bytes = hasher.seen_bytes();
            return Ok((hasher.finish(), size_bytes));
        }
        hasher.update(&block[..count]);
    }
}

/// The scratch database's files; removed when dropped.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(path: &Path) -> Result<Self, DrillError> {
        File::create_new(path)
            .map_err(|error| DrillError::Scratch(format!("`{}`: {error}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Best effort: what stays is removed at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

/// The plain text of a spool, read, hashed and decompressed on a thread of its own.
struct Text {
    blocks: Option<Receiver<Vec<u8>>>,
    block: Vec<u8>,
    taken: usize,
    thread: Option<JoinHandle<Result<Read_, DrillError>>>,
}

/// What the reading thread found.
struct Read_ {
    check: Check,
    stored: StoredFacts,
}

impl Text {
    fn open(partial: &Partial, progress: &Progress) -> Result<Self, DrillError> {
        let file = File::open(partial.path()).map_err(|e| DrillError::Spool(e.to_string()))?;
        let _ = progress;
        let stored = partial.stored;
        let (sender, blocks) = sync_channel(WAITING_BLOCKS);
        let thread = std::thread::Builder::new()
            .name("drill-read".to_owned())
            .spawn(move || read_all(file, stored, &sender))
            .map_err(|error| DrillError::Scratch(error.to_string()))?;
        Ok(Self {
            blocks: Some(blocks),
            block: Vec::new(),
            taken: 0,
            thread: Some(thread),
        })
    }

    /// Proves that the text was complete and the file's bytes are those that were written.
    fn finish(mut self, partial: &Partial) -> Result<(), DrillError> {
        self.blocks = None;
        let thread = self.thread.take();
        let outcome = thread.and_then(|thread| thread.join().ok());
        let read = outcome
            .unwrap_or_else(|| Err(DrillError::Scratch("the reading thread panicked".to_owned())))?;
        if read.stored != partial.stored {
            let (found, written) = (read.stored.sha256, partial.stored.sha256);
            return Err(DrillError::Spool(format!("wrote {written}, read {found}")));
        }
        let summary = read.check.finish()?;
        if summary.sha256 != partial.plain.sha256 {
            let (found, written) = (summary.sha256, partial.plain.sha256);
            return Err(DrillError::Spool(format!("wrote {written}, read {found}")));
        }
        Ok(())
    }
}

impl Read for Text {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.block.len() {
            let next = self.blocks.as_ref().and_then(|blocks| blocks.recv().ok());
            let Some(block) = next else {
                // The thread's own error is told by `finish`, which every path calls or which is not reached.
                return match self.thread.take().map(JoinHandle::join) {
                    Some(Ok(Err(error))) => Err(io::Error::other(error.to_string())),
                    Some(Ok(Ok(read))) => {
                        self.thread = std::thread::Builder::new().spawn(move || Ok(read)).ok();
                        Ok(0)
                    }
                    _ => Err(io::Error::other("the reading thread panicked")),
                };
            };
            self.block = block;
            self.taken = 0;
        }
        let count = out.len().min(self.block.len() - self.taken);
        out[..count].copy_from_slice(&self.block[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

fn read_all(
    file: File,
    stored: StoredFacts,
    blocks: &SyncSender<Vec<u8>>,
) -> Result<Read_, DrillError> {
    todo!()
}
