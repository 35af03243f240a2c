//! Keeps what people should hear of.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

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

    /// Writes it down unless the same was told since then. False: it was.
    ///
    /// # Errors
    /// Where the row cannot be written.
    pub fn tell_unless_told(
        &self,
        event: &Event,
        since: DateTime<Utc>,
    ) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM events WHERE kind = ? AND message = ? AND at > ?)";
        self.write(|transaction| {
            let row = params![event.kind.as_str(), event.message, since.timestamp()];
            let is_told: bool = transaction.query_row(sql, row, |row| row.get(0))?;
            if !is_told {
                insert_event(transaction, event)?;
            }
            Ok(!is_told)
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
