//! Makes of an event what a sink is sent. Invariant: an alert is never lost to a script.

use serde_json::{Value, json};

use crate::catalog::{CatalogError, Job, JobResult, Posted, ResultStatus};
use crate::config::Sink;
use crate::excerpt;
use crate::hook::HookName;
use crate::notify::{Alert, Body, DatabaseFacts, JobFacts, Message};
use crate::types::{EventKind, either, share};
use crate::wiring::Wiring;

/// The alert of an event, as this sink may see it.
pub(super) fn alert(wiring: &Wiring, sink: &Sink, posted: &Posted) -> Result<Alert, CatalogError> {
    let event = &posted.event;
    let (message, hint) = excerpt::split_hint(&event.message);
    let (mut message, mut hint) = (message.to_owned(), hint.map(str::to_owned));
    let job = posted.job.map(|id| wiring.catalog.job(id)).transpose()?;
    let job = match job.flatten() {
        Some(job) => Some(job_facts(&job, wiring.catalog.results(job.id)?, sink)),
        None => None,
    };
    // A job's failures are told one by one, those of the sink's databases alone, and each in its own words.
    if let Some(job) = &job {
        let is_for_all = sink.databases.is_empty();
        if !is_for_all || job.failed_databases().next().is_some() {
            let first = message.lines().next().unwrap_or_default();
            message = failures(is_for_all.then_some(first), job);
            hint = None;
        }
    }
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
            // The hint is for the log of the host; what stands before it says what happened.
            Some(excerpt::split_hint(&why).0.to_owned())
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

/// How many failed, in the words of the event where the sink may see them, and why each did.
fn failures(first: Option<&str>, job: &JobFacts) -> String {
    let mut message = match (first, job.failed) {
        (Some(first), _) => first.to_owned(),
        (None, 0) => format!(
            "{} {} backed up",
            share(job.successful, job.total, "database"),
            either(job.successful, "is", "are")
        ),
        (None, failed) => format!("{} failed", share(failed, job.total, "database")),
    };
    for (database, error) in job.failed_databases() {
        message.push_str(&format!("\n`{database}`: {error}"));
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
