//! Holds the catalog to its rows: what was written together is read together, and nothing else.

use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{
    Adoption, Catalog, CatalogError, Committed, CopyFilter, CopyState, Damage, JobStatus, NewJob,
    Record, ResultStatus, Run, Spooled,
};
use patina::types::{
    BackupDate, CheckFacts, Compression, CopyForm, DatabaseName, EvidenceClass, Health, JobId,
    Manifest, ObjectKey, PlainFacts, Sha256, SourceEvidence, SourceFacts, StoredFacts,
    TableEvidence, Trigger,
};
use rusqlite::Connection;
use tempfile::TempDir;

pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

pub(crate) fn name(text: &str) -> DatabaseName {
    text.parse().unwrap()
}

/// A manifest of three rows in two tables; the bytes depend on the key.
pub(crate) fn manifest(job: JobId, database: &str, date: &str) -> Manifest {
    let date: BackupDate = date.parse().unwrap();
    let key = ObjectKey::daily(
        date,
        &name(database),
        None,
        CopyForm::Sql,
        Compression::Zstd,
    );
    let table = |name: &str, rows| TableEvidence {
        name: name.to_owned(),
        rows,
        hash: Some([7; 32].into()),
        omitted: None,
    };
    Manifest {
        format: 1,
        instance: "one".to_owned(),
        database: name(database),
        date,
        zone: "UTC".to_owned(),
        job,
        source: SourceFacts {
            kind: "sqlite".to_owned(),
            id: "/srv/x.db".to_owned(),
            bookmark: None,
            method: None,
            method_reason: None,
        },
        started_at: format!("{date}T03:00:00Z"),
        completed_at: format!("{date}T03:00:02Z"),
        plain: PlainFacts {
            sha256: Sha256::of(b"plain"),
            size_bytes: 400,
        },
        stored: StoredFacts {
            sha256: Sha256::of(key.as_str().as_bytes()),
            size_bytes: 100,
            compression: Compression::Zstd,
        },
        key,
        database_bytes: None,
        evidence: SourceEvidence {
            tables: vec![table("a", 1), table("b", 2)],
            schema: Sha256::of(b"schema"),
            user_version: 0,
            application_id: 0,
            foreign_key_violations: 0,
        },
        class: EvidenceClass::A,
        check: Some(CheckFacts {
            schema_entries: 2,
            tables: 2,
            rows: 3,
            digest: Sha256::of(b"inventory"),
            health: Some(Health::Ok),
        }),
        exceptions: Vec::new(),
        incomplete: false,
        warnings: Vec::new(),
        sqlite_version: "3.51.3".to_owned(),
        patina_version: "0.1.0".to_owned(),
    }
}

pub(crate) fn committed<'a>(manifest: &'a Manifest, storages: &[&str]) -> Committed<'a> {
    let started_at = at(&manifest.started_at);
    Committed {
        is_read_whole: true,
        database_id: "uuid".to_owned(),
        manifest,
        storages: storages.iter().map(|&storage| storage.to_owned()).collect(),
        degraded: Vec::new(),
        started_at,
        completed_at: started_at + TimeDelta::milliseconds(2500),
        expires_at: started_at + TimeDelta::days(7),
    }
}

pub(crate) fn new_job(started_at: DateTime<Utc>) -> NewJob {
    NewJob {
        id: JobId::random(),
        trigger: Trigger::Manual,
        reason: Some("before the upgrade".to_owned()),
        databases: 3,
        started_at,
    }
}

pub(crate) fn spooled(manifest: &Manifest) -> Spooled {
    Spooled {
        database: manifest.database.clone(),
        path: PathBuf::from("/state/spool/x.ready"),
        manifest: manifest.clone(),
        created_at: at(&manifest.completed_at),
    }
}

pub(crate) fn fresh() -> (TempDir, Catalog) {
    let folder = TempDir::new().unwrap();
    let catalog = Catalog::open(&folder.path().join("catalog.db")).unwrap();
    (folder, catalog)
}

pub(crate) fn begin(catalog: &Catalog, day: &str) -> Run {
    catalog
        .begin(new_job(at(&format!("{day}T03:00:00Z"))))
        .unwrap()
}

/// Backs up `database` on `day` in a job of its own.
pub(crate) fn backup(
    catalog: &Catalog,
    database: &str,
    day: &str,
    change: impl FnOnce(&mut Manifest),
) -> ObjectKey {
    let run = begin(catalog, day);
    let mut manifest = manifest(run.id(), database, day);
    change(&mut manifest);
    run.succeed(&committed(&manifest, &["r2", "nas"])).unwrap();
    run.finish(at(&format!("{day}T03:01:00Z"))).unwrap();
    manifest.key
}

