//! Opens a SQLite file for reading without leaving a trace: in place where that is safe, else as a private copy.
//!
//! | found | way |
//! |---|---|
//! | WAL mode with `-wal` and `-shm` | in place, the `-shm` mapped read-only; writers go on |
//! | WAL mode without `-wal` | in place as immutable, because opening it would leave `-wal` and `-shm` behind, owned by us; afterwards it must be unchanged |
//! | WAL mode with `-wal` but no `-shm` | nobody has it open; a private copy of both |
//! | rollback journal, small | in place: a writer waits for the moment that takes |
//! | rollback journal, larger | a snapshot by SQLite's backup API: a writer waits only while pages are copied |
//! | a hot journal, or read-only media with a log | a private copy with its log, recovered there |

use std::fs::{self, File, Metadata};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{SourceError, SqliteSource, shown, stop_when_asked};

/// A rollback-journal database up to this size is read in place, within a fraction of a second.
const IN_PLACE_BYTES: u64 = 16 * 1024 * 1024;

/// How many pages a snapshot copies between two looks at the request to stop.
const PAGES_PER_STEP: i32 = 4096;

const MAGIC: &[u8] = b"SQLite format 3\0";

/// An open database with a read transaction, and what it needs to be trusted afterwards.
pub(super) struct Opened {
    connection: Connection,
    identity: (u64, u64),
    /// The file as it was before an immutable read.
    must_stay: Option<Stamp>,
    /// Holds the private copy while it is read; removed with it.
    _copy: Option<TempDir>,
}

/// What changes when a file is written.
#[derive(PartialEq, Eq)]
struct Stamp {
    file: Look,
    header: Vec<u8>,
    wal: Option<Look>,
    journal: Option<Look>,
}

/// A file's length and time of change.
#[derive(PartialEq, Eq)]
struct Look {
    size_bytes: u64,
    modified: (i64, i64),
}

impl From<Metadata> for Look {
    fn from(metadata: Metadata) -> Self {
        Self {
            size_bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
        }
    }
}

enum Way {
    InPlace,
    Log,
    Immutable,
    Snapshot,
    Copy,
}

impl Opened {
    /// Opens the source's file and begins one read transaction.
    pub(super) fn open(
        source: &SqliteSource,
        stop: &CancellationToken,
    ) -> Result<Self, SourceError> {
        let metadata = fs::metadata(&source.path).map_err(|error| not_readable(source, &error))?;
        refuse_what_is_no_database(source, &metadata)?;
        let mut opened = match way_for(source)? {
            Way::InPlace => match Self::in_place(source, &uri(source, "mode=ro"), &metadata) {
                Err(error) if needs_copy(&error) => Self::copied(source, &metadata)?,
                other => other.map_err(|error| source.told(error))?,
            },
            // Without `readonly_shm`, the first reader after a crash would write the `-shm` anew.
            Way::Log => match Self::in_place(source, &uri(source, "readonly_shm=1"), &metadata) {
                Err(error) if needs_copy(&error) => Self::copied(source, &metadata)?,
                other => other.map_err(|error| source.told(error))?,
            },
            Way::Immutable => Self::immutable(source, &metadata)?,
            Way::Snapshot => match Self::snapshot(source, &metadata, stop) {
                Err(Failure::Sqlite(error)) if needs_copy(&error) => {
                    Self::copied(source, &metadata)?
                }
                Err(Failure::Sqlite(error)) => return Err(source.told(error)),
                Err(Failure::Told(error)) => return Err(error),
                Ok(opened) => opened,
            },
            Way::Copy => Self::copied(source, &metadata)?,
        };
        stop_when_asked(&mut opened.connection, stop).map_err(|error| source.told(error))?;
        Ok(opened)
    }

