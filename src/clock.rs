//! Provides wall time, monotonic time and sleeping. Invariant: no other module reads the system's clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Clock with wall time, monotonic time and sleeping, which tests replace by [`ManualClock`].
#[async_trait]
pub trait Clock: Send + Sync {
    /// Returns the wall time. It may jump either way: a person or NTP sets it.
    fn now(&self) -> DateTime<Utc>;

    /// Returns the time since a fixed but unknown start; it never goes back. Only readings of the same clock are
    /// comparable.
    fn elapsed(&self) -> Duration;

    /// Returns once `duration` has passed on a monotonic clock.
    async fn sleep(&self, duration: Duration);
}

/// Clock of the machine.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// Creates a clock whose monotonic time starts now.
    pub fn new() -> Self {
        Self {
            start: since_boot(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

/// Time since the machine started, including suspension, so that it advances as the wall time does.
fn since_boot() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::try_from(time).unwrap_or(Duration::ZERO)
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn elapsed(&self) -> Duration {
        since_boot().saturating_sub(self.start)
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// Clock that stands still until it is moved; sleeping on it moves it and takes no real time.
#[derive(Debug)]
pub struct ManualClock {
    hands: Mutex<Hands>,
}

#[derive(Debug, Clone, Copy)]
struct Hands {
    now: DateTime<Utc>,
    elapsed: Duration,
}

impl ManualClock {
    /// Creates a clock that shows `now`, with a monotonic time of zero.
    pub fn at(now: DateTime<Utc>) -> Self {
        let elapsed = Duration::ZERO;
        Self {
            hands: Mutex::new(Hands { now, elapsed }),
        }
    }

    /// Sets the wall time only, as NTP or a person would. The monotonic time stays the same.
    pub fn set(&self, now: DateTime<Utc>) {
        self.hands().now = now;
    }

    /// Advances both times by `duration`.
    pub fn advance(&self, duration: Duration) {
        let mut hands = self.hands();
        hands.elapsed += duration;
        hands.now += TimeDelta::from_std(duration).unwrap_or(TimeDelta::MAX);
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        self.hands().now
    }

    fn elapsed(&self) -> Duration {
        self.hands().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        self.advance(duration);
        tokio::task::yield_now().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[tokio::test]
    async fn sleeping_on_a_manual_clock_moves_both_times_and_takes_none() {
        let clock = ManualClock::at(noon());
        let started = Instant::now();
        clock.sleep(Duration::from_secs(3600)).await;
        assert_eq!(clock.now(), noon() + TimeDelta::hours(1));
        assert_eq!(clock.elapsed(), Duration::from_secs(3600));
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_jump_of_the_wall_time_leaves_the_monotonic_time_alone() {
        let clock = ManualClock::at(noon());
        clock.advance(Duration::from_secs(5));
        clock.set(noon() - TimeDelta::days(400));
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
        assert!(clock.now() < noon());
    }

    #[test]
    fn the_system_clock_does_not_go_back() {
        let clock = SystemClock::default();
        let first = clock.elapsed();
        assert!(clock.elapsed() >= first);
        assert!(clock.now() > noon() - TimeDelta::days(4000));
    }
}
