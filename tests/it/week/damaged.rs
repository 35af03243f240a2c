//! A source that is damaged and stays so: its last healthy copies outlive every age, and are there when they are wanted.

use std::collections::BTreeSet;
use std::path::Path;

use chrono::{Datelike, Days, NaiveDate, Weekday};
use patina::catalog::EventKind;
use patina::copy::{by_key, ways};
use patina::engine::backup::Outcome;
use patina::engine::restore::{Job, Origin, Overwrite, to_file};
use patina::engine::stale;
use patina::engine::verify::Scope;
use patina::http::metrics::{self, Vitals};
use patina::overview::{Overview, Safety};
use patina::retention::{Fate, Guards, Kept};
use patina::types::{EvidenceClass, ObjectKey};
use rusqlite::Connection;

use super::world::{Process, World, name};

/// The last day on which the source is whole is a Tuesday, so that it has copies of two weeks.
const FIRST: &str = "2026-01-05";
const HEALTHY_DAYS: u64 = 9;

/// An index that lacks rows of its table: SQLite reads the file, and finds it damaged.
pub(crate) fn damage(file: &Path) {
    let db = Connection::open(file).unwrap();
    db.execute_batch(
        "PRAGMA writable_schema = ON;
         CREATE TEMP TABLE kept AS SELECT * FROM main.sqlite_schema WHERE name = 'by_note';
         DELETE FROM main.sqlite_schema WHERE name = 'by_note';",
    )
    .unwrap();
    let kept: (String, String, String, i64, String) = db
        .query_row(
            "SELECT type, name, tbl_name, rootpage, sql FROM temp.kept",
            [],
            |row| {
                Ok((
                    row.get(0)?,
                    row.get(1)?,
                    row.get(2)?,
                    row.get(3)?,
                    row.get(4)?,
                ))
            },
        )
        .unwrap();
    db.close().unwrap();
    let db = Connection::open(file).unwrap();
    db.execute_batch("INSERT INTO nights VALUES ('unseen', 'no index has it')")
        .unwrap();
    db.execute_batch("PRAGMA writable_schema = ON").unwrap();
    db.execute(
        "INSERT INTO main.sqlite_schema (type, name, tbl_name, rootpage, sql) VALUES (?1, ?2, ?3, ?4, ?5)",
        kept,
    )
    .unwrap();
    db.close().unwrap();
    let db = Connection::open(file).unwrap();
    let found: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_ne!(found, "ok", "the source is damaged");
}

async fn night(world: &World, today: NaiveDate) -> Process {
    let process = world.healthy().await;
    world
        .clock
        .go_to(today.and_hms_opt(3, 0, 0).unwrap().and_utc());
    for database in ["shop", "blog"] {
        world.live_on(database);
    }
    let report = process.night().await;
    for entry in &report.databases {
        let Outcome::Stored { manifest, .. } = &entry.outcome else {
            panic!("{entry:?}");
        };
        let first: NaiveDate = FIRST.parse().unwrap();
        let is_hurt = entry.database.as_str() == "shop" && today >= first + Days::new(HEALTHY_DAYS);
        let class = if is_hurt {
            EvidenceClass::S
        } else {
            EvidenceClass::A
        };
        assert_eq!(manifest.class, class, "{today} {}", entry.database);
    }
    stale::run(&process.wiring).unwrap();
    process
}

fn events(process: &Process, kind: EventKind) -> usize {
    let events = process.wiring.catalog.events(10_000).unwrap();
    events.iter().filter(|event| event.kind == kind).count()
}

fn daily(today: NaiveDate, database: &str, ending: &str) -> String {
    format!("daily/{today}/{database}.{ending}")
}

/// Whether the copy of this day comes back with the rows that it had.
async fn comes_back(process: &Process, key: &str, rows: i64) {
    let key: ObjectKey = key.parse().unwrap();
    let catalog = &process.wiring.catalog;
    let found = by_key(&key, catalog).unwrap().unwrap();
    let origin = Origin::Stored {
        manifest: Box::new(found.manifest().clone()),
        ways: ways(&found, &process.wiring, catalog, None).unwrap(),
    };
    let job = Job {
        origin: &origin,
        tables: &[],
        progress: &std::sync::Arc::default(),
        stop: &process.stop,
    };
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("back.db");
    let now = patina::clock::Clock::now(process.wiring.clock.as_ref());
    to_file(&job, &target, Overwrite::Never, now).await.unwrap();
    let db = Connection::open(target).unwrap();
    let found: i64 = db
        .query_row("SELECT count(*) FROM nights", [], |row| row.get(0))
        .unwrap();
    assert_eq!(found, rows, "{key}");
}

