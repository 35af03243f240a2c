//! Reads a SQLite file in one read transaction. Invariant: the file is never created or written, and no additional
//! files remain beside it.

mod foreign_key;
mod import;
mod message;
mod open;
mod image;
mod row_limit;
mod schema;
mod scratch;
mod shadow;
mod writing;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};
use tokio_util::sync::CancellationToken;

use self::open::Opened;
use self::schema::{Described, describe};
use self::writing::Step;
use super::describe::evidence_of;
use super::virtual_table::Module;
use super::{DumpForm, DumpRequest, Dumped, Look, Source, SourceError};
use crate::dump::{Content, ContentHasher, Database, RowBlock, Sink, Table, Value};
use crate::quote;
use crate::types::{
    ByteCount, EvidenceClass, MANIFEST_FORMAT, SourceEvidence, SourceFacts, counted, either,
};

pub(crate) use import::{ImportError, Imported};
pub use message::sqlite_message;
pub use open::Claim;
use row_limit::{MAX_ROW_BYTES, SQL_ROW_LIMIT_BYTES, SQLITE_LENGTH, ValueLimit, is_too_big};
pub use scratch::{Cap, lift_limits, open_scratch};
pub(super) use shadow::{Trial, try_alone};

/// Time to wait for a lock of another process.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Approximate size of the blocks in which rows are passed from the reading to the writing thread, in bytes.
const BLOCK_BYTES: usize = 128 * 1024;

/// Number of batches that may wait for the writing thread.
const WAITING_STEPS: usize = 4;

/// First manifest format in which the language of each FTS4 row is part of the evidence.
const FORMAT_WITH_LANGUAGES: u32 = 2;

/// Number of losses named in a message; the rest are only counted.
const MOST_NAMED: usize = 5;

/// Number of SQLite instructions between two checks for cancellation inside one step.
const INSTRUCTIONS_PER_CHECK: i32 = 100_000;

/// A SQLite database file.
#[derive(Debug, Clone)]
pub struct SqliteSource {
    path: PathBuf,
    /// Folder for a private copy of a file that cannot be read in place.
    scratch: PathBuf,
    busy_timeout: Duration,
    /// True if the pages are to be read even if SQLite does not understand the schema or the size.
    is_lenient: bool,
    /// Upper bound for a row in [`DumpForm::Sql`], in bytes.
    row_limit_bytes: usize,
}

impl SqliteSource {
    /// Creates a source for the database at `path`; private copies, if needed, are made in the folder `scratch`.
    pub fn new(path: PathBuf, scratch: PathBuf) -> Self {
        Self {
            path,
            scratch,
            busy_timeout: BUSY_TIMEOUT,
            is_lenient: false,
            row_limit_bytes: usize::MAX,
        }
    }

    /// Makes the source refuse rows of more than [`SQL_ROW_LIMIT_BYTES`].
    #[must_use]
    pub(crate) fn with_row_limit(self) -> Self {
        Self {
            row_limit_bytes: SQL_ROW_LIMIT_BYTES,
            ..self
        }
    }

    /// Returns a source that copies the pages regardless of their content.
    fn lenient(&self) -> Self {
        Self {
            is_lenient: true,
            ..self.clone()
        }
    }

    /// Sets the time to wait for locks.
    #[must_use]
    pub fn with_busy_timeout(self, busy_timeout: Duration) -> Self {
        Self {
            busy_timeout,
            ..self
        }
    }

    /// Opens the file for reading as a dump would, without copying it, and closes it again. Blocks.
    ///
    /// # Errors
    /// If a dump could not open it.
    pub fn try_out(&self) -> Result<(), SourceError> {
        Opened::try_out(self)
    }

