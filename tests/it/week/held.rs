//! What must not make a copy go, or go from the catalog: rows that are missing, a storage that lost everything, and a
//! clean-up that was killed.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use patina::catalog::{CopyFilter, EventKind};
use patina::clock::Clock;
use patina::engine::pack::Outcome;
use patina::engine::verify::{self, Scope};
use patina::guide::Guide;
use patina::overview::Overview;
use patina::retention::Guards;
use patina::store::{Body, Fault, MemoryStore, Store, read_small};
use patina::types::ObjectKey;
use rusqlite::Connection;

use super::world::{Process, World, name};

const RETENTION: &str = "daily_days = 1\ngrace = \"0s\"";

fn keys(process: &Process) -> Vec<ObjectKey> {
    let copies = process.wiring.catalog.copies(&CopyFilter::default());
    let copies = copies.unwrap();
    copies.iter().map(|copy| copy.key().clone()).collect()
}

/// A week and a day of nights, packed on Sunday: the daily copies of the week may go.
async fn a_week(world: &World) -> Process {
    let process = world.healthy().await;
    let first = world.clock.now();
    for day in 0..9 {
        world.clock.go_to(first + TimeDelta::days(day));
        world.live_on("shop");
        process.night().await;
        if day == 6 {
            assert!(matches!(process.pack().await, Ok(Outcome::Packed { .. })));
        }
    }
    process
}

fn world() -> World {
    World::new("2026-01-05T03:00:00Z", &["shop"], RETENTION)
}

#[tokio::test]
async fn a_database_that_lost_its_rows_keeps_its_older_copies_until_a_person_says_otherwise() {
    let world = world();
    let process = a_week(&world).await;
    let before = keys(&process);
    let db = Connection::open(world.database("shop")).unwrap();
    db.execute_batch("DELETE FROM nights WHERE rowid > 1")
        .unwrap();
    let go_on = |days| world.clock.go_to(world.clock.now() + TimeDelta::days(days));
    go_on(1);
    process.night().await;
    let (catalog, shop) = (&process.wiring.catalog, name("shop"));
    let told = catalog.conditions().unwrap();
    assert!(told.iter().any(|one| one.kind == EventKind::RowsDropped));
    let now = world.clock.now();
    let why = catalog.care(now).unwrap().held(now);
    assert!(
        why[&shop].contains("rows are missing: table `nights` has 1"),
        "{why:?}"
    );
    // The dashboard and the status say it, too.
    let overview = Overview::read(&process.wiring).unwrap();
    let held = overview.databases[0].held.as_deref();
    assert!(held.is_some_and(|why| why.contains("rows are missing")));
    let guide = Guide::read(&process.wiring.config, catalog, &shop, None).unwrap();
    let page = guide.unwrap().markdown();
    assert!(page.contains("**ROWS ARE MISSING:**"), "{page}");
    // Many nights later the loss is no news any more, and still nothing goes.
    for _ in 0..40 {
        go_on(1);
        process.night().await;
        let report = process.expire(Guards::all()).await;
        assert!(
            report.deleted.is_empty() && report.marked.is_empty(),
            "{report:?}"
        );
    }
    assert!(before.iter().all(|key| keys(&process).contains(key)));
    catalog.acknowledge(&shop, world.clock.now()).unwrap();
    go_on(1);
    process.night().await;
    let report = process.expire(Guards::all()).await;
    assert!(!report.deleted.is_empty(), "{report:?}");
    // The same loss holds nothing up a second time.
    let now = world.clock.now();
    assert!(catalog.care(now).unwrap().held(now).is_empty());
}

#[tokio::test]
async fn a_storage_that_lost_everything_makes_expiry_delete_nothing_from_the_catalog() {
    let world = world();
    let process = a_week(&world).await;
    let before = keys(&process);
    drop(process);
    // Another bucket, or a mount point without its disk.
    let empty = Arc::new(MemoryStore::new("bucket", world.clock.clone()));
    let process = world.start_on(empty);
    let report = process.expire(Guards::all()).await;
    assert!(report.deleted.is_empty(), "{report:?}");
    assert!(
        report
            .failed
            .iter()
            .all(|(_, why)| why.contains("is its disk mounted?")),
        "{report:?}"
    );
    assert!(!report.failed.is_empty());
    assert_eq!(keys(&process), before);
    drop(process);
    // There again, all goes on.
    let process = world.healthy().await;
    let report = process.expire(Guards::all()).await;
    assert!(
        report.failed.is_empty() && !report.deleted.is_empty(),
        "{report:?}"
    );
}

