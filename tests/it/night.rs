//! Runs the backup engine on a small configuration, and looks at everything a night leaves behind.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patina::catalog::{Catalog, CopyFilter, JobStatus};
use patina::clock::SystemClock;
use patina::config::{Config, SourceSpec};
use patina::engine::backup::{self, DatabaseReport, Outcome, Report, Request};
use patina::engine::drill::{self, DumpFile};
use patina::engine::recover::{self, Recovery};
use patina::engine::state::StateDir;
use patina::progress::Board;
use patina::source::{Source, SqliteSource};
use patina::store::{DirStore, Listing, Store, digest, read_small};
use patina::types::{Manifest, Trigger};
use patina::wiring::{Moment, WiredDatabase, Wiring};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use crate::torture::compare;

pub(crate) const DATABASES: [&str; 3] = ["alpha", "beta", "gamma"];

const ROWS: usize = 50;

/// Everything of one installation, in one folder.
pub(crate) struct Night {
    pub(crate) root: PathBuf,
    pub(crate) state: StateDir,
    pub(crate) wiring: Wiring,
}

/// Writes the configuration and three small databases into `root`.
pub(crate) fn prepare(root: &Path, export: &str) {
    let mut text = format!(
        "[agent]\nname = \"grove\"\nstate = \"{0}/state\"\n[export]\n{export}\n\
         [[storage]]\nname = \"nas\"\ndirectory = \"{0}/store\"\n",
        root.display()
    );
    fs::create_dir(root.join("data")).unwrap();
    for name in DATABASES {
        let path = root.join("data").join(format!("{name}.db"));
        text += &format!(
            "[[database]]\nname = \"{name}\"\nsqlite = \"{}\"\n",
            path.display()
        );
        let db = Connection::open(&path).unwrap();
        db.execute_batch(
            "PRAGMA synchronous=OFF; BEGIN; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT, b BLOB);",
        )
        .unwrap();
        for row in 0..ROWS {
            db.execute(
                "INSERT INTO t VALUES (?1, ?2, randomblob(100))",
                (row, format!("{name} {row}")),
            )
            .unwrap();
        }
        db.execute_batch("COMMIT").unwrap();
    }
    fs::write(root.join("patina.toml"), text).unwrap();
}

/// The database file of this name.
pub(crate) fn database(root: &Path, name: &str) -> PathBuf {
    root.join("data").join(format!("{name}.db"))
}

impl Night {
    /// Opens what [`prepare`] wrote, as a process does when it starts.
    pub(crate) fn open(root: &Path) -> Self {
        let config = Config::load(&root.join("patina.toml"));
        let config = config
            .unwrap_or_else(|problems| panic!("{}", problems.short()))
            .config;
        let state = StateDir::lock(&root.join("state")).unwrap();
        let catalog = Catalog::open(&StateDir::catalog_path(state.path())).unwrap();
        let instance = catalog.instance().unwrap();
        let store = DirStore::open("nas", &root.join("store"), &instance).unwrap();
        let source = |spec: &SourceSpec| -> Arc<dyn Source> {
            match spec {
                SourceSpec::Sqlite(path) => {
                    Arc::new(SqliteSource::new(path.clone(), state.spool()))
                }
                SourceSpec::D1 { .. } => panic!("no D1 here"),
            }
        };
        let databases = config.databases().iter().map(|config| WiredDatabase {
            config: config.clone(),
            source: source(&config.source),
        });
        let wiring = Wiring {
            databases: databases.collect(),
            stores: vec![Arc::new(store)],
            catalog,
            hooks: Arc::new(patina::hook::NoHooks),
            sinks: Vec::new(),
            account: None,
            built_at: Moment::of(&SystemClock::new()),
            clock: Arc::new(SystemClock::new()),
            config: Arc::new(config),
        };
        Self {
            root: root.to_owned(),
            state,
            wiring,
        }
    }

    /// Replaces one database's source.
    pub(crate) fn set_source(&mut self, name: &str, source: Arc<dyn Source>) {
        let databases = &mut self.wiring.databases;
        let database = databases
            .iter_mut()
            .find(|d| d.config.name.as_str() == name);
        database.unwrap().source = source;
    }

    pub(crate) async fn recover(&self) -> Recovery {
        recover::run(&self.wiring, &self.state).await.unwrap()
    }

