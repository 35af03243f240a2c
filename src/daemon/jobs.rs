//! Lists the daemon's scheduled jobs. Invariant: a job is one line of the table and one function.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use super::night::Limit;
use super::sampled;
use super::turns::{Kind, Turn, Turns};
use crate::app::Built;
use crate::catalog::{CatalogError, CopyFilter, JobStatus};
use crate::config::Config;
use crate::engine::backup::{self, BackupError, Request};
use crate::engine::discover::{self, DiscoverError};
use crate::engine::pack::{self, Outcome, PackError, Skip};
use crate::engine::reconcile::{self, Patience};
use crate::engine::rehearse::{self, Ask, Knowledge, RehearseError};
use crate::engine::state::StateDir;
use crate::engine::verify::{self, Scope};
use crate::engine::{deliver, expire, keys, stale};
use crate::overview::{ALERT_TEST, DISCOVER, STALE};
use crate::progress::{Board, Live, Progress};
use crate::retention::Guards;
use crate::schedule::{Because, Schedule};
use crate::types::{ByteCount, DatabaseName, Trigger, counted, either, share};
use crate::wiring::Wiring;

/// Name of the job that backs up every database without a schedule of its own.
const NIGHTLY: &str = "nightly";

/// A scheduled job.
#[derive(Clone)]
pub struct Job {
    /// Its name: `nightly`, or `backup NAME` of a database with a schedule of its own.
    pub name: String,
    /// The times at which it runs.
    pub schedule: Schedule,
    run: fn(Errand) -> BoxFuture<'static, Result<Ended, JobError>>,
    database: Option<DatabaseName>,
    /// Limit for waiting for a backup that is due or running; `None` if it does not wait.
    pub(super) waits: Option<Limit>,
}

/// Returns the scheduled jobs of this configuration.
pub fn table(config: &Config) -> Vec<Job> {
    let when = config.schedule();
    let mut table = vec![
        Job::new(NIGHTLY, &when.nightly, |errand| nightly(errand).boxed()),
        Job::new("weekly", &when.weekly, |errand| weekly(errand).boxed())
            .after_the_night(Limit::LongestNight),
        Job::new("reconcile", &when.reconcile, |errand| {
            reconcile(errand).boxed()
        })
        .after_the_night(Limit::CatchUp),
        Job::new("verify", &when.verify, |errand| verify(errand).boxed())
            .after_the_night(Limit::CatchUp),
    ];
    if let Some(monthly) = &when.drill {
        let drill = Job::new("drill", monthly, |errand| drill(errand).boxed());
        table.push(drill.after_the_night(Limit::CatchUp));
    }
    if config.cloudflare().is_some() {
        let daily = DISCOVER.parse().expect("it is a valid schedule");
        table.push(Job::new("discover", &daily, |errand| {
            discover(errand).boxed()
        }));
    }
    let hourly = STALE.parse().expect("it is a valid schedule");
    table.push(Job::new("stale", &hourly, |errand| stale(errand).boxed()));
    if !config.alerts().sinks.is_empty() {
        let weekly = ALERT_TEST.parse().expect("it is a valid schedule");
        table.push(Job::new("alert test", &weekly, |errand| {
            alert_test(errand).boxed()
        }));
    }
    if of_the_night(config).is_empty() {
        table.retain(|job| job.name != NIGHTLY);
    }
    let own = config.databases().iter().filter_map(|database| {
        let (name, schedule) = (database.name.clone(), database.schedule.clone()?);
        Some(Job {
            name: format!("backup {name}"),
            schedule,
            run: |errand| single(errand).boxed(),
            database: Some(name),
            waits: None,
        })
    });
    table.extend(own);
    table
}

