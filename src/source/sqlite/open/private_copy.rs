//! Copies a database into a private folder. Invariant: the copy is one committed state, or there is none.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::place::{Place, Stamp, beside};
use super::safe_close::SafeFile;
use super::{Failure, begin, connect, read_only, read_write, uri};
use crate::source::SourceError;
use crate::source::sqlite::{SqliteSource, shown, stop_when_asked};

/// How many pages a snapshot copies between two looks at the request to stop.
const PAGES_PER_STEP: i32 = 4096;

/// A complete database that nobody else knows, without logs.
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

    /// Copies pages by SQLite's backup API: a writer waits only for that.
    pub(super) fn snapshot(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let copy = Self::in_scratch(source)?;
        let mut original = connect(source, &uri(&place.file, "mode=ro"), read_only())?;
        stop_when_asked(&mut original, stop)?;
        let mut target = connect(source, &copy.file, read_write())?;
        target.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
        // With the read lock held, all steps copy the same state.
        begin(&original)?;
        copy_pages(source, &original, &mut target, stop)?;
        close(target)?;
        Ok(copy)
    }

    /// Copies the file and `log_of`'s log, byte by byte, and lets SQLite recover the copy.
    pub(super) fn with_log(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let copy = Self::in_scratch(source)?;
        let before = Stamp::settled(source, place)?;
        for suffix in ["", "-wal", "-journal"] {
            let from = beside(&place.file, suffix);
            match copy_bytes(&from, &beside(&copy.file, suffix)) {
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

/// Rolls a hot journal back, or moves a write-ahead log into the file, and removes both.
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

fn copy_bytes(from: &Path, to: &Path) -> io::Result<()> {
    let from = SafeFile::open(from)?;
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