    fn read(
        &self,
        opened: &Opened,
        request: &DumpRequest<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Dumped, SourceError> {
        let started = Instant::now();
        let told = |error| self.told(error);
        let connection = opened.connection();
        let described = describe(connection, request.skip_data).map_err(told)?;
        self.refuse_losses(&described, request.form)?;
        let Described {
            database,
            digest,
            missing,
            mut warnings,
            losses,
            chosen,
        } = described;
        request.progress.expect_rows(database.total_rows());
        let (tables, violations) = std::thread::scope(|scope| {
            let (sender, steps) = sync_channel(WAITING_STEPS);
            let job = writing::Job {
                sink,
                header: request.header,
                database: &database,
                started,
            };
            let writer = scope.spawn(move || job.run(&steps));
            let read = self.send_all(connection, &database, request, Outbox::new(sender));
            let written = writer
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("the writing thread panicked")));
            match (read, written) {
                // The first failure is the cause; a reader whose receiver is gone only reports that.
                (Err(Failure::ReceiverGone), Err(error)) => Err(SourceError::Sink(error)),
                (Err(failure), _) => Err(failure.told(self)),
                (Ok(_), Err(error)) => Err(SourceError::Sink(error)),
                (Ok(violations), Ok(tables)) => Ok((tables, violations)),
            }
        })?;
        if violations > 0 {
            warnings.push(format!(
                "{} {} a foreign key: D1 refuses such rows on import",
                counted(violations, "row"),
                either(violations, "violates", "violate")
            ));
        }
        Ok(Dumped {
            evidence: SourceEvidence {
                tables,
                schema: digest,
                user_version: database.user_version,
                application_id: database.application_id,
                foreign_key_violations: violations,
            },
            class: EvidenceClass::A,
            bookmark: None,
            incomplete: !missing.is_empty(),
            warnings,
            exceptions: losses.into_iter().chain(chosen).collect(),
            witness: None,
        })
    }

    /// Checks the losses against the form.
    ///
    /// # Errors
    /// If SQL text must represent everything and cannot.
    fn refuse_losses(&self, described: &Described, form: DumpForm) -> Result<(), SourceError> {
        let losses = &described.losses;
        if form != DumpForm::WholeSql || losses.is_empty() {
            return Ok(());
        }
        let named = losses.iter().take(MOST_NAMED).map(ToString::to_string);
        let mut why = named.collect::<Vec<_>>().join("; ");
        if losses.len() > MOST_NAMED {
            why.push_str(&format!("; and {} more", losses.len() - MOST_NAMED));
        }
        Err(SourceError::NotAsSql {
            what: self.what(),
            why,
        })
    }

    /// Sends every table's rows; returns the number of foreign-key violations.
    fn send_all(
        &self,
        connection: &Connection,
        database: &Database,
        request: &DumpRequest<'_>,
        mut outbox: Outbox,
    ) -> Result<u64, Failure> {
        for (index, table) in database.tables.iter().enumerate() {
            outbox.put(Step::Begin(index))?;
            if table.content == Content::Rows {
                let sent = self.send_rows(connection, table, request, &mut outbox);
                sent.map_err(|failure| match failure {
                    Failure::Sqlite(error) if is_too_big(&error) => {
                        self.too_large(table, self.most_row_bytes(request.form))
                    }
                    other => other,
                })?;
            }
            outbox.put(Step::End)?;
        }
        let violations = count_violations(connection, database)?;
        outbox.put(Step::Finish)?;
        outbox.send()?;
        Ok(violations)
    }

    fn send_rows(
        &self,
        connection: &Connection,
        table: &Table,
        request: &DumpRequest<'_>,
        outbox: &mut Outbox,
    ) -> Result<(), Failure> {
        let mut block = RowBlock::default();
        let (mut rows, mut counted) = (0, 0);
        let (mut is_wanted, mut is_too_large) = (true, false);
        let most_bytes = self.most_row_bytes(request.form);
        let _limit = ValueLimit::set(connection, most_bytes)?;
        each_row(connection, table, |values| {
            let row_bytes: usize = values.iter().map(|value| value.bytes().len()).sum();
            if row_bytes > most_bytes {
                is_too_large = true;
                return false;
            }
            block.push_row(values);
            rows += 1;
            if block.len() >= BLOCK_BYTES {
                request.progress.add_rows(rows - counted);
                counted = rows;
                let full = std::mem::take(&mut block);
                is_wanted = outbox.put(Step::Rows(full)).is_ok() && !request.stop.is_cancelled();
            }
            is_wanted
        })?;
        if is_too_large {
            return Err(self.too_large(table, most_bytes));
        }
        if request.stop.is_cancelled() {
            return Err(Failure::Told(SourceError::Stopped));
        }
        if !is_wanted {
            return Err(Failure::ReceiverGone);
        }
        outbox.put(Step::Rows(block))?;
        request.progress.add_rows(rows - counted);
        if rows != table.rows {
            let (name, count) = (&table.name, table.rows);
            let (name, count) = (quote::name(name), crate::types::counted(count, "row"));
            let why = format!("table `{name}` counts {count} but holds {rows}");
            return Err(Failure::Told(self.damaged(why)));
        }
        Ok(())
    }

    /// Upper bound for a row in a dump of this form, in bytes.
    fn most_row_bytes(&self, form: DumpForm) -> usize {
        match form {
            DumpForm::WholeSql => MAX_ROW_BYTES,
            DumpForm::Sql => self.row_limit_bytes,
            DumpForm::Image => usize::MAX,
        }
    }

    fn too_large(&self, table: &Table, most_bytes: usize) -> Failure {
        let (name, most) = (
            quote::name(&table.name),
            ByteCount(most_bytes.min(SQLITE_LENGTH) as u64),
        );
        Failure::Told(SourceError::NotAsSql {
            what: self.what(),
            why: format!(
                "table `{name}` has a row of more than {most}, the most that is written as SQL text"
            ),
        })
    }

    fn what(&self) -> String {
        format!("`{}`", quote::line(&self.path.to_string_lossy()))
    }

    fn damaged(&self, why: String) -> SourceError {
        let what = self.what();
        SourceError::Damaged { what, why }
    }

    fn locked(&self) -> SourceError {
        SourceError::Locked {
            what: self.what(),
            waited_ms: u64::try_from(self.busy_timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Converts SQLite's error to one of a source.
    fn told(&self, error: rusqlite::Error) -> SourceError {
        let what = self.what();
        let why = sqlite_message(&error);
        if matches!(error, rusqlite::Error::SqlInputError { .. }) {
            return SourceError::NotAsSql { what, why };
        }
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => SourceError::Stopped,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => self.locked(),
            Some(ErrorCode::DatabaseCorrupt) => self.damaged(why),
            Some(ErrorCode::NotADatabase) => SourceError::NotADatabase {
                what,
                why,
                hint: "an encrypted database is read through the program that encrypts it",
            },
            // A function, collation, module or limit that this SQLite lacks.
            Some(ErrorCode::Unknown) => SourceError::NotAsSql { what, why },
            code => SourceError::Unavailable {
                what,
                why,
                retryable: code == Some(ErrorCode::SystemIoFailure),
            },
        }
    }
}

/// The reason that the reading thread ended early.
enum Failure {
    Sqlite(rusqlite::Error),
    Told(SourceError),
    /// The writing thread ended; it has the reason.
    ReceiverGone,
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl Failure {
    fn told(self, source: &SqliteSource) -> SourceError {
        match self {
            Self::Sqlite(error) => source.told(error),
            Self::Told(error) => error,
            Self::ReceiverGone => {
                SourceError::Sink(io::Error::other("the writing thread ended early"))
            }
        }
    }
}

/// Buffer of steps for the writing thread, which are sent several at a time: waking it for every small table would take
/// longer than reading one.
struct Outbox {
    sender: SyncSender<Vec<Step>>,
    steps: Vec<Step>,
    waiting_bytes: usize,
}

impl Outbox {
    fn new(sender: SyncSender<Vec<Step>>) -> Self {
        Self {
            sender,
            steps: Vec::new(),
            waiting_bytes: 0,
        }
    }

    fn put(&mut self, step: Step) -> Result<(), Failure> {
        const STEP_BYTES: usize = 64;
        self.waiting_bytes += STEP_BYTES;
        if let Step::Rows(block) = &step {
            self.waiting_bytes += block.len();
        }
        self.steps.push(step);
        if self.waiting_bytes >= BLOCK_BYTES {
            return self.send();
        }
        Ok(())
    }

    fn send(&mut self) -> Result<(), Failure> {
        self.waiting_bytes = 0;
        let steps = std::mem::take(&mut self.steps);
        self.sender.send(steps).map_err(|_| Failure::ReceiverGone)
    }
}

impl Source for SqliteSource {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            kind: "sqlite".to_owned(),
            id: self.path.display().to_string(),
            bookmark: None,
            method: None,
            method_reason: None,
        }
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        std::fs::metadata(&self.path)
            .ok()
            .map(|metadata| metadata.len())
    }

    fn database_bytes(&self) -> Option<u64> {
        let mut log = self.path.clone().into_os_string();
        log.push("-wal");
        let log_bytes = std::fs::metadata(log).map_or(0, |metadata| metadata.len());
        let file_bytes = self.size_hint_bytes()?;
        Some(file_bytes.saturating_add(log_bytes))
    }

    fn has_image(&self) -> bool {
        true
    }

    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        // Dropping the witness cancels its reading.
        let stop = request.stop.child_token();
        let (source, mut opened, damage) = match request.form {
            DumpForm::WholeSql | DumpForm::Sql => (self.clone(), Opened::open(self, &stop)?, None),
            DumpForm::Image => self.open_whatever_it_is(&stop)?,
        };
        let witness = match request.look {
            Look::Nothing => None,
            look => Some(source.witness(&mut opened, (request.form, look), damage, stop)?),
        };
        let dumped = match request.form {
            DumpForm::WholeSql | DumpForm::Sql => source.read(&opened, request, sink)?,
            DumpForm::Image => source.read_pages(&opened, request, sink)?,
        };
        opened.watch().check_unchanged()?;
        Ok(Dumped { witness, ..dumped })
    }
}

