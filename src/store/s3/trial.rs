//! Tries a bucket out: writes, reads back, writes again, removes. Invariant: it touches no name but its probe's, and
//! removes that however the trial ends.

use std::time::Duration;

use tokio::time::timeout;

use super::super::trial::{CONTENT, Tried, is_abandoned, name, prefix};
use super::super::{Operation, StoreError};
use super::S3Store;
use super::bucket::Bucket;
use super::error::Refusal;
use super::probe::write;

type Step<T> = Result<T, (Operation, Refusal)>;

impl S3Store {
    /// Writes a probe, reads it back, creates it a second time, which should be refused, and removes it. No step takes
    /// longer than `limit`. First the probes are removed that killed trials left.
    ///
    /// # Errors
    /// Where a step failed. The probe is removed all the same, or swept by a trial an hour later.
    pub async fn try_out(&self, limit: Duration) -> Result<Tried, StoreError> {
        let told = |(operation, refusal)| self.failed(operation, None, refusal);
        let swept = within(limit, Operation::List, self.sweep_probes()).await;
        let swept = swept.map_err(told)?;
        let now = self.bucket.clock.now();
        let path = format!("{}{}", self.bucket.prefix, name(&self.mark, now));
        let steps = within(limit, Operation::Probe, steps(&self.bucket, &path)).await;
        let removed = within(limit, Operation::Unprobe, remove(&self.bucket, &path)).await;
        let refuses_taken = steps.map_err(told)?;
        removed.map_err(told)?;
        Ok(Tried {
            refuses_taken,
            swept,
        })
    }

    async fn sweep_probes(&self) -> Step<u64> {
        let (bucket, now) = (&self.bucket, self.bucket.clock.now());
        let asked = bucket.client.list_objects_v2().bucket(&bucket.bucket_name);
        // One page is enough: the next trial takes the rest.
        let asked = asked.prefix(format!("{}{}", bucket.prefix, prefix(&self.mark)));
        let page = asked.send().await;
        let page = page.map_err(|error| (Operation::List, bucket.refusal(&error)))?;
        let mut swept = 0;
        for path in page.contents().iter().filter_map(|object| object.key()) {
            let name = path.strip_prefix(&bucket.prefix).unwrap_or_default();
            if is_abandoned(name, &self.mark, now) {
                remove(bucket, path).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

async fn steps(bucket: &Bucket, path: &str) -> Step<bool> {
    let probe = |refusal| (Operation::Probe, refusal);
    // Refused: its answer was lost and it was sent again, so the condition is honoured.
    let first = write(bucket, path, CONTENT).await.map_err(probe)?;
    let found = read(bucket, path).await?;
    if found != CONTENT {
        let text = "it gives back other bytes than were written";
        return Err((Operation::ReadProbe, Refusal::odd(text)));
    }
    let second = write(bucket, path, CONTENT).await.map_err(probe)?;
    Ok(!first || !second)
}

async fn read(bucket: &Bucket, path: &str) -> Step<Vec<u8>> {
    let asked = bucket.client.get_object().bucket(&bucket.bucket_name);
    let answer = asked.key(path).send().await;
    let answer = answer.map_err(|error| (Operation::ReadProbe, bucket.refusal(&error)))?;
    let body = answer.body.collect().await;
    let body = body.map_err(|error| (Operation::ReadProbe, Refusal::odd(error.to_string())))?;
    Ok(body.to_vec())
}

async fn remove(bucket: &Bucket, path: &str) -> Step<()> {
    let removed = bucket.remove(path).await;
    removed.map_err(|refusal| (Operation::Unprobe, refusal))
}

async fn within<T>(
    limit: Duration,
    operation: Operation,
    step: impl Future<Output = Step<T>>,
) -> Step<T> {
    if let Ok(done) = timeout(limit, step).await {
        return done;
    }
    let waited = humantime::format_duration(limit);
    Err((
        operation,
        Refusal::odd(format!("no answer within {waited}")),
    ))
}
