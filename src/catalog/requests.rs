//! Keeps the backups that were asked for until they were made. Invariant: one waits or runs at a time, and a restart
//! forgets none.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::types::{DatabaseName, JobId};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::history::{HistoryLimit, let_requests_go};
use super::row::{misfit, number, optional_time, parsed, time};

/// A backup that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRequest {
    /// The job it becomes.
    pub job: JobId,
    /// When it was asked for, to the second.
    pub at: DateTime<Utc>,
    /// Who asked: `key:<id>`, `access:<user>` or `address:<ip>`.
    pub client: String,
    /// Why, in a person's words; `None` where nobody said.
    pub reason: Option<String>,
    /// Which databases; empty means all.
    pub databases: Vec<DatabaseName>,
    /// How many jobs it became; more than one where a process ended over it.
    pub attempts: u32,
    /// When it was done with; `None`: it waits, or its job runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// What became of a wish for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is written down.
    Accepted,
    /// It is not: this job runs, or will.
    Busy(JobId),
}

impl Catalog {
    /// Writes down that a backup is wanted, unless one runs or waits; durable on return.
    ///
    /// # Errors
    /// Where the row cannot be written.
    pub fn ask(&self, request: &BackupRequest) -> Result<Asked, CatalogError> {
        let insert = "INSERT INTO requests (job_id, requested_at, client, reason, databases)
                      VALUES (?, ?, ?, ?, ?)";
        self.write(|transaction| {
            if let Some(job) = at_work(transaction)? {
                return Ok(Asked::Busy(job));
            }
            let names = serde_json::to_string(&request.databases).expect("names become JSON");
            transaction.execute(
                insert,
                params![
                    request.job.to_string(),
                    request.at.timestamp(),
                    request.client,
                    request.reason,
                    names,
                ],
            )?;
            let_requests_go(transaction, request.at, HistoryLimit::USUAL)?;
            Ok(Asked::Accepted)
        })
    }

    /// The oldest request that is not done with. `None`: there is none.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn open_request(&self) -> Result<Option<BackupRequest>, CatalogError> {
        let sql = "SELECT * FROM requests WHERE ended_at IS NULL ORDER BY id LIMIT 1";
        self.read(|connection| Ok(connection.query_row(sql, [], request_of).optional()?))
    }

    /// The request that becomes or became this job. `None`: nobody asked for it.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn request(&self, job: JobId) -> Result<Option<BackupRequest>, CatalogError> {
        let sql = "SELECT * FROM requests WHERE job_id = ?";
        self.read(|connection| {
            Ok(connection
                .query_row(sql, [job.to_string()], request_of)
                .optional()?)
        })
    }

    /// Notes that a request becomes a job now; `again`: another one, as the process of the last one ended over it.
    ///
    /// # Errors
    /// Where the row cannot be written; the job must not start then.
    pub fn take_request(&self, job: JobId, again: Option<JobId>) -> Result<(), CatalogError> {
        let sql = "UPDATE requests SET attempts = attempts + 1, job_id = ?2 WHERE job_id = ?1";
        let next = again.unwrap_or(job);
        self.write(|transaction| {
            transaction.execute(sql, [job.to_string(), next.to_string()])?;
            Ok(())
        })
    }

    /// Notes that a request is done with.
    ///
    /// # Errors
    /// Where the row cannot be written.
    pub fn end_request(&self, job: JobId, at: DateTime<Utc>) -> Result<(), CatalogError> {
        let sql = "UPDATE requests SET ended_at = ? WHERE job_id = ?";
        self.write(|transaction| {
            transaction.execute(sql, params![at.timestamp(), job.to_string()])?;
            Ok(())
        })
    }
}

/// The job that runs, or else the one that waits.
fn at_work(connection: &Connection) -> Result<Option<JobId>, Stop> {
    let sql = "SELECT job_id FROM (
                   SELECT job_id, 0 AS place, id FROM backup_jobs WHERE status = 'running'
                   UNION ALL SELECT job_id, 1, id FROM requests WHERE ended_at IS NULL)
               ORDER BY place, id LIMIT 1";
    Ok(connection
        .query_row(sql, [], |row| parsed(row, "job_id"))
        .optional()?)
}

fn request_of(row: &Row<'_>) -> rusqlite::Result<BackupRequest> {
    let names = row.get_ref("databases")?.as_str()?;
    let databases = serde_json::from_str(names).map_err(|error| misfit("databases", error))?;
    Ok(BackupRequest {
        job: parsed(row, "job_id")?,
        at: time(row, "requested_at")?,
        client: row.get("client")?,
        reason: row.get("reason")?,
        databases,
        attempts: number(row, "attempts")?.try_into().unwrap_or(u32::MAX),
        ended_at: optional_time(row, "ended_at")?,
    })
}
