//! Keeps how the last looks at a changed configuration ended, for commands and requests that ask a running daemon.

use chrono::{DateTime, Utc};
use rusqlite::{Row, params};

use super::Catalog;
use super::error::CatalogError;
use super::row::{CauseWord, ReloadOutcomeWord, integer, json, json_text, number, time};

/// So many are kept; the table is an answer, no history.
const MOST_KEPT: u32 = 100;

/// Why the daemon looked at its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGHUP: somebody waits for the answer.
    Asked,
    /// A file changed, or it was time to look.
    Noticed,
}

impl Cause {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Noticed => "noticed",
        }
    }
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadOutcome {
    /// Jobs that begin from now on work on what the files say.
    Applied,
    /// The files cannot be used; everything works on as before.
    Rejected,
    /// After a rejection the files are again what the daemon works on.
    Restored,
}

impl ReloadOutcome {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Rejected => "rejected",
            Self::Restored => "restored",
        }
    }
}

/// How one look at the configuration ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reload {
    /// Its number, which grows.
    pub id: u64,
    /// When, to the second.
    pub at: DateTime<Utc>,
    /// Why the daemon looked.
    pub cause: Cause,
    /// What became of it.
    pub outcome: ReloadOutcome,
    /// Of an applied one what changed, in sentences; of a rejected one every mistake.
    pub told: Vec<String>,
}

impl Catalog {
    /// Notes how a look at the configuration ended.
    ///
    /// # Errors
    /// Where the row cannot be written.
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

    /// The looks after the one of this number, the oldest first; after 0: all that are kept.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn reloads_after(&self, id: u64) -> Result<Vec<Reload>, CatalogError> {
        self.read(|connection| {
            let mut statement =
                connection.prepare("SELECT * FROM reloads WHERE id > ? ORDER BY id")?;
            let rows = statement.query_map([integer(id)], reload)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// How the last look ended. `None`: nothing changed since there is a catalog.
    ///
    /// # Errors
    /// Where the file cannot be read.
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
