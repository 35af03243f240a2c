//! A bucket at whose nth call the process dies.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use patina::store::{
    Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind,
};
use patina::types::ObjectKey;
use tokio_util::sync::CancellationToken;

/// Passes calls on until the one at which the process dies, before or after it took effect. That call and all later
/// ones end only when the dead process is buried.
pub(super) struct Doomed<S: ?Sized> {
    pub(super) inner: Arc<S>,
    /// The number of the deadly call, from 1.
    pub(super) at: u64,
    /// Whether it still takes effect.
    pub(super) takes_effect: bool,
    pub(super) calls: AtomicU64,
    pub(super) death: CancellationToken,
    pub(super) burial: CancellationToken,
}

enum Fate {
    Lives,
    DiesAfter,
}

impl<S: Prune + ?Sized> Doomed<S> {
    async fn enter(&self, operation: Operation) -> Result<Fate, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        match call.cmp(&self.at) {
            std::cmp::Ordering::Less => Ok(Fate::Lives),
            std::cmp::Ordering::Equal if self.takes_effect => Ok(Fate::DiesAfter),
            _ => Err(self.die(operation).await),
        }
    }

    async fn leave(&self, fate: Fate, operation: Operation) -> Result<(), StoreError> {
        match fate {
            Fate::Lives => Ok(()),
            Fate::DiesAfter => Err(self.die(operation).await),
        }
    }

    async fn die(&self, operation: Operation) -> StoreError {
        self.death.cancel();
        self.burial.cancelled().await;
        let cause = "the process is dead".to_owned();
        let kind = StoreErrorKind::Other { cause };
        StoreError::new(self.name(), operation, None, kind)
    }
}

#[async_trait]
impl<S: Prune + ?Sized> Store for Doomed<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let fate = self.enter(Operation::Create).await?;
        let result = self.inner.create(key, body).await;
        self.leave(fate, Operation::Create).await?;
        result
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        let fate = self.enter(Operation::Read).await?;
        let result = self.inner.open(key, range).await;
        self.leave(fate, Operation::Read).await?;
        result
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        let fate = self.enter(Operation::Stat).await?;
        let result = self.inner.stat(key).await;
        self.leave(fate, Operation::Stat).await?;
        result
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        let fate = self.enter(Operation::List).await?;
        let result = self.inner.list().await;
        self.leave(fate, Operation::List).await?;
        result
    }
}

#[async_trait]
impl<S: Prune + ?Sized> Prune for Doomed<S> {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let fate = self.enter(Operation::Remove).await?;
        let result = self.inner.remove(key).await;
        self.leave(fate, Operation::Remove).await?;
        result
    }
}
