//! Probes if the service honours `If-None-Match`. Invariant: it touches no key but its own.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;

use super::super::trial::name;
use super::bucket::Bucket;
use super::error::Refusal;

/// Delay between writes to a key: R2 allows one per second.
pub(super) const BETWEEN_WRITES: Duration = Duration::from_millis(1_100);

/// Writes one key twice, each time on the condition that it is free. Listings count it as foreign until it is removed.
///
/// The key is unique, so that two processes cannot mislead one another.
pub(super) async fn run(bucket: &Bucket, mark: &str) -> Result<bool, Refusal> {
    let path = format!("{}{}", bucket.prefix, name(mark, bucket.clock.now()));
    let probed = twice(bucket, &path).await;
    if let Err(refusal) = bucket.remove(&path).await {
        tracing::warn!(
            store = bucket.store_name,
            "storage `{}`: cannot remove the probe `{path}`, which is empty and does no harm: {}",
            bucket.store_name,
            refusal.kind
        );
    }
    let honoured = probed?;
    if !honoured {
        tracing::warn!(
            store = bucket.store_name,
            "storage `{}` has no conditional writes: a key is looked at before it is written",
            bucket.store_name
        );
    }
    Ok(honoured)
}

async fn twice(bucket: &Bucket, path: &str) -> Result<bool, Refusal> {
    // Even the first one may be refused: its response was lost and it was sent again.
    Ok(!write(bucket, path).await? || !write(bucket, path).await?)
}

/// Returns true if the write succeeded.
async fn write(bucket: &Bucket, path: &str) -> Result<bool, Refusal> {
    let mut attempt = 0;
    loop {
        let refusal = match write_once(bucket, path).await {
            Err(refusal) if refusal.is_retryable() => refusal,
            result => return result,
        };
        attempt += 1;
        if attempt >= bucket.patience.attempts {
            return Err(refusal);
        }
        let mut delay = bucket.patience.delay(attempt - 1);
        if refusal.is_throttled() {
            delay = delay.max(BETWEEN_WRITES);
        }
        bucket.clock.sleep(delay).await;
    }
}

async fn write_once(bucket: &Bucket, path: &str) -> Result<bool, Refusal> {
    let asked = bucket
        .client
        .put_object()
        .bucket(&bucket.bucket_name)
        .key(path);
    let asked = asked.body(ByteStream::from_static(b"")).if_none_match("*");
    let sent = asked
        .customize()
        .config_override(bucket.once())
        .send()
        .await;
    match sent {
        Ok(_) => Ok(true),
        Err(error) => match bucket.refusal(&error) {
            refusal if refusal.is_precondition() => Ok(false),
            // The service says that it does not support the header.
            refusal if refusal.is_unimplemented() => Ok(true),
            refusal => Err(refusal),
        },
    }
}
