//! Archives outside of Patina, and members that cannot be packed.

use std::fs;
use std::process::Command;
use std::time::Duration;

use chrono::{DateTime, Utc};
use patina::catalog::{EventKind, Packed};
use patina::clock::Clock;
use patina::engine::pack::{Outcome, PackError};
use patina::engine::verify::Scope;
use patina::retention::Guards;
use patina::store::{Fault, Store, read_small};
use patina::types::{ObjectKey, Sha256};

use super::world::{Process, World};

async fn six_days() -> World {
    let world = World::new("2026-11-16T03:00:00Z", &["blog", "shop"], "");
    let process = world.healthy().await;
    for day in 16..=22 {
        world
            .clock
            .go_to(format!("2026-11-{day}T03:00:00Z").parse().unwrap());
        world.live_on("blog");
        process.night().await;
    }
    drop(process);
    world
}

fn week() -> ObjectKey {
    "weekly/2026-W47.tar.gz".parse().unwrap()
}

#[tokio::test]
async fn an_archive_opens_with_tar_and_sha256sum_alone() {
    let world = six_days().await;
    let process = world.healthy().await;
    process.pack().await.unwrap();
    let bytes = read_small(world.bucket.as_ref(), &week(), 1 << 20)
        .await
        .unwrap()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("week.tar.gz"), bytes).unwrap();
    let shell = |script: &str| {
        let output = Command::new("sh")
            .arg("-ec")
            .arg(script)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{script}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let names = shell("tar tzf week.tar.gz");
    let names: Vec<&str> = names.lines().collect();
    assert_eq!(
        names[..4],
        [
            "MANIFEST.json",
            "SHA256SUMS",
            "RUNBOOK.md",
            "daily/2026-11-16/blog.sql"
        ]
    );
    assert_eq!(names.len(), 3 + 14);
    assert!(
        names
            .iter()
            .skip(3)
            .is_sorted_by_key(|name| name.contains("shop")),
        "databases together"
    );
    let sums = shell("tar xzf week.tar.gz && sha256sum -c SHA256SUMS");
    assert_eq!(
        sums.lines().filter(|line| line.ends_with(": OK")).count(),
        1 + 14
    );
    let runbook = shell("cat RUNBOOK.md");
    for heading in [
        "# Disaster recovery runbook",
        "### 2. `shop`",
        "| `blog` | 2026-11-22 |",
    ] {
        assert!(runbook.contains(heading), "{runbook}");
    }
    let rows = shell(
        "sqlite3 x.db < daily/2026-11-22/blog.sql && sqlite3 x.db 'SELECT count(*) FROM nights'",
    );
    assert_eq!(rows.trim(), "7");
    let manifest: serde_json::Value = serde_json::from_str(&shell("cat MANIFEST.json")).unwrap();
    assert_eq!(manifest["week"], "2026-W47");
    assert_eq!(manifest["members"].as_array().unwrap().len(), 14);
}

#[tokio::test]
async fn a_damaged_copy_is_left_out_told_and_not_expired() {
    let world = six_days().await;
    let bad: ObjectKey = "daily/2026-11-17/blog.sql".parse().unwrap();
    world.bucket.damage(&bad, |bytes| bytes[100] ^= 1);
    let process = world.healthy().await;
    let Outcome::Packed { manifest, .. } = process.pack().await.unwrap() else {
        panic!("nothing was packed");
    };
    assert_eq!(manifest.members.len(), 13);
    assert_eq!(manifest.left_out.len(), 1);
    assert_eq!(manifest.left_out[0].key, bad);
    let events = process.wiring.catalog.events(10).unwrap();
    let kinds: Vec<EventKind> = events.iter().map(|event| event.kind).collect();
    assert!(kinds.contains(&EventKind::VerifyFailed), "{kinds:?}");
    assert!(kinds.contains(&EventKind::WeeklyCompleted), "{kinds:?}");
}

#[tokio::test]
async fn where_nothing_can_be_read_nothing_is_packed() {
    let world = six_days().await;
    let process = world.healthy().await;
    process
        .faults
        .set_always(Some(patina::store::Fault::Break { after_bytes: 10 }));
    let error = process.pack().await.unwrap_err();
    assert!(
        matches!(error, PackError::NothingReadable { count: 14, .. }),
        "{error}"
    );
    assert!(world.bucket.stat(&week()).await.unwrap().is_none());
    process.faults.set_always(None);
    let packed = process.pack().await.unwrap();
    assert!(matches!(packed, Outcome::Packed { manifest, .. } if manifest.members.len() == 14));
}