impl Job {
    fn new(
        name: &str,
        schedule: &Schedule,
        run: fn(Errand) -> BoxFuture<'static, Result<Ended, JobError>>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            schedule: schedule.clone(),
            run,
            database: None,
            waits: None,
        }
    }

    /// Makes the job begin when no backup is due or running.
    fn after_the_night(self, limit: Limit) -> Self {
        Self {
            waits: Some(limit),
            ..self
        }
    }

    /// True if it makes backups.
    pub(super) fn is_backup(&self) -> bool {
        self.name == NIGHTLY || self.database.is_some()
    }

    /// The database that it backs up; `None` if it concerns more than one.
    pub fn database(&self) -> Option<&DatabaseName> {
        self.database.as_ref()
    }

    /// Runs it once.
    pub(super) async fn run(&self, errand: Errand) -> Result<Ended, JobError> {
        (self.run)(Errand {
            database: self.database.clone(),
            ..errand
        })
        .await
    }
}

/// Context of one run of a job.
#[derive(Clone)]
pub(super) struct Errand {
    /// The configuration and everything built from it, as they were when it began.
    pub(super) built: Arc<Built>,
    pub(super) state: Arc<StateDir>,
    pub(super) turns: Arc<Turns>,
    pub(super) live: Live,
    /// Cancelled when the process is asked to stop.
    pub(super) stop: CancellationToken,
    /// The slot that it runs for, and the reason that it runs now.
    pub(super) slot: DateTime<Utc>,
    pub(super) because: Because,
    /// Start of a backup that has taken longer than a night may and is still running; `None` if no backup has.
    pub(super) night_since: Option<DateTime<Utc>>,
    /// The database that it concerns, if it concerns one.
    pub(super) database: Option<DatabaseName>,
}

impl Errand {
    fn wiring(&self) -> &Wiring {
        &self.built.wiring
    }

    /// Starts reading large new copies completely.
    fn read_sampled_soon(&self) {
        let built = Arc::clone(&self.built);
        sampled::read_soon(built, Arc::clone(&self.turns), self.stop.clone());
    }

    /// Waits until no command does work of this kind. `None` if the process was asked to stop.
    async fn turn(&self, kind: Kind) -> Option<Turn> {
        let turn = self.turns.take(kind);
        self.stop.run_until_cancelled(turn).await
    }
}

/// Result of a run, with a summary.
#[derive(Debug)]
pub(super) enum Ended {
    /// It succeeded.
    Well(String),
    /// It failed, or found something wrong; the failed part reported that itself.
    Badly(String),
    /// The process was asked to stop first.
    Early,
}

