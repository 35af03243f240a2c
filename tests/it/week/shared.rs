//! Two installations in one bucket, and clocks that ran ahead: what is newest is this installation's, by the order in
//! which copies were made.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{CopyFilter, CopyState, Held, ListedState, PageFilter, StateFilter};
use patina::clock::Clock;
use patina::engine::pack::{Outcome, PackError};
use patina::engine::stale;
use patina::engine::verify::Scope;
use patina::overview::Overview;
use patina::retention::Guards;
use patina::store::{Body, MemoryStore, Prune, Store, read_small};
use patina::types::{Manifest, ObjectKey};

use super::world::{Process, World, name};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// One night at this time of the world's clock.
async fn night(world: &World, process: &Process, now: &str) -> ObjectKey {
    world.clock.set(at(now));
    world.live_on("blog");
    let report = process.night().await;
    assert_eq!(report.job.failed, 0, "{report:?}");
    let results = process.wiring.catalog.results(report.job.id).unwrap();
    results[0].key.clone().unwrap()
}

/// The same, and the time passes until then.
async fn next_night(world: &World, process: &Process, now: &str) -> ObjectKey {
    world.clock.go_to(at(now));
    night(world, process, now).await
}

fn held(process: &Process) -> Vec<Held> {
    let catalog = &process.wiring.catalog;
    catalog.held(&name("blog"), None, None).unwrap()
}

/// When the copy was made that freshness is measured by, at the world's time.
fn fresh_at(world: &World, process: &Process) -> Option<DateTime<Utc>> {
    let catalog = &process.wiring.catalog;
    let copy = catalog.freshness_copy(&name("blog"), world.clock.now());
    copy.unwrap().map(|copy| copy.created_at)
}

#[tokio::test]
async fn installations_that_share_a_bucket_since_before_know_and_miss_only_their_own_copies() {
    let production = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let staging = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let ours = production.healthy().await;
    let mut theirs = staging.start_on(production.bucket.clone());
    let mut wrote = (Vec::new(), Vec::new());
    for day in 20..=22 {
        let now = format!("2026-11-{day}T03:00:00Z");
        wrote.0.push(night(&production, &ours, &now).await);
        // The plain key of the day is taken by then.
        wrote.1.push(night(&staging, &theirs, &now).await);
    }
    assert!(wrote.0.iter().all(|key| !wrote.1.contains(key)));
    let report = ours.reconcile().await;
    assert_eq!(
        (report.others, report.adopted.len(), report.untracked.len()),
        (3, 0, 0)
    );
    let again = ours.reconcile().await;
    assert_eq!(again.others, 3);
    for (process, wrote) in [(&ours, &wrote.0), (&theirs, &wrote.1)] {
        let keys: Vec<ObjectKey> = held(process).into_iter().map(|held| held.key).collect();
        let expected: Vec<ObjectKey> = wrote.iter().rev().cloned().collect();
        assert_eq!(keys, expected);
    }

    // A week's key names no database: one of them has it, and the other is told what to do.
    let packed = ours.pack().await.unwrap();
    assert!(matches!(packed, Outcome::Packed { .. }), "{packed:?}");
    let error = theirs.pack().await.unwrap_err();
    assert!(matches!(error, PackError::Taken { .. }), "{error:?}");
    assert!(
        error.to_string().contains("a second `[[storage]]`"),
        "{error}"
    );
    // Which works: its copies are packed there, and those of the other one are as they were.
    let own_place = Arc::new(MemoryStore::new("own", staging.clock.clone()));
    theirs.wiring.stores.push(own_place);
    let packed = theirs.pack().await.unwrap();
    assert!(
        matches!(&packed, Outcome::Packed { manifest, .. } if manifest.members.len() == 3),
        "{packed:?}"
    );

    // What the other one lets go is not missed, also not where it was taken in before.
    let rebuilt = ours.rebuild().await;
    assert_eq!(rebuilt.instances.len(), 2);
    assert_eq!(rebuilt.instance, ours.wiring.catalog.instance().unwrap());
    assert_eq!(held(&ours)[0].key, wrote.0[2]);
    listed_are(&ours, &wrote.0);
    for key in &wrote.1 {
        production.bucket.remove(key).await.unwrap();
        production.bucket.remove(&key.manifest()).await.unwrap();
    }
    let report = ours.reconcile().await;
    assert!(
        report.missing.is_empty() && report.absent.is_empty(),
        "{report:?}"
    );
    let findings = ours.verify(Scope::All).await;
    assert!(
        findings.iter().all(|finding| finding.found.is_ok()),
        "{findings:?}"
    );
    let copies = ours.wiring.catalog.copies(&CopyFilter::default()).unwrap();
    assert_eq!(copies.len(), 3);
    let mut placements = copies.iter().flat_map(|copy| &copy.placements);
    assert!(placements.all(|placement| placement.state == CopyState::Live));
}

