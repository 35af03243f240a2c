//! Reports the daemon's state to the service manager. Invariant: without one, or if it does not answer, nothing else
//! changes.

use std::time::Duration;

use chrono_tz::Tz;
use sd_notify::NotifyState;

use crate::task::Standing;

/// Additional time that is requested from the manager repeatedly while starting takes long.
const MORE_TIME: Duration = Duration::from_secs(60);

/// Number of watchdog notifications within its timeout, so that one may be late.
const BEATS: u32 = 3;

/// The service manager in `NOTIFY_SOCKET` and `WATCHDOG_USEC`: systemd, or one with the same protocol.
#[derive(Debug, Default)]
pub(super) struct Manager {
    status: String,
}

impl Manager {
    /// Requests more time while a damaged catalog is rebuilt; does not return.
    pub(super) async fn ask_for_time() {
        loop {
            let micros = u32::try_from(MORE_TIME.as_micros()).unwrap_or(u32::MAX);
            tell(&[
                NotifyState::ExtendTimeoutUsec(micros),
                NotifyState::Status("rebuilding a damaged catalog from the storages"),
            ]);
            tokio::time::sleep(MORE_TIME / BEATS).await;
        }
    }

    /// Longest time between two notifications of the scheduler; `None` if there is no watchdog.
    pub(super) fn beat_every() -> Option<Duration> {
        let waits = sd_notify::watchdog_enabled().filter(|waits| !waits.is_zero());
        waits.map(|waits| waits / BEATS)
    }

    /// Reports that the daemon is ready.
    pub(super) fn ready() {
        tell(&[NotifyState::Ready, NotifyState::Watchdog]);
    }

    /// Reports that the configuration is being read again; [`Manager::ready`] ends this state.
    pub(super) fn reloading() {
        // systemd ends the service if the time is missing; without it, nothing is sent.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// Reports that the daemon was asked to stop.
    pub(super) fn stopping() {
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping: unfinished copies are dropped"),
        ]);
    }

    /// Feeds the watchdog; also reports running tasks and the next one if these changed.
    pub(super) fn beat(&mut self, standing: &Standing, zone: Tz) {
        tell(&[NotifyState::Watchdog]);
        let status = status(standing, zone);
        if status != self.status {
            tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

/// Text for `systemctl status`.
fn status(standing: &Standing, zone: Tz) -> String {
    let work = match standing.at_work.as_slice() {
        [] => "waiting".to_owned(),
        names => format!("at work: {}", names.join(", ")),
    };
    match &standing.next {
        None => work,
        Some((name, at)) => {
            let at = at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M %Z");
            format!("{work}; next: {name} on {at}")
        }
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager was not told: {error}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_says_what_is_done_and_what_comes_next_in_local_time() {
        let mut standing = Standing {
            at_work: vec!["nightly".to_owned(), "verify".to_owned()],
            next: Some(("weekly".to_owned(), "2026-11-29T03:00:00Z".parse().unwrap())),
        };
        let berlin = chrono_tz::Europe::Berlin;
        assert_eq!(
            status(&standing, berlin),
            "at work: nightly, verify; next: weekly on Sun 2026-11-29 04:00 CET"
        );
        standing.at_work.clear();
        standing.next = None;
        assert_eq!(status(&standing, berlin), "waiting");
    }
}
