//! Dumps a SQLite file as an image: its pages by SQLite's backup API, in the read transaction of all other reading.
//!
//! It does not depend on the schema, so it also copies databases that need functions, collations and modules of the
//! application that owns the file, and rows that their schema would reject.

use std::fs::File;
use std::io::Read;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use tokio_util::sync::CancellationToken;

use super::SqliteSource;
use super::open::Opened;
use super::row_limit::ValueLimit;
use super::schema::describe;
use crate::crosscheck::{Inventory, count_rows, examine, message, page_digest};
use crate::dump::Sink;
use crate::source::{DumpForm, DumpRequest, Dumped, Look, SourceError, Testimony, Witness};
use crate::types::{EvidenceClass, Sha256, SourceEvidence, TableEvidence};

/// Number of pages copied between two checks for cancellation.
const PAGES_PER_STEP: i32 = 4096;

/// Bytes of the image passed on at a time.
const BLOCK_BYTES: usize = 256 * 1024;

impl SqliteSource {
    /// Starts an independent reading of the snapshot of `opened`.
    pub(super) fn witness(
        &self,
        opened: &mut Opened,
        (form, look): (DumpForm, Look),
        damage: Option<String>,
        stop: CancellationToken,
    ) -> Result<Witness, SourceError> {
        let companion = opened
            .take_companion()
            .expect("it is taken here alone, and once");
        let (source, watch) = (self.clone(), opened.watch());
        let look = move || {
            let connection = companion.connection();
            let told = |error| source.told(error);
            let (mut inventory, mut pages) = (None, None);
            match form {
                DumpForm::Image => pages = Some(page_digest(connection).map_err(told)?),
                DumpForm::WholeSql | DumpForm::Sql => {
                    // Values that the dump rejects are not read here either; the check of the whole file needs the
                    // usual limit.
                    let limit =
                        ValueLimit::set(connection, source.most_row_bytes(form)).map_err(told)?;
                    let taken = match look {
                        Look::ContentAndHealth => Inventory::take_content(connection),
                        Look::Content | Look::Nothing => Inventory::take(connection),
                    };
                    drop(limit);
                    inventory = match taken {
                        Err(error) if is_stopped(&error) => return Err(told(error)),
                        other => Some(other.map_err(|error| message(&error))),
                    };
                }
            }
            // Stand-ins for functions that the schema needs stay registered on the connection, so this comes last.
            let mut findings = None;
            if look == Look::ContentAndHealth {
                let mut found = examine(connection).map_err(told)?;
                found.add_damage(damage);
                if let (Some(Ok(taken)), false) = (&mut inventory, found.is_complete) {
                    match taken.read_own_indexes(connection) {
                        Ok(()) => {}
                        Err(error) if is_stopped(&error) => return Err(told(error)),
                        Err(error) => inventory = Some(Err(message(&error))),
                    }
                }
                findings = Some(found);
            }
            watch.check_unchanged()?;
            Ok(Testimony {
                cloud: None,
                inventory,
                pages,
                findings,
            })
        };
        Ok(Witness::begin(stop, look)?)
    }

    /// Opens the file even if SQLite reports damage when it is opened; the damage is returned, too.
    pub(super) fn open_whatever_it_is(
        &self,
        stop: &CancellationToken,
    ) -> Result<(Self, Opened, Option<String>), SourceError> {
        let damage = match Opened::open(self, stop) {
            Ok(opened) => match schema_is_readable(opened.connection()) {
                Ok(()) => return Ok((self.clone(), opened, None)),
                Err(error) if is_stopped(&error) => return Err(self.told(error)),
                Err(error) => message(&error),
            },
            Err(SourceError::Damaged { why, .. }) => why,
            Err(error) => return Err(error),
        };
        let lenient = self.lenient();
        let opened = Opened::open(&lenient, stop)?;
        Ok((lenient, opened, Some(damage)))
    }

