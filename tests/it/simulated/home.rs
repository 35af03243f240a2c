//! One installation in simulated time: real SQLite files, the real catalog and the daemon's own tasks over a bucket in
//! memory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use patina::app::Built;
use patina::catalog::Catalog;
use patina::clock::Clock;
use patina::config::{Config, SourceSpec};
use patina::daemon;
use patina::dump::Sink;
use patina::engine::backup::{self, Report, Request};
use patina::engine::recover;
use patina::engine::state::StateDir;
use patina::progress::Board;
use patina::source::{DumpRequest, Dumped, Source, SourceError, SqliteSource};
use patina::store::{MemoryStore, Prune, Store};
use patina::task::{Activator, Driver};
use patina::types::{SourceFacts, Trigger};
use patina::wiring::{Moment, WiredDatabase, Wiring};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::time::SimTime;

/// One installation.
pub(super) struct Home {
    folder: TempDir,
    pub(super) time: Arc<SimTime>,
    pub(super) bucket: Arc<MemoryStore>,
    pub(super) stores: Vec<Arc<dyn Prune>>,
    databases: Vec<String>,
    /// How often the next dumps of a database fail for the moment.
    failures: BTreeMap<String, Arc<AtomicU32>>,
}

impl Home {
    /// An installation with these databases, in the order of their priority, whose only storage is `bucket`.
    pub(super) fn new(time: &Arc<SimTime>, databases: &[&str], bucket: Arc<MemoryStore>) -> Self {
        // Memory where there is such a folder: a test that runs for years would wait for the disk alone.
        let shared = Path::new("/dev/shm");
        let folder = match shared.is_dir() {
            true => TempDir::new_in(shared).unwrap(),
            false => TempDir::new().unwrap(),
        };
        let failures = databases
            .iter()
            .map(|&name| (name.to_owned(), Arc::default()));
        let home = Self {
            time: Arc::clone(time),
            stores: vec![bucket.clone()],
            bucket,
            databases: databases.iter().map(|&name| name.to_owned()).collect(),
            failures: failures.collect(),
            folder,
        };
        for name in databases {
            let db = Connection::open(home.database(name)).unwrap();
            db.execute_batch(
                "PRAGMA synchronous = OFF; CREATE TABLE nights(at TEXT PRIMARY KEY, note TEXT);
                 CREATE INDEX by_note ON nights(note);
                 INSERT INTO nights VALUES ('the first', 'it is long ago')",
            )
            .unwrap();
        }
        home
    }

    pub(super) fn database(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    pub(super) fn names(&self) -> &[String] {
        &self.databases
    }

    /// Lets the next `count` dumps of a database fail for the moment: each failed one makes the wait before the next try
    /// twice as long, from one second on.
    pub(super) fn fail_next(&self, name: &str, count: u32) {
        self.failures[name].store(count, Ordering::SeqCst);
    }

    /// Writes a row into a database, so that no two nights are alike.
    pub(super) fn live_on(&self, name: &str) {
        let db = Connection::open(self.database(name)).unwrap();
        db.execute_batch("PRAGMA synchronous = OFF").unwrap();
        let now = self.time.now().to_rfc3339();
        let sql = "INSERT OR IGNORE INTO nights VALUES (?1, ?1 || ' it rained')";
        db.execute(sql, [now]).unwrap();
    }

    fn config(&self) -> Config {
        let root = self.folder.path().display();
        let mut text = format!(
            "[agent]\nstate = \"{root}/state\"\ntimezone = \"Europe/Berlin\"\n[schedule]\ndrill = \"never\"\n\
             [export]\nconcurrency = 2\nretries = 20\n"
        );
        for number in 0..self.stores.len() {
            let name = self.stores[number].name();
            text +=
                &format!("[[storage]]\nname = \"{name}\"\ndirectory = \"{root}/unused{number}\"\n");
        }
        for name in &self.databases {
            let path = self.database(name);
            let path = path.display();
            text += &format!("[[database]]\nname = \"{name}\"\nsqlite = \"{path}\"\n");
        }
        let path = self.folder.path().join("patina.toml");
        fs::write(&path, text).unwrap();
        let config = Config::load(&path);
        config
            .unwrap_or_else(|problems| panic!("{}", problems.short()))
            .config
    }

    pub(super) fn catalog(&self) -> Catalog {
        Catalog::open(&StateDir::catalog_path(&self.folder.path().join("state"))).unwrap()
    }

    fn built(&self) -> (Built, StateDir) {
        let config = Arc::new(self.config());
        let state = StateDir::lock(&config.agent().state).unwrap();
        let databases = config.databases().iter().map(|config| {
            let SourceSpec::Sqlite(path) = &config.source else {
                panic!("only SQLite here");
            };
            WiredDatabase {
                source: Arc::new(Flaky {
                    inner: SqliteSource::new(path.clone(), state.spool()),
                    failures: Arc::clone(&self.failures[config.name.as_str()]),
                }),
                config: config.clone(),
            }
        });
        let clock: Arc<dyn Clock> = self.time.clone();
        let stores = self.stores.iter().cloned();
        let wiring = Wiring {
            databases: databases.collect(),
            stores: stores.map(|store| store as Arc<dyn Store>).collect(),
            catalog: self.catalog(),
            hooks: Arc::new(patina::hook::NoHooks),
            sinks: Vec::new(),
            account: None,
            built_at: Moment::of(clock.as_ref()),
            clock,
            config,
        };
        let built = Built {
            wiring: Arc::new(wiring),
            pruners: self.stores.clone(),
        };
        (built, state)
    }

    /// Runs a daemon until the wall shows `end`.
    pub(super) async fn run_until(&self, end: DateTime<Utc>) {
        let (built, state) = self.built();
        recover::run(&built.wiring, &state).await.unwrap();
        let stop = CancellationToken::new();
        let tasks = daemon::tasks(built, state, stop.clone()).into_iter();
        let tasks = tasks.map(|task| self.time.counting(task)).collect();
        let clock: Arc<dyn Clock> = self.time.clone();
        let pause = Duration::from_secs(3600);
        let mut driver = Driver::new(tasks, clock, Activator::default(), pause);
        let (_replace, replacements) = mpsc::channel(1);
        let ending = async {
            self.time.sleep_until(end).await;
            stop.cancel();
        };
        tokio::join!(driver.run(&stop, replacements, |_| ()), ending);
    }

    /// Backs up every database once, as `patina backup` does.
    pub(super) async fn back_up(&self) -> Report {
        let (built, state) = self.built();
        recover::run(&built.wiring, &state).await.unwrap();
        let request = Request {
            databases: Vec::new(),
            trigger: Trigger::Manual,
            reason: None,
        };
        let (stop, board) = (CancellationToken::new(), Board::default());
        let report = backup::run(&built.wiring, &state, &request, &board, &stop);
        report.await.unwrap()
    }
}

/// A database that fails for the moment, as often as a test wants.
struct Flaky {
    inner: SqliteSource,
    failures: Arc<AtomicU32>,
}

impl Source for Flaky {
    fn facts(&self) -> SourceFacts {
        self.inner.facts()
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        self.inner.size_hint_bytes()
    }

    fn has_image(&self) -> bool {
        self.inner.has_image()
    }

    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        let left = self
            .failures
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                left.checked_sub(1)
            });
        if left.is_ok() {
            return Err(SourceError::Unavailable {
                what: "the database".to_owned(),
                why: "it does not answer (planned)".to_owned(),
                retryable: true,
            });
        }
        self.inner.dump(request, sink)
    }
}
