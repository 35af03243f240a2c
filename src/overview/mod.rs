//! Says how everything stands right now, and whether that is well. Invariant: it reads the catalog and the
//! configuration alone, so that a look at it disturbs no job and asks no storage.

mod runs;
mod safety;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::anomaly;
use crate::catalog::{
    Catalog, CatalogError, ExpiryRun, Good, Harm, Holding, Job, JobResult, Past, Point, Rehearsal,
    Shelf, Standing, Stock, SuspectCopy, Totals,
};
use crate::config::{AlertLevel, Config, Database, StorageKind, Thresholds};
use crate::types::{BackupDate, DatabaseName, Priority};
use crate::wiring::Wiring;

pub use runs::{ALERT_TEST, DISCOVER, NextRun, STALE};
pub use safety::Safety;
pub use words::{age, ago, duration, listed};

/// So many days are shown of each database: the twelve weeks that archives are kept.
pub const DAYS_SHOWN: u64 = 84;

/// How far back failures are counted.
const DAY: TimeDelta = TimeDelta::hours(24);

/// How everything stands at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// The installation's name.
    pub agent: String,
    /// The moment.
    pub now: DateTime<Utc>,
    /// The zone that decides which day it is.
    pub timezone: Tz,
    /// The day in that zone.
    pub today: BackupDate,
    /// Whether everything is safe, and why.
    pub safety: Safety,
    /// The databases by priority, then retired ones of which copies are left, by name.
    pub databases: Vec<DatabaseOverview>,
    /// The storages in the order of the configuration, then those that left it and held copies, by name.
    pub storages: Vec<StorageOverview>,
    /// Everything stored, each object once.
    pub totals: Totals,
    /// The jobs that run, the newest first.
    pub running: Vec<Job>,
    /// The last jobs, the newest first; at most ten.
    pub jobs: Vec<Past>,
    /// The last job that came to its end with every database backed up.
    pub last_success: Option<Job>,
    /// The last job that ended, well or not.
    pub last_ended: Option<Job>,
    /// Backups that failed in the last 24 hours.
    pub failures_24h: u64,
    /// Damaged objects, the last found first; at most twenty.
    pub harmed: Vec<Harm>,
    /// How many there are.
    pub harmed_count: u64,
    /// When each task runs next, the soonest first.
    pub next_runs: Vec<NextRun>,
    /// The last rehearsal of the worst day; `None`: there never was one.
    pub rehearsal: Option<Rehearsal>,
    /// The last run of expiry; `None`: there never was one.
    pub expiry: Option<ExpiryRun>,
}

/// How one database stands.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseOverview {
    /// Its name.
    pub name: DatabaseName,
    /// Whether it is backed up.
    pub role: Role,
    /// Its newest good copy; `None`: there is none.
    pub last_good: Option<Good>,
    /// When the newest good copy whose date is believed was made: its age is measured by that.
    pub dated_at: Option<DateTime<Utc>>,
    /// How that copy's age is to be taken.
    pub staleness: Staleness,
    /// The last twelve weeks, the oldest day first and today last.
    pub strip: Vec<Day>,
    /// What the last copy of each day weighed, the oldest first.
    pub history: Vec<(BackupDate, Point)>,
    /// The last time it could not be backed up.
    pub last_failure: Option<JobResult>,
    /// How many of its last backups failed, one after the other.
    pub failures_in_a_row: u32,
    /// When its newest copy last came back in a rehearsal; `None`: never.
    pub rehearsed_at: Option<DateTime<Utc>>,
    /// Its newest copy, where that is one of a damaged source.
    pub suspect: Option<SuspectCopy>,
    /// Why nothing of it expires now; `None`: it expires by its age.
    pub held: Option<String>,
}

/// Whether a database is backed up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The configuration names it.
    Configured {
        /// Its place in export and restore.
        priority: Priority,
        /// `d1` or `sqlite`.
        kind: &'static str,
        /// What it holds, for people; may be empty.
        description: String,
    },
    /// The configuration names it no more, and copies of it are left.
    Retired,
}

/// How the age of a last good copy is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Staleness {
    /// Younger than `warn_after`.
    Ok,
    /// `warn_after` old or older.
    Warning,
    /// `stale_after` old or older, or there is none.
    Critical,
    /// Nobody expects a new copy.
    Retired,
}

