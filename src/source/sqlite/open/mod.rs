//! Opens a SQLite file for reading without leaving a trace: in place where that is safe, else as a private copy.
//! Invariant: what is read is one committed state of the file that the configured name leads to.
//!
//! | found | way |
//! |---|---|
//! | WAL mode with `-wal` and `-shm` | in place, the `-shm` mapped read-only; writers go on |
//! | WAL mode without `-wal` | in place as immutable, because opening it would leave `-wal` and `-shm` behind, owned by us; afterwards it must be unchanged |
//! | WAL mode with `-wal` but no `-shm` | nobody has it open; a private copy of both |
//! | rollback journal | a snapshot by SQLite's backup API: a writer waits only while pages are copied |
//! | a hot journal, or read-only media with a log | a private copy with its log, recovered there |

mod pair;
mod place;
mod private_copy;
mod safe_close;
#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::pair::open_pair;
use self::place::{Identity, Place, Stamp, beside};
use self::private_copy::PrivateCopy;
use self::safe_close::Claim;
use super::{SourceError, SqliteSource, stop_when_asked};

/// An open database: two connections that see one state, each inside its read transaction.
pub(super) struct Opened {
    connection: Connection,
    companion: Option<Connection>,
    watch: Watch,
    keep: Arc<Keep>,
}

/// A second connection that sees the state which [`Opened::connection`] sees; for another thread.
pub(super) struct Companion {
    connection: Connection,
    _keep: Arc<Keep>,
}

/// What must live as long as a connection: fields are dropped after it.
struct Keep {
    _claim: Claim,
    /// Holds the private copy while it is read; removed with it.
    _folder: Option<TempDir>,
}

/// Proves after a read that it was one of the file that lies there; outlives the connections.
#[derive(Clone)]
pub(super) struct Watch {
    source: SqliteSource,
    place: Place,
    /// The file as it was before an immutable read.
    must_stay: Option<Arc<Stamp>>,
}

enum Way {
    Log,
    Immutable,
    Snapshot,
    Copy,
}

/// What a way leads to.
struct Reached {
    connections: (Connection, Connection),
    must_stay: Option<Stamp>,
    folder: Option<TempDir>,
}

impl Opened {
    /// Opens the source's file twice and begins a read transaction in each connection.
    pub(super) fn open(
        source: &SqliteSource,
        stop: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let place = Place::find(source)?;
        let claim = Claim::new((place.identity.device, place.identity.inode));
        let reached = match way_for(source, &place)? {
            Way::Log => Self::with_log(source, &place, stop)?,
            Way::Immutable => Self::immutable(source, &place)?,
            Way::Snapshot => match PrivateCopy::snapshot(source, &place, stop) {
                Err(Failure::Sqlite(error)) if needs_copy(&error) => {
                    Self::copied(source, &place, stop)?
                }
                copy => Self::private(source, copy.map_err(|failure| failure.describe(source))?)?,
            },
            Way::Copy => Self::copied(source, &place, stop)?,
        };
        let (mut connection, mut companion) = reached.connections;
        for connection in [&mut connection, &mut companion] {
            stop_when_asked(connection, stop).map_err(|error| source.told(error))?;
        }
        Ok(Self {
            connection,
            companion: Some(companion),
            watch: Watch {
                source: source.clone(),
                place,
                must_stay: reached.must_stay.map(Arc::new),
            },
            keep: Arc::new(Keep {
                _claim: claim,
                _folder: reached.folder,
            }),
        })
    }

    /// Opens the file the way [`Self::open`] would, as far as that goes without copying it, and closes it again.
    pub(super) fn try_out(source: &SqliteSource) -> Result<(), SourceError> {
        let place = Place::find(source)?;
        let _claim = Claim::new((place.identity.device, place.identity.inode));
        let option = match way_for(source, &place)? {
            Way::Snapshot => "mode=ro",
            Way::Log => "readonly_shm=1",
            Way::Immutable => return Self::immutable(source, &place).map(drop),
            Way::Copy => return copyable(source, &place),
        };
        let opened = connect(source, &uri(&place.file, option), read_only())
            .and_then(|connection| begin(&connection));
        match opened {
            Err(error) if needs_copy(&error) => copyable(source, &place),
            other => other.map_err(|error| source.told(error)),
        }
    }

    /// The connection, inside its read transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The second connection; `None` once it was taken.
    #[cfg_attr(not(test), expect(dead_code, reason = "the check of a copy reads it"))]
    pub(super) fn take_companion(&mut self) -> Option<Companion> {
        self.companion.take().map(|connection| Companion {
            connection,
            _keep: Arc::clone(&self.keep),
        })
    }

