//! Compares the parser and the calendar with a brute-force matcher, and lists the daylight-saving rules.

use chrono::{DateTime, Datelike, Duration, TimeZone, Timelike, Utc};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::Schedule;

fn schedule(text: &str) -> Schedule {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// Next `count` due times in `tz`, with the offset.
fn runs(text: &str, tz: Tz, after: &str, count: usize) -> Vec<String> {
    let schedule = schedule(text);
    let mut now = at(after);
    let mut shown = Vec::new();
    for _ in 0..count {
        now = schedule.next_after(tz, now).unwrap();
        shown.push(
            now.with_timezone(&tz)
                .format("%m-%d %H:%M%:::z")
                .to_string(),
        );
    }
    shown
}

const BERLIN: Tz = chrono_tz::Europe::Berlin;
const SPRING: &str = "2026-03-28T12:00:00Z";
const AUTUMN: &str = "2026-10-24T20:00:00Z";

#[test]
fn weekdays_are_counted_as_crontab_does() {
    // 2026-11-22 is a Sunday.
    let from = "2026-11-21T12:00:00Z";
    for (text, days) in [
        ("0 4 * * 0", "22 29"),
        ("0 4 * * 7", "22 29"),
        ("0 4 * * 1", "23 30"),
        ("0 4 * * SUN", "22 29"),
        ("0 4 * * Sunday", "22 29"),
        ("0 4 * * 5-7", "22 27 28 29"),
        ("0 4 * * fri-mon", "22 23 27 28 29 30"),
        ("0 4 * * sat-sun", "22 28 29"),
        ("0 4 * * 6-1", "22 23 28 29 30"),
        ("0 4 * * 7-1", "22 23 29 30"),
        ("0 4 * * mon-fri/2", "23 25 27 30"),
        ("@weekly", "22 29"),
    ] {
        let days: Vec<&str> = days.split(' ').collect();
        let runs = runs(text, Tz::UTC, from, days.len());
        let found: Vec<&str> = runs.iter().map(|run| &run[3..5]).collect();
        assert_eq!(found, days, "{text}");
    }
}

#[test]
fn two_restricted_day_fields_are_joined_by_or_and_a_star_step_by_and() {
    let from = "2026-11-10T12:00:00Z";
    let or = runs("0 0 13 * 5", Tz::UTC, from, 3);
    assert_eq!(or, ["11-13 00:00+00", "11-20 00:00+00", "11-27 00:00+00"]);
    let and = runs("0 0 */2 * 1", Tz::UTC, from, 2);
    assert_eq!(and, ["11-23 00:00+00", "12-07 00:00+00"]);
}

#[test]
fn a_fixed_time_in_the_gap_runs_when_the_clocks_resume() {
    let found = runs("30 2 * * *", BERLIN, SPRING, 2);
    assert_eq!(found, ["03-29 03:00+02", "03-30 02:30+02"]);
    let both = runs("0,30 2,3 * * *", BERLIN, SPRING, 3);
    assert_eq!(both, ["03-29 03:00+02", "03-29 03:30+02", "03-30 02:00+02"]);
}

#[test]
fn a_fixed_time_in_the_fold_runs_once_on_the_first_pass() {
    let found = runs("30 2 * * *", BERLIN, AUTUMN, 2);
    assert_eq!(found, ["10-25 02:30+02", "10-26 02:30+01"]);
    let found = runs("0 2,3 * * *", BERLIN, AUTUMN, 3);
    assert_eq!(
        found,
        ["10-25 02:00+02", "10-25 03:00+01", "10-26 02:00+01"]
    );
    // During the second pass it does not run again.
    let found = runs("30 2 * * *", BERLIN, "2026-10-25T01:10:00Z", 1);
    assert_eq!(found, ["10-26 02:30+01"]);
}

#[test]
fn a_star_in_the_minutes_follows_real_time() {
    let found = runs("*/30 * * * *", BERLIN, "2026-10-24T23:45:00Z", 6);
    assert_eq!(
        found,
        [
            "10-25 02:00+02",
            "10-25 02:30+02",
            "10-25 02:00+01",
            "10-25 02:30+01",
            "10-25 03:00+01",
            "10-25 03:30+01"
        ]
    );
    let found = runs("*/30 * * * *", BERLIN, "2026-03-29T00:15:00Z", 3);
    assert_eq!(
        found,
        ["03-29 01:30+01", "03-29 03:00+02", "03-29 03:30+02"]
    );
}

#[test]
fn a_day_that_the_zone_skipped_runs_at_its_end() {
    // Samoa had no 30 December 2011.
    let apia = chrono_tz::Pacific::Apia;
    let found = runs("0 12 * * *", apia, "2011-12-29T23:00:00Z", 2);
    assert_eq!(found, ["12-31 00:00+14", "12-31 12:00+14"]);
}

#[test]
fn last_between_finds_the_latest_missed_run() {
    let nightly = schedule("0 3 * * *");
    let missed = nightly.last_between(
        Tz::UTC,
        at("2026-11-20T03:00:00Z"),
        at("2026-11-22T03:00:00Z"),
    );
    assert_eq!(missed, Some(at("2026-11-22T03:00:00Z")));
    let none = nightly.last_between(
        Tz::UTC,
        at("2026-11-22T03:00:00Z"),
        at("2026-11-22T09:00:00Z"),
    );
    assert_eq!(none, None);
}

#[test]
fn macros_are_read_in_any_case_and_equal_their_five_fields() {
    for (text, five) in [
        ("@DAILY", "0 0 * * *"),
        ("@midnight", "0 0 * * *"),
        ("@Annually", "0 0 1 1 *"),
        ("@hourly", "0 * * * *"),
        ("  @monthly ", "0 0 1 * *"),
    ] {
        assert_eq!(schedule(text), schedule(five), "{text}");
        assert_eq!(schedule(text).to_string(), text);
    }
}

#[test]
fn every_refusal_points_into_the_text_and_names_the_way_out() {
    for (text, offset, hint) in [
        ("", 0, "five fields"),
        ("0 3 * *", 0, "five fields"),
        (
            "0 0 3 * * *",
            0,
            "drop the seconds, the first field: `0 3 * * *`",
        ),
        ("0 0 3***", 0, "five fields"),
        ("5/15 * * * *", 0, "`5-59/15`"),
        ("0 2/3 * * *", 2, "`2-23/3`"),
        ("*/60 * * * *", 2, "1 to 59"),
        ("*/0 * * * *", 2, "1 to 59"),
        ("60 * * * *", 0, "0 to 59"),
        ("0 24 * * *", 2, "0 to 23"),
        ("0 3 0 * *", 4, "1 to 31"),
        ("0 3 * 13 *", 6, "1 to 12"),
        ("0 3 * * 8", 8, "0 to 7"),
        ("0 3 * * foo", 8, "`mon`"),
        ("30-10 * * * *", 0, "swap the ends"),
        ("1,,2 * * * *", 2, "extra comma"),
        ("0 ? * * *", 2, "0 to 23"),
        ("0 3 1-x * *", 6, "1 to 31"),
        ("0 0 31 2 *", 4, "no month"),
        ("0 0 31 2,4,6 *", 4, "no month"),
        ("@reboot", 0, "catch_up"),
        ("@every 1h", 0, "*/30"),
        ("@dayly", 0, "@daily"),
        ("@daily 3", 7, "remove"),
        ("+5 * * * *", 0, "0 to 59"),
        ("0 3 * * \u{661}", 8, "0 to 7"),
    ] {
        let error = text.parse::<Schedule>().unwrap_err();
        assert_eq!(error.offset, offset, "{text}: {error}");
        let found = error.hint.unwrap_or_default();
        assert!(found.contains(hint), "{text}: {found}");
    }
    schedule("0 0 31 2 1");
    schedule("0 0 29 2 *");
}

/// One field as text, with the set of values it should match.
fn field(low: u32, high: u32, wraps: bool) -> impl Strategy<Value = (String, Vec<u32>)> {
    let item = prop_oneof![
        Just((low, high, 1, 0)),
        (1..=high - low).prop_map(move |step| (low, high, step, 1)),
        (low..=high).prop_map(|value| (value, value, 1, 2)),
        (low..=high, low..=high, 1u32..4).prop_map(|(a, b, step)| (a, b, step, 3)),
    ];
    proptest::collection::vec(item, 1..3).prop_map(move |items| {
        let (mut texts, mut values) = (Vec::new(), Vec::new());
        for (a, b, step, form) in items {
            let (a, b) = if wraps || a <= b { (a, b) } else { (b, a) };
            texts.push(match form {
                0 => "*".to_owned(),
                1 => format!("*/{step}"),
                2 => a.to_string(),
                _ => format!("{a}-{b}/{step}"),
            });
            let span = if a <= b {
                b - a
            } else {
                high + 1 - a + b - low
            };
            values.extend((0..=span).step_by(step as usize).map(|i| {
                let value = a + i;
                if value > high {
                    value - high - 1 + low
                } else {
                    value
                }
            }));
        }
        (texts.join(","), values)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_next_run_is_the_one_a_walk_over_every_minute_finds(
        minute in field(0, 59, false),
        hour in field(0, 23, false),
        day in field(1, 31, false),
        month in field(1, 12, false),
        weekday in field(0, 6, true),
        start in 1_767_225_600i64..1_830_297_600,
    ) {
        let text = format!("{} {} {} {} {}", minute.0, hour.0, day.0, month.0, weekday.0);
        let Ok(schedule) = text.parse::<Schedule>() else {
            // Only an impossible date is rejected.
            prop_assert!(text.parse::<Schedule>().unwrap_err().message.contains("never occurs"));
            return Ok(());
        };
        let both = day.0.starts_with('*') || weekday.0.starts_with('*');
        let from = Utc.timestamp_opt(start, 0).unwrap();
        let mut walk = from.with_second(0).unwrap();
        let found = schedule.next_after(Tz::UTC, from);
        for _ in 0..60 * 24 * 20 {
            walk += Duration::minutes(1);
            let in_day = day.1.contains(&walk.day());
            let in_week = weekday.1.contains(&walk.weekday().num_days_from_sunday());
            let day_ok = if both { in_day && in_week } else { in_day || in_week };
            if day_ok
                && minute.1.contains(&walk.minute())
                && hour.1.contains(&walk.hour())
                && month.1.contains(&walk.month())
            {
                prop_assert_eq!(found, Some(walk), "{}", text);
                return Ok(());
            }
        }
        prop_assert!(found.is_none_or(|found| found > walk), "{}", text);
    }

    #[test]
    fn every_zone_gives_strictly_later_runs_and_real_time_ones_match_the_wall_clock(
        zone in 0..chrono_tz::TZ_VARIANTS.len(),
        start in 1_767_225_600i64..1_830_297_600,
    ) {
        let tz = chrono_tz::TZ_VARIANTS[zone];
        let real = schedule("*/20 * * * *");
        let mut now = Utc.timestamp_opt(start, 0).unwrap();
        for _ in 0..20 {
            let next = real.next_after(tz, now).unwrap();
            prop_assert!(next > now && next - now <= Duration::minutes(40));
            prop_assert_eq!(next.with_timezone(&tz).minute() % 20, 0);
            now = next;
        }
        let fixed = schedule("30 2 * * *").next_after(tz, now).unwrap();
        prop_assert!(fixed > now && fixed - now <= Duration::hours(27));
    }
}
