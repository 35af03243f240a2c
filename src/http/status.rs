//! Serves `GET /status`: the state of the backups.

use std::time::Duration;

use axum::extract::{Extension, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::Api;
use super::answer::Refusal;
use super::call::Call;
use super::list::moment;
use super::standing::Told;
use crate::anomaly::CLOCK_TOLERANCE;
use crate::catalog::{BackupRequest, ExpiryRun, Job, Past, Rehearsal};
use crate::overview::{DatabaseOverview, NextRun, Overview, Role, StorageOverview};
use crate::types::ByteCount;

pub(super) async fn status(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
) -> Result<Response, Refusal> {
    let told = api.tell(&call, Told::Status, |overview, catalog| {
        let answer = answer(overview, catalog.open_request()?.as_ref());
        Ok(answer.to_string())
    });
    let headers = [(CONTENT_TYPE, "application/json")];
    Ok((headers, told.await?).into_response())
}

fn answer(overview: &Overview, request: Option<&BackupRequest>) -> Value {
    let waits = request.is_some_and(|request| {
        let mut running = overview.running.iter();
        !running.any(|job| job.id == request.job)
    });
    let mut answer = document(overview);
    // A client whose request was just accepted must not find the server idle.
    if waits {
        answer["currentStatus"] = "running".into();
    }
    answer
}

fn document(overview: &Overview) -> Value {
    let totals = &overview.totals;
    let (oldest, newest) = totals.days.unzip();
    let databases = overview.databases.iter();
    json!({
        "currentStatus": if overview.running.is_empty() { "idle" } else { "running" },
        "safety": overview.safety.to_string(),
        "lastBackup": overview.last_ended.as_ref().map(|job| last(job, overview)),
        "nextScheduled": overview.next_backup().map(|run| moment(run.at)),
        "recentJobs": overview.jobs.iter().map(|past| recent(past, overview)).collect::<Vec<_>>(),
        "storage": {
            "totalBackups": totals.backups,
            "dailyCopies": totals.dailies,
            "weeklyArchives": totals.archives,
            "totalSize": ByteCount(totals.size_bytes).to_string(),
            "totalSizeBytes": totals.size_bytes,
            "oldestBackup": oldest,
            "newestBackup": newest,
        },
        "databases": databases.map(|one| database(one, overview)).collect::<Vec<_>>(),
        "storages": overview.storages.iter().map(storage).collect::<Vec<_>>(),
        "nextRuns": overview.next_runs.iter().map(next).collect::<Vec<_>>(),
        "lastExpiry": overview.expiry.as_ref().map(expiry),
        "lastDrill": overview.rehearsal.as_ref().map(|drill| rehearsal(drill, overview)),
    })
}

fn last(job: &Job, overview: &Overview) -> Value {
    json!({
        "jobId": job.id,
        "date": day(job, overview),
        "status": job.status,
        "successful": job.successful,
        "failed": job.failed,
        "totalSize": ByteCount(job.total_size_bytes).to_string(),
        "duration": job.duration_ms.map(duration),
    })
}

fn recent(past: &Past, overview: &Overview) -> Value {
    let job = &past.job;
    json!({
        "jobId": job.id,
        "date": day(job, overview),
        "status": job.status,
        "databases": { "successful": job.successful, "failed": job.failed },
    })
}

/// Day on which a job began, in the agent's time zone.
fn day(job: &Job, overview: &Overview) -> String {
    let began = job.started_at.with_timezone(&overview.timezone);
    began.date_naive().to_string()
}

fn database(database: &DatabaseOverview, overview: &Overview) -> Value {
    let good = database.last_good.as_ref();
    let seconds = |at: DateTime<Utc>| (overview.now - at).num_seconds().max(0);
    json!({
        "database": database.name,
        "priority": match &database.role {
            Role::Configured { priority, .. } => Some(priority.to_string()),
            Role::Retired => None,
        },
        "staleness": database.staleness,
        "ageSeconds": database.age(overview.now).map(|age| age.num_seconds().max(0)),
        "verifiedAgeSeconds": good.and_then(|good| good.verified_at).map(seconds),
        "lastGood": good.map(|good| json!({
            "date": good.date,
            "r2Key": good.key,
            "archive": good.archive,
            "createdAt": moment(good.created_at),
            "datedAhead": good.is_ahead || good.created_at > overview.now + CLOCK_TOLERANCE,
            "unconfirmed": good.is_unconfirmed,
            "verifiedAt": good.verified_at.map(moment),
            "evidence": good.class,
            "proof": good.proof,
            "form": good.key.form().as_str(),
            "formReason": good.method_reason,
            "exceptions": good.exceptions,
            "check": good.check,
            "size": ByteCount(good.size_bytes).to_string(),
            "sizeBytes": good.size_bytes,
            "tables": good.tables,
            "rows": good.rows,
            "storages": good.storages,
        })),
        "suspect": database.suspect.as_ref().map(|suspect| json!({
            "date": suspect.date,
            "r2Key": suspect.key,
            "since": moment(suspect.since),
            "damage": suspect.damage,
        })),
        "expiryHeld": database.held,
        "drilledAgeSeconds": database.rehearsed_at.map(seconds),
        "failuresInARow": database.failures_in_a_row,
        "lastError": database.current_failure().and_then(|failure| failure.error_message.clone()),
    })
}

fn storage(storage: &StorageOverview) -> Value {
    let stock = &storage.stock;
    let (oldest, newest) = stock.days.unzip();
    json!({
        "name": storage.name,
        "kind": storage.kind,
        "objects": stock.objects,
        "size": ByteCount(stock.size_bytes).to_string(),
        "sizeBytes": stock.size_bytes,
        "damaged": stock.harmed,
        "oldestBackup": oldest,
        "newestBackup": newest,
    })
}

/// Results of the last expiry run, and the objects that it kept.
fn expiry(run: &ExpiryRun) -> Value {
    json!({
        "at": moment(run.at),
        "deleted": run.deleted,
        "failed": run.failed,
        "kept": run.kept,
    })
}

/// Results of the last drill.
fn rehearsal(rehearsal: &Rehearsal, overview: &Overview) -> Value {
    let ended_at = rehearsal.ended_at();
    json!({
        "endedAt": moment(ended_at),
        "ageSeconds": (overview.now - ended_at).num_seconds().max(0),
        "durationMs": rehearsal.duration_ms,
        "cold": rehearsal.is_cold,
        "good": rehearsal.is_good(),
        "databases": {
            "successful": rehearsal.proven(),
            "failed": rehearsal.results.len() - rehearsal.proven(),
        },
    })
}

fn next(run: &NextRun) -> Value {
    json!({
        "task": run.task,
        "database": run.database,
        "at": moment(run.at),
    })
}

/// Formats a duration: `45s`, `3m 12s`; in whole seconds, below one second in milliseconds.
fn duration(duration_ms: u64) -> String {
    let whole = match duration_ms {
        0..1_000 => Duration::from_millis(duration_ms),
        _ => Duration::from_secs(duration_ms / 1_000),
    };
    humantime::format_duration(whole).to_string()
}