    /// Opens the file the way [`Self::open`] would, as far as that goes without copying it, and closes it again.
    pub(super) fn try_out(source: &SqliteSource) -> Result<(), SourceError> {
        let metadata = fs::metadata(&source.path).map_err(|error| not_readable(source, &error))?;
        refuse_what_is_no_database(source, &metadata)?;
        let opened = match way_for(source)? {
            Way::InPlace | Way::Snapshot => {
                Self::in_place(source, &uri(source, "mode=ro"), &metadata)
            }
            Way::Log => Self::in_place(source, &uri(source, "readonly_shm=1"), &metadata),
            Way::Immutable => return Self::immutable(source, &metadata).map(drop),
            Way::Copy => return copyable(source),
        };
        match opened {
            Err(error) if needs_copy(&error) => copyable(source),
            other => other.map(drop).map_err(|error| source.told(error)),
        }
    }

    /// The connection, inside its read transaction.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Proves after the read that it was one of the file that lies there.
    pub(super) fn check_unchanged(&self, source: &SqliteSource) -> Result<(), SourceError> {
        let changed = |how| SourceError::Changed {
            what: source.what(),
            how,
        };
        let metadata = fs::metadata(&source.path).map_err(|_| changed("was deleted"))?;
        if identity(&metadata) != self.identity {
            return Err(changed("was replaced by another file"));
        }
        if let Some(before) = &self.must_stay
            && *before != Stamp::of(source)?
        {
            return Err(changed("was written to"));
        }
        Ok(())
    }

    fn in_place(
        source: &SqliteSource,
        place: &Path,
        metadata: &Metadata,
    ) -> rusqlite::Result<Self> {
        let connection = connect(source, place, read_only())?;
        begin(&connection)?;
        Ok(Self {
            connection,
            identity: identity(metadata),
            must_stay: None,
            _copy: None,
        })
    }

    fn immutable(source: &SqliteSource, metadata: &Metadata) -> Result<Self, SourceError> {
        let before = Stamp::of(source)?;
        let connection = connect(source, &uri(source, "immutable=1"), read_only())
            .and_then(|connection| begin(&connection).map(|()| connection))
            .map_err(|error| source.told(error))?;
        Ok(Self {
            connection,
            identity: identity(metadata),
            must_stay: Some(before),
            _copy: None,
        })
    }

    fn snapshot(
        source: &SqliteSource,
        metadata: &Metadata,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let folder = scratch_folder(source)?;
        let original = connect(source, &uri(source, "mode=ro"), read_only())?;
        let mut connection = connect(source, &folder.path().join("snapshot.db"), read_write())?;
        connection.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;")?;
        // With the read lock held, all steps copy the same state.
        begin(&original)?;
        copy_pages(source, &original, &mut connection, stop)?;
        drop(original);
        begin(&connection)?;
        Ok(Self {
            connection,
            identity: identity(metadata),
            must_stay: None,
            _copy: Some(folder),
        })
    }

    /// Copies the file and its log, and lets SQLite recover the copy.
    fn copied(source: &SqliteSource, metadata: &Metadata) -> Result<Self, SourceError> {
        let before = Stamp::of(source)?;
        let folder = scratch_folder(source)?;
        let copy = folder.path().join("copy.db");
        for suffix in ["", "-wal", "-journal"] {
            let from = beside(&source.path, suffix);
            match fs::copy(&from, beside(&copy, suffix)) {
                Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => {}
                Err(error) => return Err(not_copied(source, &folder, &error)),
                Ok(_) => {}
            }
        }
        if before != Stamp::of(source)? {
            return Err(SourceError::Changed {
                what: source.what(),
                how: "was written to while it was copied",
            });
        }
        make_writable(&copy).map_err(|error| not_copied(source, &folder, &error))?;
        let connection = connect(source, &copy, read_write())
            .and_then(|connection| begin(&connection).map(|()| connection))
            .map_err(|error| source.told(error))?;
        Ok(Self {
            connection,
            identity: identity(metadata),
            must_stay: None,
            _copy: Some(folder),
        })
    }
}

/// Whether a private copy could be made: every file it takes can be read.
fn copyable(source: &SqliteSource) -> Result<(), SourceError> {
    for suffix in ["", "-wal", "-journal"] {
        match File::open(beside(&source.path, suffix)) {
            Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => {}
            Err(error) => return Err(not_readable(source, &error)),
            Ok(_) => {}
        }
    }
    Ok(())
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
            _ => return Err(Failure::Told(locked(source))),
        }
    }
}

