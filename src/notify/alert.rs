//! Describes one event as sinks and scripts get it. Invariant: every key is always there, in one versioned shape; a
//! redacted one holds no name, size, key or error text.
//!
//! | key | what it holds |
//! |---|---|
//! | `version` | 1 |
//! | `id` | text that tells the event from every other; the same for each attempt |
//! | `event` | the kind: `backup_failed`, `stale_backup`, … |
//! | `severity` | `info`, `warning` or `critical` |
//! | `time`, `time_unix` | when it happened: RFC 3339 in UTC, and unix seconds |
//! | `agent` | the installation's name |
//! | `url` | where people look, from `[http] public_url`; null where that is no public address |
//! | `database` | the database's name; null where it is not about one |
//! | `title` | the kind for people |
//! | `text` | what, and where |
//! | `hint` | the way out; null where there is none |
//! | `resolves` | the kind of what is over; null unless `event` is `resolved` |
//! | `job` | the job's id; null unless it tells of one, as for the next seven |
//! | `status` | `success`, `partial_failure` or `failure` |
//! | `successful`, `failed`, `skipped`, `total` | how many databases |
//! | `size_bytes`, `size` | the copies' bytes, as a number and for people |
//! | `duration_ms`, `duration` | how long it took, as a number and for people |
//! | `error` | why the first database failed; null where none did |
//! | `details` | per database: `database`, `status`, `size_bytes`, `size`; empty unless it tells of a job |
//! | `failures` | per failed database: `database`, `error`; empty unless it tells of a job |
//!
//! A webhook gets it with `type` beside `event`; of a job's end it gets the payload of the spec instead.

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};

use super::fit::{Item, Parts};
use crate::config::AlertLevel;
use crate::types::{ByteCount, DatabaseName, EventKind, JobId, either, share};

/// The version of the shape.
pub const ALERT_VERSION: u32 = 1;

/// One event, ready for a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Alert {
    /// Tells it from every other; the same for each attempt.
    pub id: String,
    /// What happened.
    pub kind: EventKind,
    /// How grave it is.
    pub severity: AlertLevel,
    /// When.
    pub at: DateTime<Utc>,
    /// The installation.
    pub agent: String,
    /// Where people look; `None`: nowhere that others reach.
    pub url: Option<String>,
    /// The database it is about; `None` where it is not about one.
    pub database: Option<DatabaseName>,
    /// What, and where.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
    /// What is over; `None` unless it is `resolved`.
    pub resolves: Option<EventKind>,
    /// The job it tells of.
    pub job: Option<JobFacts>,
}

/// What a job did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFacts {
    /// Its id.
    pub id: JobId,
    /// How many databases were backed up.
    pub successful: u64,
    /// How many failed.
    pub failed: u64,
    /// How many were skipped.
    pub skipped: u64,
    /// How many it was about.
    pub total: u64,
    /// The bytes of all copies; `None` where that is not to be told.
    pub size_bytes: Option<u64>,
    /// How long it took.
    pub duration_ms: u64,
    /// Each database; empty where that is not to be told.
    pub databases: Vec<DatabaseFacts>,
}

/// What a job did with one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseFacts {
    /// The database.
    pub database: DatabaseName,
    /// `success`, `failed`, `skipped` or `interrupted`.
    pub status: &'static str,
    /// The copy's bytes; `None` where there is none.
    pub size_bytes: Option<u64>,
    /// Why it failed; `None` where it did not.
    pub error: Option<String>,
}

impl JobFacts {
    /// The word of the spec for how it ended.
    pub fn status(&self) -> &'static str {
        match (self.failed, self.successful) {
            (0, _) => "success",
            (_, 0) => "failure",
            _ => "partial_failure",
        }
    }

    /// What failed, and why.
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
    /// The kind for people; holds no name.
    pub fn title(&self) -> String {
        match (self.resolves, &self.job) {
            (Some(kind), _) => format!("{}: {}", self.kind.title(), kind.title()),
            (None, Some(job)) if job.status() == "partial_failure" => {
                "Backup partially failed".to_owned()
            }
            (None, _) => self.kind.title().to_owned(),
        }
    }

    /// What sinks for people are to fit into what they take: of a job, each failure by itself.
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
            // What stands below it is the failures again.
            false => self.message.lines().next().unwrap_or_default(),
        };
        Parts {
            lead: lead.to_owned(),
            items,
            hint: self.hint.clone(),
        }
    }

    /// The whole shape, as scripts get it.
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

    /// What a webhook gets: of a job's end the fields of the spec and no others, else the whole shape.
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

    /// The same without any name, size, key or error text.
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

/// A moment as the spec writes it: to the second, in UTC.
pub(super) fn timestamp(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

pub(super) fn size(bytes: u64) -> String {
    ByteCount(bytes).to_string()
}

/// `45s` as the spec writes it; `412ms` below a second, `2m 5s` and `1h 2m` beyond a minute and an hour.
pub(super) fn duration(ms: u64) -> String {
    let seconds = ms / 1000;
    match seconds {
        0 => format!("{ms}ms"),
        1..60 => format!("{seconds}s"),
        60..3600 => format!("{}m {}s", seconds / 60, seconds % 60),
        _ => format!("{}h {}m", seconds / 3600, seconds % 3600 / 60),
    }
}
