//! One installation with one database, whose nights may lie in the past.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use chrono::{TimeDelta, Utc};
use patina::app;
use patina::config::Config;
use patina::engine::backup::{self, Outcome, Request};
use patina::engine::state::StateDir;
use patina::progress::Board;
use patina::types::Trigger;
use patina::wiring::Moment;
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::s3::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};
use crate::week::world::SimClock;

pub(super) struct Site {
    pub(super) folder: TempDir,
    runtime: Runtime,
}

/// What a run of the binary did.
#[derive(Debug)]
pub(super) struct Ran {
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Site {
    /// An installation whose database `shop` is `source.db`; `more` is added to its configuration.
    pub(super) fn new(more: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let site = Self {
            folder,
            runtime: Runtime::new().unwrap(),
        };
        site.configure(&format!(
            "[agent]\nstate = \"state\"\n[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n{more}\n\
             [[database]]\nname = \"shop\"\nsqlite = \"source.db\"\n"
        ));
        site
    }

    /// Its copies are SQL text, whatever that cannot carry.
    pub(super) fn in_sql(self) -> Self {
        let path = self.path("patina.toml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{config}method = \"sql\"\n")).unwrap();
        self
    }

    /// A second storage in the bucket of `server`.
    pub(super) fn bucket(server: &Server) -> String {
        format!(
            "[[storage]]\nname = \"bucket\"\n[storage.s3]\nendpoint = \"{}\"\nbucket = \"{BUCKET}\"\nregion = \"auto\"\n\
             access_key_id = \"{ACCESS_KEY_ID}\"\nsecret_access_key = \"{SECRET_ACCESS_KEY}\"\n",
            server.endpoint()
        )
    }

    pub(super) fn configure(&self, text: &str) {
        let path = self.path("patina.toml");
        fs::write(&path, text).unwrap();
        // It may hold secrets.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs statements in `source.db`.
    pub(super) fn execute(&self, sql: &str) {
        execute(&self.path("source.db"), sql);
    }

    /// Backs the database up on the day that is so many days before today; gives the copy's key.
    pub(super) fn night(&self, days_ago: i64) -> String {
        let config = self.path("patina.toml");
        self.runtime.block_on(night(&config, days_ago))
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
        command
            .args(args)
            .current_dir(self.folder.path())
            .env_remove("PATINA_CONFIG")
            .env_remove("RUST_LOG");
        command
    }

    pub(super) fn run(&self, args: &[&str]) -> Ran {
        Ran::of(self.command(args).output().unwrap())
    }

    #[track_caller]
    pub(super) fn ok(&self, args: &[&str]) -> Ran {
        self.ends(0, args)
    }

    #[track_caller]
    pub(super) fn ends(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, Some(code), "{args:?}: {}\n{}", ran.err, ran.out);
        ran
    }

    #[track_caller]
    pub(super) fn json(&self, args: &[&str]) -> Value {
        let ran = self.ok(&[&["--json"], args].concat());
        serde_json::from_str(&ran.out).unwrap()
    }

    /// What a restore may leave beside a target: nothing but what is named.
    #[track_caller]
    pub(super) fn holds_no_leftovers(&self) {
        let names: Vec<String> = fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        let is_left = |name: &&String| name.starts_with('.') || name.contains("restoring");
        assert_eq!(names.iter().find(is_left), None, "{names:?}");
    }
}

/// Backs up what the configuration names on the day that is so many days before today; gives the first copy's key.
pub(crate) async fn night(config: &Path, days_ago: i64) -> String {
    let config = Config::load(config);
    let config = config.unwrap_or_else(|problems| panic!("{}", problems.short()));
    let config = Arc::new(config.config);
    let state = StateDir::lock(&config.agent().state).unwrap();
    let mut wiring = app::wiring(Arc::clone(&config), &state).await.unwrap();
    let clock = Arc::new(SimClock::at(Utc::now() - TimeDelta::days(days_ago)));
    wiring.built_at = Moment::of(clock.as_ref());
    wiring.clock = clock;
    let request = Request {
        databases: Vec::new(),
        trigger: Trigger::Manual,
        reason: None,
    };
    let (board, stop) = (Board::default(), CancellationToken::new());
    let report = backup::run(&wiring, &state, &request, &board, &stop).await;
    match &report.unwrap().databases[0].outcome {
        Outcome::Stored { manifest, .. } => manifest.key.to_string(),
        other => panic!("{other:?}"),
    }
}

impl Ran {
    pub(super) fn of(output: Output) -> Self {
        let ran = Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.err.contains("panicked"), "{}", ran.err);
        ran
    }

    #[track_caller]
    pub(super) fn says(&self, text: &str) -> &Self {
        assert!(self.out.contains(text), "`{text}` is not in {}", self.out);
        self
    }

    #[track_caller]
    pub(super) fn complains(&self, text: &str) -> &Self {
        assert!(self.err.contains(text), "`{text}` is not in {}", self.err);
        self
    }
}

pub(super) fn execute(path: &Path, sql: &str) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(sql).unwrap();
}

/// Asserts that two databases hold the same.
#[track_caller]
pub(super) fn same(a: &Path, b: &Path) {
    let differences = crate::torture::compare(a, b);
    assert!(differences.is_empty(), "{differences:#?}");
}
