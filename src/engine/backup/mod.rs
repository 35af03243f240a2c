//! Backs up databases: each exported, proven by a restore, stored, and committed. Invariant: one database's failure
//! stops no other's backup, and nothing partial is left.

mod hooks;
mod one;
mod places;
mod storing;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use self::hooks::Decision;
use self::one::Attempt;
use self::places::Place;
use super::commit::Silent;
use super::state::StateDir;
use super::{judge, presence};
use crate::anomaly::Changes;
use crate::catalog::{CatalogError, Job, JobStatus, NewJob, Run};
use crate::config::did_you_mean;
use crate::excerpt;
use crate::progress::{Board, Stage};
use crate::types::{DatabaseName, EvidenceClass, Manifest, Trigger, share};
use crate::wiring::{WiredDatabase, Wiring};

/// Of more databases than this the log names those that a person should look at.
const MOST_TOLD: usize = 100;

/// Which databases to back up, and why.
#[derive(Debug, Clone)]
pub struct Request {
    /// The databases; empty means all.
    pub databases: Vec<DatabaseName>,
    /// What started the job.
    pub trigger: Trigger,
    /// Why, in a person's words.
    pub reason: Option<String>,
}

/// What a job did.
#[derive(Debug)]
pub struct Report {
    /// The job as the catalog has it.
    pub job: Job,
    /// One entry per database, in the order they started.
    pub databases: Vec<DatabaseReport>,
    /// Why `before_job` left out the whole job; `None` where it did not.
    pub skipped: Option<String>,
    /// What is to be known of storages, whatever became of the copies.
    pub warnings: Vec<String>,
}

/// What a job did with one database.
#[derive(Debug)]
pub struct DatabaseReport {
    /// The database.
    pub database: DatabaseName,
    /// How long it took.
    pub duration_ms: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a database's backup ended.
#[derive(Debug)]
pub enum Outcome {
    /// A proven copy is stored.
    Stored {
        /// Its commit record.
        manifest: Box<Manifest>,
        /// What went wrong with single storages, although others hold it.
        degraded: Vec<String>,
        /// What a hook makes of its size.
        size: SizeFinding,
        /// What is new of it beside the copy before.
        changes: Changes,
    },
    /// There is no new copy; nothing of it is left.
    Failed {
        /// Why, and the way out.
        message: String,
    },
    /// A hook left it out.
    Skipped {
        /// By which one, and why.
        reason: String,
    },
    /// The process was told to end first.
    Interrupted,
}

impl Outcome {
    /// It failed for this reason: whoever worded it, what is kept and told of it is bounded.
    fn failed(why: &str) -> Self {
        Self::Failed {
            message: excerpt::error(why),
        }
    }
}

/// What the `check_size` hook makes of a copy's size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SizeFinding {
    /// No hook has a say: the built-in rule decides.
    #[default]
    BuiltIn,
    /// All is well; the built-in rule is not asked.
    Ok,
    /// Somebody should look, for this reason.
    Warn(String),
    /// Somebody must look, for this reason.
    Alert(String),
}

/// Why no job could be run.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A database that no `[[database]]` names.
    #[error("no database is called `{name}`\nhint: the configuration has {known}")]
    Unknown {
        /// The name asked for.
        name: DatabaseName,
        /// The names there are.
        known: String,
    },
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// The databases a request is about, by priority.
///
/// # Errors
/// Where it names one that is not configured.
pub fn select<'a>(
    wiring: &'a Wiring,
    request: &Request,
) -> Result<Vec<&'a WiredDatabase>, BackupError> {
    if let Some(name) = request
        .databases
        .iter()
        .find(|name| wiring.database(name).is_none())
    {
        let known: Vec<&str> = wiring
            .databases
            .iter()
            .map(|d| d.config.name.as_str())
            .collect();
        return Err(BackupError::Unknown {
            name: name.clone(),
            known: known.join(", "),
        });
    }
    let is_asked = |database: &&WiredDatabase| {
        request.databases.is_empty() || request.databases.contains(&database.config.name)
    };
    Ok(wiring.databases.iter().filter(is_asked).collect())
}

