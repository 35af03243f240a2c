//! Holds the overview to what the catalog knows: every scene answers the one question, for the right reason.

mod metrics;
mod page;
pub(crate) mod scene;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::TimeDelta;
use patina::catalog::{Catalog, Holding};
use patina::config::AlertLevel;
use patina::overview::{DAYS_SHOWN, DatabaseOverview, Overview, Role, Safety, Staleness};
use patina::types::{JobId, ObjectKey};
use rusqlite::{Connection, params};

use self::scene::{NOW, Scene, day};
use crate::catalog::{at, manifest, name};

fn database<'a>(overview: &'a Overview, name: &str) -> &'a DatabaseOverview {
    let mut all = overview.databases.iter();
    all.find(|database| database.name.as_str() == name).unwrap()
}

fn holding(database: &DatabaseOverview, passed: usize) -> Option<Holding> {
    let day = database.strip[database.strip.len() - 1 - passed];
    assert_eq!(day.date, scene::day(passed as u64));
    day.holding
}

#[test]
fn before_the_first_backup_everything_is_there_and_nothing_is_safe() {
    let overview = Scene::empty().overview();
    assert_eq!(overview.safety, Safety::Nothing { databases: 4 });
    assert_eq!(overview.safety.level(), AlertLevel::Critical);
    let names: Vec<_> = overview
        .databases
        .iter()
        .map(|one| one.name.as_str())
        .collect();
    assert_eq!(
        names,
        ["groveauth", "scout-db", "autumnsgrove-posts", "own-hour"]
    );
    for database in &overview.databases {
        assert_eq!(database.strip.len() as u64, DAYS_SHOWN);
        assert!(database.strip.iter().all(|day| day.holding.is_none()));
        assert_eq!(database.staleness, Staleness::Critical);
    }
    assert_eq!(overview.storages.len(), 2);
    assert_eq!(overview.next_backup().unwrap().task, "backup own-hour");
}

#[test]
fn twelve_good_weeks_are_safe_and_every_day_of_them_is_held() {
    let overview = Scene::healthy().overview();
    let oldest = TimeDelta::hours(9) - TimeDelta::seconds(2);
    assert_eq!(
        overview.safety,
        Safety::Safe {
            databases: 4,
            oldest
        }
    );
    assert_eq!(
        overview.safety.to_string(),
        "Everything is safe. All 4 databases have a copy that was restored and compared, \
         none older than 9 hours."
    );
    let posts = database(&overview, "autumnsgrove-posts");
    let held: BTreeMap<_, usize> = posts.strip.iter().fold(BTreeMap::new(), |mut held, day| {
        *held.entry(format!("{:?}", day.holding)).or_default() += 1;
        held
    });
    assert_eq!(held["Some(Daily)"], 9);
    assert_eq!(held["Some(Archived)"], 75);
    let good = posts.last_good.as_ref().unwrap();
    assert_eq!(
        (good.size_bytes, good.tables),
        (posts.history.last().unwrap().1.size_bytes, 2)
    );
    assert_eq!(good.verified_at, Some(good.created_at));
    assert_eq!(good.storages, ["local", "second"]);
    let local = &overview.storages[0];
    assert_eq!(local.stock.objects, 9 * 4 + 11);
    assert_eq!((local.stock.unverified_bytes, local.stock.harmed), (0, 0));
    assert_eq!(local.stock.days, Some((day(85), day(0))));
    assert_eq!(
        (overview.totals.dailies, overview.totals.archives),
        (36, 11)
    );
    assert_eq!(overview.failures_24h, 0);
    assert_eq!(overview.jobs.len(), 10);
    assert_eq!(overview.last_success, overview.last_ended);
}

#[test]
fn trouble_is_told_by_its_worst_part() {
    let overview = Scene::failing().overview();
    let Safety::Stale { databases, oldest } = &overview.safety else {
        panic!("{:?}", overview.safety)
    };
    assert_eq!(*databases, [name("own-hour")]);
    assert_eq!(oldest.num_days(), 10);
    let scout = database(&overview, "scout-db");
    assert_eq!(
        (scout.staleness, scout.failures_in_a_row),
        (Staleness::Warning, 5)
    );
    let failure = scout.current_failure().unwrap();
    assert!(
        failure
            .error_message
            .as_ref()
            .unwrap()
            .contains("unable to open")
    );
    assert_eq!(holding(scout, 4), None);
    assert_eq!(holding(scout, 5), Some(Holding::Daily));
    let auth = database(&overview, "groveauth");
    assert_eq!(holding(auth, 6), Some(Holding::Damaged));
    assert_eq!(auth.staleness, Staleness::Ok);
    let retired = overview.databases.last().unwrap();
    assert_eq!(
        (retired.name.as_str(), &retired.role),
        ("old-shop", &Role::Retired)
    );
    assert_eq!(retired.staleness, Staleness::Retired);
    assert_eq!((overview.failures_24h, overview.harmed_count), (2, 2));
    assert_eq!(
        overview.harmed[0].damage.as_deref(),
        Some("its bytes hash to 1f0c…")
    );
    assert_eq!(overview.jobs[0].failures.len(), 2);
}

