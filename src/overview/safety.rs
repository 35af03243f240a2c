//! Rates the safety of all databases. Invariant: the worst reason is the one reported.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};

use super::words::{age, at_most, listed};
use super::{DatabaseOverview, Role, Staleness};
use crate::config::AlertLevel;
use crate::types::{DatabaseName, counted};

/// Safety rating with its reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Safety {
    /// No configured database has a good copy yet.
    Nothing {
        /// Number of configured databases.
        databases: usize,
    },
    /// Some databases have no good copy.
    Unprotected {
        /// The databases concerned.
        databases: Vec<DatabaseName>,
    },
    /// Some databases have had no good copy for longer than `stale_after`.
    Stale {
        /// The databases concerned.
        databases: Vec<DatabaseName>,
        /// Age of the oldest of their last good copies.
        oldest: TimeDelta,
    },
    /// The sources of some databases are damaged: their newest copies are suspect.
    Suspect {
        /// The databases concerned.
        databases: Vec<DatabaseName>,
        /// Age of the oldest of their last good copies.
        oldest: TimeDelta,
    },
    /// Stored objects are missing or changed; every database has another good copy.
    Damaged {
        /// Number of objects, counted in each storage.
        objects: u64,
    },
    /// Some databases have had no good copy for longer than `warn_after`.
    Late {
        /// The databases concerned.
        databases: Vec<DatabaseName>,
        /// Age of the oldest of their last good copies.
        oldest: TimeDelta,
    },
    /// The last backup of some databases failed; their last good copies are still recent.
    Failing {
        /// The databases concerned.
        databases: Vec<DatabaseName>,
        /// Age of the oldest of their last good copies.
        oldest: TimeDelta,
    },
    /// Every database has a recent copy that was restored and compared.
    Safe {
        /// Number of databases.
        databases: usize,
        /// Age of the oldest of their last good copies.
        oldest: TimeDelta,
    },
}

impl Safety {
    /// Rates the databases and the number of damaged objects.
    pub(super) fn of(all: &[DatabaseOverview], harmed: u64, now: DateTime<Utc>) -> Self {
        let configured: Vec<&DatabaseOverview> = all
            .iter()
            .filter(|database| database.role != Role::Retired)
            .collect();
        let those = |is_one: &dyn Fn(&DatabaseOverview) -> bool| {
            let found = configured.iter().filter(|database| is_one(database));
            let names: Vec<_> = found.clone().map(|one| one.name.clone()).collect();
            let oldest = found.filter_map(|one| one.age(now)).max();
            (names, oldest.unwrap_or_default())
        };
        let (absent, _) = those(&|one| one.last_good.is_none());
        if absent.len() == configured.len() {
            let databases = configured.len();
            return Self::Nothing { databases };
        }
        if !absent.is_empty() {
            return Self::Unprotected { databases: absent };
        }
        let (databases, oldest) = those(&|one| one.staleness == Staleness::Critical);
        if !databases.is_empty() {
            return Self::Stale { databases, oldest };
        }
        let (databases, oldest) = those(&|one| one.suspect.is_some());
        if !databases.is_empty() {
            return Self::Suspect { databases, oldest };
        }
        if harmed > 0 {
            return Self::Damaged { objects: harmed };
        }
        let (databases, oldest) = those(&|one| one.staleness == Staleness::Warning);
        if !databases.is_empty() {
            return Self::Late { databases, oldest };
        }
        let (databases, oldest) = those(&|one| one.failures_in_a_row > 0);
        if !databases.is_empty() {
            return Self::Failing { databases, oldest };
        }
        let (databases, oldest) = those(&|_| true);
        Self::Safe {
            databases: databases.len(),
            oldest,
        }
    }

    /// Severity; `Info` if everything is safe.
    pub fn level(&self) -> AlertLevel {
        match self {
            Self::Safe { .. } => AlertLevel::Info,
            Self::Damaged { .. } | Self::Late { .. } | Self::Failing { .. } => AlertLevel::Warning,
            Self::Nothing { .. }
            | Self::Unprotected { .. }
            | Self::Stale { .. }
            | Self::Suspect { .. } => AlertLevel::Critical,
        }
    }

    /// Returns the rating as a short sentence.
    pub fn headline(&self) -> String {
        match self {
            Self::Nothing { .. } => "Nothing is backed up yet.".to_owned(),
            Self::Unprotected { databases } => match &databases[..] {
                [one] => format!("{one} has no backup."),
                many => format!("{} have no backup.", counted(many.len(), "database")),
            },
            Self::Stale { databases, .. } => match &databases[..] {
                [one] => format!("{one} is not safe."),
                many => format!("{} are not safe.", counted(many.len(), "database")),
            },
            Self::Suspect { databases, .. } => match &databases[..] {
                [one] => format!("{one} is damaged."),
                many => format!("{} are damaged.", counted(many.len(), "database")),
            },
            Self::Damaged { objects: 1 } => "A stored copy is damaged.".to_owned(),
            Self::Damaged { objects } => {
                format!("{} are damaged.", counted(*objects, "stored copy"))
            }
            Self::Late { databases, .. } => match &databases[..] {
                [one] => format!("{one} is late."),
                many => format!("{} are late.", counted(many.len(), "database")),
            },
            Self::Failing { databases, .. } => match &databases[..] {
                [one] => format!("The last backup of {one} failed."),
                many => format!(
                    "The last backups of {} failed.",
                    counted(many.len(), "database")
                ),
            },
            Self::Safe { .. } => "Everything is safe.".to_owned(),
        }
    }

    /// Returns the reason.
    pub fn reason(&self) -> String {
        match self {
            Self::Nothing { databases: 1 } => {
                "The one database waits for its first copy.".to_owned()
            }
            Self::Nothing { databases } => {
                format!(
                    "{} wait for their first copy.",
                    counted(*databases, "database")
                )
            }
            Self::Unprotected { databases } => format!(
                "Of {} there is no copy that was restored and compared.",
                listed(databases)
            ),
            Self::Stale { databases, oldest } => past(databases, *oldest),
            Self::Suspect { databases, oldest } => {
                let (names, age) = (listed(databases), age(*oldest));
                let newest = match &databases[..] {
                    [_] => "its newest copy is suspect",
                    _ => "their newest copies are suspect",
                };
                format!(
                    "SQLite finds damage in {names}: {newest} and does not count. The last healthy copy is {age} old; \
                     nothing expires meanwhile."
                )
            }
            Self::Damaged { .. } => {
                "A storage lost or changed what was stored; every database has another good copy."
                    .to_owned()
            }
            Self::Late { databases, oldest } => past(databases, *oldest),
            Self::Failing { databases, oldest } => format!(
                "{} can still be restored from a good copy that is {} old.",
                listed(databases),
                age(*oldest)
            ),
            Self::Safe {
                databases: 1,
                oldest,
            } => format!(
                "The one database has a copy that was restored and compared, {} old.",
                age(*oldest)
            ),
            Self::Safe { databases, oldest } => format!(
                "All {} have a copy that was restored and compared, none older than {}.",
                counted(*databases, "database"),
                at_most(*oldest)
            ),
        }
    }
}

/// Describes the age of the last good copies.
fn past(databases: &[DatabaseName], oldest: TimeDelta) -> String {
    let (names, age) = (listed(databases), age(oldest));
    match databases {
        [_] => format!("The last good copy of {names} is {age} old."),
        _ => format!("The last good copies of {names} are up to {age} old."),
    }
}

impl fmt::Display for Safety {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.headline(), self.reason())
    }
}
