//! Opens a storage on first use. Invariant: it is not accessed before, a storage that does not answer delays its caller
//! for a bounded time, and one that cannot be opened, such as a disk that is not mounted, is tried again by the next
//! call.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{Unfinished, absent_folder, not_opened, store_or_reason};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Storage;
use crate::engine::presence::{self, Known, Presence};
use crate::store::{Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError};
use crate::types::ObjectKey;

/// Timeout for opening; a storage that takes longer hangs, mostly a share whose server is gone.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

/// Pause before a storage that hung is opened again: each attempt may leave a thread behind.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// Treatment of a missing directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// It is created, unless it contained copies.
    Made,
    /// It is an error: a process that only reads creates nothing.
    Refused,
}

/// A storage that is opened by its first call.
pub(super) struct Unopened {
    storage: Storage,
    catalog: Catalog,
    instance: String,
    clock: Arc<dyn Clock>,
    unfinished: Unfinished,
    absent: Absent,
    found: OnceCell<Arc<dyn Prune>>,
    /// Time at which it last hung, on the monotonic clock.
    hung_at: Mutex<Option<Duration>>,
}

impl Unopened {
    pub(super) fn new(
        storage: &Storage,
        catalog: &Catalog,
        instance: &str,
        clock: &Arc<dyn Clock>,
        (unfinished, absent): (Unfinished, Absent),
    ) -> Self {
        Self {
            storage: storage.clone(),
            catalog: catalog.clone(),
            instance: instance.to_owned(),
            clock: Arc::clone(clock),
            unfinished,
            absent,
            found: OnceCell::new(),
            hung_at: Mutex::new(None),
        }
    }

    async fn store(
        &self,
        operation: Operation,
        key: Option<&ObjectKey>,
    ) -> Result<&Arc<dyn Prune>, StoreError> {
        let found = self.found.get_or_try_init(|| self.open_in_time()).await;
        found.map_err(|error| StoreError::new(&self.storage.name, operation, key, error.kind))
    }

    async fn open_in_time(&self) -> Result<Arc<dyn Prune>, StoreError> {
        let hung_at = || self.hung_at.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.elapsed();
        let hangs = hung_at().is_some_and(|at| now.saturating_sub(at) < AGAIN_AFTER);
        if hangs {
            return Err(self.hangs());
        }
        tokio::select! {
            opened = self.open_now() => opened,
            () = self.clock.sleep(OPEN_TIMEOUT) => {
                *hung_at() = Some(self.clock.elapsed());
                Err(self.hangs())
            }
        }
    }

    fn hangs(&self) -> StoreError {
        let seconds = OPEN_TIMEOUT.as_secs();
        let cause =
            format!("it did not answer within {seconds} s\nhint: does its disk or server answer?");
        not_opened(&self.storage, &cause)
    }

    /// Opens the storage if it still contains some of the known objects: a directory without any is presumed to be a
    /// mount point without its disk, and a bucket a different one.
    async fn open_now(&self) -> Result<Arc<dyn Prune>, StoreError> {
        let known = Known::of(&self.catalog);
        let known = known.map_err(|error| not_opened(&self.storage, &error.to_string()))?;
        let known = known.in_storage(&self.storage.name);
        let storage = self.storage.clone();
        let absent = tokio::task::spawn_blocking(move || absent_folder(&storage)).await;
        if let Some(error) = absent.expect("looking for a folder does not panic")
            && (self.absent == Absent::Refused || !known.is_empty())
        {
            return Err(error);
        }
        let store = store_or_reason(&self.storage, &self.instance, &self.clock, self.unfinished);
        let store = store.await?;
        if let Presence::Lost(lost) = presence::look(store.as_ref(), &known).await {
            return Err(lost.refused(Operation::Prepare));
        }
        Ok(store)
    }
}

#[async_trait]
impl Store for Unopened {
    fn name(&self) -> &str {
        &self.storage.name
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let store = self.store(Operation::Create, Some(key)).await?;
        store.create(key, body).await
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        let store = self.store(Operation::Read, Some(key)).await?;
        store.open(key, range).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        let store = self.store(Operation::Stat, Some(key)).await?;
        store.stat(key).await
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        self.store(Operation::List, None).await?.list().await
    }
}

#[async_trait]
impl Prune for Unopened {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let store = self.store(Operation::Remove, Some(key)).await?;
        store.remove(key).await
    }
}