#[test]
fn a_copy_that_lies_in_an_archive_alone_is_the_last_good_one() {
    let scene = Scene::healthy();
    for passed in 0..=8 {
        for storage in ["local", "second"] {
            let key: ObjectKey = format!("daily/{}/scout-db.sql.zst", day(passed))
                .parse()
                .unwrap();
            let found = at(NOW);
            let damage = patina::catalog::Damage::Missing;
            scene
                .catalog
                .mark_damaged(&key, storage, damage, "gone", found)
                .unwrap();
        }
    }
    let overview = scene.overview();
    let good = database(&overview, "scout-db").last_good.as_ref().unwrap();
    assert_eq!(good.date, day(9));
    assert_eq!(
        good.archive.as_ref().unwrap().as_str(),
        "weekly/2026-W46.tar.gz"
    );
    assert!(good.rows > 1_000);
}

#[test]
fn a_copy_that_expiry_chose_is_held_no_more() {
    let scene = Scene::healthy();
    let key: ObjectKey = format!("daily/{}/scout-db.sql.zst", day(8))
        .parse()
        .unwrap();
    assert_eq!(
        holding(database(&scene.overview(), "scout-db"), 8),
        Some(Holding::Daily)
    );
    let connection = Connection::open(scene.catalog.path()).unwrap();
    let mark = "UPDATE backup_inventory SET deleted_at = 1 WHERE r2_key = ?";
    assert_eq!(connection.execute(mark, [key.as_str()]).unwrap(), 1);
    assert_eq!(holding(database(&scene.overview(), "scout-db"), 8), None);
}

#[test]
fn a_running_job_is_seen_beside_the_past_ones() {
    let (scene, run) = Scene::running();
    let overview = scene.overview();
    assert_eq!(overview.running.len(), 1);
    assert_eq!(overview.running[0].id, run.id());
    assert_eq!(overview.jobs[0].job.id, run.id());
    assert!(matches!(overview.safety, Safety::Safe { .. }));
}

#[test]
fn every_task_of_the_daemon_is_among_the_next_runs() {
    let scene = Scene::empty();
    let overview = scene.overview();
    let table = patina::daemon::table(&scene.config);
    assert!(table.len() >= 5, "the daemon's table moved?");
    let zone = scene.config.agent().timezone;
    for job in table {
        let run = overview.next_runs.iter().find(|run| run.task == job.name);
        let run = run.unwrap_or_else(|| panic!("`{}` is not told of", job.name));
        assert_eq!(
            Some(run.at),
            job.schedule.next_after(zone, at(NOW)),
            "{}",
            job.name
        );
    }
}

#[test]
fn a_look_at_a_hundred_thousand_copies_takes_well_under_a_second() {
    const COPIES: u64 = 100_000;
    let scene = Scene::empty();
    fill(&scene.catalog, COPIES);
    let overview = scene.overview();
    assert_eq!(overview.totals.dailies, COPIES);
    assert_eq!(overview.databases.len(), 104);
    let began = cpu_time();
    let looks = 3;
    for _ in 0..looks {
        scene.overview();
    }
    let each = (cpu_time() - began) / looks;
    println!("a look at {COPIES} copies takes {each:?}");
    assert!(each < Duration::from_millis(600), "{each:?}");
}

/// What this thread has computed so far: how long it waited for others says nothing about a query.
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap()
}

/// Copies of a hundred databases, with manifests as large as real ones.
fn fill(catalog: &Catalog, copies: u64) {
    let mut connection = Connection::open(catalog.path()).unwrap();
    let template = manifest(JobId::random(), "db", "2026-11-24");
    let text = serde_json::to_string(&template).unwrap();
    let transaction = connection.transaction().unwrap();
    for number in 0..copies {
        let (database, passed) = (format!("db{}", number % 100), number / 100);
        let date = day(passed).to_string();
        let key = format!("daily/{date}/{database}.sql.zst");
        transaction
            .execute(
                "INSERT INTO copies (r2_key, storage, database_name, backup_date, job_id, state,
                    stored_sha256, stored_bytes, plain_sha256, plain_bytes, compression, class,
                    row_count, table_count, incomplete, created_at, manifest)
                 VALUES (?, 'local', ?, ?, 'j', 'live', '', 100, '', 400, 'zstd', 'A', 3, 2, 0, ?, ?)",
                params![key, database, date, 1_700_000_000 + number, text],
            )
            .unwrap();
        transaction
            .execute(
                "INSERT INTO backup_inventory (r2_key, database_name, backup_date, size_bytes,
                    created_at, expires_at) VALUES (?, ?, ?, 100, 0, 0)",
                params![key, database, date],
            )
            .unwrap();
    }
    transaction.commit().unwrap();
}