#[tokio::test]
async fn a_foreign_object_under_the_weeks_key_is_never_overwritten() {
    let world = six_days().await;
    world
        .bucket
        .create(&week(), patina::store::Body::Bytes(b"theirs"))
        .await
        .unwrap();
    let process = world.healthy().await;
    let error = process.pack().await.unwrap_err();
    assert!(matches!(error, PackError::Taken { .. }), "{error}");
    let bytes = read_small(world.bucket.as_ref(), &week(), 100)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bytes, b"theirs");
    assert_eq!(process.wiring.catalog.packed().unwrap(), []);
}

const RETENTION: &str = "daily_days = 1\ngrace = \"0s\"";

/// How long the archive of the test below is at least: over the 256 MiB up to which all of it is read back.
const LARGE_BYTES: usize = 257 * 1024 * 1024;

/// The same gzip member with empty blocks before its content, which make it large and change nothing that it holds.
fn padded(gzip: &[u8]) -> Vec<u8> {
    const HEADER_BYTES: usize = 10;
    const EMPTY_BLOCK: [u8; 5] = [0x00, 0x00, 0x00, 0xff, 0xff];
    assert_eq!(gzip[3], 0, "the header has no optional fields");
    let (header, content) = gzip.split_at(HEADER_BYTES);
    let padding = EMPTY_BLOCK.repeat(LARGE_BYTES / EMPTY_BLOCK.len());
    [header, &padding, content].concat()
}

/// A week whose archive was proven when its process died, before any storage was asked to take it.
async fn dies_before_it_stores(world: &World, calls: u64) -> Packed {
    // Object, read-back, manifest, read-back.
    let process = world.start([(calls - 3, Fault::Hang)]);
    let packing = process.pack();
    tokio::select! {
        packed = packing => panic!("{packed:?}"),
        () = async {
            while process.wiring.catalog.packed().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        } => {}
    }
    process.bury().await;
    process.wiring.catalog.packed().unwrap().remove(0)
}

#[tokio::test]
async fn an_archive_too_large_to_be_read_back_lets_no_copy_go_before_every_byte_was_read() {
    let world = World::new("2026-11-16T03:00:00Z", &["blog"], RETENTION);
    let process = world.healthy().await;
    let night = async |day: u64, process: &Process| {
        let morning: DateTime<Utc> = "2026-11-15T03:00:00Z".parse().unwrap();
        world.clock.go_to(morning + chrono::Days::new(day));
        world.live_on("blog");
        process.night().await;
    };
    for day in 1..=7 {
        night(day, &process).await;
    }
    let before = process.faults.calls();
    process.pack().await.unwrap();
    let calls = process.faults.calls() - before;
    for day in 8..=14 {
        night(day, &process).await;
    }
    drop(process);
    let mut packed = dies_before_it_stores(&world, calls).await;
    let large = padded(&fs::read(&packed.path).unwrap());
    packed.manifest.stored.sha256 = Sha256::of(&large);
    packed.manifest.stored.size_bytes = large.len() as u64;
    fs::write(&packed.path, large).unwrap();
    let process = world.start([]);
    process.wiring.catalog.pack(&packed).unwrap();
    assert_eq!(process.recover().await.packed, [packed.manifest.week]);

    let verified = || {
        let archive = process.wiring.catalog.archive(&packed.manifest.key);
        archive.unwrap().unwrap().placements[0].verified_at
    };
    assert_eq!(verified(), None);
    let second_week = |day: &str| format!("daily/2026-11-{day}/blog.sql");
    process.expire(Guards::all()).await;
    let left = world.objects().await;
    assert!(!left.contains(&second_week("20")), "{left:?}");
    for day in ["23", "24", "25", "26", "27"] {
        assert!(left.contains(&second_week(day)), "{left:?}");
    }

    let read = process.verify(Scope::Sampled).await;
    assert_eq!(read.len(), 1);
    assert!(read[0].found.is_ok(), "{read:?}");
    assert_eq!(verified(), Some(world.clock.now()));
    process.expire(Guards::all()).await;
    let left = world.objects().await;
    assert!(!left.contains(&second_week("23")), "{left:?}");
}
