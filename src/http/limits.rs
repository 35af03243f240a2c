//! Keeps clients from taking more than their share. Invariant: nobody waits for a place; who finds none is told when to
//! come again.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
use crate::catalog::DownloadLimit;

/// Six databases need six downloads; a stolen key gets ten an hour. Several clients may share an address.
pub(super) const DOWNLOADS: DownloadLimit = DownloadLimit {
    per_client: 10,
    per_address: 30,
    window: Duration::from_secs(3600),
};

/// More downloads at once would take the line from the backups.
const DOWNLOADS_AT_ONCE: usize = 2;

/// When a place may be free: a small copy takes a second, a large one minutes.
const PLACE_RETRY: Duration = Duration::from_secs(5);

/// Each stream holds a connection for as long as its client likes.
const STREAMS_AT_ONCE: usize = 32;

/// So many wrong credentials in a window: more than a person mistypes, and few enough to keep the log readable.
const MOST_FAILURES: usize = 20;
const FAILURE_WINDOW: Duration = Duration::from_secs(300);

/// So many addresses are remembered: a flood from more of them forgets the oldest.
const MOST_ADDRESSES: usize = 10_000;

/// The places and budgets of one server.
#[derive(Debug)]
pub(super) struct Limits {
    downloads: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    failures: Mutex<HashMap<IpAddr, VecDeque<Duration>>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            downloads: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
            streams: Arc::new(Semaphore::new(STREAMS_AT_ONCE)),
            failures: Mutex::default(),
        }
    }
}

impl Limits {
    /// A place for a download, given back when it is dropped.
    pub(super) fn download(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.downloads).try_acquire_owned();
        place.map_err(|_| {
            let message = format!("{DOWNLOADS_AT_ONCE} downloads run already; wait for one to end");
            Refusal::too_many(message, PLACE_RETRY)
        })
    }

    /// A place for a stream of events, given back when it is dropped.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| {
            let message = format!("{STREAMS_AT_ONCE} clients listen already");
            Refusal::too_many(message, PLACE_RETRY)
        })
    }

    /// Notes wrong credentials. `Some`: the address has used up its budget, which refills after this time.
    pub(super) fn fail(&self, address: IpAddr, now: Duration) -> Option<Duration> {
        let mut all = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST_ADDRESSES {
            all.retain(|_, times| {
                times
                    .back()
                    .is_some_and(|last| now < *last + FAILURE_WINDOW)
            });
        }
        if all.len() >= MOST_ADDRESSES {
            all.clear();
        }
        let times = all.entry(household(address)).or_default();
        while times
            .front()
            .is_some_and(|first| *first + FAILURE_WINDOW <= now)
        {
            times.pop_front();
        }
        if let Some(first) = times.front().filter(|_| times.len() >= MOST_FAILURES) {
            return Some(*first + FAILURE_WINDOW - now);
        }
        times.push_back(now);
        None
    }
}

/// Whoever has one IPv6 address has its whole /64.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_credentials_use_up_a_budget_that_slides_and_neighbours_share() {
        let limits = Limits::default();
        let one: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::ffff".parse().unwrap();
        let other: IpAddr = "2001:db8:1::1".parse().unwrap();
        for second in 0..MOST_FAILURES as u64 {
            assert_eq!(limits.fail(one, Duration::from_secs(second)), None);
        }
        let now = Duration::from_secs(100);
        let left = Some(FAILURE_WINDOW - Duration::from_secs(100));
        assert_eq!(limits.fail(neighbour, now), left);
        assert_eq!(limits.fail(other, now), None);
        assert_eq!(limits.fail(one, FAILURE_WINDOW), None);
        let left = Some(Duration::from_secs(1));
        assert_eq!(limits.fail(one, FAILURE_WINDOW), left);
    }
}
