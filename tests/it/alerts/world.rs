//! An installation with one or more real databases, a clock that stands still, and sinks at a server of the test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use patina::app;
use patina::catalog::{Catalog, Event};
use patina::clock::Clock;
use patina::config::{Config, SourceSpec};
use patina::engine::backup::{self, Report, Request};
use patina::engine::deliver;
use patina::engine::state::StateDir;
use patina::progress::Board;
use patina::source::SqliteSource;
use patina::store::MemoryStore;
use patina::types::{DatabaseName, Trigger};
use patina::wiring::{Moment, WiredDatabase, Wiring};
use rusqlite::Connection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::server::{Got, Server};

/// The address of a sink is a secret, and a file that others can read may hold none.
pub(super) fn write_private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Time stands still until it is moved; no deadline ever comes by itself.
pub(super) struct Still(Mutex<DateTime<Utc>>);

#[async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        *self.0.lock().unwrap()
    }

    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }

    async fn sleep(&self, _: Duration) {
        std::future::pending().await
    }
}

pub(super) struct World {
    folder: TempDir,
    pub(super) server: Server,
    pub(super) clock: Arc<Still>,
    pub(super) wiring: Wiring,
    state: StateDir,
}

impl World {
    /// Databases of these names, and `alerts` as the part of the configuration after the databases, in which `URL`
    /// stands for the server.
    pub(super) async fn new(names: &[&str], alerts: &str) -> Self {
        let server = Server::start().await;
        let folder = TempDir::new().unwrap();
        let root = folder.path().display();
        let mut text = format!(
            "[agent]\nname = \"grove\"\nstate = \"{root}/state\"\n[export]\nretries = 0\n\
             [[storage]]\nname = \"memory\"\ndirectory = \"{root}/unused\"\n"
        );
        for name in names {
            let path = folder.path().join(format!("{name}.db"));
            text += &format!(
                "[[database]]\nname = \"{name}\"\nsqlite = \"{}\"\n",
                path.display()
            );
            let db = Connection::open(&path).unwrap();
            db.execute_batch("CREATE TABLE posts(id INTEGER PRIMARY KEY, body TEXT)")
                .unwrap();
        }
        text += &alerts.replace("URL", server.url("").trim_end_matches('/'));
        let path = folder.path().join("patina.toml");
        write_private(&path, &text);
        let config = Config::load(&path).unwrap_or_else(|problems| panic!("{}", problems.short()));
        let config = Arc::new(config.config);
        let clock = Arc::new(Still(Mutex::new("2026-11-22T03:00:00Z".parse().unwrap())));
        let state = StateDir::lock(&config.agent().state).unwrap();
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
        let wiring = Wiring {
            databases: databases.collect(),
            stores: vec![Arc::new(MemoryStore::new("memory", clock.clone()))],
            sinks: app::sinks(&config),
            catalog,
            hooks: Arc::new(patina::hook::NoHooks),
            account: None,
            built_at: Moment::of(clock.as_ref()),
            clock: clock.clone(),
            config,
        };
        Self {
            folder,
            server,
            clock,
            wiring,
            state,
        }
    }

    pub(super) fn pass(&self, time: TimeDelta) {
        *self.clock.0.lock().unwrap() += time;
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.db"))
    }

    pub(super) fn sql(&self, name: &str, sql: &str) {
        Connection::open(self.path(name))
            .unwrap()
            .execute_batch(sql)
            .unwrap();
    }

    /// Gives the table so many rows of a hundred bytes.
    pub(super) fn fill(&self, name: &str, rows: u32) {
        self.sql(
            name,
            &format!(
                "BEGIN; DELETE FROM posts;
                 WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
                 INSERT INTO posts SELECT i, hex(randomblob(50)) FROM n; COMMIT"
            ),
        );
    }

    /// Makes a database unreadable, or readable again.
    pub(super) fn lose(&self, name: &str) {
        fs::rename(self.path(name), self.path(&format!("{name}-lost"))).unwrap();
    }

    pub(super) fn find(&self, name: &str) {
        fs::rename(self.path(&format!("{name}-lost")), self.path(name)).unwrap();
    }

    pub(super) async fn night(&self) -> Report {
        self.night_until(&CancellationToken::new()).await
    }

    pub(super) async fn night_until(&self, stop: &CancellationToken) -> Report {
        self.back_up(Vec::new(), stop).await
    }

    /// Backs up one database alone.
    pub(super) async fn night_of(&self, name: &str) -> Report {
        let databases = vec![name.parse().unwrap()];
        self.back_up(databases, &CancellationToken::new()).await
    }

    async fn back_up(&self, databases: Vec<DatabaseName>, stop: &CancellationToken) -> Report {
        let request = Request {
            databases,
            trigger: Trigger::Scheduled,
            reason: None,
        };
        let board = Board::default();
        backup::run(&self.wiring, &self.state, &request, &board, stop)
            .await
            .unwrap()
    }

    /// Sends each sink what is due now.
    pub(super) async fn deliver(&self) {
        for sink in &self.wiring.config.alerts().sinks {
            let stop = CancellationToken::new();
            deliver::to_sink(&self.wiring, &sink.name, &stop)
                .await
                .unwrap();
        }
    }

    /// Delivers, and gives what arrived below a path since the last call.
    pub(super) async fn told(&self, path: &str) -> Vec<Got> {
        self.deliver().await;
        let got = self.server.got(path);
        self.server.forget();
        got
    }

    /// What was written down, the oldest first: kind, severity and message.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = self.wiring.catalog.events(1_000).unwrap();
        events.reverse();
        events
    }

    /// The kinds of what was written down but the ends of jobs.
    pub(super) fn kinds(&self) -> Vec<&'static str> {
        let kinds = self.events().into_iter().map(|event| event.kind.as_str());
        kinds.filter(|kind| !kind.starts_with("backup_")).collect()
    }
}

pub(super) fn days(count: i64) -> TimeDelta {
    TimeDelta::days(count)
}
