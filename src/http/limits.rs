//! Limits the resources that each client may use. Invariant: no request waits for a slot; a client that gets none
//! receives the time to retry.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::Refusal;
use crate::catalog::Taken;

/// Six databases need six downloads; a stolen key gets ten an hour. Several clients may share an address.
pub(super) const DOWNLOADS: DownloadLimit = DownloadLimit {
    per_client: 10,
    per_address: 30,
    window: Duration::from_secs(3600),
};

/// Number of downloads that may be granted within any window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DownloadLimit {
    /// Per client.
    pub(super) per_client: usize,
    /// Per address.
    pub(super) per_address: usize,
    /// Length of the window in monotonic time: a change of the wall clock refills nothing.
    pub(super) window: Duration,
}

/// One download in the budgets, identified by the time at which it leaves the window; it is returned if the download
/// does not start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Share(Duration);

/// The budget that is used up, and the time until it has room again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Full {
    /// The client's.
    Client(Duration),
    /// The address's.
    Address(Duration),
}

/// Upper bound for concurrent downloads: more would take bandwidth from the backups.
const DOWNLOADS_AT_ONCE: usize = 2;

/// `Retry-After` for a slot: a small copy takes a second, a large one minutes.
const PLACE_RETRY: Duration = Duration::from_secs(5);

/// Upper bound for concurrent event streams: each holds a connection for as long as its client likes.
const STREAMS_AT_ONCE: usize = 32;

/// Upper bound for wrong credentials in a window: more than a person mistypes, and few enough to keep the log readable.
const MOST_FAILURES: usize = 20;
const FAILURE_WINDOW: Duration = Duration::from_secs(300);

/// Upper bound for the addresses remembered. Beyond it, those without a failure in the window are dropped; if that does
/// not suffice, half of them: those that used up their budget stay longest, then those with the latest failures.
const MOST_ADDRESSES: usize = 10_000;

/// Slots and budgets of one server.
#[derive(Debug)]
pub(super) struct Limits {
    downloads: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    failures: Mutex<HashMap<IpAddr, VecDeque<Duration>>>,
    shares: Mutex<Shares>,
}

/// Times at which granted downloads leave the window, earliest first.
#[derive(Debug, Default)]
struct Shares {
    of_clients: HashMap<String, Vec<Share>>,
    of_addresses: HashMap<IpAddr, Vec<Share>>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            downloads: Arc::new(Semaphore::new(DOWNLOADS_AT_ONCE)),
            streams: Arc::new(Semaphore::new(STREAMS_AT_ONCE)),
            failures: Mutex::default(),
            shares: Mutex::default(),
        }
    }
}

impl Limits {
    /// Returns a slot for a download, freed on drop.
    pub(super) fn download(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.downloads).try_acquire_owned();
        place.map_err(|_| {
            let message = format!("{DOWNLOADS_AT_ONCE} downloads run already; wait for one to end");
            Refusal::too_many(message, PLACE_RETRY)
        })
    }

    /// Returns a slot for an event stream, freed on drop.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let place = Arc::clone(&self.streams).try_acquire_owned();
        place.map_err(|_| {
            let message = format!("{STREAMS_AT_ONCE} clients listen already");
            Refusal::too_many(message, PLACE_RETRY)
        })
    }

    /// Takes one download from the budgets, or returns the time until there is room.
    pub(super) fn take(&self, client: &str, from: IpAddr, now: Duration) -> Result<Share, Full> {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        shares.forget(now);
        let (from, window) = (household(from), DOWNLOADS.window);
        let left = |Share(until): Share| until.saturating_sub(now).min(window);
        let of_client = shares.of_clients.get(client).map_or(&[][..], Vec::as_slice);
        if let Some(share) = oldest(of_client, DOWNLOADS.per_client) {
            return Err(Full::Client(left(share)));
        }
        let of_address = shares
            .of_addresses
            .get(&from)
            .map_or(&[][..], Vec::as_slice);
        if let Some(share) = oldest(of_address, DOWNLOADS.per_address) {
            return Err(Full::Address(left(share)));
        }
        let share = Share(now + window);
        shares.add(client, from, share);
        Ok(share)
    }

    /// Gives back the budget of a download that did not start.
    pub(super) fn give_back(&self, client: &str, from: IpAddr, share: Share) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let remove = |shares: Option<&mut Vec<Share>>| {
            if let Some(shares) = shares
                && let Some(at) = shares.iter().rposition(|one| *one == share)
            {
                shares.remove(at);
            }
        };
        remove(shares.of_clients.get_mut(client));
        remove(shares.of_addresses.get_mut(&household(from)));
    }

    /// Restores the budgets from the grants that the audit holds from before this process began, newest first. A row
    /// dated in the future was written before the clock was set back: it counts as one of now, unless a row written
    /// after it is already outside the window.
    pub(super) fn remember(&self, taken: &[Taken], (wall, now): (DateTime<Utc>, Duration)) {
        let mut shares = self.shares.lock().unwrap_or_else(PoisonError::into_inner);
        let ages = taken
            .iter()
            .map(|taken| (taken, (wall - taken.at).to_std().unwrap_or_default()));
        let recent: Vec<_> = ages
            .take_while(|(_, age)| *age < DOWNLOADS.window)
            .collect();
        for (taken, age) in recent.into_iter().rev() {
            let share = Share(now + (DOWNLOADS.window - age));
            shares.add(&taken.client, household(taken.address), share);
        }
    }

    /// Records wrong credentials. `Some`: the address has used up its budget, and has room again after this time.
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
            let rank =
                |times: &VecDeque<Duration>| (times.len() >= MOST_FAILURES, times.back().copied());
            let mut ranks: Vec<_> = all.values().map(rank).collect();
            ranks.sort_unstable();
            let middle = ranks[ranks.len() / 2];
            all.retain(|_, times| rank(times) > middle);
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

