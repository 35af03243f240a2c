//! Keeps objects in a bucket that speaks S3. Invariant: under a key lies a whole object or nothing, and a taken
//! key is never written, whatever dies, breaks off or gets lost when.
//!
//! R2, AWS S3 and others differ in what they honour; what we ask of them is the least they have in common:
//! path-style URLs, static credentials, signed in-memory bodies, equal parts, and `If-None-Match`.

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
    /// Tells this installation's probes from those of others; fit for a key.
    mark: String,
    conditional: OnceCell<bool>,
    turns: Turns,
}

impl S3Store {
    /// A store in the bucket of `settings`. Nothing is sent yet: an agent starts while its bucket is out of
    /// reach, and whoever only reads needs no right to write.
    ///
    /// `instance` is this installation's id; `clock` dates the signatures and waits between tries.
    ///
    /// # Errors
    /// Where the settings cannot be used.
    pub fn connect(
        name: &str,
        settings: &config::S3,
        instance: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreError> {
        Self::connect_with(name, settings, instance, clock, S3Patience::default())
    }

    /// As [`Self::connect`], with `patience` of one's own.
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
        // An instance id is free text; its hash is fit for a key.
        let mark = Sha256::of(instance.as_bytes()).to_string();
        Ok(Self {
            bucket: Arc::new(bucket),
            mark: mark[..16].to_owned(),
            conditional: OnceCell::new(),
            turns: Turns::default(),
        })
    }

    /// Whether the service refuses a conditional write on a taken key, found out by a probe before the first
    /// write and remembered.
    ///
    /// Without it (Garage, `rclone serve s3`), `create` looks first and then writes: two agents that write the
    /// same key in the same instant may then overwrite one another.
    ///
    /// # Errors
    /// Where the probe could not be made.
    pub async fn conditional_writes(&self) -> Result<bool, StoreError> {
        let probed = self
            .conditional
            .get_or_try_init(|| probe::run(&self.bucket, &self.mark));
        let honoured = probed
            .await
            .map_err(|refusal| self.failed(Operation::Prepare, None, refusal))?;
        Ok(*honoured)
    }

    /// Aborts the multipart uploads that dead processes left unfinished; their parts cost money and no listing
    /// shows them. Returns how many.
    ///
    /// Call it once at start, while holding the lock on this instance's state directory. S3 tells nothing of
    /// an unfinished upload but key, id and time. So one is ours if its key is one of our forms below our prefix,
    /// and dead if this process did not begin it: the lock says that no other process of this instance lives. No
    /// clock takes part, as the service's may differ from ours. Another instance that shares the prefix, and
    /// uploads at this very moment, has to repeat that upload; no stored object is ever touched.
    ///
    /// # Errors
    /// Where the uploads cannot be listed or one cannot be aborted.
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