    /// What the last reader proves after its read, on any thread.
    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }

    /// Reads a log in place.
    fn with_log(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Reached, SourceError> {
        // Without `readonly_shm`, the first reader after a crash would write the `-shm` anew.
        match open_pair(source, &uri(&place.file, "readonly_shm=1")) {
            Ok(connections) => Ok(Reached {
                connections,
                must_stay: None,
                folder: None,
            }),
            Err(Failure::Sqlite(error)) if needs_copy(&error) => Self::copied(source, place, stop),
            // SQLite counts each look at an empty log that nobody has open as a change.
            Err(Failure::Told(_)) if is_empty_log(place) => Self::copied(source, place, stop),
            Err(failure) => Err(failure.describe(source)),
        }
    }

    fn immutable(source: &SqliteSource, place: &Place) -> Result<Reached, SourceError> {
        let before = Stamp::settled(source, place)?;
        let connections = unchanging_pair(source, &place.file)?;
        Ok(Reached {
            connections,
            must_stay: Some(before),
            folder: None,
        })
    }

    fn copied(
        source: &SqliteSource,
        place: &Place,
        stop: &CancellationToken,
    ) -> Result<Reached, SourceError> {
        Self::private(source, PrivateCopy::with_log(source, place, stop)?)
    }

    fn private(source: &SqliteSource, copy: PrivateCopy) -> Result<Reached, SourceError> {
        Ok(Reached {
            connections: unchanging_pair(source, &copy.file)?,
            must_stay: None,
            folder: Some(copy.folder),
        })
    }
}

impl Companion {
    /// The connection, inside its read transaction.
    #[cfg_attr(not(test), expect(dead_code, reason = "the check of a copy reads it"))]
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Watch {
    /// Proves after the read that the configured name still leads to the file that was read, in the state it was in.
    pub(super) fn check_unchanged(&self) -> Result<(), SourceError> {
        let changed = |how| SourceError::Changed {
            what: self.source.what(),
            how,
        };
        let metadata = fs::metadata(&self.source.path).map_err(|_| changed("was deleted"))?;
        if Identity::from(&metadata) != self.place.identity {
            return Err(changed("was replaced by another file"));
        }
        if let Some(before) = &self.must_stay
            && **before != Stamp::of(&self.source, &self.place)?
        {
            return Err(changed("was written to"));
        }
        Ok(())
    }
}

/// Two connections to a file that nobody writes.
fn unchanging_pair(
    source: &SqliteSource,
    file: &Path,
) -> Result<(Connection, Connection), SourceError> {
    let open = || {
        let connection = connect(source, &uri(file, "immutable=1"), read_only())?;
        begin(&connection)?;
        Ok(connection)
    };
    let both = open().and_then(|first| Ok((first, open()?)));
    both.map_err(|error| source.told(error))
}

fn is_empty_log(place: &Place) -> bool {
    const LOG_HEADER_BYTES: u64 = 32;
    fs::metadata(beside(&place.file, "-wal")).is_ok_and(|log| log.len() < LOG_HEADER_BYTES)
}

/// Whether a private copy could be made: every file it takes can be read.
fn copyable(source: &SqliteSource, place: &Place) -> Result<(), SourceError> {
    for suffix in ["-wal", "-journal"] {
        match File::open(beside(&place.file, suffix)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(not_readable(source, &error)),
            Ok(_) => {}
        }
    }
    Ok(())
}

enum Failure {
    Sqlite(rusqlite::Error),
    Told(SourceError),
}

impl Failure {
    fn describe(self, source: &SqliteSource) -> SourceError {
        match self {
            Self::Sqlite(error) => source.told(error),
            Self::Told(error) => error,
        }
    }
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Told(error)
    }
}

fn way_for(source: &SqliteSource, place: &Place) -> Result<Way, SourceError> {
    let has = |suffix| beside(&place.file, suffix).exists();
    Ok(match (place.is_wal(source)?, has("-wal"), has("-shm")) {
        (false, _, _) => Way::Snapshot,
        (true, false, _) => Way::Immutable,
        (true, true, false) => Way::Copy,
        (true, true, true) => Way::Log,
    })
}

/// SQLite could read this file only by writing: a hot journal, or shared memory that cannot be made.
fn needs_copy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    code == Some(ErrorCode::CannotOpen) || code == Some(ErrorCode::ReadOnly)
}

fn connect(source: &SqliteSource, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(source.busy_timeout)?;
    // Rows are read in order, so little is read twice; what the cache took stays with the allocator.
    connection.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cache_size=-4000;")?;
    Ok(connection)
}

/// Begins the read transaction: the first read takes the lock and fixes what is seen.
fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN; SELECT count(*) FROM main.sqlite_schema;")
}

fn read_only() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI
}

fn read_write() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// A path as a URI with an option, every byte but the plainest in hexadecimal.
fn uri(path: &Path, option: &str) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(byte) {
            uri.push(char::from(*byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push('?');
    uri.push_str(option);
    uri.into()
}

fn not_readable(source: &SqliteSource, error: &io::Error) -> SourceError {
    let what = source.what();
    match error.kind() {
        ErrorKind::NotFound => SourceError::NotFound { what },
        ErrorKind::PermissionDenied => SourceError::Unavailable {
            what,
            why: format!(
                "{error}\nhint: let the user Patina runs as read the file, and enter the folders above it"
            ),
            retryable: false,
        },
        _ => SourceError::Unavailable {
            what,
            why: error.to_string(),
            retryable: true,
        },
    }
}
