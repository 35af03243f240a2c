//! Stores the samples that new copies are compared with. Invariant: it contains only good copies.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::record::ResultStatus;
use super::row::{ResultStatusWord, integer, manifest_text, number, parsed};
use crate::anomaly::{Ending, ROWS_DAYS, Sample};
use crate::types::{BackupDate, CopyForm, DatabaseName, Manifest, ObjectKey};

/// Days to keep samples: no rule compares with older copies; the rest is room for a clock that was set.
const KEPT_DAYS: u64 = ROWS_DAYS + 7;

/// Upper bound for outcomes read; no rule needs more failures in a row.
const MOST_ENDINGS: u32 = 1_000;

impl Catalog {
    /// Returns the good copies of a database of the last weeks, except `without`, the newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn samples(
        &self,
        database: &DatabaseName,
        without: &ObjectKey,
    ) -> Result<Vec<Sample>, CatalogError> {
        self.select_samples(database, without, "1")
    }

    /// Same as [`Catalog::samples`], restricted to the form of `without`: an image differs in size from SQL text of the
    /// same rows.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn samples_of_form(
        &self,
        database: &DatabaseName,
        without: &ObjectKey,
    ) -> Result<Vec<Sample>, CatalogError> {
        let is_of_form = match without.form() {
            CopyForm::Image => "r2_key GLOB '*.sqlite*'",
            CopyForm::Sql => "r2_key NOT GLOB '*.sqlite*'",
        };
        self.select_samples(database, without, is_of_form)
    }

    fn select_samples(
        &self,
        database: &DatabaseName,
        without: &ObjectKey,
        is_wanted: &str,
    ) -> Result<Vec<Sample>, CatalogError> {
        let sql = format!(
            "SELECT * FROM samples WHERE database_name = ? AND r2_key <> ? AND {is_wanted}
             ORDER BY backup_date DESC, created_at DESC, r2_key DESC"
        );
        self.read(|connection| {
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map([database.as_str(), without.as_str()], |row| {
                let tables = row.get_ref("tables")?.as_str()?;
                let tables: BTreeMap<String, u64> = serde_json::from_str(tables)
                    .map_err(|error| FromSqlError::Other(error.to_string().into()))?;
                Ok(Sample {
                    date: parsed(row, "backup_date")?,
                    size_bytes: number(row, "plain_bytes")?,
                    schema: parsed(row, "schema_sha256")?,
                    tables,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the outcomes of the last backups of a database, the newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn endings(&self, database: &DatabaseName) -> Result<Vec<Ending>, CatalogError> {
        let sql = "SELECT status FROM backup_results WHERE database_name = ?
                   ORDER BY started_at DESC, id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map(params![database.as_str(), MOST_ENDINGS], |row| {
                let status = row.get::<_, ResultStatusWord>("status")?.0;
                Ok(match status {
                    ResultStatus::Success => Ending::Good,
                    ResultStatus::Failed => Ending::Failed,
                    ResultStatus::Skipped | ResultStatus::Interrupted => Ending::Neither,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}

/// Converts a manifest to the sample that the rules use.
pub(crate) fn sample_of(manifest: &Manifest) -> Sample {
    let tables = manifest.evidence.tables.iter();
    Sample {
        date: manifest.date,
        size_bytes: manifest.plain.size_bytes,
        schema: manifest.evidence.schema,
        tables: tables
            .map(|table| (table.name.clone(), table.rows))
            .collect(),
    }
}

/// Inserts a copy if it is good, and deletes samples that are too old to be compared with.
pub(super) fn insert_sample(
    connection: &Connection,
    manifest: &Manifest,
    created_at: DateTime<Utc>,
) -> Result<(), Stop> {
    if !manifest.counts() {
        return Ok(());
    }
    let sample = sample_of(manifest);
    connection.execute(
        "INSERT OR IGNORE INTO samples VALUES (?, ?, ?, ?, ?, ?, ?)",
        params![
            manifest.key.as_str(),
            manifest.database.as_str(),
            manifest.date.to_string(),
            created_at.timestamp(),
            integer(sample.size_bytes),
            sample.schema.to_string(),
            manifest_text(&sample.tables),
        ],
    )?;
    forget(connection, &manifest.database, manifest.date)
}

fn forget(connection: &Connection, database: &DatabaseName, date: BackupDate) -> Result<(), Stop> {
    let first = date.minus_days(KEPT_DAYS).to_string();
    // The last one stays regardless of its age: the next copy is compared with it.
    let sql = "DELETE FROM samples WHERE database_name = ?1 AND backup_date < ?2
                  AND backup_date < (SELECT max(backup_date) FROM samples WHERE database_name = ?1)";
    connection.execute(sql, [database.as_str(), &first])?;
    Ok(())
}
