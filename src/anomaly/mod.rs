//! Compares copies and results with the usual values, and reports deviations. Invariant: no verdict without something
//! to compare with, and every finding carries its numbers.

mod changes;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::changes::{Changes, changes};
pub use self::rows::RowDrop;
use crate::types::{BackupDate, ByteCount, Sha256, counted};

/// Number of days before today that determine the usual size.
pub const SIZE_DAYS: u64 = 7;

/// Minimum number of copies for a mean.
pub const LEAST_SAMPLES: usize = 3;

/// Number of days whose highest row count stands for a table, so that a slow loss is noticed.
pub const ROWS_DAYS: u64 = 28;

/// Alert thresholds of a database.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Critical without a good copy for this long; longer than `warn_after`.
    pub stale_after: Duration,
    /// Warning without a good copy for this long.
    pub warn_after: Duration,
    /// Alert strictly below this part of the 7-day mean size, 0 to 1.
    pub shrink_below: f64,
    /// Alert strictly above this multiple of the 7-day mean size, at least 1.
    pub grow_above: f64,
    /// Alert if a table has strictly fewer than this part of its rows, 0 to 1; at 0 its rows are not checked.
    pub rows_below: f64,
    /// Critical after this many failures in a row, at least 1.
    pub consecutive_failures: u32,
}

/// Row thresholds for the tables of a database.
#[derive(Debug, Clone, Copy)]
pub struct RowLimits<'a> {
    /// [`Thresholds::rows_below`], for each table without its own value.
    pub below: f64,
    /// Tables with their own value.
    pub tables: &'a BTreeMap<String, f64>,
}

impl RowLimits<'_> {
    /// Value for a table; names are compared without case, as in SQLite.
    fn of(&self, table: &str) -> f64 {
        let same = |name: &&String| name.eq_ignore_ascii_case(table);
        let own = self.tables.keys().find(same);
        own.map_or(self.below, |name| self.tables[name])
    }
}

/// Facts about a good copy that the rules use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Day of the backup.
    pub date: BackupDate,
    /// Uncompressed bytes of its SQL text or image.
    pub size_bytes: u64,
    /// Digest of its schema.
    pub schema: Sha256,
    /// Rows by table.
    pub tables: BTreeMap<String, u64>,
}

/// Deviation of a copy from the usual.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// The size is strictly below `shrink_below` of the mean.
    SizeDecrease(SizeChange),
    /// The size is strictly above `grow_above` of the mean.
    SizeIncrease(SizeChange),
    /// Tables lost more rows than permitted, or are gone; never empty, in the order of names.
    RowsDropped(Vec<RowDrop>),
    /// The schema differs from that of the previous copy.
    SchemaChanged {
        /// Tables that are new.
        added: Vec<String>,
        /// Tables that are gone.
        removed: Vec<String>,
    },
}

/// Size compared with the usual one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SizeChange {
    /// Size of the copy.
    pub size_bytes: u64,
    /// Mean of the previous copies, rounded down.
    pub mean_bytes: u64,
    /// Number of copies in the mean; at least [`LEAST_SAMPLES`].
    pub samples: usize,
}

impl fmt::Display for SizeChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (size, mean) = (ByteCount(self.size_bytes), ByteCount(self.mean_bytes));
        let percent = match self.mean_bytes {
            0 => 0,
            mean => u128::from(self.size_bytes) * 100 / u128::from(mean),
        };
        let samples = counted(self.samples, "copy");
        write!(
            f,
            "the copy has {size}, which is {percent} % of the mean of the last {SIZE_DAYS} days, {mean} over {samples}"
        )
    }
}

/// Compares a copy with the good ones before it; `history` has the newest first, without the copy itself.
pub fn judge(
    current: &Sample,
    history: &[Sample],
    limits: &Thresholds,
    tables: &BTreeMap<String, f64>,
) -> Vec<Finding> {
    let size = judge_size(current, history, limits);
    let rows = RowLimits {
        below: limits.rows_below,
        tables,
    };
    size.into_iter()
        .chain(judge_rows(current, history, rows))
        .collect()
}

