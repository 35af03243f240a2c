//! Stores requested backups until they were made. Invariant: one waits or runs at a time, and none is lost in a
//! restart.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::types::{DatabaseName, JobId};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::history::{HistoryLimit, let_requests_go};
use super::row::{misfit, number, optional_time, parsed, time};

/// Requested backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupRequest {
    /// Id of its job.
    pub job: JobId,
    /// Time of the request, to the second.
    pub at: DateTime<Utc>,
    /// Client: `key:<id>`, `access:<user>` or `address:<ip>`.
    pub client: String,
    /// Reason given by a person; `None`: none was given.
    pub reason: Option<String>,
    /// Databases; empty means all.
    pub databases: Vec<DatabaseName>,
    /// Number of jobs started for it; more than one if a process died during a job.
    pub attempts: u32,
    /// Time at which it was finished; `None`: it waits, or its job runs.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Outcome of a request for a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// It is stored.
    Accepted,
    /// It is rejected, because this job runs or waits.
    Busy(JobId),
}

impl Catalog {
    /// Stores a request for a backup, unless a job runs or another request waits; durable on return.
    ///
    /// # Errors
    /// If the row cannot be written.
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

    /// Returns the oldest unfinished request. `None`: none exists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open_request(&self) -> Result<Option<BackupRequest>, CatalogError> {
        let sql = "SELECT * FROM requests WHERE ended_at IS NULL ORDER BY id LIMIT 1";
        self.read(|connection| Ok(connection.query_row(sql, [], request_of).optional()?))
    }

    /// Returns the request of a job. `None`: it was not requested.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn request(&self, job: JobId) -> Result<Option<BackupRequest>, CatalogError> {
        let sql = "SELECT * FROM requests WHERE job_id = ?";
        self.read(|connection| {
            Ok(connection
                .query_row(sql, [job.to_string()], request_of)
                .optional()?)
        })
    }

    /// Records that a job for a request starts; `again`: the id of a new job, because the process of the last one died.
    ///
    /// # Errors
    /// If the row cannot be written; the job must not start then.
    pub fn take_request(&self, job: JobId, again: Option<JobId>) -> Result<(), CatalogError> {
        let sql = "UPDATE requests SET attempts = attempts + 1, job_id = ?2 WHERE job_id = ?1";
        let next = again.unwrap_or(job);
        self.write(|transaction| {
            transaction.execute(sql, [job.to_string(), next.to_string()])?;
            Ok(())
        })
    }

    /// Records that a request is finished.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn end_request(&self, job: JobId, at: DateTime<Utc>) -> Result<(), CatalogError> {
        let sql = "UPDATE requests SET ended_at = ? WHERE job_id = ?";
        self.write(|transaction| {
            transaction.execute(sql, params![at.timestamp(), job.to_string()])?;
            Ok(())
        })
    }
}

/// Returns the job that runs, or else the one that waits.
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
