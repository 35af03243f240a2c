//! Says what a copy or a failure brings with it beside itself: what is not as usual, and what is over.

use chrono::{DateTime, Utc};

use super::backup::SizeFinding;
use super::suspect;
use crate::anomaly::{
    self, Changes, Finding, LEAST_SAMPLES, RowDrop, RowLimits, Sample, SizeChange,
};
use crate::catalog::{
    CatalogError, CopyFilter, Ended, Event, EventKind, News, Noted, Raised, sample_of,
};
use crate::config::AlertLevel;
use crate::copy::by_key;
use crate::excerpt::excerpt;
use crate::quote;
use crate::types::{DatabaseName, EvidenceClass, Manifest, counted};
use crate::wiring::Wiring;

/// So many tables are named in a message; the rest are counted.
const MOST_NAMED: usize = 20;

/// So many exceptions are named in a message, each with its reason; the rest are counted.
const MOST_EXCEPTIONS_NAMED: usize = 5;

/// A reason or an exception is no longer in a message, so that several fit an alert.
const MOST_CHARACTERS: usize = 240;

/// What is new of a copy beside the one before it, before the catalog knows it.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn changes(wiring: &Wiring, manifest: &Manifest) -> Result<Changes, CatalogError> {
    let database = wiring.config.database(&manifest.database);
    let skip_data = database.map_or(&[][..], |database| &database.skip_data);
    let previous = previous(wiring, manifest)?;
    Ok(anomaly::changes(manifest, previous.as_ref(), skip_data))
}

/// The copy before this one. A suspect copy is held against a suspect one, too; any other only against sound ones.
fn previous(wiring: &Wiring, manifest: &Manifest) -> Result<Option<Manifest>, CatalogError> {
    let (catalog, database) = (&wiring.catalog, &manifest.database);
    if manifest.class == EvidenceClass::S {
        let filter = CopyFilter {
            database: Some(database.clone()),
            limit: Some(2),
            ours: true,
            ..CopyFilter::default()
        };
        let mut copies = catalog.copies(&filter)?.into_iter();
        if let Some(copy) = copies.find(|copy| *copy.key() != manifest.key) {
            return Ok(Some(copy.manifest));
        }
    }
    let held = catalog.held(database, None, Some(2))?;
    let mut held = held.iter().filter(|held| held.key != manifest.key);
    match held.next() {
        Some(held) => Ok(by_key(&held.key, catalog)?.map(|found| found.manifest().clone())),
        None => Ok(None),
    }
}

/// What a committed copy brings: it ends failures and staleness, and may be unusual or suspect.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn of_copy(
    wiring: &Wiring,
    manifest: &Manifest,
    rule: &SizeFinding,
    changes: &Changes,
) -> Result<News, CatalogError> {
    let (name, at) = (&manifest.database, wiring.clock.now());
    let mut news = News::default();
    let mut kinds = vec![EventKind::ConsecutiveFailures, EventKind::BackupFailed];
    if manifest.counts() {
        kinds.push(EventKind::StaleBackup);
    }
    let key = &manifest.key;
    let back = match manifest.class {
        EvidenceClass::S => {
            format!(
                "`{name}` can be read again, and is damaged: {key} is suspect and does not count"
            )
        }
        _ => format!("`{name}` is backed up again: {key}"),
    };
    news.ended.push(ended(kinds, name, back, at));
    if manifest.class == EvidenceClass::S {
        let last_healthy = wiring.catalog.newest_good(name)?;
        let text = suspect::message(manifest, last_healthy.as_ref());
        let kind = EventKind::SuspectCopy;
        news.raised
            .push(raised(kind, AlertLevel::Critical, name, text, at));
        return Ok(news);
    }
    news.told.extend(new_exceptions(manifest, changes, at));
    news.told.extend(switched(manifest, changes, at));
    if manifest.counts() {
        let text =
            format!("`{name}`: SQLite finds its source sound again, and {key} is a good copy");
        news.ended
            .push(ended(vec![EventKind::SuspectCopy], name, text, at));
        unusual(wiring, manifest, rule, changes, &mut news)?;
    }
    Ok(news)
}

