//! Proves a spooled dump: restores it into a scratch database and compares that with the source's evidence.
//!
//! Invariant: a dump is executed with no right to touch anything but the scratch database.

mod difference;
mod image;
mod load;
mod object;
mod statements;
mod verdict;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio_util::sync::CancellationToken;

use self::difference::{difference, violations_differ};
pub(in crate::engine) use self::image::{load_image, open_image};
pub(in crate::engine) use self::load::{Place, Step};
pub(in crate::engine) use self::statements::Statements;
pub use self::verdict::Verdict;
use super::spool::{Partial, Ready, create_private};
use crate::dump::{ReadError, SplitError};
use crate::progress::Progress;
use crate::quote::line;
use crate::source::{DumpForm, SourceError, Witness, content_of, sqlite_message};
use crate::types::{EvidenceClass, Exception, PlainFacts, SourceEvidence, StoredFacts};

/// SQLite instructions between two looks at the request to stop.
const INSTRUCTIONS_PER_CHECK: i32 = 100_000;

/// The page cache of each connection that reads the scratch database beside the comparison, in KiB.
const READER_CACHE_KB: u32 = 4_000;

/// A dump's file and what its bytes must be.
#[derive(Debug, Clone, Copy)]
pub struct DumpFile<'a> {
    /// Where it lies.
    pub path: &'a Path,
    /// The SQL text.
    pub plain: PlainFacts,
    /// The file's bytes.
    pub stored: StoredFacts,
}

impl<'a> From<&'a Partial> for DumpFile<'a> {
    fn from(partial: &'a Partial) -> Self {
        Self {
            path: partial.path(),
            plain: partial.plain,
            stored: partial.stored,
        }
    }
}

/// What a dump is held against, and where.
pub struct Trial<'a> {
    /// What the source held.
    pub evidence: &'a SourceEvidence,
    /// How well that evidence fits one moment.
    pub class: EvidenceClass,
    /// In which form the dump is.
    pub form: DumpForm,
    /// What the dump does not carry, as far as whoever wrote it knows.
    pub exceptions: &'a [Exception],
    /// Tables whose rows the dump leaves out.
    pub skip_data: &'a [String],
    /// A path at which nothing exists; the scratch database is made there and removed.
    pub scratch: &'a Path,
    /// Where to count bytes.
    pub progress: &'a Arc<Progress>,
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
    #[error(
        "the dump does not restore: {object}: {why}, in the statement at byte {at_bytes}\nhint: {hint}"
    )]
    Refused {
        /// What the statement makes or fills; never its text.
        object: String,
        /// SQLite's message.
        why: String,
        /// Where the statement begins.
        at_bytes: u64,
        /// The way out.
        hint: &'static str,
    },
    /// The restored database is not consistent.
    #[error("the restored copy is not consistent: {0}")]
    Inconsistent(String),
    /// The restored database differs from the source.
    #[error("the restored copy differs from the source: {0}")]
    Differs(String),
    /// The source itself is damaged.
    #[error("SQLite's own check calls the source damaged: {0}")]
    SourceDamaged(String),
    /// The source could not be looked at a second time.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The scratch database cannot be used.
    #[error("the scratch database cannot be used: {0}")]
    Scratch(String),
    /// It was asked to end.
    #[error("the drill was stopped")]
    Stopped,
}

impl DrillError {
    /// What keeps SQL text from being a whole copy, where that is what failed: an image may carry it.
    pub fn not_as_sql(&self) -> Option<String> {
        match self {
            Self::Refused { .. }
            | Self::Split(_)
            | Self::Inconsistent(_)
            | Self::Differs(_)
            | Self::SourceDamaged(_) => Some(self.to_string()),
            Self::Source(error) => error.not_as_sql(),
            Self::Spool(_) | Self::Incomplete(_) | Self::Scratch(_) | Self::Stopped => None,
        }
    }
}

