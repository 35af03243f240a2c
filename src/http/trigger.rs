//! Serves `POST /trigger`: records a backup request and activates the tasks. Invariant: a request answered with 202
//! leads to a backup, even after a crash.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::Api;
use super::answer::{Json, Refusal};
use super::auth::Caller;
use super::call::{Call, MOST_BODY_BYTES, body_too_long, closing};
use super::jobs::no_database;
use crate::catalog::{Asked, BackupRequest};
use crate::types::{DatabaseName, JobId, counted};

/// Time limit for receiving the body: 64 KiB take a moment on any line.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// Upper bound for `reason`: a sentence or two.
const MOST_REASON_CHARACTERS: usize = 500;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Wish {
    databases: Option<Vec<String>>,
    reason: Option<String>,
}

pub(super) async fn trigger(
    State(api): State<Api>,
    Extension(call): Extension<Call>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Response {
    let wish = match read(body).await {
        Ok(wish) => wish,
        Err(refusal) => return closing(refusal.into_response()),
    };
    match ask(&api, &call, &caller, wish).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn read(body: Body) -> Result<Wish, Refusal> {
    let read = axum::body::to_bytes(body, MOST_BODY_BYTES);
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(_)) => return Err(body_too_long()),
        Err(_) => {
            let message = "the request's body did not arrive in time";
            let status = StatusCode::REQUEST_TIMEOUT;
            return Err(Refusal::new(status, "timeout", message));
        }
    };
    if bytes.trim_ascii().is_empty() {
        return Ok(Wish::default());
    }
    let refused = |why: String| {
        Refusal::bad(format!("the body is not what is asked for: {why}")).with(
            "example",
            json!({ "databases": ["blog"], "reason": "before the deployment" }),
        )
    };
    // serde accepts a list in place of an object, with the fields in order.
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(refused("it is no JSON object".to_owned()));
    }
    serde_json::from_slice(&bytes).map_err(|error| refused(error.to_string()))
}

async fn ask(api: &Api, call: &Call, caller: &Caller, wish: Wish) -> Result<Response, Refusal> {
    let names = names(call, wish.databases)?;
    if let Some(reason) = &wish.reason
        && reason.chars().count() > MOST_REASON_CHARACTERS
    {
        let message = format!("`reason` may have {MOST_REASON_CHARACTERS} characters");
        return Err(Refusal::bad(message));
    }
    let wiring = &call.wiring;
    let count = match names.len() {
        0 => wiring.config.databases().len(),
        count => count,
    };
    let request = BackupRequest {
        job: JobId::random(),
        at: wiring.clock.now(),
        client: caller.name.clone(),
        reason: wish.reason.filter(|reason| !reason.trim().is_empty()),
        databases: names,
        attempts: 0,
        ended_at: None,
    };
    let job = request.job;
    let asked = api
        .write(wiring, move |catalog| catalog.ask(&request))
        .await?;
    if let Asked::Busy(running) = asked {
        let message = format!("job {running} runs or waits already; no other was started");
        let refusal = Refusal::new(StatusCode::CONFLICT, "busy", message);
        return Err(refusal.with("jobId", running.to_string()));
    }
    api.0.sources.activator.activate();
    let (request, client) = (&call.id, &caller.name);
    tracing::info!(%job, %request, %client, "{client} asked for a backup of {}: job {job}",
        counted(count, "database"));
    let answer = json!({
        "jobId": job,
        "status": "started",
        "databases": count,
        "message": "Backup job started. Check /status for progress.",
    });
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

/// Returns the requested databases, each once; empty if none were named.
fn names(call: &Call, asked: Option<Vec<String>>) -> Result<Vec<DatabaseName>, Refusal> {
    let Some(asked) = asked else {
        return Ok(Vec::new());
    };
    if asked.is_empty() {
        let message = "`databases` is empty: name some, or leave it out for all";
        return Err(Refusal::bad(message));
    }
    let mut names = Vec::with_capacity(asked.len());
    for text in asked {
        let name = text.parse::<DatabaseName>().ok();
        let name = name.filter(|name| call.wiring.config.database(name).is_some());
        let name = name.ok_or_else(|| no_database(call, &text))?;
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names)
}