impl Shares {
    fn add(&mut self, client: &str, household: IpAddr, share: Share) {
        let of_client = self.of_clients.entry(client.to_owned()).or_default();
        let of_address = self.of_addresses.entry(household).or_default();
        for shares in [of_client, of_address] {
            shares.push(share);
            shares.sort_unstable();
        }
    }

    /// Drops entries that left the window, and then clients and addresses without any.
    fn forget(&mut self, now: Duration) {
        self.of_clients.retain(|_, shares| {
            shares.retain(|Share(until)| *until > now);
            !shares.is_empty()
        });
        self.of_addresses.retain(|_, shares| {
            shares.retain(|Share(until)| *until > now);
            !shares.is_empty()
        });
    }
}

/// Returns the entry that must leave the window before there is room for one more; `None` if there is room.
fn oldest(shares: &[Share], most: usize) -> Option<Share> {
    let at = shares.len().checked_sub(most)?;
    shares.get(at).copied()
}

/// Groups IPv6 addresses by /64, the smallest block that one customer gets.
pub(super) fn household(address: IpAddr) -> IpAddr {
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
    fn what_was_taken_before_a_restart_counts_also_where_the_clock_was_set_back_since() {
        let now: DateTime<Utc> = "2026-11-30T12:00:00Z".parse().unwrap();
        let from: IpAddr = "192.0.2.1".parse().unwrap();
        let taken = |minutes: i64| Taken {
            at: now + chrono::TimeDelta::minutes(minutes),
            client: "key:a".to_owned(),
            address: from,
        };
        let start = Duration::from_secs(5);
        let is_free = |rows: &[Taken], after: Duration| {
            let limits = Limits::default();
            limits.remember(rows, (now, start));
            limits.take("key:a", from, start + after).is_ok()
        };
        let hour = Duration::from_secs(3600);
        let ahead: Vec<Taken> = (0..10).map(|_| taken(300 * 24 * 60)).collect();
        assert!(!is_free(&ahead, Duration::ZERO));
        assert!(!is_free(&ahead, hour - Duration::from_secs(1)));
        assert!(is_free(&ahead, hour));
        let past: Vec<Taken> = (0..10).map(|_| taken(-20)).collect();
        assert!(!is_free(&past, Duration::ZERO));
        assert!(is_free(&past, Duration::from_secs(40 * 60)));
        // Rows written before one that is old by the correct clock are older still.
        let mixed: Vec<Taken> = std::iter::once(taken(-61)).chain(ahead).collect();
        assert!(is_free(&mixed, Duration::ZERO));
    }

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

    #[test]
    fn a_flood_of_addresses_gives_nobody_his_budget_back() {
        let limits = Limits::default();
        let guesser: IpAddr = "192.0.2.1".parse().unwrap();
        let start = Duration::from_secs(1000);
        for _ in 0..MOST_FAILURES {
            assert_eq!(limits.fail(guesser, start), None);
        }
        for number in 0..3 * MOST_ADDRESSES as u32 {
            let other = std::net::Ipv4Addr::from(0x0a00_0000 + number);
            let later = start + Duration::from_millis(u64::from(number));
            assert_eq!(limits.fail(other.into(), later), None);
            assert!(limits.failures.lock().unwrap().len() <= MOST_ADDRESSES);
        }
        let after = start + Duration::from_secs(60);
        assert!(limits.fail(guesser, after).is_some());
    }
}
