//! Puts a proven spool into the stores: object, read-back, manifest. Invariant: the manifest is written last, and
//! only after the object was read back.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use serde::Serialize;
use tokio::io::AsyncReadExt;

use crate::clock::Clock;
use crate::copy::MAX_MANIFEST_BYTES;
use crate::excerpt;
use crate::progress::Progress;
use crate::store::{Body, Digest, Store, StoreError, digest, read_small};
use crate::types::{ObjectKey, StoredFacts, counted, grouped};

/// Up to this size the whole object is read back; of a larger one samples, and the rest by `verify`.
const WHOLE_READ_BACK_BYTES: u64 = 256 * 1024 * 1024;

/// How many pieces of a larger object are read back, and how long each is.
const SAMPLES: u64 = 64;
const SAMPLE_BYTES: u64 = 1024 * 1024;

/// A proven file, what it is to be called in the stores, and its commit record.
pub(super) struct Proven<'a, M> {
    /// The file.
    pub(super) path: &'a Path,
    /// Its bytes.
    pub(super) stored: StoredFacts,
    /// The object's key.
    pub(super) key: &'a ObjectKey,
    /// What the manifest says.
    pub(super) manifest: &'a M,
}

/// What became of a copy in all stores.
#[derive(Debug, Default)]
pub(super) struct Committed {
    /// The stores that hold it.
    pub(super) good: Vec<String>,
    /// What went wrong with the others.
    pub(super) failed: Vec<String>,
    /// Whether one of them holds another object under that key.
    pub(super) is_taken: bool,
}

/// What became of a copy in one store: the store's name, or what went wrong there.
pub(super) type Placed = Result<String, NotPlaced>;

/// Why a copy is not in one store.
#[derive(Debug)]
pub(super) struct NotPlaced {
    pub(super) why: String,
    /// Whether the store holds another object under that key.
    pub(super) is_taken: bool,
}

/// The stores that do not answer, as far as one job found out. None of them holds up the next copy for long.
#[derive(Debug, Default)]
pub(super) struct Silent(Mutex<BTreeSet<String>>);

impl Silent {
    /// Whether this store did not answer the last time.
    pub(super) fn has(&self, store: &str) -> bool {
        self.stores().contains(store)
    }

    pub(super) fn note(&self, store: &str, is_silent: bool) {
        let mut stores = self.stores();
        match is_silent {
            true => stores.insert(store.to_owned()),
            false => stores.remove(store),
        };
    }

    fn stores(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a copy is not in a store.
#[derive(Debug, thiserror::Error)]
enum CommitError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("storage `{store}`: `{key}` was stored but {what}")]
    ReadBack {
        store: String,
        key: ObjectKey,
        what: String,
    },
    #[error("storage `{store}` did not take the copy within {timeout:?}")]
    Hangs { store: String, timeout: Duration },
}

impl CommitError {
    fn is_taken(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_exists())
    }
}

/// What a store may take for any copy, and at which rate it must at least go on: a slower one hangs.
const STORE_TIMEOUT: Duration = Duration::from_secs(3 * 60);
const LEAST_BYTES_PER_SECOND: u64 = 50_000;

/// What a store may take that did not answer the last time, beside the time for the bytes.
const SILENT_TIMEOUT: Duration = Duration::from_secs(20);

/// Whether all of an object of this length is read back when it is stored.
pub(super) fn is_read_whole(size_bytes: u64) -> bool {
    size_bytes <= WHOLE_READ_BACK_BYTES
}

/// How many samples of an object of this length are read back when it is stored; `None`: all of it is.
pub fn samples_read_back(size_bytes: u64) -> Option<u64> {
    (!is_read_whole(size_bytes)).then_some(SAMPLES)
}

/// Stores the object and its manifest in every store; a store that already has both, from before a crash, is good.
pub(super) async fn commit<M: Serialize + Sync>(
    stores: &[Arc<dyn Store>],
    proven: &Proven<'_, M>,
    progress: &Progress,
    clock: &dyn Clock,
) -> Committed {
    let mut committed = Committed::default();
    let silent = Silent::default();
    let placing = place(stores, proven, &silent, clock);
    let placed = in_each(placing, progress, proven.stored.size_bytes, |placed| {
        match placed {
            Ok(store) => committed.good.push(store),
            Err(NotPlaced { why, is_taken }) => {
                committed.is_taken |= is_taken;
                committed.failed.push(why);
            }
        }
        Ok::<_, Infallible>(())
    });
    let Ok(()) = placed.await;
    let place_of = |name: &String| stores.iter().position(|store| store.name() == name);
    committed.good.sort_by_key(place_of);
    committed
}

/// The work of storing a copy in each store.
pub(super) type Placing<'a> = FuturesUnordered<BoxFuture<'a, Placed>>;

/// Stores the object and its manifest in every store, all side by side, each with its own deadline.
pub(super) fn place<'a, M: Serialize + Sync>(
    stores: &'a [Arc<dyn Store>],
    proven: &'a Proven<'a, M>,
    silent: &'a Silent,
    clock: &'a dyn Clock,
) -> Placing<'a> {
    let in_one =
        |store: &'a Arc<dyn Store>| place_in(store.as_ref(), proven, silent, clock).boxed();
    stores.iter().map(in_one).collect()
}

/// Hands on what became of each store as soon as it is known.
///
/// # Errors
/// The first of `note`; the stores that did not end by then are left alone.
pub(super) async fn in_each<E>(
    mut placing: Placing<'_>,
    progress: &Progress,
    size_bytes: u64,
    mut note: impl FnMut(Placed) -> Result<(), E>,
) -> Result<(), E> {
    while let Some(placed) = placing.next().await {
        progress.add_bytes(size_bytes);
        note(placed)?;
    }
    Ok(())
}

