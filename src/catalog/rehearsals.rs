//! Stores drills: when the recovery from storage was rehearsed, and which databases came back. Invariant: a drill and
//! its alert changes are written in one transaction.

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

/// Upper bound for stored drills: with one a month, eight years.
const MOST_KEPT: u32 = 100;

/// Outcome of a drill for one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RehearsalOutcome {
    /// Its newest copy was restored, and equals its manifest table by table.
    Proven,
    /// Its newest copy is damaged or missing everywhere it was looked for.
    Damaged,
    /// Nothing is known of the copy: it could not be fetched, or there was no room to restore it.
    Failed,
    /// There is no copy of it.
    Absent,
}

impl RehearsalOutcome {
    pub(super) const ALL: [Self; 4] = [Self::Proven, Self::Damaged, Self::Failed, Self::Absent];

    /// Word stored in the catalog and in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Damaged => "damaged",
            Self::Failed => "failed",
            Self::Absent => "absent",
        }
    }
}

/// Drill of all selected databases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// Start time, to the second.
    pub started_at: DateTime<Utc>,
    /// Total duration, including the search for the copies.
    pub duration_ms: u64,
    /// Trigger of the drill.
    pub trigger: Trigger,
    /// True if it used nothing but the manifests in the storages.
    pub is_cold: bool,
    /// The only storage to read; `None`: any.
    pub storage: Option<String>,
    /// Results by database, in the order of a restore.
    pub results: Vec<Rehearsed>,
}

/// Result of a drill for one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsed {
    /// The database.
    pub database: DatabaseName,
    /// Outcome.
    pub outcome: RehearsalOutcome,
    /// Key of its newest copy; `None`: none exists.
    pub key: Option<ObjectKey>,
    /// Storage that it was read from; `None`: it could not be read.
    pub storage: Option<String>,
    /// Stored bytes that were fetched, including failed attempts.
    pub read_bytes: u64,
    /// Length of its SQL text in bytes.
    pub plain_bytes: u64,
    /// Number of restored rows.
    pub rows: u64,
    /// Duration of fetching, restoring and proving.
    pub duration_ms: u64,
    /// Problem that was found, also if another attempt restored it.
    pub message: Option<String>,
}

impl Rehearsal {
    /// End time, to the second.
    pub fn ended_at(&self) -> DateTime<Utc> {
        let duration_ms = i64::try_from(self.duration_ms).unwrap_or_default();
        self.started_at + TimeDelta::milliseconds(duration_ms)
    }

    /// Number of databases that came back.
    pub fn proven(&self) -> usize {
        let results = self.results.iter();
        results
            .filter(|one| one.outcome == RehearsalOutcome::Proven)
            .count()
    }

    /// True if every database came back and nothing was wrong.
    pub fn is_good(&self) -> bool {
        !self.results.is_empty()
            && self.proven() == self.results.len()
            && self.results.iter().all(|one| one.message.is_none())
    }
}

impl Catalog {
    /// Stores a drill and its alert changes.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn note_rehearsal(&self, rehearsal: &Rehearsal, news: &News) -> Result<(), CatalogError> {
        self.write(|transaction| {
            insert(transaction, rehearsal)?;
            let forget = "DELETE FROM rehearsals WHERE id <= (SELECT max(id) FROM rehearsals) - ?";
            transaction.execute(forget, [MOST_KEPT])?;
            announce(transaction, news).map(drop)
        })
    }

    /// Returns the last completed drill. `None`: there was none.
    ///
    /// # Errors
    /// If the file cannot be read.
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

    /// Returns the time of each database's last successful drill.
    ///
    /// # Errors
    /// If the file cannot be read.
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
