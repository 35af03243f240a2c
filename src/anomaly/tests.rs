//! Tests each rule at its boundary, and properties that hold for any history.

use proptest::prelude::*;

use super::*;

const LIMITS: Thresholds = Thresholds {
    stale_after: Duration::from_secs(8 * 24 * 3600),
    warn_after: Duration::from_secs(26 * 3600),
    shrink_below: 0.5,
    grow_above: 2.0,
    rows_below: 0.5,
    consecutive_failures: 3,
};

/// Default for every table.
const HALF: RowLimits<'_> = RowLimits {
    below: 0.5,
    tables: &BTreeMap::new(),
};

fn today() -> BackupDate {
    "2026-11-22".parse().unwrap()
}

/// Copy of a given number of days ago.
fn copy(days_ago: u64, size_bytes: u64, tables: &[(&str, u64)]) -> Sample {
    let tables = tables.iter();
    Sample {
        date: today().minus_days(days_ago),
        size_bytes,
        schema: Sha256::of(b"one"),
        tables: tables
            .map(|(name, rows)| ((*name).to_owned(), *rows))
            .collect(),
    }
}

fn sized(sizes: &[(u64, u64)]) -> Vec<Sample> {
    sizes
        .iter()
        .map(|(days, size)| copy(*days, *size, &[]))
        .collect()
}

#[track_caller]
fn check_size(size: u64, history: &[(u64, u64)], expected: Option<&str>) {
    let found = judge_size(&copy(0, size, &[]), &sized(history), &LIMITS);
    let word = found.map(|found| match found {
        Finding::SizeDecrease(_) => "decrease",
        Finding::SizeIncrease(_) => "increase",
        other => panic!("{other:?}"),
    });
    assert_eq!(word, expected, "{size} after {history:?}");
}

#[test]
fn exactly_half_and_exactly_twice_the_mean_are_fine_and_one_byte_beyond_is_not() {
    let week = [(1, 100), (2, 90), (3, 110)];
    check_size(50, &week, None);
    check_size(49, &week, Some("decrease"));
    check_size(200, &week, None);
    check_size(201, &week, Some("increase"));
}

#[test]
fn two_copies_give_no_verdict_and_three_do() {
    check_size(1, &[(1, 100), (2, 100)], None);
    check_size(1, &[(1, 100), (2, 100), (3, 100)], Some("decrease"));
}

#[test]
fn the_mean_takes_the_seven_days_before_today_and_nothing_else() {
    // Today's earlier copy and the one of eight days ago would each hide the loss.
    check_size(
        49,
        &[(0, 1), (1, 100), (4, 100), (7, 100)],
        Some("decrease"),
    );
    check_size(49, &[(1, 100), (4, 100), (8, 100)], None);
    check_size(49, &[(0, 100), (1, 100), (4, 100)], None);
}

#[test]
fn a_finding_on_the_size_says_its_numbers() {
    let found = judge_size(
        &copy(0, 40 << 20, &[]),
        &sized(&[(1, 100 << 20); 3]),
        &LIMITS,
    );
    let Some(Finding::SizeDecrease(change)) = found else {
        panic!("{found:?}");
    };
    assert_eq!(
        change.to_string(),
        "the copy has 40.0 MB, which is 40 % of the mean of the last 7 days, 100 MB over 3 copies"
    );
}

fn drops(current: &[(&str, u64)], history: &[Sample]) -> Vec<String> {
    let found = judge_rows(&copy(0, 0, current), history, HALF);
    let drops = found.into_iter().filter_map(|finding| match finding {
        Finding::RowsDropped(drops) => Some(drops),
        _ => None,
    });
    drops.flatten().map(|drop| drop.to_string()).collect()
}

#[test]
fn half_of_a_tables_rows_is_no_drop_and_one_fewer_is() {
    let history = [copy(1, 0, &[("t", 100), ("empty", 0)])];
    assert!(drops(&[("t", 50), ("empty", 0)], &history).is_empty());
    assert_eq!(
        drops(&[("t", 49), ("empty", 0)], &history),
        ["table `t` has 49 rows; it had 100 in the copy before"]
    );
}