#[tokio::test]
async fn copies_whose_deletion_was_killed_before_it_began_are_listed_again_at_the_next_start() {
    let world = world();
    let process = a_week(&world).await;
    let before = keys(&process);
    let (catalog, now) = (&process.wiring.catalog, world.clock.now());
    let gone: Vec<ObjectKey> = before[4..7].to_vec();
    let removals: Vec<_> = gone
        .iter()
        .map(|key| (key.clone(), "bucket".to_owned()))
        .collect();
    catalog.mark(&gone, now, Guards::all()).unwrap();
    catalog
        .begin_removals(&removals, now, Guards::all())
        .unwrap();
    drop(process);
    let process = world.start([]);
    let recovery = process.recover().await;
    assert_eq!(recovery.listed_again, 3);
    assert!(process.wiring.catalog.removals().unwrap().is_empty());
    assert_eq!(keys(&process), before);
}

#[tokio::test]
async fn what_was_only_sampled_when_it_was_stored_is_read_before_anything_else() {
    let world = world();
    let process = world.healthy().await;
    process.night().await;
    let sampled = || verify::select(&process.wiring, Scope::Sampled).unwrap();
    assert!(sampled().is_empty());
    let db = Connection::open(process.wiring.catalog.path()).unwrap();
    let large = "UPDATE copies SET stored_bytes = 300000000, verified_at = NULL";
    db.execute_batch(large).unwrap();
    assert_eq!(sampled().len(), 1);
    db.execute_batch("UPDATE copies SET verified_at = 1")
        .unwrap();
    assert!(sampled().is_empty());
}

#[tokio::test]
async fn a_reader_that_is_killed_holds_its_copy_for_minutes_and_not_for_hours() {
    let world = world();
    world.healthy().await.night().await;
    // Its call never returns, as that of a process that died; the first one looks whether the storage lost everything.
    let process = world.start((2..100).map(|call| (call, Fault::Hang)));
    let targets = verify::select(&process.wiring, Scope::All).unwrap();
    let never = Arc::default();
    let reading = verify::run(&process.wiring, targets, &never, &process.stop);
    let ended = tokio::time::timeout(std::time::Duration::from_millis(300), reading).await;
    assert!(ended.is_err());
    let (catalog, now) = (&process.wiring.catalog, world.clock.now());
    assert_eq!(catalog.care(now).unwrap().leased.len(), 1);
    let later = now + TimeDelta::minutes(16);
    assert!(catalog.care(later).unwrap().leased.is_empty());
}

#[tokio::test]
async fn a_copy_whose_key_was_taken_while_its_process_was_dead_is_stored_under_another_one() {
    let world = World::new("2026-11-16T03:00:00Z", &["blog"], "");
    world.healthy().await;
    world.live_on("blog");
    // It looks whether the key is free, and dies over storing the copy there.
    let process = world.start([(2, Fault::Hang)]);
    tokio::select! {
        report = process.night() => panic!("{report:?}"),
        () = async {
            while process.wiring.catalog.spooled().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    process.bury().await;
    let key = process.wiring.catalog.spooled().unwrap().remove(0);
    let key = key.1.manifest.key;
    drop(process);
    let theirs = Body::Bytes(b"of another installation");
    world.bucket.create(&key, theirs).await.unwrap();

    let process = world.start([]);
    let recovery = process.recover().await;
    assert_eq!(recovery.completed, [name("blog")]);
    assert_eq!(recovery.discarded, []);
    let catalog = &process.wiring.catalog;
    assert_eq!(catalog.spooled().unwrap(), []);
    let good = catalog.newest_good(&name("blog")).unwrap().unwrap();
    assert_eq!(good.key.as_str(), "daily/2026-11-16/blog~030000Z.sql");
    let read = process.verify(Scope::All).await;
    assert_eq!(read.len(), 1);
    assert!(read[0].found.is_ok(), "{read:?}");
    let found = read_small(world.bucket.as_ref(), &key, 100).await.unwrap();
    assert_eq!(found.unwrap(), b"of another installation");
}
