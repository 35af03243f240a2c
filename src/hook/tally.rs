//! Counts the hook calls of this process, for the metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Statistics of all calls so far. A new configuration continues those of the previous one.
#[derive(Debug, Default)]
pub struct Tally {
    failures: AtomicU64,
    took_us: AtomicU64,
}

impl Tally {
    /// Number of calls that failed.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Total run time of all calls.
    pub fn took(&self) -> Duration {
        Duration::from_micros(self.took_us.load(Ordering::Relaxed))
    }

    pub(super) fn count(&self, is_failure: bool, took: Duration) {
        let took_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.took_us.fetch_add(took_us, Ordering::Relaxed);
        self.failures
            .fetch_add(u64::from(is_failure), Ordering::Relaxed);
    }
}
