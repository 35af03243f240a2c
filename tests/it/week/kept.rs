//! What is told of last good copies and of what expiry keeps: by every surface the same.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use patina::catalog::{Damage, EventKind};
use patina::engine::stale;
use patina::http::metrics::{self, Vitals};
use patina::http::page;
use patina::overview::{Overview, Staleness};
use patina::retention::Guards;
use patina::types::ObjectKey;

use super::world::{Process, World, name};

fn at(day: NaiveDate, hour: u32) -> DateTime<Utc> {
    day.and_hms_opt(hour, 0, 0).unwrap().and_utc()
}

fn overview(process: &Process) -> Overview {
    Overview::read(&process.wiring).unwrap()
}

fn metric(process: &Process, name: &str) -> f64 {
    let text = metrics::render(
        &overview(process),
        &process.wiring.config,
        &Vitals::default(),
    );
    let line = text.lines().find(|line| line.starts_with(name));
    let line = line.unwrap_or_else(|| panic!("{name} is not in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// Two weeks of nights with their Sundays but for the last, on which nothing was packed or deleted yet.
async fn two_weeks(world: &World) -> Process {
    let monday: NaiveDate = "2026-11-16".parse().unwrap();
    let process = world.healthy().await;
    for day in monday.iter_days().take(14) {
        world.clock.go_to(at(day, 3));
        world.live_on("blog");
        process.day(day == monday + Days::new(6)).await;
    }
    process
}

#[tokio::test]
async fn before_the_first_backup_no_database_is_called_fresh() {
    let world = World::new("2026-11-16T00:00:00Z", &["blog", "shop"], "");
    let process = world.healthy().await;
    let report = stale::run(&process.wiring).unwrap();
    assert_eq!((report.stale, report.without), (0, 2));
    assert_eq!(
        report.to_string(),
        "no database has a copy yet: 2 databases in all"
    );
    process.night().await;
    let report = stale::run(&process.wiring).unwrap();
    assert_eq!(report.to_string(), "all 2 databases have a fresh copy");
    // Later, the one that never had a copy is late like any other.
    let world = World::new("2026-11-16T00:00:00Z", &["blog", "shop"], "");
    let process = world.healthy().await;
    stale::run(&process.wiring).unwrap();
    world.clock.go_to("2026-11-17T03:00:00Z".parse().unwrap());
    let report = stale::run(&process.wiring).unwrap();
    assert_eq!(report.to_string(), "2 of 2 databases without a fresh copy");
}

#[tokio::test]
async fn a_copy_that_only_an_archive_has_is_as_fresh_to_the_alarm_as_to_the_status() {
    let world = World::new("2026-11-16T00:00:00Z", &["blog"], "");
    let process = two_weeks(&world).await;
    process.pack().await.unwrap();
    let (catalog, now) = (
        &process.wiring.catalog,
        patina::clock::Clock::now(world.clock.as_ref()),
    );
    // Every daily copy is lost, and the archive of this morning has all of them.
    for item in catalog.items().unwrap() {
        if item.key.as_str().starts_with("daily/") {
            catalog
                .mark_damaged(&item.key, "bucket", Damage::Missing, "gone", now)
                .unwrap();
        }
    }
    let good = catalog.newest_good(&name("blog")).unwrap().unwrap();
    assert!(good.archive.is_some());
    for (hours, expected, told) in [(1, Staleness::Ok, false), (26, Staleness::Warning, true)] {
        world.clock.go_to(good.created_at + TimeDelta::hours(hours));
        let report = stale::run(&process.wiring).unwrap();
        let conditions = catalog.conditions().unwrap();
        let is_told = conditions
            .iter()
            .any(|one| one.kind == EventKind::StaleBackup);
        assert_eq!(
            (report.stale == 1, is_told),
            (told, told),
            "after {hours} h"
        );
        assert_eq!(
            overview(&process).databases[0].staleness,
            expected,
            "after {hours} h"
        );
    }
}

#[tokio::test]
async fn what_stops_expiry_is_in_the_metrics_the_status_and_on_the_dashboard() {
    let world = World::new("2026-11-16T00:00:00Z", &["blog"], "");
    let process = two_weeks(&world).await;
    assert_eq!(
        metric(&process, "backup_expiry_kept_objects{rule=\"clock\"}"),
        0.0
    );
    process.pack().await.unwrap();
    // Somebody sets the clock by two days.
    let right = patina::clock::Clock::now(world.clock.as_ref());
    world.clock.set(right + TimeDelta::days(2));
    let report = process.expire(Guards::all()).await;
    assert!(report.deleted.is_empty());
    let old = report.plan.kept()["clock"].1;
    assert!(old >= 6, "{old}");
    assert_eq!(
        metric(&process, "backup_expiry_kept_objects{rule=\"clock\"}"),
        old as f64
    );
    let run = overview(&process).expiry.unwrap();
    assert_eq!(run.kept.len(), 1);
    let page = page::render(&overview(&process));
    assert!(
        page.contains("the time cannot be trusted") && page.contains("expiry is stopped"),
        "{page}"
    );
    let told = process.wiring.catalog.events(1).unwrap().remove(0);
    assert_eq!(told.kind, EventKind::ExpiryRefused);
    assert!(
        told.message.contains("hint: set the clock right"),
        "{}",
        told.message
    );
    // The same once more is not told again; and its end is.
    process.expire(Guards::all()).await;
    let told = |kind| {
        let events = process.wiring.catalog.events(1_000).unwrap();
        events.iter().filter(|event| event.kind == kind).count()
    };
    assert_eq!(told(EventKind::ExpiryRefused), 1);
    world.clock.set(right);
    let report = process.expire(Guards::all()).await;
    assert_eq!(report.deleted.len() as u64, 6);
    assert_eq!(told(EventKind::Resolved), 1);
    assert_eq!(
        metric(&process, "backup_expiry_kept_objects{rule=\"clock\"}"),
        0.0
    );
    assert_eq!(metric(&process, "backup_expiry_last_deleted_objects"), 6.0);
    assert!(!page::render(&overview(&process)).contains("expiry is stopped"));
}

#[tokio::test]
async fn a_copy_that_no_archive_holds_stops_expiry_and_is_told() {
    let world = World::new("2026-11-16T00:00:00Z", &["blog"], "");
    let process = two_weeks(&world).await;
    world.clock.go_to("2026-12-20T04:00:00Z".parse().unwrap());
    let report = process.expire(Guards::all()).await;
    let (why, count) = report.plan.kept()["week"];
    assert!(why.is_stop() && count > 0);
    let key: ObjectKey = "daily/2026-11-29/blog.sql".parse().unwrap();
    assert!(
        report
            .plan
            .verdicts
            .iter()
            .any(|verdict| verdict.key == key)
    );
    let page = page::render(&overview(&process));
    assert!(page.contains("no verified archive holds it"), "{page}");
}
