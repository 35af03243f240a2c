//! Spaces requests so that all databases of one account together stay below Cloudflare's rate limit.
//!
//! <https://developers.cloudflare.com/fundamentals/api/reference/limits/>

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::progress::Waits;

/// Cloudflare's limit for all tokens of one user, in requests per [`WINDOW`].
const REQUESTS: usize = 1_200;

/// Period over which requests are counted.
const WINDOW: Duration = Duration::from_secs(300);

tokio::task_local! {
    /// Counter of waiting times for the database whose requests run in this task.
    pub(super) static WAITS: Arc<Waits>;
}

/// A wait for the budget, which ends when this is dropped.
struct Waiting<'a> {
    waits: Option<Arc<Waits>>,
    clock: &'a dyn Clock,
}

impl<'a> Waiting<'a> {
    fn begin(clock: &'a dyn Clock) -> Self {
        let waits = WAITS.try_with(Arc::clone).ok();
        if let Some(waits) = &waits {
            waits.begin(clock.elapsed());
        }
        Self { waits, clock }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(waits) = &self.waits {
            waits.end(self.clock.elapsed());
        }
    }
}

/// Times of past requests, and the time until which none may be made.
#[derive(Debug, Default)]
pub(super) struct Budget(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    /// One entry per request of the last five minutes.
    times: VecDeque<Duration>,
    /// Time until which Cloudflare asked for no requests.
    quiet_until: Duration,
}

impl Budget {
    /// Waits until one request may be made. The budget is shared, so the wait does not count as a database's own time.
    pub(super) async fn wait(&self, clock: &dyn Clock) {
        let Err(mut pause) = self.take(clock.elapsed()) else {
            return;
        };
        let _waiting = Waiting::begin(clock);
        loop {
            clock.sleep(pause).await;
            match self.take(clock.elapsed()) {
                Ok(()) => return,
                Err(more) => pause = more,
            }
        }
    }

    /// Takes one request from the budget at the time `now`.
    ///
    /// # Errors
    /// The time to wait before trying again.
    pub(super) fn take(&self, now: Duration) -> Result<(), Duration> {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if now < spent.quiet_until {
            return Err(spent.quiet_until.saturating_sub(now));
        }
        while spent
            .times
            .front()
            .is_some_and(|time| now >= *time + WINDOW)
        {
            spent.times.pop_front();
        }
        match spent.times.front() {
            Some(oldest) if spent.times.len() >= REQUESTS => {
                Err((*oldest + WINDOW).saturating_sub(now))
            }
            _ => {
                spent.times.push_back(now);
                Ok(())
            }
        }
    }

    /// Blocks all requests for `pause` from `now` on.
    pub(super) fn rest(&self, now: Duration, pause: Duration) {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        spent.quiet_until = spent.quiet_until.max(now + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_1201_waits_until_the_first_is_five_minutes_old() {
        let budget = Budget::default();
        let second = Duration::from_secs(1);
        for _ in 0..REQUESTS {
            budget.take(second).unwrap();
        }
        assert_eq!(budget.take(11 * second), Err(290 * second));
        assert_eq!(budget.take(301 * second), Ok(()));
    }

    #[test]
    fn a_request_for_silence_counts_for_everyone() {
        let budget = Budget::default();
        let second = Duration::from_secs(1);
        budget.rest(second, 30 * second);
        budget.rest(second, 10 * second);
        assert_eq!(budget.take(2 * second), Err(29 * second));
        assert_eq!(budget.take(31 * second), Ok(()));
    }
}