impl Staleness {
    /// The word in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Retired => "retired",
        }
    }

    /// Of a database whose last good copy was proven then, by the rule that raises the alerts; `None`: there is no copy.
    fn of(proven: Option<DateTime<Utc>>, now: DateTime<Utc>, thresholds: &Thresholds) -> Self {
        match proven.map(|proven| anomaly::staleness(proven, now, thresholds)) {
            None | Some(anomaly::Staleness::Stale) => Self::Critical,
            Some(anomaly::Staleness::Late) => Self::Warning,
            Some(anomaly::Staleness::Fresh) => Self::Ok,
        }
    }
}

/// One day of a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// The day.
    pub date: BackupDate,
    /// What is held of it; `None`: nothing.
    pub holding: Option<Holding>,
}

/// How one storage stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOverview {
    /// Its name.
    pub name: String,
    /// `directory` or `s3`; `None`: the configuration names it no more.
    pub kind: Option<&'static str>,
    /// What it holds, as far as known.
    pub stock: Stock,
}

impl Overview {
    /// How everything stands now.
    ///
    /// # Errors
    /// Where the catalog cannot be read.
    pub fn read(wiring: &Wiring) -> Result<Self, CatalogError> {
        Self::of(&wiring.catalog, &wiring.config, wiring.clock.now())
    }

