//! Builds the wiring of jobs and requests from a configuration. Invariant: the only module that knows which concrete
//! sources and stores exist.
//!
//! A storage that cannot be opened does not stop the others: it becomes a store of which every call fails with the
//! reason. A backup is then stored in the other storages and its job is `degraded`; if none is left, each database
//! fails with the reason.

mod aside;
mod claim;
pub mod online;
mod owned;
mod reach;
mod stamp;
pub mod startup;
mod unopened;

use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use self::owned::Owned;
use self::unopened::{Absent, Unopened};
use crate::catalog::{Catalog, CatalogError};
use crate::clock::{Clock, SystemClock};
use crate::config::{
    Config, Database, Environment, Loaded, Problems, Sink, SinkKind, SourceSpec, Storage,
    StorageKind, System, within,
};
use crate::engine::presence::{self, Known, Lost, Presence};
use crate::engine::state::StateDir;
use crate::hook::{self, NoHooks, RhaiHooks};
use crate::net::install_tls;
use crate::notify::{Discord, Heartbeat, Notifier, Ntfy, Slack, Webhook};
use crate::source::{Source, SqliteSource, d1};
use crate::store::{
    DirStore, Operation, Prune, Retry, RetryPolicy, S3Store, Store, StoreError, StoreErrorKind,
};
use crate::wiring::{Moment, WiredDatabase, Wiring};

