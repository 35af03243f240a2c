//! Explains a slot whose local time is unusual because of daylight saving. Invariant: it never changes the time of a
//! slot.

use std::fmt;

use chrono::{DateTime, Duration, LocalResult, TimeZone, Timelike, Utc};
use chrono_tz::Tz;

use super::Schedule;

/// Peculiarity of a slot's local time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// The clocks skip the requested time; the slot is when they resume.
    Skipped(Tz),
    /// The clocks show this time twice on this day; the slot is the first.
    First(Tz),
    /// The clocks show this time twice on this day; the slot is the second.
    Second(Tz),
}

impl fmt::Display for Oddity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(tz) => {
                write!(f, "{tz} skips the time asked for; this is when it resumes")
            }
            Self::First(tz) => write!(f, "{tz} shows this time twice; this is the first"),
            Self::Second(tz) => write!(f, "{tz} shows this time twice; this is the second"),
        }
    }
}

impl Schedule {
    /// Peculiarity of `slot`, which belongs to this schedule; `None` on ordinary days.
    pub fn oddity(&self, tz: Tz, slot: DateTime<Utc>) -> Option<Oddity> {
        let local = slot.with_timezone(&tz);
        if let LocalResult::Ambiguous(first, _) = tz.from_local_datetime(&local.naive_local()) {
            return Some(match first == local {
                true => Oddity::First(tz),
                false => Oddity::Second(tz),
            });
        }
        let (minute, hour) = (local.minute(), local.hour());
        let is_asked = self.fields.minute.has(minute) && self.fields.hour.has(hour);
        let before = (slot - Duration::seconds(1)).with_timezone(&tz);
        let is_after_gap = local.naive_local() - before.naive_local() > Duration::seconds(1);
        (is_after_gap && !is_asked).then_some(Oddity::Skipped(tz))
    }
}
