//! An installation whose clock and bucket the test holds in its hands; everything else is real.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::Catalog;
use patina::clock::Clock;
use patina::config::{Config, SourceSpec};
use patina::engine::backup::{self, Report, Request};
use patina::engine::pack::{self, Outcome, PackError};
use patina::engine::reconcile::{self, Patience, StorageReport};
use patina::engine::recover::{self, Recovery};
use patina::engine::state::StateDir;
use patina::engine::verify::{self, Finding, Scope};
use patina::engine::{expire, rebuild};
use patina::progress::{Board, Progress};
use patina::retention::Guards;
use patina::source::SqliteSource;
use patina::store::{Fault, FaultStore, MemoryStore, Prune, Store};
use patina::types::{DatabaseName, Trigger};
use patina::wiring::{Moment, WiredDatabase, Wiring};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A shorter sleep is a pause between retries; a longer one is a deadline, which never comes here.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A clock that stands still until it is moved, and on which no deadline ever comes.
pub(crate) struct SimClock(Mutex<(DateTime<Utc>, Duration)>);

impl SimClock {
    pub(crate) fn at(now: DateTime<Utc>) -> Self {
        Self(Mutex::new((now, Duration::ZERO)))
    }

    /// Lets time pass until `now`.
    pub(super) fn go_to(&self, now: DateTime<Utc>) {
        let mut hands = self.0.lock().unwrap();
        let passed = (now - hands.0).to_std().unwrap_or_default();
        *hands = (now, hands.1 + passed);
    }

    /// Sets the wall time alone, as NTP or a person would.
    pub(super) fn set(&self, now: DateTime<Utc>) {
        self.0.lock().unwrap().0 = now;
    }
}

#[async_trait]
impl Clock for SimClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.lock().unwrap().0
    }

    fn elapsed(&self) -> Duration {
        self.0.lock().unwrap().1
    }

    async fn sleep(&self, duration: Duration) {
        if duration > LONGEST_PAUSE {
            std::future::pending::<()>().await;
        }
        self.go_to(self.now() + TimeDelta::from_std(duration).unwrap());
    }
}

/// One installation over its whole life.
pub(super) struct World {
    folder: TempDir,
    pub(super) clock: Arc<SimClock>,
    pub(super) bucket: Arc<MemoryStore>,
    databases: Vec<String>,
    retention: String,
}

/// One process of it, from its start to its end.
pub(super) struct Process {
    pub(super) state: StateDir,
    pub(super) wiring: Wiring,
    pub(super) faults: Arc<FaultStore<MemoryStore>>,
    pruners: Vec<Arc<dyn Prune>>,
    pub(super) stop: CancellationToken,
    /// The counters of all its work: whatever still runs holds on to them.
    counters: Mutex<Vec<Arc<Progress>>>,
}

impl World {
    /// An installation that starts at `now`, with these databases and lines of `[retention]`.
    pub(super) fn new(now: &str, databases: &[&str], retention: &str) -> Self {
        // Memory where there is such a folder: a test that runs for years would wait for the disk alone.
        let shared = Path::new("/dev/shm");
        let folder = match shared.is_dir() {
            true => TempDir::new_in(shared).unwrap(),
            false => TempDir::new().unwrap(),
        };
        let clock = Arc::new(SimClock::at(now.parse().unwrap()));
        let world = Self {
            bucket: Arc::new(MemoryStore::new("bucket", clock.clone())),
            databases: databases.iter().map(|&name| name.to_owned()).collect(),
            retention: retention.to_owned(),
            folder,
            clock,
        };
        for name in databases {
            let db = Connection::open(world.database(name)).unwrap();
            db.execute_batch("CREATE TABLE nights(at TEXT PRIMARY KEY, note TEXT)")
                .unwrap();
        }
        world
    }

