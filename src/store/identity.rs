//! Recognizes a storage's directory. Invariant: what is written goes into the directory that holds what was written
//! before, never into an empty mount point in its place.
//!
//! A file system that is unmounted leaves an empty directory under the same path. So the first object brings a file along
//! that marks the directory; another directory that appears in its place must have it.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// How the names of these files begin; they are no keys, and no foreign names either.
pub(super) const MARK_PREFIX: &str = ".patina-storage-";

const TEXT: &[u8] = b"By this file patina knows that this directory is its storage, and not an empty mount point.\n";

/// The folders in which objects lie.
const FOLDERS: [&str; 3] = ["daily", "weekly", "manifests"];

const LOST: &str =
    "the directory is not the one it was, and holds nothing of this storage; is its disk mounted?";

/// What is known of a directory.
pub(super) struct Identity {
    mark: String,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Its device and number; `None`: it was not opened yet.
    place: Option<(u64, u64)>,
    /// Whether anything of ours was seen in it.
    is_used: bool,
    /// Whether its mark was seen in it.
    is_marked: bool,
}

impl Identity {
    /// Of the directory of the installation with this mark.
    pub(super) fn new(mark: &str) -> Self {
        Self {
            mark: format!("{MARK_PREFIX}{mark}"),
            known: Mutex::default(),
        }
    }

    /// Whether `root` is the directory it was, or another with our mark, such as the same disk mounted anew.
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

    /// Marks `root` before something is written into it. A mark that cannot be written is no reason to fail: what is to be
    /// written says why.
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
        // Another process of this installation was quicker.
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
