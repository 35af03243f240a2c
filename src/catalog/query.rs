//! Queries the catalog. Invariant: each result comes from one state of the file.

use std::cmp::Reverse;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use crate::types::{BackupDate, DatabaseName, JobId, ObjectKey};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::order::is_ours;
use super::record::{CopyFilter, Job, JobResult, Placement, Spooled, StoredCopy};
use super::row::{
    CopyStateWord, JobStatusWord, ResultStatusWord, TriggerWord, integer, manifest, number,
    optional_number, optional_time, parsed, path, time,
};

pub(super) const SELECT_JOB: &str = "
    SELECT *,
        (SELECT count(*) FROM backup_results AS result
            WHERE result.job_id = job.job_id AND result.status = 'skipped') AS skipped_count,
        (SELECT message FROM job_notes AS note
            WHERE note.job_id = job.job_id AND note.kind = 'reason') AS reason
    FROM backup_jobs AS job";

/// Columns that [`placement_of`] reads, as the first ones of a row.
pub(super) const PLACEMENT: &str = "storage, state, damage, damaged_at, verified_at";

impl Catalog {
    /// Returns the dumps that wait to be stored, the oldest first.
    ///
    /// # Errors
    /// If the file cannot be read, as for every query.
    pub fn spooled(&self) -> Result<Vec<(JobId, Spooled)>, CatalogError> {
        let sql = "SELECT * FROM spooled ORDER BY created_at, job_id, database_name";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                let spooled = Spooled {
                    database: parsed(row, "database_name")?,
                    path: path(row)?,
                    manifest: manifest(row)?,
                    created_at: time(row, "created_at")?,
                };
                Ok((parsed(row, "job_id")?, spooled))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the copies that match `filter` and are not marked for deletion, the last made first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn copies(&self, filter: &CopyFilter) -> Result<Vec<StoredCopy>, CatalogError> {
        let (conditions, arguments) = conditions(filter);
        self.read(|connection| match filter.limit {
            Some(limit) => newest_copies(connection, filter, (&conditions, &arguments), limit),
            None => all_copies(connection, &conditions, &arguments),
        })
    }

    /// Returns one copy. `None`: the key is unknown.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn copy(&self, key: &ObjectKey) -> Result<Option<StoredCopy>, CatalogError> {
        let sql = "SELECT DISTINCT r2_key FROM copies WHERE r2_key = ?";
        let copies =
            self.read(|connection| select_copies(connection, sql, params![key.as_str()]))?;
        Ok(copies.into_iter().next())
    }

    /// Returns the last `limit` jobs, the newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn jobs(&self, limit: usize) -> Result<Vec<Job>, CatalogError> {
        let sql = format!("{SELECT_JOB} ORDER BY started_at DESC, id DESC LIMIT ?");
        self.read(|connection| select_jobs(connection, &sql, params![integer(limit as u64)]))
    }

    /// Returns one job. `None`: the id is unknown.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn job(&self, id: JobId) -> Result<Option<Job>, CatalogError> {
        self.read(|connection| select_job(connection, id))
    }

    /// Returns the results of a job so far, in the order in which its databases ended.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn results(&self, job: JobId) -> Result<Vec<JobResult>, CatalogError> {
        self.read(|connection| select_results(connection, job))
    }

    /// True if the day's first key of a database (without a time) was ever used or is about to be.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn daily_key_taken(
        &self,
        date: BackupDate,
        database: &DatabaseName,
    ) -> Result<bool, CatalogError> {
        // Neither dates nor names contain a special character of GLOB.
        let pattern = format!("daily/{date}/{database}.sql*");
        let sql = "SELECT EXISTS (SELECT 1 FROM backup_inventory WHERE r2_key GLOB ?1)
                OR EXISTS (SELECT 1 FROM copies WHERE r2_key GLOB ?1)
                OR EXISTS (SELECT 1 FROM spooled WHERE json_extract(manifest, '$.key') GLOB ?1)";
        self.read(|connection| Ok(connection.query_row(sql, [pattern], |row| row.get(0))?))
    }
}

