//! Aborts unfinished uploads of dead processes. Invariant: uploads of this process are never touched.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::bucket::Bucket;
use super::error::Refusal;

/// Upper bound for pages: a service that returns more is going in circles.
const MOST_PAGES: usize = 1_000;

/// Ids of this process's current uploads, across all stores: after a reload there is a new connection while the old
/// store is still in use.
static UNDER_WAY: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());

pub(super) fn under_way() -> MutexGuard<'static, BTreeSet<String>> {
    UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn run(bucket: &Bucket) -> Result<u64, Refusal> {
    let mut aborted = 0;
    for (path, id) in unfinished(bucket).await? {
        let ours = bucket.key(&path).is_some();
        if !ours || under_way().contains(&id) {
            continue;
        }
        abort(bucket, &path, &id).await?;
        tracing::info!(
            store = bucket.store_name,
            "storage `{}`: aborted an unfinished upload of `{path}`",
            bucket.store_name
        );
        aborted += 1;
    }
    Ok(aborted)
}

/// Returns path and id of every unfinished upload below the prefix.
async fn unfinished(bucket: &Bucket) -> Result<Vec<(String, String)>, Refusal> {
    let mut found = Vec::new();
    let mut markers = HashSet::new();
    let mut marker = (None, None);
    for _ in 0..MOST_PAGES {
        let asked = bucket
            .client
            .list_multipart_uploads()
            .bucket(&bucket.bucket_name);
        let asked = asked
            .prefix(&bucket.prefix)
            .set_key_marker(marker.0.take())
            .set_upload_id_marker(marker.1.take());
        let page = asked.send().await;
        let page = page.map_err(|error| bucket.refusal(&error))?;
        for upload in page.uploads.into_iter().flatten() {
            if let (Some(path), Some(id)) = (upload.key, upload.upload_id) {
                found.push((path, id));
            }
        }
        if page.is_truncated != Some(true) {
            return Ok(found);
        }
        marker = (page.next_key_marker, page.next_upload_id_marker);
        if !markers.insert(marker.clone()) {
            break;
        }
    }
    Err(Refusal::odd(
        "the listing of unfinished uploads does not end",
    ))
}

/// Aborts an upload; succeeds if it no longer exists.
pub(super) async fn abort(bucket: &Bucket, path: &str, id: &str) -> Result<(), Refusal> {
    let asked = bucket
        .client
        .abort_multipart_upload()
        .bucket(&bucket.bucket_name);
    match asked.key(path).upload_id(id).send().await {
        Ok(_) => Ok(()),
        Err(error) => match bucket.refusal(&error) {
            refusal if refusal.is_no_upload() => Ok(()),
            refusal => Err(refusal),
        },
    }
}