async fn place_in<M: Serialize + Sync>(
    store: &dyn Store,
    proven: &Proven<'_, M>,
    silent: &Silent,
    clock: &dyn Clock,
) -> Placed {
    let name = store.name();
    // Each byte goes there and back.
    let seconds = 2 * proven.stored.size_bytes / LEAST_BYTES_PER_SECOND;
    let timeout = Duration::from_secs(seconds)
        + match silent.has(name) {
            true => SILENT_TIMEOUT,
            false => STORE_TIMEOUT,
        };
    let outcome = tokio::select! {
        outcome = commit_to(store, proven) => outcome,
        () = clock.sleep(timeout) => Err(CommitError::Hangs {
            store: name.to_owned(),
            timeout,
        }),
    };
    silent.note(name, matches!(outcome, Err(CommitError::Hangs { .. })));
    outcome.map(|()| name.to_owned()).map_err(|error| {
        tracing::warn!(storage = name, key = %proven.key, %error, "a copy was not stored");
        NotPlaced {
            is_taken: error.is_taken(),
            why: excerpt::error(&error.to_string()),
        }
    })
}

async fn commit_to<M: Serialize + Sync>(
    store: &dyn Store,
    proven: &Proven<'_, M>,
) -> Result<(), CommitError> {
    let body = Body::File {
        path: proven.path,
        size_bytes: proven.stored.size_bytes,
        sha256: proven.stored.sha256,
    };
    create_ours(store, proven.key, body).await?;
    read_back(store, proven).await?;
    let text = serde_json::to_vec_pretty(proven.manifest).expect("a manifest has only text keys");
    let key = proven.key.manifest();
    create_ours(store, &key, Body::Bytes(&text)).await?;
    match read_small(store, &key, MAX_MANIFEST_BYTES).await? {
        Some(found) if found == text => Ok(()),
        found => Err(CommitError::ReadBack {
            store: store.name().to_owned(),
            key,
            what: differs(found.map(|bytes| Digest::of(&bytes)), Digest::of(&text)),
        }),
    }
}

/// Creates an object; one that is there with the same bytes is ours, from before a crash.
async fn create_ours(
    store: &dyn Store,
    key: &ObjectKey,
    body: Body<'_>,
) -> Result<(), CommitError> {
    match store.create(key, body).await {
        Err(error) if error.is_exists() => {
            let found = digest(store, key).await?;
            if found == Some(body.digest()) {
                return Ok(());
            }
            Err(error.into())
        }
        other => Ok(other?),
    }
}

async fn read_back<M: Sync>(store: &dyn Store, proven: &Proven<'_, M>) -> Result<(), CommitError> {
    let key = proven.key;
    let error = |what| CommitError::ReadBack {
        store: store.name().to_owned(),
        key: key.clone(),
        what,
    };
    let expected = Digest {
        size_bytes: proven.stored.size_bytes,
        sha256: proven.stored.sha256,
    };
    if is_read_whole(expected.size_bytes) {
        let found = digest(store, key).await?;
        if found != Some(expected) {
            return Err(error(differs(found, expected)));
        }
        return Ok(());
    }
    let size_bytes = store.stat(key).await?.map(|stat| stat.size_bytes);
    if size_bytes != Some(expected.size_bytes) {
        let what = match size_bytes {
            Some(found) => format!(
                "has {} instead of {}",
                counted(found, "byte"),
                grouped(expected.size_bytes)
            ),
            None => "is not there when looked at".to_owned(),
        };
        return Err(error(what));
    }
    for range in samples(expected.size_bytes) {
        let found = read_range(store, key, range.clone()).await?;
        let sent = read_file(proven.path, &range).map_err(|cause| error(cause.to_string()))?;
        if found.as_deref() != Some(sent.as_slice()) {
            return Err(error(format!("bytes {range:?} differ")));
        }
    }
    Ok(())
}

/// Pieces spread evenly over the object, its first and last bytes among them.
fn samples(size_bytes: u64) -> impl Iterator<Item = Range<u64>> {
    let last = size_bytes.saturating_sub(SAMPLE_BYTES);
    (0..SAMPLES).map(move |sample| {
        let start = u128::from(last) * u128::from(sample) / u128::from(SAMPLES - 1);
        let start = u64::try_from(start).unwrap_or(last);
        start..start + SAMPLE_BYTES.min(size_bytes - start)
    })
}

async fn read_range(
    store: &dyn Store,
    key: &ObjectKey,
    range: Range<u64>,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(reader) = store.open(key, Some(range)).await? else {
        return Ok(None);
    };
    let mut bytes = Vec::new();
    let read = reader.take(SAMPLE_BYTES).read_to_end(&mut bytes).await;
    Ok(read.is_ok().then_some(bytes))
}

fn read_file(path: &Path, range: &Range<u64>) -> std::io::Result<Vec<u8>> {
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let mut bytes = vec![0; length];
    File::open(path)?.read_exact_at(&mut bytes, range.start)?;
    Ok(bytes)
}

fn differs(found: Option<Digest>, expected: Digest) -> String {
    match found {
        None => "is not there when read back".to_owned(),
        Some(found) => format!("reads back as {found}, not {expected}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_a_large_object_reach_from_its_first_to_its_last_byte() {
        let size_bytes = WHOLE_READ_BACK_BYTES + 12_345;
        let all: Vec<Range<u64>> = samples(size_bytes).collect();
        assert_eq!(all.len() as u64, SAMPLES);
        assert_eq!(all[0].start, 0);
        assert_eq!(all[all.len() - 1].end, size_bytes);
    }
}
