//! Opens a database, or its shared memory, beside SQLite. Invariant: while SQLite has a database open in this process,
//! no other descriptor of its files is closed, because that would drop every lock this process holds on them
//! (<https://sqlite.org/howtocorrupt.html>, section 2.2).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::place::Identity;

/// Device and inode of the database.
type Key = (u64, u64);

fn key(database: Identity) -> Key {
    (database.device, database.inode)
}

/// One database that SQLite has open.
#[derive(Default)]
struct InUse {
    claims: usize,
    /// Descriptors that are closed after the last claim.
    parked: Vec<File>,
}

static IN_USE: Mutex<BTreeMap<Key, InUse>> = Mutex::new(BTreeMap::new());

fn in_use() -> MutexGuard<'static, BTreeMap<Key, InUse>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// States that SQLite has the database open; made before the first connection and dropped after the last.
#[derive(Debug)]
pub(super) struct Claim(Key);

impl Claim {
    pub(super) fn new(database: Identity) -> Self {
        let key = key(database);
        in_use().entry(key).or_default().claims += 1;
        Self(key)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut files = in_use();
        if let Some(file) = files.get_mut(&self.0) {
            file.claims -= 1;
            if file.claims == 0 {
                files.remove(&self.0);
            }
        }
    }
}

/// A file of a database that is closed only while SQLite does not have that database open.
pub(super) struct SafeFile {
    file: Option<File>,
    key: Key,
}

impl SafeFile {
    pub(super) fn open(path: &Path, database: Identity) -> io::Result<Self> {
        Ok(Self {
            file: Some(File::open(path)?),
            key: key(database),
        })
    }
}

impl Deref for SafeFile {
    type Target = File;

    fn deref(&self) -> &File {
        self.file.as_ref().expect("taken only when dropped")
    }
}

impl Drop for SafeFile {
    fn drop(&mut self) {
        let mut files = in_use();
        if let Some(used) = files.get_mut(&self.key) {
            used.parked.extend(self.file.take());
        }
        // Closed under the lock, so that no claim begins in between.
        drop(self.file.take());
    }
}
