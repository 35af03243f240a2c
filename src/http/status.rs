//! `GET /status`: how the backups stand.

use axum::Json;
use axum::extract::{Extension, State};
use serde_json::{Value, json};

use super::Api;
use super::answer::Refusal;
use super::call::Call;
use super::list::moment;
use crate::catalog::{Job, JobStatus};
use crate::types::ByteCount;

/// So many jobs are shown.
const RECENT_JOBS: usize = 10;

pub(super) async fn status(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
) -> Result<Json<Value>, Refusal> {
    let jobs = api.ask(|catalog| catalog.jobs(RECENT_JOBS)).await?;
    let is_running = jobs.iter().any(|job| job.status == JobStatus::Running);
    let zone = call.wiring.config.agent().timezone;
    let date = |job: &Job| job.started_at.with_timezone(&zone).date_naive().to_string();
    let last = jobs.iter().find(|job| job.status != JobStatus::Running);
    let recent = jobs.iter().map(|job| {
        json!({
            "jobId": job.id,
            "date": date(job),
            "status": job.status,
            "databases": { "successful": job.successful, "failed": job.failed },
        })
    });
    Ok(Json(json!({
        "currentStatus": if is_running { "running" } else { "idle" },
        "lastBackup": last.map(|job| json!({
            "jobId": job.id,
            "date": date(job),
            "status": job.status,
            "successful": job.successful,
            "failed": job.failed,
            "totalSize": ByteCount(job.total_size_bytes).to_string(),
            "duration": job.duration_ms.map(duration),
            "startedAt": moment(job.started_at),
        })),
        "recentJobs": recent.collect::<Vec<_>>(),
    })))
}

/// `45s`, `3m 12s`; below ten seconds with a tenth.
pub(super) fn duration(duration_ms: u64) -> String {
    let seconds = duration_ms / 1000;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0..10) => format!("{}.{}s", seconds, duration_ms % 1000 / 100),
        (0, 0, seconds) => format!("{seconds}s"),
        (0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (hours, minutes, _) => format!("{hours}h {minutes}m"),
    }
}
