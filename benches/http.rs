//! Times what `patina run` answers from a catalog of many objects, and what answering costs a backup that runs.
//!
//! `bash scripts/bench-deps.sh && cargo bench --bench http` sends requests on loopback with `wrk`, to a daemon that does
//! nothing else and to one that backs up a SQLite database; and times that backup alone, beside a bounded rate of
//! requests, and beside as many as go through. `PATINA_BENCH_OBJECTS` sets the size of the inventory (default 100000),
//! `PATINA_BENCH_MB` that of the database (default 300), `PATINA_BENCH_SECONDS` how long each path is asked (default 5),
//! `PATINA_BENCH_ROUNDS` how many backups of each kind are timed (default 7; the median counts).

mod inventory;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{TimeDelta, Utc};
use patina::catalog::{Catalog, JobStatus};
use patina::engine::state::StateDir;
use patina::http::key_digest;
use patina::store::DirStore;
use patina::types::{ByteCount, JobId};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use inventory::{Inventory, fill, name};

/// So many days of each database are stored.
const DAYS: usize = 100;

/// What is sent at once where nothing bounds the rate.
const CONNECTIONS: usize = 16;

/// Where the rate is bounded: so many clients, each with so long a pause between its requests, which makes 200 a second.
const CLIENTS: usize = 20;
const PAUSE_MS: u32 = 100;

const SECRET: &str = "a-secret-of-a-bench";

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks at a job.
const LOOK_EVERY: Duration = Duration::from_millis(20);

fn main() {
    let number = |name: &str, default: usize| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let objects = number("PATINA_BENCH_OBJECTS", 100_000);
    let megabytes = number("PATINA_BENCH_MB", 300);
    let seconds = number("PATINA_BENCH_SECONDS", 5) as u64;
    let rounds = number("PATINA_BENCH_ROUNDS", 7);
    let site = Site::start(objects, megabytes);
    let plain = site.back_up();
    println!(
        "{objects} objects of {} databases; a backup of {} of SQL",
        objects.div_ceil(DAYS),
        ByteCount(plain.size_bytes)
    );
    answers(&site, Duration::from_secs(seconds));
    backups(&site, rounds);
}

/// Every kind of question: alone, and while a backup runs.
fn answers(site: &Site, time: Duration) {
    let one = format!("/list?limit=100&database={}", name(1));
    let page = "/ (the page)";
    println!(
        "  {:<34} {:>9}  {:>28}  {:>28}",
        "", "answer", "nothing else runs", "while a backup runs"
    );
    for path in [
        "/status",
        "/list",
        "/list?limit=100",
        &one,
        page,
        "/metrics",
    ] {
        let load = Load {
            paths: vec![path.split(' ').next().unwrap_or(path)],
            accept: if path == page { "text/html" } else { "*/*" },
            rate: Rate::Unbounded,
        };
        let size = site.size_of(&load);
        let idle = site.load(&load).run(time);
        let (busy, _) = site.back_up_beside(&load);
        println!(
            "  {path:<34} {:>9}  {idle}  {busy}",
            ByteCount(size).to_string()
        );
    }
}

/// Backups alone and beside requests, in turns.
fn backups(site: &Site, rounds: usize) {
    let one = format!("/list?database={}", name(1));
    let mix = |rate| Load {
        paths: vec!["/status", "/list", &one, "/list?limit=100"],
        accept: "*/*",
        rate,
    };
    let (bounded, unbounded) = (mix(Rate::Bounded), mix(Rate::Unbounded));
    let mut took: [Vec<u64>; 3] = Default::default();
    let mut answered: [Vec<Answered>; 2] = Default::default();
    for _ in 0..rounds {
        took[0].push(site.back_up().duration_ms);
        for (place, load) in [&bounded, &unbounded].into_iter().enumerate() {
            let (answers, backup) = site.back_up_beside(load);
            took[place + 1].push(backup.duration_ms);
            answered[place].push(answers);
        }
    }
    let [alone, beside_bounded, beside_unbounded] = took.map(median);
    println!("  a backup, the median of {rounds} in turns");
    println!("    alone {:>47.2} s", alone as f64 / 1e3);
    let ratio = |duration_ms: u64| duration_ms as f64 / alone as f64;
    for (what, duration_ms, answers) in [
        ("beside a bounded rate", beside_bounded, &answered[0]),
        (
            "beside all that goes through",
            beside_unbounded,
            &answered[1],
        ),
    ] {
        let rate = median(answers.iter().map(Answered::per_second).collect());
        let slow = median(answers.iter().map(|one| one.slow_us).collect());
        println!(
            "    {what:<30} {rate:>9} requests/s {:>9.2} s  {:.3} times as long; 99th percentile {:.2} ms",
            duration_ms as f64 / 1e3,
            ratio(duration_ms),
            slow as f64 / 1e3
        );
    }
}

