//! Backs up databases: each exported, proven by a restore, stored, and committed. Invariant: one database's failure
//! stops no other's backup, and nothing partial is left.

mod one;

use futures_util::StreamExt;
use futures_util::stream;
use tokio_util::sync::CancellationToken;

use self::one::Attempt;
use super::judge;
use super::state::StateDir;
use crate::catalog::{CatalogError, Job, NewJob, Run};
use crate::progress::{Board, Stage};
use crate::types::{DatabaseName, JobId, Manifest, Trigger};
use crate::wiring::{WiredDatabase, Wiring};

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
    },
    /// There is no new copy; nothing of it is left.
    Failed {
        /// Why, and the way out.
        message: String,
    },
    /// The process was told to end first.
    Interrupted,
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

/// Backs up the databases of `request`, `concurrency` at a time, and counts on `board`.
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
        id: JobId::random(),
        trigger: request.trigger,
        reason: request.reason.clone(),
        databases: selected.len(),
        started_at: wiring.clock.now(),
    })?;
    tracing::info!(job = %run.id(), databases = selected.len(), "backup job {} begins", run.id());
    let backups = selected.into_iter();
    let backups = backups.map(|database| back_up(wiring, state, &run, database, board, stop));
    // Gathered first, or the compiler cannot tell that all this may move between threads.
    let backups: Vec<_> = backups.collect();
    // Started in priority order; each takes the next free slot.
    let outcomes: Vec<Result<DatabaseReport, CatalogError>> = stream::iter(backups)
        .buffered(wiring.config.export().concurrency)
        .collect()
        .await;
    let databases = outcomes.into_iter().collect::<Result<_, _>>()?;
    let job = run.finish(wiring.clock.now())?;
    let summary = (job.successful, job.total, job.status.as_str());
    tracing::info!(job = %job.id, "backup job {}: {} of {} databases, {}", job.id, summary.0, summary.1, summary.2);
    Ok(Report { job, databases })
}

async fn back_up(
    wiring: &Wiring,
    state: &StateDir,
    run: &Run,
    database: &WiredDatabase,
    board: &Board,
    stop: &CancellationToken,
) -> Result<DatabaseReport, CatalogError> {
    let clock = &wiring.clock;
    let (started_at, started) = (clock.now(), clock.elapsed());
    let name = &database.config.name;
    let progress = board.of(name);
    let attempt = Attempt {
        wiring,
        state,
        run,
        database,
        progress: &progress,
        stop,
        started_at,
    };
    let outcome = if stop.is_cancelled() {
        Outcome::Interrupted
    } else {
        attempt.run().await?
    };
    let id = database.source.facts().id;
    let ended_at = clock.now();
    match &outcome {
        Outcome::Stored { manifest, degraded } => {
            tracing::info!(database = %name, key = %manifest.key, rows = manifest.evidence.total_rows(),
                size_bytes = manifest.stored.size_bytes, degraded = degraded.len(), "{name} is backed up");
        }
        Outcome::Failed { message } => {
            tracing::error!(database = %name, "{name} is not backed up: {message}");
            let news = judge::of_failure(wiring, name, message)?;
            run.fail_database_with(name, &id, message, (started_at, ended_at), &news)?;
        }
        Outcome::Interrupted => {
            let message = "the process was told to end";
            run.interrupt_database(name, &id, message, started_at, ended_at)?;
        }
    }
    progress.enter(Stage::Ended, 0);
    let duration = clock.elapsed().saturating_sub(started);
    Ok(DatabaseReport {
        database: name.clone(),
        duration_ms: u64::try_from(duration.as_millis()).unwrap_or(u64::MAX),
        outcome,
    })
}
