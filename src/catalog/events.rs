//! Keeps what people should hear of, and which due moments were taken.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::record::Event;
use super::row::{EventKindWord, integer, optional_parsed, severity, severity_word, time};

impl Catalog {
    /// Writes down what people should hear of, where nothing else is written with it.
    ///
    /// # Errors
    /// Where the rows cannot be written.
    pub fn tell(&self, events: &[Event]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            events
                .iter()
                .try_for_each(|event| insert_event(transaction, event))
        })
    }

    /// The last `limit` events, the newest first.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn events(&self, limit: usize) -> Result<Vec<Event>, CatalogError> {
        let sql = "SELECT * FROM events ORDER BY id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([integer(limit as u64)], |row| {
                Ok(Event {
                    kind: row.get::<_, EventKindWord>("kind")?.0,
                    severity: severity(row)?,
                    database: optional_parsed(row, "database_name")?,
                    message: row.get("message")?,
                    at: time(row, "at")?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The last due moment of a task that was taken. `None`: none ever was.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn last_slot(&self, task: &str) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let sql = "SELECT slot FROM slots WHERE task = ?";
        self.read(|connection| {
            Ok(connection
                .query_row(sql, [task], |row| time(row, "slot"))
                .optional()?)
        })
    }

    /// Takes a due moment, so that nobody takes it again. False: this one or a later one was taken before.
    ///
    /// # Errors
    /// Where the row cannot be written; the task must not run then.
    pub fn take_slot(&self, task: &str, slot: DateTime<Utc>) -> Result<bool, CatalogError> {
        let sql = "INSERT INTO slots (task, slot) VALUES (?1, ?2)
                   ON CONFLICT (task) DO UPDATE SET slot = excluded.slot WHERE slot < excluded.slot";
        self.write(
            |transaction| Ok(transaction.execute(sql, params![task, slot.timestamp()])? == 1),
        )
    }
}

pub(super) fn insert_event(connection: &Connection, event: &Event) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO events (at, kind, severity, database_name, message) VALUES (?, ?, ?, ?, ?)",
        params![
            event.at.timestamp(),
            event.kind.as_str(),
            severity_word(event.severity),
            event.database.as_ref().map(|name| name.as_str()),
            event.message,
        ],
    )?;
    Ok(())
}