#[tokio::test]
async fn after_a_quarter_of_a_damaged_source_its_healthy_copies_are_there_and_restorable() {
    let first: NaiveDate = FIRST.parse().unwrap();
    let world = World::new("2026-01-05T00:00:00Z", &["shop", "blog"], "");
    Connection::open(world.database("shop"))
        .unwrap()
        .execute_batch("CREATE INDEX by_note ON nights(note)")
        .unwrap();
    let healthy: Vec<String> = first
        .iter_days()
        .take(HEALTHY_DAYS as usize)
        .map(|day| daily(day, "shop", "sql"))
        .collect();
    let weeks = 15;
    for today in first.iter_days().take(weeks * 7) {
        if today == first + Days::new(HEALTHY_DAYS) {
            damage(&world.database("shop"));
        }
        let process = night(&world, today).await;
        if today.weekday() == Weekday::Sun {
            process.pack().await.unwrap();
            let report = process.expire(Guards::all()).await;
            assert!(report.failed.is_empty(), "{report:?}");
        }
        let objects = world.objects().await;
        for key in healthy
            .iter()
            .filter(|key| key.as_str() < daily(today, "z", "").as_str())
        {
            assert!(objects.contains(key), "{key} at the end of {today}");
        }
    }
    let last = first + Days::new(weeks as u64 * 7 - 1);
    let process = world.healthy().await;
    let objects = world.objects().await;
    // Archives hold good copies alone; the other database expired as ever.
    assert!(
        objects.contains("weekly/2026-W02.tar.gz") && objects.contains("weekly/2026-W03.tar.gz")
    );
    for archive in process.wiring.catalog.archives().unwrap() {
        for member in &archive.manifest.members {
            assert!(member.manifest.counts(), "{}", member.manifest.key);
        }
    }
    let blog: BTreeSet<_> = objects
        .iter()
        .filter(|key| key.ends_with("/blog.sql"))
        .collect();
    assert_eq!(blog.len(), 8, "{blog:?}");
    assert!(
        objects.contains(&daily(last, "shop", "sqlite")),
        "suspect copies are kept"
    );
    for (place, key) in healthy.iter().enumerate() {
        comes_back(&process, key, place as i64 + 1).await;
    }
    for finding in process.verify(Scope::All).await {
        assert!(finding.found.is_ok(), "{finding:?}");
    }
    is_told_everywhere(&process, &healthy).await;
}

