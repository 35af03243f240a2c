//! Makes a task of a schedule and a job. Invariant: a slot is recorded as taken before its job begins, and as ended
//! after.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use futures_util::future::BoxFuture;

use super::jobs::{Ended, JobError};
use crate::catalog::{Catalog, CatalogError, Slot};
use crate::clock::Clock;
use crate::schedule::{self, Because, End, Schedule, Skipped, Taken, Verdict};
use crate::task::{Next, Task};

/// Pause before the catalog is read again after an error.
const ASK_AGAIN: TimeDelta = TimeDelta::minutes(1);

/// The work of a slot: it receives the slot, and the reason that it runs now.
pub(super) type Job = Arc<
    dyn Fn(DateTime<Utc>, Because) -> BoxFuture<'static, Result<Ended, JobError>> + Send + Sync,
>;

/// The slots that this process began and did not end, by task. Any other open slot belongs to a process that died.
#[derive(Debug, Clone, Default)]
pub(super) struct Begun(Arc<Mutex<BTreeSet<TaskSlot>>>);

type TaskSlot = (String, DateTime<Utc>);

/// Schedule of a task, and the state of its slots.
#[derive(Clone)]
pub(super) struct Slots {
    /// Name of the task, under which its slots are stored.
    pub(super) name: String,
    /// Its schedule, and the time zone.
    pub(super) schedule: Schedule,
    pub(super) zone: Tz,
    /// Maximum age of a missed slot that is still run.
    pub(super) catch_up: Duration,
    pub(super) catalog: Catalog,
    pub(super) begun: Begun,
}

impl Slots {
    /// True if it has work to begin at `now`, or is running.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub(super) fn is_due_or_at_work(&self, now: DateTime<Utc>) -> Result<bool, CatalogError> {
        let is_at_work = self
            .begun
            .with(|begun| begun.iter().any(|(name, _)| *name == self.name));
        Ok(is_at_work || matches!(self.verdict(now)?, Verdict::Run { .. }))
    }

    fn verdict(&self, now: DateTime<Utc>) -> Result<Verdict, CatalogError> {
        let last = self.catalog.last_slot(&self.name, now)?;
        let taken = last.map(|slot| self.taken(slot)).transpose()?;
        Ok(self.schedule.verdict(self.zone, taken, now, self.catch_up))
    }

    /// Returns the slot after which the clock was set back, if it was.
    fn earlier(&self, slot: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let window = schedule::window(self.catch_up);
        self.catalog.earlier_taken_after(&self.name, slot, window)
    }

    fn taken(&self, slot: Slot) -> Result<Taken, CatalogError> {
        let is_ours = self
            .begun
            .with(|begun| begun.contains(&(self.name.clone(), slot.at)));
        let end = match slot.ended_at {
            None if !is_ours => End::Died {
                attempts: slot.attempts,
            },
            Some(_) => match self.earlier(slot.at)? {
                Some(earlier) => End::BeforeItsTime { earlier },
                None => End::Ended,
            },
            None => End::Ended,
        };
        let slot = slot.at;
        Ok(Taken { slot, end })
    }
}

impl Begun {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<TaskSlot>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A job that a schedule runs.
#[derive(Clone)]
pub(super) struct Scheduled {
    /// Its schedule and slots.
    pub(super) slots: Slots,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) job: Job,
    /// The slot last reported as skipped, so that it is reported once.
    pub(super) told: Arc<Mutex<Option<Skipped>>>,
}

impl Task for Scheduled {
    fn name(&self) -> &str {
        &self.slots.name
    }

    fn activate(&self, now: DateTime<Utc>) -> Next {
        self.next(now).unwrap_or_else(|error| {
            let task = &self.slots.name;
            tracing::error!(%task, "task {task} does not know what it ran: {error}");
            Next::Rest(Some(now + ASK_AGAIN))
        })
    }
}

