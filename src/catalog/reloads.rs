//! Stores the results of the last configuration reloads, for commands and requests that ask a running daemon.

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::Catalog;
use super::error::CatalogError;
use super::row::{CauseWord, ReloadOutcomeWord, integer, json, json_text, number, time};

/// Upper bound for stored reloads; the table answers questions and is no history.
const MOST_KEPT: u32 = 100;

/// Cause of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP: somebody waits for the result.
    Asked,
    /// A file changed, or the timer fired.
    Noticed,
}

impl Cause {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Noticed => "noticed",
        }
    }
}

/// Outcome of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// Jobs that begin from now on use the new configuration.
    Applied,
    /// The files cannot be used; everything keeps the old configuration.
    Rejected,
    /// After a rejection the files match the configuration in use again.
    Restored,
}

impl ReloadOutcome {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Restored => "restored",
        }
    }
}

/// Result of one reload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// Id, which grows.
    pub id: u64,
    /// Time, to the second.
    pub at: DateTime<Utc>,
    /// Cause of the reload.
    pub cause: Cause,
    /// Outcome.
    pub outcome: ReloadOutcome,
    /// Changes, as sentences, if it was applied; every mistake if it was rejected.
    pub told: Vec<String>,
}

impl Catalog {
    /// Stores the result of a reload.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn note_reload(
        &self,
        at: DateTime<Utc>,
        cause: Cause,
        outcome: ReloadOutcome,
        told: &[String],
    ) -> Result<(), CatalogError> {
        let insert = "INSERT INTO reloads (at, cause, outcome, told) VALUES (?, ?, ?, ?)";
        let forget = "DELETE FROM reloads WHERE id <= (SELECT max(id) FROM reloads) - ?";
        self.write(|transaction| {
            let (cause, outcome, told) = (cause.as_str(), outcome.as_str(), json_text(&told));
            transaction.execute(insert, params![at.timestamp(), cause, outcome, told])?;
            transaction.execute(forget, [MOST_KEPT])?;
            Ok(())
        })
    }

    /// Returns the reloads after the one with this id, the oldest first; after 0: all that are stored.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn reloads_after(&self, id: u64) -> Result<Vec<Reload>, CatalogError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT * FROM reloads WHERE id > ? ORDER BY id")?;
            let rows = statement.query_map([integer(id)], reload)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the last reload. `None`: nothing changed since the catalog was created.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last_reload(&self) -> Result<Option<Reload>, CatalogError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT * FROM reloads ORDER BY id DESC LIMIT 1")?;
            let mut rows = statement.query_map([], reload)?;
            Ok(rows.next().transpose()?)
        })
    }
}

fn reload(row: &Row<'_>) -> rusqlite::Result<Reload> {
    Ok(Reload {
        id: number(row, "id")?,
        at: time(row, "at")?,
        cause: row.get::<_, CauseWord>("cause")?.0,
        outcome: row.get::<_, ReloadOutcomeWord>("outcome")?.0,
        told: json(row, "told")?,
    })
}
