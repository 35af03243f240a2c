//! Reads a SQLite file in one read transaction. Invariant: the file is never created, written or left with more
//! files beside it than before.

mod foreign_key;
mod open;
mod schema;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode};
use tokio_util::sync::CancellationToken;

use self::open::Opened;
use self::schema::{Described, describe};
use super::{DumpRequest, Dumped, Source, SourceError, virtual_table};
use crate::dump::{Content, ContentHasher, Database, DumpWriter, Sink, Table, Value};
use crate::types::{EvidenceClass, Sha256, SourceEvidence, SourceFacts, TableEvidence};

/// How long a lock of another process is waited for.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks at the request to stop, and two counts of progress.
const ROWS_PER_CHECK: u64 = 1024;

/// SQLite instructions between two looks at the request to stop, inside one step.
const INSTRUCTIONS_PER_CHECK: i32 = 100_000;

/// A SQLite database file.
#[derive(Debug, Clone)]
pub struct SqliteSource {
    path: PathBuf,
    /// Where a private copy may be made of a file that cannot be read in place.
    scratch: PathBuf,
    busy_timeout: Duration,
}

impl SqliteSource {
    /// The database at `path`; private copies, where needed, are made in the folder `scratch`.
    pub fn new(path: PathBuf, scratch: PathBuf) -> Self {
        Self {
            path,
            scratch,
            busy_timeout: BUSY_TIMEOUT,
        }
    }

    /// The same source, waiting this long for locks.
    #[must_use]
    pub fn with_busy_timeout(self, busy_timeout: Duration) -> Self {
        Self {
            busy_timeout,
            ..self
        }
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
        let Described {
            database,
            digest,
            missing,
            mut warnings,
        } = describe(connection, request.skip_data).map_err(told)?;
        request.progress.expect_rows(database.total_rows());
        let mut writer = DumpWriter::start(sink, request.header, &database)?;
        let mut tables = Vec::with_capacity(database.tables.len());
        for table in &database.tables {
            writer.begin_table(&database, table)?;
            let hash = match table.content {
                Content::Rows => Some(self.copy_rows(connection, table, request, &mut writer)?),
                Content::Rebuilt | Content::Omitted(_) => None,
            };
            writer.end_table();
            tables.push(evidence_of(table, hash));
        }
        let violations = count_violations(connection, &database).map_err(told)?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        writer.finish(&database, duration_ms)?;
        if violations > 0 {
            warnings.push(format!(
                "{violations} rows violate a foreign key: D1 refuses such rows on import"
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
        })
    }

    fn copy_rows(
        &self,
        connection: &Connection,
        table: &Table,
        request: &DumpRequest<'_>,
        writer: &mut DumpWriter<'_, dyn Sink + '_>,
    ) -> Result<Sha256, SourceError> {
        let mut hasher = ContentHasher::default();
        let mut rows = 0;
        let mut write_error = None;
        let outcome = each_row(connection, table, |values| {
            values.iter().for_each(|value| hasher.value(*value));
            hasher.end_row();
            rows += 1;
            if rows % ROWS_PER_CHECK == 0 {
                request.progress.add_rows(ROWS_PER_CHECK);
                if request.stop.is_cancelled() {
                    return false;
                }
            }
            write_error = writer.row(values).err();
            write_error.is_none()
        });
        if let Some(error) = write_error {
            return Err(error.into());
        }
        outcome.map_err(|error| self.told(error))?;
        if request.stop.is_cancelled() {
            return Err(SourceError::Stopped);
        }
        request.progress.add_rows(rows % ROWS_PER_CHECK);
        if rows != table.rows {
            let (name, count) = (&table.name, table.rows);
            return Err(self.damaged(format!(
                "table `{name}` counts {count} rows but holds {rows}"
            )));
        }
        Ok(hasher.finish())
    }

    fn what(&self) -> String {
        format!("`{}`", self.path.display())
    }

    fn damaged(&self, why: String) -> SourceError {
        let what = self.what();
        SourceError::Damaged { what, why }
    }

    /// SQLite's error in the words of a source.
    fn told(&self, error: rusqlite::Error) -> SourceError {
        let what = self.what();
        let why = error.to_string();
        match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => SourceError::Stopped,
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => SourceError::Locked {
                what,
                waited_ms: u64::try_from(self.busy_timeout.as_millis()).unwrap_or(u64::MAX),
            },
            Some(ErrorCode::DatabaseCorrupt) => self.damaged(why),
            Some(ErrorCode::NotADatabase) => SourceError::NotADatabase {
                what,
                why,
                hint: "an encrypted database is read through the program that encrypts it",
            },
            code => SourceError::Unavailable {
                what,
                why,
                retryable: code == Some(ErrorCode::SystemIoFailure),
            },
        }
    }
}

impl Source for SqliteSource {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            kind: "sqlite".to_owned(),
            id: self.path.display().to_string(),
            bookmark: None,
        }
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        std::fs::metadata(&self.path)
            .ok()
            .map(|metadata| metadata.len())
    }

    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        let opened = Opened::open(self, request.stop)?;
        let dumped = self.read(&opened, request, sink)?;
        opened.check_unchanged(self)?;
        Ok(dumped)
    }
}

/// What the database of `connection` holds, computed by reading every row.
///
/// # Errors
/// SQLite's, and `SQLITE_INTERRUPT` once `stop` is cancelled.
pub fn content_of(
    connection: &mut Connection,
    skip_data: &[String],
    stop: &CancellationToken,
) -> rusqlite::Result<SourceEvidence> {
    stop_when_asked(connection, stop)?;
    let Described {
        database, digest, ..
    } = describe(connection, skip_data)?;
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

/// Lets `stop` interrupt whatever `connection` does.
fn stop_when_asked(connection: &mut Connection, stop: &CancellationToken) -> rusqlite::Result<()> {
    let stop = stop.clone();
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || stop.is_cancelled()))
}

/// Hands each row in key order to `take`, until that answers false.
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

fn evidence_of(table: &Table, hash: Option<Sha256>) -> TableEvidence {
    TableEvidence {
        name: table.name.clone(),
        rows: table.written_rows(),
        hash,
        omitted: match &table.content {
            Content::Omitted(reason) => Some(reason.clone()),
            Content::Rows | Content::Rebuilt => None,
        },
    }
}

/// Rows that violate a foreign key; 0 where no table has one.
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

/// Reads the path of a file for the messages of this room.
fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}
