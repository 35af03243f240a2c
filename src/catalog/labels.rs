//! Stores the labels that hooks set on a result, and failures of hooks whose copy is good.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{Catalog, CatalogError, Run};
use crate::types::{DatabaseName, JobId};

impl Run {
    /// Records that something about the job is degraded although its copies are good; `None`: about no single database.
    /// It becomes one of the job's `degraded` texts.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn note(&self, database: Option<&DatabaseName>, message: &str) -> Result<(), CatalogError> {
        self.catalog.write(|transaction| {
            super::write::insert_note(transaction, self.id, database, "degraded", message)
        })
    }

    /// Stores labels of a database's result; an existing label gets the new value.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn label(
        &self,
        database: &DatabaseName,
        labels: &BTreeMap<String, String>,
    ) -> Result<(), CatalogError> {
        self.catalog.write(|transaction| {
            let sql = "INSERT INTO result_labels (job_id, database_name, name, value)
                       VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = excluded.value";
            let mut statement = transaction.prepare(sql)?;
            for (name, value) in labels {
                statement.execute(params![self.id.to_string(), database.as_str(), name, value])?;
            }
            Ok(())
        })
    }
}

impl Catalog {
    /// Returns the labels of a database's result in a job; empty if there are none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn labels(
        &self,
        job: JobId,
        database: &DatabaseName,
    ) -> Result<BTreeMap<String, String>, CatalogError> {
        let sql = "SELECT name, value FROM result_labels WHERE job_id = ? AND database_name = ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
            let rows = statement.query_map(params![job.to_string(), database.as_str()], row)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }
}
