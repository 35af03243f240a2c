//! Decides how fast a sink is sent messages. Invariant: people get a few at once, and a storm as one digest.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::Sent;
use crate::notify::{Delay, NotifyError};

/// The time over which messages are counted, and the longest a storm waits to become a digest.
pub(super) const WINDOW: TimeDelta = TimeDelta::minutes(5);

/// So many messages within [`WINDOW`] are sent one by one: chat services allow about 30 a minute, people fewer.
pub(super) const BURST: u64 = 5;

/// The wait after the first try that failed; it doubles for each next one.
const FIRST_RETRY: TimeDelta = TimeDelta::seconds(30);

/// Nothing waits longer for its next try, unless the sink asks for it.
const LONGEST_RETRY: TimeDelta = TimeDelta::hours(1);

/// Nobody is obeyed who asks to wait longer.
const LONGEST_OBEYED: Duration = Duration::from_secs(24 * 3600);

/// How what is due is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Each by itself.
    Each,
    /// All in one.
    Digest,
    /// Not before this moment.
    Wait(DateTime<Utc>),
}

/// How so many events are sent to a sink that was sent this within [`WINDOW`].
pub(super) fn pace(due: usize, sent: Sent) -> Pace {
    if sent.messages + due as u64 <= BURST {
        return Pace::Each;
    }
    match sent.last {
        None => Pace::Digest,
        Some(last) => Pace::Wait(last + WINDOW),
    }
}

/// When a message is tried again that was not taken now, after so many tries before this one.
pub(super) fn retry_at(error: &NotifyError, attempts: u32, now: DateTime<Utc>) -> DateTime<Utc> {
    let doubled = FIRST_RETRY * 2_i32.saturating_pow(attempts.min(20));
    let usual = now + doubled.min(LONGEST_RETRY);
    let NotifyError::Limited {
        after: Some(after), ..
    } = error
    else {
        return usual;
    };
    let longest = now + LONGEST_OBEYED;
    let asked = match after {
        Delay::Until(moment) => *moment,
        // Rounded up, as the catalog keeps whole seconds.
        Delay::For(time) => {
            let time = TimeDelta::from_std((*time).min(LONGEST_OBEYED)).unwrap_or(LONGEST_RETRY);
            now + time + TimeDelta::seconds(1)
        }
    };
    asked.clamp(now + TimeDelta::seconds(1), longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noon() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn five_messages_leave_one_by_one_and_the_sixth_waits_for_a_digest() {
        let sent = |messages| Sent {
            messages,
            last: (messages > 0).then(noon),
        };
        for (due, messages, expected) in [
            (5, 0, Pace::Each),
            (6, 0, Pace::Digest),
            (1, 4, Pace::Each),
            (1, 5, Pace::Wait(noon() + WINDOW)),
            (40, 1, Pace::Wait(noon() + WINDOW)),
        ] {
            assert_eq!(
                pace(due, sent(messages)),
                expected,
                "{due} after {messages}"
            );
        }
    }

    #[test]
    fn the_wait_doubles_up_to_an_hour_and_a_sink_that_names_one_is_obeyed_up_to_a_day() {
        let down = NotifyError::Unreachable(String::new());
        for (attempts, seconds) in [(0, 30), (1, 60), (6, 1920), (7, 3600), (u32::MAX, 3600)] {
            let at = retry_at(&down, attempts, noon());
            assert_eq!((at - noon()).num_seconds(), seconds, "{attempts}");
        }
        let limited = |after| NotifyError::Limited { status: 429, after };
        let hour = Duration::from_secs(7200);
        for (after, seconds) in [
            (None, 30),
            (Some(Delay::For(hour)), 7201),
            (Some(Delay::For(Duration::MAX)), 86_400),
            (Some(Delay::Until(noon() + TimeDelta::minutes(7))), 420),
            (Some(Delay::Until(noon() - TimeDelta::days(1))), 1),
        ] {
            let at = retry_at(&limited(after), 0, noon());
            assert_eq!((at - noon()).num_seconds(), seconds, "{after:?}");
        }
    }
}
