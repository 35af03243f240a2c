//! Builds catalogs of twelve weeks: an empty one, a healthy one, one in trouble, one at work.

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{
    Catalog, Committed, CommittedArchive, Damage, NewJob, News, Rehearsal, RehearsalOutcome,
    Rehearsed, Run,
};
use patina::clock::{Clock, ManualClock};
use patina::config::Config;
use patina::overview::Overview;
use patina::types::{
    ARCHIVE_FORMAT, ArchiveManifest, ArchiveMember, BackupDate, CheckFacts, Compression, Health,
    JobId, Manifest, ObjectKey, Sha256, StoredFacts, Trigger,
};
use patina::wiring::{Moment, Wiring};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::catalog::{at, manifest, name};

/// What every scene is looked at.
pub(crate) const NOW: &str = "2026-11-24T12:00:00Z";

/// Names, priorities and first sizes of the databases.
const DATABASES: [(&str, &str, u64); 4] = [
    ("groveauth", "critical", 41_000),
    ("scout-db", "high", 318_000),
    ("autumnsgrove-posts", "normal", 96_000),
    ("own-hour", "normal", 12_500),
];

/// A catalog and the configuration it belongs to.
pub(crate) struct Scene {
    pub(crate) catalog: Catalog,
    pub(crate) config: Arc<Config>,
    _folder: TempDir,
}

/// The configuration of every scene, in `folder`.
fn config_text(folder: &Path) -> String {
    let mut text = format!(
        "[agent]\nname = \"grove\"\nstate = \"{0}/state\"\ntimezone = \"Europe/Berlin\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [[storage]]\nname = \"local\"\ndirectory = \"{0}/backups\"\n\
         [[storage]]\nname = \"second\"\ndirectory = \"{0}/second\"\n",
        folder.display()
    );
    for (name, priority, _) in DATABASES {
        let own = if name == "own-hour" {
            "schedule = \"30 * * * *\"\n"
        } else {
            ""
        };
        text.push_str(&format!(
            "[[database]]\nname = \"{name}\"\nsqlite = \"{}/{name}.db\"\npriority = \"{priority}\"\n{own}",
            folder.display()
        ));
    }
    text
}

impl Scene {
    /// Nothing was ever backed up.
    pub(crate) fn empty() -> Self {
        // A thousand commits are made durable at once where nothing has to be.
        let folder = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        let folder = folder.unwrap();
        let text = config_text(folder.path());
        let path = folder.path().join("patina.toml");
        std::fs::write(&path, &text).unwrap();
        for (name, ..) in DATABASES {
            std::fs::write(folder.path().join(format!("{name}.db")), []).unwrap();
        }
        let loaded = Config::load(&path).unwrap();
        let catalog = Catalog::open(&folder.path().join("state/catalog.db")).unwrap();
        Self {
            catalog,
            config: Arc::new(loaded.config),
            _folder: folder,
        }
    }

    /// Twelve weeks of good nights, packed every Sunday, the older dailies gone.
    pub(crate) fn healthy() -> Self {
        let scene = Self::empty();
        scene.catalog.take_over("one").unwrap();
        for week in (1..=11).rev() {
            scene.week(week);
        }
        for passed in (0..=8).rev() {
            scene.night(day(passed), passed, &[]);
        }
        scene.rehearse("2026-11-01T06:00:00Z", &[]);
        scene
    }

    /// The worst day, rehearsed; of the named databases the copy was damaged.
    fn rehearse(&self, began: &str, damaged: &[&str]) {
        let results = DATABASES.into_iter().map(|(database, _, size)| {
            let is_damaged = damaged.contains(&database);
            Rehearsed {
                database: name(database),
                outcome: match is_damaged {
                    true => RehearsalOutcome::Damaged,
                    false => RehearsalOutcome::Proven,
                },
                key: None,
                storage: Some("local".to_owned()),
                read_bytes: size,
                plain_bytes: 3 * size,
                rows: size / 100,
                duration_ms: 45_000,
                message: is_damaged.then(|| "its bytes hash to 1f0c…".to_owned()),
            }
        });
        let rehearsal = Rehearsal {
            started_at: at(began),
            duration_ms: 185_000,
            trigger: Trigger::Scheduled,
            is_cold: true,
            storage: None,
            results: results.collect(),
        };
        let noted = self.catalog.note_rehearsal(&rehearsal, &News::default());
        noted.unwrap();
    }

