//! Keeps what people should hear of.

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