impl Scheduled {
    fn next(&self, now: DateTime<Utc>) -> Result<Next, CatalogError> {
        let slots = &self.slots;
        match slots.verdict(now)? {
            Verdict::Wait { until, skipped } => {
                self.tell_skipped(skipped);
                Ok(Next::Rest(until))
            }
            Verdict::Run {
                slot,
                because,
                missed,
            } => {
                let is_ours = match because {
                    Because::Interrupted => {
                        self.slots.catalog.retake_slot(&self.slots.name, slot)?
                    }
                    Because::BeforeItsTime => match slots.earlier(slot)? {
                        Some(earlier) => slots.catalog.take_anew(&slots.name, slot, earlier)?,
                        None => false,
                    },
                    Because::OnTime | Because::Missed => {
                        self.slots.catalog.take_slot(&self.slots.name, slot)?
                    }
                };
                if !is_ours {
                    let next = self.slots.schedule.next_after(self.slots.zone, now);
                    return Ok(Next::Rest(next));
                }
                if let Some(first) = missed {
                    let (task, first) = (&self.slots.name, self.local(first));
                    tracing::warn!(%task, "task {task} missed its runs since {first}; it runs once for all");
                }
                self.slots
                    .begun
                    .with(|begun| begun.insert((self.slots.name.clone(), slot)));
                Ok(Next::Work(Box::pin(self.clone().work(slot, because))))
            }
        }
    }

    async fn work(self, slot: DateTime<Utc>, because: Because) {
        let (task, at) = (&self.slots.name, self.local(slot));
        let (started_at, started) = (self.clock.now(), self.clock.elapsed());
        tracing::info!(%task, slot = %at, "task {task} begins: due {at}, {because}");
        let ended = (self.job)(slot, because).await;
        let duration = self.clock.elapsed().saturating_sub(started);
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let took = humantime::format_duration(Duration::from_millis(duration_ms));
        let started_at = self.local(started_at);
        match &ended {
            Ok(Ended::Well(what)) => {
                tracing::info!(%task, slot = %at, %started_at, duration_ms, result = "well", "task {task} ended well after {took}: {what}");
            }
            Ok(Ended::Badly(what)) => {
                tracing::warn!(%task, slot = %at, %started_at, duration_ms, result = "badly", "task {task} ended badly after {took}: {what}");
            }
            Ok(Ended::Early) => {
                tracing::info!(%task, slot = %at, %started_at, duration_ms, result = "early", "task {task} was asked to stop after {took}; the next start begins it again");
            }
            Err(error) => {
                tracing::error!(%task, slot = %at, %started_at, duration_ms, result = "failed", "task {task} failed after {took}: {error}");
            }
        }
        if let Err(error) = self.note(slot, &ended) {
            tracing::error!(%task, slot = %at, "the end of task {task} is not noted; the next start begins it again: {error}");
        }
    }

    /// Records how the slot ended. If that fails, the slot remains with this process, which does not begin it again.
    fn note(
        &self,
        slot: DateTime<Utc>,
        ended: &Result<Ended, JobError>,
    ) -> Result<(), CatalogError> {
        match ended {
            Ok(Ended::Early) => return self.slots.catalog.leave_slot(&self.slots.name, slot),
            Ok(Ended::Well(_) | Ended::Badly(_)) | Err(_) => {
                self.slots
                    .catalog
                    .end_slot(&self.slots.name, slot, self.clock.now())?;
            }
        }
        self.slots
            .begun
            .with(|begun| begun.remove(&(self.slots.name.clone(), slot)));
        Ok(())
    }

    fn tell_skipped(&self, skipped: Option<Skipped>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Skipped { slot, why }) = skipped
            && *told != skipped
        {
            let (task, slot) = (&self.slots.name, self.local(slot));
            tracing::warn!(%task, %slot, "task {task} does not run for {slot}: {why}");
        }
        *told = skipped;
    }

    fn local(&self, moment: DateTime<Utc>) -> String {
        let local = moment.with_timezone(&self.slots.zone);
        local.format("%Y-%m-%d %H:%M:%S %Z").to_string()
    }
}

#[cfg(test)]
mod tests;