    /// Writes the pages into `sink`.
    pub(super) fn read_pages(
        &self,
        opened: &Opened,
        request: &DumpRequest<'_>,
        sink: &mut dyn Sink,
    ) -> Result<Dumped, SourceError> {
        if !request.skip_data.is_empty() {
            return Err(SourceError::Unavailable {
                what: self.what(),
                why: "an image holds every row, also of the tables that `skip_data` names\nhint: remove `skip_data`, or \
                      set `method = \"sql\"`"
                    .to_owned(),
                retryable: false,
            });
        }
        let folder = tempfile::Builder::new()
            .prefix("image-")
            .tempdir_in(&self.scratch)?;
        let path = folder.path().join("image.db");
        let told = |error| self.told(error);
        let connection = opened.connection();
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
            | OpenFlags::SQLITE_OPEN_CREATE
            | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut image = Connection::open_with_flags(&path, flags).map_err(told)?;
        image
            .execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")
            .map_err(told)?;
        self.copy_all(connection, &mut image, request.stop)?;
        drop(image);
        hand_on(&mut File::open(&path)?, sink, request.stop)?;
        sink.flush()?;
        let evidence = evidence(connection).map_err(told)?;
        request.progress.add_rows(evidence.total_rows());
        Ok(Dumped {
            evidence,
            class: EvidenceClass::A,
            bookmark: None,
            incomplete: false,
            warnings: Vec::new(),
            exceptions: Vec::new(),
            witness: None,
        })
    }

    fn copy_all(
        &self,
        from: &Connection,
        to: &mut Connection,
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        let told = |error| self.told(error);
        let backup = Backup::new(from, to).map_err(told)?;
        loop {
            match backup.step(PAGES_PER_STEP).map_err(told)? {
                StepResult::Done => return Ok(()),
                StepResult::More if stop.is_cancelled() => return Err(SourceError::Stopped),
                StepResult::More => {}
                _ => return Err(self.locked()),
            }
        }
    }
}

/// Succeeds if SQLite can parse every entry of the schema.
fn schema_is_readable(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("SELECT count(*) FROM main.sqlite_schema")
}

fn hand_on(
    file: &mut File,
    sink: &mut dyn Sink,
    stop: &CancellationToken,
) -> Result<(), SourceError> {
    let mut block = vec![0; BLOCK_BYTES];
    loop {
        if stop.is_cancelled() {
            return Err(SourceError::Stopped);
        }
        match file.read(&mut block)? {
            0 => return Ok(()),
            count => sink.write_all(&block[..count])?,
        }
    }
}

fn is_stopped(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted)
}

/// Returns the evidence that counting gives for an image: its tables and their rows, as far as SQLite can read them.
pub(super) fn evidence(connection: &Connection) -> rusqlite::Result<SourceEvidence> {
    let (schema, names) = match describe(connection, &[]) {
        Ok(described) => {
            let tables = described.database.tables;
            let names: Vec<String> = tables.into_iter().map(|table| table.name).collect();
            (described.digest, Some(names))
        }
        Err(error) if is_stopped(&error) => return Err(error),
        Err(_) => (Sha256::of(b""), None),
    };
    let counts = count_rows(connection).unwrap_or_default();
    let is_listed = |name: &String| names.as_ref().is_none_or(|names| names.contains(name));
    let tables = counts.into_iter().filter(|(name, _)| is_listed(name));
    let setting = |name| connection.pragma_query_value(None, name, |row| row.get(0));
    Ok(SourceEvidence {
        tables: tables
            .map(|(name, rows)| TableEvidence {
                name,
                rows: *rows.as_ref().unwrap_or(&0),
                hash: None,
                omitted: rows
                    .err()
                    .map(|why| format!("its rows cannot be counted: {why}")),
            })
            .collect(),
        schema,
        user_version: setting("user_version").unwrap_or_default(),
        application_id: setting("application_id").unwrap_or_default(),
        foreign_key_violations: 0,
    })
}