enum Failure {
    Sqlite(rusqlite::Error),
    Told(SourceError),
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

impl Stamp {
    fn of(source: &SqliteSource) -> Result<Self, SourceError> {
        let told = |error: std::io::Error| not_readable(source, &error);
        let look = |suffix| fs::metadata(beside(&source.path, suffix)).map(Look::from);
        Ok(Self {
            file: look("").map_err(told)?,
            header: read_header(&source.path).map_err(told)?,
            wal: look("-wal").ok(),
            journal: look("-journal").ok(),
        })
    }
}

fn way_for(source: &SqliteSource) -> Result<Way, SourceError> {
    let stamp = Stamp::of(source)?;
    // Bytes 18 and 19 are the write and read version; 2 is WAL (https://sqlite.org/fileformat2.html).
    let is_wal = stamp
        .header
        .get(18..20)
        .is_some_and(|versions| versions.contains(&2));
    let has_shm = beside(&source.path, "-shm").exists();
    Ok(match (is_wal, stamp.wal, has_shm) {
        (true, None, _) => Way::Immutable,
        (true, Some(_), false) => Way::Copy,
        (true, Some(_), true) => Way::Log,
        (false, _, _) if stamp.file.size_bytes <= IN_PLACE_BYTES => Way::InPlace,
        (false, _, _) => Way::Snapshot,
    })
}

/// SQLite could read this file only by writing: a hot journal, or shared memory that cannot be made.
fn needs_copy(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    code == Some(ErrorCode::CannotOpen) || code == Some(ErrorCode::ReadOnly)
}

fn refuse_what_is_no_database(
    source: &SqliteSource,
    metadata: &Metadata,
) -> Result<(), SourceError> {
    let refuse = |why: &str, hint| {
        Err(SourceError::NotADatabase {
            what: source.what(),
            why: why.to_owned(),
            hint,
        })
    };
    const WRONG_PATH: &str = "correct the path of this database in patina.toml";
    if !metadata.is_file() {
        return refuse("it is not a regular file", WRONG_PATH);
    }
    if metadata.len() == 0 {
        return refuse(
            "the file is empty (0 bytes)",
            "a program that never wrote, or a disk that was full, leaves such a file; earlier copies are kept",
        );
    }
    let header = read_header(&source.path).map_err(|error| not_readable(source, &error))?;
    if !header.starts_with(MAGIC) {
        return refuse(
            "it does not begin with `SQLite format 3`",
            "check the path; an encrypted database is read through the program that encrypts it",
        );
    }
    Ok(())
}

fn read_header(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut header = Vec::with_capacity(100);
    File::open(path)?.take(100).read_to_end(&mut header)?;
    Ok(header)
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

/// The source's path as a URI with an option, every byte but the plainest in hexadecimal.
fn uri(source: &SqliteSource, option: &str) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for byte in source.path.as_os_str().as_bytes() {
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

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn identity(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

fn make_writable(copy: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    for suffix in ["", "-wal", "-journal"] {
        let path = beside(copy, suffix);
        if path.exists() {
            fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}

fn scratch_folder(source: &SqliteSource) -> Result<TempDir, SourceError> {
    tempfile::Builder::new()
        .prefix("copy-")
        .tempdir_in(&source.scratch)
        .map_err(|error| SourceError::Unavailable {
            what: source.what(),
            why: format!(
                "no private copy can be made in {}: {error}",
                shown(&source.scratch)
            ),
            retryable: false,
        })
}

fn locked(source: &SqliteSource) -> SourceError {
    SourceError::Locked {
        what: source.what(),
        waited_ms: u64::try_from(source.busy_timeout.as_millis()).unwrap_or(u64::MAX),
    }
}

fn not_copied(source: &SqliteSource, folder: &TempDir, error: &std::io::Error) -> SourceError {
    SourceError::Unavailable {
        what: source.what(),
        why: format!("a private copy in {} failed: {error}", shown(folder.path())),
        retryable: false,
    }
}

fn not_readable(source: &SqliteSource, error: &std::io::Error) -> SourceError {
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
