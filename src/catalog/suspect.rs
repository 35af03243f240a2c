//! Finds databases whose newest copy is one of a damaged source. Invariant: nothing of them expires before a good copy
//! follows, unless a person acknowledges.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;

use crate::types::{DatabaseName, ObjectKey};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::keeping::Care;
use super::order::is_ours;
use super::row::{parsed, time};

/// Validity of an acknowledgement that copies may be deleted: until the next weekly run.
pub(crate) const AGREEMENT: TimeDelta = TimeDelta::days(8);

/// Copies of a damaged source that no good copy followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspect {
    /// Newest of them.
    pub newest: ObjectKey,
    /// Time of the first of them.
    pub since: DateTime<Utc>,
}

/// Prefix of the reason that blocks expiry of a database that lost rows.
pub(super) const ROWS_MISSING: &str = "rows are missing: ";

/// Query for suspect copies. An archive's members count by when they were made: an older one is no copy after the
/// damage.
fn suspect_sql() -> String {
    format!(
        "SELECT copy.database_name, copy.r2_key, copy.created_at
         FROM copies AS copy INDEXED BY idx_copies_suspect JOIN made ON made.r2_key = copy.r2_key
         WHERE copy.class = 'S' AND {copy_is_ours}
            AND NOT EXISTS (SELECT 1 FROM backup_inventory AS item
                WHERE item.r2_key = copy.r2_key AND item.deleted_at IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM copies AS good JOIN made AS later ON later.r2_key = good.r2_key
                WHERE good.database_name = copy.database_name AND good.state = 'live'
                    AND good.class IN ('A', 'B') AND NOT good.incomplete AND {good_is_ours}
                    AND (later.place, later.at) > (made.place, made.at))
            AND NOT EXISTS (SELECT 1 FROM archive_members AS member
                JOIN archives AS archive ON archive.r2_key = member.archive_key AND {archive_is_ours}
                JOIN made AS later ON later.r2_key = member.r2_key
                WHERE member.database_name = copy.database_name
                    AND (later.place, later.at) > (made.place, made.at))
         ORDER BY copy.database_name, made.place, made.at, copy.r2_key",
        copy_is_ours = is_ours("copy"),
        good_is_ours = is_ours("good"),
        archive_is_ours = is_ours("archive"),
    )
}

impl Care {
    /// Databases of which nothing expires at `now`, with the reason: a person has to acknowledge, or the newest copy is
    /// suspect.
    pub fn held(&self, now: DateTime<Utc>) -> BTreeMap<DatabaseName, String> {
        let mut held = self.frozen.clone();
        for (database, suspect) in &self.suspect {
            let agreed_at = self.acknowledged.get(database);
            let is_agreed =
                agreed_at.is_some_and(|at| suspect.since <= *at && now - *at < AGREEMENT);
            if !is_agreed {
                let why = || suspect.why();
                held.entry(database.clone()).or_insert_with(why);
            }
        }
        held
    }
}

impl Catalog {
    /// True if tables of a database lost their rows, and no person has confirmed yet that this is right.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn lacks_rows(&self, database: &DatabaseName) -> Result<bool, CatalogError> {
        let sql = "SELECT EXISTS (SELECT 1 FROM freezes WHERE database_name = ? AND reason LIKE ? || '%')";
        self.read(|connection| {
            let row = [database.as_str(), ROWS_MISSING];
            Ok(connection.query_row(sql, row, |row| row.get(0))?)
        })
    }
}

impl Suspect {
    /// Reason that expiry waits for a good copy.
    pub fn why(&self) -> String {
        let newest = &self.newest;
        format!("its newest copy {newest} is suspect: the source was damaged when it was made")
    }
}

pub(super) fn select_suspect(
    connection: &Connection,
) -> Result<BTreeMap<DatabaseName, Suspect>, Stop> {
    let mut statement = connection.prepare(&suspect_sql())?;
    let mut rows = statement.query([])?;
    let mut suspect: BTreeMap<DatabaseName, Suspect> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let newest: ObjectKey = parsed(row, "r2_key")?;
        let since = time(row, "created_at")?;
        let known = suspect
            .entry(parsed(row, "database_name")?)
            .or_insert_with(|| Suspect {
                newest: newest.clone(),
                since,
            });
        known.newest = newest;
    }
    Ok(suspect)
}
