//! Summarizes single databases. Invariant: copies marked for deletion are ignored.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use crate::types::{
    BackupDate, CheckFacts, DatabaseName, EvidenceClass, Exception, Manifest, ObjectKey,
};

use super::Catalog;
use super::archives::select_archives;
use super::error::{CatalogError, Stop};
use super::order::{AHEAD, OTHERS, UNCONFIRMED, is_confirmed, is_ours};
use super::query::{result_of, select_copies, select_last_good};
use super::record::{CopyState, JobResult, Placement, ResultStatus};
use super::row::{ResultStatusWord, number, parsed, time};
use super::suspect::select_suspect;

/// Upper bound for results searched for failures in a row.
const MOST_IN_A_ROW: u32 = 1_000;

/// Condition that a copy is not marked for deletion.
const UNMARKED: &str = "NOT EXISTS (SELECT 1 FROM backup_inventory AS item
    WHERE item.r2_key = copy.r2_key AND item.deleted_at IS NOT NULL)";

/// Summary of one database.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Shelf {
    /// Newest copy of this installation that is live in a storage, complete, and of class A or B. `None`: there is
    /// none.
    pub last_good: Option<Good>,
    /// Time of the newest of them with a credible date, which determines the age. `None`: none exists.
    pub dated_at: Option<DateTime<Utc>>,
    /// Copies held by day; days without any are left out.
    pub days: BTreeMap<BackupDate, Holding>,
    /// Size of the last copy of each day, even if it is no longer stored.
    pub points: BTreeMap<BackupDate, Point>,
    /// Last failed backup. `None`: none is known.
    pub last_failure: Option<JobResult>,
    /// Number of its last backups that failed in a row; skipped and interrupted ones are not counted.
    pub failures_in_a_row: u32,
    /// Newest copy, if it is one of a damaged source. `None`: it is not.
    pub suspect: Option<SuspectCopy>,
}

/// Copy of a damaged source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuspectCopy {
    /// Its key.
    pub key: ObjectKey,
    /// Day of the backup.
    pub date: BackupDate,
    /// Time of the first suspect copy that no good one followed.
    pub since: DateTime<Utc>,
    /// Messages of SQLite about the source, at most some lines.
    pub damage: Vec<String>,
}

/// Copy that a database can be restored from.
#[derive(Debug, Clone, PartialEq)]
pub struct Good {
    /// Key of the daily copy.
    pub key: ObjectKey,
    /// Day of the backup.
    pub date: BackupDate,
    /// Archive that contains it, if it is no longer an object of its own.
    pub archive: Option<ObjectKey>,
    /// Time at which it was proven.
    pub created_at: DateTime<Utc>,
    /// True if it is known to be dated later than it can have been made.
    pub is_ahead: bool,
    /// True if it was found in a storage and never committed here.
    pub is_unconfirmed: bool,
    /// Stored bytes; of one in an archive, those of its former object.
    pub size_bytes: u64,
    /// Bytes of its text or image, uncompressed.
    pub plain_bytes: u64,
    /// Number of rows of all tables.
    pub rows: u64,
    /// Number of tables.
    pub tables: u64,
    /// Evidence class.
    pub class: EvidenceClass,
    /// Class and check as text for people.
    pub proof: String,
    /// Reason for its form, if the configuration left the choice.
    pub method_reason: Option<String>,
    /// Parts of its source that it does not carry, or not equally.
    pub exceptions: Vec<Exception>,
    /// Comparisons of the independent check; `None`: there was none.
    pub check: Option<CheckFacts>,
    /// Storages that hold it undamaged.
    pub storages: Vec<String>,
    /// Time at which every byte of it, or of its archive, was last read in one of them. `None`: never.
    pub verified_at: Option<DateTime<Utc>>,
}