/// The alert once, staleness, the plan, the overview and the metrics.
async fn is_told_everywhere(process: &Process, healthy: &[String]) {
    let wiring = &process.wiring;
    assert_eq!(events(process, EventKind::SuspectCopy), 1, "told once");
    let told = wiring.catalog.events(10_000).unwrap();
    let told = told
        .iter()
        .find(|event| event.kind == EventKind::SuspectCopy);
    let text = &told.unwrap().message;
    let last = healthy.last().unwrap();
    for part in [
        last.as_str(),
        "2026-01-13",
        "integrity_check",
        ".recover",
        "patina restore daily/",
    ] {
        assert!(text.contains(part), "`{part}` is not in {text}");
    }
    let conditions = wiring.catalog.conditions().unwrap();
    let is_there = |kind| {
        let mut all = conditions.iter();
        all.any(|one| one.kind == kind && one.scope == "shop")
    };
    assert!(is_there(EventKind::SuspectCopy) && is_there(EventKind::StaleBackup));
    let good = wiring.catalog.newest_good(&name("shop")).unwrap().unwrap();
    assert_eq!(good.key.as_str(), last);
    let plan = patina::engine::expire::plan(wiring, Guards::all())
        .await
        .unwrap();
    let held = plan
        .verdicts
        .iter()
        .find(|one| one.key.as_str() == healthy[0]);
    let Fate::Keep(Kept::Breaker(why)) = &held.unwrap().fate else {
        panic!("{held:?}");
    };
    assert!(why.contains("suspect"), "{why}");
    let overview = Overview::read(wiring).unwrap();
    let shop = overview
        .databases
        .iter()
        .find(|one| one.name.as_str() == "shop")
        .unwrap();
    assert!(shop.suspect.is_some() && shop.held.as_ref().unwrap().contains("suspect"));
    assert!(
        matches!(overview.safety, Safety::Stale { .. }),
        "{:?}",
        overview.safety
    );
    let metrics = metrics::render(&overview, &wiring.config, &Vitals::default());
    for line in [
        "backup_suspect{database=\"shop\"} 1.0",
        "backup_suspect{database=\"blog\"} 0.0",
        "backup_expiry_held{database=\"shop\"} 1.0",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test]
async fn a_repaired_source_ends_the_alert_and_expiry_goes_on_once_a_person_has_looked() {
    let first: NaiveDate = FIRST.parse().unwrap();
    let world = World::new("2026-01-05T00:00:00Z", &["shop", "blog"], "");
    Connection::open(world.database("shop"))
        .unwrap()
        .execute_batch("CREATE INDEX by_note ON nights(note)")
        .unwrap();
    for today in first.iter_days().take(21) {
        if today == first + Days::new(HEALTHY_DAYS) {
            damage(&world.database("shop"));
        }
        let process = night(&world, today).await;
        if today.weekday() == Weekday::Sun {
            process.pack().await.unwrap();
            process.expire(Guards::all()).await;
        }
    }
    Connection::open(world.database("shop"))
        .unwrap()
        .execute_batch("REINDEX")
        .unwrap();
    let repaired = first + Days::new(21);
    let process = world.healthy().await;
    world
        .clock
        .go_to(repaired.and_hms_opt(3, 0, 0).unwrap().and_utc());
    process.night().await;
    let good = process
        .wiring
        .catalog
        .newest_good(&name("shop"))
        .unwrap()
        .unwrap();
    assert_eq!(good.key.as_str(), daily(repaired, "shop", "sql"));
    let conditions = process.wiring.catalog.conditions().unwrap();
    let is_suspect = conditions
        .iter()
        .any(|one| one.kind == EventKind::SuspectCopy);
    assert!(!is_suspect, "{conditions:?}");
    let report = process.expire(Guards::all()).await;
    assert!(
        report.plan.refused.contains_key(&name("shop")),
        "{report:?}"
    );
    let now = patina::clock::Clock::now(process.wiring.clock.as_ref());
    process
        .wiring
        .catalog
        .acknowledge(&name("shop"), now)
        .unwrap();
    let report = process.expire(Guards::all()).await;
    assert!(report.plan.refused.is_empty(), "{report:?}");
    let deleted: BTreeSet<String> = report.deleted.iter().map(ToString::to_string).collect();
    assert!(
        deleted.contains("daily/2026-01-14/shop.sqlite"),
        "{deleted:?}"
    );
    // Every healthy day is in an archive still.
    for day in first.iter_days().take(HEALTHY_DAYS as usize) {
        let key = daily(day, "shop", "sql").parse().unwrap();
        let found = by_key(&key, &process.wiring.catalog).unwrap();
        assert!(found.is_some(), "{key}");
    }
}

#[tokio::test]
async fn a_catalog_that_was_lost_knows_from_the_manifests_what_is_suspect() {
    let first: NaiveDate = FIRST.parse().unwrap();
    let world = World::new("2026-01-05T00:00:00Z", &["shop", "blog"], "");
    Connection::open(world.database("shop"))
        .unwrap()
        .execute_batch("CREATE INDEX by_note ON nights(note)")
        .unwrap();
    for today in first.iter_days().take(HEALTHY_DAYS as usize + 2) {
        if today == first + Days::new(HEALTHY_DAYS) {
            damage(&world.database("shop"));
        }
        night(&world, today).await;
    }
    std::fs::remove_dir_all(world.state()).unwrap();
    let process = world.healthy().await;
    process.rebuild().await;
    let now = patina::clock::Clock::now(process.wiring.clock.as_ref());
    let care = process.wiring.catalog.care(now).unwrap();
    let suspect = &care.suspect[&name("shop")];
    assert_eq!(suspect.newest.as_str(), "daily/2026-01-15/shop.sqlite");
    assert!(care.held(now)[&name("shop")].contains("daily/2026-01-15/shop.sqlite"));
    assert!(!care.held(now).contains_key(&name("blog")));
}