/// The reason that a configuration cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A damaged catalog cannot be renamed.
    #[error(
        "the damaged catalog `{path}` cannot be renamed: {cause}\nhint: look at its folder and disk"
    )]
    Aside {
        /// Path of the file.
        path: String,
        /// The system's error.
        cause: std::io::Error,
    },
    /// A script has errors.
    #[error(transparent)]
    Scripts(#[from] Problems),
    /// The D1 client cannot be built.
    #[error(transparent)]
    Client(#[from] d1::ApiError),
}

/// Path of this program's own file, even if an update replaced it meanwhile.
const OWN_PROGRAM: &str = "/proc/self/exe";

/// Reads the configuration at `path` and compiles its scripts.
///
/// # Errors
/// All errors in the configuration; if there are none, all errors in its scripts. A file that cannot be read within
/// [`LONGEST_READ`](crate::config::LONGEST_READ) is one.
pub fn load(path: &Path) -> Result<Loaded, Problems> {
    let own = path.to_owned();
    let loaded = within(move || load_in(&own, &System));
    loaded.unwrap_or_else(|late| Err(late.problems(path)))
}

/// As [`load`], with all access to what the configuration names through `env`.
///
/// # Errors
/// As [`load`].
pub fn load_in(path: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
    let mut loaded = Config::load_in(path, env)?.with_databases()?;
    let mut problems = hook::check(&loaded.config);
    if problems.has_errors() {
        problems.watch(loaded.config.inputs());
        problems.keep(loaded.config.remains());
        return Err(problems);
    }
    loaded.warnings.append(problems);
    Ok(loaded)
}

/// Compiles the scripts of `config`.
///
/// # Errors
/// All errors in them.
pub fn hooks(config: &Config) -> Result<RhaiHooks, Problems> {
    RhaiHooks::new(config, Path::new(OWN_PROGRAM))
}

/// Builds everything a job works on, under the lock of `state`. No storage is accessed yet: each is opened by its first
/// call, and created if absent; its unfinished files of a dead process are removed then. A folder that contained copies
/// and is gone or empty is refused: an unmounted share would be filled on the local disk.
///
/// # Errors
/// If the catalog cannot be opened or a source cannot be built; a storage that fails is part of the wiring.
pub async fn wiring(config: Arc<Config>, state: &StateDir) -> Result<Wiring, AppError> {
    let built = build(config, state).await?;
    Ok(Arc::into_inner(built.wiring).expect("nobody else was given it"))
}

/// The wiring of jobs, and the only way to delete anything.
pub struct Built {
    /// The wiring.
    pub wiring: Arc<Wiring>,
    /// The same storages, in the same order, for expiry.
    pub pruners: Vec<Arc<dyn Prune>>,
}

/// As [`wiring`], with the storages for expiry. A damaged catalog is set aside and rebuilt from the storages.
///
/// # Errors
/// As [`wiring`].
pub async fn build(config: Arc<Config>, state: &StateDir) -> Result<Built, AppError> {
    let catalog = aside::catalog(&config, state).await?;
    assemble(config, state, (catalog, system_clock()), None).await
}

/// Builds the same from another configuration while jobs work on `old`: their unfinished uploads stay.
///
/// # Errors
/// As [`wiring`].
pub async fn rebuilt(
    config: Arc<Config>,
    old: &Wiring,
    state: &StateDir,
) -> Result<Built, AppError> {
    let kept = (old.catalog.clone(), Arc::clone(&old.clock));
    assemble(config, state, kept, Some(old)).await
}

/// Assembles the wiring. `old` is the previous wiring of this process; `None` if this is its first one, and no job runs
/// yet.
async fn assemble(
    config: Arc<Config>,
    state: &StateDir,
    (catalog, clock): (Catalog, Arc<dyn Clock>),
    old: Option<&Wiring>,
) -> Result<Built, AppError> {
    let unfinished = match old {
        None => Unfinished::Remove,
        Some(_) => Unfinished::Leave,
    };
    let client = client(&config, &clock)?;
    let wired = |database: &Database| WiredDatabase {
        config: database.clone(),
        source: source(database, client.as_ref(), &state.spool()),
    };
    let databases = config.databases().iter().map(wired).collect();
    let unopened = unopened(&config, &catalog, &clock, (unfinished, Absent::Made))?;
    let pruners: Vec<Arc<dyn Prune>> = unopened
        .into_iter()
        .map(|store| Owned::wrap(store, &catalog, &clock))
        .collect();
    let tally = old.map_or_else(Arc::default, |old| old.hooks.tally());
    let wiring = Wiring {
        databases,
        stores: to_keep(&pruners),
        sinks: sinks(&config),
        catalog,
        hooks: Arc::new(hooks(&config)?.counting_on(tally)),
        account: client,
        built_at: old.map_or_else(|| Moment::of(clock.as_ref()), |old| old.built_at),
        clock,
        config,
    };
    // Recorded only now that the configuration takes effect.
    let alerts = wiring.config.alerts();
    wiring.catalog.note_alerts(alerts, wiring.clock.now())?;
    let wiring = Arc::new(wiring);
    Ok(Built { wiring, pruners })
}

/// Opens the catalog of a locked state folder for writing; a damaged one is set aside and rebuilt from the storages.
///
/// # Errors
/// If it cannot be used and is not damaged, or cannot be set aside.
pub async fn catalog(config: &Arc<Config>, state: &StateDir) -> Result<Catalog, AppError> {
    aside::catalog(config, state).await
}

/// Returns the same storages without the ability to delete.
fn to_keep(pruners: &[Arc<dyn Prune>]) -> Vec<Arc<dyn Store>> {
    let pruners = pruners.iter().cloned();
    pruners.map(|pruner| pruner as Arc<dyn Store>).collect()
}

/// Creates the client of the configured Cloudflare account; `None` if none is configured, and then there is no D1
/// database.
///
/// # Errors
/// If the client cannot be built.
pub fn client(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<d1::Client>>, AppError> {
    install_tls();
    let client = |cloudflare| d1::Client::new(cloudflare, Arc::clone(clock)).map(Arc::new);
    Ok(config.cloudflare().map(client).transpose()?)
}

/// The configured alert sinks, in file order.
pub fn sinks(config: &Config) -> Vec<Arc<dyn Notifier>> {
    notifiers(&config.alerts().sinks)
}

fn notifiers(sinks: &[Sink]) -> Vec<Arc<dyn Notifier>> {
    install_tls();
    let notifier = |sink: &Sink| -> Arc<dyn Notifier> {
        match sink.kind {
            SinkKind::Discord => Arc::new(Discord::new(sink)),
            SinkKind::Slack => Arc::new(Slack::new(sink)),
            SinkKind::Ntfy => Arc::new(Ntfy::new(sink)),
            SinkKind::Webhook => Arc::new(Webhook::new(sink)),
            SinkKind::Heartbeat => Arc::new(Heartbeat::new(sink)),
        }
    };
    sinks.iter().map(notifier).collect()
}

/// The system's time.
pub fn system_clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock::new())
}

/// Opens the catalog for queries only, without a lock. `None` if nothing was ever backed up.
///
/// # Errors
/// If a catalog exists and cannot be read.
pub fn known(config: &Config) -> Result<Option<Catalog>, AppError> {
    let path = StateDir::catalog_path(&config.agent().state);
    Ok(Catalog::open_read_only(&path)?)
}

/// Builds the wiring for jobs that only read stored objects: no lock is needed, and no database can be read through it.
/// A missing folder is an error of its store and never created, or an unmounted share would look like lost copies.
///
/// # Errors
/// If the catalog's instance id cannot be read.
pub async fn wiring_to_read(config: Arc<Config>, catalog: Catalog) -> Result<Wiring, AppError> {
    let clock = system_clock();
    let ways = (Unfinished::Leave, Absent::Refused);
    let pruners = unopened(&config, &catalog, &clock, ways)?;
    Ok(Wiring {
        databases: Vec::new(),
        account: None,
        hooks: Arc::new(NoHooks),
        stores: to_keep(&pruners),
        sinks: Vec::new(),
        catalog,
        built_at: Moment::of(clock.as_ref()),
        clock,
        config,
    })
}

