//! Holds the verbs. Invariant: each file has one public function that does one thing from beginning to end.

pub mod backup;
mod commit;
pub mod drill;
pub mod recover;
pub mod spool;
pub mod state;

use chrono::{DateTime, Days, Utc};

use crate::types::BackupDate;
use crate::wiring::Wiring;

/// From when on expiry may look at a daily copy: the end of its last day to keep, in the agent's zone.
fn expires_at(date: BackupDate, wiring: &Wiring) -> DateTime<Utc> {
    let days = u64::from(wiring.config.retention().daily_days);
    let day = date.0.checked_add_days(Days::new(days)).unwrap_or(date.0);
    day.and_time(chrono::NaiveTime::MIN)
        .and_local_timezone(wiring.config.agent().timezone)
        .earliest()
        .map_or_else(
            || day.and_time(chrono::NaiveTime::MIN).and_utc(),
            |time| time.to_utc(),
        )
}
