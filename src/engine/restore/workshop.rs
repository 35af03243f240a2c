//! Keeps what is in the making in a private folder beside its place. Invariant: what a killed process left there is
//! removed by the next one, what a living one works on is not.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

const LOCK: &str = "lock";

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
    let Ok(entries) = fs::read_dir(parent) else {
        return;
    };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(prefix);
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            sweep_one(&entry.path());
        }
    }
}

fn sweep_one(folder: &Path) {
    let _ = match File::open(folder.join(LOCK)) {
        Ok(lock) => match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => fs::remove_dir_all(folder),
            Err(_) => Ok(()),
        },
        // One that is empty was never worked in; one that is not stays for a person to look at.
        Err(_) => fs::remove_dir(folder),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_of_a_dead_process_is_removed_and_that_of_a_living_one_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let living = Workshop::open(parent.path(), ".a-").unwrap();
        fs::write(living.path("x"), "x").unwrap();
        let dead = parent.path().join(".a-dead");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join(LOCK), "").unwrap();
        fs::write(dead.join("new.db"), "x").unwrap();
        let other = parent.path().join(".b-dead");
        fs::create_dir(&other).unwrap();
        let next = Workshop::open(parent.path(), ".a-").unwrap();
        assert!(!dead.exists() && living.path("x").exists() && other.exists());
        drop((living, next));
        assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 1);
    }
}
