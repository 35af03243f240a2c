//! Runs the real `patina run` over real databases and a real folder, and ends it in every way there is.

mod edits;
mod foresight;
mod hung;
mod life;
mod links;
mod rehearsed;
mod reload;
mod silent_files;
mod talk;
mod unprotected;
mod wishes;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use patina::catalog::{Catalog, CopyFilter, Job, JobStatus, Reload};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(90);

/// What systemd and people wait for the end.
const STOP: Duration = Duration::from_secs(10);

/// One installation.
struct Home {
    folder: TempDir,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    /// Writes a configuration whose night began some minutes ago and is not due again for a year.
    fn write_night(&self, databases: &str) {
        let begun = Utc::now() - TimeDelta::minutes(10);
        let night = begun.format("%-M %-H %-d %-m *");
        self.write_config(&format!("nightly = \"{night}\""), databases);
    }

    fn write_config(&self, schedule: &str, databases: &str) {
        let config = self.config(schedule, databases);
        fs::write(self.path("patina.toml"), config).unwrap();
    }

    /// A configuration under which nothing is due for half a year.
    fn calm(&self, databases: &str) -> String {
        let far = (Utc::now() + TimeDelta::days(180)).format("0 0 %-d %-m *");
        self.config(
            &format!("nightly = \"{far}\"\nweekly = \"{far}\""),
            databases,
        )
    }

    fn config(&self, schedule: &str, databases: &str) -> String {
        // Half a year away: never within `catch_up`.
        let far = (Utc::now() + TimeDelta::days(180)).format("0 0 %-d %-m *");
        let state = self.path("state");
        format!(
            "[agent]\nname = \"grove\"\nstate = \"{}\"\n\
             [schedule]\nreconcile = \"{far}\"\nverify = \"{far}\"\ndrill = \"never\"\n{schedule}\n\
             [export]\nconcurrency = 1\ntimeout = \"10m\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n{databases}",
            state.display()
        )
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes a database of some size and gives its entry in the configuration.
    fn database(&self, name: &str, rows: u32) -> String {
        database(&self.path(&format!("{name}.db")), rows);
        entry(name, "")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
        for name in [
            "PATINA_CONFIG",
            "RUST_LOG",
            "NOTIFY_SOCKET",
            "JOURNAL_STREAM",
        ] {
            command.env_remove(name);
        }
        command.current_dir(self.folder.path()).args(args);
        command
    }

    fn start(&self) -> Daemon {
        Daemon::start(self.command(&["run"]), self.path("log"))
    }

    fn catalog(&self) -> Option<Catalog> {
        let path = self.path("state/catalog.db");
        // While it is being made there is nothing to read in it yet.
        Catalog::open_read_only(&path).ok().flatten()
    }

    /// How the looks at a changed configuration ended, the oldest first.
    fn reloads(&self) -> Vec<Reload> {
        self.catalog().map_or(Vec::new(), |catalog| {
            catalog.reloads_after(0).unwrap_or_default()
        })
    }

    fn jobs(&self) -> Vec<Job> {
        self.catalog()
            .map_or(Vec::new(), |catalog| catalog.jobs(100).unwrap_or_default())
    }

    /// How many copies there are of a database.
    fn copies(&self, name: &str) -> usize {
        let filter = CopyFilter {
            database: Some(name.parse().unwrap()),
            ..CopyFilter::default()
        };
        self.catalog().map_or(0, |catalog| {
            catalog.copies(&filter).map_or(0, |copies| copies.len())
        })
    }

    fn wait_for_end(&self, jobs: usize) -> Vec<Job> {
        wait(&format!("{jobs} ended jobs"), || {
            let ended = self.jobs();
            let is_ended = |job: &Job| job.status != JobStatus::Running;
            ended.len() >= jobs && ended.iter().all(is_ended)
        });
        self.jobs()
    }

    /// Waits until a dump of some bytes is being written, and no copy of it can be done yet.
    fn wait_for_export(&self, name: &str) {
        wait("an export", || {
            let Ok(spool) = fs::read_dir(self.path("state/spool")) else {
                return false;
            };
            spool.flatten().any(|entry| {
                entry
                    .file_name()
                    .to_string_lossy()
                    .ends_with(&format!("-{name}.partial"))
                    && entry.metadata().is_ok_and(|data| data.len() > 100_000)
            })
        });
    }

    /// Files of the spool, and objects and unfinished ones of the storage.
    fn left(&self) -> Vec<PathBuf> {
        let mut left = Vec::new();
        let mut folders = vec![self.path("state/spool"), self.path("store")];
        while let Some(folder) = folders.pop() {
            // A storage is made by its first use.
            let Ok(entries) = fs::read_dir(folder) else {
                continue;
            };
            for entry in entries {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => folders.push(path),
                    false => left.push(path),
                }
            }
        }
        left.retain(|path| !path.ends_with(".patina-spool"));
        left
    }
}

fn entry(name: &str, more: &str) -> String {
    format!("[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n{more}\n")
}

fn database(path: &Path, rows: u32) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA synchronous=OFF; BEGIN; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO t SELECT i, hex(randomblob(500)) FROM n; COMMIT;"
    ))
    .unwrap();
}

#[track_caller]
fn wait(what: &str, is_there: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < PATIENCE, "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A running daemon; dropped, it is killed.
struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Daemon {
    fn start(mut command: Command, log: PathBuf) -> Self {
        let child = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { child, log }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    #[track_caller]
    fn wait_for_log(&self, text: &str) {
        wait(text, || self.log().contains(text));
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Waits for its end, which must come in time. Gives its status and its log.
    #[track_caller]
    fn ended(mut self) -> (ExitStatus, String) {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                let log = self.log();
                assert!(!log.contains("panicked"), "{log}");
                return (status, log);
            }
            assert!(began.elapsed() < STOP, "it runs on: {}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Tells it to end, and gives its log.
    #[track_caller]
    fn stop(self) -> String {
        self.signal(Signal::TERM);
        let (status, log) = self.ended();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
