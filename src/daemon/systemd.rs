//! Tells the service manager how the daemon stands. Invariant: where none listens, or it does not answer, nothing else
//! changes.

use std::time::Duration;

use chrono_tz::Tz;
use sd_notify::NotifyState;

use crate::task::Standing;

/// While starting takes long, the manager is asked for this much more time, again and again.
const MORE_TIME: Duration = Duration::from_secs(60);

/// The watchdog is fed so many times within the time it waits: one beat may be late.
const BEATS: u32 = 3;

/// The service manager, as `NOTIFY_SOCKET` and `WATCHDOG_USEC` name it; systemd, or one that speaks like it.
#[derive(Debug, Default)]
pub(super) struct Manager {
    status: String,
}

impl Manager {
    /// Asks for more time while a damaged catalog is made anew; it does not return.
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

    /// How long the scheduler may go without a beat; `None`: no watchdog waits for one.
    pub(super) fn beat_every() -> Option<Duration> {
        let waits = sd_notify::watchdog_enabled().filter(|waits| !waits.is_zero());
        waits.map(|waits| waits / BEATS)
    }

    /// The daemon works.
    pub(super) fn ready() {
        tell(&[NotifyState::Ready, NotifyState::Watchdog]);
    }

    /// The configuration is read again; [`Manager::ready`] ends it.
    pub(super) fn reloading() {
        // Without the time systemd ends the service; where it is not to be had, it is not told at all.
        if let Ok(now) = NotifyState::monotonic_usec_now() {
            tell(&[NotifyState::Reloading, now]);
        }
    }

    /// The daemon was told to end.
    pub(super) fn stopping() {
        tell(&[
            NotifyState::Stopping,
            NotifyState::Status("stopping: unfinished copies are dropped"),
        ]);
    }

    /// The scheduler's loop turned. Says also what it does and when it does more, where that changed.
    pub(super) fn beat(&mut self, standing: &Standing, zone: Tz) {
        tell(&[NotifyState::Watchdog]);
        let status = status(standing, zone);
        if status != self.status {
            tell(&[NotifyState::Status(&status)]);
            self.status = status;
        }
    }
}

/// What stands in `systemctl status`.
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
