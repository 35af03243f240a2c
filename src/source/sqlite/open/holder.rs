//! Finds out which other process has a database open. Invariant: the kernel is asked about the locks themselves
//! (`F_GETLK`), so a holder in another container, another mount or under another name is seen as well; only its name
//! may remain unknown.
//!
//! Limits: SQLite holds a lock for as long as it has a database in WAL mode open, but in rollback mode only during a
//! transaction, and a process that was killed holds none.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;

use rustix::process::{Flock, FlockOffsetType, FlockType, fcntl_getlk};

use super::place::{Identity, beside};
use super::safe_close::SafeFile;
use crate::source::sqlite::shown;

/// SQLite's lock bytes: pending, reserved, and 510 shared ones (`os.h`).
const PENDING_BYTE: u64 = 0x4000_0000;
const RESERVED_BYTE: u64 = PENDING_BYTE + 1;
const LOCK_BYTES: u64 = 512;

/// The lock bytes of the shared memory: eight of the log, and one that each process holds that has it open
/// (`os_unix.c`).
const SHM_LOCKS: u64 = 120;
const SHM_LOCK_BYTES: u64 = 9;

/// Number of logs named in a message.
const MOST_LOGS: usize = 3;

/// Another process that has the database open.
#[derive(Debug)]
pub(super) struct Holder {
    /// `None` if it belongs to another container or machine.
    pid: Option<i32>,
    /// True if it excludes all readers, as `locking_mode=EXCLUSIVE` does.
    pub(super) is_exclusive: bool,
}

impl Holder {
    /// Returns the process that has the database `file` open or writes it.
    pub(super) fn of_database(file: &Path, identity: Identity) -> io::Result<Option<Self>> {
        find(file, identity, PENDING_BYTE, LOCK_BYTES)
    }

    /// Returns the process that is about to write the database `file`.
    pub(super) fn of_reserved(file: &Path, identity: Identity) -> io::Result<Option<Self>> {
        find(file, identity, RESERVED_BYTE, 1)
    }

    /// Returns the process that uses the log beside the database `file`; `None` if there is no shared memory.
    pub(super) fn of_log(file: &Path, identity: Identity) -> io::Result<Option<Self>> {
        match find(&beside(file, "-shm"), identity, SHM_LOCKS, SHM_LOCK_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other,
        }
    }

    /// Paths of the logs that it has open.
    pub(super) fn logs(&self) -> Vec<String> {
        let Some(pid) = self.pid else {
            return Vec::new();
        };
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))
            .into_iter()
            .flatten();
        let files = entries
            .flatten()
            .filter_map(|entry| fs::read_link(entry.path()).ok());
        let logs = files.filter(|file| {
            let name = file.to_string_lossy();
            name.ends_with("-wal") || name.ends_with("-journal")
        });
        logs.take(MOST_LOGS).map(|log| shown(&log)).collect()
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.pid else {
            return f.write_str("a process of another container or machine");
        };
        match fs::read_to_string(format!("/proc/{pid}/comm")) {
            Ok(name) => write!(f, "process {pid} (`{}`)", name.trim()),
            Err(_) => write!(f, "process {pid}"),
        }
    }
}

/// Finds a lock of another process. Locks of this process are not reported: they do not conflict with its own.
fn find(path: &Path, identity: Identity, start: u64, length: u64) -> io::Result<Option<Holder>> {
    let file = SafeFile::open(path, identity)?;
    let wanted = Flock {
        start,
        length,
        pid: None,
        typ: FlockType::WriteLock,
        offset_type: FlockOffsetType::Set,
    };
    let found = fcntl_getlk(&*file, &wanted)?;
    Ok(found.map(|lock| Holder {
        pid: lock
            .pid
            .map(|pid| pid.as_raw_nonzero().get())
            .filter(|&pid| pid > 0),
        is_exclusive: lock.typ == FlockType::WriteLock,
    }))
}
