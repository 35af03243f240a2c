//! Keeps what the last run of expiry did, and what kept the rest. Invariant: one run replaces the one before.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::Catalog;
use super::error::CatalogError;
use super::row::{integer, number, time};

/// One run of expiry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRun {
    /// When it decided, to the second.
    pub at: DateTime<Utc>,
    /// Objects that are gone from every storage.
    pub deleted: u64,
    /// Objects that could not be deleted.
    pub failed: u64,
    /// What it kept although it was old enough to go, in the order of the rules' names.
    pub kept: Vec<KeptByRule>,
}

/// What one rule kept.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeptByRule {
    /// The rule: one word, as `patina plan` shows it.
    pub rule: String,
    /// How many objects.
    pub objects: u64,
    /// Why, of the first of them.
    pub why: String,
}

impl Catalog {
    /// Notes what a run of expiry did.
    ///
    /// # Errors
    /// Where the rows cannot be written.
    pub fn note_expiry(&self, run: &ExpiryRun) -> Result<(), CatalogError> {
        let sql = "INSERT OR REPLACE INTO expiry (one, at, deleted, failed) VALUES (1, ?, ?, ?)";
        let kept = "INSERT INTO expiry_kept (rule, objects, why) VALUES (?, ?, ?)";
        self.write(|transaction| {
            let (deleted, failed) = (integer(run.deleted), integer(run.failed));
            transaction.execute(sql, params![run.at.timestamp(), deleted, failed])?;
            transaction.execute("DELETE FROM expiry_kept", [])?;
            for by in &run.kept {
                transaction.execute(kept, params![by.rule, integer(by.objects), by.why])?;
            }
            Ok(())
        })
    }

    /// The last run of expiry. `None`: there never was one.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn last_expiry(&self) -> Result<Option<ExpiryRun>, CatalogError> {
        self.read(|connection| {
            let run = connection.query_row("SELECT * FROM expiry", [], |row| {
                Ok(ExpiryRun {
                    at: time(row, "at")?,
                    deleted: number(row, "deleted")?,
                    failed: number(row, "failed")?,
                    kept: Vec::new(),
                })
            });
            let Some(mut run) = run.optional()? else {
                return Ok(None);
            };
            let mut statement = connection.prepare("SELECT * FROM expiry_kept ORDER BY rule")?;
            let kept = statement.query_map([], |row| {
                Ok(KeptByRule {
                    rule: row.get("rule")?,
                    objects: number(row, "objects")?,
                    why: row.get("why")?,
                })
            })?;
            run.kept = kept.collect::<Result<_, _>>()?;
            Ok(Some(run))
        })
    }
}
