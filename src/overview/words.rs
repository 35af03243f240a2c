//! Formats times and lists in words.

use chrono::TimeDelta;

use crate::types::{DatabaseName, counted};

/// Upper bound for the names listed; the others are counted.
const MOST_NAMES: usize = 3;

/// Formats a time in its largest unit: `9 hours`.
pub fn age(passed: TimeDelta) -> String {
    let seconds = passed.num_seconds().max(0).unsigned_abs();
    match seconds {
        0..60 => "less than a minute".to_owned(),
        60..3_600 => counted(seconds / 60, "minute"),
        3_600..172_800 => counted(seconds / 3_600, "hour"),
        _ => counted(seconds / 86_400, "day"),
    }
}

/// Rounds a time up in its largest unit: 8 hours and 1 minute are `9 hours`.
pub(super) fn at_most(passed: TimeDelta) -> String {
    let seconds = passed.num_seconds().max(0);
    let unit = match seconds {
        0..60 => 1,
        60..3_600 => 60,
        3_600..172_800 => 3_600,
        _ => 86_400,
    };
    age(TimeDelta::seconds((seconds + unit - 1) / unit * unit))
}

/// Formats a past time as [`age`] does: `9 hours ago`.
pub fn ago(passed: TimeDelta) -> String {
    match passed.num_seconds() {
        ..60 => "just now".to_owned(),
        _ => format!("{} ago", age(passed)),
    }
}

/// Formats a duration: `0.8 s`, `45 s`, `2 min 5 s`.
pub fn duration(duration_ms: u64) -> String {
    match duration_ms {
        0..10_000 => format!("{}.{} s", duration_ms / 1_000, duration_ms % 1_000 / 100),
        10_000..60_000 => format!("{} s", duration_ms / 1_000),
        60_000..3_600_000 => {
            let seconds = duration_ms / 1_000;
            format!("{} min {} s", seconds / 60, seconds % 60)
        }
        _ => {
            let minutes = duration_ms / 60_000;
            format!("{} h {} min", minutes / 60, minutes % 60)
        }
    }
}

/// Lists names as `a, b and c`; of many only the first.
pub fn listed(names: &[DatabaseName]) -> String {
    let told: Vec<String> = names
        .iter()
        .take(MOST_NAMES)
        .map(ToString::to_string)
        .collect();
    let more = names.len() - told.len();
    match (&told[..], more) {
        ([], _) => "no database".to_owned(),
        ([one], 0) => one.clone(),
        ([first @ .., last], 0) => format!("{} and {last}", first.join(", ")),
        (told, 1) => format!("{} and 1 more", told.join(", ")),
        (told, more) => format!("{} and {more} more", told.join(", ")),
    }
}
