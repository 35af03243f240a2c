//! Summarizes the current state and rates its safety. Invariant: reads only the catalog and the configuration, so that
//! it disturbs no job and contacts no storage.

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

/// Number of days shown for each database: the twelve weeks that archives are kept.
pub const DAYS_SHOWN: u64 = 84;

/// Period in which failures are counted.
const DAY: TimeDelta = TimeDelta::hours(24);

/// State of the installation at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Overview {
    /// Name of the installation.
    pub agent: String,
    /// Time of the overview.
    pub now: DateTime<Utc>,
    /// Time zone that determines the day.
    pub timezone: Tz,
    /// Day in that zone.
    pub today: BackupDate,
    /// Safety rating, with the reason.
    pub safety: Safety,
    /// Databases by priority, then retired ones with remaining copies, by name.
    pub databases: Vec<DatabaseOverview>,
    /// Storages in the order of the configuration, then removed ones that held copies, by name.
    pub storages: Vec<StorageOverview>,
    /// Totals of everything stored; each object counts once.
    pub totals: Totals,
    /// Running jobs, newest first.
    pub running: Vec<Job>,
    /// Last jobs, newest first; at most ten.
    pub jobs: Vec<Past>,
    /// Last job that completed with every database backed up.
    pub last_success: Option<Job>,
    /// Last job that ended, successful or not.
    pub last_ended: Option<Job>,
    /// Number of backups that failed in the last 24 hours.
    pub failures_24h: u64,
    /// Damaged objects, most recently found first; at most twenty.
    pub harmed: Vec<Harm>,
    /// Number of all damaged objects.
    pub harmed_count: u64,
    /// Next run of each task, soonest first.
    pub next_runs: Vec<NextRun>,
    /// The last drill; `None` if there was none yet.
    pub rehearsal: Option<Rehearsal>,
    /// The last expiry run; `None` if there was none yet.
    pub expiry: Option<ExpiryRun>,
}

/// State of one database.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseOverview {
    /// Name of the database.
    pub name: DatabaseName,
    /// Role in the configuration.
    pub role: Role,
    /// Newest good copy; `None` if there is no good copy.
    pub last_good: Option<Good>,
    /// Time of the newest good copy whose date is plausible; the age is computed from it.
    pub dated_at: Option<DateTime<Utc>>,
    /// Rating of that copy's age.
    pub staleness: Staleness,
    /// The last twelve weeks, oldest day first and today last.
    pub strip: Vec<Day>,
    /// Size sample of the last copy of each day, oldest first.
    pub history: Vec<(BackupDate, Point)>,
    /// Its last failed backup.
    pub last_failure: Option<JobResult>,
    /// Number of consecutive failures of its last backups.
    pub failures_in_a_row: u32,
    /// Time when its newest copy was last restored in a drill; `None` if never.
    pub rehearsed_at: Option<DateTime<Utc>>,
    /// Newest copy, if its source was damaged.
    pub suspect: Option<SuspectCopy>,
    /// Reason that nothing of it expires now; `None` if it expires by age.
    pub held: Option<String>,
}

/// Role of a database in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// The database is configured.
    Configured {
        /// Position in export and restore.
        priority: Priority,
        /// `d1` or `sqlite`.
        kind: &'static str,
        /// Description for people; may be empty.
        description: String,
    },
    /// The database is no longer configured, but copies of it are left.
    Retired,
}

/// Rating of the age of a last good copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Staleness {
    /// Younger than `warn_after`.
    Ok,
    /// `warn_after` old or older.
    Warning,
    /// `stale_after` old or older, or no good copy.
    Critical,
    /// No new copy is expected.
    Retired,
}

impl Staleness {
    /// Returns the word used in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Retired => "retired",
        }
    }

    /// Rates a database whose last good copy was proven at this time (`None`: no copy), by the rule that raises the
    /// alerts.
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
    /// State of that day's copy; `None` if there is no copy.
    pub holding: Option<Holding>,
}

/// State of one storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageOverview {
    /// Name of the storage.
    pub name: String,
    /// `directory` or `s3`; `None` if the storage is no longer configured.
    pub kind: Option<&'static str>,
    /// Known contents.
    pub stock: Stock,
}

impl Overview {
    /// Reads the current state.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn read(wiring: &Wiring) -> Result<Self, CatalogError> {
        Self::of(&wiring.catalog, &wiring.config, wiring.clock.now())
    }

    /// Reads the state at `now` under this configuration.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn of(
        catalog: &Catalog,
        config: &Config,
        now: DateTime<Utc>,
    ) -> Result<Self, CatalogError> {
        let standing = standing(catalog, config, day_of(config, now))?;
        Self::from_standing(&standing, catalog, config, now)
    }

    /// Builds the overview from a [`standing`] of this catalog, configuration and day; the cost does not depend on how
    /// much is stored.
    ///
    /// # Errors
    /// If the catalog cannot be read.
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

    /// Returns the configured databases.
    pub fn configured(&self) -> impl Iterator<Item = &DatabaseOverview> {
        let databases = self.databases.iter();
        databases.filter(|database| database.role != Role::Retired)
    }

    /// Returns the next run that makes a backup, if there is one.
    pub fn next_backup(&self) -> Option<&NextRun> {
        self.next_runs.iter().find(|run| run.is_backup)
    }
}

impl DatabaseOverview {
    /// Age of its last good copy, from the newest whose date is plausible; `None` without such a copy.
    pub fn age(&self, now: DateTime<Utc>) -> Option<TimeDelta> {
        believed_age(self.dated_at, now)
    }

    /// Returns the last failure, unless a good backup followed it.
    pub fn current_failure(&self) -> Option<&JobResult> {
        self.last_failure
            .as_ref()
            .filter(|_| self.failures_in_a_row > 0)
    }

    /// Severity of its state.
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

/// Age of a copy made at `dated_at`; `None` for one from the future.
fn believed_age(dated_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<TimeDelta> {
    let is_believed = |at: &DateTime<Utc>| *at <= now + anomaly::CLOCK_TOLERANCE;
    dated_at.filter(is_believed).map(|at| now - at)
}

/// Sums from the catalog for an overview of this configuration and day; they stay valid until the catalog changes.
///
/// # Errors
/// If the catalog cannot be read.
pub fn standing(
    catalog: &Catalog,
    config: &Config,
    today: BackupDate,
) -> Result<Standing, CatalogError> {
    let databases = config.databases().iter();
    let names: Vec<DatabaseName> = databases.map(|database| database.name.clone()).collect();
    catalog.standing(&names, first_day(today))
}

/// Returns the day in the agent's time zone.
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

/// Configured databases in their order, then removed ones.
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
