//! Keeps what hooks say of a result: labels, and that a hook failed although the copy is good.

use std::collections::BTreeMap;

use rusqlite::params;

use super::{Catalog, CatalogError, Run};
use crate::types::{DatabaseName, JobId};

impl Run {
    /// Notes that something about the job is not as it should be although its copies are good; `None`: about no single
    /// database. It is one of the job's `degraded` texts.
    ///
    /// # Errors
    /// Where the row cannot be written.
    pub fn note(&self, database: Option<&DatabaseName>, message: &str) -> Result<(), CatalogError> {
        self.catalog.write(|transaction| {
            super::write::insert_note(transaction, self.id, database, "degraded", message)
        })
    }

    /// Keeps labels with a database's result; one that is there gets the new value.
    ///
    /// # Errors
    /// Where the rows cannot be written.
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
    /// The labels of one database's result in a job; empty where there are none.
    ///
    /// # Errors
    /// Where the file cannot be read.
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
