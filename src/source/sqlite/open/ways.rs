//! Opens two connections to the same state in the way that was chosen.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::locate::{check_no_other_journal, check_readable, locate};
use super::names::Names;
use super::pair::open_pair;
use super::place::{Place, Stamp, beside};
use super::private_copy::PrivateCopy;
use super::{Failure, Way, begin, connect, log_not_readable, read_only, uri};
use crate::source::SourceError;
use crate::source::sqlite::SqliteSource;

/// Number of attempts: a program that ends between two looks may move the journal.
const TRIES: u32 = 3;

/// The result of opening.
pub(super) struct Reached {
    pub(super) connections: (Connection, Connection),
    /// Stamp of the file before an immutable read.
    pub(super) must_stay: Option<Stamp>,
    /// Folder of a private copy.
    pub(super) folder: Option<TempDir>,
    /// The log that was read with the file.
    pub(super) log: Option<PathBuf>,
}

impl Reached {
    /// Finds the log of `place`, and opens both.
    pub(super) fn open(
        source: &SqliteSource,
        place: &mut Place,
        stop: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let names = Names::find(place, &source.path);
        let mut tried = 0;
        loop {
            tried += 1;
            let reached = match locate(source, place, &names)? {
                Way::Log => Self::with_log(source, place, stop),
                Way::Immutable => Self::immutable(source, place),
                Way::Snapshot => Self::snapshot(source, place, &names, stop),
                Way::Copy => Self::copied(source, place, stop),
            };
            match reached {
                Err(Failure::JournalElsewhere(_)) if tried < TRIES => {}
                other => return other.map_err(|failure| failure.describe(source)),
            }
        }
    }

    /// Reads a database with its log in place.
    fn with_log(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        // Without `readonly_shm`, the first reader after a crash would rewrite the `-shm`.
        match open_pair(source, &uri(&place.file, "readonly_shm=1")) {
            Ok(connections) => {
                place.check_opened(source, &connections.0)?;
                Ok(Self {
                    connections,
                    must_stay: None,
                    folder: None,
                    log: Some(beside(&place.file, "-wal")),
                })
            }
            Err(Failure::Sqlite(error)) if needs_copy(&error) => Self::copied(source, place, stop),
            // SQLite counts each read of an empty log that no process has open as a change.
            Err(Failure::Told(_)) if is_empty_log(place) => Self::copied(source, place, stop),
            Err(failure) => Err(failure),
        }
    }

    fn immutable(source: &SqliteSource, place: &Place) -> Result<Self, Failure> {
        let before = Stamp::settled(source, place)?;
        let connections = unchanging_pair(source, &place.file)?;
        place.check_opened(source, &connections.0)?;
        Ok(Self {
            connections,
            must_stay: Some(before),
            folder: None,
            log: None,
        })
    }

    fn snapshot(
        source: &SqliteSource,
        place: &Place,
        names: &Names,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let check = || check_no_other_journal(source, place, names);
        match PrivateCopy::snapshot(source, place, check, stop) {
            Err(Failure::Sqlite(error)) if needs_copy(&error) => Self::copied(source, place, stop),
            copy => Self::private(source, copy?, None),
        }
    }

    fn copied(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let logs = ["-wal", "-journal"].map(|suffix| beside(&place.file, suffix));
        let log = logs.into_iter().find(|log| log.exists());
        Self::private(source, PrivateCopy::with_log(source, place, stop)?, log)
    }

    fn private(
        source: &SqliteSource,
        copy: PrivateCopy,
        log: Option<PathBuf>,
    ) -> Result<Self, Failure> {
        Ok(Self {
            connections: unchanging_pair(source, &copy.file)?,
            must_stay: None,
            folder: Some(copy.folder),
            log,
        })
    }
}

/// Opens the file like [`Reached::open`], as far as that is possible without copying it, and closes it again.
pub(super) fn try_out(source: &SqliteSource, place: &mut Place) -> Result<(), SourceError> {
    let names = Names::find(place, &source.path);
    let way = locate(source, place, &names)?;
    let option = match way {
        Way::Snapshot => "mode=ro",
        Way::Log => "readonly_shm=1",
        Way::Immutable => {
            let opened = Reached::immutable(source, place);
            return opened.map(drop).map_err(|failure| failure.describe(source));
        }
        Way::Copy => return copyable(source, place),
    };
    let opened = connect(source, &uri(&place.file, option), read_only())
        .and_then(|connection| begin(&connection).map(|()| connection));
    match opened {
        Err(error) if needs_copy(&error) => copyable(source, place),
        Err(error) => Err(source.told(error)),
        Ok(_connection) if matches!(way, Way::Snapshot) => {
            let checked = check_no_other_journal(source, place, &names);
            checked.map_err(|failure| failure.describe(source))
        }
        Ok(_) => Ok(()),
    }
}

/// Opens two connections to a file that is not written.
fn unchanging_pair(
    source: &SqliteSource,
    file: &Path,
) -> rusqlite::Result<(Connection, Connection)> {
    let open = || -> rusqlite::Result<Connection> {
        let connection = connect(source, &uri(file, "immutable=1"), read_only())?;
        begin(&connection)?;
        Ok(connection)
    };
    Ok((open()?, open()?))
}

fn is_empty_log(place: &Place) -> bool {
    const LOG_HEADER_BYTES: u64 = 32;
    fs::metadata(beside(&place.file, "-wal")).is_ok_and(|log| log.len() < LOG_HEADER_BYTES)
}

/// Checks that a private copy could be made: every file needed for it can be read.
fn copyable(source: &SqliteSource, place: &Place) -> Result<(), SourceError> {
    for suffix in ["-wal", "-journal"] {
        let log = beside(&place.file, suffix);
        check_readable(source, &log)?;
        match File::open(&log) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(log_not_readable(source, &log, &error)),
            Ok(_) => {}
        }
    }
    Ok(())
}

/// True if SQLite could read this file only by writing: a hot journal, or shared memory that cannot be created.
fn needs_copy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    code == Some(ErrorCode::CannotOpen) || code == Some(ErrorCode::ReadOnly)
}
