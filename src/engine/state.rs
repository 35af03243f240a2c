//! Holds the state directory for one process. Invariant: two processes never work in the same one.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use super::turns::{Turn, Turns};
use crate::types::DatabaseName;

/// Second line of the lock of a process that reloads on SIGHUP; any other process it would end.
const HEARS_HANGUPS: &str = "reloads on SIGHUP";

/// The directory `[agent] state`, locked while this lives. The kernel gives the lock back when the process ends,
/// however it ends.
#[derive(Debug)]
pub struct StateDir {
    path: PathBuf,
    lock: File,
    turns: Turns,
}

/// The process that holds a state directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its id, as it sees it: in a container it may be another one from outside.
    pub id: i32,
    /// Whether SIGHUP makes it reload.
    pub hears_hangups: bool,
}

/// Why the state directory cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another process has it.
    #[error(
        "another patina works in `{path}` (process {holder})\nhint: wait for it, or stop it: a daemon \
         packs and expires by itself"
    )]
    Held {
        /// The directory.
        path: String,
        /// The other process's id, as it wrote it.
        holder: String,
    },
    /// It cannot be made or written.
    #[error(
        "the state directory `{path}` cannot be used: {cause}\nhint: set `[agent] state` to a folder that Patina's \
         user may write"
    )]
    Unusable {
        /// The directory.
        path: String,
        /// Why.
        cause: io::Error,
    },
}

impl Drop for StateDir {
    fn drop(&mut self) {
        // A child that is about to become another program still has the file open, and would hold on to the lock.
        let _ = flock(&self.lock, FlockOperation::Unlock);
    }
}

impl StateDir {
    /// Makes the directory where absent and locks it.
    ///
    /// # Errors
    /// Where another process holds it, or it cannot be made or written.
    pub fn lock(path: &Path) -> Result<Self, StateError> {
        let unusable = |cause| StateError::Unusable {
            path: path.display().to_string(),
            cause,
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path.join("spool"))
            .map_err(unusable)?;
        let mut lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path.join("lock"))
            .map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = lock.read_to_string(&mut holder);
                let path = path.display().to_string();
                let holder = holder.lines().next().unwrap_or_default().to_owned();
                return Err(StateError::Held { path, holder });
            }
            other => other.map_err(|errno| unusable(errno.into()))?,
        }
        let mut name_holder = || -> io::Result<()> {
            lock.set_len(0)?;
            lock.rewind()?;
            writeln!(lock, "{}", std::process::id())
        };
        name_holder().map_err(unusable)?;
        Ok(Self {
            path: path.to_owned(),
            lock,
            turns: Turns::default(),
        })
    }

    /// Waits until nobody in this process backs this database up; what is returned keeps others waiting.
    pub(super) async fn turn(&self, database: &DatabaseName) -> Turn {
        self.turns.take(database).await
    }

    /// Lets [`StateDir::holder`] know that SIGHUP makes this process reload; it must by then.
    ///
    /// # Errors
    /// Where the lock cannot be written.
    pub fn hear_hangups(&self) -> Result<(), StateError> {
        let written = writeln!(&self.lock, "{HEARS_HANGUPS}");
        written.map_err(|cause| StateError::Unusable {
            path: self.path.display().to_string(),
            cause,
        })
    }

    /// Who works in a state directory. `None`: nobody does.
    ///
    /// # Errors
    /// Where the lock cannot be read.
    pub fn holder(path: &Path) -> io::Result<Option<Holder>> {
        let mut lock = match File::open(path.join("lock")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        // Shared, and for a moment: it is given back with the file.
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            other => return other.map(|()| None).map_err(io::Error::from),
        }
        let mut text = String::new();
        lock.read_to_string(&mut text)?;
        let mut lines = text.lines();
        let id = lines.next().and_then(|line| line.parse().ok());
        Ok(id.map(|id| Holder {
            id,
            hears_hangups: lines.next() == Some(HEARS_HANGUPS),
        }))
    }

    /// Where the catalog lies in a state directory.
    pub fn catalog_path(state: &Path) -> PathBuf {
        state.join("catalog.db")
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder for spools and scratch databases.
    pub fn spool(&self) -> PathBuf {
        self.path.join("spool")
    }

    /// Removes everything in the spool but `keep`: what dead processes left. Gives the number of entries.
    ///
    /// # Errors
    /// Where the folder cannot be read or an entry not removed.
    pub fn sweep(&self, keep: &[PathBuf]) -> io::Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(self.spool())? {
            let path = entry?.path();
            if keep.contains(&path) {
                continue;
            }
            if path.is_dir() {
                fs::remove_dir_all(&path)?;
            } else {
                fs::remove_file(&path)?;
            }
            removed += 1;
        }
        Ok(removed)
    }

    /// The bytes that may still be written beside the spool.
    ///
    /// # Errors
    /// Where the file system does not tell.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.path)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_process_is_told_who_holds_the_directory() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::lock(folder.path()).unwrap();
        let error = StateDir::lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        let hears_hangups = |path| StateDir::holder(path).unwrap().map(|it| it.hears_hangups);
        assert_eq!(hears_hangups(folder.path()), Some(false));
        first.hear_hangups().unwrap();
        assert_eq!(hears_hangups(folder.path()), Some(true));
        drop(first);
        assert_eq!(hears_hangups(folder.path()), None);
        StateDir::lock(folder.path()).unwrap();
    }

    #[test]
    fn a_child_that_inherited_the_lock_does_not_keep_it() {
        let folder = tempfile::tempdir().unwrap();
        let first = StateDir::lock(folder.path()).unwrap();
        let _inherited = first.lock.try_clone().unwrap();
        drop(first);
        StateDir::lock(folder.path()).unwrap();
    }

    #[test]
    fn a_sweep_leaves_what_it_is_told_to_keep() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::lock(folder.path()).unwrap();
        let kept = state.spool().join("a.ready");
        for path in [&kept, &state.spool().join("b.partial")] {
            fs::write(path, "x").unwrap();
        }
        fs::create_dir(state.spool().join("copy-1")).unwrap();
        assert_eq!(state.sweep(std::slice::from_ref(&kept)).unwrap(), 2);
        assert!(kept.exists());
    }
}
