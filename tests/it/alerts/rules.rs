//! Real nights of real databases: what is unusual is written down with the copy, once, and so is its end.

use chrono::TimeDelta;
use patina::config::AlertLevel;
use patina::engine::stale;
use tokio_util::sync::CancellationToken;

use super::world::{World, days};

/// So many nights, a day apart.
async fn nights(world: &World, count: usize) {
    for _ in 0..count {
        world.pass(days(1));
        world.night().await;
    }
}

#[tokio::test]
async fn a_database_that_loses_most_of_itself_is_told_once_and_its_return_once() {
    let world = World::new(&["blog"], "").await;
    world.fill("blog", 1_000);
    nights(&world, 3).await;
    assert!(world.kinds().is_empty());
    world.fill("blog", 100);
    nights(&world, 2).await;
    assert_eq!(world.kinds(), ["rows_dropped", "size_decrease"]);
    let told = world.events();
    let rows = told
        .iter()
        .find(|event| event.kind.as_str() == "rows_dropped")
        .unwrap();
    assert!(
        rows.message.starts_with(
            "`blog`: table `posts` has 100 rows; it had 1,000 in the copy before\nhint: "
        ),
        "{}",
        rows.message
    );
    world.fill("blog", 1_000);
    nights(&world, 1).await;
    assert_eq!(world.kinds()[2..], ["resolved", "resolved"]);
    assert!(world.wiring.catalog.conditions().unwrap().is_empty());
}

#[tokio::test]
async fn a_table_is_held_to_its_own_threshold_and_a_database_to_its_own() {
    let own = "rows_below = 0.9\ntable_rows_below = { Sessions = 0.25, cache = 0 }\n\
               [alerts]\nshrink_below = 0\ngrow_above = 1000";
    let world = World::new(&["blog"], own).await;
    world.sql("blog", "CREATE TABLE sessions(id); CREATE TABLE cache(id)");
    let fill = |posts: u32, sessions: u32, cache: u32| {
        world.fill("blog", posts);
        for (table, rows) in [("sessions", sessions), ("cache", cache)] {
            world.sql(
                "blog",
                &format!(
                    "DELETE FROM {table}; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
                     WHERE i < {rows}) INSERT INTO {table} SELECT i FROM n"
                ),
            );
        }
    };
    fill(100, 100, 100);
    nights(&world, 1).await;
    fill(90, 25, 1);
    nights(&world, 1).await;
    assert!(world.kinds().is_empty(), "{:?}", world.events());
    fill(89, 24, 1);
    nights(&world, 1).await;
    assert_eq!(world.kinds(), ["rows_dropped"]);
    let events = world.events().into_iter();
    let mut drops = events.filter(|event| event.kind.as_str() == "rows_dropped");
    let message = drops.next().unwrap().message;
    for part in [
        "table `posts` has 89 rows; it had 100 within the last 28 days",
        "table `sessions` has 24 rows; it had 100 within the last 28 days",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(!message.contains("cache"), "{message}");
}

#[tokio::test]
async fn a_database_that_grows_beyond_twice_its_mean_is_told() {
    let world = World::new(&["blog"], "").await;
    world.fill("blog", 400);
    nights(&world, 3).await;
    world.fill("blog", 1_000);
    nights(&world, 1).await;
    assert_eq!(world.kinds(), ["size_increase"]);
}

#[tokio::test]
async fn a_table_that_comes_or_goes_is_a_change_of_the_schema() {
    let world = World::new(&["blog"], "").await;
    world.sql("blog", "CREATE TABLE drafts(id INTEGER PRIMARY KEY)");
    nights(&world, 1).await;
    world.sql(
        "blog",
        "DROP TABLE drafts; CREATE TABLE notes(id INTEGER PRIMARY KEY)",
    );
    nights(&world, 1).await;
    let told = world.events();
    let schema = told
        .iter()
        .find(|event| event.kind.as_str() == "schema_changed")
        .unwrap();
    assert!(
        schema.message.ends_with("; new: `notes`; gone: `drafts`"),
        "{}",
        schema.message
    );
    assert_eq!(schema.severity, AlertLevel::Info);
    assert!(world.kinds().contains(&"rows_dropped"), "the table is gone");
}