/// Best copy of one day of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Holding {
    /// Good daily copy.
    Daily,
    /// Good copy inside a weekly archive only.
    Archived,
    /// Copy that was compared with nothing, or that lacks a table.
    Unproven,
    /// Only a copy of a damaged source.
    Suspect,
    /// Only damaged copies.
    Damaged,
}

/// Size of a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    /// Time at which it was made.
    pub at: DateTime<Utc>,
    /// Stored bytes.
    pub size_bytes: u64,
    /// Number of rows.
    pub rows: u64,
}

impl Catalog {
    /// Returns a database's newest good copy of this installation: live in a storage, complete, of class A or B, as an
    /// object of its own or inside an archive. Alerts, status, metrics and heartbeats all use this rule. `None`: none
    /// exists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn newest_good(&self, database: &DatabaseName) -> Result<Option<Good>, CatalogError> {
        self.read(|connection| select_good(connection, database, None))
    }
}

/// Summaries of these databases, with their days from `since` on.
pub(super) fn select_shelves(
    connection: &Connection,
    databases: BTreeSet<DatabaseName>,
    since: BackupDate,
) -> Result<BTreeMap<DatabaseName, Shelf>, Stop> {
    let mut shelves: BTreeMap<DatabaseName, Shelf> = BTreeMap::new();
    let mut suspects = suspects(connection)?;
    for name in databases {
        let last_good = select_good(connection, &name, None)?;
        let dated = match &last_good {
            Some(good) if good.is_ahead || good.is_unconfirmed => {
                select_good(connection, &name, Some(i64::MAX))?
            }
            other => other.clone(),
        };
        let shelf = Shelf {
            dated_at: dated.map(|good| good.created_at),
            last_good,
            suspect: suspects.remove(&name).flatten(),
            last_failure: select_failure(connection, &name)?,
            failures_in_a_row: count_in_a_row(connection, &name)?,
            ..Shelf::default()
        };
        shelves.insert(name, shelf);
    }
    add_dailies(connection, since, &mut shelves)?;
    add_archived(connection, since, &mut shelves)?;
    add_points(connection, since, &mut shelves)?;
    Ok(shelves)
}

fn suspects(connection: &Connection) -> Result<BTreeMap<DatabaseName, Option<SuspectCopy>>, Stop> {
    let found = select_suspect(connection)?.into_iter();
    let suspects = found.map(|(name, found)| {
        let sql = "SELECT DISTINCT r2_key FROM copies WHERE r2_key = ?";
        let copies = select_copies(connection, sql, params![found.newest.as_str()])?;
        let suspect = copies.into_iter().next().map(|copy| SuspectCopy {
            key: found.newest,
            date: copy.manifest.date,
            since: found.since,
            damage: copy.manifest.damage().to_vec(),
        });
        Ok((name, suspect))
    });
    suspects.collect()
}

/// Selects the newest good copy: a daily, or one inside an archive if that was made later. `latest`: only copies whose
/// date is credible and not after this Unix timestamp.
pub(super) fn select_good(
    connection: &Connection,
    name: &DatabaseName,
    latest: Option<i64>,
) -> Result<Option<Good>, Stop> {
    let daily = select_last_good(connection, name, latest)?;
    let daily = daily.map(|copy| good(&copy.manifest, copy.created_at, &copy.placements));
    let sql = format!(
        "SELECT member.archive_key, member.r2_key FROM made
         CROSS JOIN archive_members AS member ON member.r2_key = made.r2_key
         CROSS JOIN archives AS copy ON copy.r2_key = member.archive_key AND copy.state = 'live'
         WHERE made.database_name = ?1 AND {is_ours} AND {is_confirmed} AND {UNMARKED}
            AND (?2 IS NULL OR (made.at <= ?2 AND made.doubt = 0))
            AND (?3 IS NULL OR (made.place, made.at, made.r2_key) >
                (SELECT place, at, r2_key FROM made WHERE r2_key = ?3))
         ORDER BY made.place DESC, made.at DESC, made.r2_key DESC LIMIT 1",
        is_ours = is_ours("copy"),
        is_confirmed = is_confirmed("copy")
    );
    let known = daily.as_ref().map(|good| good.key.as_str());
    let keys = connection.query_row(&sql, params![name.as_str(), latest, known], |row| {
        Ok((row.get(0)?, parsed(row, "r2_key")?))
    });
    let Some((archive, key)): Option<(String, ObjectKey)> = keys.optional()? else {
        return with_date(connection, daily);
    };
    let archives = select_archives(connection, "SELECT ?1", params![archive])?;
    let archived = archives.into_iter().find_map(|archive| {
        let members = &archive.manifest.members;
        let member = members.iter().find(|member| member.manifest.key == key)?;
        let manifest = &member.manifest;
        let proven = manifest.completed().unwrap_or(archive.created_at);
        Some(Good {
            archive: Some(archive.key().clone()),
            ..good(manifest, proven, &archive.placements)
        })
    });
    with_date(connection, archived.or(daily))
}