    /// How everything stands at `now` under this configuration.
    ///
    /// # Errors
    /// Where the catalog cannot be read.
    pub fn of(
        catalog: &Catalog,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogError> {
        let standing = standing(catalog, config, day_of(config, now))?;
        Self::from_standing(&standing, catalog, config, now)
    }

    /// The same from a [`standing`] of this catalog, configuration and day, which costs what it tells of, however much
    /// is stored.
    ///
    /// # Errors
    /// Where the catalog cannot be read.
    pub fn from_standing(
        standing: &Standing,
        catalog: &Catalog,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogError> {
        let today = day_of(config, now);
        let mut databases = databases(&standing.shelves, config, now, today);
        let rehearsed = catalog.rehearsed()?;
        let mut held = catalog.care(now)?.held(now);
        for database in &mut databases {
            database.rehearsed_at = rehearsed.get(&database.name).copied();
            database.held = held.remove(&database.name);
        }
        let work = catalog.work(now - DAY)?;
        Ok(Self {
            agent: config.agent().name.clone(),
            now,
            timezone: config.agent().timezone,
            today,
            safety: Safety::of(&databases, standing.harmed_count, now),
            databases,
            storages: storages(&standing.storages, config),
            totals: standing.totals,
            running: work.running,
            jobs: work.jobs,
            last_success: work.last_success,
            last_ended: work.last_ended,
            failures_24h: work.failures,
            harmed: standing.harmed.clone(),
            harmed_count: standing.harmed_count,
            next_runs: runs::next(config, now),
            rehearsal: catalog.last_rehearsal()?,
            expiry: catalog.last_expiry()?,
        })
    }

    /// The databases that the configuration names.
    pub fn configured(&self) -> impl Iterator<Item = &DatabaseOverview> {
        let databases = self.databases.iter();
        databases.filter(|database| database.role != Role::Retired)
    }

    /// The next run that makes a backup; `None`: none ever does.
    pub fn next_backup(&self) -> Option<&NextRun> {
        self.next_runs.iter().find(|run| run.is_backup)
    }
}

impl DatabaseOverview {
    /// How old its last good copy is, by the newest whose date is believed; `None`: it has none.
    pub fn age(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        believed_age(self.dated_at, now)
    }

    /// The failure that no good backup followed yet.
    pub fn current_failure(&self) -> Option<&JobResult> {
        self.last_failure
            .as_ref()
            .filter(|_| self.failures_in_a_row > 0)
    }

    /// How grave its state is.
    pub fn level(&self) -> AlertLevel {
        match self.staleness {
            Staleness::Ok | Staleness::Warning if self.suspect.is_some() => AlertLevel::Critical,
            Staleness::Critical => AlertLevel::Critical,
            Staleness::Warning => AlertLevel::Warning,
            Staleness::Ok if self.failures_in_a_row > 0 => AlertLevel::Warning,
            Staleness::Ok | Staleness::Retired => AlertLevel::Info,
        }
    }

    fn new(
        name: &DatabaseName,
        shelf: &Shelf,
        config: Option<&Database>,
        now: DateTime<Utc>,
        today: BackupDate,
    ) -> Self {
        Self {
            dated_at: shelf.dated_at,
            name: name.clone(),
            role: config.map_or(Role::Retired, |config| Role::Configured {
                priority: config.priority,
                kind: config.source.kind(),
                description: config.description.clone(),
            }),
            staleness: config.map_or(Staleness::Retired, |config| {
                Staleness::of(shelf.dated_at, now, &config.alerts)
            }),
            strip: strip(&shelf.days, today),
            history: shelf
                .points
                .iter()
                .map(|(day, point)| (*day, *point))
                .collect(),
            last_good: shelf.last_good.clone(),
            last_failure: shelf.last_failure.clone(),
            failures_in_a_row: shelf.failures_in_a_row,
            rehearsed_at: None,
            suspect: shelf.suspect.clone(),
            held: None,
        }
    }
}

/// The age of a copy that was made at `dated_at`; none of one from the future.
fn believed_age(dated_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<TimeDelta> {
    let is_believed = |at: &DateTime<Utc>| *at <= now + anomaly::CLOCK_TOLERANCE;
    dated_at.filter(is_believed).map(|at| now - at)
}

/// What an overview of this configuration and day adds up from the catalog: while that does not change, another one says
/// the same.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn standing(
    catalog: &Catalog,
    config: &Config,
    today: BackupDate,
) -> Result<Standing, CatalogError> {
    let databases = config.databases().iter();
    let names: Vec<DatabaseName> = databases.map(|database| database.name.clone()).collect();
    catalog.standing(&names, first_day(today))
}

/// The day in the agent's zone.
pub fn day_of(config: &Config, now: DateTime<Utc>) -> BackupDate {
    BackupDate(now.with_timezone(&config.agent().timezone).date_naive())
}

fn first_day(today: BackupDate) -> BackupDate {
    today.minus_days(DAYS_SHOWN - 1)
}

fn strip(days: &BTreeMap<BackupDate, Holding>, today: BackupDate) -> Vec<Day> {
    let dates = (0..DAYS_SHOWN).map(|passed| first_day(today).plus_days(passed));
    dates
        .map(|date| Day {
            date,
            holding: days.get(&date).copied(),
        })
        .collect()
}

/// Those of the configuration in its order, then those that left it.
fn databases(
    shelves: &BTreeMap<DatabaseName, Shelf>,
    config: &Config,
    now: DateTime<Utc>,
    today: BackupDate,
) -> Vec<DatabaseOverview> {
    let nothing = Shelf::default();
    let configured = config.databases().iter().map(|database| {
        let shelf = shelves.get(&database.name).unwrap_or(&nothing);
        DatabaseOverview::new(&database.name, shelf, Some(database), now, today)
    });
    let named: BTreeSet<_> = config.databases().iter().map(|one| &one.name).collect();
    let retired = shelves
        .iter()
        .filter(|(name, _)| !named.contains(name))
        .map(|(name, shelf)| DatabaseOverview::new(name, shelf, None, now, today));
    configured.chain(retired).collect()
}

fn storages(stocks: &BTreeMap<String, Stock>, config: &Config) -> Vec<StorageOverview> {
    let configured = config.storages().iter().map(|storage| StorageOverview {
        stock: stocks.get(&storage.name).cloned().unwrap_or_default(),
        name: storage.name.clone(),
        kind: Some(match storage.kind {
            StorageKind::Directory(_) => "directory",
            StorageKind::S3(_) => "s3",
        }),
    });
    let is_configured = |name: &String| config.storages().iter().any(|one| one.name == *name);
    let others = stocks
        .iter()
        .filter(|(name, _)| !is_configured(name))
        .map(|(name, stock)| StorageOverview {
            name: name.clone(),
            kind: None,
            stock: stock.clone(),
        });
    configured.chain(others).collect()
}
