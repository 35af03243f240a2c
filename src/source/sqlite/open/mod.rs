//! Opens a SQLite file for reading without leaving a trace: in place where that is safe, else as a private copy.
//! Invariant: what is read is one committed state of the file that the configured name leads to, log included; where
//! a log may lie that cannot be seen, the file is refused.
//!
//! SQLite keeps `-wal`, `-shm` and `-journal` beside the path it opens, links resolved. So the configured name is
//! resolved once, and the logs are looked for there. Where the same file is known by several names (hard links in its
//! folder or the configured name's, single-file mounts that this process sees), each name may have logs.
//!
//! | mode | found | way |
//! |---|---|---|
//! | WAL | one name has `-wal` and `-shm` | in place by that name, the `-shm` mapped read-only; writers go on |
//! | WAL | one name has `-wal`, none `-shm` | a private copy of both |
//! | WAL | no `-wal`, one name, nobody has the file open | in place as immutable, because opening it would leave `-wal` and `-shm` behind, owned by us; afterwards it must be unchanged |
//! | WAL | no `-wal`, several names, all known, nobody has the file open | a private copy, which must be unchanged while it is made |
//! | WAL | somebody has the file open, but not the log beside it (or there is none): it was renamed while open, or is open by a name that cannot be seen | refused |
//! | WAL | no `-wal`, and a name that could not be found | refused |
//! | rollback | one name, or all names known | a snapshot by SQLite's backup API: a writer waits only while pages are copied; while the lock is held, no other name may have a journal that a dead process left |
//! | rollback | a hot journal beside one name | a private copy with it, rolled back there |
//! | rollback | a name that could not be found | refused: a torn file without its journal looks healthy |
//! | both | logs beside two names | refused |
//! | both | a log whose database is gone, which fits this one | refused, where applying it to a copy does not show that it is another's |
//! | both | a log that may not be read | refused |
//!
//! In WAL mode with a log, a hard link whose other names are unknown is read: a live process that used another log
//! would be seen by its locks. What cannot be seen: the log of a process that is gone, after the file was moved to
//! another folder while it was open, or where the process had the file by a mount of its own. The file bears no mark
//! of it, and SQLite would not find that log either.

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

/// An open database: two connections that see one state, each inside its read transaction.
pub(super) struct Opened {
    connection: Connection,
    companion: Option<Connection>,
    file: ReadFile,
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

/// How a file is read; the table above says when.
enum Way {
    Log,
    Immutable,
    Snapshot,
    Copy,
}

/// The file that was read, as SQLite knows it.
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

    /// Opens the file the way [`Self::open`] would, as far as that goes without copying it, and closes it again.
    pub(super) fn try_out(source: &SqliteSource) -> Result<(), SourceError> {
        let mut place = Place::find(source)?;
        let _claim = Claim::new(place.identity);
        ways::try_out(source, &mut place)
    }

    /// Which file was read, and with which log.
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

    /// What the last reader proves after its read, on any thread.
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

enum Failure {
    Sqlite(rusqlite::Error),
    Told(SourceError),
    /// A process that opened the file by this name ended in a transaction.
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
        // Nothing is written: it makes SQLite read on where it does not understand a schema, or a size.
        connection.execute_batch("PRAGMA writable_schema=ON")?;
    }
    // Rows are read in order, so little is read twice; what the cache took stays with the allocator.
    connection.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cache_size=-4000;")?;
    Ok(connection)
}

/// Begins the read transaction: the first read takes the lock and fixes what is seen.
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