/// Returns the evidence of the content of `connection`'s database, computed by reading every row.
///
/// # Errors
/// SQLite's, and `SQLITE_INTERRUPT` once `stop` is cancelled.
pub fn content_of(
    connection: &mut Connection,
    skip_data: &[String],
    stop: &CancellationToken,
) -> rusqlite::Result<SourceEvidence> {
    content_by(MANIFEST_FORMAT, connection, skip_data, stop)
}

/// Returns the evidence in the form of this manifest format.
///
/// # Errors
/// As [`content_of`].
pub fn content_by(
    format: u32,
    connection: &mut Connection,
    skip_data: &[String],
    stop: &CancellationToken,
) -> rusqlite::Result<SourceEvidence> {
    stop_when_asked(connection, stop)?;
    let Described {
        mut database,
        digest,
        ..
    } = describe(connection, skip_data)?;
    if format < FORMAT_WITH_LANGUAGES {
        database.tables.iter_mut().for_each(forget_language);
    }
    let mut tables = Vec::with_capacity(database.tables.len());
    for table in &database.tables {
        let mut hasher = ContentHasher::default();
        let has_rows = table.content == Content::Rows;
        if has_rows {
            each_row(connection, table, |values| {
                values.iter().for_each(|value| hasher.value(*value));
                hasher.end_row();
                true
            })?;
        }
        tables.push(evidence_of(table, has_rows.then(|| hasher.finish())));
    }
    Ok(SourceEvidence {
        tables,
        schema: digest,
        user_version: database.user_version,
        application_id: database.application_id,
        foreign_key_violations: count_violations(connection, &database)?,
    })
}