/// Selects the newest daily copy that is live in a storage, complete, and of class A or B;
/// [`newest_good`](Catalog::newest_good) also considers archives. `latest`: only copies whose date is credible and not
/// after this Unix timestamp.
pub(super) fn select_last_good(
    connection: &Connection,
    database: &DatabaseName,
    latest: Option<i64>,
) -> Result<Option<StoredCopy>, Stop> {
    let sql = format!(
        "SELECT r2_key FROM made WHERE database_name = ?1
            AND (?2 IS NULL OR (at <= ?2 AND doubt = 0))
            AND EXISTS (SELECT 1 FROM copies AS copy WHERE copy.r2_key = made.r2_key
                AND state = 'live' AND NOT incomplete AND class IN ('A', 'B') AND {is_ours})
            AND NOT EXISTS (SELECT 1 FROM backup_inventory AS item
                WHERE item.r2_key = made.r2_key AND item.deleted_at IS NOT NULL)
         ORDER BY place DESC, at DESC, r2_key DESC LIMIT 1",
        is_ours = is_ours("copy")
    );
    let copies = select_copies(connection, &sql, params![database.as_str(), latest])?;
    Ok(copies.into_iter().next())
}

pub(super) fn select_job(connection: &Connection, id: JobId) -> Result<Option<Job>, Stop> {
    let sql = format!("{SELECT_JOB} WHERE job_id = ?");
    let jobs = select_jobs(connection, &sql, params![id.to_string()])?;
    Ok(jobs.into_iter().next())
}

pub(super) fn select_results(connection: &Connection, job: JobId) -> Result<Vec<JobResult>, Stop> {
    let sql = "SELECT * FROM backup_results WHERE job_id = ? ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([job.to_string()], result_of)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

pub(super) fn select_jobs(
    connection: &Connection,
    sql: &str,
    arguments: &[&dyn rusqlite::ToSql],
) -> Result<Vec<Job>, Stop> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map(arguments, job_of)?;
    let mut jobs = rows.collect::<Result<Vec<_>, _>>()?;
    let sql = "SELECT message FROM job_notes WHERE job_id = ? AND kind = 'degraded' ORDER BY id";
    let mut statement = connection.prepare(sql)?;
    for job in &mut jobs {
        let notes = statement.query_map([job.id.to_string()], |row| row.get(0))?;
        job.degraded = notes.collect::<Result<_, _>>()?;
    }
    Ok(jobs)
}

/// SQL conditions of a filter on a row of `copies`, and their arguments.
fn conditions(filter: &CopyFilter) -> (String, Vec<String>) {
    let database = filter.database.as_ref().map(DatabaseName::to_string);
    let date = filter.date.map(|date| date.to_string());
    let asked = [("database_name", database), ("backup_date", date)];
    let (mut text, mut arguments) = ("1".to_owned(), Vec::new());
    for (column, value) in asked {
        if let Some(value) = value {
            arguments.push(value);
            text += &format!(" AND {column} = ?{}", arguments.len());
        }
    }
    if filter.ours {
        text += &format!(" AND {}", is_ours("copies"));
    }
    (text, arguments)
}

/// Selects a few copies: for all databases, the index of their order yields the newest ones and nothing else is read.
fn newest_copies(
    connection: &Connection,
    filter: &CopyFilter,
    (conditions, arguments): (&str, &[String]),
    limit: usize,
) -> Result<Vec<StoredCopy>, Stop> {
    let is_unmarked = "NOT EXISTS (SELECT 1 FROM backup_inventory AS item
        WHERE item.r2_key = made.r2_key AND item.deleted_at IS NOT NULL)";
    // An index by database and order finds the copies of one database.
    let of_database = match filter.database {
        Some(_) => "made.database_name = ?1 AND",
        None => "",
    };
    let sql = format!(
        "SELECT r2_key FROM made WHERE {of_database} {is_unmarked}
            AND EXISTS (SELECT 1 FROM copies WHERE copies.r2_key = made.r2_key AND {conditions})
         ORDER BY place DESC, at DESC, r2_key DESC LIMIT {limit}"
    );
    let arguments: Vec<&dyn rusqlite::ToSql> = arguments.iter().map(|text| text as _).collect();
    select_copies(connection, &sql, &arguments)
}

