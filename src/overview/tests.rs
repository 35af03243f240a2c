use chrono::TimeDelta;

use super::*;

fn name(text: &str) -> DatabaseName {
    text.parse().unwrap()
}

#[test]
fn a_time_is_told_in_its_largest_unit() {
    for (seconds, text) in [
        (-5, "just now"),
        (59, "just now"),
        (61, "1 minute ago"),
        (7_200, "2 hours ago"),
        (172_800, "2 days ago"),
    ] {
        assert_eq!(ago(TimeDelta::seconds(seconds)), text);
    }
}

#[test]
fn a_bound_is_never_below_what_it_bounds() {
    for (seconds, text) in [
        (59, "less than a minute"),
        (3_540, "59 minutes"),
        (3_541, "1 hour"),
        (32_398, "9 hours"),
        (32_400, "9 hours"),
        (172_801, "3 days"),
    ] {
        assert_eq!(words::at_most(TimeDelta::seconds(seconds)), text);
    }
}

#[test]
fn a_duration_is_told_in_its_two_largest_units() {
    for (duration_ms, text) in [
        (0, "0.0 s"),
        (850, "0.8 s"),
        (45_999, "45 s"),
        (125_000, "2 min 5 s"),
        (7_260_000, "2 h 1 min"),
    ] {
        assert_eq!(duration(duration_ms), text);
    }
}

#[test]
fn names_are_listed_as_a_person_does_and_many_are_counted() {
    let names = ["a", "b", "c", "d", "e"].map(name);
    assert_eq!(listed(&names[..1]), "a");
    assert_eq!(listed(&names[..3]), "a, b and c");
    assert_eq!(listed(&names[..4]), "a, b, c and 1 more");
    assert_eq!(listed(&names), "a, b, c and 2 more");
}

#[test]
fn a_copy_is_late_at_the_very_moment_and_not_before() {
    let thresholds = Thresholds {
        stale_after: std::time::Duration::from_secs(8 * 86_400),
        warn_after: std::time::Duration::from_secs(26 * 3_600),
        shrink_below: 0.5,
        rows_below: 0.5,
        grow_above: 2.0,
        consecutive_failures: 3,
    };
    let now: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
    let of = |seconds: i64| {
        let proven = now - TimeDelta::seconds(seconds);
        Staleness::of(Some(proven), now, &thresholds)
    };
    assert_eq!(of(-1), Staleness::Ok);
    assert_eq!(of(26 * 3_600 - 1), Staleness::Ok);
    assert_eq!(of(26 * 3_600), Staleness::Warning);
    assert_eq!(of(8 * 86_400 - 1), Staleness::Warning);
    assert_eq!(of(8 * 86_400), Staleness::Critical);
    assert_eq!(Staleness::of(None, now, &thresholds), Staleness::Critical);
}
