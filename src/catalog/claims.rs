//! Keeps which claim on each storage's place this catalog made last. Invariant: a claim's token is noted before the claim is
//! made, so that a process that dies in between knows it again.

use rusqlite::{OptionalExtension, params};

use super::Catalog;
use super::error::CatalogError;
use super::row::number;

/// What this catalog knows of its claim on a storage's place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HeldClaim {
    /// The number of the claim that is held; 0: none yet.
    pub number: u64,
    /// The token of the next one, where that was about to be made. `None`: it was not.
    pub pending: Option<String>,
}

impl Catalog {
    /// The claim on the place of `storage`; the default where none was ever made, or it was forgotten.
    ///
    /// # Errors
    /// Where the file cannot be read.
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

    /// Notes the token of a claim that is about to be made.
    ///
    /// # Errors
    /// Where the row cannot be written; the claim must not be made then.
    pub fn begin_claim(&self, storage: &str, token: &str) -> Result<(), CatalogError> {
        let sql = "INSERT INTO claims (storage, number, pending) VALUES (?, 0, ?)
                   ON CONFLICT (storage) DO UPDATE SET pending = excluded.pending";
        self.write(|transaction| {
            transaction.execute(sql, params![storage, token])?;
            Ok(())
        })
    }

    /// Notes that the claim with this number was made.
    ///
    /// # Errors
    /// Where the row cannot be written.
    pub fn hold_claim(&self, storage: &str, number: u64) -> Result<(), CatalogError> {
        let sql = "UPDATE claims SET number = ?, pending = NULL WHERE storage = ?";
        self.write(|transaction| {
            transaction.execute(sql, params![super::row::integer(number), storage])?;
            Ok(())
        })
    }

    /// Forgets all claims: the next one is made whoever made the last, as long as that is of the same installation.
    ///
    /// # Errors
    /// Where the rows cannot be removed.
    pub fn forget_claims(&self) -> Result<(), CatalogError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM claims", [])?;
            Ok(())
        })
    }
}
