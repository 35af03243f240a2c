//! Reads objects back. Invariant: results are computed from every byte, never taken from a header.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

use crate::types::{Hasher, ObjectKey, Sha256, counted};

use super::{Operation, Store, StoreError, StoreErrorKind};

const CHUNK_BYTES: usize = 256 * 1024;

/// Length and hash of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    /// Number of bytes.
    pub size_bytes: u64,
    /// Their hash.
    pub sha256: Sha256,
}

impl Digest {
    /// Computes the digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        Self {
            size_bytes: bytes.len() as u64,
            sha256: Sha256::of(bytes),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = counted(self.size_bytes, "byte");
        write!(f, "{size} with SHA-256 {}", self.sha256)
    }
}

/// Reads a whole object and returns its digest. `None`: there is no such object.
///
/// # Errors
/// If the object cannot be opened; [`StoreErrorKind::Unavailable`] if reading fails midway.
pub async fn digest<S: Store + ?Sized>(
    store: &S,
    key: &ObjectKey,
) -> Result<Option<Digest>, StoreError> {
    let Some(mut reader) = store.open(key, None).await? else {
        return Ok(None);
    };
    let mut hasher = Hasher::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = reader.read(&mut chunk).await;
        match read.map_err(|cause| broken(store, key, &cause))? {
            0 => break,
            length => hasher.update(&chunk[..length]),
        }
    }
    Ok(Some(Digest {
        size_bytes: hasher.seen_bytes(),
        sha256: hasher.finish(),
    }))
}

/// Reads an object of at most `max_bytes`, such as a manifest. `None`: there is no such object.
///
/// # Errors
/// As [`digest`], and [`StoreErrorKind::Other`] for a longer object.
pub async fn read_small<S: Store + ?Sized>(
    store: &S,
    key: &ObjectKey,
    max_bytes: u64,
) -> Result<Option<Vec<u8>>, StoreError> {
    let Some(reader) = store.open(key, None).await? else {
        return Ok(None);
    };
    let bytes = read_up_to(reader, max_bytes.saturating_add(1)).await;
    let bytes = bytes.map_err(|cause| broken(store, key, &cause))?;
    if bytes.len() as u64 > max_bytes {
        let cause = format!("it is longer than {}", counted(max_bytes, "byte"));
        let kind = StoreErrorKind::Other { cause };
        return Err(StoreError::new(
            store.name(),
            Operation::Read,
            Some(key),
            kind,
        ));
    }
    Ok(Some(bytes))
}

async fn read_up_to(reader: impl AsyncRead + Unpin, max_bytes: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(max_bytes).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

fn broken<S: Store + ?Sized>(store: &S, key: &ObjectKey, cause: &io::Error) -> StoreError {
    let kind = StoreErrorKind::Unavailable {
        retryable: true,
        cause: format!("reading broke off: {cause}"),
    };
    StoreError::new(store.name(), Operation::Read, Some(key), kind)
}
