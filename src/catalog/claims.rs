//! Stores the last claim that this catalog made on each storage. Invariant: a claim's token is stored before the claim
//! is made, so that a process that dies in between recognizes it.

use rusqlite::{OptionalExtension, params};

use super::Catalog;
use super::error::CatalogError;
use super::row::number;

/// Last known claim on a storage.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldClaim {
    /// Number of the claim that is held; 0: none yet.
    pub number: u64,
    /// Token of the next claim, if one was about to be made. `None`: no claim is pending.
    pub pending: Option<String>,
}

impl Catalog {
    /// Returns the claim on `storage`; the default if none was ever made, or it was forgotten.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn held_claim(&self, storage: &str) -> Result<HeldClaim, CatalogError> {
        let sql = "SELECT number, pending FROM claims WHERE storage = ?";
        self.read(|connection| {
            let found = connection.query_row(sql, [storage], |row| {
                Ok(HeldClaim {
                    number: number(row, "number")?,
                    pending: row.get("pending")?,
                })
            });
            Ok(found.optional()?.unwrap_or_default())
        })
    }

    /// Stores the token of a claim that is about to be made.
    ///
    /// # Errors
    /// If the row cannot be written; the claim must not be made then.
    pub fn begin_claim(&self, storage: &str, token: &str) -> Result<(), CatalogError> {
        let sql = "INSERT INTO claims (storage, number, pending) VALUES (?, 0, ?)
                   ON CONFLICT (storage) DO UPDATE SET pending = excluded.pending";
        self.write(|transaction| {
            transaction.execute(sql, params![storage, token])?;
            Ok(())
        })
    }

    /// Records that the claim with this number was made.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn hold_claim(&self, storage: &str, number: u64) -> Result<(), CatalogError> {
        let sql = "UPDATE claims SET number = ?, pending = NULL WHERE storage = ?";
        self.write(|transaction| {
            transaction.execute(sql, params![super::row::integer(number), storage])?;
            Ok(())
        })
    }

    /// Removes all claims: the next claim is then made no matter which process made the last one, as long as that
    /// process belongs to the same installation.
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn forget_claims(&self) -> Result<(), CatalogError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM claims", [])?;
            Ok(())
        })
    }
}
