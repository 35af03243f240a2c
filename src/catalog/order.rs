//! Stores the order in which copies were made. Invariant: a clock that ran ahead puts no copy before one that was
//! committed later, and no copy dated by it counts as fresh; nor does one put into a storage without this catalog.
//!
//! Remaining limit: manifests are not signed, so that one with a credible date cannot be distinguished from a copy that
//! was committed here before the catalog was lost. `patina rebuild` relies on a person's word about the contents of the
//! storages: anyone who can write to a storage then decides which copy is the newest.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};

use crate::anomaly::CLOCK_TOLERANCE;
use crate::types::{DatabaseName, Manifest, ObjectKey};

use super::archives::ALL_DATABASES;
use super::error::{CatalogError, Stop};
use super::row::parsed;
use super::shelf::{Good, select_good};
use super::{Adoption, Catalog, Record};

/// Sort order with the last made first, for rows joined with `made`.
pub(super) const NEWEST_FIRST: &str =
    "coalesce(made.place, 0) DESC, coalesce(made.at, 0) DESC, r2_key DESC";

/// Condition that a row of `copies` or `archives` belongs to this installation. Before it has an id, all do.
pub(super) fn is_ours(alias: &str) -> String {
    format!("{alias}.instance = coalesce((SELECT id FROM instance), {alias}.instance)")
}

/// Keys of copies that other installations wrote: few, and found by an index.
pub(super) const OTHERS: &str =
    "(SELECT r2_key FROM copies WHERE instance < (SELECT id FROM instance)
    UNION ALL SELECT r2_key FROM copies WHERE instance > (SELECT id FROM instance))";

/// Condition that a row of `copies` or `archives` was committed here, or confirmed by a person.
pub(super) fn is_confirmed(alias: &str) -> String {
    format!(
        "NOT EXISTS (SELECT 1 FROM made AS found
            WHERE found.r2_key = {alias}.r2_key AND found.doubt = {UNCONFIRMED})"
    )
}

/// Value of `made.doubt` for a copy dated later than it can have been made.
pub(super) const AHEAD: i64 = 1;

/// Value of `made.doubt` for a copy that was found in a storage and never committed here.
pub(super) const UNCONFIRMED: i64 = 2;

impl Catalog {
    /// Returns the copy that determines the freshness of a database: the newest good one of this installation, as an
    /// object of its own or inside an archive, whose date is credible and not in the future. `None`: none exists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn freshness_copy(
        &self,
        database: &DatabaseName,
        now: DateTime<Utc>,
    ) -> Result<Option<Good>, CatalogError> {
        let latest = (now + CLOCK_TOLERANCE).timestamp();
        self.read(|connection| select_good(connection, database, Some(latest)))
    }

    /// Returns the copies dated later than they can have been made, as far as known at `now`.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn dated_ahead(&self, now: DateTime<Utc>) -> Result<BTreeSet<ObjectKey>, CatalogError> {
        let sql = "SELECT r2_key FROM made WHERE doubt = 1 OR at > ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let latest = (now + CLOCK_TOLERANCE).timestamp();
            let rows = statement.query_map([latest], |row| parsed(row, "r2_key"))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the copies that were found in a storage and never committed here.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unconfirmed(&self) -> Result<BTreeSet<ObjectKey>, CatalogError> {
        // All of them have a negative place, which makes them quick to find.
        let sql = "SELECT r2_key FROM made WHERE place < 0 AND doubt = ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([UNCONFIRMED], |row| parsed(row, "r2_key"))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Confirms that the copies found in the storages are this installation's: each gets the place that its date
    /// implies.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn confirm_found(&self) -> Result<(), CatalogError> {
        let sql =
            "UPDATE made SET doubt = 0, place = coalesce((SELECT earlier.place FROM made AS earlier
                       WHERE earlier.at <= made.at AND earlier.place >= 0
                       ORDER BY earlier.at DESC, earlier.place DESC LIMIT 1), 0)
                   WHERE place < 0 AND doubt = ?";
        self.write(|transaction| {
            transaction.execute(sql, [UNCONFIRMED])?;
            Ok(())
        })
    }

    /// Records which copies have dates that `now`, a later time, shows to be wrong. The record stays: once that date
    /// has passed, nothing else shows the error.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn note_dated_ahead(&self, now: DateTime<Utc>) -> Result<(), CatalogError> {
        let is_any = self.read(|connection| {
            let sql = "SELECT EXISTS (SELECT 1 FROM made WHERE at > ? AND doubt <> 1)";
            let latest = (now + CLOCK_TOLERANCE).timestamp();
            Ok(connection.query_row(sql, [latest], |row| row.get::<_, bool>(0))?)
        })?;
        match is_any {
            true => self.write(|transaction| note_ahead(transaction, now)),
            false => Ok(()),
        }
    }
}