/// Restores the dump of `partial` and compares; only then it becomes [`Ready`]. `witness` looked at the source in the
/// snapshot that was dumped.
///
/// # Errors
/// Where the dump is incomplete, does not restore, or differs from the evidence or from what the witness saw but for the
/// declared exceptions. The spool is then removed.
pub fn prove(
    partial: Partial,
    trial: &Trial<'_>,
    witness: Option<Witness>,
) -> Result<(Ready, Verdict), DrillError> {
    if trial.form == DumpForm::Image {
        return image::prove(partial, trial, witness);
    }
    let scratch = Scratch::create(trial.scratch)?;
    let (progress, stop) = (trial.progress, trial.stop);
    let (dump, source_bytes) = (DumpFile::from(&partial), partial.source_bytes);
    let mut connection = restore_into(&dump, source_bytes, &scratch.path, progress, stop)?;
    let (found, verdict) = std::thread::scope(|scope| {
        let integrity = scope.spawn(|| check_integrity(&scratch.path, stop));
        let verdict = scope.spawn(|| verdict::reach(&scratch.path, trial, witness));
        let found = content_of(&mut connection, trial.skip_data, stop).map_err(scratch_error);
        let integrity = integrity.join().unwrap_or_else(|_| Err(panicked()));
        let verdict = verdict.join().unwrap_or_else(|_| Err(panicked()));
        integrity.and(found).and_then(|found| Ok((found, verdict?)))
    })?;
    drop(connection);
    if let Some(difference) = difference(trial.evidence, &found) {
        return Err(DrillError::Differs(difference));
    }
    let database_bytes = fs::metadata(&scratch.path).ok().map(|file| file.len());
    drop(scratch);
    let mut ready = make_ready(partial)?;
    ready.database_bytes = database_bytes;
    match (violations_differ(trial.evidence, &found), trial.class) {
        (None, _) => Ok((ready, verdict)),
        // Keys were checked at another moment than rows were read: the rows are equal, so this is news, not a fault.
        (Some(difference), EvidenceClass::B) => {
            let text = format!("{difference}: the database was written to while it was read");
            ready.warnings.push(text);
            Ok((ready, verdict))
        }
        (Some(difference), EvidenceClass::A | EvidenceClass::C | EvidenceClass::S) => {
            Err(DrillError::Differs(difference))
        }
    }
}

/// Reads the dump of `partial` to its end without restoring it; the copy then counts as checked, not as proven.
///
/// # Errors
/// Where the dump is incomplete or changed. The spool is then removed.
pub fn check_only(partial: Partial, trial: &Trial<'_>) -> Result<Ready, DrillError> {
    let dump = DumpFile::from(&partial);
    if trial.form == DumpForm::Image {
        image::check(&dump)?;
        return make_ready(partial);
    }
    let mut statements = Statements::open(&dump, trial.progress)?;
    while statements.next_block()?.is_some() {
        if trial.stop.is_cancelled() {
            return Err(DrillError::Stopped);
        }
    }
    statements.finish(&dump)?;
    make_ready(partial)
}

/// Restores a dump into a new database at `into`, with the drill's rights and limits, and keeps it there, durable.
///
/// # Errors
/// Where something is at `into`, the dump is incomplete or changed, or does not restore. No database is then left.
pub fn restore(
    dump: &DumpFile<'_>,
    into: &Path,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    let mut scratch = Scratch::create(into)?;
    drop(restore_into(dump, None, into, progress, stop)?);
    check_integrity(into, stop)?;
    let synced = File::open(into).and_then(|file| file.sync_all());
    synced.map_err(|error| DrillError::Scratch(error.to_string()))?;
    scratch.path = PathBuf::new();
    Ok(())
}

/// Unpacks an image to the new file `into` and keeps it there, durable.
///
/// # Errors
/// Where something is at `into`, or the image is not what was written. No file is then left.
pub fn restore_image(
    dump: &DumpFile<'_>,
    into: &Path,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    let mut scratch = Scratch::create(into)?;
    image::unpack(dump, into, stop)?;
    let synced = File::open(into).and_then(|file| file.sync_all());
    synced.map_err(|error| DrillError::Scratch(error.to_string()))?;
    scratch.path = PathBuf::new();
    Ok(())
}

/// The version of the SQLite that drills.
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

fn make_ready(partial: Partial) -> Result<Ready, DrillError> {
    partial
        .into_ready()
        .map_err(|error| DrillError::Spool(error.to_string()))
}