/// What is sent.
struct Load<'a> {
    paths: Vec<&'a str>,
    accept: &'static str,
    rate: Rate,
}

#[derive(Clone, Copy)]
enum Rate {
    Bounded,
    Unbounded,
}

/// One run of wrk.
struct Sending(Child);

impl Sending {
    /// Lets it send for so long.
    fn run(self, time: Duration) -> Answered {
        std::thread::sleep(time);
        self.end()
    }

    /// Ends it early; it tells what it measured.
    fn end(self) -> Answered {
        let id = self.0.id().try_into().expect("a process id");
        kill_process(Pid::from_raw(id).expect("a process id"), Signal::INT).expect("wrk runs");
        let output = self.0.wait_with_output().expect("wrk");
        let text = String::from_utf8_lossy(&output.stdout);
        let line = text.lines().find_map(|line| line.strip_prefix("measured "));
        let numbers = line.map(|line| line.split(' ').filter_map(|one| one.parse().ok()));
        let numbers: Vec<u64> = numbers.into_iter().flatten().collect();
        let [requests, duration_us, median_us, slow_us, wrong] = numbers[..] else {
            panic!("wrk measured nothing: {text}");
        };
        assert_eq!(wrong, 0, "{text}");
        Answered {
            requests,
            duration_us,
            median_us,
            slow_us,
        }
    }
}

/// What wrk measured.
struct Answered {
    requests: u64,
    duration_us: u64,
    median_us: u64,
    /// The 99th percentile.
    slow_us: u64,
}

impl Answered {
    fn per_second(&self) -> u64 {
        self.requests * 1_000_000 / self.duration_us.max(1)
    }
}

impl std::fmt::Display for Answered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (middle, slow) = (self.median_us as f64 / 1e3, self.slow_us as f64 / 1e3);
        let rate = self.per_second();
        write!(f, "{rate:>7}/s {middle:>7.2} {slow:>7.2} ms")
    }
}

/// A job that made a copy of the database.
struct Backup {
    duration_ms: u64,
    size_bytes: u64,
}

/// A daemon that runs by itself, over an inventory that was made up and one database that is not.
struct Site {
    folder: TempDir,
    process: Child,
    address: String,
    runtime: Runtime,
    client: reqwest::Client,
    catalog: Catalog,
}

impl Site {
    fn start(objects: usize, megabytes: usize) -> Self {
        patina::net::install_tls();
        let folder = tempfile::tempdir().expect("a temporary folder");
        let root = folder.path();
        fill(&root.join("large.db"), megabytes);
        fs::write(root.join("patina.toml"), configuration(objects)).expect("a file");
        let path = StateDir::catalog_path(&root.join("state"));
        adopt(root, &path, objects);
        let log = File::create(root.join("log")).expect("a log");
        let process = Command::new(env!("CARGO_BIN_EXE_patina"))
            .arg("run")
            .current_dir(root)
            .env_remove("PATINA_CONFIG")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("patina");
        let catalog = Catalog::open_read_only(&path).expect("a catalog");
        let mut site = Self {
            process,
            address: String::new(),
            runtime: Runtime::new().expect("a runtime"),
            client: reqwest::Client::new(),
            catalog: catalog.expect("a catalog"),
            folder,
        };
        site.address = site.listening();
        site
    }