#[test]
fn a_job_counts_what_became_of_its_databases() {
    let (_folder, catalog) = fresh();
    let run = begin(&catalog, "2026-11-22");
    let job = catalog.job(run.id()).unwrap().unwrap();
    assert_eq!(job.status, JobStatus::Running);
    assert_eq!(job.reason.as_deref(), Some("before the upgrade"));
    assert_eq!((job.completed_at, job.duration_ms), (None, None));

    let good = manifest(run.id(), "orders", "2026-11-22");
    let mut committed = committed(&good, &["r2"]);
    committed.degraded = vec!["storage `nas`: no space left".to_owned()];
    run.spooled(&spooled(&good)).unwrap();
    assert_eq!(catalog.spooled().unwrap(), [(run.id(), spooled(&good))]);
    run.succeed(&committed).unwrap();
    assert!(catalog.spooled().unwrap().is_empty());
    let (start, end) = (at("2026-11-22T03:00:03Z"), at("2026-11-22T03:00:04.250Z"));
    run.fail_database(&name("users"), "u", "timeout after 30 s", start, end)
        .unwrap();
    run.skip_database(&name("logs"), "l", "hook said no", start, end)
        .unwrap();

    let results = catalog.results(run.id()).unwrap();
    let [success, failed, skipped] = &results[..] else {
        panic!("{results:?}")
    };
    assert_eq!(success.status, ResultStatus::Success);
    assert_eq!(success.key.as_ref(), Some(&good.key));
    assert_eq!(success.size_bytes, Some(100));
    assert_eq!((success.table_count, success.row_count), (Some(2), Some(3)));
    assert_eq!(success.duration_ms, Some(2500));
    assert_eq!(failed.status, ResultStatus::Failed);
    assert_eq!(failed.error_message.as_deref(), Some("timeout after 30 s"));
    assert_eq!(
        (failed.duration_ms, failed.key.as_ref()),
        (Some(1250), None)
    );
    assert_eq!(skipped.status, ResultStatus::Skipped);
    assert_eq!(skipped.database, name("logs"));

    let job = run.finish(at("2026-11-22T03:00:45.500Z")).unwrap();
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(job.degraded, ["storage `nas`: no space left"]);
    assert_eq!(
        (job.total, job.successful, job.failed, job.skipped),
        (3, 1, 1, 1)
    );
    assert_eq!((job.total_size_bytes, job.duration_ms), (100, Some(45_500)));
    assert_eq!(catalog.jobs(10).unwrap(), [job]);
}

#[test]
fn a_job_ends_by_its_worst_database() {
    let (_folder, catalog) = fresh();
    let time = at("2026-11-22T03:01:00Z");
    let job = begin(&catalog, "2026-11-22").finish(time).unwrap();
    assert_eq!(job.status, JobStatus::Completed);
    let run = begin(&catalog, "2026-11-22");
    let spool = spooled(&manifest(run.id(), "orders", "2026-11-22"));
    run.spooled(&spool).unwrap();
    run.interrupt_database(&name("orders"), "o", "stopped", time, time)
        .unwrap();
    assert_eq!(catalog.spooled().unwrap().len(), 1);
    assert_eq!(run.finish(time).unwrap().status, JobStatus::Interrupted);
    let run = begin(&catalog, "2026-11-22");
    let job = run.fail("the state directory is full", time).unwrap();
    assert_eq!(job.status, JobStatus::Failed);
    assert_eq!(
        job.error_message.as_deref(),
        Some("the state directory is full")
    );
}

#[test]
fn a_job_of_a_dead_process_is_interrupted_and_its_dump_is_settled_once() {
    let (_folder, catalog) = fresh();
    let run = begin(&catalog, "2026-11-22");
    let id = run.id();
    let (one, two) = (
        manifest(id, "orders", "2026-11-22"),
        manifest(id, "users", "2026-11-22"),
    );
    run.spooled(&spooled(&one)).unwrap();
    run.spooled(&spooled(&two)).unwrap();
    let now = at("2026-11-22T09:00:00Z");
    assert_eq!(catalog.interrupt_running(now).unwrap(), [id]);
    assert!(catalog.interrupt_running(now).unwrap().is_empty());
    let error = run.finish(now).unwrap_err();
    assert!(matches!(error, CatalogError::NotRunning { .. }), "{error}");

    catalog
        .settle_spooled(id, &committed(&one, &["r2"]))
        .unwrap();
    let error = catalog
        .settle_spooled(id, &committed(&one, &["r2"]))
        .unwrap_err();
    assert!(matches!(error, CatalogError::NotSpooled { .. }), "{error}");
    catalog.discard_spooled(id, &two.database).unwrap();
    catalog.discard_spooled(id, &two.database).unwrap_err();
    assert!(catalog.spooled().unwrap().is_empty());

    let job = catalog.job(id).unwrap().unwrap();
    assert_eq!((job.status, job.successful), (JobStatus::Interrupted, 1));
    assert_eq!(
        job.error_message.as_deref(),
        Some("the process ended before the job did")
    );
    assert_eq!((job.completed_at, job.duration_ms), (Some(now), None));
    assert!(catalog.copy(&one.key).unwrap().is_some());
    assert!(catalog.copy(&two.key).unwrap().is_none());
}