/// Checks if a change in the number of rows is reported, for a given part that must be left.
#[track_caller]
fn check_rows(below: f64, before: u64, now: u64, is_told: bool) {
    let none = BTreeMap::new();
    let limits = RowLimits {
        below,
        tables: &none,
    };
    let history = [copy(1, 0, &[("t", before)])];
    let found = judge_rows(&copy(0, 0, &[("t", now)]), &history, limits);
    assert_eq!(!found.is_empty(), is_told, "{below}: {before} → {now}");
}

#[test]
fn exactly_the_part_of_the_rows_that_must_be_left_is_enough_also_where_it_has_no_exact_form() {
    for (below, before, enough) in [
        (0.5, 100, 50),
        (0.07, 100, 7),
        (0.29, 100, 29),
        (0.95, 1_000, 950),
        (0.9, 10, 9),
        (1.0, 3, 3),
        (0.05, 20_000_000_000, 1_000_000_000),
    ] {
        check_rows(below, before, enough, false);
        check_rows(below, before, enough - 1, true);
    }
    check_rows(0.5, 1, 1, false);
    check_rows(0.5, 1, 0, true);
    check_rows(0.0, 100, 0, false);
}

#[test]
fn a_table_has_a_threshold_of_its_own_and_its_name_has_no_case() {
    let tables = [("Sessions", 0.05), ("users", 0.95), ("cache", 0.0)];
    let tables = tables.map(|(name, part)| (name.to_owned(), part)).into();
    let limits = RowLimits {
        below: 0.5,
        tables: &tables,
    };
    let before = [
        ("sessions", 1_000),
        ("USERS", 1_000),
        ("cache", 1_000),
        ("other", 1_000),
    ];
    let told = |now: &[(&str, u64)]| {
        let found = judge_rows(&copy(0, 0, now), &[copy(1, 0, &before)], limits);
        let drops = found.into_iter().find_map(|finding| match finding {
            Finding::RowsDropped(drops) => Some(drops),
            _ => None,
        });
        let drops = drops.unwrap_or_default().into_iter();
        drops.map(|drop| drop.table).collect::<Vec<String>>()
    };
    let now = |sessions, users, other| {
        told(&[("sessions", sessions), ("USERS", users), ("other", other)])
    };
    assert!(now(50, 950, 500).is_empty());
    assert_eq!(now(49, 950, 500), ["sessions"]);
    assert_eq!(now(50, 949, 500), ["USERS"]);
    assert_eq!(now(50, 950, 499), ["other"]);
    // The end of `cache` is not reported, that of the others is.
    assert_eq!(told(&[]), ["USERS", "other", "sessions"]);
}

#[test]
fn a_table_that_is_gone_is_told_even_where_it_was_empty() {
    let history = [copy(1, 0, &[("t", 1_000), ("empty", 0)])];
    assert_eq!(
        drops(&[], &history),
        [
            "table `empty` is gone; it had 0 rows in the copy before",
            "table `t` is gone; it had 1,000 rows in the copy before"
        ]
    );
}

#[test]
fn a_loss_of_a_tenth_a_day_is_seen_against_the_most_of_four_weeks() {
    let mut rows = 1_000;
    let mut history: Vec<Sample> = Vec::new();
    let mut told = None;
    for day in 0..20 {
        let date = today().plus_days(day);
        let current = Sample {
            date,
            ..copy(0, 0, &[("t", rows)])
        };
        let found = judge_rows(&current, &history, HALF);
        if !found.is_empty() {
            told = Some((day, rows));
            break;
        }
        history.insert(0, current);
        rows = rows * 9 / 10;
    }
    let (day, rows) = told.expect("it is seen");
    assert!(rows < 500 && day < 10, "day {day}, {rows} rows");
}

