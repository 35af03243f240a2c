//! Asks a real server, over real databases and folders: in this process with a clock held by hand, and as `patina run`.

mod access;
mod answers;
mod auth;
mod copies;
mod downloads;
mod limits;
mod process;
mod site;
mod property;
mod triggers;
mod unusual;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patina::app;
use patina::catalog::{AuditRow, Catalog};
use patina::clock::{Clock, ManualClock};
use patina::config::Config;
use patina::engine::backup::{self, Request};
use patina::engine::rehearse::{self, Ask, Knowledge};
use patina::engine::state::StateDir;
use patina::engine::{expire, pack};
use patina::http::metrics::Vitals;
use patina::http::{AccessKeys, Server, Sources, key_digest};
use patina::progress::{Board, Live};
use patina::retention::{Guard, Guards};
use patina::store::Prune;
use patina::task::Activator;
use patina::types::Trigger;
use patina::wiring::{Moment, Wiring};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The day of the last night of every [`World`], a Monday.
const TODAY: &str = "2026-11-30";

/// A key that may do everything.
const ALL: (&str, &str) = ("all", r#""read", "download", "trigger", "metrics""#);

/// A clock that shows what it is told to, and on which waiting takes real time.
struct HandClock(ManualClock);

#[async_trait]
impl Clock for HandClock {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// An installation and its server.
struct World {
    folder: TempDir,
    clock: Arc<HandClock>,
    state: StateDir,
    pruners: Vec<Arc<dyn Prune>>,
    current: Arc<RwLock<Arc<Wiring>>>,
    live: Live,
    stop: CancellationToken,
    address: SocketAddr,
    server: JoinHandle<()>,
    client: reqwest::Client,
}

/// The text of a key with this id, and its entry in the configuration.
fn key_text(id: &str) -> String {
    format!("ptk_{id}_secret-of-{id}_with-more")
}

fn key(id: &str, scopes: &str, more: &str) -> String {
    let digest = key_digest(&format!("secret-of-{id}_with-more"));
    format!("[[http.key]]\nid = \"{id}\"\nsha256 = \"{digest}\"\nscopes = [{scopes}]\n{more}\n")
}

fn full_key() -> String {
    key(ALL.0, ALL.1, "")
}

/// Proxies on this host may say where a client is: so that a test can come from anywhere.
fn from_anywhere(keys: &str) -> String {
    format!("trusted_proxies = [\"127.0.0.1\"]\n{keys}")
}

fn config(folder: &Path, http: &str, export: &str) -> Config {
    let text = format!(
        "[agent]\nname = \"grove\"\nstate = \"state\"\n[export]\n{export}\n[retention]\nmin_copies = 1\n\
         [[storage]]\nname = \"near\"\ndirectory = \"near\"\n[[storage]]\nname = \"far\"\ndirectory = \"far\"\n\
         [[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\npriority = \"critical\"\n\
         [[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n{http}\n"
    );
    let path = folder.join("patina.toml");
    fs::write(&path, text).unwrap();
    let loaded = Config::load(&path);
    loaded
        .unwrap_or_else(|problems| panic!("{}", problems.short()))
        .config
}

/// About three megabytes of text, or some kilobytes.
fn database(path: &Path, rows: u32) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA synchronous=OFF; BEGIN; CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
         INSERT INTO t SELECT i, hex(randomblob(500)) FROM n; COMMIT;"
    ))
    .unwrap();
}

impl World {
    /// An installation with one night's copies, whose `[http]` ends in these lines.
    async fn new(http: &str) -> Self {
        let world = Self::empty(http, "", None).await;
        world.night().await;
        world
    }

    /// One without copies; `access`: where the keys of Cloudflare Access lie.
    async fn empty(http: &str, export: &str, access: Option<String>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        database(&folder.path().join("blog.db"), 3_000);
        database(&folder.path().join("shop.db"), 20);
        let config = config(folder.path(), http, export);
        let state = StateDir::lock(&config.agent().state).unwrap();
        let now = format!("{TODAY}T03:00:00Z").parse().unwrap();
        let clock = Arc::new(HandClock(ManualClock::at(now)));
        let server = Server::bind(config.http()).await.unwrap();
        let built = app::build(Arc::new(config), &state).await.unwrap();
        let pruners = built.pruners;
        let mut wiring = Arc::into_inner(built.wiring).unwrap();
        wiring.clock = clock.clone();
        wiring.built_at = Moment::of(clock.as_ref());
        let current = Arc::new(RwLock::new(Arc::new(wiring)));
        let (live, stop) = (Live::default(), CancellationToken::new());
        let address = server.address();
        let shown = Arc::clone(&current);
        let sources = Sources {
            current: Arc::new(move || Arc::clone(&shown.read().unwrap())),
            live: live.clone(),
            activator: Activator::default(),
            access: AccessKeys::new(access),
            vitals: Arc::new(Vitals::default),
            stop: stop.clone(),
        };
        let server = tokio::spawn(async move { server.serve(sources).await.unwrap() });
        Self {
            folder,
            clock,
            state,
            pruners,
            current,
            live,
            stop,
            address,
            server,
            client: reqwest::Client::new(),
        }
    }

