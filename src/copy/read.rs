//! Reads a stored copy back as plain SQL. Invariant: the last block is passed on only after every byte proved correct.

use std::io::{self, Read};
use std::sync::Arc;

use serde::de::DeserializeOwned;
use tokio_util::io::SyncIoBridge;

use crate::archive::{self, ArchiveError};
use crate::dump::{Check, decoder};
use crate::progress::Progress;
use crate::store::{Digest, Reader, Store, StoreError, read_small};
use crate::types::{ArchiveManifest, Hasher, Manifest, ObjectKey, Sha256, StoredFacts};

/// Upper bound for a manifest, which has one entry per table.
pub const MAX_MANIFEST_BYTES: u64 = 64 * 1024 * 1024;

/// Size of the blocks in which text is passed on.
const BLOCK_BYTES: usize = 256 * 1024;

/// Reason that a copy could not be read completely and correctly.
#[derive(Debug, thiserror::Error)]
pub enum ReadingError {
    /// The object or its manifest is missing.
    #[error("{0}")]
    Missing(String),
    /// The bytes differ from those that were stored.
    #[error("{0}")]
    Damaged(String),
    /// The storage did not return the object; the state of its bytes is unknown.
    #[error("{0}")]
    Unread(String),
    /// The receiver of the text failed.
    #[error(transparent)]
    Sink(io::Error),
}

impl From<StoreError> for ReadingError {
    fn from(error: StoreError) -> Self {
        Self::Unread(error.to_string())
    }
}

/// Compares the commit record of `object` in `store` with the catalog's.
///
/// # Errors
/// [`ReadingError`], never [`ReadingError::Sink`].
pub async fn check_manifest<M: DeserializeOwned + PartialEq>(
    store: &dyn Store,
    object: &ObjectKey,
    manifest: &M,
) -> Result<(), ReadingError> {
    let (name, key) = (store.name(), object.manifest());
    let Some(text) = read_small(store, &key, MAX_MANIFEST_BYTES).await? else {
        let text = format!("storage `{name}`: `{key}` is missing");
        return Err(ReadingError::Missing(text));
    };
    match serde_json::from_slice::<M>(&text) {
        Ok(found) if found == *manifest => Ok(()),
        Ok(_) => Err(ReadingError::Damaged(format!(
            "storage `{name}`: `{key}` says something else than when it was written"
        ))),
        Err(cause) => Err(ReadingError::Damaged(format!(
            "storage `{name}`: `{key}` is not a manifest any more: {cause}"
        ))),
    }
}

/// Passes the plain text of a copy to `sink`, block by block, and verifies it on the way: stored size and hash, plain
/// size and hash, the dump's own trailer. The last block follows only after all of it proved correct. The stored bytes
/// are counted on `progress`.
///
/// # Errors
/// [`ReadingError`]; after [`ReadingError::Damaged`] and [`ReadingError::Unread`] the text passed on so far is
/// incomplete.
pub async fn read_copy(
    store: &dyn Store,
    manifest: &Manifest,
    progress: &Arc<Progress>,
    sink: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
) -> Result<(), ReadingError> {
    let work = {
        let (manifest, progress) = (manifest.clone(), Arc::clone(progress));
        move |reader| stream(reader, &manifest, &progress, sink)
    };
    with_reader(store, &manifest.key, work).await
}

/// Reads a whole archive and verifies every byte and every member of it.
///
/// # Errors
/// [`ReadingError`], never [`ReadingError::Sink`].
pub async fn read_archive(
    store: &dyn Store,
    archive: &ArchiveManifest,
    progress: &Arc<Progress>,
) -> Result<(), ReadingError> {
    let work = {
        let (archive, progress) = (archive.clone(), Arc::clone(progress));
        move |reader| prove_archive(reader, &archive, &progress)
    };
    with_reader(store, &archive.key, work).await
}

