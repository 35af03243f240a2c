//! Runs the backups that were requested. Invariant: a recorded request is carried out even if the process died during
//! it; after too many such deaths it is given up.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use super::Daemon;
use crate::catalog::{BackupRequest, CatalogError, JobStatus, NewJob};
use crate::engine::backup::{self, BackupError, Request};
use crate::progress::Board;
use crate::schedule::MOST_ATTEMPTS;
use crate::task::{Next, Task};
use crate::types::{DatabaseName, JobId, Trigger};
use crate::wiring::Wiring;

/// Pause before the catalog is read again after an error.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The task that works through the pending requests, one after another.
pub(super) struct Asked {
    daemon: Daemon,
}

impl Asked {
    pub(super) fn new(daemon: Daemon) -> Self {
        Self { daemon }
    }
}

impl Task for Asked {
    fn name(&self) -> &str {
        "run now"
    }

    fn activate(&self, now: DateTime<Utc>) -> Next {
        match self.daemon.built().wiring.catalog.open_request() {
            Ok(None) => Next::Rest(None),
            Ok(Some(request)) => Next::Work(Box::pin(answer(self.daemon.clone(), request))),
            Err(error) => {
                tracing::error!("what was asked for is not known: {error}");
                let pause = TimeDelta::from_std(ASK_AGAIN).unwrap_or(TimeDelta::MAX);
                Next::Rest(Some(now + pause))
            }
        }
    }
}

async fn answer(daemon: Daemon, request: BackupRequest) {
    if let Err(error) = make(&daemon, &request).await {
        let job = request.job;
        tracing::error!(%job, "the backup that was asked for is not made: {error}");
        tokio::select! {
            () = tokio::time::sleep(ASK_AGAIN) => {}
            () = daemon.stop.cancelled() => {}
        }
    }
}

/// Makes a job of a request and runs it. The request remains if the process is stopped before its job ends.
async fn make(daemon: &Daemon, request: &BackupRequest) -> Result<(), BackupError> {
    let built = daemon.built();
    let (wiring, stop) = (&built.wiring, &daemon.stop);
    let names = configured(wiring, request);
    let Some(job) = take(wiring, request)? else {
        return Ok(());
    };
    if names.is_empty() {
        refuse(wiring, request, job)?;
    } else {
        let board = Arc::new(Board::of_job(job, &names));
        let _shown = daemon.live.show(&board);
        let asked = Request {
            databases: names,
            trigger: Trigger::Manual,
            reason: request.reason.clone(),
        };
        let report = backup::run(wiring, &daemon.state, &asked, &board, stop).await?;
        daemon.read_sampled_soon();
        if report.job.status != JobStatus::Completed && stop.is_cancelled() {
            return Ok(());
        }
    }
    let now = wiring.clock.now();
    Ok(wiring.catalog.end_request(job, now)?)
}

/// Returns the requested databases that are still configured.
fn configured(wiring: &Wiring, request: &BackupRequest) -> Vec<DatabaseName> {
    let databases = wiring.databases.iter();
    let names = databases.map(|database| &database.config.name);
    let is_asked =
        |name: &&DatabaseName| request.databases.is_empty() || request.databases.contains(name);
    names.filter(is_asked).cloned().collect()
}

/// Returns the job for a request; a new one if the process died during the last. `None` if the request is finished or
/// given up.
fn take(wiring: &Wiring, request: &BackupRequest) -> Result<Option<JobId>, CatalogError> {
    let catalog = &wiring.catalog;
    let known = catalog.job(request.job)?;
    let was_interrupted = match &known {
        None => false,
        Some(job) => job.status == JobStatus::Interrupted,
    };
    if (known.is_some() && !was_interrupted) || request.attempts >= MOST_ATTEMPTS {
        catalog.end_request(request.job, wiring.clock.now())?;
        return Ok(None);
    }
    let again = was_interrupted.then(JobId::random);
    catalog.take_request(request.job, again)?;
    if let Some(again) = again {
        let first = request.job;
        tracing::warn!(job = %again, "the backup that was asked for as job {first} was interrupted; job {again} makes it");
    }
    Ok(Some(again.unwrap_or(request.job)))
}

/// Records a failed job that says that there was nothing to do.
fn refuse(wiring: &Wiring, request: &BackupRequest, job: JobId) -> Result<(), CatalogError> {
    let now = wiring.clock.now();
    let run = wiring.catalog.begin(NewJob {
        id: job,
        trigger: Trigger::Manual,
        reason: request.reason.clone(),
        databases: request.databases.len(),
        started_at: now,
    })?;
    let why = "none of the databases that were asked for is configured any more";
    run.fail(why, now)?;
    Ok(())
}