/// The reason that a job could not be completed.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// The backup engine could not work.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The account's databases could not be listed.
    #[error(transparent)]
    Discover(#[from] DiscoverError),
    /// The drill could not be run.
    #[error(transparent)]
    Rehearse(#[from] RehearseError),
}

/// Backs up every database without a schedule of its own.
async fn nightly(errand: Errand) -> Result<Ended, JobError> {
    let names = of_the_night(&errand.wiring().config);
    back_up(&errand, names, "nightly").await
}

/// Backs up the one database whose schedule this is.
async fn single(errand: Errand) -> Result<Ended, JobError> {
    let names = Vec::from_iter(errand.database.clone());
    back_up(&errand, names, "its own schedule").await
}

/// Archives the week's copies, then deletes expired ones.
async fn weekly(errand: Errand) -> Result<Ended, JobError> {
    let Some(_turn) = errand.turn(Kind::Week).await else {
        return Ok(Ended::Early);
    };
    let (wiring, stop) = (errand.wiring(), &errand.stop);
    let packed = match errand.night_since {
        Some(since) => Ok(Outcome::Skipped(pack::skip_running(wiring, since)?)),
        None => pack::run(wiring, &errand.state, &Arc::default(), stop).await,
    };
    let packed = match packed {
        Err(PackError::Stopped) => return Ok(Ended::Early),
        Err(PackError::Catalog(error)) => return Err(error.into()),
        packed => packed,
    };
    if let Err(error) = &packed {
        pack::tell_failed(wiring, error)?;
    }
    // Expiry runs regardless of the archive's outcome: no copy that is not in an archive is deleted.
    let expired = expire::run(wiring, &errand.built.pruners, Guards::all(), stop).await?;
    if stop.is_cancelled() {
        return Ok(Ended::Early);
    }
    errand.read_sampled_soon();
    let gone = counted(expired.deleted.len(), "object");
    let told = match &packed {
        Ok(Outcome::Packed { manifest, .. }) => {
            let (copies, week) = (counted(manifest.members.len(), "copy"), manifest.week);
            format!("{copies} packed into {week}, {gone} expired")
        }
        Ok(Outcome::Skipped(skip)) => format!("{skip}; {gone} expired"),
        Err(error) => format!("{error}; {gone} expired"),
    };
    let is_well = match &packed {
        Ok(Outcome::Packed { manifest, degraded }) => {
            manifest.left_out.is_empty() && degraded.is_empty()
        }
        Ok(Outcome::Skipped(skip)) => !matches!(skip, Skip::Running { .. }),
        Err(_) => false,
    };
    let is_well = is_well && expired.failed.is_empty() && expired.plan.refused.is_empty();
    Ok(match is_well {
        true => Ended::Well(told),
        false => Ended::Badly(told),
    })
}

/// Checks if the account has databases that are not backed up.
async fn discover(errand: Errand) -> Result<Ended, JobError> {
    let found = errand
        .stop
        .run_until_cancelled(discover::run(errand.wiring(), &errand.stop))
        .await;
    let Some(found) = found else {
        return Ok(Ended::Early);
    };
    Ok(match found? {
        0 => Ended::Well("every database of the account is backed up".to_owned()),
        count => Ended::Badly(format!(
            "{} of the account {} not backed up",
            counted(count, "database"),
            either(count, "is", "are")
        )),
    })
}

/// Checks the age of each database's last good copy, and of each key.
async fn stale(errand: Errand) -> Result<Ended, JobError> {
    let old = keys::run(errand.wiring())?;
    if old > 0 {
        let keys = format!("{} {}", counted(old, "key"), either(old, "is", "are"));
        tracing::warn!("{keys} older than `rotate_after`; `patina key list` shows which");
    }
    let report = stale::run(errand.wiring())?;
    Ok(match report.stale {
        0 => Ended::Well(report.to_string()),
        _ => Ended::Badly(report.to_string()),
    })
}

/// Sends a test alert to every sink.
async fn alert_test(errand: Errand) -> Result<Ended, JobError> {
    deliver::tell_test(errand.wiring())?;
    let count = errand.wiring().config.alerts().sinks.len();
    Ok(Ended::Well(format!(
        "{} {} sent a test",
        counted(count, "sink"),
        either(count, "is", "are")
    )))
}

/// Compares the content of every storage with the catalog.
async fn reconcile(errand: Errand) -> Result<Ended, JobError> {
    let Some(_turn) = errand.turn(Kind::Reconcile).await else {
        return Ok(Ended::Early);
    };
    let reports = reconcile::run(errand.wiring(), Patience::Wait, &errand.stop).await?;
    if errand.stop.is_cancelled() {
        return Ok(Ended::Early);
    }
    let unclean = reports.iter().filter(|report| !report.is_clean()).count();
    let all = reports.len();
    Ok(match unclean {
        0 => Ended::Well(format!(
            "{} {} as the catalog says",
            share(all, all, "storage"),
            either(all, "is", "are")
        )),
        _ => Ended::Badly(format!(
            "{} {} not as the catalog says",
            share(unclean, all, "storage"),
            either(unclean, "is", "are")
        )),
    })
}

/// Reads a seventh of all stored bytes again.
async fn verify(errand: Errand) -> Result<Ended, JobError> {
    let Some(_turn) = errand.turn(Kind::Verify).await else {
        return Ok(Ended::Early);
    };
    let targets = verify::select(errand.wiring(), Scope::Share)?;
    let sizes = targets.iter().map(|target| target.size_bytes);
    let all_bytes = ByteCount(sizes.fold(0, u64::saturating_add));
    let progress = Arc::<Progress>::default();
    let findings = verify::run(errand.wiring(), targets, &progress, &errand.stop).await?;
    if errand.stop.is_cancelled() {
        return Ok(Ended::Early);
    }
    let wrong = findings.iter().filter(|finding| finding.found.is_err());
    let (wrong, all) = (wrong.count(), findings.len());
    Ok(match wrong {
        0 => Ended::Well(format!(
            "{}, {all_bytes}, {} stored",
            counted(all, "object"),
            either(all, "is as it was", "are as they were")
        )),
        _ => Ended::Badly(format!(
            "{} {} not right",
            share(wrong, all, "object"),
            either(wrong, "is", "are")
        )),
    })
}

/// Restores the newest copy of every database, as someone would who has only the storages.
async fn drill(errand: Errand) -> Result<Ended, JobError> {
    let Some(_turn) = errand.turn(Kind::Drill).await else {
        return Ok(Ended::Early);
    };
    let ask = Ask {
        databases: Vec::new(),
        storage: None,
        knowledge: Knowledge::Manifests,
        trigger: Trigger::Scheduled,
    };
    let (wiring, stop) = (errand.wiring(), &errand.stop);
    let workshop = rehearse::folder(errand.state.path())?;
    let held = async {
        let plan = rehearse::plan(wiring, &ask, &workshop, stop).await?;
        let board = Board::new(plan.databases());
        rehearse::run(wiring, plan, &workshop, &board, stop).await
    };
    let report = match held.await {
        Err(RehearseError::Stopped) => return Ok(Ended::Early),
        report => report?,
    };
    rehearse::record(wiring, &report)?;
    let rehearsal = &report.rehearsal;
    let (proven, all) = (rehearsal.proven(), rehearsal.results.len());
    let told = format!("{} came back from storage", share(proven, all, "database"));
    Ok(match rehearsal.is_good() && !report.is_damage() {
        true => Ended::Well(told),
        false => Ended::Badly(told),
    })
}

fn of_the_night(config: &Config) -> Vec<DatabaseName> {
    let databases = config.databases().iter();
    let of_the_night = databases.filter(|database| database.schedule.is_none());
    of_the_night.map(|database| database.name.clone()).collect()
}

/// Backs up these databases, each once no other job does. Databases that the died process had stored for this slot are
/// left out.
async fn back_up(
    errand: &Errand,
    mut names: Vec<DatabaseName>,
    reason: &str,
) -> Result<Ended, JobError> {
    if errand.because == Because::Interrupted {
        names = without_copy(errand, names)?;
    }
    if names.is_empty() {
        // The engine takes an empty list to mean every database.
        return Ok(Ended::Well("every database had its copy before".to_owned()));
    }
    let board = Arc::new(Board::new(&names));
    let _shown = errand.live.show(&board);
    let request = Request {
        databases: names,
        trigger: Trigger::Scheduled,
        reason: Some(match errand.because {
            Because::OnTime => reason.to_owned(),
            because => format!("{reason}: {because}"),
        }),
    };
    let (wiring, state, stop) = (errand.wiring(), &errand.state, &errand.stop);
    let job = backup::run(wiring, state, &request, &board, stop)
        .await?
        .job;
    errand.read_sampled_soon();
    let done = share(job.successful, job.total, "database");
    let summary = format!("job {}: {done}", job.id);
    Ok(match job.status {
        JobStatus::Completed => Ended::Well(summary),
        _ if stop.is_cancelled() => Ended::Early,
        JobStatus::Failed | JobStatus::Interrupted | JobStatus::Running => Ended::Badly(summary),
    })
}

/// Returns the databases of which no copy was stored since the slot.
fn without_copy(
    errand: &Errand,
    names: Vec<DatabaseName>,
) -> Result<Vec<DatabaseName>, CatalogError> {
    let mut without = Vec::with_capacity(names.len());
    for name in names {
        let newest = errand.wiring().catalog.copies(&CopyFilter {
            database: Some(name.clone()),
            limit: Some(1),
            ours: true,
            ..CopyFilter::default()
        })?;
        if !newest.iter().any(|copy| copy.created_at >= errand.slot) {
            without.push(name);
        }
    }
    Ok(without)
}
