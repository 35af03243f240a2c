//! Serves `GET /jobs/{id}`: one job that waits, runs or has ended.

use axum::extract::{Path, State};
use serde_json::{Value, json};

use super::Api;
use super::answer::{Json, Refusal};
use super::call::Call;
use super::list::moment;
use super::params::shown;
use crate::catalog::{BackupRequest, Job, JobResult};
use crate::config::did_you_mean;
use crate::progress::Board;
use crate::types::{ByteCount, DatabaseName, JobId};

pub(super) async fn job(
    State(api): State<Api>,
    Path(id): Path<String>,
) -> Result<Json<Value>, Refusal> {
    let unknown = || Refusal::unknown(format!("there is no job `{}`", shown(&id)));
    let id: JobId = id.parse().map_err(|_| unknown())?;
    let found = find(&api, id).await?;
    found.map(Json).ok_or_else(unknown)
}

/// Returns everything that is known of a job; `None` if the job is unknown.
pub(super) async fn find(api: &Api, id: JobId) -> Result<Option<Value>, Refusal> {
    let known = api
        .ask(move |catalog| Ok((catalog.job(id)?, catalog.results(id)?, catalog.request(id)?)))
        .await?;
    let boards = api.0.sources.live.boards();
    let board = boards.iter().find(|board| board.job() == id);
    Ok(match known {
        (Some(job), results, _) => Some(document(&job, &results, board.map(AsRef::as_ref))),
        (None, _, Some(request)) => Some(waiting(&request)),
        (None, _, None) => None,
    })
}

fn document(job: &Job, results: &[JobResult], board: Option<&Board>) -> Value {
    json!({
        "jobId": job.id,
        "status": job.status,
        "trigger": job.trigger,
        "reason": job.reason,
        "startedAt": moment(job.started_at),
        "completedAt": job.completed_at.map(moment),
        "durationMs": job.duration_ms,
        "databases": {
            "total": job.total,
            "successful": job.successful,
            "failed": job.failed,
            "skipped": job.skipped,
        },
        "totalSize": ByteCount(job.total_size_bytes).to_string(),
        "totalSizeBytes": job.total_size_bytes,
        "degraded": job.degraded,
        "error": job.error_message,
        "results": results.iter().map(result).collect::<Vec<_>>(),
        "progress": board.map(progress),
    })
}

fn result(result: &JobResult) -> Value {
    json!({
        "database": result.database,
        "status": result.status,
        "key": result.key,
        "sizeBytes": result.size_bytes,
        "tables": result.table_count,
        "rows": result.row_count,
        "startedAt": moment(result.started_at),
        "completedAt": result.completed_at.map(moment),
        "durationMs": result.duration_ms,
        "error": result.error_message,
    })
}

fn waiting(request: &BackupRequest) -> Value {
    json!({
        "jobId": request.job,
        "status": if request.ended_at.is_some() { "failed" } else { "queued" },
        "trigger": "manual",
        "reason": request.reason,
        "requestedAt": moment(request.at),
        "databases": { "names": request.databases },
    })
}

/// Progress of each database of a running job.
pub(super) fn progress(board: &Board) -> Value {
    let databases = board.iter().map(|(name, progress)| {
        let reading = progress.read();
        json!({
            "database": name,
            "stage": reading.stage.word(),
            "rows": reading.rows,
            "totalRows": reading.total_rows,
            "bytes": reading.bytes,
            "totalBytes": reading.total_bytes,
            "fraction": reading.fraction(),
        })
    });
    databases.collect()
}

/// Returns an error if neither the configuration nor the catalog has a database with this name.
pub(super) async fn refuse_unknown(
    api: &Api,
    call: &Call,
    name: &DatabaseName,
) -> Result<(), Refusal> {
    let config = &call.wiring.config;
    if config.database(name).is_some() {
        return Ok(());
    }
    let asked = name.clone();
    let held = api
        .ask(move |catalog| catalog.held(&asked, None, Some(1)))
        .await?;
    match held.is_empty() {
        true => Err(no_database(call, name.as_str())),
        false => Ok(()),
    }
}

pub(super) fn no_database(call: &Call, name: &str) -> Refusal {
    let databases = call.wiring.config.databases().iter();
    let known = databases.map(|database| database.name.as_str());
    let refusal = Refusal::unknown(format!("no database is called `{}`", shown(name)));
    match did_you_mean(name, known) {
        Some(hint) => refusal.with("hint", hint),
        None => refusal,
    }
}