    /// The same with a damaged copy, a retired database, one that fails since five nights and one of ten days ago.
    pub(crate) fn failing() -> Self {
        let scene = Self::empty();
        scene.catalog.take_over("one").unwrap();
        for week in (3..=11).rev() {
            scene.week(week);
        }
        scene.last_of("old-shop", day(30), 7_000);
        for passed in (0..=19).rev() {
            let mut failed = Vec::new();
            if passed < 5 {
                failed.push("scout-db");
            }
            if passed < 10 {
                failed.push("own-hour");
            }
            scene.night(day(passed), passed, &failed);
        }
        let key: ObjectKey = format!("daily/{}/groveauth.sql.zst", day(6))
            .parse()
            .unwrap();
        let found = at("2026-11-23T04:10:00Z");
        for storage in ["local", "second"] {
            scene
                .catalog
                .mark_damaged(
                    &key,
                    storage,
                    Damage::Corrupt,
                    "its bytes hash to 1f0c…",
                    found,
                )
                .unwrap();
        }
        scene.rehearse("2026-10-01T06:00:00Z", &[]);
        scene.rehearse("2026-11-22T06:00:00Z", &["groveauth"]);
        scene
    }

    /// The healthy one while a job is at its second database.
    pub(crate) fn running() -> (Self, Run) {
        let scene = Self::healthy();
        let run = scene
            .catalog
            .begin(NewJob {
                id: JobId::random(),
                trigger: Trigger::Manual,
                reason: Some("before the upgrade".to_owned()),
                databases: 3,
                started_at: at("2026-11-24T11:59:20Z"),
            })
            .unwrap();
        (scene, run)
    }