/// Passes the plain text of the copy `member` to `sink`, block by block, from the archive that contains it, and
/// verifies its size and hash; the last block follows only after they proved correct. No other text of the archive is
/// written to disk.
///
/// # Errors
/// As [`read_copy`]. Damage after the member is not detected.
pub async fn read_member(
    store: &dyn Store,
    archive: &ArchiveManifest,
    member: &ObjectKey,
    progress: &Arc<Progress>,
    sink: impl FnMut(&[u8]) -> io::Result<()> + Send + 'static,
) -> Result<(), ReadingError> {
    let work = {
        let (archive, progress, key) = (archive.clone(), Arc::clone(progress), member.clone());
        move |reader| {
            let mut stored = Stored::new(reader, &progress);
            let read = archive::read_member(&mut stored, &archive, &key, sink);
            if read.is_err() {
                stored.is_whole()?;
            }
            read.map_err(of_archive)
        }
    };
    with_reader(store, &archive.key, work).await
}

/// Opens an object and runs blocking work on its bytes; errors name the storage and the key.
async fn with_reader(
    store: &dyn Store,
    key: &ObjectKey,
    work: impl FnOnce(Reader) -> Result<(), ReadingError> + Send + 'static,
) -> Result<(), ReadingError> {
    let name = store.name();
    let Some(reader) = store.open(key, None).await? else {
        let text = format!("storage `{name}`: `{key}` is missing");
        return Err(ReadingError::Missing(text));
    };
    let ended = tokio::task::spawn_blocking(move || work(reader)).await;
    let placed = |text| format!("storage `{name}`: `{key}` {text}");
    match ended {
        Ok(Err(ReadingError::Damaged(text))) => Err(ReadingError::Damaged(placed(text))),
        Ok(Err(ReadingError::Unread(text))) => Err(ReadingError::Unread(placed(text))),
        Ok(other) => other,
        Err(panic) => Err(ReadingError::Unread(placed(format!(
            "could not be read: {panic}"
        )))),
    }
}

fn prove_archive(
    reader: Reader,
    archive: &ArchiveManifest,
    progress: &Progress,
) -> Result<(), ReadingError> {
    let mut stored = Stored::new(reader, progress);
    let read = archive::read(&mut stored, archive);
    // Bytes after the end of the compressed text belong to the object, too.
    let rest = io::copy(&mut stored, &mut io::sink()).map_err(ArchiveError::Io);
    let found = stored.end()?;
    read.and(rest.map(|_| ())).map_err(of_archive)?;
    prove_stored(&archive.stored, found)
}

fn of_archive(error: ArchiveError) -> ReadingError {
    match error {
        ArchiveError::Sink(cause) => ReadingError::Sink(cause),
        other => ReadingError::Damaged(format!("is damaged: {other}")),
    }
}

fn stream(
    reader: Reader,
    manifest: &Manifest,
    progress: &Progress,
    mut sink: impl FnMut(&[u8]) -> io::Result<()>,
) -> Result<(), ReadingError> {
    let mut stored = Stored::new(reader, progress);
    let mut check = Plain::of(manifest);
    let mut held = Vec::new();
    let decoded = decode(&mut stored, manifest, &mut |block| {
        check.update(&block);
        if !held.is_empty() {
            sink(&held).map_err(ReadingError::Sink)?;
        }
        held = block;
        Ok(())
    });
    let found = stored.end()?;
    prove(manifest, found, check, decoded)?;
    sink(&held).map_err(ReadingError::Sink)
}

