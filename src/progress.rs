//! Counts the progress of a long job, for the terminal and the event stream. Invariant: updating the counters never
//! blocks.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::types::{DatabaseName, JobId};

/// Stage of the backup of one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Waits for its turn.
    Waiting,
    /// Is being read and spooled.
    Export,
    /// Is being restored and compared.
    Drill,
    /// Is being written to the stores and read back.
    Store,
    /// Has ended, well or not.
    Ended,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::Waiting,
        Self::Export,
        Self::Drill,
        Self::Store,
        Self::Ended,
    ];

    /// Word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Export => "exporting",
            Self::Drill => "proving",
            Self::Store => "storing",
            Self::Ended => "done",
        }
    }
}

/// Counters of one database's backup; shared between worker and display.
#[derive(Debug, Default)]
pub struct Progress {
    stage: AtomicU8,
    rows: AtomicU64,
    total_rows: AtomicU64,
    bytes: AtomicU64,
    total_bytes: AtomicU64,
    waits: Arc<Waits>,
}

/// Total time that one database waited for shared resources, which does not count as its own time. Waits that overlap
/// count once.
#[derive(Debug, Default)]
pub struct Waits(Mutex<Waited>);

#[derive(Debug, Default)]
struct Waited {
    /// Sum of the waits that ended.
    past: Duration,
    /// Number of current waits, and their common start on the monotonic clock.
    going_on: Option<(u32, Duration)>,
}

impl Waits {
    /// Begins a wait at the monotonic time `now`.
    pub fn begin(&self, now: Duration) {
        let mut waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, since) = waited.going_on.unwrap_or((0, now));
        waited.going_on = Some((count + 1, since));
    }

    /// Ends a wait at `now`.
    pub fn end(&self, now: Duration) {
        let mut waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waited.going_on = match waited.going_on {
            Some((count, since)) if count > 1 => Some((count - 1, since)),
            Some((_, since)) => {
                waited.past += now.saturating_sub(since);
                None
            }
            None => None,
        };
    }

    /// Total waiting time up to `now`, including a current wait.
    pub fn until(&self, now: Duration) -> Duration {
        let waited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let going_on = waited
            .going_on
            .map_or(Duration::ZERO, |(_, since)| now.saturating_sub(since));
        waited.past + going_on
    }
}

/// Counters of all databases of a job, in their starting order.
#[derive(Debug)]
pub struct Board {
    job: JobId,
    counters: Vec<(DatabaseName, Arc<Progress>)>,
}

impl Board {
    /// Creates counters for these databases in a job with a new id.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a DatabaseName>) -> Self {
        Self::of_job(JobId::random(), names)
    }

    /// Creates counters for these databases in the job with this id.
    pub fn of_job<'a>(job: JobId, names: impl IntoIterator<Item = &'a DatabaseName>) -> Self {
        let counters = names.into_iter().map(|name| (name.clone(), Arc::default()));
        Self {
            job,
            counters: counters.collect(),
        }
    }

    /// Id of the job.
    pub fn job(&self) -> JobId {
        self.job
    }

    /// Counters of one database; unobserved ones if the job does not include it.
    pub fn of(&self, name: &DatabaseName) -> Arc<Progress> {
        let entry = self.counters.iter().find(|(known, _)| known == name);
        entry.map_or_else(Arc::default, |(_, progress)| Arc::clone(progress))
    }

    /// Iterates over all databases with their counters.
    pub fn iter(&self) -> impl Iterator<Item = (&DatabaseName, &Arc<Progress>)> {
        self.counters
            .iter()
            .map(|(name, progress)| (name, progress))
    }
}

impl Default for Board {
    fn default() -> Self {
        Self::new([])
    }
}

/// Counters of the jobs that run now, for display. Clones share their contents.
#[derive(Debug, Clone, Default)]
pub struct Live(Arc<Mutex<Vec<Arc<Board>>>>);

impl Live {
    /// Registers the counters of a job until the returned guard is dropped.
    pub fn show(&self, board: &Arc<Board>) -> Shown {
        self.with(|boards| boards.push(Arc::clone(board)));
        Shown {
            live: self.clone(),
            job: board.job(),
        }
    }

