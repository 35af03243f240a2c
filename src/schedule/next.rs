//! Maps wall-clock matches to real times across changes of the offset.

use chrono::{DateTime, Days, Duration, NaiveDateTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use super::Schedule;

/// Upper bound for the candidates that a repeated hour may yield: a day of minutes, with room.
const CANDIDATES_MAX: usize = 4_000;

pub(super) fn next_after(
    schedule: &Schedule,
    tz: Tz,
    after: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    if schedule.fields.follows_real_time() {
        return next_real(schedule, tz, after);
    }
    let mut wall = local(tz, after);
    for _ in 0..CANDIDATES_MAX {
        wall = next_wall(schedule, wall)?;
        let moment = first_pass(tz, wall)?;
        if moment > after {
            return Some(moment);
        }
    }
    None
}

/// Next real minute whose wall clock matches, one stretch of constant offset at a time.
fn next_real(schedule: &Schedule, tz: Tz, after: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut start = after;
    let mut wall = local(tz, after);
    loop {
        let offset = offset(tz, start);
        let candidate = (next_wall(schedule, wall)? - offset).and_utc();
        let Some(change) = first_change(tz, start, candidate) else {
            return Some(candidate);
        };
        start = change;
        wall = local(tz, change) - Duration::seconds(1);
    }
}

/// Next match strictly after `wall` on a clock that never jumps.
fn next_wall(schedule: &Schedule, wall: NaiveDateTime) -> Option<NaiveDateTime> {
    let after = wall.and_utc();
    schedule
        .clocks
        .iter()
        .filter_map(|clock| clock.after(&after).next())
        .min()
        .map(|moment| moment.naive_utc())
}

/// First time at which a wall clock shows `wall`, or resumes after having skipped it.
fn first_pass(tz: Tz, wall: NaiveDateTime) -> Option<DateTime<Utc>> {
    if let Some(moment) = tz.from_local_datetime(&wall).earliest() {
        return Some(moment.with_timezone(&Utc));
    }
    // The offset changes within a day of here; the skipped span ends at that time.
    let before = wall.checked_sub_days(Days::new(2))?.and_utc();
    let mut change = before;
    let until = wall.checked_add_days(Days::new(2))?.and_utc();
    loop {
        change = first_change(tz, change, until)?;
        if local(tz, change) > wall {
            return Some(change);
        }
    }
}

/// First time in `(from, to]` with another offset than `from`.
fn first_change(tz: Tz, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let known = offset(tz, from);
    let mut low = from;
    while low < to {
        let high = (low + Duration::days(1)).min(to);
        if offset(tz, high) != known {
            return Some(bisect(tz, low, high));
        }
        low = high;
    }
    None
}

/// Second at which the offset of `low` changes to that of `high`.
fn bisect(tz: Tz, low: DateTime<Utc>, high: DateTime<Utc>) -> DateTime<Utc> {
    let known = offset(tz, low);
    let (mut low, mut high) = (low.timestamp(), high.timestamp());
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        match DateTime::from_timestamp(middle, 0) {
            Some(moment) if offset(tz, moment) == known => low = middle,
            _ => high = middle,
        }
    }
    DateTime::from_timestamp(high, 0).unwrap_or_default()
}

fn offset(tz: Tz, moment: DateTime<Utc>) -> Duration {
    let seconds = tz
        .offset_from_utc_datetime(&moment.naive_utc())
        .fix()
        .local_minus_utc();
    Duration::seconds(seconds.into())
}

fn local(tz: Tz, moment: DateTime<Utc>) -> NaiveDateTime {
    moment.naive_utc() + offset(tz, moment)
}
