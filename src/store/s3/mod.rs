//! Stores objects in an S3-compatible bucket. Invariant: under a key there is a complete object or nothing, and a taken
//! key is never written, despite crashes, broken connections and lost responses; for services without conditional
//! writes see [`S3Store::conditional_writes`].
//!
//! R2, AWS S3 and others support different features; only their common ones are used: path-style URLs, static
//! credentials, signed in-memory bodies, equal parts, and `If-None-Match`.

mod bucket;
mod client;
mod download;
mod error;
mod listing;
mod probe;
mod spool;
mod sweep;
mod trial;
mod turn;
mod upload;

pub use client::S3Patience;
pub use upload::{PART_BYTES, PARTS_IN_FLIGHT, SINGLE_PUT_MOST_BYTES};

use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::OnceCell;

use crate::clock::Clock;
use crate::config;
use crate::types::{ObjectKey, Sha256};

use super::{Body, Listing, ObjectStat, Operation, Prune, Reader, Store, StoreError};

use bucket::Bucket;
use turn::Turns;

/// A store in a bucket.
pub struct S3Store {
    bucket: Arc<Bucket>,
    /// Distinguishes this installation's probes from those of others; a valid part of a key.
    mark: String,
    conditional: OnceCell<bool>,
    turns: Turns,
}

impl S3Store {
    /// Creates a store in the bucket of `settings`. Sends nothing yet: an agent can start while its bucket is
    /// unreachable, and a reader needs no write permission.
    ///
    /// `instance` is the id of this installation; `clock` dates the signatures and provides the delays between
    /// attempts.
    ///
    /// # Errors
    /// If the settings are unusable.
    pub fn connect(
        name: &str,
        settings: &config::S3,
        instance: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::connect_with(name, settings, instance, clock, S3Patience::default())
    }

    /// As [`Self::connect`], with other timeouts and limits.
    ///
    /// # Errors
    /// As [`Self::connect`].
    pub fn connect_with(
        name: &str,
        settings: &config::S3,
        instance: &str,
        clock: Arc<dyn Clock>,
        patience: S3Patience,
    ) -> Result<Self, StoreError> {
        let bucket = Bucket::new(name, settings, clock, patience)
            .map_err(|kind| StoreError::new(name, Operation::Prepare, None, kind))?;
        // An instance id is free text; its hash is a valid part of a key.
        let mark = Sha256::of(instance.as_bytes()).to_string();
        Ok(Self {
            bucket: Arc::new(bucket),
            mark: mark[..16].to_owned(),
            conditional: OnceCell::new(),
            turns: Turns::default(),
        })
    }

    /// True if the service refuses a conditional write to a taken key. A probe determines this before the first write,
    /// and the result is cached.
    ///
    /// Without conditional writes (Garage, `rclone serve s3`), `create` checks the key before it writes: two agents
    /// that write the same key at the same instant may then overwrite one another.
    ///
    /// # Errors
    /// If the probe failed.
    pub async fn conditional_writes(&self) -> Result<bool, StoreError> {
        let probed = self
            .conditional
            .get_or_try_init(|| probe::run(&self.bucket, &self.mark));
        let honoured = probed
            .await
            .map_err(|refusal| self.failed(Operation::Prepare, None, refusal))?;
        Ok(*honoured)
    }

    /// Aborts the multipart uploads that dead processes left unfinished, whose parts cost money and appear in no
    /// listing. Returns their number.
    ///
    /// Call it once at start, while holding the lock on this instance's state directory. For an unfinished upload, S3
    /// reports only key, id and time. An upload is therefore ours if its key has one of our forms below our prefix, and
    /// dead if this process did not start it: the lock ensures that no other process of this instance is alive. Clocks
    /// are not involved, as the service's may differ from ours. Another instance that shares the prefix and is
    /// uploading at this moment must repeat that upload; no stored object is ever touched.
    ///
    /// # Errors
    /// If the uploads cannot be listed or one cannot be aborted.
    pub async fn sweep(&self) -> Result<u64, StoreError> {
        sweep::run(&self.bucket)
            .await
            .map_err(|refusal| self.failed(Operation::Prepare, None, refusal))
    }

    fn failed(
        &self,
        operation: Operation,
        key: Option<&ObjectKey>,
        refusal: error::Refusal,
    ) -> StoreError {
        StoreError::new(&self.bucket.store_name, operation, key, refusal.kind)
    }
}

#[async_trait]
impl Store for S3Store {
    fn name(&self) -> &str {
        &self.bucket.store_name
    }

    async fn create(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        self.upload(key, body).await
    }

    async fn open(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Option<Reader>, StoreError> {
        download::open(&self.bucket, key, range)
            .await
            .map_err(|refusal| self.failed(Operation::Read, Some(key), refusal))
    }

    async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, StoreError> {
        self.bucket
            .stat(key)
            .await
            .map_err(|refusal| self.failed(Operation::Stat, Some(key), refusal))
    }

    async fn list(&self) -> Result<Listing, StoreError> {
        listing::run(&self.bucket)
            .await
            .map_err(|refusal| self.failed(Operation::List, None, refusal))
    }
}

#[async_trait]
impl Prune for S3Store {
    async fn remove(&self, key: &ObjectKey) -> Result<(), StoreError> {
        self.bucket
            .remove(&self.bucket.path(key))
            .await
            .map_err(|refusal| self.failed(Operation::Remove, Some(key), refusal))
    }
}
