//! Decides what is due. Invariant: a slot is run once, however the clock jumps, and again only where its process died, or
//! where a clock that ran ahead took it long before its time.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::Schedule;

/// A slot that is looked at within this time is on time: the machine was busy, not off. No start needs to be allowed
/// to catch it up.
pub const ON_TIME: Duration = Duration::from_secs(120);

/// Work that ended its process so many times is not begun again: it may be what ends it.
pub const MOST_ATTEMPTS: u32 = 3;

/// So many slots of a task may lie between one that was taken before its time and what was taken after it: the others
/// were missed. A clock that was years behind, as that of a machine without a battery, shows nothing.
const MOST_BETWEEN: usize = 7;

/// The last slot that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// The moment; not after the present.
    pub slot: DateTime<Utc>,
    /// What became of it.
    pub end: End,
}

/// What became of a slot that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its work ended, well or not, or is going on.
    Ended,
    /// Its process ended first.
    Died {
        /// How many processes died over it.
        attempts: u32,
    },
    /// Its work ended, and this earlier slot, of this or of another task, was taken after that: a clock that ran ahead took
    /// it before its time.
    BeforeItsTime {
        /// The last such slot.
        earlier: DateTime<Utc>,
    },
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Run, once, for this slot.
    Run {
        /// The slot to take.
        slot: DateTime<Utc>,
        /// Why now.
        because: Because,
        /// The first slot before it that nobody ran and nobody will; `None`: there is none.
        missed: Option<DateTime<Utc>>,
    },
    /// Wait.
    Wait {
        /// The next slot; `None` only beyond the year 2100.
        until: Option<DateTime<Utc>>,
        /// A slot that should have run and will not; `None`: there is none.
        skipped: Option<Skipped>,
    },
}

/// Why a slot runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is its time.
    OnTime,
    /// It was missed and is not older than `catch_up`.
    Missed,
    /// Its process ended first.
    Interrupted,
    /// A clock that ran ahead took it before its time.
    BeforeItsTime,
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OnTime => "on time",
            Self::Missed => "missed run, caught up",
            Self::Interrupted => "interrupted, restarted",
            Self::BeforeItsTime => "run before its time, as the clock was ahead, and run again",
        })
    }
}

/// A slot that should have run and will not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// The moment: the first, where there are several.
    pub slot: DateTime<Utc>,
    /// Why.
    pub why: WhySkipped,
}

/// Why a slot will not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhySkipped {
    /// It is older than `catch_up`.
    TooOld,
    /// Its process died over it too often.
    DiedTooOften,
}

impl fmt::Display for WhySkipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooOld => f.write_str("it is older than `catch_up`"),
            Self::DiedTooOften => write!(f, "the process ended over it {MOST_ATTEMPTS} times"),
        }
    }
}

/// How long after its time a slot is taken at most.
pub fn window(catch_up: Duration) -> TimeDelta {
    TimeDelta::from_std(catch_up.max(ON_TIME)).unwrap_or(TimeDelta::MAX)
}

impl Schedule {
    /// What to do at `now`, given the last slot that was taken and is not after `now`. Where none ever was, the task
    /// is new, and its last slot within `catch_up` counts as missed.
    ///
    /// Of several missed slots only the last is run. A slot of the future is never looked at: a clock that goes back
    /// meets the slots it took as taken, and those that it only jumped over as due in their turn. One that it took, and
    /// that comes after a slot which ran since, is run again. A clock that was ahead by no more than `catch_up` may leave no
    /// such trace: what it ran stands for the slot.
    pub fn verdict(
        &self,
        tz: Tz,
        taken: Option<Taken>,
        now: DateTime<Utc>,
        catch_up: Duration,
    ) -> Verdict {
        let window = window(catch_up);
        let oldest = now.checked_sub_signed(window).unwrap_or(now);
        let before_oldest = oldest - TimeDelta::nanoseconds(1);
        let after = taken.map(|taken| taken.slot);
        let from = after.map_or(before_oldest, |after| after.max(before_oldest));
        if let Some(slot) = self.last_between(tz, from, now) {
            let missed = after.and_then(|after| self.next_after(tz, after));
            return Verdict::Run {
                slot,
                because: match now - slot <= TimeDelta::from_std(ON_TIME).unwrap_or_default() {
                    true => Because::OnTime,
                    false => Because::Missed,
                },
                missed: missed.filter(|missed| *missed < slot),
            };
        }
        if let Some(Taken { slot, end }) = taken
            && let End::Died { attempts } = end
            && slot >= oldest
            && attempts < MOST_ATTEMPTS
        {
            return Verdict::Run {
                slot,
                because: Because::Interrupted,
                missed: None,
            };
        }
        if let Some(Taken { slot, end }) = taken
            && let End::BeforeItsTime { earlier } = end
            && slot >= oldest
            && self.is_soon_after(tz, earlier, slot)
        {
            return Verdict::Run {
                slot,
                because: Because::BeforeItsTime,
                missed: None,
            };
        }
        Verdict::Wait {
            until: self.next_after(tz, now),
            skipped: taken.and_then(|taken| self.skipped(tz, taken, oldest)),
        }
    }

    fn is_soon_after(&self, tz: Tz, earlier: DateTime<Utc>, slot: DateTime<Utc>) -> bool {
        let mut slots = std::iter::successors(Some(earlier), |at| self.next_after(tz, *at));
        slots.by_ref().take(MOST_BETWEEN + 2).any(|at| at == slot)
    }

    /// The slot that nobody runs any more, where nothing from `oldest` on is due.
    fn skipped(&self, tz: Tz, taken: Taken, oldest: DateTime<Utc>) -> Option<Skipped> {
        if let Some(slot) = self
            .next_after(tz, taken.slot)
            .filter(|slot| *slot < oldest)
        {
            let why = WhySkipped::TooOld;
            return Some(Skipped { slot, why });
        }
        let why = match taken.end {
            End::Ended | End::BeforeItsTime { .. } => return None,
            End::Died { .. } if taken.slot < oldest => WhySkipped::TooOld,
            End::Died { .. } => WhySkipped::DiedTooOften,
        };
        let slot = taken.slot;
        Some(Skipped { slot, why })
    }
}
