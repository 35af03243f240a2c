//! Summarizes the catalog. Invariant: no query reads every manifest, so that a summary stays cheap regardless of the
//! catalog's size.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use crate::types::{BackupDate, DatabaseName, ObjectKey};

use super::Catalog;
use super::archives::ALL_DATABASES;
use super::error::{CatalogError, Stop};
use super::page::count_restorable;
use super::query::{SELECT_JOB, result_of, select_jobs};
use super::record::{CopyState, Job, JobResult, JobStatus, ResultStatus};
use super::row::{CopyStateWord, integer, number, optional_time, parsed};
use super::shelf::{Shelf, select_shelves};

/// Upper bound for jobs listed, as `GET /status` promises.
const MOST_JOBS: usize = 10;

/// Upper bound for damaged objects listed: a storage that lost everything needs no longer list.
const MOST_HARMED: usize = 20;

/// Summary of storages and databases, computed from everything stored. It changes only when the catalog does.
#[derive(Debug, Clone, PartialEq)]
pub struct Standing {
    /// Totals of everything stored and not marked for deletion, each object counted once.
    pub totals: Totals,
    /// Totals of every storage that ever held anything, by name.
    pub storages: BTreeMap<String, Stock>,
    /// Summary of each requested database and each that has stored copies.
    pub shelves: BTreeMap<DatabaseName, Shelf>,
    /// Damaged objects, the last found first; at most twenty.
    pub harmed: Vec<Harm>,
    /// Number of all damaged objects, counted per storage.
    pub harmed_count: u64,
}

/// Jobs and failures; quick to read regardless of the catalog's size.
#[derive(Debug, Clone, PartialEq)]
pub struct Work {
    /// Running jobs, the newest first.
    pub running: Vec<Job>,
    /// Last jobs, including running ones, the newest first; at most ten.
    pub jobs: Vec<Past>,
    /// Last job that completed with every database backed up, none of them from a damaged source.
    pub last_success: Option<Job>,
    /// Last job that ended, well or not.
    pub last_ended: Option<Job>,
    /// Number of recent failures of single databases and of jobs as a whole.
    pub failures: u64,
}

/// Totals of stored objects, each counted once regardless of the number of storages that hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Restorable backups of single databases, as an object or inside an archive: equals [`count`](Catalog::count) with
    /// the default filter.
    pub backups: u64,
    /// Number of daily copies.
    pub dailies: u64,
    /// Number of weekly archives.
    pub archives: u64,
    /// Stored bytes.
    pub size_bytes: u64,
    /// First and last day of which there is a copy; `None`: none exists.
    pub days: Option<(BackupDate, BackupDate)>,
}

/// Totals of one storage, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Stock {
    /// Number of objects, dailies and archives.
    pub objects: u64,
    /// Stored bytes.
    pub size_bytes: u64,
    /// Stored bytes that were never read back completely.
    pub unverified_bytes: u64,
    /// Number of objects that are missing or damaged there.
    pub harmed: u64,
    /// First and last day of which it holds a copy; `None`: it holds none.
    pub days: Option<(BackupDate, BackupDate)>,
}

/// Job and its failures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Past {
    /// The job.
    pub job: Job,
    /// Results of databases that were not backed up, in the order they ended.
    pub failures: Vec<JobResult>,
}

/// Damaged object in one storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Harm {
    /// The object.
    pub key: ObjectKey,
    /// The storage.
    pub storage: String,
    /// State: missing or corrupt.
    pub state: CopyState,
    /// Damage that was found.
    pub damage: Option<String>,
    /// Time at which it was found.
    pub at: Option<DateTime<Utc>>,
}

