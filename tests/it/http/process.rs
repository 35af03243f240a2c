//! The server in its own process: `patina run`, killed, told to end, told to look again.

use std::fs::{self, File};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use patina::catalog::Catalog;
use patina::types::JobId;
use reqwest::{Method, RequestBuilder, StatusCode};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::alerts::server::Server;

use super::{ALL, database, full_key, json, key, key_text};

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installation whose process comes and goes.
pub(super) struct Site {
    folder: TempDir,
    process: Option<Child>,
    pub(super) address: String,
    starts: u32,
}

impl Site {
    pub(super) fn new(rows: u32, http: &str) -> Self {
        // The clients of these tests need it as well.
        patina::net::install_tls();
        let folder = tempfile::tempdir().unwrap();
        database(&folder.path().join("blog.db"), rows);
        let mut site = Self {
            folder,
            process: None,
            address: String::new(),
            starts: 0,
        };
        site.configure(http);
        site.start();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Nothing is due by itself for half a year.
    fn configure(&self, http: &str) {
        let far = chrono::Utc::now() + chrono::TimeDelta::days(180);
        let far = far.format("0 0 %-d %-m *");
        let text = format!(
            "[schedule]\nnightly = \"{far}\"\nweekly = \"{far}\"\nreconcile = \"{far}\"\nverify = \"{far}\"\n\
             [export]\ntimeout = \"5m\"\n[[storage]]\nname = \"near\"\ndirectory = \"near\"\n\
             [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n[http]\nlisten = \"127.0.0.1:0\"\n{http}"
        );
        fs::write(self.path("patina.toml"), text).unwrap();
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

    fn start(&mut self) {
        let run = self.command(&["run"]);
        self.start_as(run);
    }

    fn start_as(&mut self, mut run: Command) {
        self.starts += 1;
        let log = File::create(self.log_path()).unwrap();
        let process = run.stderr(log).spawn().unwrap();
        self.process = Some(process);
        let begun = Instant::now();
        self.address = loop {
            let log = self.log();
            let found = log.split("listening on http://").nth(1);
            if let Some(line) = found.filter(|rest| rest.contains('\n')) {
                break line.split_whitespace().next().unwrap().to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(Duration::from_millis(10));
        };
    }

    fn log_path(&self) -> PathBuf {
        self.path(&format!("log{}", self.starts))
    }

    pub(super) fn log(&self) -> String {
        let mut text = String::new();
        let mut file = File::open(self.log_path()).unwrap();
        file.read_to_string(&mut text).unwrap();
        text
    }

    fn signal(&self, signal: Signal) {
        let id = self.process.as_ref().unwrap().id();
        kill_process(Pid::from_raw(id.try_into().unwrap()).unwrap(), signal).unwrap();
    }

    /// Kills it without a word.
    fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Tells it to end; gives how long that took.
    fn stop(&mut self) -> Duration {
        let told = Instant::now();
        self.signal(Signal::TERM);
        let status = self.process.take().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        told.elapsed()
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let client = reqwest::Client::new();
        let request = client.request(method, format!("http://{}{path}", self.address));
        request.header("X-Patina-Key", key_text(ALL.0))
    }

    async fn get(&self, path: &str) -> Value {
        json(self.request(Method::GET, path)).await.1
    }

    /// Asks for a backup; gives the job.
    pub(super) async fn trigger(&self) -> String {
        let (status, body) = json(self.request(Method::POST, "/trigger")).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        body["jobId"].as_str().unwrap().to_owned()
    }

    /// Waits until a job stands so.
    pub(super) async fn wait_for(&self, job: &str, status: &str) -> Value {
        let begun = Instant::now();
        loop {
            let found = self.get(&format!("/jobs/{job}")).await;
            if found["status"] == status {
                return found;
            }
            assert!(begun.elapsed() < PATIENCE, "{found}: {}", self.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            // It may have ended by itself.
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_is_asked_for_is_made_and_seen_live_and_can_be_downloaded() {
    let site = Site::new(80_000, &full_key());
    let mut events = site.request(Method::GET, "/events").send().await.unwrap();
    let wishes = (0..20).map(|_| site.request(Method::POST, "/trigger").send());
    let answers = futures_util::future::join_all(wishes).await;
    let accepted = answers
        .iter()
        .filter(|answer| answer.as_ref().unwrap().status() == StatusCode::ACCEPTED);
    assert_eq!(accepted.count(), 1);
    let mut told = String::new();
    while !told.contains("event: job") {
        let chunk = events.chunk().await.unwrap().expect("it goes on");
        told.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    for text in [
        "event: progress",
        "\"stage\":\"exporting\"",
        "\"status\":\"completed\"",
    ] {
        assert!(told.contains(text), "{text}: {told}");
    }
    let status = site.get("/status").await;
    assert_eq!(
        status["recentJobs"].as_array().unwrap().len(),
        1,
        "{status}"
    );
    assert_eq!(status["lastBackup"]["successful"], 1);
    let date = status["lastBackup"]["date"].as_str().unwrap();
    let download = site.request(Method::GET, &format!("/download/{date}/blog"));
    let download = download.send().await.unwrap();
    assert_eq!(download.status(), StatusCode::OK);
    assert!(download.bytes().await.unwrap().len() > 20_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_survives_kill_9_before_its_job_and_in_the_middle_of_it() {
    let mut site = Site::new(60_000, &full_key());
    // In the middle: the job is interrupted, and another one makes the backup.
    let job = site.trigger().await;
    site.wait_for(&job, "running").await;
    site.kill();
    site.start();
    site.wait_for(&job, "interrupted").await;
    let second = loop {
        let recent = site.get("/status").await["recentJobs"].clone();
        if recent.as_array().unwrap().len() == 2 {
            break recent[0]["jobId"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let done = site.wait_for(&second, "completed").await;
    assert_eq!(done["trigger"], "manual");
    // Before it: the wish lies in the catalog alone.
    site.stop();
    let catalog = Catalog::open(&site.path("state/catalog.db")).unwrap();
    let wish = patina::catalog::BackupRequest {
        job: JobId::random(),
        at: chrono::Utc::now(),
        client: "key:all".to_owned(),
        reason: Some("before the crash".to_owned()),
        databases: Vec::new(),
        attempts: 0,
        ended_at: None,
    };
    catalog.ask(&wish).unwrap();
    drop(catalog);
    site.start();
    let done = site.wait_for(&wish.job.to_string(), "completed").await;
    assert_eq!(done["reason"], "before the crash");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_of_downloads_survives_kill_9() {
    let mut site = Site::new(100, &full_key());
    let job = site.trigger().await;
    site.wait_for(&job, "completed").await;
    let date = site.get("/status").await["lastBackup"]["date"].clone();
    let path = format!("/download/{}/blog", date.as_str().unwrap());
    for number in 0..10 {
        let response = site.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{number}");
        response.bytes().await.unwrap();
        if number == 4 {
            site.kill();
            site.start();
        }
    }
    for _ in 0..2 {
        let refused = site.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
        let pause = super::retry_after(&refused);
        assert!((3500..=3600).contains(&pause), "{pause}");
        site.kill();
        site.start();
    }
    let verified = site.command(&["audit", "verify"]).output().unwrap();
    let said = String::from_utf8(verified.stdout).unwrap();
    assert!(
        verified.status.success() && said.contains("as they were written"),
        "{said}"
    );
    let listed = site.command(&["--json", "audit", "list"]).output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let rows = listed["rows"].as_array().unwrap();
    let granted = rows.iter().filter(|row| row["outcome"] == "granted");
    assert_eq!(granted.count(), 10);
    let db = rusqlite::Connection::open(site.path("state/catalog.db")).unwrap();
    db.execute("UPDATE audit SET address = '192.0.2.1' WHERE id = 2", [])
        .unwrap();
    let broken = site.command(&["audit", "verify"]).output().unwrap();
    assert_eq!(broken.status.code(), Some(4));
    assert!(String::from_utf8(broken.stderr).unwrap().contains("row 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_opens_after_a_hangup_and_the_old_one_no_more() {
    let site = Site::new(100, &full_key());
    let made = site.command(&["--json", "key", "new", "ci", "--scope", "read,trigger"]);
    let made = { made }.output().unwrap();
    let made: Value = serde_json::from_slice(&made.stdout).unwrap();
    let new = made["key"].as_str().unwrap();
    assert!(new.starts_with("ptk_ci_") && new.len() == 7 + 64, "{made}");
    let status = async |key: &str| {
        let request = reqwest::Client::new().get(format!("http://{}/status", site.address));
        request
            .header("X-Patina-Key", key)
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let old = key_text(ALL.0);
    assert_eq!((status(&old).await, status(new).await), (200, 401));
    let said = site
        .command(&["key", "new", "--expires", "90d"])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("[[http.key]]") && said.contains("expires = \"20"),
        "{said}"
    );
    let digest = made["sha256"].as_str().unwrap();
    site.configure(&format!(
        "[[http.key]]\nid = \"ci\"\nsha256 = \"{digest}\"\nscopes = [\"read\", \"trigger\"]\n"
    ));
    site.signal(Signal::HUP);
    let begun = Instant::now();
    while !site.log().contains("the configuration is reloaded") {
        assert!(begun.elapsed() < PATIENCE, "{}", site.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((status(&old).await, status(new).await), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_end_it_ends_every_stream_and_itself_in_time() {
    let mut site = Site::new(100, &full_key());
    let mut events = site.request(Method::GET, "/events").send().await.unwrap();
    events.chunk().await.unwrap().unwrap();
    let took = site.stop();
    assert!(took < Duration::from_secs(5), "{took:?}");
    while let Ok(Some(_)) = events.chunk().await {}
    assert!(!site.log().contains("panicked"), "{}", site.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_in_use_and_one_open_to_all_are_refused_with_the_way_out() {
    let first = Site::new(100, "");
    let folder = tempfile::tempdir().unwrap();
    database(&folder.path().join("blog.db"), 10);
    let run = |listen: &str, keys: &str| {
        let text = format!(
            "[[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\n[http]\nlisten = \"{listen}\"\n{keys}"
        );
        fs::write(folder.path().join("patina.toml"), text).unwrap();
        let mut command = first.command(&["run"]);
        let ran = command.current_dir(folder.path()).output().unwrap();
        (ran.status.code(), String::from_utf8(ran.stderr).unwrap())
    };
    let (code, said) = run(&first.address, "");
    assert_eq!(code, Some(1), "{said}");
    let wanted = format!("`{}` is in use", first.address);
    assert!(said.contains(&wanted) && said.contains("hint: "), "{said}");
    let (code, said) = run("0.0.0.0:0", "");
    assert_eq!(code, Some(2), "{said}");
    assert!(
        said.contains("lets everybody in") && said.contains("patina key new"),
        "{said}"
    );
    // An address that nobody here has.
    let (code, said) = run("192.0.2.1:8787", &key("a", "\"read\"", ""));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("cannot listen on `192.0.2.1:8787`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn key_list_shows_age_and_last_use_and_check_warns_of_an_old_key() {
    let old = key("old", r#""read""#, "created = \"2020-01-01\"");
    let site = Site::new(100, &format!("{}{old}", full_key()));
    site.get("/status").await;
    let list = || {
        let listed = site.command(&["--json", "key", "list"]).output().unwrap();
        let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
        listed["keys"].as_array().unwrap().clone()
    };
    let begun = Instant::now();
    while list()[0]["last_used_from"] != "127.0.0.1" {
        assert!(begun.elapsed() < PATIENCE, "{:?}", list());
        std::thread::sleep(Duration::from_millis(50));
    }
    let keys = list();
    assert_eq!(
        (&keys[0]["id"], &keys[0]["state"]),
        (&"all".into(), &"good".into())
    );
    assert_eq!(
        (&keys[1]["state"], &keys[1]["last_used_at"]),
        (&"replace it".into(), &Value::Null)
    );
    let shown = site.command(&["key", "list"]).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(
        shown.contains("replace it") && shown.contains("hint: `patina key new`"),
        "{shown}"
    );
    let checked = site.command(&["check"]).output().unwrap();
    let checked = String::from_utf8(checked.stderr).unwrap();
    assert!(
        checked.contains("the key `old` is") && checked.contains("`rotate_after` is 90d"),
        "{checked}"
    );
    // Refused requests are shown with the others.
    let refused = reqwest::get(format!("http://{}/list", site.address)).await;
    assert_eq!(refused.unwrap().status(), StatusCode::UNAUTHORIZED);
    let begun = Instant::now();
    loop {
        let audit = site.command(&["audit", "list"]).output().unwrap();
        let audit = String::from_utf8(audit.stdout).unwrap();
        if audit.contains("refused 401") && audit.contains("GET /list") {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "{audit}");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(
        site.log()
            .contains("refused with 401 (unauthorized): GET /list"),
        "{}",
        site.log()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn alert_config_holds_the_sinks_in_force_and_follows_a_reload() {
    let site = Site::new(100, &full_key());
    let rows = || {
        let path = site.path("state/catalog.db");
        let db = rusqlite::Connection::open(path).unwrap();
        let sql = "SELECT sink, kind, webhook_url, enabled, notify_on_success, notify_on_failure
                   FROM alert_config JOIN alert_sinks ON config_id = alert_config.id ORDER BY sink";
        let mut statement = db.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| {
            let texts: (String, String, Option<String>) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let flags: (bool, bool, bool) = (row.get(3)?, row.get(4)?, row.get(5)?);
            Ok(format!("{texts:?} {flags:?}"))
        });
        rows.unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    assert_eq!(rows(), ["(\"\", \"\", None) (false, false, true)"]);
    fs::write(
        site.path("url"),
        "https://discord.example/api/webhooks/1/very-secret",
    )
    .unwrap();
    site.configure(&format!(
        "{}\n[alerts]\non_success = true\n[[alerts.sink]]\nname = \"ops\"\ndiscord = \"file:url\"\nmin_severity = \"critical\"\n",
        full_key()
    ));
    site.signal(Signal::HUP);
    let begun = Instant::now();
    while rows() != ["(\"ops\", \"discord\", Some(\"file:url\")) (true, true, true)"] {
        assert!(begun.elapsed() < PATIENCE, "{:?} {}", rows(), site.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    let bytes = fs::read(site.path("state/catalog.db")).unwrap();
    assert!(!String::from_utf8_lossy(&bytes).contains("very-secret"));
    site.configure(&full_key());
    site.signal(Signal::HUP);
    let begun = Instant::now();
    while rows() != ["(\"\", \"\", None) (false, false, true)"] {
        assert!(begun.elapsed() < PATIENCE, "{:?}", rows());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_hold_every_connection_leave_a_backup_its_open_files() {
    let mut site = Site::new(2_000, &full_key());
    site.stop();
    let program = env!("CARGO_BIN_EXE_patina");
    let mut run = Command::new("sh");
    let limited = format!("ulimit -n 64; exec {program} run");
    run.current_dir(site.folder.path()).args(["-c", &limited]);
    site.start_as(run);
    let begun = Instant::now();
    while !site.log().contains("at once: the process may have") {
        assert!(begun.elapsed() < PATIENCE, "{}", site.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // One connection that goes on; what it needs is there before the others come.
    let client = reqwest::Client::new();
    let ask = |method: Method, path: &str| {
        let request = client.request(method, format!("http://{}{path}", site.address));
        request.header("X-Patina-Key", key_text(ALL.0))
    };
    json(ask(Method::GET, "/status")).await;
    let held: Vec<_> = (0..100)
        .map(|_| std::net::TcpStream::connect(&site.address).unwrap())
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (status, body) = json(ask(Method::POST, "/trigger")).await;
    assert_eq!(status, StatusCode::ACCEPTED, "{body}");
    let job = body["jobId"].as_str().unwrap();
    let begun = Instant::now();
    loop {
        let (_, found) = json(ask(Method::GET, &format!("/jobs/{job}"))).await;
        if found["status"] == "completed" {
            break;
        }
        assert!(
            found["status"] != "failed" && begun.elapsed() < PATIENCE,
            "{found} {}",
            site.log()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_usual_reaches_the_sinks_at_once() {
    let sink = Server::start().await;
    let site = Site::new(100, &full_key());
    fs::write(site.path("url"), sink.url("ops")).unwrap();
    site.configure(&format!(
        "allow_ips = [\"127.0.0.1\"]\n{}[alerts]\n[[alerts.sink]]\nname = \"ops\"\nwebhook = \"file:url\"\n\
         only = [\"unusual_access\"]\nallow_private = true\n",
        full_key()
    ));
    site.signal(Signal::HUP);
    let begun = Instant::now();
    while !site.log().contains("the configuration is reloaded") {
        assert!(begun.elapsed() < PATIENCE, "{}", site.log());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let client = reqwest::Client::new();
    let list = client.get(format!("http://{}/list", site.address));
    let rebound = list.header("Host", "evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST);
    let got = sink.wait_for("ops", 1).await;
    let body = got[0].json();
    assert_eq!(body["type"], "unusual_access", "{body}");
    assert!(body.to_string().contains("page of another site"), "{body}");
}