    pub(super) fn database(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    pub(super) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Takes a database out of the configuration, or puts it in again.
    pub(super) fn configure(&mut self, databases: &[&str], retention: &str) {
        self.databases = databases.iter().map(|&name| name.to_owned()).collect();
        self.retention = retention.to_owned();
    }

    fn config(&self) -> Config {
        let root = self.folder.path().display();
        let mut text = format!(
            "[agent]\nstate = \"{root}/state\"\n[export]\nconcurrency = 1\n[retention]\n{}\n\
             [[storage]]\nname = \"bucket\"\ndirectory = \"{root}/unused\"\n",
            self.retention
        );
        for name in &self.databases {
            let path = self.database(name);
            text += &format!(
                "[[database]]\nname = \"{name}\"\nsqlite = \"{}\"\n",
                path.display()
            );
        }
        let path = self.folder.path().join("patina.toml");
        fs::write(&path, text).unwrap();
        let config = Config::load(&path);
        config
            .unwrap_or_else(|problems| panic!("{}", problems.short()))
            .config
    }

    /// Starts a process whose nth calls to the bucket go wrong as planned.
    pub(super) fn start(&self, plan: impl IntoIterator<Item = (u64, Fault)>) -> Process {
        let faults = Arc::new(FaultStore::new(Arc::clone(&self.bucket), plan));
        let mut process = self.start_on(faults.clone());
        process.faults = faults;
        process
    }

    /// Starts a process with this way to the bucket.
    pub(super) fn start_on(&self, bucket: Arc<dyn Prune>) -> Process {
        let config = Arc::new(self.config());
        let state = StateDir::lock(&self.state()).unwrap();
        let catalog = Catalog::open(&StateDir::catalog_path(state.path())).unwrap();
        let databases = config.databases().iter().map(|config| {
            let SourceSpec::Sqlite(path) = &config.source else {
                panic!("only SQLite here");
            };
            WiredDatabase {
                config: config.clone(),
                source: Arc::new(SqliteSource::new(path.clone(), state.spool())),
            }
        });
        Process {
            wiring: Wiring {
                databases: databases.collect(),
                stores: vec![bucket.clone() as Arc<dyn Store>],
                catalog,
                hooks: Arc::new(patina::hook::NoHooks),
                sinks: Vec::new(),
                account: None,
                built_at: Moment::of(self.clock.as_ref()),
                clock: self.clock.clone(),
                config: Arc::clone(&config),
            },
            pruners: vec![bucket],
            faults: Arc::new(FaultStore::new(Arc::clone(&self.bucket), [])),
            state,
            counters: Mutex::default(),
            stop: CancellationToken::new(),
        }
    }

    /// Starts a process in which nothing goes wrong, and brings the state in order.
    pub(super) async fn healthy(&self) -> Process {
        let process = self.start([]);
        process.recover().await;
        process
    }

    /// Writes a row into a database, so that no two nights are alike.
    pub(super) fn live_on(&self, name: &str) {
        let db = Connection::open(self.database(name)).unwrap();
        let now = self.clock.now().to_rfc3339();
        db.execute_batch("PRAGMA synchronous = OFF").unwrap();
        db.execute(
            "INSERT OR IGNORE INTO nights VALUES (?1, ?1 || ' – it rained')",
            [now],
        )
        .unwrap();
    }

    /// The objects in the bucket, without manifests.
    pub(super) async fn objects(&self) -> BTreeSet<String> {
        let listing = self.bucket.list().await.unwrap();
        let keys = listing.objects.iter().map(|(key, _)| key.to_string());
        keys.filter(|key| !key.starts_with("manifests/")).collect()
    }
}

impl Process {
    pub(super) async fn recover(&self) -> Recovery {
        recover::run(&self.wiring, &self.state).await.unwrap()
    }

    /// Backs up every database.
    pub(super) async fn night(&self) -> Report {
        let request = Request {
            databases: Vec::new(),
            trigger: Trigger::Scheduled,
            reason: None,
        };
        let names = self.wiring.databases.iter();
        let board = Board::new(names.map(|database| &database.config.name));
        for (_, counter) in board.iter() {
            self.counters.lock().unwrap().push(Arc::clone(counter));
        }
        backup::run(&self.wiring, &self.state, &request, &board, &self.stop)
            .await
            .unwrap()
    }

    pub(super) async fn pack(&self) -> Result<Outcome, PackError> {
        let counter = Arc::<Progress>::default();
        self.counters.lock().unwrap().push(Arc::clone(&counter));
        pack::run(&self.wiring, &self.state, &counter, &self.stop).await
    }

    /// Waits until nothing runs any more of a process that died: work on threads of its own would have died with it.
    pub(super) async fn bury(&self) {
        self.stop.cancel();
        let counters = std::mem::take(&mut *self.counters.lock().unwrap());
        let began = std::time::Instant::now();
        while counters
            .iter()
            .any(|counter| Arc::strong_count(counter) > 1)
        {
            assert!(
                began.elapsed() < Duration::from_secs(60),
                "a dead process works on"
            );
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // Files go after the counters.
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    pub(super) async fn expire(&self, guards: Guards) -> expire::Report {
        expire::run(&self.wiring, &self.pruners, guards, &self.stop)
            .await
            .unwrap()
    }

    pub(super) async fn verify(&self, scope: Scope<'_>) -> Vec<Finding> {
        let targets = verify::select(&self.wiring, scope).unwrap();
        verify::run(&self.wiring, targets, &Arc::default(), &self.stop)
            .await
            .unwrap()
    }

    pub(super) async fn reconcile(&self) -> StorageReport {
        let mut reports = reconcile::run(&self.wiring, Patience::Leave, &self.stop)
            .await
            .unwrap();
        reports.remove(0)
    }

    pub(super) async fn rebuild(&self) -> rebuild::Report {
        rebuild::run(&self.wiring, &self.stop).await.unwrap()
    }

    /// Backs up, and on Sunday packs and expires.
    pub(super) async fn day(&self, is_sunday: bool) {
        let report = self.night().await;
        assert_eq!(report.job.failed, 0, "{report:?}");
        if is_sunday {
            let packed = self.pack().await.unwrap();
            assert!(matches!(packed, Outcome::Packed { .. }), "{packed:?}");
            let report = self.expire(Guards::all()).await;
            assert!(
                report.failed.is_empty() && report.plan.refused.is_empty(),
                "{report:?}"
            );
        }
    }
}

pub(super) fn name(text: &str) -> DatabaseName {
    text.parse().unwrap()
}
