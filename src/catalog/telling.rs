//! Builds the events that the catalog writes itself, in the transaction of the fact they report.

use chrono::{DateTime, Utc};
use rusqlite::Connection;

use super::conditions::{Ended, Raised};
use super::error::Stop;
use super::events::{Besides, insert};
use super::query::select_results;
use super::record::{Damage, Event, EventKind, Job, JobStatus, NewJob, ResultStatus};
use crate::config::AlertLevel;
use crate::excerpt::split_hint;
use crate::types::{
    ArchiveManifest, ByteCount, DatabaseName, KeyKind, ObjectKey, counted, either, share,
};

/// Upper bound for failed databases named in a message; the rest are counted.
const MOST_NAMED: usize = 20;

/// Scope of the condition that a week was not archived.
pub(crate) const WEEKLY: &str = "weekly";

/// Writes the event that a job began.
pub(super) fn tell_started(connection: &Connection, job: &NewJob) -> Result<(), Stop> {
    let event = Event {
        kind: EventKind::BackupStarted,
        severity: AlertLevel::Info,
        database: None,
        message: format!("a backup of {} begins", counted(job.databases, "database")),
        at: job.started_at,
    };
    let job = Some(job.id);
    insert(
        connection,
        &event,
        Besides {
            job,
            ..Besides::default()
        },
    )
}

/// Writes the event that a job ended. An interrupted job causes none, because it is restarted.
pub(super) fn tell_ended(
    connection: &Connection,
    job: &Job,
    at: DateTime<Utc>,
) -> Result<(), Stop> {
    let (kind, severity, message) = match job.status {
        JobStatus::Completed => (EventKind::BackupCompleted, AlertLevel::Info, completed(job)),
        JobStatus::Failed => {
            let severity = match job.successful {
                0 => AlertLevel::Critical,
                _ => AlertLevel::Warning,
            };
            (EventKind::BackupFailed, severity, failed(connection, job)?)
        }
        JobStatus::Interrupted | JobStatus::Running => return Ok(()),
    };
    let event = Event {
        kind,
        severity,
        database: None,
        message,
        at,
    };
    let job = Some(job.id);
    insert(
        connection,
        &event,
        Besides {
            job,
            ..Besides::default()
        },
    )
}

fn completed(job: &Job) -> String {
    let size = ByteCount(job.total_size_bytes);
    let (good, are) = (
        share(job.successful, job.total, "database"),
        either(job.successful, "is", "are"),
    );
    let mut message = format!("{good} {are} backed up, {size}");
    if job.skipped > 0 {
        let were = either(job.skipped, "was", "were");
        message.push_str(&format!("; {} {were} skipped", job.skipped));
    }
    for why in &job.degraded {
        message.push_str(&format!("; not stored everywhere: {why}"));
    }
    message
}

fn failed(connection: &Connection, job: &Job) -> Result<String, Stop> {
    let mut message = match &job.error_message {
        Some(why) => format!("the job failed: {why}"),
        None => format!("{} failed", share(job.failed, job.total, "database")),
    };
    let results = select_results(connection, job.id)?;
    let failed: Vec<_> = results
        .iter()
        .filter(|result| result.status == ResultStatus::Failed)
        .collect();
    let named = failed.iter().take(MOST_NAMED).map(|result| {
        let why = result
            .error_message
            .as_deref()
            .unwrap_or("no reason was given");
        // The hint belongs to the database's own result; here it would break up the list.
        format!("\n`{}`: {}", result.database, split_hint(why).0)
    });
    message.extend(named);
    if failed.len() > MOST_NAMED {
        message.push_str(&format!("\nand {} more", failed.len() - MOST_NAMED));
    }
    Ok(message)
}

/// Condition that a stored object is missing or corrupt.
pub(super) fn damaged(
    key: &ObjectKey,
    storage: &str,
    damage: Damage,
    message: &str,
    at: DateTime<Utc>,
) -> Raised {
    let event = Event {
        kind: match damage {
            Damage::Missing => EventKind::MissingObject,
            Damage::Corrupt => EventKind::VerifyFailed,
        },
        severity: AlertLevel::Critical,
        database: database_of(key),
        message: message.to_owned(),
        at,
    };
    Raised::once(event, place(key, storage))
}

/// Resolution of [`damaged`]: the object was read again and is right.
pub(super) fn sound(key: &ObjectKey, storage: &str, at: DateTime<Utc>) -> Ended {
    Ended {
        kinds: vec![EventKind::MissingObject, EventKind::VerifyFailed],
        scope: place(key, storage),
        database: database_of(key),
        message: format!("storage `{storage}`: `{key}` was read again and is as it was stored"),
        at,
    }
}

/// Resolution of a block on expiry: a person acknowledged.
pub(super) fn acknowledged(database: &DatabaseName, at: DateTime<Utc>) -> Ended {
    Ended {
        kinds: vec![EventKind::ExpiryRefused],
        scope: database.to_string(),
        database: Some(database.clone()),
        message: format!("`{database}` was acknowledged; its copies expire again"),
        at,
    }
}

/// Resolution of skipped weeks: the next archive contains them, too.
pub(super) fn packed(manifest: &ArchiveManifest, at: DateTime<Utc>) -> Ended {
    Ended {
        kinds: vec![EventKind::WeeklySkipped],
        scope: WEEKLY.to_owned(),
        database: None,
        message: format!("{} is packed, and with it what had waited", manifest.week),
        at,
    }
}

fn place(key: &ObjectKey, storage: &str) -> String {
    format!("{key} in {storage}")
}

fn database_of(key: &ObjectKey) -> Option<DatabaseName> {
    match key.kind() {
        KeyKind::Daily { database, .. } => Some(database.clone()),
        KeyKind::Weekly { .. } | KeyKind::Manifest { .. } | KeyKind::Claim { .. } => None,
    }
}
