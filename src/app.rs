//! Builds what jobs and requests work on from a configuration. Invariant: the only module that knows which concrete
//! sources and stores there are.
//!
//! A storage that cannot be opened does not stop the others: it becomes a store whose every call fails with the
//! reason. A backup then goes to the other storages and its job is `degraded`; where none is left, each database
//! fails and says why.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use crate::catalog::{Catalog, CatalogError};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, Database, SourceSpec, Storage, StorageKind};
use crate::engine::state::StateDir;
use crate::source::{Source, SqliteSource};
use crate::store::{
    Body, DirStore, Listing, ObjectStat, Operation, Reader, Retry, RetryPolicy, Store, StoreError,
    StoreErrorKind,
};
use crate::types::{DatabaseName, ObjectKey};
use crate::wiring::{WiredDatabase, Wiring};

/// Why a configuration cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The catalog cannot be used.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A kind of source that is not built yet.
    #[error("database `{database}`: this build cannot back up {kind} databases yet\nhint: {hint}")]
    NotYet {
        /// The database.
        database: DatabaseName,
        /// Its kind, as people call it.
        kind: &'static str,
        /// The way out.
        hint: &'static str,
    },
}

/// Builds everything a job works on, under the lock of `state`. Storages are opened, and made where absent.
///
/// # Errors
/// Where the catalog cannot be opened or a source cannot be built; a storage that fails is part of the wiring.
pub fn wiring(config: Arc<Config>, state: &StateDir) -> Result<Wiring, AppError> {
    let catalog = Catalog::open(&StateDir::catalog_path(state.path()))?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let instance = catalog.instance()?;
    let wired = |database: &Database| {
        Ok(WiredDatabase {
            config: database.clone(),
            source: source(database, &state.spool())?,
        })
    };
    let databases = config.databases().iter().map(wired);
    let databases = databases.collect::<Result<_, AppError>>()?;
    let open = |storage: &Storage| store_or_reason(storage, &instance, &clock);
    let stores = config.storages().iter().map(open).collect();
    Ok(Wiring {
        databases,
        stores,
        catalog,
        clock,
        config,
    })
}

/// What is known of jobs and copies, for queries alone and without a lock. `None`: nothing was ever backed up.
///
/// # Errors
/// Where there is a catalog that cannot be read.
pub fn known(config: &Config) -> Result<Option<Catalog>, AppError> {
    let path = StateDir::catalog_path(&config.agent().state);
    Ok(Catalog::open_read_only(&path)?)
}

/// The storages of `config`, for reading: a folder that is gone is an error of its store and never made anew, or an
/// unmounted share would look like lost copies.
///
/// # Errors
/// Where the catalog does not say who we are.
pub fn stores_to_read(config: &Config, catalog: &Catalog) -> Result<Vec<Arc<dyn Store>>, AppError> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let instance = catalog.instance()?;
    let open = |storage: &Storage| match absent_folder(storage) {
        Some(error) => unopened(storage, error),
        None => store_or_reason(storage, &instance, &clock),
    };
    Ok(config.storages().iter().map(open).collect())
}

fn source(database: &Database, scratch: &Path) -> Result<Arc<dyn Source>, AppError> {
    match &database.source {
        SourceSpec::Sqlite(path) => Ok(Arc::new(SqliteSource::new(
            path.clone(),
            scratch.to_owned(),
        ))),
        SourceSpec::D1 { .. } => Err(AppError::NotYet {
            database: database.name.clone(),
            kind: "Cloudflare D1",
            hint: "name SQLite databases only: `sqlite = \"PATH\"`",
        }),
    }
}

fn store(storage: &Storage, instance: &str) -> Result<Arc<dyn Store>, StoreError> {
    match &storage.kind {
        StorageKind::Directory(folder) => {
            Ok(Arc::new(DirStore::open(&storage.name, folder, instance)?))
        }
        StorageKind::S3(_) => Err(not_opened(
            storage,
            "this build cannot use S3 buckets yet\nhint: add a [[storage]] with a `directory`",
        )),
    }
}

fn store_or_reason(storage: &Storage, instance: &str, clock: &Arc<dyn Clock>) -> Arc<dyn Store> {
    match store(storage, instance) {
        Ok(store) => Arc::new(Retry::new(store, Arc::clone(clock), RetryPolicy::default())),
        Err(error) => unopened(storage, error),
    }
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

fn unopened(storage: &Storage, error: StoreError) -> Arc<dyn Store> {
    Arc::new(Unopened {
        name: storage.name.clone(),
        reason: error.kind,
    })
}

/// A storage that could not be opened: every call fails with the reason.
struct Unopened {
    name: String,
    reason: StoreErrorKind,
}

impl Unopened {
    fn refuse<T>(&self, operation: Operation, key: Option<&ObjectKey>) -> Result<T, StoreError> {
        let reason = self.reason.clone();
        Err(StoreError::new(&self.name, operation, key, reason))
    }
}

#[async_trait]
impl Store for Unopened {
    fn name(&self) -> &str {
        &self.name
    }

    async fn create(&self, key: &ObjectKey, _: Body<'_>) -> Result<(), StoreError> {
        self.refuse(Operation::Create, Some(key))
    }

    async fn open(
        &self,
        key: &ObjectKey,
        _: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        self.refuse(Operation::Read, Some(key))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        self.refuse(Operation::Stat, Some(key))
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        self.refuse(Operation::List, None)
    }
}
