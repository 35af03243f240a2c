//! Says what a copy or a failure brings with it beside itself: what is not as usual, and what is over.

use chrono::{DateTime, Utc};

use super::backup::SizeFinding;
use crate::anomaly::{self, Finding, LEAST_SAMPLES, RowDrop, RowLimits, Sample, SizeChange};
use crate::catalog::{CatalogError, Ended, Event, EventKind, News, Noted, Raised, sample_of};
use crate::config::AlertLevel;
use crate::types::{DatabaseName, EvidenceClass, Manifest};
use crate::wiring::Wiring;

/// So many tables are named in a message; the rest are counted.
const MOST_NAMED: usize = 20;

/// What a committed copy brings: it ends failures and staleness, and may be unusual.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn of_copy(
    wiring: &Wiring,
    manifest: &Manifest,
    rule: &SizeFinding,
) -> Result<News, CatalogError> {
    let (name, at) = (&manifest.database, wiring.clock.now());
    let mut news = News::default();
    let is_good = matches!(manifest.class, EvidenceClass::A | EvidenceClass::B);
    let mut kinds = vec![EventKind::ConsecutiveFailures, EventKind::BackupFailed];
    if is_good && !manifest.incomplete {
        kinds.push(EventKind::StaleBackup);
    }
    let back = format!("`{name}` is backed up again: {}", manifest.key);
    news.ended.push(ended(kinds, name, back, at));
    if is_good && !manifest.incomplete {
        unusual(wiring, manifest, rule, at, &mut news)?;
    }
    Ok(news)
}

/// What a failed backup brings: the last of several in a row is told by itself.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn of_failure(wiring: &Wiring, name: &DatabaseName, why: &str) -> Result<News, CatalogError> {
    let at = wiring.clock.now();
    let mut news = News::default();
    news.noted.push(Noted {
        kind: EventKind::BackupFailed,
        severity: AlertLevel::Warning,
        scope: name.to_string(),
        at,
    });
    let Some(database) = wiring.config.database(name) else {
        return Ok(news);
    };
    let count = 1 + anomaly::failures_in_a_row(wiring.catalog.endings(name)?);
    if count >= database.alerts.consecutive_failures {
        let message = format!("`{name}` failed {count} times in a row: {why}");
        let kind = EventKind::ConsecutiveFailures;
        news.raised
            .push(raised(kind, AlertLevel::Critical, name, message, at));
    }
    Ok(news)
}

fn unusual(
    wiring: &Wiring,
    manifest: &Manifest,
    rule: &SizeFinding,
    at: DateTime<Utc>,
    news: &mut News,
) -> Result<(), CatalogError> {
    let name = &manifest.database;
    let Some(database) = wiring.config.database(name) else {
        return Ok(());
    };
    let current = sample_of(manifest);
    let history = wiring.catalog.samples(name, &manifest.key)?;
    let size = match rule {
        SizeFinding::BuiltIn => anomaly::judge_size(&current, &history, &database.alerts),
        SizeFinding::Ok | SizeFinding::Warn(_) | SizeFinding::Alert(_) => None,
    };
    let limits = RowLimits {
        below: database.alerts.rows_below,
        tables: &database.table_rows_below,
    };
    let mut findings = anomaly::judge_rows(&current, &history, limits);
    findings.extend(size);
    let mut found = Vec::new();
    if let Some((severity, reason)) = said(rule) {
        let kind = direction(&current, &history);
        let text = match reason {
            "" => format!("`{name}`: `check_size` finds the size of its copy unusual"),
            reason => {
                format!("`{name}`: `check_size` finds the size of its copy unusual: {reason}")
            }
        };
        news.raised.push(raised(kind, severity, name, text, at));
        found.push(kind);
    }
    for finding in &findings {
        found.extend(add(finding, manifest, at, news));
    }
    // Without a verdict nothing ends.
    let has_mean = *rule != SizeFinding::BuiltIn
        || anomaly::week_before(&current, &history).count() >= LEAST_SAMPLES;
    let sizes = [EventKind::SizeDecrease, EventKind::SizeIncrease];
    let over = sizes
        .into_iter()
        .filter(|kind| has_mean && !found.contains(kind));
    let text = format!("`{name}`: the size of its copy is as usual again");
    news.ended.push(ended(over.collect(), name, text, at));
    if !history.is_empty() && !found.contains(&EventKind::RowsDropped) {
        let text = format!("`{name}`: no table lacks more of its rows than it may any more");
        news.ended
            .push(ended(vec![EventKind::RowsDropped], name, text, at));
    }
    Ok(())
}

