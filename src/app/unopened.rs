//! Stands for a storage that could not be opened. Invariant: every call fails with the reason, until what it waits for,
//! such as the mount of a disk, has happened.

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use super::{Unfinished, absent_folder, store_or_reason};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::Storage;
use crate::engine::presence::{self, Known, Presence};
use crate::store::{
    Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind,
};
use crate::types::ObjectKey;

/// How a storage is opened, and what must be there then.
pub(super) struct Again {
    storage: Storage,
    catalog: Catalog,
    instance: String,
    clock: Arc<dyn Clock>,
    found: OnceCell<Arc<dyn Prune>>,
}

impl Again {
    pub(super) fn new(
        storage: &Storage,
        catalog: &Catalog,
        instance: &str,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            storage: storage.clone(),
            catalog: catalog.clone(),
            instance: instance.to_owned(),
            clock: Arc::clone(clock),
            found: OnceCell::new(),
        }
    }

    /// Opens it now, whatever it holds.
    pub(super) async fn open(&self, unfinished: Unfinished) -> Arc<dyn Prune> {
        store_or_reason(&self.storage, &self.instance, &self.clock, unfinished).await
    }

    /// The storage, once its directory is there and holds what is known of it. A process outlives the order in which a
    /// machine mounts its disks.
    async fn store(&self) -> Option<&Arc<dyn Prune>> {
        self.found.get_or_try_init(|| self.look()).await.ok()
    }

    async fn look(&self) -> Result<Arc<dyn Prune>, ()> {
        if absent_folder(&self.storage).is_some() {
            return Err(());
        }
        let known = Known::of(&self.catalog).map_err(drop)?;
        let store = self.open(Unfinished::Leave).await;
        match presence::look(store.as_ref(), &known.in_storage(&self.storage.name)).await {
            Presence::There | Presence::New => Ok(store),
            Presence::Lost(_) | Presence::Unknown(_) => Err(()),
        }
    }
}

/// A storage that could not be opened.
pub(super) struct Unopened {
    name: String,
    reason: StoreErrorKind,
    again: Option<Again>,
}

impl Unopened {
    /// Until it can be.
    pub(super) fn until(again: Again, error: StoreError) -> Arc<dyn Prune> {
        Arc::new(Self {
            name: again.storage.name.clone(),
            reason: error.kind,
            again: Some(again),
        })
    }

    /// As long as this wiring is worked with.
    pub(super) fn for_good(name: &str, error: StoreError) -> Arc<dyn Prune> {
        Arc::new(Self {
            name: name.to_owned(),
            reason: error.kind,
            again: None,
        })
    }

    async fn store(
        &self,
        operation: Operation,
        key: Option<&ObjectKey>,
    ) -> Result<&Arc<dyn Prune>, StoreError> {
        let found = match &self.again {
            Some(again) => again.store().await,
            None => None,
        };
        found.ok_or_else(|| {
            let reason = self.reason.clone();
            StoreError::new(&self.name, operation, key, reason)
        })
    }
}

#[async_trait]
impl Store for Unopened {
    fn name(&self) -> &str {
        &self.name
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