    fn listening(&self) -> String {
        let begun = Instant::now();
        loop {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            let found = log.split("listening on http://").nth(1);
            if let Some(line) = found.filter(|rest| rest.contains('\n')) {
                let address = line.split_whitespace().next();
                return address.expect("an address").to_owned();
            }
            assert!(begun.elapsed() < PATIENCE, "{log}");
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Begins to send.
    fn load(&self, load: &Load<'_>) -> Sending {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/load.lua");
        let mut wrk = Command::new("wrk");
        match load.rate {
            Rate::Bounded => wrk
                .arg(format!("-c{CLIENTS}"))
                .env("PATINA_BENCH_PAUSE_MS", PAUSE_MS.to_string()),
            Rate::Unbounded => wrk.arg(format!("-c{CONNECTIONS}")),
        };
        let child = wrk
            .args([
                "-t1",
                "-d1h",
                "--timeout",
                "30s",
                "-H",
                &format!("X-Patina-Key: {}", key()),
            ])
            .args(["-H", &format!("Accept: {}", load.accept), "-s"])
            .arg(script)
            .arg(format!("http://{}", self.address))
            .arg("--")
            .args(&load.paths)
            .stdout(Stdio::piped())
            .spawn();
        Sending(child.expect("scripts/bench-deps.sh installs wrk"))
    }

    fn back_up_beside(&self, load: &Load<'_>) -> (Answered, Backup) {
        let sending = self.load(load);
        // The connections are there, and every answer that is kept was made once.
        std::thread::sleep(Duration::from_secs(1));
        let backup = self.back_up();
        (sending.end(), backup)
    }

    /// Has the daemon back up the database, and removes the copy so that disks of any size do.
    fn back_up(&self) -> Backup {
        let answer = self.runtime.block_on(async {
            let asked = self.client.post(format!("http://{}/trigger", self.address));
            let asked = asked.header("X-Patina-Key", key());
            let asked = asked.body(r#"{"databases": ["large"]}"#).send().await;
            asked.expect("an answer").json::<serde_json::Value>().await
        });
        let answer = answer.expect("JSON");
        let id = answer["jobId"].as_str().and_then(|id| id.parse().ok());
        let id: JobId = id.unwrap_or_else(|| panic!("{answer}"));
        let begun = Instant::now();
        let job = loop {
            let job = self.catalog.job(id).expect("the catalog");
            if let Some(job) = job.filter(|job| job.status != JobStatus::Running) {
                break job;
            }
            let log = || fs::read_to_string(self.path("log")).unwrap_or_default();
            assert!(begun.elapsed() < PATIENCE, "{}", log());
            std::thread::sleep(LOOK_EVERY);
        };
        let results = self.catalog.results(id).expect("the catalog");
        assert_eq!(job.status, JobStatus::Completed, "{results:?}");
        for result in results.iter().filter_map(|result| result.key.as_ref()) {
            let copy = self.path("near").join(result.as_str());
            fs::remove_file(copy).expect("the copy is there");
        }
        Backup {
            duration_ms: job.duration_ms.expect("it ended"),
            size_bytes: job.total_size_bytes,
        }
    }

    /// The bytes of an answer.
    fn size_of(&self, load: &Load<'_>) -> u64 {
        let url = format!("http://{}{}", self.address, load.paths[0]);
        let body = self.runtime.block_on(async {
            let asked = self.client.get(url).header("X-Patina-Key", key());
            let answer = asked.header("Accept", load.accept).send().await;
            let answer = answer.and_then(reqwest::Response::error_for_status);
            answer.expect("an answer").bytes().await
        });
        body.expect("an answer").len() as u64
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn key() -> String {
    format!("ptk_bench_{SECRET}")
}

/// Nothing is due by itself for half a year.
fn configuration(objects: usize) -> String {
    let far = (Utc::now() + TimeDelta::days(180)).format("0 0 %-d %-m *");
    let mut text = format!(
        "[agent]\nstate = \"state\"\n\
         [schedule]\nnightly = \"{far}\"\nweekly = \"{far}\"\nreconcile = \"{far}\"\nverify = \"{far}\"\n\
         [export]\ntimeout = \"1h\"\n[[storage]]\nname = \"near\"\ndirectory = \"near\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n\
         [[http.key]]\nid = \"bench\"\nsha256 = \"{}\"\nscopes = [\"read\", \"trigger\", \"metrics\"]\n",
        key_digest(SECRET)
    );
    let names = (0..objects.div_ceil(DAYS)).map(|number| name(number).to_string());
    for name in names.chain(["large".to_owned()]) {
        text += &format!("[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n");
    }
    text
}

/// Writes the inventory into the catalog that the daemon then opens, and makes the storage that it knows.
fn adopt(root: &Path, catalog: &Path, objects: usize) {
    let catalog = Catalog::open(catalog).expect("a catalog");
    let instance = catalog.instance().expect("an id");
    DirStore::open("near", &root.join("near"), &instance).expect("a store");
    let made = Inventory {
        objects,
        days: DAYS,
        newest: Utc::now(),
        instance: &instance,
    };
    let adoptions = made.adoptions(made.manifests());
    let refused = catalog.adopt_all("near", &adoptions).expect("adopted");
    assert!(refused.is_empty());
}

fn median(mut values: Vec<u64>) -> u64 {
    values.sort_unstable();
    values[values.len() / 2]
}
