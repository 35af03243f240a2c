//! Stores objects under their keys. Invariant: a key that was created is never written again.
//!
//! [`Store`] cannot delete; only [`Prune`] can, which only expiry holds. [`DirStore`], [`S3Store`] and [`MemoryStore`]
//! keep objects; [`Retry`] and [`FaultStore`] wrap any other store.

mod dir;
mod error;
mod fault;
mod identity;
mod memory;
mod read;
mod retry;
mod s3;
mod tree;
mod trial;

pub use dir::DirStore;
pub use error::{Operation, StoreError, StoreErrorKind};
pub use fault::{Fault, FaultStore};
pub use memory::MemoryStore;
pub use read::{Digest, digest, read_small};
pub use retry::{Retry, RetryPolicy};
pub use s3::{PART_BYTES, PARTS_IN_FLIGHT, S3Patience, S3Store, SINGLE_PUT_MOST_BYTES};
pub use trial::Tried;

use std::ops::Range;
use std::path::Path;
use std::pin::Pin;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::io::AsyncRead;

use crate::types::{KeyKind, ObjectKey, Sha256};

/// Bytes of an object, read from start to end. To retry after an error, open the object again.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// Content of a new object.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// A file of the spool whose content was proven before.
    File {
        /// Path of the file.
        path: &'a Path,
        /// Expected size, in bytes.
        size_bytes: u64,
        /// Expected hash; other content is refused with [`StoreErrorKind::Mismatch`], and nothing is stored.
        sha256: Sha256,
    },
    /// Bytes in memory, such as a manifest.
    Bytes(&'a [u8]),
}

impl Body<'_> {
    /// Returns the digest that the stored object must have.
    pub fn digest(&self) -> Digest {
        match *self {
            Self::File {
                size_bytes, sha256, ..
            } => Digest { size_bytes, sha256 },
            Self::Bytes(bytes) => Digest::of(bytes),
        }
    }
}

/// Metadata of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectStat {
    /// Size in bytes.
    pub size_bytes: u64,
    /// Creation time, by the store's clock.
    pub modified: DateTime<Utc>,
}

/// All objects of a store at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// Objects under our keys, in the order of their keys.
    pub objects: Vec<(ObjectKey, ObjectStat)>,
    /// Claims on the storage, which are not copies, in the order of their numbers.
    pub claims: Vec<ObjectKey>,
    /// Number of names that are not our keys; they are never touched.
    pub foreign: u64,
}

impl Listing {
    /// Adds an object under one of our keys.
    fn add(&mut self, key: ObjectKey, stat: ObjectStat) {
        match key.kind() {
            KeyKind::Claim { .. } => self.claims.push(key),
            _ => self.objects.push((key, stat)),
        }
    }

    /// Sorts objects and claims.
    fn sort(&mut self) {
        self.objects.sort_by(|one, other| one.0.cmp(&other.0));
        self.claims
            .sort_by(|one, other| one.kind().cmp(other.kind()));
    }
}

/// A durable map from key to bytes.
///
/// ```
/// use std::sync::Arc;
///
/// use patina::clock::SystemClock;
/// use patina::store::{Body, MemoryStore, Store, StoreErrorKind};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build()?;
/// # runtime.block_on(async {
/// let store = MemoryStore::new("memory", Arc::new(SystemClock::new()));
/// let key = "daily/2026-11-29/blog.sql".parse()?;
/// store.create(&key, Body::Bytes(b"SELECT 1;")).await?;
/// assert_eq!(store.stat(&key).await?.map(|stat| stat.size_bytes), Some(9));
/// // A key is never written twice.
/// let again = store.create(&key, Body::Bytes(b"SELECT 2;")).await;
/// assert!(matches!(again.map_err(|error| error.kind), Err(StoreErrorKind::Exists)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[async_trait]
pub trait Store: Send + Sync {
    /// Name of the storage in the configuration.
    fn name(&self) -> &str;

    /// Stores an object under a free key.
    ///
    /// Atomic: readers see the complete object or none, and once this returns, the object survives a power loss. A call
    /// that was dropped or failed may still have stored the object, unless the error says that nothing was stored.
    ///
    /// # Errors
    /// [`StoreErrorKind::Exists`] if the key is taken, and its object then durable, too; and every other kind.
    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError>;

    /// Reads an object, or the part of `range` that lies within it. `None`: there is no such object.
    ///
    /// # Errors
    /// If the store cannot determine that the object exists, or cannot return it.
    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError>;

    /// Returns the metadata of an object without reading it. `None`: there is no such object.
    ///
    /// # Errors
    /// If the store cannot determine it.
    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError>;

    /// Lists every object.
    ///
    /// # Errors
    /// If any part of the listing failed: an incomplete list is never returned.
    async fn list(&self) -> Result<Listing, StoreError>;
}

/// A store that can also remove an object. There is no removal by prefix.
#[async_trait]
pub trait Prune: Store {
    /// Removes one object; succeeds if it is already absent. Durable on return.
    ///
    /// # Errors
    /// If the object may still exist.
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError>;
}
