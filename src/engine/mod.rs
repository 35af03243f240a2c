//! Holds the verbs. Invariant: each file has one public function that does one thing from beginning to end.

mod adopt;
pub mod backup;
mod commit;
mod daily_key;
pub mod deliver;
pub mod discover;
pub mod drill;
pub mod expire;
pub mod foresee;
pub mod judge;
pub mod keys;
mod lease;
pub mod pack;
pub mod presence;
pub mod reconcile;
pub mod rebuild;
pub mod recover;
pub mod rehearse;
pub mod restore;
mod scales;
pub mod spool;
pub mod stale;
pub mod state;
mod suspect;
mod turns;
pub mod verify;

pub use self::commit::samples_read_back;

use chrono::{DateTime, Days, Utc};

use crate::types::{BackupDate, IsoWeek};
use crate::wiring::Wiring;

/// From when on expiry may look at a daily copy: the end of its last day to keep, in the agent's zone.
fn expires_at(date: BackupDate, wiring: &Wiring) -> DateTime<Utc> {
    let days = u64::from(wiring.config.retention().daily_days);
    midnight_after(date, days, wiring)
}

/// From when on expiry may look at a weekly archive: the end of its last week to keep.
fn archive_expires_at(week: IsoWeek, wiring: &Wiring) -> DateTime<Utc> {
    let weeks = u64::from(wiring.config.retention().weekly_weeks);
    midnight_after(week.last_day(), 7 * weeks, wiring)
}

/// The first moment of the day that is `days` after the day after `date`, in the agent's zone.
fn midnight_after(date: BackupDate, days: u64, wiring: &Wiring) -> DateTime<Utc> {
    let day = date
        .0
        .checked_add_days(Days::new(days + 1))
        .unwrap_or(date.0);
    let midnight = day.and_time(chrono::NaiveTime::MIN);
    let local = midnight.and_local_timezone(wiring.config.agent().timezone);
    local
        .earliest()
        .map_or_else(|| midnight.and_utc(), |time| time.to_utc())
}
