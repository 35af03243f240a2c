//! Describes one event for sinks and scripts. Invariant: every key is always present, in one versioned shape; a
//! redacted alert holds no database name, size, key or error text.
//!
//! | key | contents |
//! |---|---|
//! | `version` | 1 |
//! | `id` | unique id of the event; the same for each attempt |
//! | `event` | the kind: `backup_failed`, `stale_backup`, … |
//! | `severity` | `info`, `warning` or `critical` |
//! | `time`, `time_unix` | time of the event: RFC 3339 in UTC, and unix seconds |
//! | `agent` | the installation's name |
//! | `url` | address of the dashboard, from `[http] public_url`; null if that is not a public address |
//! | `database` | the database's name; null if the event is not about one |
//! | `title` | the kind, in words |
//! | `text` | the message |
//! | `hint` | the remedy; null without one |
//! | `resolves` | the kind of the condition that ended; null unless `event` is `resolved` |
//! | `job` | the job's id; null unless the event is about a job, like all keys down to `duration` |
//! | `status` | `success`, `partial_failure` or `failure` |
//! | `successful`, `failed`, `skipped`, `total` | number of databases |
//! | `size_bytes`, `size` | size of the copies, as a number and as text |
//! | `duration_ms`, `duration` | duration of the job, as a number and as text |
//! | `error` | error of the first database that failed; null if none did |
//! | `details` | per database: `database`, `status`, `size_bytes`, `size`; empty unless the event is about a job |
//! | `failures` | per failed database: `database`, `error`; empty unless the event is about a job |
//!
//! A webhook receives this shape with `type` in addition to `event`; for the end of a job, it receives the payload of
//! the spec instead.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::fit::{Item, Parts};
use crate::config::AlertLevel;
use crate::types::{ByteCount, DatabaseName, EventKind, JobId, either, share};

/// Version of the shape.
pub const ALERT_VERSION: u32 = 1;

/// One event, ready for a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Unique id; the same for each attempt.
    pub id: String,
    /// Kind of the event.
    pub kind: EventKind,
    /// Severity.
    pub severity: AlertLevel,
    /// Time of the event.
    pub at: DateTime<Utc>,
    /// Name of the installation.
    pub agent: String,
    /// Address of the dashboard; `None` if others cannot reach it.
    pub url: Option<String>,
    /// The database concerned; `None` if the event is not about one.
    pub database: Option<DatabaseName>,
    /// The message.
    pub message: String,
    /// The remedy.
    pub hint: Option<String>,
    /// The condition that ended; `None` unless the event is `resolved`.
    pub resolves: Option<EventKind>,
    /// The job that the event is about.
    pub job: Option<JobFacts>,
}

/// Result of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFacts {
    /// Id of the job.
    pub id: JobId,
    /// Number of databases backed up.
    pub successful: u64,
    /// Number of databases that failed.
    pub failed: u64,
    /// Number of databases skipped.
    pub skipped: u64,
    /// Number of databases in the job.
    pub total: u64,
    /// Size of all copies, in bytes; `None` if redacted.
    pub size_bytes: Option<u64>,
    /// Duration, in milliseconds.
    pub duration_ms: u64,
    /// Each database; empty if redacted.
    pub databases: Vec<DatabaseFacts>,
}

/// Result of a job for one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// The database.
    pub database: DatabaseName,
    /// `success`, `failed`, `skipped` or `interrupted`.
    pub status: &'static str,
    /// Size of the copy, in bytes; `None` if there is no copy.
    pub size_bytes: Option<u64>,
    /// The error; `None` if the database did not fail.
    pub error: Option<String>,
}

impl JobFacts {
    /// Returns the spec's word for the result.
    pub fn status(&self) -> &'static str {
        match (self.failed, self.successful) {
            (0, _) => "success",
            (_, 0) => "failure",
            _ => "partial_failure",
        }
    }

    /// Returns the failed databases with their errors.
    pub fn failed_databases(&self) -> impl Iterator<Item = (&DatabaseName, &str)> {
        let databases = self.databases.iter();
        databases.filter_map(|one| Some((&one.database, one.error.as_deref()?)))
    }

    fn failures(&self) -> Value {
        self.failed_databases()
            .map(|(database, error)| json!({ "database": database, "error": error }))
            .collect()
    }
}

