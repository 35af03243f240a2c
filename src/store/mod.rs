//! Keeps objects under their keys. Invariant: a key that was created is never written again.
//!
//! [`Store`] cannot delete; that is [`Prune`]'s door, held by expiry alone. [`DirStore`],
//! [`S3Store`] and [`MemoryStore`] keep objects; [`Retry`] and [`FaultStore`] wrap any other store.

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

/// The bytes of an object, read from start to end. Its errors carry no retry: open again.
pub type Reader = Pin<Box<dyn AsyncRead + Send>>;

/// What an object is created from.
#[derive(Debug, Clone, Copy)]
pub enum Body<'a> {
    /// A file of the spool whose content was proven before.
    File {
        /// Where it lies.
        path: &'a Path,
        /// How long it must be.
        size_bytes: u64,
        /// What its content must hash to; anything else is refused with
        /// [`StoreErrorKind::Mismatch`] and nothing is stored.
        sha256: Sha256,
    },
    /// Bytes at hand, such as a manifest.
    Bytes(&'a [u8]),
}

impl Body<'_> {
    /// What the stored object must hold.
    pub fn digest(&self) -> Digest {
        match *self {
            Self::File {
                size_bytes, sha256, ..
            } => Digest { size_bytes, sha256 },
            Self::Bytes(bytes) => Digest::of(bytes),
        }
    }
}

/// What a store says about an object without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectStat {
    /// How many bytes it has.
    pub size_bytes: u64,
    /// When it was created, by the store's clock.
    pub modified: DateTime<Utc>,
}

/// Everything a store holds at one time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The objects under our keys, in the order of their keys.
    pub objects: Vec<(ObjectKey, ObjectStat)>,
    /// The claims on the place, which are no copies, in the order of their numbers.
    pub claims: Vec<ObjectKey>,
    /// How many names are there that are not our keys; they are never touched.
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

    /// Puts everything in its order.
    fn sort(&mut self) {
        self.objects.sort_by(|one, other| one.0.cmp(&other.0));
        self.claims
            .sort_by(|one, other| one.kind().cmp(other.kind()));
    }
}

/// A durable map from key to bytes.
#[async_trait]
pub trait Store: Send + Sync {
    /// The storage's name in the configuration.
    fn name(&self) -> &str;

    /// Stores an object under a key that is free.
    ///
    /// All or nothing: readers see the whole object or none, and once this returns it survives a power
    /// loss. A dropped or failed call may still have stored the object, unless the error says that
    /// nothing was.
    ///
    /// # Errors
    /// [`StoreErrorKind::Exists`] where the key is taken, which is then durable too, and every other kind.
    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError>;

    /// Reads an object, or the part of `range` that lies within it. `None`: there is no such object.
    ///
    /// # Errors
    /// Where the store cannot tell whether the object is there, or cannot give it.
    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError>;

    /// Looks at an object without reading it. `None`: there is no such object.
    ///
    /// # Errors
    /// Where the store cannot tell.
    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError>;

    /// Lists every object.
    ///
    /// # Errors
    /// Where any part of the listing failed: a short list is never returned.
    async fn list(&self) -> Result<Listing, StoreError>;
}

/// A store that can also give up an object. There is no removal by prefix.
#[async_trait]
pub trait Prune: Store {
    /// Removes one object; an absent one is already removed. Durable on return.
    ///
    /// # Errors
    /// Where the object may still be there.
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError>;
}