/// How grave a script finds the size, and why.
fn said(rule: &SizeFinding) -> Option<(AlertLevel, &str)> {
    match rule {
        SizeFinding::BuiltIn | SizeFinding::Ok => None,
        SizeFinding::Warn(reason) => Some((AlertLevel::Warning, reason)),
        SizeFinding::Alert(reason) => Some((AlertLevel::Critical, reason)),
    }
}

/// Which way the size went since the copy before; a first copy is too large, if anything.
fn direction(current: &Sample, history: &[Sample]) -> EventKind {
    match history.first() {
        Some(last) if current.size_bytes < last.size_bytes => EventKind::SizeDecrease,
        _ => EventKind::SizeIncrease,
    }
}

/// Adds a finding to the news, and gives the kind of what goes on.
fn add(
    finding: &Finding,
    manifest: &Manifest,
    at: DateTime<Utc>,
    news: &mut News,
) -> Option<EventKind> {
    let name = &manifest.database;
    match finding {
        Finding::SizeDecrease(change) => {
            let kind = EventKind::SizeDecrease;
            news.raised.push(resized(kind, manifest, change, at));
            Some(kind)
        }
        Finding::SizeIncrease(change) => {
            let kind = EventKind::SizeIncrease;
            news.raised.push(resized(kind, manifest, change, at));
            Some(kind)
        }
        Finding::RowsDropped(drops) => {
            let text = format!("`{name}`: {}", told(drops));
            let text = format!(
                "{text}\nhint: the copy is proven; if the rows should be there, an older copy has them"
            );
            let kind = EventKind::RowsDropped;
            news.raised.push(Raised {
                details: drops.iter().map(|drop| drop.table.clone()).collect(),
                ..raised(kind, AlertLevel::Warning, name, text, at)
            });
            Some(kind)
        }
        Finding::SchemaChanged { added, removed } => {
            news.told.push(Event {
                kind: EventKind::SchemaChanged,
                severity: AlertLevel::Info,
                database: Some(name.clone()),
                message: format!(
                    "`{name}` has another schema than in the copy before{}",
                    tables(added, removed)
                ),
                at,
            });
            None
        }
    }
}

fn resized(kind: EventKind, manifest: &Manifest, change: &SizeChange, at: DateTime<Utc>) -> Raised {
    let name = &manifest.database;
    let text = format!(
        "`{name}`: {change}\nhint: the copy is proven; look at what changed: `patina show {name}`"
    );
    raised(kind, AlertLevel::Warning, name, text, at)
}

fn told(drops: &[RowDrop]) -> String {
    let named = drops.iter().take(MOST_NAMED);
    let mut text: Vec<String> = named.map(RowDrop::to_string).collect();
    if drops.len() > MOST_NAMED {
        text.push(format!("and {} more tables", drops.len() - MOST_NAMED));
    }
    text.join("; ")
}

fn tables(added: &[String], removed: &[String]) -> String {
    let mut text = String::new();
    for (word, tables) in [("new", added), ("gone", removed)] {
        let named: Vec<String> = tables
            .iter()
            .take(MOST_NAMED)
            .map(|table| format!("`{table}`"))
            .collect();
        if !named.is_empty() {
            let rest = tables.len() - named.len();
            let more = if rest > 0 {
                format!(" and {rest} more")
            } else {
                String::new()
            };
            text.push_str(&format!("; {word}: {}{more}", named.join(", ")));
        }
    }
    text
}

fn raised(
    kind: EventKind,
    severity: AlertLevel,
    name: &DatabaseName,
    message: String,
    at: DateTime<Utc>,
) -> Raised {
    let event = Event {
        kind,
        severity,
        database: Some(name.clone()),
        message,
        at,
    };
    Raised::once(event, name.as_str())
}

fn ended(kinds: Vec<EventKind>, name: &DatabaseName, message: String, at: DateTime<Utc>) -> Ended {
    Ended {
        kinds,
        scope: name.to_string(),
        database: Some(name.clone()),
        message,
        at,
    }
}