/// Sets the flags for the credibility of its date.
fn with_date(connection: &Connection, good: Option<Good>) -> Result<Option<Good>, Stop> {
    let Some(good) = good else { return Ok(None) };
    let sql = "SELECT doubt FROM made WHERE r2_key = ?";
    let doubt = connection.query_row(sql, [good.key.as_str()], |row| row.get(0));
    let doubt: i64 = doubt.optional()?.unwrap_or_default();
    Ok(Some(Good {
        is_ahead: doubt == AHEAD,
        is_unconfirmed: doubt == UNCONFIRMED,
        ..good
    }))
}

fn good(manifest: &Manifest, created_at: DateTime<Utc>, placements: &[Placement]) -> Good {
    let is_live = |placement: &&Placement| placement.state == CopyState::Live;
    let live: Vec<&Placement> = placements.iter().filter(is_live).collect();
    Good {
        key: manifest.key.clone(),
        date: manifest.date,
        archive: None,
        created_at,
        is_ahead: false,
        is_unconfirmed: false,
        size_bytes: manifest.stored.size_bytes,
        plain_bytes: manifest.plain.size_bytes,
        rows: manifest.evidence.total_rows(),
        tables: manifest.evidence.tables.len() as u64,
        class: manifest.class,
        proof: manifest.proof(),
        method_reason: manifest.source.method_reason.clone(),
        exceptions: manifest.exceptions.clone(),
        check: manifest.check.clone(),
        verified_at: live.iter().filter_map(|place| place.verified_at).max(),
        storages: live.iter().map(|place| place.storage.clone()).collect(),
    }
}

fn select_failure(connection: &Connection, name: &DatabaseName) -> Result<Option<JobResult>, Stop> {
    let sql = "SELECT * FROM backup_results WHERE database_name = ? AND status = 'failed'
               ORDER BY started_at DESC, id DESC LIMIT 1";
    let found = connection.query_row(sql, [name.as_str()], result_of);
    Ok(found.optional()?)
}

fn count_in_a_row(connection: &Connection, name: &DatabaseName) -> Result<u32, Stop> {
    let sql = "SELECT status FROM backup_results WHERE database_name = ?
               ORDER BY started_at DESC, id DESC LIMIT ?";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![name.as_str(), MOST_IN_A_ROW])?;
    let mut failures = 0;
    while let Some(row) = rows.next()? {
        match row.get::<_, ResultStatusWord>(0)?.0 {
            ResultStatus::Failed => failures += 1,
            ResultStatus::Success => break,
            ResultStatus::Skipped | ResultStatus::Interrupted => {}
        }
    }
    Ok(failures)
}