impl Catalog {
    /// Returns every database of which a copy is left, by name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn stored_databases(&self) -> Result<BTreeSet<DatabaseName>, CatalogError> {
        self.read(|connection| stored_databases(connection))
    }

    /// Summarizes storages and databases, with the days of each database from `since` on. `databases` are included even
    /// if nothing is stored of them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn standing(
        &self,
        databases: &[DatabaseName],
        since: BackupDate,
    ) -> Result<Standing, CatalogError> {
        self.read(|connection| {
            let (harmed, harmed_count) = select_harmed(connection)?;
            let names = stored_databases(connection)?;
            let names = names.into_iter().chain(databases.iter().cloned()).collect();
            Ok(Standing {
                totals: select_totals(connection)?,
                storages: select_stocks(connection)?,
                shelves: select_shelves(connection, names, since)?,
                harmed,
                harmed_count,
            })
        })
    }

    /// Summarizes jobs; failures are counted from `since` on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn work(&self, since: DateTime<Utc>) -> Result<Work, CatalogError> {
        self.read(|connection| {
            Ok(Work {
                running: select_running(connection)?,
                jobs: select_past(connection)?,
                last_success: select_last(connection, SUCCESSFUL)?,
                last_ended: select_last(connection, "status <> 'running'")?,
                failures: count_failures(connection, since)?,
            })
        })
    }
}

/// Condition on a job that every database was backed up, and no copy is of a damaged source.
pub(super) const SUCCESSFUL: &str = "status = 'completed' AND NOT EXISTS
    (SELECT 1 FROM copies WHERE class = 'S' AND copies.job_id = job.job_id)";

/// Counts failures; a job that failed as a whole counts once, in addition to its failed databases.
fn count_failures(connection: &Connection, since: DateTime<Utc>) -> Result<u64, Stop> {
    let sql = "SELECT (SELECT count(*) FROM backup_results
                   WHERE status = 'failed' AND coalesce(completed_at, started_at) > ?1)
               + (SELECT count(*) FROM backup_jobs
                   WHERE status = 'failed' AND error_message IS NOT NULL
                       AND coalesce(completed_at, started_at) > ?1) AS failures";
    Ok(connection.query_row(sql, [since.timestamp()], |row| number(row, "failures"))?)
}

fn select_totals(connection: &Connection) -> Result<Totals, Stop> {
    let sql = "SELECT count(*) AS objects, coalesce(sum(database_name = ?), 0) AS archives,
                  coalesce(sum(size_bytes), 0) AS bytes
               FROM backup_inventory WHERE deleted_at IS NULL";
    let (objects, archives, size_bytes) = connection.query_row(sql, [ALL_DATABASES], |row| {
        Ok((
            number(row, "objects")?,
            number(row, "archives")?,
            number(row, "bytes")?,
        ))
    })?;
    let sql = "SELECT min(oldest) AS oldest, max(newest) AS newest FROM (
                   SELECT min(backup_date) AS oldest, max(backup_date) AS newest
                   FROM backup_inventory WHERE deleted_at IS NULL AND backup_date <> ''
                   UNION ALL
                   SELECT min(backup_date), max(backup_date) FROM archive_members)";
    let days = connection.query_row(sql, [], days_of)?;
    Ok(Totals {
        backups: count_restorable(connection)?,
        dailies: objects - archives,
        archives,
        size_bytes,
        days,
    })
}

fn select_stocks(connection: &Connection) -> Result<BTreeMap<String, Stock>, Stop> {
    let sums = "count(*) FILTER (WHERE state <> 'missing') AS objects,
                coalesce(sum(stored_bytes) FILTER (WHERE state <> 'missing'), 0) AS bytes,
                coalesce(sum(stored_bytes) FILTER (WHERE state = 'live' AND verified_at IS NULL), 0)
                    AS unverified,
                count(*) FILTER (WHERE state <> 'live') AS harmed";
    let copies = format!(
        "SELECT storage, {sums}, min(backup_date) AS oldest, max(backup_date) AS newest
         FROM copies GROUP BY storage"
    );
    let archives = format!(
        "SELECT storage, {sums}, min(oldest) AS oldest, max(newest) AS newest
         FROM archives LEFT JOIN (
             SELECT archive_key, min(backup_date) AS oldest, max(backup_date) AS newest
             FROM archive_members GROUP BY archive_key) ON archive_key = r2_key
         GROUP BY storage"
    );
    let mut stocks: BTreeMap<String, Stock> = BTreeMap::new();
    for sql in [copies, archives] {
        let mut statement = connection.prepare(&sql)?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let stock = stocks.entry(row.get("storage")?).or_default();
            stock.objects += number(row, "objects")?;
            stock.size_bytes += number(row, "bytes")?;
            stock.unverified_bytes += number(row, "unverified")?;
            stock.harmed += number(row, "harmed")?;
            stock.days = span(stock.days, days_of(row)?);
        }
    }
    Ok(stocks)
}

