//! The real binary: what it has written down leaves after any end, and mistakes reach the sinks.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use patina::catalog::{Catalog, JobStatus};
use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::server::{FINE, Manner, Server};
use super::world::write_private;

const PATIENCE: Duration = Duration::from_secs(90);

struct Home {
    folder: TempDir,
    server: Server,
}

/// A running daemon; dropped, it is killed.
struct Daemon(Child);

impl Daemon {
    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.0.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Home {
    /// A database that is there and one that is not, and a night that is due now; the weekly test of the sinks is not,
    /// also on the day of the week that it belongs to.
    async fn new() -> Self {
        let home = Self {
            folder: TempDir::new().unwrap(),
            server: Server::start().await,
        };
        let db = Connection::open(home.path("blog.db")).unwrap();
        db.execute_batch("CREATE TABLE t(i INTEGER PRIMARY KEY)")
            .unwrap();
        home.write(&home.config(""));
        home
    }

    fn config(&self, more: &str) -> String {
        let night = (Utc::now() - TimeDelta::minutes(10)).format("%-M %-H %-d %-m *");
        format!(
            "[agent]\nname = \"grove\"\nstate = \"state\"\n\
             [schedule]\nnightly = \"{night}\"\ncatch_up = \"30m\"\n[export]\nretries = 0\n\
             [http]\nlisten = \"127.0.0.1:0\"\n\
             [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
             [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n\
             [[database]]\nname = \"gone\"\nsqlite = \"gone.db\"\n\
             [[alerts.sink]]\nname = \"ops\"\nwebhook = \"{}\"\nallow_private = true\n{more}",
            self.server.url("ops")
        )
    }

    fn write(&self, config: &str) {
        write_private(&self.path("patina.toml"), config);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
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
        command.env("TMPDIR", self.folder.path());
        command
    }

    fn start(&self) -> Daemon {
        let log = fs::File::create(self.path("log")).unwrap();
        Daemon(self.command(&["run"]).stderr(log).spawn().unwrap())
    }

    /// Runs a command to its end while the server answers.
    async fn run(&self, args: &[&str]) -> Output {
        let mut command = self.command(args);
        let ran = tokio::task::spawn_blocking(move || command.output().unwrap());
        ran.await.unwrap()
    }

    async fn wait_for_job(&self) {
        let path = self.path("state/catalog.db");
        let began = Instant::now();
        loop {
            let catalog = Catalog::open_read_only(&path).ok().flatten();
            let jobs = catalog.map_or(Vec::new(), |catalog| catalog.jobs(10).unwrap_or_default());
            if jobs.iter().any(|job| job.status == JobStatus::Failed) {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "no job ended");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_that_was_written_down_leaves_after_a_kill() {
    let home = Home::new().await;
    home.server.behave(Manner::Hangs);
    let daemon = home.start();
    home.wait_for_job().await;
    // Written down, on its way, and answered by nobody.
    let first = home.server.wait_for("ops", 1).await.remove(0);
    daemon.signal(Signal::KILL);
    drop(daemon);
    home.server.forget();
    home.server.behave(FINE);
    let daemon = home.start();
    let again = home.server.wait_for("ops", 1).await.remove(0);
    assert_eq!(again.json()["type"], "backup_failed");
    assert_eq!(again.json()["failures"][0]["database"], "gone");
    assert_eq!(
        again.headers["idempotency-key"],
        first.headers["idempotency-key"]
    );
    assert_eq!(again.body, first.body);
    tokio::time::sleep(Duration::from_millis(500)).await;
    daemon.signal(Signal::TERM);
    drop(daemon);
    let failed = home.server.got("ops");
    let failed = failed
        .iter()
        .filter(|got| got.json()["type"] == "backup_failed");
    assert_eq!(failed.count(), 1, "once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_daemon_that_hangs_on_a_sink_ends_in_time() {
    let home = Home::new().await;
    home.server.behave(Manner::Hangs);
    let mut daemon = home.start();
    home.server.wait_for("ops", 1).await;
    let began = Instant::now();
    daemon.signal(Signal::TERM);
    let ended = tokio::task::spawn_blocking(move || daemon.0.wait().unwrap());
    assert_eq!(ended.await.unwrap().code(), Some(0));
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_that_cannot_be_used_reaches_the_sinks_in_it_once() {
    let home = Home::new().await;
    let broken = home.config("").replace("[export]", "[export]\nretrys = 3");
    home.write(&broken);
    for _ in 0..3 {
        let ran = home.run(&["run"]).await;
        assert_eq!(ran.status.code(), Some(2));
    }
    let got = home.server.got("ops");
    assert_eq!(got.len(), 1, "{got:?}");
    let body = got[0].json();
    assert_eq!(
        (body["type"].as_str(), body["severity"].as_str()),
        (Some("config_rejected"), Some("critical"))
    );
    let text = "the configuration cannot be used: patina.toml:8:1: unknown key `retrys`";
    assert_eq!(
        (body["text"].as_str(), body["hint"].as_str()),
        (Some(text), Some("patina check"))
    );
    // Corrected, it starts, and what was wrong is over.
    home.server.forget();
    home.write(&home.config(""));
    let daemon = home.start();
    let got = home.server.wait_for("ops", 1).await;
    let resolved = got
        .iter()
        .find(|got| got.json()["type"] == "resolved")
        .unwrap();
    assert_eq!(resolved.json()["resolves"], "config_rejected");
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_mistake_among_the_alerts_hides_what_the_file_says() {
    let home = Home::new().await;
    home.write(
        &home
            .config("")
            .replace("[export]", "[alerts]\nredact = \"yes\"\n[export]"),
    );
    home.run(&["run"]).await;
    let got = home.server.wait_for("ops", 1).await.remove(0);
    let text = got.text();
    assert!(
        !text.contains("patina.toml") && !text.contains("yes"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_that_cannot_be_used_reaches_the_sinks() {
    let home = Home::new().await;
    fs::create_dir_all(home.path("state/spool")).unwrap();
    fs::write(home.path("state/spool/photo.jpg"), "somebody else's").unwrap();
    let ran = home.run(&["run"]).await;
    assert_eq!(ran.status.code(), Some(1));
    let body = home.server.wait_for("ops", 1).await.remove(0).json();
    assert_eq!(body["type"], "config_rejected");
    assert!(
        body["text"].as_str().unwrap().contains("photo.jpg"),
        "{body}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rejected_reload_is_told_once_and_its_correction_is_its_end() {
    let home = Home::new().await;
    let daemon = home.start();
    home.server.wait_for("ops", 1).await;
    home.server.forget();
    home.write("[schedul]\n");
    for _ in 0..2 {
        daemon.signal(Signal::HUP);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let got = home.server.wait_for("ops", 1).await;
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0].json()["type"], "config_rejected");
    home.write(&home.config(""));
    daemon.signal(Signal::HUP);
    let got = home.server.wait_for("ops", 2).await;
    assert_eq!(got[1].json()["resolves"], "config_rejected");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_without_a_daemon_delivers_before_it_ends_and_what_hangs_holds_it_up_for_seconds()
{
    let home = Home::new().await;
    let ran = home.run(&["backup"]).await;
    assert_eq!(ran.status.code(), Some(3), "{ran:?}");
    let got = home.server.got("ops");
    assert_eq!(got.len(), 1, "{got:?}");
    assert_eq!(got[0].json()["type"], "backup_failed");
    home.server.behave(Manner::Hangs);
    let began = Instant::now();
    let ran = home.run(&["backup"]).await;
    assert_eq!(ran.status.code(), Some(3));
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "{:?}",
        began.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn alert_test_says_of_every_sink_what_it_answered() {
    let home = Home::new().await;
    let none = "[[alerts.sink]]\nname = \"closed\"\nslack = \"http://127.0.0.1:1/secret-token\"\nallow_private = true\n\
                [[alerts.sink]]\nname = \"private\"\nntfy = \"http://127.0.0.1:1/secret-token\"\n";
    home.write(&home.config(none));
    let ran = home.run(&["alert", "test"]).await;
    let (out, err) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    assert_eq!(ran.status.code(), Some(3), "{out}{err}");
    assert!(
        out.contains("ok") && out.contains("took it, status 200"),
        "{out}"
    );
    assert!(
        err.contains("error: sink `private`: its address is one of this host"),
        "{err}"
    );
    assert!(
        err.contains("error: sink `closed`: it was not reached"),
        "{err}"
    );
    assert!(!out.contains("secret-token") && !err.contains("secret-token"));
    let got = home.server.got("ops");
    assert_eq!(
        (got.len(), got[0].json()["type"].as_str()),
        (1, Some("test"))
    );
}
