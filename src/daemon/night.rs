//! Waits until the night's backups are made. Invariant: work that depends on the night's copies begins after them, and
//! a night that does not end delays nothing for ever.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use super::scheduled::Slots;
use crate::catalog::{Catalog, CatalogError, Job, JobStatus};
use crate::clock::Clock;
use crate::engine::pack::LONGEST_NIGHT;
use crate::types::JobId;

/// Interval between two checks if the night is over.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// Number of the last jobs that are searched for one that is still running.
const JOBS_LOOKED_AT: usize = 100;

/// The backups that other jobs wait for.
pub(super) struct Night {
    /// The tasks that make scheduled backups.
    pub(super) backups: Vec<Slots>,
    pub(super) catalog: Catalog,
    pub(super) clock: Arc<dyn Clock>,
    /// True while copies of a process that died are still being stored.
    pub(super) recovering: Arc<AtomicBool>,
    /// Upper bound for waiting: `catch_up`, and at least the time that a night may take.
    pub(super) longest: Duration,
}

/// Limit for waiting for a running backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Until the backup has run for [`LONGEST_NIGHT`]; one that had run that long before is not waited for.
    LongestNight,
    /// Until it ends.
    CatchUp,
}

/// Result of waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waited {
    /// No backup is due or running, or the time limit is reached.
    Over,
    /// A backup has run for [`LONGEST_NIGHT`] and is still running, since this time.
    TooLong(DateTime<Utc>),
    /// The process was asked to stop.
    Stopped,
}

impl Night {
    /// Waits until no backup is due or running. `task` is the name of the waiting task.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub(super) async fn over(
        &self,
        task: &str,
        limit: Limit,
        stop: &CancellationToken,
    ) -> Result<Waited, CatalogError> {
        let began = self.clock.elapsed();
        let mut hung: Option<Vec<JobId>> = None;
        let mut is_told = false;
        loop {
            let now = self.clock.now();
            let is_long = |job: &Job| now - job.started_at >= LONGEST_NIGHT;
            let mut running = self.running()?;
            if limit == Limit::LongestNight {
                let found = || running.iter().filter(|job| is_long(job)).map(|job| job.id);
                let hung = hung.get_or_insert_with(|| found().collect());
                running.retain(|job| !hung.contains(&job.id));
                if let Some(job) = running.iter().find(|job| is_long(job)) {
                    return Ok(Waited::TooLong(job.started_at));
                }
            }
            let Some(what) = self.at_work(&running, now)? else {
                return Ok(Waited::Over);
            };
            let waited = self.clock.elapsed().saturating_sub(began);
            if waited >= self.longest {
                let waited = humantime::format_duration(waited);
                tracing::warn!(%task, "task {task} waited {waited} for {what} and begins beside it");
                return Ok(Waited::Over);
            }
            if !is_told {
                is_told = true;
                tracing::info!(%task, "task {task} waits for {what}");
            }
            tokio::select! {
                () = self.clock.sleep(LOOK_AGAIN) => {}
                () = stop.cancelled() => return Ok(Waited::Stopped),
            }
        }
    }

    fn running(&self) -> Result<Vec<Job>, CatalogError> {
        let mut jobs = self.catalog.jobs(JOBS_LOOKED_AT)?;
        jobs.retain(|job| job.status == JobStatus::Running);
        Ok(jobs)
    }

    /// Describes the work that is not finished yet; `None` if all is finished.
    fn at_work(&self, running: &[Job], now: DateTime<Utc>) -> Result<Option<String>, CatalogError> {
        if let Some(job) = running.first() {
            return Ok(Some(format!("backup job {}, which runs", job.id)));
        }
        for backup in &self.backups {
            if backup.is_due_or_at_work(now)? {
                return Ok(Some(format!("task {}, which is due", backup.name)));
            }
        }
        let is_recovering = self.recovering.load(Ordering::Acquire);
        Ok(is_recovering.then(|| "the copies that the last process left to be stored".to_owned()))
    }
}