/// Backs up the databases of `request`, `concurrency` at a time, as the job of `board`, and counts there.
///
/// # Errors
/// Where the catalog fails or a name is unknown; a database's own failure is part of the report.
pub async fn run(
    wiring: &Wiring,
    state: &StateDir,
    request: &Request,
    board: &Board,
    stop: &CancellationToken,
) -> Result<Report, BackupError> {
    let selected = select(wiring, request)?;
    let run = wiring.catalog.begin(NewJob {
        id: board.job(),
        trigger: request.trigger,
        reason: request.reason.clone(),
        databases: selected.len(),
        started_at: wiring.clock.now(),
    })?;
    tracing::info!(job = %run.id(), databases = selected.len(), "backup job {} begins", run.id());
    let decision = tokio::select! {
        decision = asked_before(wiring, &run, request, &selected) => decision,
        () = stop.cancelled() => Decision::Continue(None),
    };
    let mut warnings = Vec::new();
    let (databases, skipped) = match decision {
        Decision::Continue(trouble) => {
            hooks::tell(&run, None, trouble)?;
            let looked = async {
                // A storage that does not answer holds up nothing but this look.
                let warnings = presence::tell(wiring).await?;
                for warning in &warnings {
                    tracing::warn!(job = %run.id(), "{warning}");
                    run.note(None, warning)?;
                }
                Ok::<_, CatalogError>(warnings)
            };
            let backed_up = back_up_all(wiring, state, &run, selected, board, stop);
            let (looked, databases) = tokio::join!(looked, backed_up);
            warnings = looked?;
            (databases?, None)
        }
        Decision::Skip(reason) => {
            let outcome = || Outcome::Skipped {
                reason: reason.clone(),
            };
            (all_end(wiring, &run, &selected, outcome)?, Some(reason))
        }
        Decision::Abort(message) => {
            let outcome = || Outcome::failed(&message);
            (all_end(wiring, &run, &selected, outcome)?, None)
        }
    };
    for warning in unknown_tables(wiring, &databases) {
        tracing::warn!(job = %run.id(), "{warning}");
        run.note(None, &warning)?;
        warnings.push(warning);
    }
    let job = run.finish(wiring.clock.now())?;
    let done = share(job.successful, job.total, "database");
    let summary = (done, job.status.as_str());
    tracing::info!(job = %job.id, "backup job {}: {}, {}", job.id, summary.0, summary.1);
    hooks::after_job(wiring, &job, &databases, stop).await;
    Ok(Report {
        job,
        databases,
        skipped,
        warnings,
    })
}

/// Names in `table_rows_below` that no table of the copy has: a misspelt one guards nothing.
fn unknown_tables(wiring: &Wiring, databases: &[DatabaseReport]) -> Vec<String> {
    let mut warnings = Vec::new();
    for report in databases {
        let Outcome::Stored { manifest, .. } = &report.outcome else {
            continue;
        };
        let Some(database) = wiring.config.database(&report.database) else {
            continue;
        };
        let tables = || manifest.evidence.tables.iter().map(|table| &*table.name);
        let mut named = database.table_rows_below.keys();
        for name in named
            .by_ref()
            .filter(|name| !tables().any(|table| table == **name))
        {
            let hint =
                did_you_mean(name, tables()).map_or(String::new(), |hint| format!("; {hint}"));
            warnings.push(format!(
                "database `{}`: `table_rows_below` names `{name}`, and no table is called so\n\
                 hint: correct it in the configuration, or take it out{hint}",
                report.database
            ));
        }
    }
    warnings
}

async fn asked_before(
    wiring: &Wiring,
    run: &Run,
    request: &Request,
    selected: &[&WiredDatabase],
) -> Decision {
    let job = Job {
        id: run.id(),
        status: JobStatus::Running,
        degraded: Vec::new(),
        trigger: request.trigger,
        reason: request.reason.clone(),
        started_at: run.started_at(),
        completed_at: None,
        total: selected.len() as u64,
        successful: 0,
        failed: 0,
        skipped: 0,
        total_size_bytes: 0,
        duration_ms: None,
        error_message: None,
    };
    let mut about = hooks::about_job(wiring, &job);
    let names = selected
        .iter()
        .map(|database| database.config.name.as_str());
    about["databases"] = names.collect();
    hooks::before_job(wiring, about).await
}

/// Ends every database of a job in the same way, before any began.
fn all_end(
    wiring: &Wiring,
    run: &Run,
    selected: &[&WiredDatabase],
    outcome: impl Fn() -> Outcome,
) -> Result<Vec<DatabaseReport>, CatalogError> {
    let now = wiring.clock.now();
    let end = |database: &&WiredDatabase| {
        let outcome = outcome();
        record(wiring, run, database, &outcome, (now, now))?;
        Ok(DatabaseReport {
            database: database.config.name.clone(),
            duration_ms: 0,
            outcome,
        })
    };
    selected.iter().map(end).collect()
}

