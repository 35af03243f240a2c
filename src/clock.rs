//! Tells the time and waits. Invariant: no other module reads the system's clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use rustix::time::{ClockId, clock_gettime};

/// Wall time, monotonic time and waiting, as one thing that tests can hold in their hands.
#[async_trait]
pub trait Clock: Send + Sync {
    /// The wall time. It may jump either way: a person or NTP sets it.
    fn now(&self) -> DateTime<Utc>;

    /// The time since a fixed but unknown start, never going back. Compare two readings of one clock.
    fn elapsed(&self) -> Duration;

    /// Returns once `duration` has passed on the monotonic clock.
    async fn sleep(&self, duration: Duration);
}

/// The machine's clock.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    start: Duration,
}

impl SystemClock {
    /// A clock whose monotonic time starts now.
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

/// The time since the machine started, sleep included: after a suspended night both times have gone on.
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

/// A clock that stands still until it is moved; sleeping on it moves it and takes no real time.
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
    /// A clock that shows `now`, its monotonic time being zero.
    pub fn at(now: DateTime<Utc>) -> Self {
        let elapsed = Duration::ZERO;
        Self {
            hands: Mutex::new(Hands { now, elapsed }),
        }
    }

    /// Sets the wall time alone, as NTP or a person would. The monotonic time does not notice.
    pub fn set(&self, now: DateTime<Utc>) {
        self.hands().now = now;
    }

    /// Lets `duration` pass: both times go forward.
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
