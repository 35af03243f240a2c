//! Adopts objects that the storages hold and the catalog does not know. Invariant: an adopted object counts as never
//! verified, and a known one stays unchanged.

use rusqlite::{Connection, params};

use crate::types::ObjectKey;

use super::Catalog;
use super::archives;
use super::error::{CatalogError, Stop};
use super::order::insert_adopted;
use super::record::{Adoption, Record};
use super::write::{self, table_of};

impl Catalog {
    /// Adopts objects of one storage. Returns the keys that are known with other content, each with the error message.
    ///
    /// # Errors
    /// If the rows cannot be written; then nothing is adopted.
    pub fn adopt_all(
        &self,
        storage: &str,
        adoptions: &[Adoption],
    ) -> Result<Vec<(ObjectKey, String)>, CatalogError> {
        self.write(|transaction| {
            let mut refused = Vec::new();
            for adoption in adoptions {
                match insert(transaction, storage, adoption) {
                    Err(Stop::Refused(error @ CatalogError::Conflict { .. })) => {
                        refused.push((adoption.record.key().clone(), error.to_string()));
                    }
                    result => result?,
                }
            }
            Ok(refused)
        })
    }

    /// Returns the installations that wrote the known objects, in the order of their ids.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn instances(&self) -> Result<Vec<String>, CatalogError> {
        let sql = "SELECT instance FROM copies UNION SELECT instance FROM archives ORDER BY 1";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let ids = statement.query_map([], |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })
    }

    /// Takes over the id of an installation whose catalog was lost, unless this one stored anything under its own id.
    /// Returns the id in effect afterwards.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn take_over(&self, instance: &str) -> Result<String, CatalogError> {
        let own = "instance = (SELECT id FROM instance)";
        let sql = format!(
            "INSERT INTO instance SELECT 1, ?1 WHERE NOT EXISTS (SELECT 1 FROM copies WHERE {own})
                AND NOT EXISTS (SELECT 1 FROM archives WHERE {own})
             ON CONFLICT DO UPDATE SET id = excluded.id"
        );
        self.write(|transaction| {
            transaction.execute(&sql, [instance])?;
            // Objects that belonged to another installation must be classified again.
            transaction.execute("DELETE FROM others", [])?;
            Ok(transaction.query_row("SELECT id FROM instance", [], |row| row.get(0))?)
        })
    }
}

fn insert(connection: &Connection, storage: &str, adoption: &Adoption) -> Result<(), Stop> {
    let key = adoption.record.key();
    forget_deletion(connection, key)?;
    insert_adopted(connection, adoption)?;
    let (created_at, expires_at) = (adoption.created_at, adoption.expires_at);
    match &adoption.record {
        Record::Daily(manifest) => {
            write::insert_inventory(connection, manifest, created_at, expires_at)?;
            write::insert_copy(connection, manifest, storage, created_at, None)
        }
        Record::Weekly(manifest) => {
            archives::insert_inventory(connection, manifest, created_at, expires_at)?;
            archives::insert_archive(connection, manifest, storage, created_at, None)
        }
    }
}

/// Clears the deletion mark of an object that expired and exists again: somebody put it back.
fn forget_deletion(connection: &Connection, key: &ObjectKey) -> Result<(), Stop> {
    let sql = format!(
        "UPDATE backup_inventory SET deleted_at = NULL
         WHERE r2_key = ?1 AND NOT EXISTS (SELECT 1 FROM {} WHERE r2_key = ?1)",
        table_of(key)
    );
    connection.execute(&sql, params![key.as_str()])?;
    Ok(())
}
