//! Copies that are read again: damage is found, told, and stops expiry.

use patina::catalog::{CopyState, EventKind};
use patina::copy::{ReadingError, read_member};
use patina::engine::verify::Scope;
use patina::retention::Guards;
use patina::types::ObjectKey;

use super::world::{World, name};

async fn two_weeks() -> World {
    let world = World::new("2026-11-09T03:00:00Z", &["blog", "shop"], "");
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

#[tokio::test]
async fn every_byte_is_read_within_seven_nights() {
    let world = two_weeks().await;
    let process = world.healthy().await;
    let objects = world.objects().await.len();
    let mut read = std::collections::BTreeSet::new();
    for night in 23..=29 {
        world
            .clock
            .go_to(format!("2026-11-{night}T05:30:00Z").parse().unwrap());
        let findings = process.verify(Scope::Share).await;
        assert!(
            findings.len() < objects,
            "{} of {objects} in one night",
            findings.len()
        );
        for finding in findings {
            assert!(finding.found.is_ok(), "{finding:?}");
            read.insert(finding.target.key);
        }
    }
    assert_eq!(read.len(), objects);
}

#[tokio::test]
async fn a_flipped_bit_in_an_archive_is_found_told_and_freezes_every_database_in_it() {
    let world = two_weeks().await;
    let week: ObjectKey = "weekly/2026-W46.tar.gz".parse().unwrap();
    assert!(world.bucket.damage(&week, |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }));
    let process = world.healthy().await;
    let findings = process.verify(Scope::All).await;
    let wrong: Vec<_> = findings
        .iter()
        .filter(|finding| finding.found.is_err())
        .collect();
    assert_eq!(wrong.len(), 1);
    assert_eq!(wrong[0].target.key, week);
    assert!(matches!(wrong[0].found, Err(ReadingError::Damaged(_))));
    let archive = process.wiring.catalog.archive(&week).unwrap().unwrap();
    assert_eq!(archive.placements[0].state, CopyState::Corrupt);
    let events = process.wiring.catalog.events(10).unwrap();
    assert!(
        events
            .iter()
            .any(|event| event.kind == EventKind::VerifyFailed)
    );
    let now = patina::clock::Clock::now(world.clock.as_ref());
    let care = process.wiring.catalog.care(now).unwrap();
    assert!(care.frozen.contains_key(&name("blog")) && care.frozen.contains_key(&name("shop")));

    // Next Sunday something would go; it does once a person looked.
    for day in 23..=29 {
        world
            .clock
            .go_to(format!("2026-11-{day}T03:00:00Z").parse().unwrap());
        process.night().await;
    }
    process.pack().await.unwrap();
    let before = world.objects().await;
    let report = process.expire(Guards::all()).await;
    assert!(report.deleted.is_empty());
    assert_eq!(report.plan.refused.len(), 2, "{:?}", report.plan.refused);
    assert_eq!(world.objects().await, before);
    for database in ["blog", "shop"] {
        let now = patina::clock::Clock::now(world.clock.as_ref());
        assert!(
            process
                .wiring
                .catalog
                .acknowledge(&name(database), now)
                .unwrap()
        );
    }
    let report = process.expire(Guards::all()).await;
    assert!(!report.deleted.is_empty() && report.plan.refused.is_empty());
}

#[tokio::test]
async fn a_copy_is_read_out_of_its_archive_and_a_damage_behind_it_does_no_harm() {
    let world = two_weeks().await;
    let process = world.healthy().await;
    let week: ObjectKey = "weekly/2026-W46.tar.gz".parse().unwrap();
    let archive = process
        .wiring
        .catalog
        .archive(&week)
        .unwrap()
        .unwrap()
        .manifest;
    let first = archive.members[0].manifest.clone();
    let read = |key: ObjectKey| {
        let (bucket, archive) = (world.bucket.clone(), archive.clone());
        async move {
            let text = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
            let sink = {
                let text = text.clone();
                move |block: &[u8]| {
                    text.lock().unwrap().extend_from_slice(block);
                    Ok(())
                }
            };
            read_member(bucket.as_ref(), &archive, &key, &Default::default(), sink).await?;
            Ok::<_, ReadingError>(std::mem::take(&mut *text.lock().unwrap()))
        }
    };
    let text = read(first.key.clone()).await.unwrap();
    assert_eq!(patina::types::Sha256::of(&text), first.plain.sha256);
    assert!(String::from_utf8(text).unwrap().contains("nights"));

    world.bucket.damage(&week, |bytes| {
        let end = bytes.len() - 40;
        bytes[end] ^= 1;
    });
    read(first.key.clone()).await.unwrap();
    let last = archive.members[archive.members.len() - 1]
        .manifest
        .key
        .clone();
    let error = read(last).await.unwrap_err();
    assert!(matches!(error, ReadingError::Damaged(_)), "{error}");
}
