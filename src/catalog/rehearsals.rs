//! Keeps when the worst day was rehearsed, and what came back. Invariant: a rehearsal and what it tells are written in
//! one transaction.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Catalog;
use super::conditions::{News, announce};
use super::error::{CatalogError, Stop};
use super::row::{
    RehearsalOutcomeWord, TriggerWord, integer, number, optional_parsed, parsed, time,
};
use crate::types::{DatabaseName, ObjectKey, Trigger};

/// So many are kept: of a monthly one eight years.
const MOST_KEPT: u32 = 100;

/// What became of one database in a rehearsal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RehearsalOutcome {
    /// Its newest copy was restored, and equals its manifest table by table.
    Proven,
    /// Its newest copy is damaged or missing wherever it was looked for.
    Damaged,
    /// Nothing is known of the copy: it could not be fetched, or there was no room to restore it.
    Failed,
    /// There is no copy of it.
    Absent,
}

impl RehearsalOutcome {
    pub(super) const ALL: [Self; 4] = [Self::Proven, Self::Damaged, Self::Failed, Self::Absent];

    /// The word the catalog stores and JSON carries.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
            Self::Absent => "absent",
        }
    }
}

/// One rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// When it began, to the second.
    pub started_at: DateTime<Utc>,
    /// What all of it took, the search for the copies included.
    pub duration_ms: u64,
    /// Who wanted it.
    pub trigger: Trigger,
    /// Whether the manifests in the storages were all that it knew.
    pub is_cold: bool,
    /// The one storage it was to read; `None`: any.
    pub storage: Option<String>,
    /// Database by database, in the order of a restore.
    pub results: Vec<Rehearsed>,
}

/// What became of one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The database.
    pub database: DatabaseName,
    /// What became of it.
    pub outcome: RehearsalOutcome,
    /// Its newest copy; `None`: there is none.
    pub key: Option<ObjectKey>,
    /// Where that was read; `None`: it came from nowhere.
    pub storage: Option<String>,
    /// Stored bytes that were fetched, of ways that failed, too.
    pub read_bytes: u64,
    /// The length of its SQL text.
    pub plain_bytes: u64,
    /// The rows that were restored.
    pub rows: u64,
    /// What fetching, restoring and proving took.
    pub duration_ms: u64,
    /// What was wrong, also where another way brought it back.
    pub message: Option<String>,
}

impl Rehearsal {
    /// When it ended, to the second.
    pub fn ended_at(&self) -> DateTime<Utc> {
        let duration_ms = i64::try_from(self.duration_ms).unwrap_or_default();
        self.started_at + TimeDelta::milliseconds(duration_ms)
    }

    /// How many databases came back.
    pub fn proven(&self) -> usize {
        let results = self.results.iter();
        results
            .filter(|one| one.outcome == RehearsalOutcome::Proven)
            .count()
    }

    /// Whether every database came back and nothing was wrong.
    pub fn is_good(&self) -> bool {
        !self.results.is_empty()
            && self.proven() == self.results.len()
            && self.results.iter().all(|one| one.message.is_none())
    }
}

impl Catalog {
    /// Writes down a rehearsal and what it tells.
    ///
    /// # Errors
    /// Where the rows cannot be written.
    pub fn note_rehearsal(&self, rehearsal: &Rehearsal, news: &News) -> Result<(), CatalogError> {
        self.write(|transaction| {
            insert(transaction, rehearsal)?;
            let forget = "DELETE FROM rehearsals WHERE id <= (SELECT max(id) FROM rehearsals) - ?";
            transaction.execute(forget, [MOST_KEPT])?;
            announce(transaction, news).map(drop)
        })
    }

    /// The last rehearsal that ended. `None`: there never was one.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn last_rehearsal(&self) -> Result<Option<Rehearsal>, CatalogError> {
        self.read(|connection| {
            let sql = "SELECT * FROM rehearsals ORDER BY id DESC LIMIT 1";
            let found = connection
                .query_row(sql, [], |row| Ok((row.get("id")?, rehearsal(row)?)))
                .optional()?;
            found
                .map(|(id, rehearsal)| with_results(connection, id, rehearsal))
                .transpose()
        })
    }

    /// When a copy of each database last came back in a rehearsal.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn rehearsed(&self) -> Result<BTreeMap<DatabaseName, DateTime<Utc>>, CatalogError> {
        let sql = "SELECT database_name, max(started_at) AS at
                   FROM rehearsal_results JOIN rehearsals ON id = rehearsal_id
                   WHERE outcome = 'proven' GROUP BY database_name";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok((parsed(row, "database_name")?, time(row, "at")?))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

fn insert(connection: &Connection, rehearsal: &Rehearsal) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO rehearsals (started_at, duration_ms, trigger_type, cold, storage)
         VALUES (?, ?, ?, ?, ?)",
        params![
            rehearsal.started_at.timestamp(),
            integer(rehearsal.duration_ms),
            rehearsal.trigger.as_str(),
            rehearsal.is_cold,
            rehearsal.storage,
        ],
    )?;
    let id = connection.last_insert_rowid();
    let sql = "INSERT INTO rehearsal_results VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let mut statement = connection.prepare(sql)?;
    for result in &rehearsal.results {
        statement.execute(params![
            id,
            result.database.as_str(),
            result.outcome.as_str(),
            result.key.as_ref().map(ObjectKey::as_str),
            result.storage,
            integer(result.read_bytes),
            integer(result.plain_bytes),
            integer(result.rows),
            integer(result.duration_ms),
            result.message,
        ])?;
    }
    Ok(())
}

fn rehearsal(row: &Row<'_>) -> rusqlite::Result<Rehearsal> {
    Ok(Rehearsal {
        started_at: time(row, "started_at")?,
        duration_ms: number(row, "duration_ms")?,
        trigger: row.get::<_, TriggerWord>("trigger_type")?.0,
        is_cold: row.get("cold")?,
        storage: row.get("storage")?,
        results: Vec::new(),
    })
}

fn with_results(connection: &Connection, id: i64, rehearsal: Rehearsal) -> Result<Rehearsal, Stop> {
    let sql = "SELECT * FROM rehearsal_results WHERE rehearsal_id = ? ORDER BY rowid";
    let mut statement = connection.prepare(sql)?;
    let results = statement.query_map([id], |row| {
        Ok(Rehearsed {
            database: parsed(row, "database_name")?,
            outcome: row.get::<_, RehearsalOutcomeWord>("outcome")?.0,
            key: optional_parsed(row, "r2_key")?,
            storage: row.get("storage")?,
            read_bytes: number(row, "read_bytes")?,
            plain_bytes: number(row, "plain_bytes")?,
            rows: number(row, "row_count")?,
            duration_ms: number(row, "duration_ms")?,
            message: row.get("message")?,
        })
    })?;
    Ok(Rehearsal {
        results: results.collect::<Result<_, _>>()?,
        ..rehearsal
    })
}
