//! Stores other installations' objects in the same storages. Invariant: they are counted and named, and nothing is
//! concluded from them or done to them.

use std::collections::BTreeSet;

use rusqlite::{OptionalExtension, params};

use crate::types::{DatabaseName, ObjectKey};

use super::Catalog;
use super::error::CatalogError;
use super::keeping::forget_placement;
use super::row::{number, parsed};

/// Known copies of a database that other installations wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Others {
    /// Number of copies.
    pub copies: u64,
    /// Last made of them.
    pub newest: ObjectKey,
    /// Installation that wrote that one.
    pub instance: String,
}

impl Catalog {
    /// True if this installation has a known object in `storage`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn has_own_in(&self, storage: &str) -> Result<bool, CatalogError> {
        let instance = self.instance()?;
        let sql = "SELECT EXISTS (SELECT 1 FROM copies WHERE instance = ?1 AND storage = ?2)
                OR EXISTS (SELECT 1 FROM archives WHERE instance = ?1 AND storage = ?2)";
        self.read(|connection| {
            Ok(connection.query_row(sql, params![instance, storage], |row| row.get(0))?)
        })
    }

    /// Returns the known copies of a database that other installations wrote. `None`: there are none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn others_of(&self, database: &DatabaseName) -> Result<Option<Others>, CatalogError> {
        let sql = "SELECT r2_key, instance, count(*) OVER () AS copies FROM (
                       SELECT DISTINCT r2_key, instance FROM copies WHERE database_name = ?
                           AND instance <> (SELECT id FROM instance))
                   LEFT JOIN made USING (r2_key) ORDER BY made.place DESC, made.at DESC LIMIT 1";
        self.read(|connection| {
            let found = connection.query_row(sql, [database.as_str()], |row| {
                Ok(Others {
                    copies: number(row, "copies")?,
                    newest: parsed(row, "r2_key")?,
                    instance: row.get("instance")?,
                })
            });
            Ok(found.optional()?)
        })
    }

    /// Returns the keys in `storage` that are known to belong to other installations.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn others_in(&self, storage: &str) -> Result<BTreeSet<ObjectKey>, CatalogError> {
        let sql = "SELECT r2_key FROM others WHERE storage = ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([storage], |row| parsed(row, "r2_key"))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Records which objects in `storage` other installations wrote.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn note_others(
        &self,
        storage: &str,
        others: &[(ObjectKey, String)],
    ) -> Result<(), CatalogError> {
        let sql = "INSERT OR REPLACE INTO others (r2_key, storage, instance) VALUES (?, ?, ?)";
        self.write(|transaction| {
            let mut statement = transaction.prepare(sql)?;
            for (key, instance) in others {
                statement.execute(params![key.as_str(), storage, instance])?;
            }
            Ok(())
        })
    }

    /// Removes another installation's object that is no longer in `storage`: it expired there, which is no damage here.
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn forget_other(&self, key: &ObjectKey, storage: &str) -> Result<(), CatalogError> {
        let sql = "DELETE FROM backup_inventory WHERE r2_key = ?1
                   AND NOT EXISTS (SELECT 1 FROM copies WHERE r2_key = ?1)
                   AND NOT EXISTS (SELECT 1 FROM archives WHERE r2_key = ?1)";
        self.write(|transaction| {
            forget_placement(transaction, &(key.clone(), storage.to_owned()))?;
            transaction.execute(sql, [key.as_str()])?;
            Ok(())
        })
    }
}
