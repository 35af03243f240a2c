//! Opens a SQLite file for reading without leaving a trace: in place if that is safe, else as a private copy.
//! Invariant: what is read is one committed state of the file that the configured name leads to, log included; if there
//! may be a log that cannot be seen, the file is refused.
//!
//! SQLite keeps `-wal`, `-shm` and `-journal` beside the path it opens, links resolved. So the configured name is
//! resolved once, and the logs are searched for there. If the same file is known by several names (hard links in its
//! folder or the configured name's, single-file mounts that this process sees), each name may have logs.
//!
//! In WAL mode:
//!
//! - One name has `-wal` and `-shm`: read in place by that name, the `-shm` mapped read-only; writers continue.
//! - One name has `-wal`, none `-shm`: a private copy of both.
//! - No `-wal`, one name, no process has the file open: read in place as immutable, because opening it would leave
//!   `-wal` and `-shm` files of Patina's user behind; afterwards it must be unchanged.
//! - No `-wal`, several names, all known, no process has the file open: a private copy of the file, which must be
//!   unchanged while the copy is made.
//! - A process has the file open, but not the log beside it (or no log exists): refused, since the file was renamed
//!   while open, or is open by a name that cannot be seen.
//! - No `-wal`, and a name that could not be found: refused.
//!
//! In rollback mode:
//!
//! - One name, or all names known: a snapshot by SQLite's backup API; a writer waits only while pages are copied, and
//!   while the lock is held, no other name may have a journal that a dead process left.
//! - A hot journal beside one name: a private copy with it, rolled back there.
//! - A name that could not be found: refused, since a torn file without its journal looks healthy.
//!
//! In both modes:
//!
//! - Logs beside two names: refused.
//! - A log without a database, which fits this one: refused, unless applying it to a copy shows that it is another's.
//! - A log that may not be read: refused.
//!
//! In WAL mode with a log, a hard link whose other names are unknown is read: a live process that used another log
//! would be seen by its locks. Not detectable is the log of a process that is gone, after the file was moved to another
//! folder while it was open, or if the process had the file by a mount of its own. The file has no mark of it, and
//! SQLite would not find that log either.

mod holder;
mod locate;
mod names;
mod orphan;
mod pair;
mod place;
mod private_copy;
mod safe_close;
mod ways;
#[cfg(test)]
mod tests;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::{Connection, OpenFlags};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use self::locate::log_not_readable;
use self::place::{Identity, Place, Stamp};
pub use self::safe_close::Claim;
use self::ways::Reached;
use super::{SourceError, SqliteSource, shown, stop_when_asked};

/// An open database: two connections that see the same state, each inside its read transaction.
pub(super) struct Opened {
    connection: Connection,
    companion: Option<Connection>,
    file: ReadFile,
    watch: Watch,
    keep: Arc<Keep>,
}

/// A second connection that sees the same state as [`Opened::connection`]; for another thread.
pub(super) struct Companion {
    connection: Connection,
    _keep: Arc<Keep>,
}

/// Resources that must live as long as a connection: fields are dropped after it.
struct Keep {
    _claim: Claim,
    /// Folder of the private copy, removed when this is dropped.
    _folder: Option<TempDir>,
}

/// Checks after a read that the path still leads to the same file; outlives the connections.
#[derive(Clone)]
pub(super) struct Watch {
    source: SqliteSource,
    place: Place,
    /// Stamp of the file before an immutable read.
    must_stay: Option<Arc<Stamp>>,
}

/// Way to read a file; the list above says when each is chosen.
enum Way {
    Log,
    Immutable,
    Snapshot,
    Copy,
}

/// The file that was read, as SQLite sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadFile {
    /// The path that SQLite opened, links resolved.
    pub(super) path: PathBuf,
    /// The number of its device.
    pub(super) device: u64,
    /// Its inode number.
    pub(super) inode: u64,
    /// The log that was read with it.
    pub(super) log: Option<PathBuf>,
}

impl Opened {
    /// Opens the source's file twice and begins a read transaction in each connection.
    pub(super) fn open(
        source: &SqliteSource,
        stop: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let mut place = Place::find(source)?;
        let claim = Claim::new(place.identity);
        let reached = Reached::open(source, &mut place, stop)?;
        let (mut connection, mut companion) = reached.connections;
        for connection in [&mut connection, &mut companion] {
            stop_when_asked(connection, stop).map_err(|error| source.told(error))?;
        }
        let file = ReadFile {
            path: place.file.clone(),
            device: place.identity.device,
            inode: place.identity.inode,
            log: reached.log,
        };
        tracing::debug!(
            path = %file.path.display(),
            device = file.device,
            inode = file.inode,
            log = ?file.log,
            "opened {}",
            source.what()
        );
        Ok(Self {
            connection,
            companion: Some(companion),
            file,
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

    /// Opens the file like [`Self::open`], as far as that is possible without copying it, and closes it again.
    pub(super) fn try_out(source: &SqliteSource) -> Result<(), SourceError> {
        let mut place = Place::find(source)?;
        let _claim = Claim::new(place.identity);
        ways::try_out(source, &mut place)
    }

    /// The file that was read, and its log.
    #[cfg_attr(not(test), expect(dead_code, reason = "the check of a copy states it"))]
    pub(super) fn file(&self) -> &ReadFile {
        &self.file
    }

    /// The connection, inside its read transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The second connection; `None` once it was taken.
    pub(super) fn take_companion(&mut self) -> Option<Companion> {
        self.companion.take().map(|connection| Companion {
            connection,
            _keep: Arc::clone(&self.keep),
        })
    }

    /// Returns the check that the last reader makes after its read, on any thread.
    pub(super) fn watch(&self) -> Watch {
        self.watch.clone()
    }
}

impl Companion {
    /// The connection, inside its read transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }
}

impl Watch {
    /// Checks after the read that the configured name still leads to the file that was read, in the same state.
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

enum Failure {
    Sqlite(rusqlite::Error),
    Told(SourceError),
    /// A process that opened the file by this name died in a transaction.
    JournalElsewhere(PathBuf),
}

impl Failure {
    fn describe(self, source: &SqliteSource) -> SourceError {
        match self {
            Self::Sqlite(error) => source.told(error),
            Self::Told(error) => error,
            Self::JournalElsewhere(name) => SourceError::Unavailable {
                what: source.what(),
                why: format!(
                    "programs that open it as {} end in their transactions, one after another",
                    shown(&name)
                ),
                retryable: true,
            },
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

fn connect(source: &SqliteSource, path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(source.busy_timeout)?;
    if source.is_lenient {
        // Nothing is written: it makes SQLite continue if it does not understand a schema, or a size.
        connection.execute_batch("PRAGMA writable_schema=ON")?;
    }
    // Rows are read in order, so little is read twice; the allocator keeps the memory of the cache.
    connection.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cache_size=-4000;")?;
    Ok(connection)
}

/// Begins the read transaction: the first read takes the lock and determines the state that is seen.
fn begin(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch("BEGIN; PRAGMA main.schema_version;")
}

fn read_only() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI
}

fn read_write() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Returns a path as a URI with an option; all bytes except the plainest are in hexadecimal.
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