fn add_dailies(
    connection: &Connection,
    since: BackupDate,
    shelves: &mut BTreeMap<DatabaseName, Shelf>,
) -> Result<(), Stop> {
    let sql = format!(
        "SELECT database_name, backup_date,
             max(state = 'live' AND class IN ('A', 'B') AND NOT incomplete) AS is_good,
             max(state = 'live' AND class = 'S') AS is_suspect,
             max(state = 'live') AS is_live
         FROM copies AS copy INDEXED BY idx_copies_day
         WHERE backup_date >= ? AND {UNMARKED} AND copy.r2_key NOT IN {OTHERS}
         GROUP BY backup_date, database_name"
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([since.to_string()])?;
    while let Some(row) = rows.next()? {
        let (is_good, is_suspect) = (row.get("is_good")?, row.get("is_suspect")?);
        let holding = match (is_good, is_suspect, row.get("is_live")?) {
            (true, _, _) => Holding::Daily,
            (false, true, _) => Holding::Suspect,
            (false, false, true) => Holding::Unproven,
            (false, false, false) => Holding::Damaged,
        };
        if let Some(shelf) = shelves.get_mut(&parsed(row, "database_name")?) {
            shelf.days.insert(parsed(row, "backup_date")?, holding);
        }
    }
    Ok(())
}

/// Adds archived copies: one is ignored if the daily is good, and replaces a daily that is not.
fn add_archived(
    connection: &Connection,
    since: BackupDate,
    shelves: &mut BTreeMap<DatabaseName, Shelf>,
) -> Result<(), Stop> {
    let sql = format!(
        "SELECT member.database_name, member.backup_date, max(copy.state = 'live') AS is_live
         FROM archive_members AS member JOIN archives AS copy ON copy.r2_key = member.archive_key
         WHERE member.backup_date >= ? AND {UNMARKED} AND {is_ours}
         GROUP BY member.database_name, member.backup_date",
        is_ours = is_ours("copy")
    );
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query([since.to_string()])?;
    while let Some(row) = rows.next()? {
        let Some(shelf) = shelves.get_mut(&parsed(row, "database_name")?) else {
            continue;
        };
        let date = parsed(row, "backup_date")?;
        match (row.get("is_live")?, shelf.days.get(&date)) {
            (true, Some(Holding::Daily)) | (false, Some(_)) => {}
            (true, _) => drop(shelf.days.insert(date, Holding::Archived)),
            (false, None) => drop(shelf.days.insert(date, Holding::Damaged)),
        }
    }
    Ok(())
}

/// Adds sizes from the results, which outlive the copies, and from the copies, which outlive a lost catalog.
fn add_points(
    connection: &Connection,
    since: BackupDate,
    shelves: &mut BTreeMap<DatabaseName, Shelf>,
) -> Result<(), Stop> {
    // A daily's key begins with `daily/YYYY-MM-DD/`.
    let results = "SELECT database_name, substr(r2_key, 7, 10) AS backup_date,
                       max(coalesce(completed_at, started_at)) AS at, size_bytes, row_count
                   FROM backup_results INDEXED BY idx_results_stored
                   WHERE status = 'success' AND started_at >= unixepoch(?1, '-2 days')
                   GROUP BY 1, 2 HAVING backup_date >= ?1";
    let copies = format!(
        "SELECT database_name, backup_date, max(created_at) AS at,
             stored_bytes AS size_bytes, row_count
         FROM copies INDEXED BY idx_copies_day
         WHERE backup_date >= ?1 AND r2_key NOT IN {OTHERS} GROUP BY backup_date, database_name"
    );
    for sql in [copies.as_str(), results] {
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([since.to_string()])?;
        while let Some(row) = rows.next()? {
            let Some(shelf) = shelves.get_mut(&parsed(row, "database_name")?) else {
                continue;
            };
            let point = Point {
                at: time(row, "at")?,
                size_bytes: number(row, "size_bytes")?,
                rows: number(row, "row_count")?,
            };
            let known = shelf.points.entry(parsed(row, "backup_date")?);
            let known = known.or_insert(point);
            if point.at > known.at {
                *known = point;
            }
        }
    }
    Ok(())
}