/// Compares the size with the mean of the copies of the previous [`SIZE_DAYS`] days, today excluded.
pub fn judge_size(current: &Sample, history: &[Sample], limits: &Thresholds) -> Option<Finding> {
    let week = week_before(current, history);
    let sizes: Vec<u64> = week.map(|sample| sample.size_bytes).collect();
    if sizes.len() < LEAST_SAMPLES {
        return None;
    }
    let sum: u128 = sizes.iter().copied().map(u128::from).sum();
    let change = SizeChange {
        size_bytes: current.size_bytes,
        mean_bytes: u64::try_from(sum / sizes.len() as u128).unwrap_or(u64::MAX),
        samples: sizes.len(),
    };
    // No division, so that a size exactly at the threshold compares as equal.
    let (all, sum) = (current.size_bytes as f64 * sizes.len() as f64, sum as f64);
    if is_less(all, sum * limits.shrink_below) {
        return Some(Finding::SizeDecrease(change));
    }
    is_less(sum * limits.grow_above, all).then_some(Finding::SizeIncrease(change))
}

/// True if `a` is less than `b` by more than the rounding error of a threshold such as 0.07, which has no exact form.
fn is_less(a: f64, b: f64) -> bool {
    b - a > b * (4.0 * f64::EPSILON)
}

/// Copies whose mean the size is compared with; fewer than [`LEAST_SAMPLES`] give no verdict.
pub fn week_before<'a>(
    current: &Sample,
    history: &'a [Sample],
) -> impl Iterator<Item = &'a Sample> {
    let (first, today) = (current.date.minus_days(SIZE_DAYS), current.date);
    let copies = history.iter();
    copies.filter(move |sample| first <= sample.date && sample.date < today)
}

/// Compares rows and schema with the previous copy and rows with the highest count of the last [`ROWS_DAYS`] days.
pub fn judge_rows(current: &Sample, history: &[Sample], limits: RowLimits<'_>) -> Vec<Finding> {
    let Some(last) = history.first() else {
        return Vec::new();
    };
    let drops = rows::drops(current, last, history, limits);
    let mut findings = Vec::new();
    if !drops.is_empty() {
        findings.push(Finding::RowsDropped(drops));
    }
    if current.schema != last.schema {
        findings.push(Finding::SchemaChanged {
            added: absent_from(&last.tables, &current.tables),
            removed: absent_from(&current.tables, &last.tables),
        });
    }
    findings
}

/// Tables of `all` that `some` lacks.
fn absent_from(some: &BTreeMap<String, u64>, all: &BTreeMap<String, u64>) -> Vec<String> {
    let names = all.keys().filter(|name| !some.contains_key(*name));
    names.cloned().collect()
}

/// Age of a database's last good copy, in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Staleness {
    /// Younger than `warn_after`.
    Fresh,
    /// `warn_after` old or more.
    Late,
    /// `stale_after` old or more.
    Stale,
}

/// Permitted difference of two clocks, or permitted setback of one, before either counts as wrong.
pub const CLOCK_TOLERANCE: TimeDelta = TimeDelta::minutes(10);

/// Classifies the age of the last good copy; `since` is the time of the copy, or when the database was first seen if it
/// has no copy. A copy from the future is stale: its date tells nothing about its age.
pub fn staleness(since: DateTime<Utc>, now: DateTime<Utc>, limits: &Thresholds) -> Staleness {
    let age = now - since;
    // A date in the future tells nothing about the age.
    if -age > CLOCK_TOLERANCE {
        return Staleness::Stale;
    }
    let is_over = |limit| TimeDelta::from_std(limit).is_ok_and(|limit| age >= limit);
    match () {
        () if is_over(limits.stale_after) => Staleness::Stale,
        () if is_over(limits.warn_after) => Staleness::Late,
        () => Staleness::Fresh,
    }
}

/// Outcome of a backup of one database, for counting failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// There is a new copy.
    Good,
    /// There is no new copy.
    Failed,
    /// It was skipped or interrupted, which does not count.
    Neither,
}

/// Number of failures of a database since its last backup; `endings` has the newest first.
pub fn failures_in_a_row(endings: impl IntoIterator<Item = Ending>) -> u32 {
    let mut count = 0;
    for ending in endings {
        match ending {
            Ending::Good => break,
            Ending::Failed => count += 1,
            Ending::Neither => {}
        }
    }
    count
}
