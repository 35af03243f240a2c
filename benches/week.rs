//! Times the week against what a user would otherwise run, and the inventory's verbs on many objects.
//!
//! `cargo bench --bench week` packs seven copies of six databases and seven of a large one, `tar czf` the same files,
//! in one run, and prints the packing process's peak memory; then it lists, plans, expires and reconciles an inventory,
//! once where nothing may go and once where two days of every database do.
//! `PATINA_BENCH_MB` sets the large database's size (default 200), `PATINA_BENCH_OBJECTS` that of the inventory (default
//! 100000).

mod inventory;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{Adoption, Catalog, CopyFilter, Record};
use patina::clock::{Clock, ManualClock, SystemClock};
use patina::config::{Config, SourceSpec};
use patina::engine::backup::{self, Request};
use patina::engine::expire;
use patina::engine::pack::{self, Outcome};
use patina::engine::reconcile::{self, Patience};
use patina::engine::state::StateDir;
use patina::progress::Board;
use patina::retention::Guards;
use patina::source::SqliteSource;
use patina::store::{Body, DirStore, MemoryStore, Prune, Store};
use patina::types::{
    ARCHIVE_FORMAT, ArchiveManifest, ArchiveMember, BackupDate, ByteCount, JobId, Manifest,
    ObjectKey, Trigger,
};
use patina::wiring::{Moment, WiredDatabase, Wiring};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use inventory::{CONTENT, Inventory, fill};

/// Set for the child process that packs: the installation's folder.
const CHILD: &str = "PATINA_BENCH_WEEK";

const SMALL: [&str; 6] = ["auth", "scout", "engine", "posts", "stats", "jobs"];

/// A Sunday, and the week's last night.
const SUNDAY: &str = "2026-11-22T03:00:00Z";

const SMALL_MB: usize = 4;

/// The inventory holds fifty days of each database: two of them are older.
const DAILY_DAYS: u64 = 47;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let Some(root) = std::env::var_os(CHILD) {
        return runtime.block_on(pack_in(Path::new(&root)));
    }
    let number = |name: &str, default: usize| {
        let text = std::env::var(name).ok();
        text.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    runtime.block_on(archive(number("PATINA_BENCH_MB", 200)));
    runtime.block_on(verbs(number("PATINA_BENCH_OBJECTS", 100_000)));
}

/// Packs a week in a process of its own, and `tar czf` the same files.
async fn archive(megabytes: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = folder.path();
    prepare(root, megabytes);
    let sunday = at(SUNDAY);
    for back in (0..7).rev() {
        let installation = Installation::open(root, sunday - TimeDelta::days(back));
        installation
            .back_up(SMALL.iter().copied().chain(["large"]))
            .await;
    }
    let plain: u64 = files(&root.join("store/daily"))
        .iter()
        .map(|file| size(file))
        .sum();
    let tarball = root.join("stock.tar.gz");
    let theirs = timed(|| {
        let tar = Command::new("tar")
            .arg("czf")
            .arg(&tarball)
            .arg("-C")
            .arg(root.join("store"))
            .arg("daily")
            .status();
        assert!(tar.expect("tar is installed").success());
    });
    let mut peak_kib = 0;
    let ours = timed(|| peak_kib = packing_child(root));
    let archive = root.join("store/weekly/2026-W47.tar.gz");
    println!(
        "seven copies of six databases and of a large one, {} of SQL",
        ByteCount(plain)
    );
    println!(
        "  tar czf {theirs:.1?} for {}; patina archive {ours:.1?} for {}, proven and read back: {:.1} times as fast",
        ByteCount(size(&tarball)),
        ByteCount(size(&archive)),
        theirs.as_secs_f64() / ours.as_secs_f64()
    );
    println!(
        "  peak memory of the packing process: {}",
        ByteCount(peak_kib * 1024)
    );
}

