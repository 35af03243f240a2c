//! Tests verdicts for an unusual past, clock or time zone.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::{Because, End, MOST_ATTEMPTS, Oddity, Schedule, Taken, Verdict, WhySkipped};

const HALF_A_DAY: Duration = Duration::from_secs(12 * 3600);
const BERLIN: Tz = chrono_tz::Europe::Berlin;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// Time in November 2026, as `21 03:00`.
fn at(text: &str) -> DateTime<Utc> {
    let (day, time) = text.split_once(' ').unwrap();
    format!("2026-11-{day}T{time}:00Z").parse().unwrap()
}

/// Verdict of `0 3 * * *` in UTC, as a short sentence.
fn nightly(taken: Option<(&str, End)>, now: &str, catch_up: Duration) -> String {
    let taken = taken.map(|(slot, end)| Taken {
        slot: at(slot),
        end,
    });
    let short = |moment: DateTime<Utc>| moment.format("%d %H:%M").to_string();
    let verdict = schedule("0 3 * * *").verdict(Tz::UTC, taken, at(now), catch_up);
    match verdict {
        Verdict::Run {
            slot,
            because,
            missed,
        } => {
            let missed = missed.map_or(String::new(), |first| format!(", not {}", short(first)));
            format!("run {} {because:?}{missed}", short(slot))
        }
        Verdict::Wait { until, skipped } => {
            let skipped = skipped.map_or(String::new(), |skipped| {
                format!(", {:?} {}", skipped.why, short(skipped.slot))
            });
            format!("wait {}{skipped}", short(until.unwrap()))
        }
    }
}

#[test]
fn a_slot_runs_on_time_or_as_missed_and_is_waited_for_once_it_was_taken() {
    let ended = Some(("20 03:00", End::Ended));
    let found = |now| nightly(ended, now, HALF_A_DAY);
    assert_eq!(found("20 03:00"), "wait 21 03:00");
    assert_eq!(found("21 02:59"), "wait 21 03:00");
    assert_eq!(found("21 03:00"), "run 21 03:00 OnTime");
    assert_eq!(found("21 03:02"), "run 21 03:00 OnTime");
    assert_eq!(found("21 03:03"), "run 21 03:00 Missed");
    assert_eq!(found("21 15:00"), "run 21 03:00 Missed");
    assert_eq!(found("21 15:01"), "wait 22 03:00, TooOld 21 03:00");
}

#[test]
fn after_days_of_sleep_the_last_slot_runs_once_for_all() {
    let ended = Some(("18 03:00", End::Ended));
    assert_eq!(
        nightly(ended, "21 10:00", HALF_A_DAY),
        "run 21 03:00 Missed, not 19 03:00"
    );
    assert_eq!(
        nightly(ended, "21 16:00", HALF_A_DAY),
        "wait 22 03:00, TooOld 19 03:00"
    );
}

#[test]
fn without_catch_up_only_a_slot_on_time_runs() {
    let ended = Some(("20 03:00", End::Ended));
    let found = |now| nightly(ended, now, Duration::ZERO);
    assert_eq!(found("21 03:01"), "run 21 03:00 OnTime");
    assert_eq!(found("21 03:03"), "wait 22 03:00, TooOld 21 03:00");
}

#[test]
fn a_new_task_makes_its_last_slot_good_and_misses_none() {
    assert_eq!(nightly(None, "21 10:00", HALF_A_DAY), "run 21 03:00 Missed");
    assert_eq!(nightly(None, "21 16:00", HALF_A_DAY), "wait 22 03:00");
}

#[test]
fn a_slot_whose_process_died_runs_again_but_not_for_ever_and_not_before_a_newer_one() {
    let died = |attempts| Some(("21 03:00", End::Died { attempts }));
    let found = |attempts, now| nightly(died(attempts), now, HALF_A_DAY);
    assert_eq!(found(1, "21 03:20"), "run 21 03:00 Interrupted");
    assert_eq!(found(0, "21 15:00"), "run 21 03:00 Interrupted");
    assert_eq!(found(1, "21 15:01"), "wait 22 03:00, TooOld 21 03:00");
    assert_eq!(
        found(MOST_ATTEMPTS, "21 03:20"),
        "wait 22 03:00, DiedTooOften 21 03:00"
    );
    assert_eq!(found(1, "22 03:00"), "run 22 03:00 OnTime");
    assert!(WhySkipped::DiedTooOften.to_string().contains("3 times"));
}

#[test]
fn what_the_zone_does_to_a_slot_is_told_with_its_name() {
    let found = |text: &str, slot: &str| {
        let oddity = schedule(text).oddity(BERLIN, slot.parse().unwrap());
        oddity.map(|oddity| oddity.to_string())
    };
    let gap = found("30 2 * * *", "2026-03-29T01:00:00Z").unwrap();
    assert_eq!(
        gap,
        "Europe/Berlin skips the time asked for; this is when it resumes"
    );
    assert_eq!(found("0 3 * * *", "2026-03-29T01:00:00Z"), None);
    assert_eq!(found("30 2 * * *", "2026-03-30T00:30:00Z"), None);
    let fold = |slot: &str| schedule("*/30 * * * *").oddity(BERLIN, slot.parse().unwrap());
    assert_eq!(fold("2026-10-25T00:30:00Z"), Some(Oddity::First(BERLIN)));
    assert_eq!(fold("2026-10-25T01:30:00Z"), Some(Oddity::Second(BERLIN)));
    assert_eq!(fold("2026-10-25T02:00:00Z"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// The clock jumps by up to three days either way; taken slots are stored as in the catalog.
    #[test]
    fn however_the_clock_jumps_no_slot_runs_twice_and_none_of_the_future(
        jumps in proptest::collection::vec(-4_320i64..4_320, 1..60),
        text in prop_oneof![Just("0 3 * * *"), Just("30 2 * * *"), Just("*/20 * * * *"), Just("0 4 * * 0")],
    ) {
        let schedule = schedule(text);
        let mut now: DateTime<Utc> = "2026-10-20T12:00:00Z".parse().unwrap();
        let mut taken = std::collections::BTreeSet::new();
        for minutes in jumps {
            now += TimeDelta::minutes(minutes);
            let last = taken.range(..=now).next_back().copied();
            let last = last.map(|slot| Taken { slot, end: End::Ended });
            match schedule.verdict(BERLIN, last, now, HALF_A_DAY) {
                Verdict::Run { slot, because, .. } => {
                    prop_assert!(slot <= now && now - slot <= TimeDelta::hours(12));
                    prop_assert_ne!(because, Because::Interrupted);
                    prop_assert!(taken.insert(slot), "{} runs twice", slot);
                }
                Verdict::Wait { until, .. } => prop_assert!(until.unwrap() > now),
            }
        }
    }
}