#[test]
fn a_backup_that_may_not_count_leaves_no_row() {
    let (_folder, catalog) = fresh();
    let key = backup(&catalog, "orders", "2026-11-22", |_| ());
    let run = begin(&catalog, "2026-11-22");
    let mut other = manifest(run.id(), "orders", "2026-11-22");
    let error = run.succeed(&committed(&other, &[])).unwrap_err();
    assert!(matches!(error, CatalogError::Unstored { .. }), "{error}");
    other.stored.sha256 = Sha256::of(b"other bytes");
    let error = run.succeed(&committed(&other, &["new", "r2"])).unwrap_err();
    assert!(matches!(error, CatalogError::Conflict { .. }), "{error}");
    assert!(catalog.results(run.id()).unwrap().is_empty());
    assert_eq!(catalog.copy(&key).unwrap().unwrap().placements.len(), 2);
    assert_eq!(
        run.finish(at("2026-11-22T03:01:00Z")).unwrap().successful,
        0
    );
}

#[test]
fn copies_are_listed_newest_first_with_all_their_storages() {
    let (_folder, catalog) = fresh();
    let old = backup(&catalog, "orders", "2026-11-20", |_| ());
    let other = backup(&catalog, "users", "2026-11-21", |_| ());
    let new = backup(&catalog, "orders", "2026-11-22", |_| ());
    let keys = |filter: CopyFilter| -> Vec<ObjectKey> {
        let copies = catalog.copies(&filter).unwrap();
        assert!(copies.iter().all(|copy| copy.placements.len() == 2));
        copies.iter().map(|copy| copy.key().clone()).collect()
    };
    let all = CopyFilter::default();
    assert_eq!(keys(all.clone()), [&new, &other, &old].map(Clone::clone));
    let limit = Some(2);
    assert_eq!(
        keys(CopyFilter {
            limit,
            ..all.clone()
        }),
        [new.clone(), other.clone()]
    );
    let database = Some(name("orders"));
    assert_eq!(
        keys(CopyFilter {
            database,
            ..all.clone()
        }),
        [new.clone(), old]
    );
    let date = Some("2026-11-21".parse().unwrap());
    assert_eq!(keys(CopyFilter { date, ..all }), [other]);

    let copy = catalog.copy(&new).unwrap().unwrap();
    let storages = copy
        .placements
        .iter()
        .map(|placement| placement.storage.as_str());
    assert_eq!(storages.collect::<Vec<_>>(), ["nas", "r2"]);
    assert_eq!(copy.created_at, at("2026-11-22T03:00:02Z"));
    assert_eq!(copy.placements[0].verified_at, Some(copy.created_at));
}

