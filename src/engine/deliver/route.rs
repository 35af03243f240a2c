//! Decides which sinks hear of an event.

use chrono::{DateTime, Utc};

use super::{PATIENCE, pulse};
use crate::catalog::{CatalogError, JobResult, Posted, ResultStatus};
use crate::config::{Alerts, Sink, SinkKind};
use crate::types::EventKind;
use crate::wiring::Wiring;

/// The names of the sinks that are to get an event; none where it is older than anything is tried.
pub(super) fn sinks(
    wiring: &Wiring,
    posted: &Posted,
    now: DateTime<Utc>,
) -> Result<Vec<String>, CatalogError> {
    let alerts = wiring.config.alerts();
    if alerts.sinks.is_empty() || posted.event.at < now - PATIENCE {
        return Ok(Vec::new());
    }
    let results = match posted.job {
        Some(job) => wiring.catalog.results(job)?,
        None => Vec::new(),
    };
    let wanting = alerts.sinks.iter().filter(|sink| match sink.kind {
        SinkKind::Heartbeat => beats(sink, posted, &results, now),
        _ => wants(sink, alerts, posted, &results),
    });
    Ok(wanting.map(|sink| sink.name.clone()).collect())
}

/// A heartbeat hears of jobs, whatever else the sink's filters say.
fn beats(sink: &Sink, posted: &Posted, results: &[JobResult], now: DateTime<Utc>) -> bool {
    let is_recent = now - posted.event.at < pulse::PATIENCE;
    is_recent
        && match posted.event.kind {
            EventKind::BackupStarted | EventKind::Test => true,
            EventKind::BackupCompleted | EventKind::BackupFailed => concerns(sink, posted, results),
            _ => false,
        }
}

fn wants(sink: &Sink, alerts: &Alerts, posted: &Posted, results: &[JobResult]) -> bool {
    let event = &posted.event;
    // The end of something goes where its begin went.
    let (kind, severity) = posted.resolves.unwrap_or((event.kind, event.severity));
    let names = |kind: EventKind| sink.only.iter().any(|only| only == kind.as_str());
    let is_named = names(kind) || names(event.kind);
    let is_on = match kind {
        EventKind::BackupStarted => return false,
        // Whoever asks whether alerts arrive asks every sink.
        EventKind::Test => return true,
        EventKind::BackupCompleted => alerts.on_success || is_named,
        EventKind::BackupFailed => alerts.on_failure || is_named,
        _ => true,
    };
    is_on
        && (is_named || sink.only.is_empty())
        && severity >= sink.min_severity
        && concerns(sink, posted, results)
}

/// Whether an event is about one of the sink's databases, or about none and so about all.
fn concerns(sink: &Sink, posted: &Posted, results: &[JobResult]) -> bool {
    if sink.databases.is_empty() {
        return true;
    }
    let is_its = |result: &&JobResult| sink.databases.contains(&result.database);
    match (&posted.event.database, posted.event.kind) {
        (Some(database), _) => sink.databases.contains(database),
        (None, EventKind::BackupFailed) if !results.is_empty() => results
            .iter()
            .filter(is_its)
            .any(|result| result.status == ResultStatus::Failed),
        (None, EventKind::BackupCompleted) => results.iter().any(|result| is_its(&result)),
        (None, _) => true,
    }
}
