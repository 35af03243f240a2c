//! Times the way from D1 into a bucket against what a user would otherwise run, in the same run: the real D1 engine and
//! a real S3 server on loopback, and the release binary.
//!
//! `bash scripts/bench-deps.sh && cargo bench --bench d1_to_s3` prints one line per measurement. `PATINA_BENCH_MB` sets
//! the size of the large dump (default 200), `PATINA_BENCH_ONLY` picks by a part of a line's name.

#[path = "../tests/it/d1/engine.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "it is a test's, where this one also stops"
)]
mod engine;
#[path = "../tests/it/s3/server.rs"]
#[allow(
    dead_code,
    clippy::unwrap_used,
    reason = "it is a test's, where this one also stops"
)]
mod server;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use patina::clock::SystemClock;
use patina::store::{Body, S3Store, Store, digest};
use patina::types::{ByteCount, ObjectKey, Sha256};
use rusqlite::{Connection, params};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use engine::{ACCOUNT, Engine, TOKEN, Wrangler};
use server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};

/// Each side runs this often, in turns; the median counts.
const ROUNDS: usize = 3;

/// What `patina backup` may take, whatever the size of the database.
const MEMORY_LIMIT: u64 = 64 * 1024 * 1024;

/// Cloudflare's export refuses a database with a full-text table, and wrangler with it.
const WITHOUT_FULL_TEXT: &str =
    "DROP TRIGGER IF EXISTS posts_added; DROP TRIGGER IF EXISTS posts_removed;
    DROP TABLE IF EXISTS posts_search";

/// Between two looks at a child's memory.
const LOOK_EVERY: Duration = Duration::from_millis(5);

fn main() {
    let megabytes = std::env::var("PATINA_BENCH_MB");
    let megabytes = megabytes.ok().and_then(|text| text.parse().ok());
    let megabytes: usize = megabytes.unwrap_or(200);
    let only = std::env::var("PATINA_BENCH_ONLY").unwrap_or_default();
    let is_wanted = |name: &str| name.contains(&only);
    let runtime = Runtime::new().expect("a runtime");
    let server = runtime.block_on(Server::start());
    if is_wanted("six databases") {
        six_databases(&server);
    }
    if is_wanted("memory") {
        memory(&server, megabytes);
    }
    if is_wanted("upload") {
        upload(&runtime, &server, megabytes);
    }
}

/// A folder with a configuration in which patina runs.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn configure(&self, server: &Server, prefix: &str, more: &str) {
        let text = format!(
            "[agent]\nstate = \"state\"\n[export]\nconcurrency = 3\ntimeout = \"30m\"\n\
             [[storage]]\nname = \"bucket\"\n[storage.s3]\nendpoint = \"{}\"\nbucket = \"{BUCKET}\"\nregion = \"auto\"\n\
             prefix = \"{prefix}/\"\naccess_key_id = \"env:S3_ID\"\nsecret_access_key = \"env:S3_SECRET\"\n{more}",
            server.endpoint()
        );
        fs::write(self.path("patina.toml"), text).expect("the configuration");
    }

    /// Runs patina; gives the most memory that it took.
    fn patina(&self, args: &[&str]) -> u64 {
        let log = fs::File::create(self.path("log")).expect("a log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
        command
            .args(args)
            .current_dir(self.0.path())
            .env_remove("PATINA_CONFIG")
            .env_remove("RUST_LOG")
            .env("D1_TOKEN", TOKEN)
            .env("S3_ID", ACCESS_KEY_ID)
            .env("S3_SECRET", SECRET_ACCESS_KEY)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        let mut child = command.spawn().expect("patina");
        let peak = peak_of(&mut child);
        let status = child.wait().expect("patina");
        let told = || fs::read_to_string(self.path("log")).unwrap_or_default();
        assert!(status.success(), "{args:?}: {}", told());
        peak
    }
}

/// The most memory that a process takes until it ends, in bytes.
fn peak_of(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().expect("a child").is_none() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak = kilobytes.map_or(peak, |kilobytes: u64| peak.max(kilobytes * 1024));
        std::thread::sleep(LOOK_EVERY);
    }
    peak
}