#[tokio::test]
async fn the_third_failure_in_a_row_is_critical_and_an_interruption_neither_counts_nor_clears() {
    let world = World::new(&["blog"], "").await;
    nights(&world, 1).await;
    world.lose("blog");
    nights(&world, 2).await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    world.night_until(&stopped).await;
    assert!(world.kinds().is_empty(), "{:?}", world.kinds());
    nights(&world, 2).await;
    assert_eq!(
        world.kinds(),
        ["consecutive_failures"],
        "told at the third and not again"
    );
    let told = world.events();
    let third = told
        .iter()
        .find(|event| event.kind.as_str() == "consecutive_failures")
        .unwrap();
    assert_eq!(third.severity, AlertLevel::Critical);
    assert!(
        third
            .message
            .starts_with("`blog` failed 3 times in a row: "),
        "{}",
        third.message
    );
    world.find("blog");
    nights(&world, 1).await;
    assert_eq!(
        world.kinds()[1..],
        ["resolved"],
        "one end for all that was wrong"
    );
}

#[tokio::test]
async fn a_database_without_a_fresh_copy_is_told_late_at_26_hours_and_stale_each_day_from_the_eighth_on()
 {
    let world = World::new(&["blog"], "").await;
    world.night().await;
    let mut told = Vec::new();
    for hour in 0..(24 * 11) {
        assert!(stale::run(&world.wiring).unwrap().stale <= 1);
        for event in world.events().into_iter().skip(1 + told.len()) {
            told.push((hour, event.severity));
        }
        world.pass(TimeDelta::hours(1));
    }
    let critical = AlertLevel::Critical;
    let (day, first) = (24, 8 * 24);
    assert_eq!(
        told,
        [
            (26, AlertLevel::Warning),
            (first, critical),
            (first + day, critical),
            (first + 2 * day, critical)
        ]
    );
    world.night().await;
    assert!(world.kinds().ends_with(&["resolved"]));
    assert_eq!(stale::run(&world.wiring).unwrap().stale, 0);
}

#[tokio::test]
async fn a_database_that_never_had_a_copy_counts_from_the_day_it_was_first_looked_at() {
    let world = World::new(&["blog"], "").await;
    assert_eq!(stale::run(&world.wiring).unwrap().stale, 0);
    world.pass(TimeDelta::hours(25));
    assert_eq!(stale::run(&world.wiring).unwrap().stale, 0);
    world.pass(TimeDelta::hours(1));
    assert_eq!(stale::run(&world.wiring).unwrap().stale, 1);
    assert!(world.events()[0].message.contains("it never had one"));
}

#[tokio::test]
async fn the_event_of_a_job_is_there_if_and_only_if_the_job_ended() {
    let world = World::new(&["blog"], "").await;
    let stopped = CancellationToken::new();
    stopped.cancel();
    world.night_until(&stopped).await;
    assert!(
        world.events().is_empty(),
        "an interrupted job tells nothing"
    );
    world.night().await;
    let kinds: Vec<_> = world
        .events()
        .iter()
        .map(|event| event.kind.as_str())
        .collect();
    assert_eq!(kinds, ["backup_completed"]);
}

#[tokio::test]
async fn damage_that_is_read_and_found_right_again_is_over() {
    let world = World::new(&["blog"], "").await;
    world.night().await;
    let catalog = &world.wiring.catalog;
    let key = "daily/2026-11-22/blog.sql".parse().unwrap();
    let now = patina::clock::Clock::now(world.clock.as_ref());
    let damage = patina::catalog::Damage::Missing;
    for _ in 0..2 {
        catalog
            .mark_damaged(&key, "memory", damage, "gone", now)
            .unwrap();
    }
    catalog.mark_verified(&key, "memory", now).unwrap();
    catalog.mark_verified(&key, "memory", now).unwrap();
    assert_eq!(world.kinds(), ["missing_object", "resolved"]);
}
