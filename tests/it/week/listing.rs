//! Listings that lie: none of them takes anything away, or lets anything be taken away.

use std::time::Duration;

use patina::catalog::{CopyFilter, EventKind};
use patina::engine::reconcile::SECOND_LOOK;
use patina::store::{Fault, Store, StoreErrorKind};
use patina::types::ObjectKey;

use super::world::{Process, World};

/// Three Sundays of one database; the plan says what the process's calls to the bucket do.
async fn world() -> World {
    let world = World::new("2026-11-09T03:00:00Z", &["blog"], "");
    let process = world.healthy().await;
    for day in 9..=22 {
        world
            .clock
            .go_to(format!("2026-11-{day:02}T03:00:00Z").parse().unwrap());
        world.live_on("blog");
        process.day(day % 7 == 1).await;
    }
    drop(process);
    world
}

fn live(process: &Process) -> usize {
    let copies = process
        .wiring
        .catalog
        .copies(&CopyFilter::default())
        .unwrap();
    copies.iter().filter(|copy| copy.live().count() > 0).count()
}

async fn advance(world: &World, by: Duration) {
    let now = patina::clock::Clock::now(world.clock.as_ref());
    world
        .clock
        .go_to(now + chrono::TimeDelta::from_std(by).unwrap());
}

#[tokio::test]
async fn an_empty_or_short_listing_makes_nothing_missing_and_nothing_deleted() {
    let world = world().await;
    let before = world.objects().await;
    for keep in [0, 1, 5] {
        let process = world.start([]);
        process
            .faults
            .set_always(Some(Fault::ShortListing { keep }));
        let known = live(&process);
        for _ in 0..3 {
            let report = process.reconcile().await;
            assert!(
                report.missing.is_empty() && report.absent.is_empty(),
                "{report:?}"
            );
            advance(&world, SECOND_LOOK).await;
        }
        assert_eq!(live(&process), known);
        process.expire(patina::retention::Guards::all()).await;
        assert_eq!(world.objects().await, before);
    }
}

#[tokio::test]
async fn a_listing_that_fails_or_hangs_concludes_nothing() {
    let world = world().await;
    let before = world.objects().await;
    let broken = StoreErrorKind::Unavailable {
        retryable: false,
        cause: "page 2 failed".to_owned(),
    };
    // The first call looks whether the storage lost everything.
    let process = world.start([(2, Fault::Before(broken))]);
    let report = process.reconcile().await;
    assert!(report.error.unwrap().contains("page 2 failed"));
    assert!(report.missing.is_empty() && report.adopted.is_empty());
    drop(process);

    let process = world.start([(2, Fault::Hang)]);
    let hung = tokio::time::timeout(Duration::from_millis(200), process.reconcile()).await;
    assert!(hung.is_err());
    assert_eq!(world.objects().await, before);
}

#[tokio::test]
async fn an_object_is_missing_after_two_looks_ten_minutes_apart_and_not_before() {
    let world = world().await;
    let key: ObjectKey = "daily/2026-11-20/blog.sql".parse().unwrap();
    patina::store::Prune::remove(world.bucket.as_ref(), &key)
        .await
        .unwrap();
    let process = world.healthy().await;
    assert_eq!(process.reconcile().await.absent, std::slice::from_ref(&key));
    advance(&world, SECOND_LOOK - Duration::from_secs(1)).await;
    assert_eq!(process.reconcile().await.absent, std::slice::from_ref(&key));
    advance(&world, Duration::from_secs(1)).await;
    assert_eq!(
        process.reconcile().await.missing,
        std::slice::from_ref(&key)
    );
    let events = process.wiring.catalog.events(10).unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.kind == EventKind::MissingObject)
    );
    let care = process
        .wiring
        .catalog
        .care(patina::clock::Clock::now(world.clock.as_ref()))
        .unwrap();
    assert_eq!(care.frozen.len(), 1, "expiry waits for a person");
}

#[tokio::test]
async fn an_object_without_a_manifest_is_told_and_left_alone() {
    let world = world().await;
    let key: ObjectKey = "daily/2026-11-21/blog~120000Z.sql".parse().unwrap();
    world
        .bucket
        .create(&key, patina::store::Body::Bytes(b"half"))
        .await
        .unwrap();
    let process = world.healthy().await;
    let report = process.reconcile().await;
    assert!(
        report.untracked.is_empty(),
        "it may be on its way: {report:?}"
    );
    advance(&world, Duration::from_secs(3600)).await;
    let report = process.reconcile().await;
    assert_eq!(report.untracked[0].0, key);
    assert!(world.objects().await.contains(key.as_str()));
    let event = process.wiring.catalog.events(1).unwrap().remove(0);
    assert_eq!(event.kind, EventKind::UntrackedObjects);
}

#[tokio::test]
async fn a_catalog_that_was_lost_is_rebuilt_from_the_bucket_alone() {
    let world = world().await;
    let process = world.healthy().await;
    let instance = process.wiring.catalog.instance().unwrap();
    let copies = process
        .wiring
        .catalog
        .copies(&CopyFilter::default())
        .unwrap();
    let archives = process.wiring.catalog.archives().unwrap();
    let before = world.objects().await;
    drop(process);
    std::fs::remove_dir_all(world.state()).unwrap();

    let process = world.start([]);
    let report = process.rebuild().await;
    assert_eq!(report.instance, instance);
    assert_eq!(report.storages[0].adopted.len(), before.len());
    let rebuilt = process
        .wiring
        .catalog
        .copies(&CopyFilter::default())
        .unwrap();
    assert_eq!(rebuilt.len(), copies.len());
    for (rebuilt, known) in rebuilt.iter().zip(&copies) {
        assert_eq!(rebuilt.manifest, known.manifest);
        assert_eq!(rebuilt.created_at, known.created_at);
        assert_eq!(rebuilt.placements[0].verified_at, None);
    }
    let rebuilt = process.wiring.catalog.archives().unwrap();
    assert_eq!(rebuilt.len(), archives.len());
    for (rebuilt, known) in rebuilt.iter().zip(&archives) {
        assert_eq!(
            (&rebuilt.manifest, rebuilt.created_at),
            (&known.manifest, known.created_at)
        );
    }
    // Old enough to go a week later; a rebuilt catalog deletes nothing for a day, and nothing unread after it.
    world.clock.go_to("2026-11-22T20:00:00Z".parse().unwrap());
    process.expire(patina::retention::Guards::all()).await;
    assert_eq!(world.objects().await, before);
}
