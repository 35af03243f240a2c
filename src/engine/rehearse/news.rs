//! Says what a rehearsal brings with it: which database would not have come back, and which does again.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Details, Report, StorageFinding};
use crate::catalog::{Ended, Event, EventKind, News, Raised, RehearsalOutcome, Rehearsed};
use crate::config::AlertLevel;

/// What is still wrong is told again by the next rehearsal, if that is another day's.
const AGAIN: TimeDelta = TimeDelta::hours(20);

/// What the report tells.
pub(super) fn of(report: &Report, at: DateTime<Utc>) -> News {
    let mut news = News::default();
    for (result, details) in report.rehearsal.results.iter().zip(&report.details) {
        match is_well(result, details) {
            true => news.ended.push(well(result, at)),
            false => news.raised.push(badly(result, details, at)),
        }
    }
    for found in &report.storages {
        about_storage(found, at, &mut news);
    }
    news
}

fn is_well(result: &Rehearsed, details: &Details) -> bool {
    result.outcome == RehearsalOutcome::Proven && !details.is_damage
}

fn well(result: &Rehearsed, at: DateTime<Utc>) -> Ended {
    let name = &result.database;
    Ended {
        kinds: vec![EventKind::DrillFailed],
        scope: name.to_string(),
        database: Some(name.clone()),
        message: format!("`{name}` was restored from storage in a rehearsal, and proven"),
        at,
    }
}

fn badly(result: &Rehearsed, details: &Details, at: DateTime<Utc>) -> Raised {
    let name = &result.database;
    let (severity, text) = match result.outcome {
        RehearsalOutcome::Damaged => (AlertLevel::Critical, "did not come back in a rehearsal"),
        RehearsalOutcome::Proven if details.is_damage => (
            AlertLevel::Warning,
            "came back in a rehearsal, but not from everywhere",
        ),
        _ => (AlertLevel::Warning, "could not be restored in a rehearsal"),
    };
    let why = result.message.as_deref().unwrap_or("the reason is unknown");
    let hint = match why.contains("\nhint: ") {
        true => String::new(),
        false => format!("\nhint: patina drill {name}"),
    };
    let event = Event {
        kind: EventKind::DrillFailed,
        severity,
        database: Some(name.clone()),
        message: format!("`{name}` {text}: {why}{hint}"),
        at,
    };
    Raised {
        details: vec![result.outcome.as_str().to_owned()],
        again: Some(AGAIN),
        ..Raised::once(event, name.as_str())
    }
}

fn about_storage(found: &StorageFinding, at: DateTime<Utc>, news: &mut News) {
    let storage = &found.storage;
    // No database has such a name.
    let scope = format!("storage {storage}");
    let troubles: Vec<String> = found.unread.iter().chain(&found.wrong).cloned().collect();
    if troubles.is_empty() {
        news.ended.push(Ended {
            kinds: vec![EventKind::DrillFailed],
            scope,
            database: None,
            message: format!("storage `{storage}` gave a rehearsal everything it holds"),
            at,
        });
        return;
    }
    let event = Event {
        kind: EventKind::DrillFailed,
        severity: match found.wrong.is_empty() {
            true => AlertLevel::Warning,
            false => AlertLevel::Critical,
        },
        database: None,
        message: format!(
            "a rehearsal could not count on storage `{storage}`: {}",
            troubles.join("; ")
        ),
        at,
    };
    news.raised.push(Raised {
        details: troubles,
        again: Some(AGAIN),
        ..Raised::once(event, scope)
    });
}