impl Alert {
    /// Returns the kind in words, without any name.
    pub fn title(&self) -> String {
        match (self.resolves, &self.job) {
            (Some(kind), _) => format!("{}: {}", self.kind.title(), kind.title()),
            (None, Some(job)) if job.status() == "partial_failure" => {
                "Backup partially failed".to_owned()
            }
            (None, _) => self.kind.title().to_owned(),
        }
    }

    /// Returns the parts from which sinks for people compose their text; each failure of a job is an item of its own.
    pub(super) fn parts(&self) -> Parts {
        let failures = self.job.iter().flat_map(JobFacts::failed_databases);
        let items: Vec<Item> = failures
            .map(|(database, error)| Item {
                head: format!("`{database}`"),
                joint: ": ",
                reason: error.to_owned(),
            })
            .collect();
        let lead = match items.is_empty() {
            true => self.message.as_str(),
            // The remaining lines repeat the failures.
            false => self.message.lines().next().unwrap_or_default(),
        };
        Parts {
            lead: lead.to_owned(),
            items,
            hint: self.hint.clone(),
        }
    }

    /// Returns the complete shape, as scripts receive it.
    pub fn shape(&self) -> Value {
        let job = self.job.as_ref();
        let size_bytes = job.and_then(|job| job.size_bytes);
        let databases = job.map_or(&[][..], |job| &job.databases);
        let details = databases.iter().map(|one| {
            json!({
                "database": one.database,
                "status": one.status,
                "size_bytes": one.size_bytes,
                "size": one.size_bytes.map(size),
            })
        });
        json!({
            "version": ALERT_VERSION,
            "id": self.id,
            "event": self.kind.as_str(),
            "severity": self.severity,
            "time": timestamp(self.at),
            "time_unix": self.at.timestamp(),
            "agent": self.agent,
            "url": self.url,
            "database": self.database,
            "title": self.title(),
            "text": self.message,
            "hint": self.hint,
            "resolves": self.resolves.map(EventKind::as_str),
            "job": job.map(|job| job.id.to_string()),
            "status": job.map(JobFacts::status),
            "successful": job.map(|job| job.successful),
            "failed": job.map(|job| job.failed),
            "skipped": job.map(|job| job.skipped),
            "total": job.map(|job| job.total),
            "size_bytes": size_bytes,
            "size": size_bytes.map(size),
            "duration_ms": job.map(|job| job.duration_ms),
            "duration": job.map(|job| duration(job.duration_ms)),
            "error": databases.iter().find_map(|one| one.error.as_deref()),
            "details": details.collect::<Value>(),
            "failures": job.map_or_else(|| json!([]), JobFacts::failures),
        })
    }

    /// Returns the webhook payload: for the end of a job exactly the fields of the spec, else the complete shape.
    pub fn payload(&self) -> Value {
        let Some(job) = &self.job else {
            let mut shape = self.shape();
            shape["type"] = self.kind.as_str().into();
            return shape;
        };
        let mut payload = json!({
            "type": self.kind.as_str(),
            "jobId": job.id,
            "status": job.status(),
            "timestamp": timestamp(self.at),
            "summary": {
                "successful": job.successful,
                "failed": job.failed,
                "totalSize": job.size_bytes.map(size),
                "duration": duration(job.duration_ms),
            },
        });
        match self.kind {
            EventKind::BackupFailed => payload["failures"] = job.failures(),
            _ => {
                let details = job.databases.iter().map(|one| {
                    json!({
                        "database": one.database,
                        "status": one.status,
                        "size": one.size_bytes.map(size),
                    })
                });
                payload["details"] = details.collect();
            }
        }
        payload
    }

    /// Returns the alert without any database name, size, key or error text.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let job = self.job.as_ref().map(|job| JobFacts {
            size_bytes: None,
            databases: Vec::new(),
            ..job.clone()
        });
        let message = match &job {
            Some(job) if job.failed > 0 => {
                format!("{} failed", share(job.failed, job.total, "database"))
            }
            Some(job) => format!(
                "{} {} backed up",
                share(job.successful, job.total, "database"),
                either(job.successful, "is", "are")
            ),
            None => self.title(),
        };
        Self {
            database: None,
            message,
            hint: None,
            job,
            ..self.clone()
        }
    }
}

/// Formats a time as the spec does: to the second, in UTC.
pub(super) fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn size(bytes: u64) -> String {
    ByteCount(bytes).to_string()
}

/// Formats a duration: `45s` as in the spec; `412ms` below a second, `2m 5s` from a minute, `1h 2m` from an hour.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}