/// What a copy lacks that the one before did not, or did not say so.
fn new_exceptions(manifest: &Manifest, changes: &Changes, at: DateTime<Utc>) -> Option<Event> {
    let new = &changes.new_exceptions;
    let (name, key) = (&manifest.database, &manifest.key);
    let named: Vec<String> = new
        .iter()
        .take(MOST_EXCEPTIONS_NAMED)
        .map(|exception| excerpt(&exception.to_string(), MOST_CHARACTERS).into_owned())
        .collect();
    let more = match new.len().checked_sub(MOST_EXCEPTIONS_NAMED + 1) {
        Some(more) => format!("; and {} more", more + 1),
        None => String::new(),
    };
    (!new.is_empty()).then(|| Event {
        kind: EventKind::NewExceptions,
        severity: AlertLevel::Warning,
        database: Some(name.clone()),
        message: format!(
            "`{name}`: {key} differs from its source, and the copy before did not say so: {}{more}\nhint: everything else \
             is equal; `patina show {name}` lists all exceptions",
            named.join("; ")
        ),
        at,
    })
}

/// That copies have another form than before.
fn switched(manifest: &Manifest, changes: &Changes, at: DateTime<Utc>) -> Option<Event> {
    let text = changes.form.as_ref().filter(|_| changes.is_switch)?;
    let name = &manifest.database;
    let text = excerpt(text, MOST_CHARACTERS);
    Some(Event {
        kind: EventKind::FormChanged,
        severity: AlertLevel::Info,
        database: Some(name.clone()),
        message: format!(
            "`{name}`: {text}\nhint: nothing is to do; `patina guide {name}` has the commands to restore it"
        ),
        at,
    })
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
        let message = match count {
            1 => format!("`{name}` failed: {why}"),
            count => format!("`{name}` failed {count} times in a row: {why}"),
        };
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
    changes: &Changes,
    news: &mut News,
) -> Result<(), CatalogError> {
    let (name, at) = (&manifest.database, wiring.clock.now());
    let Some(database) = wiring.config.database(name) else {
        return Ok(());
    };
    let current = sample_of(manifest);
    let history = wiring.catalog.samples(name, &manifest.key)?;
    let same_form = wiring.catalog.samples_of_form(name, &manifest.key)?;
    let size = match rule {
        SizeFinding::BuiltIn => anomaly::judge_size(&current, &same_form, &database.alerts),
        SizeFinding::Ok | SizeFinding::Warn(_) | SizeFinding::Alert(_) => None,
    };
    let limits = RowLimits {
        below: database.alerts.rows_below,
        tables: &database.table_rows_below,
    };
    let mut findings = anomaly::judge_rows(&current, &history, limits);
    // Texts of a schema are read in another way for an image.
    findings.retain(|finding| match finding {
        Finding::SchemaChanged { added, removed } => {
            !changes.is_switch || !added.is_empty() || !removed.is_empty()
        }
        _ => true,
    });
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
        || anomaly::week_before(&current, &same_form).count() >= LEAST_SAMPLES;
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
                "{text}\nhint: the copy is proven; if the rows should be there, an older copy has them, and none of them \
                 expires until `patina ack {name}`"
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
        let more = counted(drops.len() - MOST_NAMED, "more table");
        text.push(format!("and {more}"));
    }
    text.join("; ")
}

fn tables(added: &[String], removed: &[String]) -> String {
    let mut text = String::new();
    for (word, tables) in [("new", added), ("gone", removed)] {
        let named: Vec<String> = tables
            .iter()
            .take(MOST_NAMED)
            .map(|table| format!("`{}`", quote::name(table)))
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