/// Backs up every one of these databases; each takes the next free place, in this order.
async fn back_up_all(
    wiring: &Wiring,
    state: &StateDir,
    run: &Run,
    selected: Vec<&WiredDatabase>,
    board: &Board,
    stop: &CancellationToken,
) -> Result<Vec<DatabaseReport>, CatalogError> {
    let (behind, silent) = (places::behind(), Silent::default());
    let shared = Shared {
        wiring,
        state,
        run,
        board,
        stop,
        silent: &silent,
    };
    let at_once = wiring.config.export().concurrency;
    let work = |database, place| back_up(shared, database, place).boxed();
    let reports = places::each(selected, at_once, &behind, work).await;
    reports.into_iter().collect()
}

/// What all databases of a job share.
#[derive(Clone, Copy)]
struct Shared<'a> {
    wiring: &'a Wiring,
    state: &'a StateDir,
    run: &'a Run,
    board: &'a Board,
    stop: &'a CancellationToken,
    silent: &'a Silent,
}

async fn back_up(
    shared: Shared<'_>,
    database: &WiredDatabase,
    place: Place<'_>,
) -> Result<DatabaseReport, CatalogError> {
    let Shared {
        wiring,
        state,
        run,
        board,
        stop,
        silent,
    } = shared;
    let (clock, name) = (&wiring.clock, &database.config.name);
    // Another job may be at it; the others of this one go on.
    let turn = stop.run_until_cancelled(state.turn(name)).await;
    let (started_at, started) = (clock.now(), clock.elapsed());
    let progress = board.of(name);
    let attempt = Attempt {
        wiring,
        state,
        run,
        database,
        progress: &progress,
        stop,
        silent,
        place: &place,
        started_at,
    };
    let outcome = if turn.is_none() || stop.is_cancelled() {
        Outcome::Interrupted
    } else {
        attempt.run().await?
    };
    record(wiring, run, database, &outcome, (started_at, clock.now()))?;
    progress.enter(Stage::Ended, 0);
    let duration = clock.elapsed().saturating_sub(started);
    let report = DatabaseReport {
        database: name.clone(),
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        outcome,
    };
    if !matches!(
        report.outcome,
        Outcome::Skipped { .. } | Outcome::Interrupted
    ) {
        hooks::after_backup(wiring, run, database, &report, stop).await?;
    }
    Ok(report)
}

/// Logs that a copy is stored; of very many databases that would hide what needs a person.
fn tell_stored(wiring: &Wiring, manifest: &Manifest, degraded: usize) {
    let (name, key, class) = (&manifest.database, &manifest.key, &manifest.class);
    let (rows, size_bytes) = (manifest.evidence.total_rows(), manifest.stored.size_bytes);
    let exceptions = manifest.exceptions.len();
    if wiring.databases.len() > MOST_TOLD {
        tracing::debug!(database = %name, %key, rows, size_bytes, degraded, ?class, exceptions,
            "{name} is backed up");
    } else {
        tracing::info!(database = %name, %key, rows, size_bytes, degraded, ?class, exceptions,
            "{name} is backed up");
    }
}

/// Logs what the copy before did not have.
fn tell_changes(manifest: &Manifest, changes: &Changes) {
    let (name, key) = (&manifest.database, &manifest.key);
    if manifest.class == EvidenceClass::S {
        let damage = manifest.damage().join("; ");
        tracing::error!(database = %name, %key, damage,
            "{name} is damaged where it lives: {key} is suspect and does not count; nothing of it expires");
    }
    if let Some(form) = &changes.form {
        tracing::info!(database = %name, form = key.form().as_str(), "{name}: {form}");
    }
    for exception in &changes.new_exceptions {
        tracing::warn!(database = %name, "{name}: {exception}");
    }
}

/// Logs how a database's backup ended, and writes its result unless the commit did.
fn record(
    wiring: &Wiring,
    run: &Run,
    database: &WiredDatabase,
    outcome: &Outcome,
    (started_at, ended_at): (DateTime<Utc>, DateTime<Utc>),
) -> Result<(), CatalogError> {
    let (name, id) = (&database.config.name, database.source.facts().id);
    match outcome {
        Outcome::Stored {
            manifest,
            degraded,
            changes,
            ..
        } => {
            tell_stored(wiring, manifest, degraded.len());
            tell_changes(manifest, changes);
            Ok(())
        }
        Outcome::Failed { message } => {
            tracing::error!(database = %name, "{name} is not backed up: {message}");
            let news = judge::of_failure(wiring, name, message)?;
            run.fail_database_with(name, &id, message, (started_at, ended_at), &news)
        }
        Outcome::Skipped { reason } => {
            tracing::info!(database = %name, "{name} is left out: {reason}");
            run.skip_database(name, &id, reason, started_at, ended_at)
        }
        Outcome::Interrupted => {
            let message = "the process was asked to stop";
            run.interrupt_database(name, &id, message, started_at, ended_at)
        }
    }
}