#[test]
fn what_a_table_had_29_days_ago_is_forgotten_unless_it_is_the_last_copy() {
    let old = copy(29, 0, &[("t", 100)]);
    let recent = copy(1, 0, &[("t", 10)]);
    assert!(drops(&[("t", 10)], &[recent.clone(), old.clone()]).is_empty());
    let within = Sample {
        date: today().minus_days(28),
        ..old.clone()
    };
    assert_eq!(
        drops(&[("t", 10)], &[recent, within]),
        ["table `t` has 10 rows; it had 100 within the last 28 days"]
    );
    assert_eq!(drops(&[("t", 10)], &[old]).len(), 1);
}

#[test]
fn another_schema_is_told_with_the_tables_that_came_and_went() {
    let before = copy(1, 0, &[("a", 0), ("b", 0)]);
    let now = Sample {
        schema: Sha256::of(b"two"),
        ..copy(0, 0, &[("a", 0), ("c", 0)])
    };
    let found = judge_rows(&now, std::slice::from_ref(&before), HALF);
    assert!(found.contains(&Finding::SchemaChanged {
        added: vec!["c".to_owned()],
        removed: vec!["b".to_owned()],
    }));
    assert!(judge_rows(&before, std::slice::from_ref(&before), HALF).is_empty());
}

#[test]
fn a_first_copy_is_never_unusual() {
    assert!(judge(&copy(0, 0, &[]), &[], &LIMITS, &BTreeMap::new()).is_empty());
}

#[test]
fn a_copy_is_late_at_26_hours_and_stale_at_eight_days() {
    let now: DateTime<Utc> = "2026-11-22T12:00:00Z".parse().unwrap();
    let second = TimeDelta::seconds(1);
    for (age, expected) in [
        (TimeDelta::hours(26) - second, Staleness::Fresh),
        (TimeDelta::hours(26), Staleness::Late),
        (TimeDelta::days(8) - second, Staleness::Late),
        (TimeDelta::days(8), Staleness::Stale),
        (-CLOCK_TOLERANCE, Staleness::Fresh),
        (-CLOCK_TOLERANCE - second, Staleness::Stale),
        (TimeDelta::days(-400), Staleness::Stale),
    ] {
        assert_eq!(staleness(now - age, now, &LIMITS), expected, "{age}");
    }
}

#[test]
fn skips_and_interruptions_neither_count_nor_end_a_row_of_failures() {
    use Ending::{Failed, Good, Neither};
    for (endings, count) in [
        (&[][..], 0),
        (&[Good, Failed], 0),
        (&[Failed, Failed, Good, Failed], 2),
        (&[Neither, Failed, Neither, Failed, Neither, Good], 2),
        (&[Failed, Failed, Failed], 3),
    ] {
        assert_eq!(
            failures_in_a_row(endings.iter().copied()),
            count,
            "{endings:?}"
        );
    }
}

proptest! {
    #[test]
    fn a_size_is_never_both_too_small_and_too_large_and_always_by_the_rule(
        size in 0_u64..2_000, sizes in prop::collection::vec((0_u64..10, 0_u64..1_000), 0..12)
    ) {
        let found = judge_size(&copy(0, size, &[]), &sized(&sizes), &LIMITS);
        let week: Vec<u64> = sizes.iter().filter(|(day, _)| (1..=7).contains(day)).map(|(_, size)| *size).collect();
        let (count, sum) = (week.len() as u64, week.iter().sum::<u64>());
        let expected = match () {
            () if count < 3 => None,
            () if size * count * 2 < sum => Some(true),
            () if size * count > sum * 2 => Some(false),
            () => None,
        };
        prop_assert_eq!(found.map(|found| matches!(found, Finding::SizeDecrease(_))), expected);
    }

    #[test]
    fn a_table_with_as_many_rows_as_ever_is_never_told(
        rows in prop::collection::vec(0_u64..1_000, 1..30)
    ) {
        let history: Vec<Sample> =
            rows.iter().zip(1..).map(|(rows, day)| copy(day, 0, &[("t", *rows)])).collect();
        let most = rows.iter().copied().max().unwrap();
        prop_assert!(drops(&[("t", most)], &history).is_empty());
        prop_assert_eq!(drops(&[], &history).len(), 1);
    }
}
