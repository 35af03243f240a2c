//! Creates objects. Invariant: only the last request makes an object visible, and it is sent only after every byte was
//! verified and only if the key is free.

use std::future::Future;
use std::sync::Arc;

use aws_sdk_s3::primitives::{ByteStream, SdkBody};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::types::{ObjectKey, counted, either};

use super::super::{Body, Operation, StoreError, StoreErrorKind, digest};
use super::S3Store;
use super::bucket::Bucket;
use super::error::Refusal;
use super::probe::BETWEEN_WRITES;
use super::spool::Spool;
use super::sweep::{abort, under_way};

/// Size of a part; all but the last are equal, as R2 requires. Larger only for objects beyond 58 GiB.
pub const PART_BYTES: u64 = 6 << 20;

/// Number of parts sent concurrently. With the one being read, 18 MiB of parts are in memory.
pub const PARTS_IN_FLIGHT: usize = 2;

/// Largest object that is sent in one request.
pub const SINGLE_PUT_MOST_BYTES: u64 = 16 << 20;

/// Limit of S3 and R2.
const MOST_PARTS: u64 = 10_000;

const FREE_ONLY: &str = "*";

impl S3Store {
    pub(super) async fn upload(&self, key: &ObjectKey, body: Body<'_>) -> Result<(), StoreError> {
        let size_bytes = body.digest().size_bytes;
        if size_bytes > SINGLE_PUT_MOST_BYTES {
            return self.upload_in_parts(key, body).await;
        }
        let conditional = self.conditional_writes().await?;
        let _turn = self.turns.take(key).await;
        let opened = Spool::open(body).await;
        let mut spool = opened.map_err(|refusal| self.refused(key, refusal))?;
        let bytes = whole(&mut spool, size_bytes).await;
        let bytes = bytes.map_err(|refusal| self.refused(key, refusal))?;
        self.put(key, body, conditional, &SdkBody::from(bytes))
            .await
    }

    /// Uploads in parts, as large objects are sent; works for any size.
    pub(super) async fn upload_in_parts(
        &self,
        key: &ObjectKey,
        body: Body<'_>,
    ) -> Result<(), StoreError> {
        let conditional = self.conditional_writes().await?;
        let _turn = self.turns.take(key).await;
        let size_bytes = body.digest().size_bytes;
        let opened = Spool::open(body).await;
        let mut spool = opened.map_err(|refusal| self.refused(key, refusal))?;
        // A taken key is reported before the bytes are sent; the last request checks again.
        match self.bucket.stat(key).await {
            Ok(None) => {}
            Ok(Some(_)) => return Err(self.taken(key)),
            Err(refusal) => return Err(self.refused(key, refusal)),
        }
        let begun = Unfinished::begin(&self.bucket, key).await;
        let upload = begun.map_err(|refusal| self.refused(key, refusal))?;
        let stored = match send_parts(&upload, &mut spool, size_bytes).await {
            Ok(parts) => self.complete(key, body, conditional, &upload, parts).await,
            Err(refusal) => Err(self.refused(key, refusal)),
        };
        match stored {
            Ok(()) => upload.finished(),
            Err(_) => upload.abort().await,
        }
        stored
    }

    async fn put(
        &self,
        key: &ObjectKey,
        body: Body<'_>,
        conditional: bool,
        bytes: &SdkBody,
    ) -> Result<(), StoreError> {
        let bucket = &self.bucket;
        let path = bucket.path(key);
        self.commit(key, body, conditional, || async {
            let asked = bucket
                .client
                .put_object()
                .bucket(&bucket.bucket_name)
                .key(&path);
            let bytes = bytes.try_clone().expect("bytes in memory can be cloned");
            let asked = asked
                .body(ByteStream::new(bytes))
                .set_if_none_match(conditional.then(|| FREE_ONLY.to_owned()));
            let sent = asked
                .customize()
                .config_override(bucket.once())
                .send()
                .await;
            let sent = sent.map_err(|error| bucket.refusal(&error))?;
            Ok(sent.e_tag)
        })
        .await
        .map(drop)
    }

