//! Keeps two installations out of one place. Invariant: nothing is created where another installation's copies lie, unless
//! this one has copies there, too.
//!
//! Keys say a day and a name, a week's archive not even that. So two installations in one place would take each other's
//! keys, and which of them made a copy would stand in its manifest alone.

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::catalog::Catalog;
use crate::copy::MAX_MANIFEST_BYTES;
use crate::store::{
    Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError, StoreErrorKind,
    read_small,
};
use crate::types::{KeyKind, ObjectKey};

/// So many manifests, the last ones, say whose a place is.
const LOOKED_AT: usize = 3;

/// A storage that is looked at before the first object is created in it.
pub(super) struct Owned {
    inner: Arc<dyn Prune>,
    catalog: Catalog,
    looked: OnceCell<()>,
}

impl Owned {
    /// Whose is it? The first `create` asks.
    pub(super) fn wrap(inner: Arc<dyn Prune>, catalog: &Catalog) -> Arc<dyn Prune> {
        Arc::new(Self {
            inner,
            catalog: catalog.clone(),
            looked: OnceCell::new(),
        })
    }

    async fn look(&self, key: &ObjectKey) -> Result<(), StoreError> {
        let refused = |kind| StoreError::new(self.inner.name(), Operation::Create, Some(key), kind);
        let unknown = |error: &dyn std::fmt::Display| {
            refused(StoreErrorKind::Other {
                cause: error.to_string(),
            })
        };
        let known = self.catalog.has_own_in(self.inner.name());
        if known.map_err(|error| unknown(&error))? {
            return Ok(());
        }
        let instance = self.catalog.instance().map_err(|error| unknown(&error))?;
        match owner_of(self.inner.as_ref(), &instance).await {
            Ok(Some(owner)) => Err(refused(owner.refusal())),
            Ok(None) => Ok(()),
            // A copy is worth more than to know this; what does not answer says so when it is written to.
            Err(error) => {
                let storage = self.inner.name();
                tracing::debug!(storage, %error, "storage {storage}: whose it is was not found out: {error}");
                Ok(())
            }
        }
    }
}

/// Another installation, to which a place belongs.
pub(super) struct Owner {
    instance: String,
    newest: ObjectKey,
}

impl Owner {
    /// Why nothing is stored there, and the ways out.
    pub(super) fn refusal(&self) -> StoreErrorKind {
        let Self { instance, newest } = self;
        StoreErrorKind::Refused {
            cause: format!(
                "this place belongs to another installation of Patina (`{instance}`; its newest copy is {newest}), \
                 and two never share one"
            ),
            hint: "give this installation a place of its own: another `prefix`, `bucket` or `directory`; if it is the \
                   same installation and only its state folder was lost, `patina rebuild` goes on with those copies"
                .to_owned(),
        }
    }
}

/// The installation that a place belongs to. `None`: it is empty, or holds something of `instance`.
pub(super) async fn owner_of(
    store: &dyn Store,
    instance: &str,
) -> Result<Option<Owner>, StoreError> {
    let listing = store.list().await?;
    let manifests = listing.objects.into_iter().filter_map(|(key, _)| {
        let KeyKind::Manifest { of } = key.kind() else {
            return None;
        };
        Some((of.as_ref().clone(), key.clone()))
    });
    let mut manifests: Vec<(ObjectKey, ObjectKey)> = manifests.collect();
    // A daily's key begins with its day, and sorts before a week's.
    manifests.sort_by_key(|(of, _)| Reverse((is_daily(of), of.clone())));
    let mut owner = None;
    for (of, manifest) in manifests.into_iter().take(LOOKED_AT) {
        let text = read_small(store, &manifest, MAX_MANIFEST_BYTES).await?;
        let Some(found) = text.as_deref().and_then(instance_in) else {
            continue;
        };
        if found == instance {
            return Ok(None);
        }
        owner.get_or_insert(Owner {
            instance: found,
            newest: of,
        });
    }
    Ok(owner)
}

fn is_daily(key: &ObjectKey) -> bool {
    matches!(key.kind(), KeyKind::Daily { .. })
}

fn instance_in(manifest: &[u8]) -> Option<String> {
    #[derive(serde::Deserialize)]
    struct Written {
        instance: String,
    }
    let written: Written = serde_json::from_slice(manifest).ok()?;
    Some(written.instance)
}

#[async_trait]
impl Store for Owned {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        self.looked.get_or_try_init(|| self.look(key)).await?;
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
        self.inner.remove(key).await
    }
}