    /// Backs up every database.
    pub(crate) async fn run(&self) -> Report {
        let request = Request {
            databases: Vec::new(),
            trigger: Trigger::Manual,
            reason: None,
        };
        let names = self.wiring.databases.iter().map(|d| &d.config.name);
        let board = Board::new(names);
        let stop = CancellationToken::new();
        backup::run(&self.wiring, &self.state, &request, &board, &stop)
            .await
            .unwrap()
    }

    pub(crate) fn spool(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state.spool()).unwrap();
        let paths = entries.map(|entry| entry.unwrap().path());
        let marker = self.state.spool().join(".patina-spool");
        paths.filter(|path| *path != marker).collect()
    }

    /// Asserts the promises: nothing partial anywhere, and every copy that counts is whole and restores. Returns how
    /// many copies there are.
    pub(crate) async fn check(&self) -> usize {
        assert_eq!(self.spool(), Vec::<PathBuf>::new(), "left in the spool");
        let jobs = self.wiring.catalog.jobs(1_000).unwrap();
        assert!(jobs.iter().all(|job| job.status != JobStatus::Running));
        assert_eq!(self.wiring.catalog.spooled().unwrap(), Vec::new());
        let mut whole = 0;
        for store in &self.wiring.stores {
            let listing = store.list().await.unwrap();
            for manifest in self.manifests(store.as_ref(), &listing).await {
                self.check_copy(store.as_ref(), &manifest).await;
                whole += 1;
            }
            for copy in self.wiring.catalog.copies(&CopyFilter::default()).unwrap() {
                if copy
                    .live()
                    .any(|placement| placement.storage == store.name())
                {
                    let is_there = listing.objects.iter().any(|(key, _)| key == copy.key());
                    assert!(is_there, "{} is listed and not there", copy.key());
                    let manifest = copy.key().manifest();
                    let is_committed = listing.objects.iter().any(|(key, _)| *key == manifest);
                    assert!(is_committed, "{} has no manifest", copy.key());
                }
            }
        }
        whole
    }

    async fn manifests(&self, store: &dyn Store, listing: &Listing) -> Vec<Manifest> {
        let mut manifests = Vec::new();
        for (key, _) in &listing.objects {
            if key.as_str().starts_with("manifests/daily/") {
                let bytes = read_small(store, key, 1 << 20).await.unwrap().unwrap();
                let manifest: Manifest = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(manifest.key.manifest(), *key);
                manifests.push(manifest);
            }
        }
        manifests
    }

    /// Reads a copy from its store, restores it, and compares it with the source.
    async fn check_copy(&self, store: &dyn Store, manifest: &Manifest) {
        let found = digest(store, &manifest.key).await.unwrap();
        let found = found.unwrap_or_else(|| panic!("{} has a manifest alone", manifest.key));
        assert_eq!(found.sha256, manifest.stored.sha256, "{}", manifest.key);
        let folder = tempfile::tempdir().unwrap();
        let (dump, restored) = (
            folder.path().join("dump"),
            folder.path().join("restored.db"),
        );
        let bytes = read_small(store, &manifest.key, 1 << 30).await.unwrap();
        fs::write(&dump, bytes.unwrap()).unwrap();
        let file = DumpFile {
            path: &dump,
            plain: manifest.plain,
            stored: manifest.stored,
        };
        let stop = CancellationToken::new();
        drill::restore(&file, &restored, &Arc::default(), &stop).unwrap();
        let source = database(&self.root, manifest.database.as_str());
        let differences = compare(&source, &restored);
        assert!(differences.is_empty(), "{}: {differences:?}", manifest.key);
    }
}

/// The report of one database.
pub(crate) fn of<'a>(report: &'a Report, name: &str) -> &'a DatabaseReport {
    let mut reports = report.databases.iter();
    reports.find(|r| r.database.as_str() == name).unwrap()
}

/// Why a database failed.
#[track_caller]
pub(crate) fn failure(report: &Report, name: &str) -> String {
    match &of(report, name).outcome {
        Outcome::Failed { message } => message.clone(),
        other => panic!("{name}: {other:?}"),
    }
}

pub(crate) fn is_stored(report: &Report, name: &str) -> bool {
    matches!(of(report, name).outcome, Outcome::Stored { .. })
}