/// Days from the first of both to the last of both.
fn span(
    one: Option<(BackupDate, BackupDate)>,
    other: Option<(BackupDate, BackupDate)>,
) -> Option<(BackupDate, BackupDate)> {
    match (one, other) {
        (Some(one), Some(other)) => Some((one.0.min(other.0), one.1.max(other.1))),
        (one, other) => one.or(other),
    }
}

fn days_of(row: &Row<'_>) -> rusqlite::Result<Option<(BackupDate, BackupDate)>> {
    let oldest: Option<String> = row.get("oldest")?;
    oldest
        .map(|_| Ok((parsed(row, "oldest")?, parsed(row, "newest")?)))
        .transpose()
}

/// Returns every database of which anything is stored and not marked for deletion.
fn stored_databases(connection: &Connection) -> Result<BTreeSet<DatabaseName>, Stop> {
    let sql = "SELECT DISTINCT database_name FROM backup_inventory
                   WHERE deleted_at IS NULL AND database_name <> ?
               UNION SELECT DISTINCT database_name FROM archive_members";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([ALL_DATABASES], |row| parsed(row, "database_name"))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn select_running(connection: &Connection) -> Result<Vec<Job>, Stop> {
    let sql = format!("{SELECT_JOB} WHERE status = ? ORDER BY started_at DESC, id DESC");
    select_jobs(connection, &sql, params![JobStatus::Running.as_str()])
}

fn select_last(connection: &Connection, condition: &str) -> Result<Option<Job>, Stop> {
    let sql = format!("{SELECT_JOB} WHERE {condition} ORDER BY started_at DESC, id DESC LIMIT 1");
    Ok(select_jobs(connection, &sql, params![])?.into_iter().next())
}

fn select_past(connection: &Connection) -> Result<Vec<Past>, Stop> {
    let sql = format!("{SELECT_JOB} ORDER BY started_at DESC, id DESC LIMIT ?");
    let jobs = select_jobs(connection, &sql, params![integer(MOST_JOBS as u64)])?;
    let sql = "SELECT * FROM backup_results WHERE job_id = ? AND status <> ? ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let mut past = Vec::with_capacity(jobs.len());
    for job in jobs {
        let well = ResultStatus::Success.as_str();
        let failures = statement.query_map(params![job.id.to_string(), well], result_of)?;
        let failures = failures.collect::<Result<_, _>>()?;
        past.push(Past { job, failures });
    }
    Ok(past)
}

fn select_harmed(connection: &Connection) -> Result<(Vec<Harm>, u64), Stop> {
    let from = "FROM (SELECT r2_key, storage, state, damage, damaged_at FROM copies
                          WHERE state <> 'live'
                      UNION ALL
                      SELECT r2_key, storage, state, damage, damaged_at FROM archives
                          WHERE state <> 'live')";
    let count = format!("SELECT count(*) AS harmed {from}");
    let count = connection.query_row(&count, [], |row| number(row, "harmed"))?;
    let sql = format!("SELECT * {from} ORDER BY damaged_at DESC, r2_key, storage LIMIT ?");
    let mut statement = connection.prepare(&sql)?;
    let rows = statement.query_map([integer(MOST_HARMED as u64)], |row| {
        Ok(Harm {
            key: parsed(row, "r2_key")?,
            storage: row.get("storage")?,
            state: row.get::<_, CopyStateWord>("state")?.0,
            damage: row.get("damage")?,
            at: optional_time(row, "damaged_at")?,
        })
    })?;
    Ok((rows.collect::<Result<_, _>>()?, count))
}
