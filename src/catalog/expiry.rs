//! Stores the result of the last expiry run, and which rules kept objects. Invariant: each run replaces the previous
//! one.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, params};

use super::Catalog;
use super::error::CatalogError;
use super::row::{integer, number, time};

/// Expiry run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRun {
    /// Time of the decision, to the second.
    pub at: DateTime<Utc>,
    /// Number of objects deleted from every storage.
    pub deleted: u64,
    /// Number of objects that could not be deleted.
    pub failed: u64,
    /// Objects that were old enough to expire and were kept, by rule, in the order of the rules' names.
    pub kept: Vec<KeptByRule>,
}

/// Objects kept by one rule.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct KeptByRule {
    /// Rule: one word, as `patina plan` shows it.
    pub rule: String,
    /// Number of objects.
    pub objects: u64,
    /// Reason, of the first of them.
    pub why: String,
}

impl Catalog {
    /// Stores the result of an expiry run.
    ///
    /// # Errors
    /// If the rows cannot be written.
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

    /// Returns the last expiry run. `None`: there was none.
    ///
    /// # Errors
    /// If the file cannot be read.
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