/// Executes the dump and gives the connection, on which statements of ours may run from then on.
fn restore_into(
    dump: &DumpFile<'_>,
    database_bytes: Option<u64>,
    path: &Path,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Connection, DrillError> {
    let mut statements = Statements::open(dump, progress)?;
    let scratch = Place {
        path,
        text_bytes: dump.plain.size_bytes,
        database_bytes,
        stop,
    };
    let connection = scratch.load(&mut statements, |_, _| Ok(Step::Run))?;
    statements.finish(dump)?;
    Ok(connection)
}

/// SQLite's own check of every page, index and constraint, on a connection of its own beside the comparison.
pub(in crate::engine) fn check_integrity(
    path: &Path,
    stop: &CancellationToken,
) -> Result<(), DrillError> {
    let check = || -> rusqlite::Result<String> {
        let connection = open_to_read(path, stop)?;
        // A row that breaks a CHECK did so in the source.
        connection.execute_batch("PRAGMA ignore_check_constraints=ON")?;
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
    };
    match check() {
        Ok(verdict) if verdict == "ok" => Ok(()),
        Ok(verdict) => Err(DrillError::Inconsistent(line(&verdict).into_owned())),
        Err(error) => Err(scratch_error(error)),
    }
}

/// Opens the scratch database once more, to read it beside other connections.
fn open_to_read(path: &Path, stop: &CancellationToken) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch(&format!("PRAGMA cache_size=-{READER_CACHE_KB}"))?;
    stop_when_asked(&mut connection, stop)?;
    Ok(connection)
}

fn panicked() -> DrillError {
    DrillError::Scratch("a checking thread panicked".to_owned())
}

/// SQLite's error about the scratch database.
pub(in crate::engine) fn scratch_error(error: rusqlite::Error) -> DrillError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => DrillError::Stopped,
        _ => DrillError::Scratch(sqlite_message(&error)),
    }
}

/// Lets `stop` interrupt whatever `connection` does.
fn stop_when_asked(connection: &mut Connection, stop: &CancellationToken) -> rusqlite::Result<()> {
    let stop = stop.clone();
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || stop.is_cancelled()))
}

/// The scratch database's file; removed when dropped, unless the path was taken out.
struct Scratch {
    path: PathBuf,
}

impl Scratch {
    fn create(path: &Path) -> Result<Self, DrillError> {
        create_private(path)
            .map_err(|error| DrillError::Scratch(format!("`{}`: {error}", path.display())))?;
        Ok(Self {
            path: path.to_owned(),
        })
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // Best effort: what stays is removed at the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dump::Header;
    use crate::engine::spool::Writing;
    use crate::source::{Cap, DumpRequest, Dumped, Look, Source, SqliteSource, open_scratch};
    use crate::types::{Compression, JobId};

    const SCHEMA: &str = "
        CREATE TABLE a(id INTEGER PRIMARY KEY, name TEXT, b_id INT REFERENCES b(id));
        CREATE TABLE b(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
        CREATE TABLE loose(x, y); CREATE INDEX i ON loose(y);
        CREATE VIEW v AS SELECT * FROM a; -- last
        CREATE VIRTUAL TABLE f USING fts5(t);
        CREATE TRIGGER tr AFTER INSERT ON a BEGIN INSERT INTO loose VALUES(1, 'fired'); END;
        INSERT INTO b(v) VALUES(1), (2.5), ('x'), (X'00ff'), (NULL), (zeroblob(300000));
        INSERT INTO a VALUES(7, 'seven', 1), (9, replace(hex(zeroblob(60000)), '0', 'ab'), 2);
        DELETE FROM loose WHERE rowid = 1;
        INSERT INTO f VALUES('hello world');
        PRAGMA user_version = 42;";

    struct Case {
        folder: tempfile::TempDir,
        compression: Compression,
        class: EvidenceClass,
    }

    impl Case {
        fn new(compression: Compression) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let connection = Connection::open(folder.path().join("source.db")).unwrap();
            connection.execute_batch(SCHEMA).unwrap();
            Self {
                folder,
                compression,
                class: EvidenceClass::A,
            }
        }

        fn dump(&self, skip_data: &[String]) -> (Partial, Dumped) {
            let source = SqliteSource::new(
                self.folder.path().join("source.db"),
                self.folder.path().to_owned(),
            );
            let header = Header {
                agent: "test".to_owned(),
                database: "source".parse().unwrap(),
                generated: chrono::DateTime::UNIX_EPOCH,
                job: JobId::random(),
                source: "sqlite source.db".to_owned(),
            };
            let request = DumpRequest {
                header: &header,
                skip_data,
                form: DumpForm::Sql,
                look: Look::ContentAndHealth,
                progress: &Progress::default(),
                stop: &CancellationToken::new(),
            };
            let path = self.folder.path().join("source.partial");
            let mut writing = Writing::create(&path, self.compression).unwrap();
            let dumped = source.dump(&request, &mut writing).unwrap();
            (writing.finish().unwrap(), dumped)
        }

        fn prove(
            &self,
            partial: Partial,
            evidence: &SourceEvidence,
            skip_data: &[String],
        ) -> Result<Ready, DrillError> {
            let outcome = prove(
                partial,
                &Trial {
                    evidence,
                    class: self.class,
                    form: DumpForm::Sql,
                    exceptions: &[],
                    skip_data,
                    scratch: &self.folder.path().join("scratch.db"),
                    progress: &Arc::default(),
                    stop: &CancellationToken::new(),
                },
                None,
            );
            assert!(!self.folder.path().join("scratch.db").exists());
            assert!(!self.folder.path().join("source.partial").exists());
            outcome.map(|(ready, _)| ready)
        }
    }

    #[test]
    fn a_true_dump_becomes_ready_in_every_compression() {
        for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
            let case = Case::new(compression);
            let (partial, dumped) = case.dump(&[]);
            let ready = case.prove(partial, &dumped.evidence, &[]).unwrap();
            assert!(ready.path().ends_with("source.ready"));
        }
    }

