//! Tries out a bucket: creates, reads back, creates again and removes, with the same calls as for copies. Invariant: it
//! touches only names of probes, and removes its own however the trial ends.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::io::AsyncReadExt;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use super::super::trial::{CONTENT, Tried, is_abandoned, name, prefix};
use super::super::{Body, Operation, Prune, Store, StoreError};
use super::S3Store;
use super::error::Refusal;
use super::turn::Turns;
use crate::types::{BackupDate, Compression, CopyForm, ObjectKey};

/// Objects that a trial creates, as a backup of a day would.
struct Probes {
    /// Object sent in one request.
    small: ObjectKey,
    /// Object sent in parts.
    parted: ObjectKey,
}

impl Probes {
    fn of(now: DateTime<Utc>) -> Self {
        let date = BackupDate(now.date_naive());
        let key = |database: &str| {
            let database = database.parse().expect("a name of ours");
            ObjectKey::daily(date, &database, None, CopyForm::Sql, Compression::None)
        };
        Self {
            small: key("probe"),
            parted: key("probe-in-parts"),
        }
    }
}

impl S3Store {
    /// Creates a probe, reads it back, creates it again, which must be refused, creates one in parts, and removes both,
    /// with the same calls as backup and expiry, below a prefix of its own. Each step takes at most `limit`. Starts by
    /// removing the probes of trials that were killed.
    ///
    /// # Errors
    /// If copies cannot be stored or read back. The probes are removed in any case, or swept by a trial an hour later.
    pub async fn try_out(&self, limit: Duration) -> Result<Tried, StoreError> {
        let swept = self
            .within(limit, Operation::List, self.sweep_probes())
            .await;
        let now = self.bucket.clock.now();
        let probes = Probes::of(now);
        let apart = self.apart(&name(&self.mark, now));
        let steps = self
            .within(limit, Operation::Probe, apart.steps(&probes))
            .await;
        let removed = self
            .within(limit, Operation::Unprobe, apart.remove_all(&probes))
            .await;
        let (refuses_taken, unparted) = steps?;
        Ok(Tried {
            refuses_taken,
            swept: swept.as_ref().map_or(0, |swept| *swept),
            unlisted: swept.err(),
            unparted,
            unremoved: removed.err(),
        })
    }

    /// Returns the same store with all objects below the folder `name`, which is not one of our keys.
    fn apart(&self, name: &str) -> Self {
        Self {
            bucket: Arc::new(self.bucket.below(name)),
            mark: self.mark.clone(),
            conditional: OnceCell::new(),
            turns: Turns::default(),
        }
    }

    /// Returns true if the service refuses a taken key, and the reason that it accepts no object in parts.
    async fn steps(&self, probes: &Probes) -> Result<(bool, Option<StoreError>), StoreError> {
        let probe = |error: StoreError| self.about(Operation::Probe, error);
        let (key, body) = (&probes.small, Body::Bytes(CONTENT));
        self.create(key, body).await.map_err(probe)?;
        if self.content(key).await? != CONTENT {
            let text = "it gives back other bytes than were written";
            return Err(self.failed(Operation::ReadProbe, None, Refusal::odd(text)));
        }
        match self.create(key, body).await {
            Err(error) if error.is_exists() => {}
            Err(error) => return Err(probe(error)),
            Ok(()) => {
                let text = "it wrote a key that was taken, and would do so to a copy";
                return Err(self.failed(Operation::Probe, None, Refusal::odd(text)));
            }
        }
        let refuses_taken = self.conditional_writes().await.map_err(probe)?;
        let parted = self.upload_in_parts(&probes.parted, body).await;
        let unparted = parted
            .err()
            .map(|error| self.about(Operation::ProbeParts, error));
        Ok((refuses_taken, unparted))
    }

    async fn content(&self, key: &ObjectKey) -> Result<Vec<u8>, StoreError> {
        let read = |error: StoreError| self.about(Operation::ReadProbe, error);
        let odd = |text: String| self.failed(Operation::ReadProbe, None, Refusal::odd(text));
        let opened = self.open(key, None).await.map_err(read)?;
        let mut reader = opened.ok_or_else(|| odd("it is not there".to_owned()))?;
        let mut found = Vec::new();
        let ended = reader.read_to_end(&mut found).await;
        ended.map_err(|error| odd(error.to_string()))?;
        Ok(found)
    }

    /// Removes each, even if the previous removal failed: an interrupted trial created only some.
    async fn remove_all(&self, probes: &Probes) -> Result<(), StoreError> {
        let small = self.remove(&probes.small).await;
        let parted = self.remove(&probes.parted).await;
        small
            .and(parted)
            .map_err(|error| self.about(Operation::Unprobe, error))
    }

    async fn sweep_probes(&self) -> Result<u64, StoreError> {
        let (bucket, now) = (&self.bucket, self.bucket.clock.now());
        let asked = bucket.client.list_objects_v2().bucket(&bucket.bucket_name);
        // One page is enough: the next trial removes the rest.
        let asked = asked.prefix(format!("{}{}", bucket.prefix, prefix(&self.mark)));
        let page = asked.send().await;
        let page =
            page.map_err(|error| self.failed(Operation::List, None, bucket.refusal(&error)))?;
        let mut swept = 0;
        for path in page.contents().iter().filter_map(|object| object.key()) {
            let name = path.strip_prefix(&bucket.prefix).unwrap_or_default();
            // Failures are reported when the trial's own probe is removed.
            if is_abandoned(name, &self.mark, now) && bucket.remove(path).await.is_ok() {
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Attributes the error to the store as a whole: a probe's key is meaningless to people.
    fn about(&self, operation: Operation, error: StoreError) -> StoreError {
        StoreError::new(&self.bucket.store_name, operation, None, error.kind)
    }

    async fn within<T>(
        &self,
        limit: Duration,
        operation: Operation,
        step: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        if let Ok(done) = timeout(limit, step).await {
            return done;
        }
        let waited = humantime::format_duration(limit);
        let refusal = Refusal::odd(format!("no answer within {waited}"));
        Err(self.failed(operation, None, refusal))
    }
}