/// Selects all copies: the table is read once in storage order and sorted afterwards.
fn all_copies(
    connection: &Connection,
    conditions: &str,
    arguments: &[String],
) -> Result<Vec<StoredCopy>, Stop> {
    let marked = marked(connection)?;
    let mut statement = connection.prepare(&format!(
        "SELECT {PLACEMENT}, r2_key, created_at, manifest FROM copies WHERE {conditions}"
    ))?;
    let mut rows = statement.query(rusqlite::params_from_iter(arguments))?;
    let mut copies: Vec<StoredCopy> = Vec::new();
    let mut places: HashMap<String, usize> = HashMap::new();
    while let Some(row) = rows.next()? {
        let key = row
            .get_ref("r2_key")?
            .as_str()
            .map_err(rusqlite::Error::from)?;
        if marked.contains_key(key) {
            continue;
        }
        let created_at = time(row, "created_at")?;
        if let Some(copy) = places.get(key).map(|place| &mut copies[*place]) {
            copy.placements.push(placement_of(row)?);
            copy.created_at = copy.created_at.max(created_at);
            continue;
        }
        places.insert(key.to_owned(), copies.len());
        copies.push(StoredCopy {
            manifest: manifest(row)?,
            created_at,
            placements: vec![placement_of(row)?],
        });
    }
    for copy in &mut copies {
        copy.placements.sort_by(|a, b| a.storage.cmp(&b.storage));
    }
    let order = order(connection)?;
    copies.sort_by_cached_key(|copy| {
        let place = order.get(copy.key().as_str()).copied();
        Reverse((place.unwrap_or_default(), copy.key().clone()))
    });
    Ok(copies)
}

/// Position of each copy in the order in which copies were made.
fn order(connection: &Connection) -> Result<HashMap<String, (i64, i64)>, Stop> {
    let mut statement = connection.prepare("SELECT r2_key, place, at FROM made")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Keys marked for deletion, with the time of the mark.
pub(super) fn marked(connection: &Connection) -> Result<HashMap<String, DateTime<Utc>>, Stop> {
    let sql = "SELECT r2_key, deleted_at FROM backup_inventory WHERE deleted_at IS NOT NULL";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| Ok((row.get("r2_key")?, time(row, "deleted_at")?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Returns the copies whose keys `sql` selects, in its order.
pub(super) fn select_copies(
    connection: &Connection,
    sql: &str,
    arguments: &[&dyn rusqlite::ToSql],
) -> Result<Vec<StoredCopy>, Stop> {
    let mut keys = connection.prepare(sql)?;
    let keys = keys.query_map(arguments, |row| row.get::<_, String>(0))?;
    let mut placements = connection.prepare(&format!(
        "SELECT {PLACEMENT}, created_at, manifest FROM copies WHERE r2_key = ? ORDER BY storage"
    ))?;
    let mut copies: Vec<StoredCopy> = Vec::new();
    for key in keys {
        let mut rows = placements.query([key?])?;
        let first = rows.next()?.expect("the key was selected from these rows");
        let mut copy = StoredCopy {
            manifest: manifest(first)?,
            created_at: time(first, "created_at")?,
            placements: vec![placement_of(first)?],
        };
        while let Some(row) = rows.next()? {
            copy.created_at = copy.created_at.max(time(row, "created_at")?);
            copy.placements.push(placement_of(row)?);
        }
        copies.push(copy);
    }
    Ok(copies)
}

/// Reads the columns of [`PLACEMENT`].
pub(super) fn placement_of(row: &Row<'_>) -> rusqlite::Result<Placement> {
    Ok(Placement {
        storage: row.get(0)?,
        state: row.get::<_, CopyStateWord>(1)?.0,
        damage: row.get(2)?,
        damaged_at: optional_time(row, 3)?,
        verified_at: optional_time(row, 4)?,
    })
}

fn job_of(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: parsed(row, "job_id")?,
        status: row.get::<_, JobStatusWord>("status")?.0,
        degraded: Vec::new(),
        trigger: row.get::<_, TriggerWord>("trigger_type")?.0,
        reason: row.get("reason")?,
        started_at: time(row, "started_at")?,
        completed_at: optional_time(row, "completed_at")?,
        total: number(row, "total_databases")?,
        successful: number(row, "successful_count")?,
        failed: number(row, "failed_count")?,
        skipped: number(row, "skipped_count")?,
        total_size_bytes: number(row, "total_size_bytes")?,
        duration_ms: optional_number(row, "duration_ms")?,
        error_message: row.get("error_message")?,
    })
}

pub(super) fn result_of(row: &Row<'_>) -> rusqlite::Result<JobResult> {
    let key: Option<String> = row.get("r2_key")?;
    Ok(JobResult {
        job: parsed(row, "job_id")?,
        database: parsed(row, "database_name")?,
        database_id: row.get("database_id")?,
        status: row.get::<_, ResultStatusWord>("status")?.0,
        key: key.map(|_| parsed(row, "r2_key")).transpose()?,
        size_bytes: optional_number(row, "size_bytes")?,
        table_count: optional_number(row, "table_count")?,
        row_count: optional_number(row, "row_count")?,
        started_at: time(row, "started_at")?,
        completed_at: optional_time(row, "completed_at")?,
        duration_ms: optional_number(row, "duration_ms")?,
        error_message: row.get("error_message")?,
    })
}