    /// Registered counters, the first registered first.
    pub fn boards(&self) -> Vec<Arc<Board>> {
        self.with(|boards| boards.clone())
    }

    /// True if no job is registered.
    pub fn is_idle(&self) -> bool {
        self.with(|boards| boards.is_empty())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Vec<Arc<Board>>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Guard that keeps the counters of a job registered.
#[derive(Debug)]
#[must_use = "a board is shown until this is dropped"]
pub struct Shown {
    live: Live,
    job: JobId,
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.live
            .with(|boards| boards.retain(|board| board.job() != self.job));
    }
}

/// Snapshot of the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Current stage.
    pub stage: Stage,
    /// Number of rows read so far.
    pub rows: u64,
    /// Total number of rows; 0 while unknown.
    pub total_rows: u64,
    /// Number of bytes processed in this stage so far.
    pub bytes: u64,
    /// Total number of bytes of this stage; 0 while unknown.
    pub total_bytes: u64,
}

impl Progress {
    /// Enters a stage with `total_bytes` to process; 0 if that is unknown.
    pub fn enter(&self, stage: Stage, total_bytes: u64) {
        self.bytes.store(0, Ordering::Relaxed);
        self.total_bytes.store(total_bytes, Ordering::Relaxed);
        self.stage.store(stage as u8, Ordering::Relaxed);
    }

    /// Sets the total number of rows, and resets the counted rows to zero.
    pub fn expect_rows(&self, rows: u64) {
        self.rows.store(0, Ordering::Relaxed);
        self.total_rows.store(rows, Ordering::Relaxed);
    }

    /// Adds to the counted rows.
    pub fn add_rows(&self, rows: u64) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Adds to the counted bytes.
    pub fn add_bytes(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Time that the database waited for shared resources.
    pub fn waits(&self) -> &Arc<Waits> {
        &self.waits
    }

    /// Copies a snapshot of another process's counters.
    pub fn set(&self, reading: &Reading) {
        self.rows.store(reading.rows, Ordering::Relaxed);
        self.total_rows.store(reading.total_rows, Ordering::Relaxed);
        self.bytes.store(reading.bytes, Ordering::Relaxed);
        self.total_bytes
            .store(reading.total_bytes, Ordering::Relaxed);
        self.stage.store(reading.stage as u8, Ordering::Relaxed);
    }

    /// Reads the counters, each on its own: together they are not a consistent snapshot.
    pub fn read(&self) -> Reading {
        let stage = usize::from(self.stage.load(Ordering::Relaxed));
        Reading {
            stage: Stage::ALL[stage.min(Stage::ALL.len() - 1)],
            rows: self.rows.load(Ordering::Relaxed),
            total_rows: self.total_rows.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            total_bytes: self.total_bytes.load(Ordering::Relaxed),
        }
    }
}

impl Reading {
    /// Fraction that is done, 0.0 to 1.0; `None` while the total is unknown.
    pub fn fraction(&self) -> Option<f64> {
        let (done, total) = match self.stage {
            Stage::Waiting => return None,
            Stage::Export => (self.rows, self.total_rows),
            Stage::Drill | Stage::Store => (self.bytes, self.total_bytes),
            Stage::Ended => return Some(1.0),
        };
        (total > 0).then(|| (done as f64 / total as f64).min(1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_that_overlap_count_once() {
        let (waits, second) = (Waits::default(), Duration::from_secs(1));
        waits.begin(second);
        waits.begin(3 * second);
        waits.end(4 * second);
        assert_eq!(waits.until(5 * second), 4 * second);
        waits.end(6 * second);
        assert_eq!(waits.until(60 * second), 5 * second);
        waits.begin(60 * second);
        assert_eq!(waits.until(61 * second), 6 * second);
    }

    #[test]
    fn an_export_is_measured_in_rows_and_a_drill_in_bytes() {
        let progress = Progress::default();
        assert_eq!(progress.read().fraction(), None);
        progress.enter(Stage::Export, 0);
        progress.expect_rows(200);
        progress.add_rows(50);
        assert_eq!(progress.read().fraction(), Some(0.25));
        progress.enter(Stage::Drill, 10);
        progress.add_bytes(10);
        assert_eq!(progress.read().fraction(), Some(1.0));
    }
}