/// What `GET /list` and the sums of `GET /status` are made of.
fn listed_are(process: &Process, keys: &[ObjectKey]) {
    let catalog = &process.wiring.catalog;
    for states in [StateFilter::Restorable, StateFilter::All] {
        let filter = PageFilter {
            states,
            limit: 100,
            ..PageFilter::default()
        };
        let listed = catalog.page(&filter).unwrap();
        let listed: BTreeSet<&ObjectKey> = listed.iter().map(|listed| &listed.key).collect();
        assert_eq!(listed, keys.iter().collect(), "{states:?}");
        assert_eq!(catalog.count(&filter).unwrap(), keys.len() as u64);
    }
    for state in ListedState::ALL {
        let filter = PageFilter {
            states: StateFilter::One(state),
            limit: 100,
            ..PageFilter::default()
        };
        let expected = match state {
            ListedState::Good => keys.len(),
            _ => 0,
        };
        assert_eq!(catalog.page(&filter).unwrap().len(), expected, "{state:?}");
        assert_eq!(catalog.count(&filter).unwrap(), expected as u64);
    }
}

#[tokio::test]
async fn a_day_on_which_only_another_installation_stored_a_copy_is_no_day_of_this_one() {
    let production = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let staging = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let ours = production.healthy().await;
    let theirs = staging.start_on(production.bucket.clone());
    let own = night(&production, &ours, "2026-11-20T03:00:00Z").await;
    night(&staging, &theirs, "2026-11-21T03:00:00Z").await;
    night(&staging, &theirs, "2026-11-22T03:00:00Z").await;
    theirs.pack().await.unwrap();
    production.clock.set(at("2026-11-22T09:00:00Z"));
    assert_eq!(ours.rebuild().await.instances.len(), 2);
    let overview = Overview::read(&ours.wiring).unwrap();
    let blog = &overview.databases[0];
    let held = blog.strip.iter().filter(|day| day.holding.is_some());
    let days: Vec<String> = held.map(|day| day.date.to_string()).collect();
    assert_eq!(days, ["2026-11-20"]);
    assert_eq!(blog.history.len(), 1);
    listed_are(&ours, &[own]);
}

