//! Looks how old each database's last good copy is. Invariant: a database without any copy counts from the day it was
//! first looked at.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use crate::anomaly::{Staleness, staleness};
use crate::catalog::{CatalogError, Ended, Event, EventKind, News, Raised};
use crate::config::{AlertLevel, Database, duration_text};
use crate::types::counted;
use crate::wiring::Wiring;

/// A stale database is told of daily; less than a day, or the hourly look would slip a little each time.
const AGAIN: TimeDelta = TimeDelta::minutes(24 * 60 - 30);

/// How the databases stand by the age of their last good copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// How many databases there are.
    pub databases: usize,
    /// How many have had no good copy for too long.
    pub stale: usize,
    /// How many have no good copy at all, those among them that wait for the first one.
    pub without: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = counted(self.databases as u64, "database");
        match (self.stale, self.without) {
            (0, 0) if self.databases == 0 => write!(f, "no database is configured"),
            (0, 0) if self.databases == 1 => write!(f, "the one database has a fresh copy"),
            (0, 0) => write!(f, "all {all} have a fresh copy"),
            (0, without) if without == self.databases => {
                write!(f, "no database has a copy yet: {all} in all")
            }
            (0, without) => write!(
                f,
                "{without} of {all} without a copy yet, the others have a fresh one"
            ),
            (stale, _) => write!(f, "{stale} of {all} without a fresh copy"),
        }
    }
}

/// Tells of every database whose last good copy is too old.
///
/// # Errors
/// Where the catalog cannot be read or written.
pub fn run(wiring: &Wiring) -> Result<Report, CatalogError> {
    let now = wiring.clock.now();
    wiring.catalog.note_dated_ahead(now)?;
    let mut report = Report::default();
    for database in wiring.config.databases() {
        let watched_since = wiring.catalog.watched_since(&database.name, now)?;
        let last = wiring.catalog.freshness_copy(&database.name, now)?;
        let last = last.map(|good| good.created_at);
        let found = staleness(last.unwrap_or(watched_since), now, &database.alerts);
        report.databases += 1;
        report.stale += usize::from(found != Staleness::Fresh);
        report.without += usize::from(last.is_none());
        wiring.catalog.announce(&news(database, found, last, now))?;
    }
    let names = wiring.config.databases().iter();
    let names: Vec<String> = names.map(|database| database.name.to_string()).collect();
    for kind in [EventKind::StaleBackup, EventKind::SuspectCopy] {
        wiring.catalog.forget_conditions(kind, &names)?;
    }
    Ok(report)
}

fn news(
    database: &Database,
    found: Staleness,
    last: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> News {
    let (name, limits) = (&database.name, &database.alerts);
    let (severity, limit, again) = match found {
        Staleness::Fresh => {
            return News {
                ended: vec![Ended {
                    kinds: vec![EventKind::StaleBackup],
                    scope: name.to_string(),
                    database: Some(name.clone()),
                    message: format!("`{name}` has a good copy that is young enough"),
                    at: now,
                }],
                ..News::default()
            };
        }
        Staleness::Late => (AlertLevel::Warning, limits.warn_after, None),
        Staleness::Stale => (AlertLevel::Critical, limits.stale_after, Some(AGAIN)),
    };
    let since = match last {
        Some(last) => format!(
            "its last good copy is of {}",
            last.format("%Y-%m-%d %H:%M UTC")
        ),
        None => "it never had one".to_owned(),
    };
    let limit = duration_text(limit);
    let event = Event {
        kind: EventKind::StaleBackup,
        severity,
        database: Some(name.clone()),
        message: format!(
            "`{name}` has had no good copy for {limit} or longer: {since}\nhint: patina backup {name}"
        ),
        at: now,
    };
    let raised = Raised {
        // A warning that became critical is told again.
        details: vec![format!("{found:?}").to_lowercase()],
        again,
        ..Raised::once(event, name.as_str())
    };
    News {
        raised: vec![raised],
        ..News::default()
    }
}
