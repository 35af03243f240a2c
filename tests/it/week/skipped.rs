//! A Sunday on which the nightly still runs.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use patina::catalog::{EventKind, NewJob};
use patina::engine::pack::{Outcome, Skip};
use patina::retention::Guards;
use patina::types::{JobId, Trigger};

use super::world::{Process, World};

fn at(day: NaiveDate, hour: u32) -> DateTime<Utc> {
    day.and_hms_opt(hour, 0, 0).unwrap().and_utc()
}

/// A job that hangs, as another thread of this process would leave it.
fn hang(process: &Process, world: &World) -> patina::catalog::Run {
    let catalog = &process.wiring.catalog;
    let job = NewJob {
        id: JobId::random(),
        trigger: Trigger::Scheduled,
        reason: None,
        databases: 1,
        started_at: patina::clock::Clock::now(world.clock.as_ref()),
    };
    catalog.begin(job).unwrap()
}

#[tokio::test]
async fn a_skipped_sunday_alerts_deletes_nothing_uncovered_and_the_next_archive_holds_both_weeks() {
    let monday: NaiveDate = "2026-11-16".parse().unwrap();
    let world = World::new("2026-11-16T00:00:00Z", &["blog"], "");
    let process = world.healthy().await;
    for day in monday.iter_days().take(7) {
        world.clock.go_to(at(day, 3));
        world.live_on("blog");
        process.night().await;
    }
    let run = hang(&process, &world);
    world.clock.go_to(at(monday + Days::new(6), 4));
    let packed = process.pack().await.unwrap();
    assert!(
        matches!(packed, Outcome::Skipped(Skip::Running { .. })),
        "{packed:?}"
    );
    let event = process.wiring.catalog.events(1).unwrap().remove(0);
    assert_eq!(event.kind, EventKind::WeeklySkipped);
    assert!(
        event.message.contains("2026-W47") && event.message.contains("next archive"),
        "{event:?}"
    );
    process.expire(Guards::all()).await;
    assert_eq!(world.objects().await.len(), 7);
    run.finish(at(monday + Days::new(6), 5)).unwrap();

    for day in monday.iter_days().skip(7).take(7) {
        world.clock.go_to(at(day, 3));
        world.live_on("blog");
        process.day(day == monday + Days::new(13)).await;
    }
    let archives = process.wiring.catalog.archives().unwrap();
    assert_eq!(archives.len(), 1);
    let days: Vec<String> = archives[0]
        .manifest
        .members
        .iter()
        .map(|member| member.manifest.date.to_string())
        .collect();
    let both: Vec<String> = monday
        .iter_days()
        .take(14)
        .map(|day| day.to_string())
        .collect();
    assert_eq!(days, both);
    // Eight days and the archive: the first week's days went only after the archive had them.
    assert_eq!(world.objects().await.len(), 8 + 1);
}

#[tokio::test]
async fn a_backup_that_hangs_for_more_than_two_hours_does_not_hold_the_archive_up() {
    let world = World::new("2026-11-22T01:00:00Z", &["blog"], "");
    let process = world.healthy().await;
    process.night().await;
    let run = hang(&process, &world);
    world
        .clock
        .go_to("2026-11-22T03:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(1));
    let packed = process.pack().await.unwrap();
    assert!(matches!(packed, Outcome::Packed { .. }), "{packed:?}");
    run.finish("2026-11-22T04:00:00Z".parse().unwrap()).unwrap();
    let again = process.pack().await.unwrap();
    assert!(
        matches!(again, Outcome::Skipped(Skip::NothingNew { .. })),
        "{again:?}"
    );
}
