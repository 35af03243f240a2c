//! Finds tables that lost their rows.

use std::collections::BTreeMap;
use std::fmt;

use super::{ROWS_DAYS, RowLimits, Sample, is_less};
use crate::quote;
use crate::types::{counted, grouped};

/// Table that lost more rows than permitted, or is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowDrop {
    /// The table.
    pub table: String,
    /// Number of rows before.
    pub before: u64,
    /// Number of rows now; `None`: the table is gone.
    pub now: Option<u64>,
    /// True if `before` is from the previous copy; false: from another copy of the last [`ROWS_DAYS`] days.
    pub is_sudden: bool,
}

impl fmt::Display for RowDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = quote::name(&self.table);
        let when = match self.is_sudden {
            true => "in the copy before".to_owned(),
            false => format!("within the last {ROWS_DAYS} days"),
        };
        match self.now {
            None => {
                let before = counted(self.before, "row");
                write!(f, "table `{table}` is gone; it had {before} {when}")
            }
            Some(now) => {
                let (now, before) = (counted(now, "row"), grouped(self.before));
                write!(f, "table `{table}` has {now}; it had {before} {when}")
            }
        }
    }
}

/// Finds tables with too small a part of the rows in the previous copy or of the highest count in the last weeks.
pub(super) fn drops(
    current: &Sample,
    last: &Sample,
    history: &[Sample],
    limits: RowLimits<'_>,
) -> Vec<RowDrop> {
    let most = most(current, last, history);
    let drops = most.into_iter().filter_map(|(table, most)| {
        let now = current.tables.get(table).copied();
        let before = last.tables.get(table).copied();
        let limit = limits.of(table);
        let is_drop = |before, now| is_drop(before, now, limit);
        let is_sudden = before.is_some_and(|before| is_drop(before, now));
        let (is_drop, before) = match (is_sudden, before) {
            (true, Some(before)) => (true, before),
            _ => (is_drop(most, now), most),
        };
        is_drop.then(|| RowDrop {
            table: table.to_owned(),
            before,
            now,
            is_sudden,
        })
    });
    drops.collect()
}

/// True for fewer rows than the limit; exactly the limit is no drop. With a limit of 0 nothing is a drop, not even a
/// missing table.
fn is_drop(before: u64, now: Option<u64>, limit: f64) -> bool {
    let has_too_few = |now: u64| is_less(now as f64, before as f64 * limit);
    limit > 0.0 && now.is_none_or(has_too_few)
}

fn most<'a>(current: &Sample, last: &'a Sample, history: &'a [Sample]) -> BTreeMap<&'a str, u64> {
    let first = current.date.minus_days(ROWS_DAYS);
    let recent = history
        .iter()
        .filter(|sample| first <= sample.date && sample.date <= current.date);
    let mut most = BTreeMap::new();
    for sample in recent.chain([last]) {
        for (table, rows) in &sample.tables {
            let known = most.entry(table.as_str()).or_insert(*rows);
            *known = (*known).max(*rows);
        }
    }
    most
}
