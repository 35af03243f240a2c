//! Deletes old jobs and requests. Invariant: jobs that run, have a dump in the spool, or are the newest success stay,
//! and no clock removes the newest jobs.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::row::integer;
use super::standing::SUCCESSFUL;

/// Retention of jobs and requests.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimit {
    /// Upper bound for the number of jobs, and of requests.
    pub most: u64,
    /// Upper bound for the number of results of databases.
    pub most_results: u64,
    /// Upper bound for the age: older jobs and requests are deleted, too.
    pub most_age: TimeDelta,
    /// Number of newest jobs and requests that age alone never deletes: a clock that jumps ahead ages all of them at
    /// once.
    pub least: u64,
}

impl HistoryLimit {
    /// 400 days let a yearly review find the year before it. A million results of some 300 bytes are 300 MB: 2,000
    /// databases for more than a year, six for four centuries.
    pub const USUAL: Self = Self {
        most: 50_000,
        most_results: 1_000_000,
        most_age: TimeDelta::days(400),
        least: 1_000,
    };

    /// Upper bound for the jobs deleted at a time: each may have thousands of results.
    const STEP: u64 = 10;
}

impl Catalog {
    /// Deletes the oldest jobs with everything recorded about them. Returns the number of deleted jobs, at most ten;
    /// each new job does the same with [`HistoryLimit::USUAL`].
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn let_jobs_go(
        &self,
        now: DateTime<Utc>,
        limit: HistoryLimit,
    ) -> Result<u64, CatalogError> {
        self.write(|transaction| let_jobs_go(transaction, now, limit))
    }
}

/// Same as [`Catalog::let_jobs_go`], inside a transaction.
pub(super) fn let_jobs_go(
    connection: &Connection,
    now: DateTime<Utc>,
    limit: HistoryLimit,
) -> Result<u64, Stop> {
    let sql = format!(
        "SELECT job_id FROM backup_jobs AS job
         WHERE (id <= ?1 OR (started_at < ?2 AND id <= (SELECT max(id) FROM backup_jobs) - ?3))
            AND status <> 'running'
            AND NOT EXISTS (SELECT 1 FROM spooled WHERE spooled.job_id = job.job_id)
            AND id IS NOT (SELECT id FROM backup_jobs AS job WHERE {SUCCESSFUL}
                ORDER BY started_at DESC, id DESC LIMIT 1)
         ORDER BY id LIMIT ?4"
    );
    let last = last_beyond(connection, limit)?;
    let oldest = (now - limit.most_age).timestamp();
    let (least, step) = (integer(limit.least), integer(HistoryLimit::STEP));
    let mut statement = connection.prepare_cached(&sql)?;
    let jobs = statement.query_map(params![last, oldest, least, step], |row| row.get(0))?;
    let jobs: Vec<String> = jobs.collect::<Result<_, _>>()?;
    for job in &jobs {
        for table in [
            "result_labels",
            "job_notes",
            "backup_results",
            "backup_jobs",
        ] {
            let sql = format!("DELETE FROM {table} WHERE job_id = ?");
            connection.prepare_cached(&sql)?.execute([job])?;
        }
    }
    Ok(jobs.len() as u64)
}

/// Row id of the newest job that exceeds the limit for jobs or for results; 0 if none exists.
fn last_beyond(connection: &Connection, limit: HistoryLimit) -> Result<i64, Stop> {
    let jobs = "SELECT coalesce(max(id), 0) - ? FROM backup_jobs";
    let jobs: i64 = connection.query_row(jobs, [integer(limit.most)], |row| row.get(0))?;
    let results = "SELECT id FROM backup_jobs WHERE job_id = (SELECT job_id FROM backup_results
                   WHERE id <= (SELECT max(id) FROM backup_results) - ? ORDER BY id DESC LIMIT 1)";
    let most = integer(limit.most_results);
    let results = connection.query_row(results, [most], |row| row.get(0));
    let results: Option<i64> = results.optional()?;
    Ok(jobs.max(results.unwrap_or(0)).max(0))
}

/// Deletes the oldest finished requests.
pub(super) fn let_requests_go(
    connection: &Connection,
    now: DateTime<Utc>,
    limit: HistoryLimit,
) -> Result<(), Stop> {
    let sql = "DELETE FROM requests WHERE ended_at IS NOT NULL
               AND (id <= (SELECT max(id) FROM requests) - ?1
                  OR (requested_at < ?2 AND id <= (SELECT max(id) FROM requests) - ?3))";
    let oldest = (now - limit.most_age).timestamp();
    let row = params![integer(limit.most), oldest, integer(limit.least)];
    connection.prepare_cached(sql)?.execute(row)?;
    Ok(())
}