    /// Restores the newest copies from storage, as the daemon does each month.
    async fn rehearse(&self) {
        let ask = Ask {
            databases: Vec::new(),
            storage: None,
            knowledge: Knowledge::Manifests,
            trigger: Trigger::Scheduled,
        };
        let (wiring, stop) = (self.wiring(), &self.stop);
        let workshop = rehearse::folder(self.state.path()).unwrap();
        let plan = rehearse::plan(&wiring, &ask, &workshop, stop)
            .await
            .unwrap();
        let board = Board::new(plan.databases());
        let report = rehearse::run(&wiring, plan, &workshop, &board, stop).await;
        let report = report.unwrap();
        assert!(report.rehearsal.is_good());
        rehearse::record(&wiring, &report).unwrap();
    }

    /// One with a copy of three weeks ago that only an archive holds.
    async fn with_archive() -> Self {
        let world = Self::empty(&full_key(), "", None).await;
        world.clock.0.set("2026-11-10T03:00:00Z".parse().unwrap());
        world.reset_moment();
        world.night().await;
        let weeks = Duration::from_secs(20 * 24 * 3600);
        world.clock.0.advance(weeks);
        world.night().await;
        let wiring = world.wiring();
        let stop = &world.stop;
        let packed = pack::run(&wiring, &world.state, &Arc::default(), stop).await;
        packed.unwrap();
        // The folders' own clock shows the real time.
        let guards = Guards::without(Guard::Clock);
        let gone = expire::run(&wiring, &world.pruners, guards, stop)
            .await
            .unwrap();
        assert!(gone.failed.is_empty(), "{gone:?}");
        assert!(
            !world.path("near/daily/2026-11-10/blog.sql").exists(),
            "{gone:?}"
        );
        world
    }

    fn reset_moment(&self) {
        let now = Moment::of(self.clock.as_ref());
        self.change(|wiring| wiring.built_at = now);
    }

    /// Works on from now with a wiring that is changed so.
    fn change(&self, change: impl FnOnce(&mut Wiring)) {
        let mut current = self.current.write().unwrap();
        let old = &**current;
        let mut new = Wiring {
            config: Arc::clone(&old.config),
            databases: old.databases.clone(),
            stores: old.stores.clone(),
            catalog: old.catalog.clone(),
            account: old.account.clone(),
            hooks: Arc::clone(&old.hooks),
            sinks: old.sinks.clone(),
            clock: Arc::clone(&old.clock),
            built_at: old.built_at,
        };
        change(&mut new);
        *current = Arc::new(new);
    }

    /// Has the server see another `[http]`, as a reload does.
    fn reconfigure(&self, http: &str) {
        let config = Arc::new(config(self.folder.path(), http, ""));
        self.change(|wiring| wiring.config = config);
    }

    fn wiring(&self) -> Arc<Wiring> {
        Arc::clone(&self.current.read().unwrap())
    }

    fn catalog(&self) -> Catalog {
        self.wiring().catalog.clone()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    async fn night(&self) {
        let request = Request {
            databases: Vec::new(),
            trigger: Trigger::Scheduled,
            reason: None,
        };
        let (wiring, board) = (self.wiring(), Board::default());
        let report = backup::run(&wiring, &self.state, &request, &board, &self.stop).await;
        assert_eq!(report.unwrap().job.successful, 2);
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let address = self.address;
        self.client
            .request(method, format!("http://{address}{path}"))
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.request(Method::GET, path)
    }

    /// With the key that may do everything.
    fn with_key(&self, path: &str) -> RequestBuilder {
        self.get(path).header("X-Patina-Key", key_text(ALL.0))
    }

    async fn download(&self, path: &str) -> Response {
        self.with_key(path).send().await.unwrap()
    }

    /// The rows of the audit, the first one first.
    fn audit(&self) -> Vec<AuditRow> {
        let mut rows = self.catalog().audits(1000).unwrap();
        rows.reverse();
        rows
    }

    /// Waits until the audit has so many rows.
    async fn audit_of(&self, rows: usize) -> Vec<AuditRow> {
        eventually(&format!("{rows} rows in the audit"), || {
            self.audit().len() >= rows
        })
        .await;
        self.audit()
    }

    async fn end(self) {
        self.stop.cancel();
        self.server.await.unwrap();
    }
}

async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    for _ in 0..500 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what} did not come");
}

/// An answer's status and its JSON.
async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let (status, text) = (response.status(), response.text().await.unwrap());
    let value = serde_json::from_str(&text);
    (
        status,
        value.unwrap_or_else(|error| panic!("{error}: {text}")),
    )
}

#[track_caller]
fn retry_after(response: &Response) -> u64 {
    let value = &response.headers()["retry-after"];
    value.to_str().unwrap().parse().unwrap()
}