fn source(
    database: &Database,
    client: Option<&Arc<d1::Client>>,
    scratch: &Path,
) -> Arc<dyn Source> {
    match &database.source {
        SourceSpec::Sqlite(path) => {
            Arc::new(SqliteSource::new(path.clone(), scratch.to_owned()).with_row_limit())
        }
        SourceSpec::D1 { id, method } => {
            let client = client.expect("validate refuses a D1 database without [cloudflare]");
            let (runtime, scratch) = (Handle::current(), scratch.to_owned());
            let source =
                d1::D1Source::new(Arc::clone(client), id.clone(), *method, scratch, runtime);
            // Without retries, a change while it is read must be accepted at once, and marked.
            Arc::new(source.on_change(match database.export.retries {
                0 => d1::OnChange::Accept,
                _ => d1::OnChange::ReadAgain,
            }))
        }
    }
}

/// Treatment of unfinished uploads of dead processes. Only the holder of the state's lock knows that they are dead.
#[derive(Clone, Copy)]
enum Unfinished {
    Remove,
    Leave,
}

/// Returns every configured storage; each is opened by its first call.
fn unopened(
    config: &Config,
    catalog: &Catalog,
    clock: &Arc<dyn Clock>,
    ways: (Unfinished, Absent),
) -> Result<Vec<Arc<dyn Prune>>, CatalogError> {
    let instance = catalog.instance()?;
    let storages = config.storages().iter();
    let storages = storages.map(|storage| -> Arc<dyn Prune> {
        Arc::new(Unopened::new(storage, catalog, &instance, clock, ways))
    });
    Ok(storages.collect())
}

async fn store_or_reason(
    storage: &Storage,
    instance: &str,
    clock: &Arc<dyn Clock>,
    unfinished: Unfinished,
) -> Result<Arc<dyn Prune>, StoreError> {
    match &storage.kind {
        StorageKind::Directory(folder) => {
            let (name, folder) = (storage.name.clone(), folder.clone());
            let instance = instance.to_owned();
            let opened =
                tokio::task::spawn_blocking(move || DirStore::open(&name, &folder, &instance));
            let store = opened.await.expect("opening a folder does not panic")?;
            Ok(retrying(Arc::new(store), clock))
        }
        StorageKind::S3(settings) => {
            let store = S3Store::connect(&storage.name, settings, instance, Arc::clone(clock))?;
            let store = Arc::new(store);
            if let Unfinished::Remove = unfinished {
                tokio::spawn(sweep(Arc::clone(&store)));
            }
            Ok(retrying(store, clock))
        }
    }
}

/// Removes unfinished uploads of dead processes in the background; nothing waits for it.
async fn sweep(store: Arc<S3Store>) {
    if let Err(error) = store.sweep().await {
        // A storage that is not writable shows that on the first write; its unfinished uploads are not visible to
        // readers.
        tracing::warn!(storage = store.name(), %error, "unfinished uploads were not looked for");
    }
}

fn retrying(store: Arc<dyn Prune>, clock: &Arc<dyn Clock>) -> Arc<dyn Prune> {
    Arc::new(Retry::new(store, Arc::clone(clock), RetryPolicy::default()))
}

/// Checks if a configured storage still contains the objects that the catalog records there; one whose directory is
/// gone has lost them.
///
/// # Errors
/// If the catalog cannot be read.
pub async fn presence_in(storage: &Storage, catalog: &Catalog) -> Result<Presence, CatalogError> {
    let (instance, known) = (catalog.instance()?, Known::of(catalog)?);
    let known = known.in_storage(&storage.name);
    if absent_folder(storage).is_some() && !known.is_empty() {
        return Ok(Presence::Lost(Lost {
            storage: storage.name.clone(),
            objects: known.len(),
        }));
    }
    if known.is_empty() {
        return Ok(Presence::New);
    }
    let clock = system_clock();
    let store = store_or_reason(storage, &instance, &clock, Unfinished::Leave).await;
    Ok(match store {
        Ok(store) => presence::look(store.as_ref(), &known).await,
        Err(error) => Presence::Unknown(error),
    })
}

fn absent_folder(storage: &Storage) -> Option<StoreError> {
    let StorageKind::Directory(folder) = &storage.kind else {
        return None;
    };
    let cause = format!(
        "the directory `{}` is not there\nhint: is it mounted?",
        folder.display()
    );
    (!folder.is_dir()).then(|| not_opened(storage, &cause))
}

fn not_opened(storage: &Storage, cause: &str) -> StoreError {
    let kind = StoreErrorKind::Unavailable {
        retryable: false,
        cause: cause.to_owned(),
    };
    StoreError::new(&storage.name, Operation::Prepare, None, kind)
}