#[test]
fn the_last_good_copy_is_complete_compared_and_live_somewhere() {
    let (_folder, catalog) = fresh();
    let orders = name("orders");
    assert_eq!(catalog.newest_good(&orders).unwrap(), None);
    let last = || catalog.newest_good(&orders).unwrap().map(|good| good.key);
    let first = backup(&catalog, "orders", "2026-11-20", |_| ());
    let second = backup(&catalog, "orders", "2026-11-21", |copy| {
        copy.class = EvidenceClass::B
    });
    backup(&catalog, "orders", "2026-11-22", |copy| {
        copy.class = EvidenceClass::C
    });
    backup(&catalog, "orders", "2026-11-23", |copy| {
        copy.incomplete = true
    });
    assert_eq!(last().as_ref(), Some(&second));

    catalog
        .mark_damaged(
            &second,
            "r2",
            Damage::Missing,
            "gone twice",
            at("2026-11-24T00:00:00Z"),
        )
        .unwrap();
    assert_eq!(last().as_ref(), Some(&second));
    catalog
        .mark_damaged(
            &second,
            "nas",
            Damage::Corrupt,
            "hash differs",
            at("2026-11-24T00:00:00Z"),
        )
        .unwrap();
    assert_eq!(last().as_ref(), Some(&first));
    let copy = catalog.copy(&second).unwrap().unwrap();
    assert_eq!(copy.live().count(), 0);
    assert_eq!(copy.placements[0].state, CopyState::Corrupt);
    assert_eq!(copy.placements[0].damage.as_deref(), Some("hash differs"));

    let now = at("2026-11-24T00:00:00Z");
    catalog.mark_verified(&second, "nas", now).unwrap();
    assert_eq!(last().as_ref(), Some(&second));
    let copy = catalog.copy(&second).unwrap().unwrap();
    assert_eq!(
        (copy.placements[0].verified_at, &copy.placements[0].damage),
        (Some(now), &None)
    );
    let error = catalog
        .mark_verified(&second, "elsewhere", now)
        .unwrap_err();
    assert!(matches!(error, CatalogError::NoSuchCopy { .. }), "{error}");
}

#[test]
fn a_daily_key_is_taken_from_the_spool_on() {
    let (_folder, catalog) = fresh();
    let taken = |day: &str, database: &str| {
        catalog
            .daily_key_taken(day.parse().unwrap(), &name(database))
            .unwrap()
    };
    let run = begin(&catalog, "2026-11-22");
    let copy = manifest(run.id(), "orders", "2026-11-22");
    assert!(!taken("2026-11-22", "orders"));
    run.spooled(&spooled(&copy)).unwrap();
    assert!(taken("2026-11-22", "orders"));
    run.succeed(&committed(&copy, &["r2"])).unwrap();
    assert!(taken("2026-11-22", "orders"));
    assert!(!taken("2026-11-23", "orders") && !taken("2026-11-22", "order"));
    backup(&catalog, "late", "2026-11-22", |copy| {
        copy.key = "daily/2026-11-22/late~040000Z.sql.zst".parse().unwrap();
    });
    assert!(!taken("2026-11-22", "late"));
}

#[test]
fn an_adopted_copy_was_never_verified_and_changes_no_known_one() {
    let (_folder, catalog) = fresh();
    let known = backup(&catalog, "orders", "2026-11-22", |_| ());
    catalog
        .mark_damaged(
            &known,
            "r2",
            Damage::Corrupt,
            "hash differs",
            at("2026-11-24T00:00:00Z"),
        )
        .unwrap();
    let adopt = |manifest: &Manifest| {
        let adoption = Adoption {
            record: Record::Daily(Box::new(manifest.clone())),
            created_at: at("2026-11-22T03:00:00Z"),
            expires_at: at("2026-11-29T03:00:00Z"),
            made_at: at("2026-11-22T03:00:00Z"),
            is_ahead: false,
            is_unconfirmed: false,
        };
        catalog.adopt_all("r2", &[adoption]).unwrap()
    };
    let strange = manifest(JobId::random(), "users", "2026-11-22");
    assert_eq!(adopt(&strange), []);
    assert_eq!(adopt(&strange), []);
    let copy = catalog.copy(&strange.key).unwrap().unwrap();
    assert_eq!(copy.manifest, strange);
    assert_eq!(
        (copy.placements.len(), copy.placements[0].verified_at),
        (1, None)
    );

    let before = catalog.copy(&known).unwrap().unwrap();
    adopt(&before.manifest);
    assert_eq!(catalog.copy(&known).unwrap().unwrap(), before);
    let mut other = before.manifest;
    other.stored.sha256 = Sha256::of(b"other");
    let refused = adopt(&other);
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].0, known);
}

#[test]
fn the_inventory_has_one_row_per_key_however_many_storages_hold_it() {
    let (_folder, catalog) = fresh();
    let key = backup(&catalog, "orders", "2026-11-22", |_| ());
    let connection = Connection::open(catalog.path()).unwrap();
    let sql = "SELECT r2_key, size_bytes, table_count, created_at, expires_at, deleted_at
               FROM backup_inventory";
    let mut statement = connection.prepare(sql).unwrap();
    type Line = (String, i64, i64, i64, i64, Option<i64>);
    let rows = statement.query_map([], |row| Line::try_from(row)).unwrap();
    let rows: Vec<Line> = rows.map(Result::unwrap).collect();
    let start = at("2026-11-22T03:00:00Z").timestamp();
    let line = (key.to_string(), 100, 2, start + 2, start + 7 * 86_400, None);
    assert_eq!(rows, [line]);
}