    async fn complete(
        &self,
        key: &ObjectKey,
        body: Body<'_>,
        conditional: bool,
        upload: &Unfinished,
        parts: Vec<CompletedPart>,
    ) -> Result<(), StoreError> {
        let bucket = &self.bucket;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(parts))
            .build();
        let committed = self.commit(key, body, conditional, || async {
            let asked = bucket.client.complete_multipart_upload();
            let asked = asked.bucket(&bucket.bucket_name).key(&upload.path);
            let asked = asked
                .upload_id(&upload.id)
                .multipart_upload(parts.clone())
                .set_if_none_match(conditional.then(|| FREE_ONLY.to_owned()));
            let sent = asked
                .customize()
                .config_override(bucket.once())
                .send()
                .await;
            let sent = sent.map_err(|error| bucket.refusal(&error))?;
            Ok(sent.e_tag)
        });
        let etag = committed.await?;
        // A service may report an upload as completed although it is not, or let another one complete at the same time.
        let found = self.bucket.look(key).await;
        let found = found.map_err(|refusal| self.refused(key, refusal))?;
        let size_bytes = body.digest().size_bytes;
        let odd = match found {
            None => "nothing is there".to_owned(),
            Some((found, _)) if found.size_bytes != size_bytes => {
                let (found, are) = (found.size_bytes, either(found.size_bytes, "is", "are"));
                format!("{} {are} there, not {size_bytes}", counted(found, "byte"))
            }
            Some((_, found)) if etag.is_some() && found.is_some() && found != etag => {
                "something else is there".to_owned()
            }
            Some(_) => return Ok(()),
        };
        let cause = format!("the upload was completed, and {odd}");
        Err(self.refused(key, Refusal::odd(cause)))
    }

    /// Sends the request that makes the object visible, as often as the limits allow. Returns the ETag if the service
    /// sent one.
    ///
    /// The SDK would repeat it, too, but without notice; only knowing that a response was lost allows distinguishing
    /// our own object from a foreign one.
    async fn commit<F>(
        &self,
        key: &ObjectKey,
        body: Body<'_>,
        conditional: bool,
        send: impl Fn() -> F,
    ) -> Result<Option<String>, StoreError>
    where
        F: Future<Output = Result<Option<String>, Refusal>>,
    {
        let patience = self.bucket.patience;
        let mut attempt = 0;
        let mut unsure = false;
        loop {
            let refusal = match self.send_where_free(key, conditional, &send).await {
                Ok(etag) => return Ok(etag),
                Err(refusal) => refusal,
            };
            let taken = refusal.kind == StoreErrorKind::Exists;
            if unsure && (taken || refusal.is_no_upload()) {
                return self.compare(key, body, refusal).await.map(|()| None);
            }
            attempt += 1;
            if !refusal.is_retryable() || attempt >= patience.attempts {
                return Err(self.refused(key, refusal));
            }
            unsure |= refusal.is_lost();
            let mut delay = patience.delay(attempt - 1);
            if refusal.is_throttled() {
                delay = delay.max(BETWEEN_WRITES);
            }
            tracing::warn!(
                store = self.bucket.store_name,
                attempt,
                "storage `{}`: sending `{key}` again: {}",
                self.bucket.store_name,
                refusal.kind
            );
            self.bucket.clock.sleep(delay).await;
        }
    }

    async fn send_where_free<F>(
        &self,
        key: &ObjectKey,
        conditional: bool,
        send: &impl Fn() -> F,
    ) -> Result<Option<String>, Refusal>
    where
        F: Future<Output = Result<Option<String>, Refusal>>,
    {
        if conditional {
            return send().await.map_err(|refusal| match refusal {
                refusal if refusal.is_precondition() => Refusal::new(StoreErrorKind::Exists),
                refusal => refusal,
            });
        }
        match self.bucket.stat(key).await? {
            Some(_) => Err(Refusal::new(StoreErrorKind::Exists)),
            None => send().await,
        }
    }

    /// Returns `Ok` if the object is the one that an earlier request, whose response was lost, created.
    async fn compare(
        &self,
        key: &ObjectKey,
        body: Body<'_>,
        refusal: Refusal,
    ) -> Result<(), StoreError> {
        match digest(self, key).await? {
            Some(found) if found == body.digest() => Ok(()),
            Some(_) => Err(self.taken(key)),
            None => Err(self.refused(key, refusal)),
        }
    }

    fn taken(&self, key: &ObjectKey) -> StoreError {
        self.refused(key, Refusal::new(StoreErrorKind::Exists))
    }

    fn refused(&self, key: &ObjectKey, refusal: Refusal) -> StoreError {
        self.failed(Operation::Create, Some(key), refusal)
    }
}

