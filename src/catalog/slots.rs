//! Stores which slots (due times) of which task were taken, and in which order. Invariant: a taken slot is never taken
//! again, whatever the clock shows meanwhile, unless an earlier one was taken after it.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, params};

use super::Catalog;
use super::error::CatalogError;
use super::record::Slot;
use super::row::{number, optional_time, time};

/// Number of last taken slots known per task: a clock that goes back by less takes none twice.
const MOST_KNOWN: u32 = 4_000;

/// Older slots are deleted once per this many taken ones, because scanning all of them is not cheap.
const FORGOTTEN_EACH: i64 = 101;

impl Catalog {
    /// Returns the latest taken slot of a task that is not after `until`. `None`: none exists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last_slot(
        &self,
        task: &str,
        until: DateTime<Utc>,
    ) -> Result<Option<Slot>, CatalogError> {
        let sql = "SELECT * FROM slots WHERE task = ? AND slot <= ? ORDER BY slot DESC LIMIT 1";
        self.read(|connection| {
            Ok(connection
                .query_row(sql, params![task, until.timestamp()], |row| {
                    Ok(Slot {
                        at: time(row, "slot")?,
                        attempts: number(row, "attempts")?.try_into().unwrap_or(u32::MAX),
                        ended_at: optional_time(row, "ended_at")?,
                    })
                })
                .optional()?)
        })
    }

    /// Takes a slot, so that no other process takes it. Returns false if it was already taken.
    ///
    /// # Errors
    /// If the row cannot be written; the task must not run then.
    pub fn take_slot(&self, task: &str, slot: DateTime<Utc>) -> Result<bool, CatalogError> {
        let insert = "INSERT OR IGNORE INTO slots (task, slot, attempts) VALUES (?, ?, 1)";
        let forget = "DELETE FROM slots WHERE task = ?1 AND rowid NOT IN
                      (SELECT rowid FROM slots WHERE task = ?1 ORDER BY rowid DESC LIMIT ?2)";
        self.write(|transaction| {
            let is_new = transaction.execute(insert, params![task, slot.timestamp()])? == 1;
            if is_new && transaction.last_insert_rowid() % FORGOTTEN_EACH == 0 {
                transaction.execute(forget, params![task, MOST_KNOWN])?;
            }
            Ok(is_new)
        })
    }

    /// Returns the latest earlier slot that was taken after this one: of the same task, or one of any task that is
    /// older by more than `catch_up`, which bounds the delay with which a slot is taken. `None`: none exists, so that
    /// the clock was not ahead when this one was taken, or not for long.
    /// # Errors
    /// If the file cannot be read.
    pub fn earlier_taken_after(
        &self,
        task: &str,
        slot: DateTime<Utc>,
        catch_up: TimeDelta,
    ) -> Result<Option<DateTime<Utc>>, CatalogError> {
        // The order of the rows is that in which they were taken; only those after this one are read.
        let sql = "SELECT max(earlier.slot) AS earlier
                   FROM slots AS taken JOIN slots AS earlier NOT INDEXED ON earlier.rowid > taken.rowid
                   WHERE taken.task = ?1 AND taken.slot = ?2
                       AND (earlier.slot < ?3 OR (earlier.task = ?1 AND earlier.slot < ?2))";
        let oldest = slot.checked_sub_signed(catch_up);
        let oldest = oldest.unwrap_or(DateTime::<Utc>::MIN_UTC);
        let arguments = params![task, slot.timestamp(), oldest.timestamp()];
        self.read(|connection| {
            Ok(connection.query_row(sql, arguments, |row| optional_time(row, "earlier"))?)
        })
    }

    /// Takes a slot again whose work ended and after which `earlier` was taken. Returns false if it was taken again
    /// since then.
    ///
    /// # Errors
    /// If the row cannot be written; the task must not run then.
    pub fn take_anew(
        &self,
        task: &str,
        slot: DateTime<Utc>,
        earlier: DateTime<Utc>,
    ) -> Result<bool, CatalogError> {
        // A new row comes after all that were taken so far.
        let free = "DELETE FROM slots WHERE task = ? AND slot = ? AND ended_at IS NOT NULL
                        AND rowid < (SELECT max(rowid) FROM slots WHERE slot = ?)";
        let take = "INSERT INTO slots (task, slot, attempts) VALUES (?, ?, 1)";
        let (slot, earlier) = (slot.timestamp(), earlier.timestamp());
        self.write(|transaction| {
            let is_free = transaction.execute(free, params![task, slot, earlier])? == 1;
            if is_free {
                transaction.execute(take, params![task, slot])?;
            }
            Ok(is_free)
        })
    }

    /// Takes a slot again whose process ended before its work did. Returns false if the work ended, or the slot was
    /// never taken.
    ///
    /// # Errors
    /// If the row cannot be written; the task must not run then.
    pub fn retake_slot(&self, task: &str, slot: DateTime<Utc>) -> Result<bool, CatalogError> {
        let sql = "UPDATE slots SET attempts = attempts + 1
                   WHERE task = ? AND slot = ? AND ended_at IS NULL";
        self.write(
            |transaction| Ok(transaction.execute(sql, params![task, slot.timestamp()])? == 1),
        )
    }

    /// Records that the work of a slot ended, well or not: no restart repeats it.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn end_slot(
        &self,
        task: &str,
        slot: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let sql = "UPDATE slots SET ended_at = ? WHERE task = ? AND slot = ?";
        self.write(|transaction| {
            transaction.execute(sql, params![at.timestamp(), task, slot.timestamp()])?;
            Ok(())
        })
    }

    /// Records that the process was stopped before the work of a slot ended: the next start repeats it, and the attempt
    /// does not count.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn leave_slot(&self, task: &str, slot: DateTime<Utc>) -> Result<(), CatalogError> {
        let sql = "UPDATE slots SET attempts = attempts - 1
                   WHERE task = ? AND slot = ? AND ended_at IS NULL";
        self.write(|transaction| {
            transaction.execute(sql, params![task, slot.timestamp()])?;
            Ok(())
        })
    }
}