/// Removes the column with the language of FTS4 rows, which version 0.1 neither read nor wrote.
fn forget_language(table: &mut Table) {
    let module = table.is_virtual.then(|| Module::of(&table.sql)).flatten();
    let language = module.and_then(|module| module.option("languageid"));
    if let Some(language) = language {
        table
            .columns
            .retain(|column| !column.eq_ignore_ascii_case(&language));
    }
}

/// Lets `stop` interrupt every statement of `connection`.
fn stop_when_asked(connection: &mut Connection, stop: &CancellationToken) -> rusqlite::Result<()> {
    let stop = stop.clone();
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || stop.is_cancelled()))
}

/// Passes each row in key order to `take`, until that returns false.
fn each_row(
    connection: &Connection,
    table: &Table,
    mut take: impl FnMut(&[Value<'_>]) -> bool,
) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(&table.select())?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let mut values = Vec::with_capacity(columns);
        for column in 0..columns {
            values.push(value_of(row.get_ref(column)?));
        }
        if !take(&values) {
            break;
        }
    }
    Ok(())
}

fn value_of(value: ValueRef<'_>) -> Value<'_> {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => Value::Integer(number),
        ValueRef::Real(number) => Value::Real(number),
        ValueRef::Text(bytes) => Value::Text(bytes),
        ValueRef::Blob(bytes) => Value::Blob(bytes),
    }
}

/// Returns the number of rows that violate a foreign key; 0 if no table has one.
fn count_violations(connection: &Connection, database: &Database) -> rusqlite::Result<u64> {
    if database.tables.iter().all(|table| table.parents.is_empty()) {
        return Ok(0);
    }
    let sql = "SELECT count(*) FROM pragma_foreign_key_check";
    match connection.query_row(sql, [], |row| row.get(0)) {
        // A key that names a parent column without a unique index: SQLite cannot check it, here or after a restore.
        Err(error) if error.to_string().contains("foreign key mismatch") => Ok(0),
        other => other,
    }
}

/// Formats the path of a file for messages.
fn shown(path: &Path) -> String {
    format!("`{}`", quote::line(&path.to_string_lossy()))
}
