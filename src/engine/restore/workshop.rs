//! Keeps what is in the making in a private folder beside its place. Invariant: what a killed process left there is
//! removed by the next one, what a living one works on is not.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags, flock};
use tempfile::TempDir;

const LOCK: &str = "lock";

/// So many random characters end the name of a folder.
const RANDOM_LENGTH: usize = 6;

/// A private folder; removed with everything in it when dropped.
#[derive(Debug)]
pub struct Workshop {
    folder: TempDir,
    _lock: File,
}

impl Workshop {
    /// A new folder in `parent` whose name begins with `prefix`. Those of dead processes are removed.
    ///
    /// # Errors
    /// Where `parent` is not there or cannot be written.
    pub fn open(parent: &Path, prefix: &str) -> io::Result<Self> {
        sweep(parent, prefix);
        let folder = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(parent)?;
        let lock = File::create_new(folder.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self {
            folder,
            _lock: lock,
        })
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Removes folders whose maker is gone. Best effort: whoever cannot remove one does not need to.
fn sweep(parent: &Path, prefix: &str) {
    let user = rustix::process::geteuid().as_raw();
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(prefix));
        let is_named_so = random.is_some_and(|random| {
            random.len() == RANDOM_LENGTH && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let is_ours = |facts: &fs::Metadata| facts.is_dir() && facts.uid() == user;
        if is_named_so && entry.metadata().is_ok_and(|facts| is_ours(&facts)) {
            sweep_one(&entry.path());
        }
    }
}

fn sweep_one(folder: &Path) {
    let _ = match open_lock(&folder.join(LOCK)) {
        Ok(lock) => match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => fs::remove_dir_all(folder),
            Err(_) => Ok(()),
        },
        // One that is empty was never worked in; one that is not stays for a person to look at.
        Err(_) => fs::remove_dir(folder),
    };
}

/// The lock of a folder that we made: an empty file of this user's. A pipe is not waited for, a link not followed.
fn open_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).unwrap_or_default();
    let lock = File::options().read(true).custom_flags(flags).open(path)?;
    let facts = lock.metadata()?;
    let user = rustix::process::geteuid().as_raw();
    match facts.is_file() && facts.len() == 0 && facts.uid() == user {
        true => Ok(lock),
        false => Err(io::Error::other("it is not one that we made")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Workshop::open(parent.path(), ".a-").unwrap();
        fs::write(living.path("x"), "x").unwrap();
        let dead = parent.path().join(".a-dead00");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("new.db"), "x").unwrap();
        let other = parent.path().join(".b-dead00");
        fs::create_dir(&other).unwrap();
        // Somebody else's, in spite of its name.
        let theirs = [".a-notes", ".a-notes0"].map(|name| parent.path().join(name));
        for theirs in &theirs {
            fs::create_dir(theirs).unwrap();
            fs::write(theirs.join(LOCK), "theirs").unwrap();
        }
        let next = Workshop::open(parent.path(), ".a-").unwrap();
        assert!(!dead.exists() && living.path("x").exists() && other.exists());
        assert!(theirs.iter().all(|theirs| theirs.exists()));
        drop((living, next));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 3);
    }
}
