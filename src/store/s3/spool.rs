//! Reads the content of a new object, piece by piece. Invariant: `finish` returns `Ok` only if the content matches the
//! body's digest.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::types::Hasher;

use super::super::{Body, Digest, StoreErrorKind};
use super::error::Refusal;

const CHUNK_BYTES: usize = 256 * 1024;

/// A body that is read once, from start to end.
pub(super) enum Spool<'a> {
    /// The remaining bytes in memory.
    Bytes(&'a [u8]),
    /// A file.
    File {
        path: PathBuf,
        expected: Digest,
        /// Absent while a thread reads the file.
        state: Option<State>,
    },
}

pub(super) struct State {
    file: File,
    hasher: Hasher,
}

impl<'a> Spool<'a> {
    pub(super) async fn open(body: Body<'a>) -> Result<Self, Refusal> {
        let expected = body.digest();
        let path = match body {
            Body::Bytes(bytes) => return Ok(Self::Bytes(bytes)),
            Body::File { path, .. } => path.to_owned(),
        };
        let opened = tokio::fs::File::open(&path).await;
        let file = opened.map_err(|cause| unreadable(&path, &cause))?;
        let state = Some(State {
            file: file.into_std().await,
            hasher: Hasher::default(),
        });
        Ok(Self::File {
            path,
            expected,
            state,
        })
    }

    /// Returns the next `length_bytes`, all of them.
    pub(super) async fn next(&mut self, length_bytes: usize) -> Result<Vec<u8>, Refusal> {
        let (path, expected, state) = match self {
            Self::Bytes(left) => {
                let (bytes, rest) = left.split_at(length_bytes);
                *left = rest;
                return Ok(bytes.to_vec());
            }
            Self::File {
                path,
                expected,
                state,
            } => (path, *expected, state),
        };
        let mut taken = state.take().expect("put back by the last call");
        let work = move || {
            // `take`, not `read_exact`: the bytes of a file that is too short count for its digest.
            let mut bytes = Vec::with_capacity(length_bytes);
            let read = (&mut taken.file)
                .take(length_bytes as u64)
                .read_to_end(&mut bytes);
            taken.hasher.update(&bytes);
            (taken, read.map(|_| bytes))
        };
        let (taken, read) = blocking(work).await;
        let bytes = read.map_err(|cause| unreadable(path, &cause))?;
        if bytes.len() < length_bytes {
            return Err(mismatch(expected, taken.hasher));
        }
        *state = Some(taken);
        Ok(bytes)
    }

    /// Reads the rest and compares the digest. Call it before the object becomes visible.
    pub(super) async fn finish(&mut self) -> Result<(), Refusal> {
        let Self::File {
            path,
            expected,
            state,
        } = self
        else {
            return Ok(());
        };
        let mut taken = state.take().expect("put back by the last call");
        let work = move || -> io::Result<Hasher> {
            let mut chunk = vec![0; CHUNK_BYTES];
            loop {
                match taken.file.read(&mut chunk)? {
                    0 => return Ok(taken.hasher),
                    length => taken.hasher.update(&chunk[..length]),
                }
            }
        };
        let hasher = blocking(work).await;
        let hasher = hasher.map_err(|cause| unreadable(path, &cause))?;
        let found = digest(hasher.clone());
        match found == *expected {
            true => Ok(()),
            false => Err(mismatch(*expected, hasher)),
        }
    }
}

fn digest(hasher: Hasher) -> Digest {
    Digest {
        size_bytes: hasher.seen_bytes(),
        sha256: hasher.finish(),
    }
}

fn mismatch(expected: Digest, hasher: Hasher) -> Refusal {
    let found = digest(hasher);
    Refusal::new(StoreErrorKind::Mismatch { expected, found })
}

fn unreadable(path: &Path, cause: &io::Error) -> Refusal {
    let cause = format!("cannot read the spool file `{}`: {cause}", path.display());
    Refusal::new(StoreErrorKind::Other { cause })
}

/// Runs `work` on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // Only a runtime that is shutting down cancels tasks; the result is no longer needed then.
            Err(_) => std::future::pending().await,
        },
    }
}