/// `patina backup` of six databases like Grove's, three at a time, each restored, compared and read back, against one
/// export after the other, which does nothing of that.
fn six_databases(server: &Server) {
    let (place, demo, engine) = (Place::new(), Place::new(), Engine::start());
    let folder = demo.0.path().to_str().expect("a path in UTF-8");
    demo.patina(&["demo", folder]);
    let mut more = format!(
        "[cloudflare]\naccount_id = \"{ACCOUNT}\"\napi_token = \"env:D1_TOKEN\"\napi_url = \"{}\"\n",
        engine.url()
    );
    let mut ids = Vec::new();
    for dump in dumps_below(&demo.path("backups/daily")) {
        let text = fs::read_to_string(&dump).expect("a dump");
        // D1 has no such settings.
        let lines = text
            .lines()
            .filter(|line| !line.starts_with("PRAGMA user_version"));
        fs::write(&dump, lines.collect::<Vec<_>>().join("\n")).expect("a dump");
        let name = dump
            .file_stem()
            .and_then(|name| name.to_str())
            .expect("a name");
        let id = engine.create(name);
        engine.import(&id, &dump);
        engine.execute(&id, WITHOUT_FULL_TEXT);
        let _ = write!(more, "[[database]]\nname = \"{name}\"\nd1 = \"{id}\"\n");
        ids.push(id);
    }
    assert_eq!(ids.len(), 6, "the demo has six databases");
    place.configure(server, "six", &more);
    let local: Vec<Wrangler> = ids.iter().map(|id| of_its_own(&engine, id)).collect();
    let (mut ours, mut by_wrangler, mut by_local, mut by_api) = (vec![], vec![], vec![], vec![]);
    let mut peak = 0;
    let out = place.path("export.sql");
    for _ in 0..ROUNDS {
        ours.push(timed(|| peak = place.patina(&["backup"]).max(peak)));
        by_wrangler.push(timed(|| {
            for id in &ids {
                Wrangler::remote(&engine, id)
                    .export(&out)
                    .expect("wrangler exports");
            }
        }));
        by_local.push(timed(|| {
            for wrangler in &local {
                wrangler.export(&out).expect("wrangler exports");
            }
        }));
        by_api.push(timed(|| {
            ids.iter().for_each(|id| exported(&engine, id, &out))
        }));
    }
    let ours = median(ours);
    println!(
        "six databases, D1 to S3, proven: {:.2} s, at most {}",
        ours.as_secs_f64(),
        ByteCount(peak)
    );
    for (what, theirs) in [
        ("wrangler d1 export --remote, six times", by_wrangler),
        ("wrangler d1 export --local, six times", by_local),
        (
            "bare POST /export polled without a pause, six times",
            by_api,
        ),
    ] {
        print("six databases", what, median(theirs), ours);
    }
}

/// wrangler with the database in a local D1 of its own.
fn of_its_own(engine: &Engine, id: &str) -> Wrangler {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("export.sql");
    exported(engine, id, &file);
    let wrangler = Wrangler::local();
    wrangler
        .execute(&file)
        .expect("wrangler takes D1's own export");
    wrangler
}

/// Fetches D1's own export over the API.
fn exported(engine: &Engine, id: &str, to: &Path) {
    let mut state = engine.export(id, None);
    while state["status"] == "active" {
        let bookmark = state["at_bookmark"].as_str().map(str::to_owned);
        state = engine.export(id, bookmark.as_deref());
    }
    let url = state["result"]["signed_url"].as_str().expect("a link");
    fs::write(to, engine.download(url)).expect("the file");
}

fn dumps_below(folder: &Path) -> Vec<PathBuf> {
    let days = fs::read_dir(folder).expect("the demo's copies");
    let day = days.flatten().next().expect("a day").path();
    let files = fs::read_dir(day).expect("the day's copies").flatten();
    let mut dumps: Vec<PathBuf> = files.map(|file| file.path()).collect();
    dumps.retain(|path| path.extension().is_some_and(|extension| extension == "sql"));
    dumps.sort();
    dumps
}

