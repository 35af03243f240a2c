//! Recognizes the directory of a storage. Invariant: objects are written into the directory that holds the earlier
//! ones, never into an empty mount point in its place.
//!
//! Unmounting a file system leaves an empty directory under the same path. The first object is therefore accompanied by
//! a file that marks the directory. Another directory that appears in its place must contain that file or, if no mark
//! was seen before, the folders of a storage.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Prefix of the names of these files; they count neither as keys nor as foreign names.
pub(super) const MARK_PREFIX: &str = ".patina-storage-";

const TEXT: &[u8] = b"By this file patina knows that this directory is its storage, and not an empty mount point.\n";

/// Folders of the objects.
const FOLDERS: [&str; 3] = ["daily", "weekly", "manifests"];

const LOST: &str =
    "the directory is not the one it was, and holds nothing of this storage; is its disk mounted?";

/// Known facts about a directory.
pub(super) struct Identity {
    mark: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Device and inode number; `None` before it was first opened.
    place: Option<(u64, u64)>,
    /// True if anything of ours was seen in it.
    is_used: bool,
    /// True if its mark was seen in it.
    is_marked: bool,
}

impl Identity {
    /// Creates the state for the directory of the installation with this mark.
    pub(super) fn new(mark: &str) -> Self {
        Self {
            mark: format!("{MARK_PREFIX}{mark}"),
            known: Mutex::default(),
        }
    }

    /// Checks that `root` is the same directory, or another one with our mark, such as the same disk mounted again.
    pub(super) fn check(&self, root: &OwnedFd) -> io::Result<()> {
        let stat = rustix::fs::fstat(root)?;
        let place = (stat.st_dev, stat.st_ino);
        let mut known = self.known();
        if known.place == Some(place) {
            return Ok(());
        }
        let is_marked = is_there(root, &self.mark)?;
        let is_used = is_marked || holds_folders(root)?;
        let is_the_one = match (known.is_marked, known.is_used) {
            (true, _) => is_marked,
            (false, true) => is_used,
            (false, false) => true,
        };
        if !is_the_one {
            return Err(io::Error::other(LOST));
        }
        known.place = Some(place);
        known.is_marked |= is_marked;
        known.is_used |= is_used;
        Ok(())
    }

    /// Marks `root` before an object is written into it. A mark that cannot be written is not an error: writing the
    /// object reports the reason.
    pub(super) fn mark(&self, root: &OwnedFd) -> io::Result<()> {
        let mut known = self.known();
        let is_there = is_there(root, &self.mark)?;
        if !is_there && known.is_marked && !holds_folders(root)? {
            return Err(io::Error::other(LOST));
        }
        known.is_marked = is_there || write(root, &self.mark).is_ok();
        known.is_used = true;
        Ok(())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn holds_folders(root: &OwnedFd) -> io::Result<bool> {
    for folder in FOLDERS {
        if is_there(root, folder)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_there(root: &OwnedFd, name: &str) -> io::Result<bool> {
    match rustix::fs::statat(root, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

fn write(root: &OwnedFd, name: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::openat(root, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => {
            let mut file = File::from(file);
            file.write_all(TEXT)?;
            file.sync_all()
        }
        // Another process of this installation wrote it first.
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