#[tokio::test]
async fn a_planted_manifest_with_a_credible_date_is_unconfirmed_and_makes_no_copy_go() {
    let world = World::new(
        "2026-11-16T03:00:00Z",
        &["blog"],
        "daily_days = 1\nweekly_weeks = 1\ngrace = \"0s\"",
    );
    let process = world.healthy().await;
    let mut wrote = Vec::new();
    for day in 16..=22 {
        wrote.push(next_night(&world, &process, &format!("2026-11-{day}T03:00:00Z")).await);
    }
    assert!(matches!(process.pack().await, Ok(Outcome::Packed { .. })));
    // Weeks without a night, in which somebody writes into the bucket what looks like twenty of them.
    let bucket = world.bucket.as_ref();
    let bytes = read_small(bucket, &wrote[0], 1 << 20)
        .await
        .unwrap()
        .unwrap();
    let text = read_small(bucket, &wrote[0].manifest(), 1 << 20).await;
    let text = text.unwrap().unwrap();
    let mut planted = Vec::new();
    for day in 1..=20 {
        world
            .clock
            .go_to(at(&format!("2026-12-{day:02}T04:00:00Z")));
        let mut manifest: Manifest = serde_json::from_slice(&text).unwrap();
        manifest.key = format!("daily/2026-12-{day:02}/blog.sql").parse().unwrap();
        manifest.date = format!("2026-12-{day:02}").parse().unwrap();
        manifest.completed_at = format!("2026-12-{day:02}T03:00:00.000Z");
        plant(&world, &manifest, &bytes).await;
        planted.push(manifest.key);
    }
    let report = process.reconcile().await;
    assert_eq!(report.adopted.len(), planted.len());
    let last = wrote.last().unwrap();
    assert_eq!(
        (&held(&process)[0].key, held(&process)[0].is_unconfirmed),
        (last, false)
    );
    assert!(
        held(&process)
            .iter()
            .all(|held| held.is_unconfirmed == planted.contains(&held.key))
    );
    assert_eq!(fresh_at(&world, &process), Some(at("2026-11-22T03:00:00Z")));
    assert_eq!(stale::run(&process.wiring).unwrap().stale, 1);
    let catalog = &process.wiring.catalog;
    assert_eq!(
        catalog.newest_good(&name("blog")).unwrap().unwrap().key,
        *last
    );
    // Also with every byte as their manifests say.
    process.verify(Scope::All).await;
    assert_eq!(held(&process)[0].key, *last);
    for _ in 0..3 {
        let report = process.expire(Guards::all()).await;
        let deleted: Vec<_> = report
            .deleted
            .iter()
            .filter(|key| key.as_str().starts_with("weekly"))
            .collect();
        assert!(deleted.is_empty(), "{report:?}");
        assert!(
            report.deleted.iter().all(|key| !planted.contains(key)),
            "{report:?}"
        );
    }
    assert_eq!(
        held(&process)
            .iter()
            .filter(|held| wrote.contains(&held.key))
            .count(),
        wrote.len()
    );
    // The next night is the newest, and a person may say that all of them are this installation's.
    let next = next_night(&world, &process, "2026-12-21T03:00:00Z").await;
    assert_eq!(held(&process)[0].key, next);
    process.rebuild().await;
    assert!(held(&process).iter().all(|held| !held.is_unconfirmed));
    assert_eq!(
        (&held(&process)[0].key, &held(&process)[1].key),
        (&next, &planted[19])
    );
}

#[tokio::test]
async fn a_planted_archive_of_a_week_covers_none_of_its_copies() {
    let world = World::new(
        "2026-11-16T03:00:00Z",
        &["blog"],
        "daily_days = 1\ngrace = \"0s\"",
    );
    let process = world.healthy().await;
    for day in 16..=22 {
        next_night(&world, &process, &format!("2026-11-{day}T03:00:00Z")).await;
    }
    // The same installation's, by its id: made elsewhere, and put under the key of the week.
    let elsewhere = World::new("2026-11-22T03:00:00Z", &["blog"], "");
    let other = elsewhere.start_on(world.bucket.clone());
    other.rebuild().await;
    assert!(matches!(other.pack().await, Ok(Outcome::Packed { .. })));
    let report = process.reconcile().await;
    assert_eq!(report.adopted.len(), 1, "{report:?}");
    process.verify(Scope::All).await;
    world.clock.go_to(at("2026-11-29T03:00:00Z"));
    let report = process.expire(Guards::all()).await;
    assert!(report.deleted.is_empty(), "{report:?}");
    // The week is packed into the next one's archive, and that covers them.
    next_night(&world, &process, "2026-11-29T03:30:00Z").await;
    let packed = process.pack().await.unwrap();
    assert!(
        matches!(&packed, Outcome::Packed { manifest, .. } if manifest.members.len() == 8),
        "{packed:?}"
    );
    let report = process.expire(Guards::all()).await;
    assert!(!report.deleted.is_empty(), "{report:?}");
}

