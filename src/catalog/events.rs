//! Stores events for people.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::record::{Event, EventKind};
use super::row::{EventKindWord, integer, optional_parsed, severity, severity_word, time};
use crate::config::AlertLevel;
use crate::excerpt::{EVENT_CHARS, excerpt};
use crate::types::JobId;

impl Catalog {
    /// Writes events that belong to no other row.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn tell(&self, events: &[Event]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            events
                .iter()
                .try_for_each(|event| insert_event(transaction, event))
        })
    }

    /// Writes an event unless the same kind and message was written after `since`. Returns false if it was. An event
    /// dated in the future (written before the clock was set back) does not count.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn tell_unless_told(
        &self,
        event: &Event,
        since: DateTime<Utc>,
    ) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE kind = ?1 AND message = ?2
                      AND at > ?3 AND at <= ?4)";
        self.write(|transaction| {
            let (since, now) = (since.timestamp(), event.at.timestamp());
            let row = params![event.kind.as_str(), event.message, since, now];
            let is_told: bool = transaction.query_row(sql, row, |row| row.get(0))?;
            if !is_told {
                insert_event(transaction, event)?;
            }
            Ok(!is_told)
        })
    }

    /// Returns the last `limit` events, the newest first; without starts of jobs, which only heartbeat sinks get.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn events(&self, limit: usize) -> Result<Vec<Event>, CatalogError> {
        let sql = "SELECT * FROM events WHERE kind <> ? ORDER BY id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let started = EventKind::BackupStarted.as_str();
            let rows = statement.query_map(params![started, integer(limit as u64)], event_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns once this process has written an event, or at once if one was written since the last call returned.
    pub async fn told(&self) {
        self.told.notified().await;
    }
}

/// Context of an event besides its message.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Besides {
    /// Job that it is about.
    pub(super) job: Option<JobId>,
    /// Kind and severity of the condition that it resolves.
    pub(super) resolves: Option<(EventKind, AlertLevel)>,
}

pub(super) fn insert_event(connection: &Connection, event: &Event) -> Result<(), Stop> {
    insert(connection, event, Besides::default())
}

pub(super) fn insert(connection: &Connection, event: &Event, besides: Besides) -> Result<(), Stop> {
    let resolves = besides.resolves;
    connection.execute(
        "INSERT INTO events (at, kind, severity, database_name, message, uid, job_id, resolves,
            resolves_severity)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            event.at.timestamp(),
            event.kind.as_str(),
            severity_word(event.severity),
            event.database.as_ref().map(|name| name.as_str()),
            excerpt(&event.message, EVENT_CHARS),
            uuid::Uuid::new_v4().to_string(),
            besides.job.map(|job| job.to_string()),
            resolves.map(|(kind, _)| kind.as_str()),
            resolves.map(|(_, severity)| severity_word(severity)),
        ],
    )?;
    Ok(())
}

/// True if an event waits to be routed to sinks.
pub(super) fn are_waiting(connection: &Connection) -> Result<bool, Stop> {
    let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE routed = 0)";
    Ok(connection.query_row(sql, [], |row| row.get(0))?)
}

pub(super) fn event_of(row: &Row<'_>) -> rusqlite::Result<Event> {
    Ok(Event {
        kind: row.get::<_, EventKindWord>("kind")?.0,
        severity: severity(row)?,
        database: optional_parsed(row, "database_name")?,
        message: row.get("message")?,
        at: time(row, "at")?,
    })
}