/// Runs this program again to pack, and gives its peak memory in KiB.
fn packing_child(root: &Path) -> u64 {
    let program = std::env::current_exe().expect("this program");
    let mut child = Command::new(program)
        .env(CHILD, root)
        .spawn()
        .expect("a child");
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kib = 0;
    loop {
        if let Ok(text) = std::fs::read_to_string(&status) {
            let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let number = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
            peak_kib = number.unwrap_or(peak_kib);
        }
        if let Some(ended) = child.try_wait().expect("a child") {
            assert!(ended.success());
            return peak_kib;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

async fn pack_in(root: &Path) {
    let installation = Installation::open(root, at(SUNDAY) + TimeDelta::hours(1));
    let Installation { state, wiring } = &installation;
    let stop = CancellationToken::new();
    let packed = pack::run(wiring, state, &Arc::default(), &stop)
        .await
        .expect("packed");
    assert!(matches!(packed, Outcome::Packed { .. }), "{packed:?}");
}

/// What is done with an inventory of so many objects, in a store that answers at once.
async fn verbs(objects: usize) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    prepare(folder.path(), 1);
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::at(at(SUNDAY)));
    let store = Arc::new(MemoryStore::new("local", Arc::clone(&clock)));
    let mut installation = Installation::open(folder.path(), at(SUNDAY));
    let instance = installation.wiring.catalog.instance().expect("an id");
    let made = Inventory {
        objects,
        days: 50,
        newest: at(SUNDAY),
        instance: &instance,
    };
    let manifests = made.manifests();
    let today = BackupDate(at(SUNDAY).date_naive());
    let is_old = |manifest: &&Manifest| manifest.date < today.minus_days(DAILY_DAYS);
    let oldest: Vec<Manifest> = manifests.iter().filter(is_old).cloned().collect();
    let young = manifests.iter().filter(|manifest| !is_old(manifest));
    let others: Vec<ObjectKey> = young
        .take(oldest.len())
        .map(|manifest| manifest.key.clone())
        .collect();
    for manifest in &manifests {
        let text = serde_json::to_vec(manifest).expect("JSON");
        store
            .create(&manifest.key, Body::Bytes(CONTENT))
            .await
            .expect("stored");
        store
            .create(&manifest.key.manifest(), Body::Bytes(&text))
            .await
            .expect("stored");
    }
    let adoptions = made.adoptions(manifests);
    let wiring = &mut installation.wiring;
    wiring.stores = vec![store.clone() as Arc<dyn Store>];
    println!("an inventory of {objects} objects");
    let catalog = wiring.catalog.clone();
    show(
        "adopt",
        timed(|| {
            let refused = catalog.adopt_all("local", &adoptions).expect("adopted");
            assert!(refused.is_empty());
        }),
    );
    show(
        "list, the newest thousand",
        timed(|| {
            let filter = CopyFilter {
                limit: Some(1_000),
                ..CopyFilter::default()
            };
            assert_eq!(
                catalog.copies(&filter).expect("listed").len(),
                1_000.min(objects)
            );
        }),
    );
    show(
        "list, all with their manifests",
        timed(|| {
            let copies = catalog.copies(&CopyFilter::default()).expect("listed");
            assert_eq!(copies.len(), objects);
        }),
    );
    for form in [None, Some(" --json")] {
        let mut patina = Command::new(env!("CARGO_BIN_EXE_patina"));
        patina
            .arg("--config")
            .arg(folder.path().join("patina.toml"));
        patina
            .arg("list")
            .args(form.map(str::trim))
            .stdout(Stdio::null());
        show(
            &format!("patina list{}, printed", form.unwrap_or_default()),
            timed(|| assert!(patina.status().expect("this program").success())),
        );
    }
    let started = Instant::now();
    let plan = expire::plan(wiring, Guards::all()).await.expect("planned");
    assert_eq!(plan.verdicts.len(), objects);
    show("plan", started.elapsed());
    let pruners: Vec<Arc<dyn Prune>> = vec![store];
    expire_all(wiring, &pruners, 0).await;
    let stop = CancellationToken::new();
    let listing = timed_listing(&pruners[0]).await;
    let started = Instant::now();
    let reports = reconcile::run(wiring, Patience::Leave, &stop)
        .await
        .expect("reconciled");
    assert!(reports[0].is_clean(), "{:?}", reports[0].error);
    show(
        "reconcile, without the store's listing",
        started.elapsed().saturating_sub(listing),
    );
    let covered = cover(wiring, &oldest, &instance);
    expire_all(wiring, &pruners, covered).await;
    show(
        "  of it the store's own, by as many others",
        timed_removals(&pruners[0], &others).await,
    );
}

/// What the store takes for what expiry asks of it.
async fn timed_removals(store: &Arc<dyn Prune>, keys: &[ObjectKey]) -> Duration {
    let started = Instant::now();
    for key in keys {
        for key in [&key.manifest(), key] {
            store.remove(key).await.expect("removed");
            assert!(store.stat(key).await.expect("a look").is_none());
        }
    }
    started.elapsed()
}

/// Expires, and expects so many objects to go.
async fn expire_all(wiring: &Wiring, pruners: &[Arc<dyn Prune>], expected: usize) {
    let started = Instant::now();
    let report = expire::run(wiring, pruners, Guards::all(), &CancellationToken::new())
        .await
        .expect("expired");
    let took = started.elapsed();
    assert_eq!(report.deleted.len(), expected, "{:?}", report.failed);
    show(&format!("expire, {expected} objects gone"), took);
}

/// Has an archive hold the copies and every object count as read again, so that these may go.
fn cover(wiring: &Wiring, copies: &[Manifest], instance: &str) -> usize {
    let week = copies[0].date.week();
    let key = ObjectKey::weekly(week);
    let members = copies.iter().map(|copy| ArchiveMember {
        path: copy.key.as_str().to_owned(),
        manifest: copy.clone(),
    });
    let manifest = ArchiveManifest {
        format: ARCHIVE_FORMAT,
        instance: instance.to_owned(),
        key: key.clone(),
        week,
        zone: "UTC".to_owned(),
        job: JobId::random(),
        started_at: SUNDAY.to_owned(),
        completed_at: SUNDAY.to_owned(),
        stored: copies[0].stored,
        members: members.collect(),
        left_out: Vec::new(),
        runbook: None,
        patina_version: "0".to_owned(),
    };
    let archive = Adoption {
        record: Record::Weekly(Box::new(manifest)),
        created_at: at(SUNDAY),
        expires_at: at(SUNDAY),
        made_at: at(SUNDAY),
        is_ahead: false,
        is_unconfirmed: false,
    };
    let refused = wiring.catalog.adopt_all("local", &[archive]);
    assert!(refused.expect("adopted").is_empty());
    // As after a week of nightly verification.
    let connection = Connection::open(wiring.catalog.path()).expect("the catalog");
    let now = at(SUNDAY).timestamp();
    for table in ["copies", "archives"] {
        connection
            .execute(&format!("UPDATE {table} SET verified_at = ?"), [now])
            .expect("written");
    }
    copies.len()
}

async fn timed_listing(store: &Arc<dyn Prune>) -> Duration {
    let started = Instant::now();
    store.list().await.expect("listed");
    started.elapsed()
}

fn show(what: &str, took: Duration) {
    println!("  {what:<44} {:>9.3} s", took.as_secs_f64());
}

/// One process's view of an installation whose clock stands still.
struct Installation {
    state: StateDir,
    wiring: Wiring,
}

impl Installation {
    fn open(root: &Path, now: DateTime<Utc>) -> Self {
        let config = Config::load(&root.join("patina.toml"));
        let config = config
            .unwrap_or_else(|problems| panic!("{}", problems.short()))
            .config;
        let state = StateDir::lock(&root.join("state")).expect("the lock");
        let catalog = Catalog::open(&StateDir::catalog_path(state.path())).expect("a catalog");
        let instance = catalog.instance().expect("an id");
        let store = DirStore::open("local", &root.join("store"), &instance).expect("a store");
        let clock: Arc<dyn Clock> = Arc::new(Still(now, SystemClock::new()));
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
            stores: vec![Arc::new(store)],
            catalog,
            hooks: Arc::new(patina::hook::NoHooks),
            sinks: Vec::new(),
            account: None,
            built_at: Moment::of(clock.as_ref()),
            clock,
            config: Arc::new(config),
        };
        Self { state, wiring }
    }

    async fn back_up<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let request = Request {
            databases: names.map(|name| name.parse().expect("a name")).collect(),
            trigger: Trigger::Scheduled,
            reason: None,
        };
        let (board, stop) = (Board::default(), CancellationToken::new());
        let report = backup::run(&self.wiring, &self.state, &request, &board, &stop).await;
        assert_eq!(report.expect("a job").job.failed, 0);
    }
}

/// A wall time that stands still beside real waiting.
struct Still(DateTime<Utc>, SystemClock);

#[async_trait::async_trait]
impl Clock for Still {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }

    fn elapsed(&self) -> Duration {
        self.1.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.1.sleep(duration).await;
    }
}

fn prepare(root: &Path, megabytes: usize) {
    let mut text = format!(
        "[agent]\nstate = \"{0}/state\"\n[export]\ntimeout = \"1h\"\n[retention]\ndaily_days = {DAILY_DAYS}\n[[storage]]\nname = \"local\"\ndirectory = \"{0}/store\"\n",
        root.display()
    );
    for name in SMALL.into_iter().chain(["large"]) {
        let path = root.join(format!("{name}.db"));
        fill(&path, if name == "large" { megabytes } else { SMALL_MB });
        text += &format!(
            "[[database]]\nname = \"{name}\"\nsqlite = \"{}\"\n",
            path.display()
        );
    }
    std::fs::write(root.join("patina.toml"), text).expect("a file");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => found.extend(files(&path)),
            false => found.push(path),
        }
    }
    found
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).expect("a file").len()
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("a time")
}