/// The most memory that `patina backup` of one large SQLite database to S3 takes, the drill and the reading back
/// included.
fn memory(server: &Server, megabytes: usize) {
    let place = Place::new();
    make(&place.path("large.db"), megabytes);
    place.configure(
        server,
        "memory",
        "[[database]]\nname = \"large\"\nsqlite = \"large.db\"\n",
    );
    let mut peak = 0;
    let took = timed(|| peak = place.patina(&["--json", "backup"]));
    let report = fs::read(place.path("log")).expect("the report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("a report");
    let bytes = report["databases"][0]["plain_bytes"]
        .as_u64()
        .expect("a size");
    let verdict = if peak < MEMORY_LIMIT {
        "below"
    } else {
        "ABOVE"
    };
    println!(
        "memory of `patina backup`, SQLite to S3, a dump of {}: {} at most, {verdict} {}; {:.1} s",
        ByteCount(bytes),
        ByteCount(peak),
        ByteCount(MEMORY_LIMIT),
        took.as_secs_f64(),
    );
}

/// One file into the bucket, by Patina's store and by rclone.
fn upload(runtime: &Runtime, server: &Server, megabytes: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("large.sql");
    let mut numbers = Numbers(45);
    let bytes: Vec<u8> = std::iter::repeat_with(|| numbers.next().to_le_bytes())
        .take(megabytes * 131_072)
        .flatten()
        .collect();
    fs::write(&file, &bytes).expect("the file");
    let (size_bytes, sha256) = (bytes.len() as u64, Sha256::of(&bytes));
    drop(bytes);
    let clock = Arc::new(SystemClock::new());
    let settings = server.settings("upload/");
    let store = S3Store::connect("bench", &settings, "bench", clock).expect("a store");
    runtime
        .block_on(store.conditional_writes())
        .expect("the server answers");
    let (mut ours, mut theirs, mut read) = (vec![], vec![], vec![]);
    for round in 1..=ROUNDS {
        let key: ObjectKey = format!("daily/2026-11-{round:02}/large.sql")
            .parse()
            .expect("a key");
        let body = Body::File {
            path: &file,
            size_bytes,
            sha256,
        };
        ours.push(timed(|| {
            runtime.block_on(store.create(&key, body)).expect("stored")
        }));
        read.push(timed(|| {
            let found = runtime.block_on(digest(&store, &key)).expect("read");
            assert_eq!(found.map(|found| found.sha256), Some(sha256));
        }));
        theirs.push(timed(|| rclone(server, &file, round)));
    }
    let (ours, theirs, read) = (median(ours), median(theirs), median(read));
    let rate = |time: Duration| size_bytes as f64 / time.as_secs_f64() / 1e6;
    println!(
        "upload of {}: Patina {:.0} MB/s, rclone {:.0} MB/s; Patina reads back and hashes at {:.0} MB/s",
        ByteCount(size_bytes),
        rate(ours),
        rate(theirs),
        rate(read)
    );
    print("upload", "rclone copyto", theirs, ours);
}

fn rclone(server: &Server, file: &Path, round: usize) {
    let output = Command::new("rclone")
        .arg("copyto")
        .arg(file)
        .arg(format!("bench:{BUCKET}/rclone/{round}.sql"))
        .arg("--s3-no-check-bucket")
        .env_remove("AWS_CA_BUNDLE")
        .env("RCLONE_CONFIG", "/dev/null")
        .env("RCLONE_CONFIG_BENCH_TYPE", "s3")
        .env("RCLONE_CONFIG_BENCH_PROVIDER", "Other")
        .env("RCLONE_CONFIG_BENCH_REGION", "auto")
        .env("RCLONE_CONFIG_BENCH_ENDPOINT", server.endpoint())
        .env("RCLONE_CONFIG_BENCH_ACCESS_KEY_ID", ACCESS_KEY_ID)
        .env("RCLONE_CONFIG_BENCH_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY)
        .output()
        .expect("rclone is installed: scripts/bench-deps.sh");
    assert!(output.status.success(), "{output:?}");
}

fn print(name: &str, what: &str, theirs: Duration, ours: Duration) {
    let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
    let name = format!("{name}: {what}");
    let (theirs, ours) = (theirs.as_secs_f64(), ours.as_secs_f64());
    println!("{name:<70} {theirs:>8.2}s  patina {ours:>8.2}s  {ratio:>6.1}x");
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Repeatable numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// Fills a database whose dump has about so many megabytes.
fn make(path: &Path, megabytes: usize) {
    let connection = Connection::open(path).expect("a new database");
    connection
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; BEGIN;
             CREATE TABLE events(id INTEGER PRIMARY KEY, kind TEXT, at INTEGER, amount REAL, note TEXT, payload BLOB);
             CREATE INDEX events_at ON events(at);",
        )
        .expect("a table");
    let mut numbers = Numbers(42);
    let mut insert = connection
        .prepare("INSERT INTO events(kind, at, amount, note, payload) VALUES (?,?,?,?,?)")
        .expect("insert");
    for row in 0..megabytes * 1000 {
        let payload: Vec<u8> = (0..32).flat_map(|_| numbers.next().to_le_bytes()).collect();
        let note = format!("it's row {row}, {:x}\n", numbers.next()).repeat(11);
        let (at, amount) = (numbers.next() % 2_000_000_000, numbers.next() as f64 / 1e9);
        insert
            .execute(params!["view", at, amount, note, payload])
            .expect("row");
    }
    drop(insert);
    connection.execute_batch("COMMIT").expect("the rows");
}
