//! Lets old jobs and requests go. Invariant: what runs, waits in the spool, or is the newest success stays, and no clock
//! makes the newest jobs go.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::row::integer;
use super::standing::SUCCESSFUL;

/// How much of the past the catalog keeps.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimit {
    /// So many jobs, or requests, at most.
    pub most: u64,
    /// So many results of databases at most.
    pub most_results: u64,
    /// Jobs and requests older than this go, too.
    pub most_age: TimeDelta,
    /// The newest jobs and requests that age alone never removes: a clock that jumps ahead ages all of them at once.
    pub least: u64,
}

impl HistoryLimit {
    /// A year's review finds the year before it. A million results of some 300 bytes are 300 MB: 2,000 databases for more
    /// than a year, six for four centuries.
    pub const USUAL: Self = Self {
        most: 50_000,
        most_results: 1_000_000,
        most_age: TimeDelta::days(400),
        least: 1_000,
    };

    /// So many jobs go at a time: each may have thousands of results.
    const STEP: u64 = 10;
}

impl Catalog {
    /// Lets the oldest jobs go, with all that is written about them. Gives how many, at most ten; each job that begins
    /// does the same under [`HistoryLimit::USUAL`].
    ///
    /// # Errors
    /// Where the rows cannot be removed.
    pub fn let_jobs_go(
        &self,
        now: DateTime<Utc>,
        limit: HistoryLimit,
    ) -> Result<u64, CatalogError> {
        self.write(|transaction| let_jobs_go(transaction, now, limit))
    }
}

/// The same, where a transaction is open.
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

/// The last job, by its number, that is beyond what may be kept of jobs or of results; 0 where none is.
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

/// Lets the oldest requests go that were done with.
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
