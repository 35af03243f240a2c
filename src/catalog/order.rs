//! Keeps the order in which copies were made. Invariant: a clock that ran ahead puts no copy before one that was
//! committed later, and nothing it dated counts as fresh.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};

use crate::anomaly::CLOCK_TOLERANCE;
use crate::types::{DatabaseName, Manifest, ObjectKey};

use super::error::{CatalogError, Stop};
use super::row::parsed;
use super::shelf::{Good, select_good};
use super::{Adoption, Catalog, Record};

/// The last made first, of rows that are joined with `made`.
pub(super) const NEWEST_FIRST: &str =
    "coalesce(made.place, 0) DESC, coalesce(made.at, 0) DESC, r2_key DESC";

/// The condition that a row of `copies` or `archives` is of this installation. Before it has an id, all are.
pub(super) fn is_ours(alias: &str) -> String {
    format!("{alias}.instance = coalesce((SELECT id FROM instance), {alias}.instance)")
}

impl Catalog {
    /// The copy by which the freshness of a database is measured: the newest good one of this installation, as an object
    /// of its own or inside an archive, that is not dated in the future. `None`: there is none.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn freshness_copy(
        &self,
        database: &DatabaseName,
        now: DateTime<Utc>,
    ) -> Result<Option<Good>, CatalogError> {
        let latest = (now + CLOCK_TOLERANCE).timestamp();
        self.read(|connection| select_good(connection, database, Some(latest)))
    }

    /// The copies that are dated later than they can have been made, as far as that shows at `now`.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn dated_ahead(&self, now: DateTime<Utc>) -> Result<BTreeSet<ObjectKey>, CatalogError> {
        let sql = "SELECT r2_key FROM made WHERE is_ahead OR at > ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let latest = (now + CLOCK_TOLERANCE).timestamp();
            let rows = statement.query_map([latest], |row| parsed(row, "r2_key"))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Notes which copies have dates that `now`, the time of a later look, shows to be wrong. What was noted stays: once
    /// that date has come, nothing else tells.
    ///
    /// # Errors
    /// Where the rows cannot be written.
    pub fn note_dated_ahead(&self, now: DateTime<Utc>) -> Result<(), CatalogError> {
        let is_any = self.read(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM made WHERE at > ? AND NOT is_ahead)";
            let latest = (now + CLOCK_TOLERANCE).timestamp();
            Ok(connection.query_row(sql, [latest], |row| row.get::<_, bool>(0))?)
        })?;
        match is_any {
            true => self.write(|transaction| note_ahead(transaction, now)),
            false => Ok(()),
        }
    }
}

/// The same, where a transaction is open.
pub(super) fn note_ahead(connection: &Connection, now: DateTime<Utc>) -> Result<(), Stop> {
    let sql = "UPDATE made SET is_ahead = 1 WHERE at > ? AND NOT is_ahead";
    connection.execute(sql, [(now + CLOCK_TOLERANCE).timestamp()])?;
    Ok(())
}

/// A copy that is committed now is the last one, whatever its clock says.
pub(super) fn insert_committed(
    connection: &Connection,
    manifest: &Manifest,
    at: DateTime<Utc>,
) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO made SELECT ?1, ?2, ?3, coalesce(max(place), 0) + 1, 0 FROM made WHERE place >= 0
         ON CONFLICT DO NOTHING",
        params![
            manifest.key.as_str(),
            manifest.database.as_str(),
            at.timestamp()
        ],
    )?;
    Ok(())
}

/// What was found in a storage: a copy, or those that an archive holds.
pub(super) fn insert_adopted(connection: &Connection, adoption: &Adoption) -> Result<(), Stop> {
    let (at, is_ahead) = (adoption.made_at, adoption.is_ahead);
    match &adoption.record {
        Record::Daily(manifest) => insert_found(connection, manifest, at, is_ahead),
        Record::Weekly(archive) => archive.members.iter().try_for_each(|member| {
            insert_member(connection, &member.manifest, adoption.created_at, is_ahead)
        }),
    }
}

/// A copy inside an archive that was made at `archived_at`.
pub(super) fn insert_member(
    connection: &Connection,
    manifest: &Manifest,
    archived_at: DateTime<Utc>,
    is_ahead: bool,
) -> Result<(), Stop> {
    let made_at = manifest
        .completed()
        .map_or(archived_at, |at| at.min(archived_at));
    let is_ahead = is_ahead || is_dated_ahead(manifest, archived_at);
    insert_found(connection, manifest, made_at, is_ahead)
}

/// Whether a manifest says that its copy was made later than `latest`, or stands for a day after that.
pub fn is_dated_ahead(manifest: &Manifest, latest: DateTime<Utc>) -> bool {
    // No zone is a whole day ahead of UTC.
    let last_day = (latest + CLOCK_TOLERANCE + TimeDelta::days(1)).date_naive();
    let completed = manifest.completed();
    completed.is_some_and(|at| at > latest + CLOCK_TOLERANCE) || manifest.date.0 > last_day
}

/// One that is dated ahead comes after all others: nobody knows when it was made.
fn insert_found(
    connection: &Connection,
    manifest: &Manifest,
    at: DateTime<Utc>,
    is_ahead: bool,
) -> Result<(), Stop> {
    let sql =
        "INSERT OR IGNORE INTO made SELECT ?1, ?2, ?3, iif(?4, -1, coalesce((SELECT place FROM made
                   WHERE at <= ?3 AND place >= 0 ORDER BY at DESC, place DESC LIMIT 1), 0)), ?4";
    connection.prepare_cached(sql)?.execute(params![
        manifest.key.as_str(),
        manifest.database.as_str(),
        at.timestamp(),
        is_ahead
    ])?;
    Ok(())
}
