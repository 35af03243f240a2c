//! Makes of an event what a sink is sent. Invariant: an alert is never lost to a script.

use serde_json::{Value, json};

use crate::catalog::{CatalogError, Job, JobResult, Posted, ResultStatus};
use crate::config::Sink;
use crate::hook::HookName;
use crate::notify::{Alert, Body, DatabaseFacts, JobFacts, Message};
use crate::types::EventKind;
use crate::wiring::Wiring;

/// The alert of an event, as this sink may see it.
pub(super) fn alert(wiring: &Wiring, sink: &Sink, posted: &Posted) -> Result<Alert, CatalogError> {
    let event = &posted.event;
    let (message, hint) = match event.message.split_once("\nhint: ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (event.message.clone(), None),
    };
    let job = posted.job.map(|id| wiring.catalog.job(id)).transpose()?;
    let job = match job.flatten() {
        Some(job) => Some(job_facts(&job, wiring.catalog.results(job.id)?, sink)),
        None => None,
    };
    // With names of other databases left out of a message, what is left is in the failures.
    let message = match (&job, sink.databases.is_empty()) {
        (Some(job), false) => own_failures(job),
        _ => message,
    };
    let alert = Alert {
        id: posted.id.clone(),
        kind: event.kind,
        severity: event.severity,
        at: event.at,
        agent: wiring.config.agent().name.clone(),
        url: public_url(wiring),
        database: event.database.clone(),
        message,
        hint,
        resolves: posted.resolves.map(|(kind, _)| kind),
        job,
    };
    Ok(match wiring.config.alerts().redact {
        true => alert.redacted(),
        false => alert,
    })
}

/// An address of this host alone helps nobody who reads an alert elsewhere.
fn public_url(wiring: &Wiring) -> Option<String> {
    let url = &wiring.config.http().public_url;
    url.starts_with("https://").then(|| url.clone())
}

fn job_facts(job: &Job, results: Vec<JobResult>, sink: &Sink) -> JobFacts {
    let is_its =
        |result: &JobResult| sink.databases.is_empty() || sink.databases.contains(&result.database);
    let results = results.into_iter().filter(is_its);
    JobFacts {
        id: job.id,
        successful: job.successful,
        failed: job.failed,
        skipped: job.skipped,
        total: job.total,
        size_bytes: Some(job.total_size_bytes),
        duration_ms: job.duration_ms.unwrap_or_default(),
        databases: results.map(database_facts).collect(),
    }
}

fn database_facts(result: JobResult) -> DatabaseFacts {
    let error = match result.status {
        ResultStatus::Failed => {
            let why = result.error_message.unwrap_or_default();
            // The hint is for the log of the host; the first line says what happened.
            Some(why.split("\nhint: ").next().unwrap_or_default().to_owned())
        }
        _ => None,
    };
    DatabaseFacts {
        database: result.database,
        status: result.status.as_str(),
        size_bytes: result.size_bytes,
        error,
    }
}

fn own_failures(job: &JobFacts) -> String {
    let mut message = match job.failed {
        0 => format!(
            "{} of {} databases are backed up",
            job.successful, job.total
        ),
        failed => format!("{failed} of {} databases failed", job.total),
    };
    for one in &job.databases {
        if let Some(error) = &one.error {
            message.push_str(&format!("\n`{}`: {error}", one.database));
        }
    }
    message
}

/// Whether the script lets the sink have it; one that fails does.
pub(super) async fn is_wanted(wiring: &Wiring, sink: &Sink, alert: &Alert) -> bool {
    let (hook, database) = (HookName::FilterAlert, alert.database.as_ref());
    if alert.kind == EventKind::Test || !wiring.hooks.attached(hook, database) {
        return true;
    }
    let arguments = vec![alert.shape(), described(sink)];
    match wiring.hooks.call(hook, database, arguments).await {
        Ok(verdict) => verdict != Some(Value::Bool(false)),
        Err(error) => {
            tracing::warn!(sink = %sink.name, "the alert is sent although its filter failed: {error}");
            true
        }
    }
}

/// What is sent: in the words of the sink's script, or in the built-in form where it has none, where the script failed,
/// and where the sink did not take what the script wrote.
pub(super) async fn message(
    wiring: &Wiring,
    sink: &Sink,
    mut alert: Alert,
    attempts: u32,
) -> Message {
    let Some(script) = &sink.format else {
        return Message::Alert(Box::new(alert));
    };
    let note = match attempts {
        0 | 1 => {
            let arguments = vec![alert.shape(), described(sink)];
            let hook = HookName::FormatAlert;
            match wiring.hooks.call_in(script, hook, arguments).await {
                Ok(None) => return Message::Alert(Box::new(alert)),
                Ok(Some(Value::String(text))) => return scripted(alert, Body::Text(text)),
                Ok(Some(body @ (Value::Object(_) | Value::Array(_)))) => {
                    return scripted(alert, Body::Json(body));
                }
                Ok(Some(_)) => "`format_alert` returned neither map, array nor string".to_owned(),
                Err(error) => error.to_string(),
            }
        }
        _ => "the sink did not take what `format_alert` wrote".to_owned(),
    };
    tracing::warn!(sink = %sink.name, "the alert is sent in the built-in form: {note}");
    let note = match wiring.config.alerts().redact {
        true => "this is the built-in form".to_owned(),
        false => format!("this is the built-in form: {note}"),
    };
    alert.hint = Some(match alert.hint {
        Some(hint) => format!("{hint}\nnote: {note}"),
        None => note,
    });
    Message::Alert(Box::new(alert))
}

fn scripted(alert: Alert, body: Body) -> Message {
    let alert = Box::new(alert);
    Message::Scripted { alert, body }
}

/// What a script is told of a sink; its address is a secret.
fn described(sink: &Sink) -> Value {
    json!({ "name": sink.name, "kind": sink.kind.as_str() })
}