#[tokio::test]
async fn a_night_with_a_clock_that_ran_ahead_hides_no_later_one_and_makes_nothing_fresh() {
    let world = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let process = world.healthy().await;
    night(&world, &process, "2026-11-20T03:00:00Z").await;
    let wrong = night(&world, &process, "2026-12-11T03:00:00Z").await;

    // It is the last one, and nobody knows from when.
    world.clock.set(at("2026-11-21T09:00:00Z"));
    assert_eq!(held(&process)[0].key, wrong);
    assert_eq!(fresh_at(&world, &process), Some(at("2026-11-20T03:00:00Z")));

    let right = night(&world, &process, "2026-11-22T03:00:00Z").await;
    let catalog = &process.wiring.catalog;
    assert_eq!(held(&process)[0].key, right);
    assert_eq!(
        catalog.newest_good(&name("blog")).unwrap().unwrap().key,
        right
    );
    let listed = catalog.copies(&CopyFilter {
        limit: Some(1),
        ..CopyFilter::default()
    });
    assert_eq!(listed.unwrap()[0].key(), &right);
    assert_eq!(fresh_at(&world, &process), Some(at("2026-11-22T03:00:00Z")));
    let ahead = catalog.dated_ahead(world.clock.now()).unwrap();
    assert_eq!(Vec::from_iter(&ahead), [&wrong]);

    // No night since: the alarm is not silenced by it, not even when its day has come.
    for day in ["2026-11-30T03:00:00Z", "2026-12-11T03:30:00Z"] {
        world.clock.set(at(day));
        assert_eq!(stale::run(&process.wiring).unwrap().stale, 1, "{day}");
        assert_eq!(held(&process)[0].key, right);
    }
}

#[tokio::test]
async fn a_planted_manifest_from_the_future_is_neither_the_newest_copy_nor_a_fresh_one() {
    let world = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let process = world.healthy().await;
    let old = night(&world, &process, "2026-11-20T03:00:00Z").await;
    let last = night(&world, &process, "2026-11-21T03:00:00Z").await;
    let planted: ObjectKey = "daily/2031-01-01/blog.sql.zst".parse().unwrap();
    let bucket = world.bucket.as_ref();
    let bytes = read_small(bucket, &old, 1 << 20).await.unwrap().unwrap();
    let text = read_small(bucket, &old.manifest(), 1 << 20)
        .await
        .unwrap()
        .unwrap();
    let mut manifest: Manifest = serde_json::from_slice(&text).unwrap();
    manifest.key = planted.clone();
    manifest.date = "2031-01-01".parse().unwrap();
    manifest.completed_at = "2031-01-01T03:00:00.000Z".to_owned();
    plant(&world, &manifest, &bytes).await;
    // Its key says another database than it does.
    let lying: ObjectKey = "daily/2026-11-21/shop.sql.zst".parse().unwrap();
    manifest.key = lying.clone();
    plant(&world, &manifest, &bytes).await;

    let report = process.reconcile().await;
    assert_eq!(Vec::from_iter(&report.adopted), [&planted]);
    assert_eq!(report.untracked[0].0, lying.manifest());
    let held = held(&process);
    assert_eq!((&held[0].key, held[0].is_ahead), (&last, false));
    let found = held.iter().find(|held| held.key == planted).unwrap();
    assert!(found.is_ahead);
    assert_eq!(fresh_at(&world, &process), Some(at("2026-11-21T03:00:00Z")));
    world.clock.set(at("2031-01-01T04:00:00Z"));
    assert_eq!(stale::run(&process.wiring).unwrap().stale, 1);
}

async fn plant(world: &World, manifest: &Manifest, bytes: &[u8]) {
    let text = serde_json::to_vec(manifest).unwrap();
    let bucket = world.bucket.as_ref();
    bucket
        .create(&manifest.key, Body::Bytes(bytes))
        .await
        .unwrap();
    let key = manifest.key.manifest();
    bucket.create(&key, Body::Bytes(&text)).await.unwrap();
}

#[tokio::test]
async fn a_catalog_made_anew_takes_no_copy_from_the_future_for_the_newest() {
    let world = World::new("2026-11-20T03:00:00Z", &["blog"], "");
    let process = world.healthy().await;
    night(&world, &process, "2026-12-11T03:00:00Z").await;
    let right = night(&world, &process, "2026-11-21T03:00:00Z").await;
    drop(process);
    std::fs::remove_dir_all(world.state()).unwrap();
    let process = world.start([]);
    process.rebuild().await;
    let held = held(&process);
    assert_eq!((held.len(), &held[0].key), (2, &right));
    assert!(held[1].is_ahead);
    // It is told of, and the next night is the newest at once.
    let next = night(&world, &process, "2026-11-22T03:00:00Z").await;
    assert_eq!(self::held(&process)[0].key, next);
    let week = TimeDelta::days(7);
    world.clock.set(at("2026-11-22T03:00:00Z") + week);
    assert_eq!(stale::run(&process.wiring).unwrap().stale, 1);
}