/// Same as [`Catalog::note_dated_ahead`], inside a transaction.
pub(super) fn note_ahead(connection: &Connection, now: DateTime<Utc>) -> Result<(), Stop> {
    let sql = "UPDATE made SET doubt = 1 WHERE at > ? AND doubt <> 1";
    connection.execute(sql, [(now + CLOCK_TOLERANCE).timestamp()])?;
    Ok(())
}

/// Inserts a copy that is committed now: it is the last one, regardless of the clock.
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

/// Inserts an object found in a storage: a copy, or the members of an archive.
pub(super) fn insert_adopted(connection: &Connection, adoption: &Adoption) -> Result<(), Stop> {
    let doubt = match (adoption.is_ahead, adoption.is_unconfirmed) {
        (true, _) => AHEAD,
        (false, true) => UNCONFIRMED,
        (false, false) => 0,
    };
    match &adoption.record {
        Record::Daily(manifest) => insert_found(connection, manifest, adoption.made_at, doubt),
        Record::Weekly(archive) => {
            if doubt == UNCONFIRMED {
                // Its members may be known, but the archive may contain anything under their keys.
                let key = (archive.key.as_str(), ALL_DATABASES);
                insert_doubtful(connection, key, adoption.made_at, doubt)?;
            }
            archive.members.iter().try_for_each(|member| {
                insert_member(connection, &member.manifest, adoption.created_at, doubt)
            })
        }
    }
}

/// Inserts a copy inside an archive that was made at `archived_at`.
pub(super) fn insert_member(
    connection: &Connection,
    manifest: &Manifest,
    archived_at: DateTime<Utc>,
    doubt: i64,
) -> Result<(), Stop> {
    let made_at = manifest
        .completed()
        .map_or(archived_at, |at| at.min(archived_at));
    let doubt = match is_dated_ahead(manifest, archived_at) {
        true => AHEAD,
        false => doubt,
    };
    insert_found(connection, manifest, made_at, doubt)
}

/// True if a manifest claims that its copy was made later than `latest`, or is of a day after that.
pub fn is_dated_ahead(manifest: &Manifest, latest: DateTime<Utc>) -> bool {
    // No time zone is a whole day ahead of UTC.
    let last_day = (latest + CLOCK_TOLERANCE + TimeDelta::days(1)).date_naive();
    let completed = manifest.completed();
    completed.is_some_and(|at| at > latest + CLOCK_TOLERANCE) || manifest.date.0 > last_day
}

/// Inserts a copy found in a storage. One in doubt comes after all others, because its real time is unknown.
fn insert_found(
    connection: &Connection,
    manifest: &Manifest,
    at: DateTime<Utc>,
    doubt: i64,
) -> Result<(), Stop> {
    let key = (manifest.key.as_str(), manifest.database.as_str());
    insert_doubtful(connection, key, at, doubt)
}

fn insert_doubtful(
    connection: &Connection,
    (key, database): (&str, &str),
    at: DateTime<Utc>,
    doubt: i64,
) -> Result<(), Stop> {
    let sql =
        "INSERT OR IGNORE INTO made SELECT ?1, ?2, ?3, iif(?4 <> 0, -1, coalesce((SELECT place FROM made
                   WHERE at <= ?3 AND place >= 0 ORDER BY at DESC, place DESC LIMIT 1), 0)), ?4";
    let arguments = params![key, database, at.timestamp(), doubt];
    connection.prepare_cached(sql)?.execute(arguments)?;
    Ok(())
}