    #[test]
    fn a_table_without_its_rows_is_compared_without_them() {
        let case = Case::new(Compression::None);
        let skip_data = ["B".to_owned()];
        let (partial, dumped) = case.dump(&skip_data);
        case.prove(partial, &dumped.evidence, &skip_data).unwrap();
    }

    #[test]
    fn evidence_of_another_content_is_a_difference_that_names_the_table() {
        let case = Case::new(Compression::None);
        let (partial, mut dumped) = case.dump(&[]);
        let table = dumped
            .evidence
            .tables
            .iter_mut()
            .find(|t| t.name == "b")
            .unwrap();
        table.hash = Some([7; 32].into());
        let error = case.prove(partial, &dumped.evidence, &[]).unwrap_err();
        assert!(
            error.to_string().contains("table `b` has other values"),
            "{error}"
        );
    }

    #[test]
    fn keys_checked_at_another_moment_than_the_rows_are_told_and_no_reason_to_fail() {
        let mut case = Case::new(Compression::None);
        let (partial, mut dumped) = case.dump(&[]);
        dumped.evidence.foreign_key_violations = 3;
        let error = case.prove(partial, &dumped.evidence, &[]).unwrap_err();
        assert!(error.to_string().contains("3 rows violate"), "{error}");
        case.class = EvidenceClass::B;
        let (partial, _) = case.dump(&[]);
        let ready = case.prove(partial, &dumped.evidence, &[]).unwrap();
        assert!(ready.warnings[0].contains("3 rows violate a foreign key, restored 0"));
        // Rows are still compared.
        let (partial, _) = case.dump(&[]);
        dumped.evidence.tables[0].hash = Some([7; 32].into());
        assert!(case.prove(partial, &dumped.evidence, &[]).is_err());
    }

    #[test]
    fn a_spool_that_was_cut_or_changed_on_disk_is_refused() {
        type Damage = fn(&mut Vec<u8>);
        let damages: [(&str, Damage); 3] = [
            ("cut at a line's end", |text| {
                let end = memchr::memrchr(b'\n', &text[..text.len() - 400]).unwrap();
                text.truncate(end + 1);
            }),
            ("a changed value", |text| {
                let at = memchr::memmem::find(text, b"'seven'").unwrap();
                text[at + 1] = b'S';
            }),
            ("more behind the end", |text| {
                text.extend_from_slice(b"SELECT 1;\n")
            }),
        ];
        for (what, damage) in damages {
            let case = Case::new(Compression::None);
            let (partial, dumped) = case.dump(&[]);
            let mut text = fs::read(partial.path()).unwrap();
            damage(&mut text);
            fs::write(partial.path(), text).unwrap();
            assert!(
                case.prove(partial, &dumped.evidence, &[]).is_err(),
                "{what}"
            );
        }
    }

    #[test]
    fn a_dump_may_not_reach_beyond_the_scratch_database() {
        let case = Case::new(Compression::None);
        for sql in [
            "ATTACH 'elsewhere.db' AS other;",
            "VACUUM INTO 'elsewhere.db';",
            "PRAGMA journal_mode=WAL;",
            "SELECT load_extension('x');",
            "CREATE TEMP TABLE t(x);",
            "PRAGMA writable_schema=ON;",
        ] {
            let (path, cap) = (case.folder.path().join("permit.db"), Cap::for_text(0));
            let connection = open_scratch(&path, &cap, &CancellationToken::new()).unwrap();
            assert!(connection.execute_batch(sql).is_err(), "{sql}");
        }
        assert!(!case.folder.path().join("elsewhere.db").exists());
    }
}
