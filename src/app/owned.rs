//! Keeps two installations, or two hosts with one state folder, from using the same place. Invariant: nothing is
//! created or removed in a place that another one uses, or in a storage that lost all its content.
//!
//! Keys contain only a day and a name, and those of weekly archives not even a name. So two installations in one place
//! would use each other's keys, and only the manifest would show which of them made a copy.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, LazyLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use super::claim::{self, Claim, Own, Owner, Place};
use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::engine::presence::{self, Known, Presence};
use crate::store::{
    Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind,
};
use crate::types::ObjectKey;

/// Time for which a result is valid: a job that takes hours, or the next night of a daemon, checks again.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// A storage that is checked before the first object is created in it, and again after a while.
pub(super) struct Owned {
    inner: Arc<dyn Prune>,
    catalog: Catalog,
    clock: Arc<dyn Clock>,
    looked: Mutex<Looked>,
}

/// Result of the last check.
#[derive(Default)]
struct Looked {
    /// True if this process made a claim.
    has_claimed: bool,
    /// Time of the check, on the monotonic clock, and its result. `None` if there was none.
    last: Option<(Duration, Result<(), Refused>)>,
}

/// The reason that nothing is created.
#[derive(Clone)]
struct Refused {
    why: StoreErrorKind,
    /// The object that shows it: while it exists, no other request is needed. `None` if no object does.
    by: Option<ObjectKey>,
}

impl Owned {
    /// Wraps a storage; the first `create` or `remove` checks its owner.
    pub(super) fn wrap(
        inner: Arc<dyn Prune>,
        catalog: &Catalog,
        clock: &Arc<dyn Clock>,
    ) -> Arc<dyn Prune> {
        Arc::new(Self {
            inner,
            catalog: catalog.clone(),
            clock: Arc::clone(clock),
            looked: Mutex::default(),
        })
    }

    /// Fails if another installation or host uses this place, or if it lost all its content.
    async fn hold(&self, operation: Operation, key: &ObjectKey) -> Result<(), StoreError> {
        let mut looked = self.looked.lock().await;
        let found = match &looked.last {
            Some((at, found)) if self.is_believed(*at, found).await => found.clone(),
            _ => {
                let at = self.clock.elapsed();
                let found = self.look(&mut looked.has_claimed).await;
                looked.last = Some((at, found.clone()));
                found
            }
        };
        found.map_err(|Refused { why, .. }| {
            StoreError::new(self.inner.name(), operation, Some(key), why)
        })
    }

    async fn is_believed(&self, at: Duration, found: &Result<(), Refused>) -> bool {
        match found {
            Err(Refused { by: Some(by), .. }) => matches!(self.inner.stat(by).await, Ok(Some(_))),
            _ => self.clock.elapsed().saturating_sub(at) < LOOK_AGAIN,
        }
    }

    async fn look(&self, has_claimed: &mut bool) -> Result<(), Refused> {
        let unknown = |error: &dyn std::fmt::Display| Refused {
            why: StoreErrorKind::Other {
                cause: error.to_string(),
            },
            by: None,
        };
        let store = self.inner.as_ref();
        let known = Known::of(&self.catalog).map_err(|error| unknown(&error))?;
        if let Presence::Lost(lost) =
            presence::look(store, &known.in_storage(self.inner.name())).await
        {
            let why = lost.refusal();
            return Err(Refused { why, by: None });
        }
        let turn = turn(self.inner.name());
        let _turn = turn.lock().await;
        let own = Own::of(&self.catalog, self.inner.name()).map_err(|error| unknown(&error))?;
        let found = match claim::find(store, &own).await {
            Ok(Place::Ours { next, .. }) if *has_claimed && next == own.claim.number + 1 => {
                Ok(None)
            }
            Ok(Place::Ours { next, old }) => self.claim(&own, next, &old).await,
            Ok(Place::Shared) => Ok(None),
            Ok(Place::Taken(owner)) => Ok(Some(owner)),
            Err(error) => Err(error),
        };
        match found {
            Ok(None) => {
                *has_claimed = true;
                Ok(())
            }
            Ok(Some(owner)) => Err(Refused {
                why: owner.refusal(),
                by: Some(owner.by),
            }),
            // Storing a copy is more important than this check; a storage that does not answer fails when it is written
            // to.
            Err(error) => {
                let storage = self.inner.name();
                tracing::debug!(storage, %error, "storage {storage}: whose it is was not found out: {error}");
                Ok(())
            }
        }
    }

    /// Makes the next claim. Returns the owner if another one was faster, else `None`.
    async fn claim(
        &self,
        own: &Own,
        next: u64,
        old: &[ObjectKey],
    ) -> Result<Option<Owner>, StoreError> {
        let (storage, key) = (self.inner.name(), ObjectKey::claim(next));
        let not_noted = |error: crate::catalog::CatalogError| {
            let cause = error.to_string();
            let kind = StoreErrorKind::Other { cause };
            StoreError::new(storage, Operation::Create, Some(&key), kind)
        };
        let claim = Claim {
            instance: own.instance.clone(),
            token: uuid::Uuid::new_v4().simple().to_string(),
            host: host(),
        };
        let begun = self.catalog.begin_claim(storage, &claim.token);
        begun.map_err(not_noted)?;
        let text = serde_json::to_vec_pretty(&claim).expect("a claim has only text keys");
        match self.inner.create(&key, Body::Bytes(&text)).await {
            Err(error) if !error.is_exists() => return Err(error),
            _ => {}
        }
        match claim::read(self.inner.as_ref(), &key).await? {
            Some(found) if found != claim => return Ok(Some(own.owner(key, found))),
            _ => self.catalog.hold_claim(storage, next).map_err(not_noted)?,
        }
        for key in old {
            // An old claim does no harm: the highest counts.
            if let Err(error) = self.inner.remove(key).await {
                tracing::debug!(storage, %key, %error, "an old claim stays: {error}");
            }
        }
        Ok(None)
    }
}

/// Serializes the checks of storages with this name: after a reload the old wiring remains in use beside the new one,
/// and neither may mistake the other's claim for that of another host.
fn turn(storage: &str) -> Arc<Mutex<()>> {
    static TURNS: LazyLock<std::sync::Mutex<HashMap<String, Arc<Mutex<()>>>>> =
        LazyLock::new(Default::default);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    Arc::clone(turns.entry(storage.to_owned()).or_default())
}

/// Returns this machine's name, to be shown on other machines.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "unknown".to_owned(),
        name => name.to_owned(),
    }
}

#[async_trait]
impl Store for Owned {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        self.hold(Operation::Create, key).await?;
        self.inner.create(key, body).await
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        self.inner.open(key, range).await
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        self.inner.stat(key).await
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        self.inner.list().await
    }
}

#[async_trait]
impl Prune for Owned {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.hold(Operation::Remove, key).await?;
        self.inner.remove(key).await
    }
}