/// Decompresses to the end, and reads the bytes after it.
fn decode(
    stored: &mut Stored<'_>,
    manifest: &Manifest,
    take: &mut dyn FnMut(Vec<u8>) -> Result<(), ReadingError>,
) -> Result<(), ReadingError> {
    let damaged = |cause: io::Error| {
        ReadingError::Damaged(format!("is damaged: it does not decompress: {cause}"))
    };
    {
        let mut text = decoder(manifest.stored.compression, &mut *stored).map_err(damaged)?;
        let size_bytes = manifest.plain.size_bytes;
        let mut left_bytes = size_bytes;
        loop {
            let mut block = Vec::with_capacity(BLOCK_BYTES);
            (&mut text)
                .take(BLOCK_BYTES as u64)
                .read_to_end(&mut block)
                .map_err(damaged)?;
            if block.is_empty() {
                break;
            }
            // A few bytes could expand to any number.
            left_bytes = left_bytes.checked_sub(block.len() as u64).ok_or_else(|| {
                ReadingError::Damaged(format!(
                    "is damaged: it unpacks to more than the {} that its manifest says",
                    crate::types::counted(size_bytes, "byte")
                ))
            })?;
            take(block)?;
        }
    }
    // Bytes after the end of the compressed text belong to the object, too.
    io::copy(stored, &mut io::sink()).map_err(damaged)?;
    Ok(())
}

fn prove(
    manifest: &Manifest,
    found: Digest,
    check: Plain,
    decoded: Result<(), ReadingError>,
) -> Result<(), ReadingError> {
    decoded?;
    prove_stored(&manifest.stored, found)?;
    let damaged = |what: String| Err(ReadingError::Damaged(format!("is damaged: {what}")));
    match check.finish() {
        Err(cause) => damaged(cause),
        Ok(sha256) if sha256 != manifest.plain.sha256 => damaged(format!(
            "unpacked it has SHA-256 {sha256}, its manifest says {}",
            manifest.plain.sha256
        )),
        Ok(_) => Ok(()),
    }
}

/// Checks the decompressed content of a copy as it is read.
enum Plain {
    Sql(Check),
    Image(Hasher),
}

impl Plain {
    fn of(manifest: &Manifest) -> Self {
        match manifest.is_image() {
            true => Self::Image(Hasher::default()),
            false => Self::Sql(Check::default()),
        }
    }

    fn update(&mut self, block: &[u8]) {
        match self {
            Self::Sql(check) => check.update(block),
            Self::Image(hasher) => hasher.update(block),
        }
    }

    fn finish(self) -> Result<Sha256, String> {
        match self {
            Self::Sql(check) => match check.finish() {
                Ok(text) => Ok(text.sha256),
                Err(cause) => Err(cause.to_string()),
            },
            Self::Image(hasher) => Ok(hasher.finish()),
        }
    }
}

fn prove_stored(stored: &StoredFacts, found: Digest) -> Result<(), ReadingError> {
    let expected = Digest {
        size_bytes: stored.size_bytes,
        sha256: stored.sha256,
    };
    if found != expected {
        let text = format!("is damaged: it has {found}, its manifest says {expected}");
        return Err(ReadingError::Damaged(text));
    }
    Ok(())
}

/// Bytes of an object, hashed and counted as they are read.
struct Stored<'a> {
    input: SyncIoBridge<Reader>,
    hasher: Hasher,
    broken: Option<String>,
    progress: &'a Progress,
}

impl<'a> Stored<'a> {
    fn new(reader: Reader, progress: &'a Progress) -> Self {
        Self {
            input: SyncIoBridge::new(reader),
            hasher: Hasher::default(),
            broken: None,
            progress,
        }
    }

    /// Returns an error if the storage failed while reading.
    fn is_whole(&self) -> Result<(), ReadingError> {
        match &self.broken {
            Some(cause) => {
                let text = format!("could not be read to its end: {cause}");
                Err(ReadingError::Unread(text))
            }
            None => Ok(()),
        }
    }

    /// Returns the digest of the bytes read, unless the storage failed.
    fn end(self) -> Result<Digest, ReadingError> {
        self.is_whole()?;
        Ok(Digest {
            size_bytes: self.hasher.seen_bytes(),
            sha256: self.hasher.finish(),
        })
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(out);
        match &read {
            Ok(count) => {
                self.hasher.update(&out[..*count]);
                self.progress.add_bytes(*count as u64);
            }
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
            Err(cause) => self.broken = Some(cause.to_string()),
        }
        read
    }
}
