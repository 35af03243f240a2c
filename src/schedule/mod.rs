//! Parses five-field cron text and computes due times. Invariant: every schedule that parses occurs.
//!
//! Pure: the time zone and the current time are parameters. The rules are those of Vixie cron: if both day fields are
//! restricted, either may match; weekdays 0 and 7 are both Sunday.

mod due;
#[cfg(test)]
mod due_tests;
mod field;
mod next;
mod oddity;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use field::Fields;

pub use due::{Because, End, MOST_ATTEMPTS, ON_TIME, Skipped, Taken, Verdict, WhySkipped, window};
pub use oddity::Oddity;

/// Schedule as a person wrote it: `0 3 * * *`, `*/15 8-18 * * mon-fri`, `@daily`.
///
/// ```
/// use patina::schedule::Schedule;
///
/// let nightly: Schedule = "0 3 * * *".parse()?;
/// let evening = "2026-11-29T21:00:00Z".parse()?;
/// let next = nightly.next_after(chrono_tz::Europe::Berlin, evening).expect("before 2100");
/// assert_eq!(next.to_rfc3339(), "2026-11-30T02:00:00+00:00");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Schedule {
    source: String,
    fields: Fields,
    clocks: Vec<cron::Schedule>,
}

impl Schedule {
    /// Returns the first due time strictly after `after`; `None` only beyond the year 2100.
    ///
    /// If minute or hour begins with `*`, every real minute whose wall clock matches counts. A fixed time that the
    /// clocks skip runs when they resume; one that they repeat runs once, on the first pass.
    pub fn next_after(&self, tz: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
        next::next_after(self, tz, after)
    }

    /// Returns the latest due time in `(after, until]`, which a start or a late wake-up has to catch up.
    ///
    /// It visits every due time in between; the caller keeps the span short, as `catch_up` does.
    pub fn last_between(
        &self,
        tz: Tz,
        after: DateTime<Utc>,
        until: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let mut last = None;
        let mut next = self.next_after(tz, after);
        while let Some(slot) = next.filter(|slot| *slot <= until) {
            last = Some(slot);
            next = self.next_after(tz, slot);
        }
        last
    }

    /// Text it was parsed from.
    pub fn as_str(&self) -> &str {
        &self.source
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.source)
    }
}

impl PartialEq for Schedule {
    /// True if the same times are due, regardless of the text.
    fn eq(&self, other: &Self) -> bool {
        self.fields == other.fields
    }
}

impl Eq for Schedule {}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Self, ScheduleError> {
        let fields = parse::fields(text)?;
        let clocks = fields
            .canonical()
            .iter()
            .map(|text| text.parse())
            .collect::<Result<_, cron::error::Error>>()
            .map_err(|error| ScheduleError {
                offset: 0,
                length: text.len(),
                message: format!("`{text}` is not a schedule: {error}"),
                hint: None,
            })?;
        Ok(Self {
            source: text.to_owned(),
            fields,
            clocks,
        })
    }
}

/// Reason that a text is not a schedule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ScheduleError {
    /// Offset of the mistake in the text, in bytes.
    pub offset: usize,
    /// Number of wrong bytes.
    pub length: usize,
    /// Description of the mistake.
    pub message: String,
    /// Hint, if one is known.
    pub hint: Option<String>,
}
