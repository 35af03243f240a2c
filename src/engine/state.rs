//! Holds the state directory for one process. Invariant: two processes never work in the same one.

mod left;
mod private;

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};

use private::Private;

/// The file that is locked.
const LOCK: &str = "lock";

/// The folder for files in the making.
const SPOOL: &str = "spool";

/// The lock says a process's id and some words.
const MOST_LOCK_BYTES: u64 = 4096;

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
    private: Private,
    spool: File,
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
        "another patina works in `{path}` (process {holder})\nhint: {}",
        way_out(*.is_daemon)
    )]
    Held {
        /// The directory.
        path: String,
        /// The other process's id, as it wrote it.
        holder: String,
        /// Whether it is a daemon.
        is_daemon: bool,
    },
    /// Something in it, or the directory itself, is not Patina's to use.
    #[error(
        "`{place}` {why}: Patina works only in folders of its own user, and removes only what it made\n\
         hint: move it elsewhere, or set `[agent] state` to a folder that Patina's user makes"
    )]
    Foreign {
        /// What.
        place: String,
        /// What is wrong with it.
        why: String,
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

/// What to do where another process has the directory.
fn way_out(is_daemon: bool) -> &'static str {
    match is_daemon {
        true => {
            "it is the daemon; stop it first: `systemctl stop patina`, or Ctrl-C where it was started"
        }
        false => "it is a command and ends by itself; wait for it",
    }
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
        let foreign = |place: &Path, why: String| StateError::Foreign {
            place: place.display().to_string(),
            why,
        };
        let private = Private::open(path).map_err(unusable)?;
        let private = private.map_err(|why| foreign(path, why))?;
        let at = path.join(SPOOL);
        let spool = private.folder(SPOOL).map_err(unusable)?;
        let spool = spool.map_err(|why| foreign(&at, why))?;
        let marked = left::mark(&private, &spool, &at).map_err(unusable)?;
        marked.map_err(|(place, why)| foreign(&place, why))?;
        let lock = private.file(LOCK).map_err(unusable)?;
        let mut lock = lock.map_err(|why| foreign(&path.join(LOCK), why))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let mut holder = String::new();
                let _ = (&lock).take(MOST_LOCK_BYTES).read_to_string(&mut holder);
                let path = path.display().to_string();
                let mut lines = holder.lines();
                let holder = lines.next().unwrap_or_default().to_owned();
                return Err(StateError::Held {
                    path,
                    holder,
                    is_daemon: lines.next() == Some(HEARS_HANGUPS),
                });
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
            private,
            spool: spool.0,
            turns: Turns::default(),
        })
    }

    /// Whether somebody in this process backs this database up now.
    pub fn is_at_work_on(&self, database: &DatabaseName) -> bool {
        self.turns.is_taken(database)
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
        let folder = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let lock = match private::open_at(&folder, LOCK, OFlags::RDONLY) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        // Shared, and for a moment: it is given back with the file.
        match flock(&lock, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            other => return other.map(|()| None).map_err(io::Error::from),
        }
        let mut text = String::new();
        lock.take(MOST_LOCK_BYTES).read_to_string(&mut text)?;
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
        self.path.join(SPOOL)
    }

    /// Removes what dead processes left in the spool, but `keep`. Gives the number of entries.
    ///
    /// # Errors
    /// [`StateError::Foreign`] where anything lies there that Patina did not make; then nothing is removed. Where the
    /// folder cannot be read or an entry not removed.
    pub fn sweep(&self, keep: &[PathBuf]) -> Result<u64, StateError> {
        let unusable = |cause| StateError::Unusable {
            path: self.spool().display().to_string(),
            cause,
        };
        let found = left::look(&self.private, &self.spool, &self.spool()).map_err(unusable)?;
        let left = found.map_err(|(place, why)| StateError::Foreign {
            place: place.display().to_string(),
            why,
        })?;
        let mut removed = 0;
        for entry in left.iter().filter(|entry| !keep.contains(&entry.path())) {
            // Of the entry itself: a link is no folder.
            let kind = entry.file_type().map_err(unusable)?;
            let done = match kind.is_dir() {
                true => fs::remove_dir_all(entry.path()),
                false => fs::remove_file(entry.path()),
            };
            match done {
                // What it was for removed it just now.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                done => {
                    done.map_err(unusable)?;
                    removed += 1;
                }
            }
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
        let job = crate::types::JobId::random();
        let kept = state.spool().join(format!("{job}-a.ready"));
        for path in [&kept, &state.spool().join(format!("{job}-b.partial"))] {
            fs::write(path, "x").unwrap();
        }
        fs::create_dir(state.spool().join("copy-a1B2c3")).unwrap();
        assert_eq!(state.sweep(std::slice::from_ref(&kept)).unwrap(), 2);
        assert!(kept.exists());
    }

    #[test]
    fn a_spool_folder_with_files_of_others_is_refused_by_their_name_and_keeps_them() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = folder.path().join("spool/mail/inbox");
        fs::create_dir_all(theirs.parent().unwrap()).unwrap();
        fs::write(&theirs, "letters").unwrap();
        let error = StateDir::lock(folder.path()).unwrap_err().to_string();
        assert!(
            error.contains("/spool/mail` was not made by Patina"),
            "{error}"
        );
        assert_eq!(fs::read(&theirs).unwrap(), b"letters");

        fs::remove_dir_all(folder.path().join("spool")).unwrap();
        let state = StateDir::lock(folder.path()).unwrap();
        let (left, theirs) = (
            state.spool().join("copy-a1B2c3"),
            state.spool().join("photo.jpg"),
        );
        fs::create_dir(&left).unwrap();
        fs::write(&theirs, "x").unwrap();
        let error = state.sweep(&[]).unwrap_err().to_string();
        assert!(
            error.contains("photo.jpg` was not made by Patina"),
            "{error}"
        );
        assert!(theirs.exists() && left.exists(), "nothing is removed");
    }

    #[test]
    fn a_spool_folder_of_version_0_1_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("spool")).unwrap();
        let job = crate::types::JobId::random();
        let left = folder.path().join(format!("spool/{job}-blog.partial"));
        fs::write(&left, "x").unwrap();
        let state = StateDir::lock(folder.path()).unwrap();
        assert_eq!(state.sweep(&[]).unwrap(), 1);
        assert!(!left.exists());
    }

    #[test]
    fn links_planted_in_the_state_directory_are_not_followed() {
        let (elsewhere, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let theirs = elsewhere.path().join("theirs");
        fs::write(&theirs, "precious").unwrap();
        for (name, target) in [(SPOOL, elsewhere.path()), (LOCK, theirs.as_path())] {
            let planted = folder.path().join(name);
            std::os::unix::fs::symlink(target, &planted).unwrap();
            let error = StateDir::lock(folder.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("/{name}` is a link")), "{error}");
            fs::remove_file(&planted).unwrap();
        }
        fs::hard_link(&theirs, folder.path().join(LOCK)).unwrap();
        let error = StateDir::lock(folder.path()).unwrap_err().to_string();
        assert!(error.contains("has another name elsewhere"), "{error}");
        assert_eq!(fs::read(&theirs).unwrap(), b"precious");
        fs::remove_file(folder.path().join(LOCK)).unwrap();
        let state = StateDir::lock(folder.path()).unwrap();
        let job = crate::types::JobId::random();
        let link = state.spool().join(format!("{job}-blog.partial"));
        std::os::unix::fs::symlink(&theirs, &link).unwrap();
        state.sweep(&[]).unwrap();
        assert!(!link.exists() && theirs.exists());
    }

    #[test]
    fn the_spool_is_private_whatever_was_there_before() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("spool")).unwrap();
        for (path, mode) in [
            (folder.path().to_owned(), 0o777),
            (folder.path().join("spool"), 0o755),
        ] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        let state = StateDir::lock(folder.path()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(folder.path()), mode(&state.spool())), (0o755, 0o700));
        assert_eq!(mode(&folder.path().join(LOCK)), 0o600);
    }
}
