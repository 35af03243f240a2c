//! Sends single requests to one bucket. Invariant: every name sent is below the prefix.

use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::primitives::DateTime as SdkTime;
use chrono::{DateTime, Utc};

use crate::clock::Clock;
use crate::config::{self, Secret};
use crate::types::ObjectKey;

use super::super::{ObjectStat, StoreErrorKind};
use super::client::{self, S3Patience};
use super::error::Refusal;

/// A bucket with its connection and our prefix in it.
pub(super) struct Bucket {
    /// Name of the storage in the configuration.
    pub(super) store_name: String,
    /// Name of the bucket.
    pub(super) bucket_name: String,
    pub(super) endpoint: String,
    /// Empty, or ends in a slash.
    pub(super) prefix: String,
    pub(super) client: Client,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) patience: S3Patience,
    // Used to remove them from messages.
    pub(super) access_key_id: Secret,
    pub(super) secret_access_key: Secret,
}

impl Bucket {
    pub(super) fn new(
        store: &str,
        settings: &config::S3,
        clock: Arc<dyn Clock>,
        patience: S3Patience,
    ) -> Result<Self, StoreErrorKind> {
        Ok(Self {
            store_name: store.to_owned(),
            bucket_name: settings.bucket.clone(),
            endpoint: settings.endpoint.clone(),
            prefix: settings.prefix.clone(),
            client: client::build(settings, &clock, patience)?,
            clock,
            patience,
            access_key_id: settings.access_key_id.clone(),
            secret_access_key: settings.secret_access_key.clone(),
        })
    }

    /// Returns the same bucket with the folder `name` below its prefix as the prefix.
    pub(super) fn below(&self, name: &str) -> Self {
        Self {
            store_name: self.store_name.clone(),
            bucket_name: self.bucket_name.clone(),
            endpoint: self.endpoint.clone(),
            prefix: format!("{}{name}/", self.prefix),
            client: self.client.clone(),
            clock: Arc::clone(&self.clock),
            patience: self.patience,
            access_key_id: self.access_key_id.clone(),
            secret_access_key: self.secret_access_key.clone(),
        }
    }

    /// Returns the path of the object `key` in the bucket.
    pub(super) fn path(&self, key: &ObjectKey) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Returns the key of the object at `path`; `None` if it is not ours.
    pub(super) fn key(&self, path: &str) -> Option<ObjectKey> {
        path.strip_prefix(&self.prefix)?.parse().ok()
    }

    /// Returns a configuration override that sends a request only once; the caller decides about repetition.
    pub(super) fn once(&self) -> aws_sdk_s3::config::Builder {
        aws_sdk_s3::Config::builder().retry_config(RetryConfig::disabled())
    }

    /// Returns the metadata of an object. A response to HEAD carries no reason, so unless it is a success, the request
    /// is repeated as a GET, whose response distinguishes a missing object from a missing bucket, and a wrong key from
    /// a wrong clock.
    pub(super) async fn stat(&self, key: &ObjectKey) -> Result<Option<ObjectStat>, Refusal> {
        let found = self.look(key).await?;
        Ok(found.map(|(stat, _)| stat))
    }

    /// As [`Self::stat`], with the ETag, which distinguishes versions of the object.
    pub(super) async fn look(
        &self,
        key: &ObjectKey,
    ) -> Result<Option<(ObjectStat, Option<String>)>, Refusal> {
        let asked = self.client.head_object().bucket(&self.bucket_name);
        match asked.key(self.path(key)).send().await {
            Ok(found) => {
                let stat = stat_of(found.content_length, found.last_modified)?;
                Ok(Some((stat, found.e_tag)))
            }
            Err(error) => match self.refusal(&error) {
                refusal if refusal.is_terse() => self.explain(key, refusal).await,
                refusal => Err(refusal),
            },
        }
    }

    async fn explain<T>(&self, key: &ObjectKey, terse: Refusal) -> Result<Option<T>, Refusal> {
        let asked = self.client.get_object().bucket(&self.bucket_name);
        match asked.key(self.path(key)).range("bytes=0-0").send().await {
            // The object was created meanwhile, or HEAD is treated differently: the code must not guess.
            Ok(_) => Err(Refusal::odd(format!(
                "HEAD and GET disagree: {}",
                terse.kind
            ))),
            Err(error) => match self.refusal(&error) {
                refusal if refusal.is_no_key() => Ok(None),
                refusal => Err(refusal),
            },
        }
    }

    /// Removes the object at `path`, if there is one.
    pub(super) async fn remove(&self, path: &str) -> Result<(), Refusal> {
        let asked = self
            .client
            .delete_object()
            .bucket(&self.bucket_name)
            .key(path);
        match asked.send().await {
            Ok(_) => Ok(()),
            Err(error) => match self.refusal(&error) {
                refusal if refusal.is_no_key() => Ok(()),
                refusal => Err(refusal),
            },
        }
    }
}

/// Size and time of an object. Listings contain fractions of a second and HEAD does not: both are truncated.
pub(super) fn stat_of(
    size_bytes: Option<i64>,
    modified: Option<SdkTime>,
) -> Result<ObjectStat, Refusal> {
    let size = size_bytes.and_then(|size| u64::try_from(size).ok());
    let modified = modified.and_then(|time| DateTime::<Utc>::from_timestamp(time.secs(), 0));
    match (size, modified) {
        (Some(size_bytes), Some(modified)) => Ok(ObjectStat {
            size_bytes,
            modified,
        }),
        _ => Err(Refusal::odd("the answer lacks an object's size or time")),
    }
}
