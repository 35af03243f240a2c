//! Copies a database into a private folder. Invariant: the copy is one committed state, or does not exist.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::place::{Identity, Place, Stamp, beside};
use super::safe_close::SafeFile;
use super::{Failure, begin, connect, read_only, read_write, uri};
use crate::source::SourceError;
use crate::source::sqlite::{SqliteSource, shown, stop_when_asked};

/// Number of pages that a snapshot copies between two checks for cancellation.
const PAGES_PER_STEP: i32 = 4096;

/// Number of bytes of two copies that are compared at once.
const COMPARED_BYTES: usize = 64 * 1024;

/// A complete database that no other process knows, without logs.
pub(super) struct PrivateCopy {
    pub(super) folder: TempDir,
    pub(super) file: PathBuf,
}

impl PrivateCopy {
    fn in_scratch(source: &SqliteSource) -> Result<Self, SourceError> {
        let folder = tempfile::Builder::new()
            .prefix("copy-")
            .tempdir_in(&source.scratch)
            .map_err(|error| SourceError::Unavailable {
                what: source.what(),
                why: format!(
                    "no private copy can be made in {}: {error}",
                    shown(&source.scratch)
                ),
                retryable: false,
            })?;
        let file = folder.path().join("copy.db");
        Ok(Self { folder, file })
    }

    /// Copies pages by SQLite's backup API: a writer waits only for that. `check` is called while the read lock is
    /// held.
    pub(super) fn snapshot(
        source: &SqliteSource,
        place: &Place,
        check: impl FnOnce() -> Result<(), Failure>,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let copy = Self::in_scratch(source)?;
        let mut original = connect(source, &uri(&place.file, "mode=ro"), read_only())?;
        stop_when_asked(&mut original, stop)?;
        let mut target = connect(source, &copy.file, read_write())?;
        target.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
        // With the read lock held, all steps copy the same state.
        begin(&original)?;
        place.check_opened(source, &original)?;
        check()?;
        copy_pages(source, &original, &mut target, stop)?;
        close(target)?;
        Ok(copy)
    }

    /// Copies the file and its log, byte by byte, and lets SQLite recover the copy.
    pub(super) fn with_log(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let copy = Self::in_scratch(source)?;
        let before = Stamp::settled(source, place)?;
        for suffix in ["", "-wal", "-journal"] {
            let from = beside(&place.file, suffix);
            match copy_bytes(&from, place.identity, &beside(&copy.file, suffix)) {
                Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => {}
                Err(error) => return Err(not_copied(source, &copy, &from, &error)),
                Ok(()) => {}
            }
        }
        if before != Stamp::of(source, place)? {
            return Err(SourceError::Changed {
                what: source.what(),
                how: "was written to while it was copied",
            });
        }
        recover(source, &copy.file, stop).map_err(|error| source.told(error))?;
        Ok(copy)
    }

    /// Copies the file with a log that may belong to another database, and lets SQLite apply it.
    pub(super) fn with_foreign_log(
        source: &SqliteSource,
        place: &Place,
        log: Option<(&Path, &str)>,
    ) -> Result<(Self, Connection), SourceError> {
        let copy = Self::in_scratch(source)?;
        let files = log.map(|(log, suffix)| (log, beside(&copy.file, suffix)));
        for (from, to) in [(&*place.file, copy.file.clone())].into_iter().chain(files) {
            copy_bytes(from, place.identity, &to)
                .map_err(|error| not_copied(source, &copy, from, &error))?;
        }
        let applied = connect(source, &copy.file, read_write()).and_then(|connection| {
            match connection
                .execute_batch("PRAGMA synchronous=OFF; PRAGMA wal_checkpoint;")
                .and_then(|()| begin(&connection))
            {
                Err(error) if error.sqlite_error_code() != Some(ErrorCode::DatabaseCorrupt) => {
                    Err(error)
                }
                _ => Ok(connection),
            }
        });
        Ok((copy, applied.map_err(|error| source.told(error))?))
    }

    /// True if two copies are equal byte by byte.
    pub(super) fn has_same_bytes(&self, other: &Self) -> io::Result<bool> {
        let (mut ours, mut others) = (File::open(&self.file)?, File::open(&other.file)?);
        if ours.metadata()?.len() != others.metadata()?.len() {
            return Ok(false);
        }
        let (mut our, mut their) = (vec![0; COMPARED_BYTES], vec![0; COMPARED_BYTES]);
        loop {
            let count = ours.read(&mut our)?;
            if count == 0 {
                return Ok(true);
            }
            others.read_exact(&mut their[..count])?;
            if our[..count] != their[..count] {
                return Ok(false);
            }
        }
    }
}

fn copy_pages(
    source: &SqliteSource,
    from: &Connection,
    to: &mut Connection,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let backup = Backup::new(from, to)?;
    loop {
        match backup.step(PAGES_PER_STEP)? {
            StepResult::Done => return Ok(()),
            StepResult::More if stop.is_cancelled() => {
                return Err(Failure::Told(SourceError::Stopped));
            }
            StepResult::More => {}
            _ => return Err(Failure::Told(source.locked())),
        }
    }
}

/// Rolls back a hot journal, or checkpoints a write-ahead log, and removes both.
fn recover(source: &SqliteSource, copy: &Path, stop: &CancellationToken) -> rusqlite::Result<()> {
    let mut connection = connect(source, copy, read_write())?;
    stop_when_asked(&mut connection, stop)?;
    connection.execute_batch("PRAGMA synchronous=OFF;")?;
    begin(&connection)?;
    connection.execute_batch("COMMIT; PRAGMA wal_checkpoint(TRUNCATE);")?;
    close(connection)
}

fn close(connection: Connection) -> rusqlite::Result<()> {
    connection.close().map_err(|(_, error)| error)
}

fn copy_bytes(from: &Path, database: Identity, to: &Path) -> io::Result<()> {
    let from = SafeFile::open(from, database)?;
    let mut to = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)?;
    io::copy(&mut &*from, &mut to).map(drop)
}

fn not_copied(
    source: &SqliteSource,
    copy: &PrivateCopy,
    from: &Path,
    error: &io::Error,
) -> SourceError {
    let folder = shown(copy.folder.path());
    SourceError::Unavailable {
        what: source.what(),
        why: format!(
            "copying {} into a private folder, {folder}, failed: {error}",
            shown(from)
        ),
        retryable: false,
    }
}