async fn whole(spool: &mut Spool<'_>, size_bytes: u64) -> Result<Vec<u8>, Refusal> {
    let bytes = spool.next(size_bytes as usize).await?;
    spool.finish().await?;
    Ok(bytes)
}

async fn send_parts(
    upload: &Unfinished,
    spool: &mut Spool<'_>,
    size_bytes: u64,
) -> Result<Vec<CompletedPart>, Refusal> {
    let part_bytes = part_bytes(size_bytes);
    // Dropping it cancels the requests in flight.
    let mut flying: JoinSet<Result<CompletedPart, Refusal>> = JoinSet::new();
    let mut parts = Vec::new();
    let mut left = size_bytes;
    for number in 1.. {
        if left == 0 {
            break;
        }
        let length = left.min(part_bytes);
        let bytes = spool.next(length as usize).await?;
        left -= length;
        if flying.len() >= PARTS_IN_FLIGHT {
            parts.extend(landed(&mut flying).await?);
        }
        flying.spawn(upload.part(number, bytes));
    }
    while let Some(part) = landed(&mut flying).await? {
        parts.push(part);
    }
    spool.finish().await?;
    parts.sort_by_key(|part| part.part_number);
    Ok(parts)
}

async fn landed(
    flying: &mut JoinSet<Result<CompletedPart, Refusal>>,
) -> Result<Option<CompletedPart>, Refusal> {
    match flying.join_next().await {
        None => Ok(None),
        Some(Ok(part)) => part.map(Some),
        Some(Err(error)) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels tasks; the result is no longer needed then.
            Err(_) => std::future::pending().await,
        },
    }
}

/// Size of equal parts within [`MOST_PARTS`].
fn part_bytes(size_bytes: u64) -> u64 {
    size_bytes
        .div_ceil(MOST_PARTS)
        .next_multiple_of(1 << 20)
        .max(PART_BYTES)
}

/// A multipart upload that is neither completed nor aborted. Dropping it aborts it in the background.
struct Unfinished {
    bucket: Arc<Bucket>,
    path: String,
    id: String,
    armed: bool,
}

impl Unfinished {
    async fn begin(bucket: &Arc<Bucket>, key: &ObjectKey) -> Result<Self, Refusal> {
        let path = bucket.path(key);
        let asked = bucket.client.create_multipart_upload();
        let begun = asked.bucket(&bucket.bucket_name).key(&path).send().await;
        let begun = begun.map_err(|error| bucket.refusal(&error))?;
        let id = begun.upload_id;
        let id = id.ok_or_else(|| Refusal::odd("it gives no id for the upload"))?;
        under_way().insert(id.clone());
        Ok(Self {
            bucket: Arc::clone(bucket),
            path,
            id,
            armed: true,
        })
    }

    fn part(
        &self,
        number: i32,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<CompletedPart, Refusal>> + Send + use<> {
        let bucket = Arc::clone(&self.bucket);
        let asked = bucket.client.upload_part().bucket(&bucket.bucket_name);
        let asked = asked.key(&self.path).upload_id(&self.id);
        let asked = asked.part_number(number).body(ByteStream::from(bytes));
        async move {
            let sent = asked.send().await;
            let sent = sent.map_err(|error| bucket.refusal(&error))?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(sent.e_tag)
                .build())
        }
    }

    fn finished(mut self) {
        self.armed = false;
    }

    async fn abort(mut self) {
        self.armed = false;
        give_up(Arc::clone(&self.bucket), self.path.clone(), self.id.clone()).await;
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        under_way().remove(&self.id);
        if !self.armed {
            return;
        }
        let (path, id) = (self.path.clone(), self.id.clone());
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(give_up(Arc::clone(&self.bucket), path, id));
        }
    }
}

async fn give_up(bucket: Arc<Bucket>, path: String, id: String) {
    if let Err(refusal) = abort(&bucket, &path, &id).await {
        tracing::warn!(
            store = bucket.store_name,
            "storage `{}`: cannot abort the upload of `{path}`; the next start will: {}",
            bucket.store_name,
            refusal.kind
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_equal_until_there_would_be_too_many() {
        assert_eq!(part_bytes(1), PART_BYTES);
        assert_eq!(part_bytes(60_000 << 20), PART_BYTES);
        assert_eq!(part_bytes((60_000 << 20) + 1), 7 << 20);
        let most = 5 << 40;
        assert!(u64::div_ceil(most, part_bytes(most)) <= MOST_PARTS);
    }
}