    /// What requests are answered from, at the scene's moment.
    pub(crate) fn wiring(&self) -> Wiring {
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(NOW)));
        Wiring {
            config: Arc::clone(&self.config),
            databases: Vec::new(),
            stores: Vec::new(),
            catalog: self.catalog.clone(),
            account: None,
            hooks: Arc::new(patina::hook::NoHooks),
            sinks: Vec::new(),
            built_at: Moment::of(clock.as_ref()),
            clock,
        }
    }

    /// The job of the last night, that just began.
    pub(crate) fn begin_today(&self) -> Run {
        begin(&self.catalog, day(0))
    }

    pub(crate) fn overview(&self) -> Overview {
        Overview::of(&self.catalog, &self.config, at(NOW)).unwrap()
    }

    /// One night; the named databases fail.
    pub(crate) fn night(&self, date: BackupDate, passed: u64, failed: &[&str]) {
        let run = begin(&self.catalog, date);
        for (index, (database, _, size)) in DATABASES.into_iter().enumerate() {
            let started_at = moment(date) + TimeDelta::seconds(7 * index as i64);
            if failed.contains(&database) {
                let text = "cannot open `/srv/data.db`: unable to open database file";
                run.fail_database(&name(database), "id", text, started_at, started_at)
                    .unwrap();
                continue;
            }
            let copy = self.copy(&run, database, date, grown(size, passed));
            run.succeed(&committed(&copy)).unwrap();
        }
        let seconds = 21 + (passed % 5) as i64;
        run.finish(moment(date) + TimeDelta::seconds(seconds))
            .unwrap();
    }

    /// A past week as its archive holds it: seven nights whose dailies are gone.
    fn week(&self, weeks_ago: u64) {
        let sunday = day(2).minus_days(7 * weeks_ago);
        let mut members = Vec::new();
        let mut run = None;
        for passed in (0..7).rev() {
            let date = sunday.minus_days(passed);
            let job = begin(&self.catalog, date);
            for (database, _, size) in DATABASES {
                let grown = grown(size, 7 * weeks_ago + passed + 2);
                let manifest = self.copy(&job, database, date, grown);
                job.succeed(&committed(&manifest)).unwrap();
                self.expire(&manifest.key);
                let path = manifest.key.to_string();
                members.push(ArchiveMember { path, manifest });
            }
            run = Some(job.id());
            job.finish(moment(date) + TimeDelta::seconds(20)).unwrap();
        }
        let week = sunday.week();
        let manifest = ArchiveManifest {
            runbook: None,
            format: ARCHIVE_FORMAT,
            instance: "one".to_owned(),
            key: ObjectKey::weekly(week),
            week,
            zone: "Europe/Berlin".to_owned(),
            job: run.unwrap(),
            started_at: format!("{sunday}T04:00:00Z"),
            completed_at: format!("{sunday}T04:00:03Z"),
            stored: StoredFacts {
                sha256: Sha256::of(week.to_string().as_bytes()),
                size_bytes: 1_900_000 - 9_000 * weeks_ago,
                compression: Compression::Gzip,
            },
            members,
            left_out: Vec::new(),
            patina_version: "0.1.0".to_owned(),
        };
        let (stored, ends) = (moment(sunday), moment(sunday) + TimeDelta::weeks(12));
        let storages = ["local".to_owned(), "second".to_owned()];
        let committed = CommittedArchive {
            manifest: &manifest,
            storages: &storages,
            is_read_whole: true,
            completed_at: stored,
            expires_at: ends,
        };
        self.catalog.commit_archive(&committed, &[]).unwrap();
    }

    fn copy(&self, run: &Run, database: &str, date: BackupDate, size_bytes: u64) -> Manifest {
        let mut manifest = manifest(run.id(), database, &date.to_string());
        manifest.stored.size_bytes = size_bytes;
        manifest.check = Some(CheckFacts {
            schema_entries: 3,
            tables: 2,
            rows: size_bytes / 57 + 2,
            digest: Sha256::of(b"inventory"),
            health: Some(Health::Ok),
        });
        manifest.evidence.tables[0].rows = size_bytes / 57;
        manifest
    }

    /// The last copy of a database that nobody backs up any more.
    fn last_of(&self, database: &str, date: BackupDate, size_bytes: u64) {
        let run = begin(&self.catalog, date);
        let copy = self.copy(&run, database, date, size_bytes);
        run.succeed(&committed(&copy)).unwrap();
        run.finish(moment(date) + TimeDelta::seconds(9)).unwrap();
    }

    /// Takes a daily away as expiry does in the end.
    fn expire(&self, key: &ObjectKey) {
        let gone = ["local", "second"].map(|storage| (key.clone(), storage.to_owned()));
        self.catalog.removed(&gone).unwrap();
        let connection = Connection::open(self.catalog.path()).unwrap();
        let sql = "UPDATE backup_inventory SET deleted_at = 1 WHERE r2_key = ?";
        assert_eq!(connection.execute(sql, [key.as_str()]).unwrap(), 1);
    }
}

fn committed(copy: &Manifest) -> Committed<'_> {
    crate::catalog::committed(copy, &["local", "second"])
}

fn begin(catalog: &Catalog, date: BackupDate) -> Run {
    let run = catalog.begin(NewJob {
        id: JobId::random(),
        trigger: Trigger::Scheduled,
        reason: Some("nightly".to_owned()),
        databases: DATABASES.len(),
        started_at: moment(date),
    });
    run.unwrap()
}

/// The day so many days before the scenes' own.
pub(crate) fn day(passed: u64) -> BackupDate {
    let today: BackupDate = "2026-11-24".parse().unwrap();
    today.minus_days(passed)
}

fn moment(date: BackupDate) -> DateTime<Utc> {
    at(&format!("{date}T03:00:00Z"))
}

/// A size that grows a little each day, with a wave in it.
fn grown(size: u64, passed: u64) -> u64 {
    let wave = ((84 - passed.min(84)) as f64 * 0.35).sin() * 0.01;
    let growth = 1.0 - passed as f64 * 0.004 + wave;
    (size as f64 * growth) as u64
}
