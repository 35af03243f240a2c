//! Opens a database, or its shared memory, beside SQLite. Invariant: while SQLite has a database open in this process,
//! no other descriptor of its files is closed, because that would drop every lock that this process holds on them
//! (<https://sqlite.org/howtocorrupt.html>, section 2.2).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek};
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

/// Declares that SQLite has the database open; created before the first connection and dropped after the last.
#[derive(Debug)]
pub struct Claim(Key);

impl Claim {
    pub(super) fn new(database: Identity) -> Self {
        let key = key(database);
        in_use().entry(key).or_default().claims += 1;
        Self(key)
    }

    /// Creates a claim for a database that another module opens, and that may be read as a source, too.
    ///
    /// # Errors
    /// If the file's metadata cannot be read.
    pub fn of(database: &Path) -> io::Result<Self> {
        Ok(Self::new(Identity::from(&database.metadata()?)))
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

/// A file of a database; it is closed only when SQLite does not have that database open.
pub(super) struct SafeFile {
    file: Option<File>,
    key: Key,
}

impl SafeFile {
    pub(super) fn open(path: &Path, database: Identity) -> io::Result<Self> {
        let key = key(database);
        let parked = parked(path, key)?;
        let file = match parked {
            Some(file) => file,
            None => File::open(path)?,
        };
        Ok(Self {
            file: Some(file),
            key,
        })
    }
}

/// Returns a descriptor of the same file that waits to be closed: otherwise a database that is always open would
/// collect ever more of them.
fn parked(path: &Path, key: Key) -> io::Result<Option<File>> {
    let mut files = in_use();
    let Some(used) = files.get_mut(&key).filter(|used| !used.parked.is_empty()) else {
        return Ok(None);
    };
    let wanted = Identity::from(&path.metadata()?);
    let is_it = |file: &File| {
        file.metadata()
            .is_ok_and(|facts| Identity::from(&facts) == wanted)
    };
    let Some(at) = used.parked.iter().position(is_it) else {
        return Ok(None);
    };
    let mut file = used.parked.swap_remove(at);
    // This does not fail for a regular file; closing the file here is what must be avoided.
    let _ = file.rewind();
    Ok(Some(file))
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
        // Closed under the lock, so that no claim can begin in between.
        drop(self.file.take());
    }
}
