//! Decides what is due. Invariant: a slot runs once, however the clock jumps, and again only if its process died, or if
//! a clock that ran ahead took it long before its time.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use super::Schedule;

/// A slot that is checked within this time is on time: the machine was busy, not off. It runs even if `catch_up` is
/// zero.
pub const ON_TIME: Duration = Duration::from_secs(120);

/// Number of processes that may die during a slot before it is not restarted: its work may be the cause.
pub const MOST_ATTEMPTS: u32 = 3;

/// Upper bound for the slots of a task between one that was taken before its time and an earlier one taken after it:
/// the others were missed. With more between, the clock was years behind, as that of a machine without a battery, and
/// proves nothing.
const MOST_BETWEEN: usize = 7;

/// Last slot that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Due time; not after the present.
    pub slot: DateTime<Utc>,
    /// Outcome.
    pub end: End,
}

/// Outcome of a slot that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its work ended, well or not, or is still running.
    Ended,
    /// Its process died first.
    Died {
        /// Number of processes that died during it.
        attempts: u32,
    },
    /// Its work ended, and this earlier slot, of this or of another task, was taken after that: a clock that ran ahead
    /// took it before its time.
    BeforeItsTime {
        /// Latest such slot.
        earlier: DateTime<Utc>,
    },
}

/// Decision about what to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Run once, for this slot.
    Run {
        /// Slot to take.
        slot: DateTime<Utc>,
        /// Reason that it runs now.
        because: Because,
        /// First slot before it that never ran and never will; `None`: no such slot.
        missed: Option<DateTime<Utc>>,
    },
    /// Wait.
    Wait {
        /// Next slot; `None` only beyond the year 2100.
        until: Option<DateTime<Utc>>,
        /// Slot that should have run and will not; `None`: no such slot.
        skipped: Option<Skipped>,
    },
}

/// Reason that a slot runs now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is due now.
    OnTime,
    /// It was missed and is not older than `catch_up`.
    Missed,
    /// Its process died first.
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

/// Slot that should have run and will not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Due time; the first, if there are several.
    pub slot: DateTime<Utc>,
    /// Reason.
    pub why: WhySkipped,
}

/// Reason that a slot will not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhySkipped {
    /// It is older than `catch_up`.
    TooOld,
    /// Processes died during it too often.
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

/// Longest delay after which a slot is still taken.
pub fn window(catch_up: Duration) -> TimeDelta {
    TimeDelta::from_std(catch_up.max(ON_TIME)).unwrap_or(TimeDelta::MAX)
}

impl Schedule {
    /// Decides what to do at `now`, given the last taken slot that is not after `now`. If none was ever taken, the task
    /// is new, and its last slot within `catch_up` counts as missed.
    ///
    /// Of several missed slots only the last one runs. Slots in the future are never considered: a clock that goes back
    /// finds the slots it took as taken, and those that it only jumped over as due in their turn. A slot that it took,
    /// and that comes after a slot which ran since, runs again. A clock that was ahead by no more than `catch_up` may
    /// leave no such trace: its run counts for the slot.
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

    /// Slot that no run will take any more, if nothing from `oldest` on is due.
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
