//! Writes, reads and removes files below one folder, blocking. Invariant: no name is followed out of the folder, and a
//! file appears under its name only when it is complete and on disk.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::{AtFlags, Dir, FileType, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

use super::identity::{Identity, MARK_PREFIX};
use super::{Digest, ObjectStat};
use crate::types::Hasher;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
const CHUNK_BYTES: usize = 1024 * 1024;
const TEMP_PREFIX: &str = ".tmp-";

/// A folder, and the mark in the names of our temporary files in it.
pub(super) struct Tree {
    root: PathBuf,
    temp_prefix: String,
    identity: Identity,
}

/// Content of a new file.
pub(super) enum Content {
    Spool { path: PathBuf, expected: Digest },
    Bytes(Vec<u8>),
}

/// Reason that a file was not created. After `Unsure` it is visible, but may not survive a power loss.
pub(super) enum Refusal {
    Taken,
    Mismatch { expected: Digest, found: Digest },
    Spool { path: PathBuf, cause: io::Error },
    Failed(io::Error),
    Unsure(io::Error),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Failed(errno.into())
    }
}

impl From<io::Error> for Refusal {
    fn from(cause: io::Error) -> Self {
        Self::Failed(cause)
    }
}

impl Tree {
    /// Opens the tree below `root`, which is created if missing. `mark` is part of temporary names.
    pub(super) fn open(root: &Path, mark: &str) -> io::Result<Self> {
        let root = std::path::absolute(root)?;
        create_folders(&root)?;
        let temp_prefix = format!("{TEMP_PREFIX}{mark}-");
        let tree = Self {
            root,
            temp_prefix,
            identity: Identity::new(mark),
        };
        tree.root_folder()?;
        Ok(tree)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Marks the folder as the one that holds our objects.
    pub(super) fn mark(&self) -> io::Result<()> {
        self.identity.mark(&self.root_folder()?)
    }

    /// Creates the file `path` (names joined by `/`) completely, or not at all.
    pub(super) fn create(&self, path: &str, content: Content) -> Result<(), Refusal> {
        let (folders, name) = self.descend(path, true)?;
        let folder = folders.last().expect("the root is always there");
        if stat_in(folder, name)?.is_some() {
            // Its creator may have died before its folder was on disk.
            sync_folders(&folders).map_err(Refusal::Unsure)?;
            return Err(Refusal::Taken);
        }
        let mut temp = self.temp_in(folder)?;
        content.write_to(&mut temp.file)?;
        temp.file.sync_all()?;
        match temp.publish(name) {
            Ok(()) => drop(temp),
            Err(Errno::EXIST) => {
                drop(temp);
                sync_folders(&folders).map_err(Refusal::Unsure)?;
                return Err(Refusal::Taken);
            }
            Err(errno) => return Err(errno.into()),
        }
        sync_folders(&folders).map_err(Refusal::Unsure)
    }

    /// Opens a file for reading and returns its metadata, too; `None` if it is absent.
    pub(super) fn read(&self, path: &str) -> io::Result<Option<(File, ObjectStat)>> {
        let Some((folder, name)) = absent_is_none(self.parent(path))? else {
            return Ok(None);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let opened = rustix::fs::openat(&folder, name, flags, Mode::empty());
        let Some(file) = absent_is_none(opened.map_err(Into::into))? else {
            return Ok(None);
        };
        let stat = object_stat(&rustix::fs::fstat(&file)?)?;
        Ok(Some((file.into(), stat)))
    }

    /// Returns a file's metadata; `None` if it is absent.
    pub(super) fn stat(&self, path: &str) -> io::Result<Option<ObjectStat>> {
        let Some((folder, name)) = absent_is_none(self.parent(path))? else {
            return Ok(None);
        };
        let found = stat_in(&folder, name)?;
        found.as_ref().map(object_stat).transpose()
    }

    /// Removes a file, and the last folder of its path if it is empty then.
    pub(super) fn remove(&self, path: &str) -> io::Result<()> {
        let Some((mut folders, name)) = absent_is_none(self.descend(path, false))? else {
            return Ok(());
        };
        let folder = folders.pop().expect("the root is always there");
        match rustix::fs::unlinkat(&folder, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => sync_folder(&folder)?,
            Err(errno) => return Err(errno.into()),
        }
        let emptied = path.rsplit('/').nth(1).zip(folders.last());
        if let Some((name, above)) = emptied
            && rustix::fs::unlinkat(above, name, AtFlags::REMOVEDIR).is_ok()
        {
            sync_folder(above)?;
        }
        Ok(())
    }

    /// Removes the empty ones among these folders.
    pub(super) fn remove_empty(&self, folders: &[&str]) -> io::Result<()> {
        let root = self.root_folder()?;
        for folder in folders {
            // Not empty, or absent: left unchanged.
            let _ = rustix::fs::unlinkat(&root, *folder, AtFlags::REMOVEDIR);
        }
        Ok(())
    }

    /// Calls `visit` with the path and stat of every entry below the root that is not a temporary file. Folders are
    /// entered if `enter` returns true, and visited otherwise.
    pub(super) fn walk(
        &self,
        enter: &dyn Fn(&str) -> bool,
        visit: &mut dyn FnMut(&str, &Stat),
    ) -> io::Result<()> {
        walk_in(&self.root_folder()?, "", enter, &mut |_, path, stat| {
            if !file_name(path).starts_with(TEMP_PREFIX) && !path.starts_with(MARK_PREFIX) {
                visit(path, stat);
            }
            Ok(())
        })
    }

    /// Removes our own temporary files that no live process is writing, and returns their number.
    pub(super) fn sweep(&self, enter: &dyn Fn(&str) -> bool) -> io::Result<u64> {
        let mut swept = 0;
        walk_in(
            &self.root_folder()?,
            "",
            enter,
            &mut |folder, path, stat| {
                let name = file_name(path);
                let ours = name.starts_with(&self.temp_prefix)
                    && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
                if ours && is_abandoned(folder, name) {
                    rustix::fs::unlinkat(folder, name, AtFlags::empty())?;
                    swept += 1;
                }
                Ok(())
            },
        )?;
        Ok(swept)
    }

    fn root_folder(&self) -> io::Result<OwnedFd> {
        // The root itself may be a link: the user decides where the store is.
        let flags = FOLDER.difference(OFlags::NOFOLLOW);
        let folder = match rustix::fs::open(&self.root, flags, Mode::empty()) {
            // Not `NotFound`: that would mean that an object is absent, which is unknown.
            Err(Errno::NOENT) => {
                return Err(io::Error::other("the directory is gone; is it mounted?"));
            }
            result => result?,
        };
        self.identity.check(&folder)?;
        Ok(folder)
    }

    /// Opens the folders from the root to the one that holds `path`, and returns the last name, too.
    fn descend<'a>(&self, path: &'a str, create: bool) -> io::Result<(Vec<OwnedFd>, &'a str)> {
        let mut folders = vec![self.root_folder()?];
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for parent in parents.split('/').filter(|parent| !parent.is_empty()) {
            let above = folders.last().expect("the root is always there");
            let mut opened = rustix::fs::openat(above, parent, FOLDER, Mode::empty());
            if create && matches!(opened, Err(Errno::NOENT)) {
                match rustix::fs::mkdirat(above, parent, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno.into()),
                }
                opened = rustix::fs::openat(above, parent, FOLDER, Mode::empty());
            }
            folders.push(opened?);
        }
        Ok((folders, name))
    }

    fn parent<'a>(&self, path: &'a str) -> io::Result<(OwnedFd, &'a str)> {
        let (mut folders, name) = self.descend(path, false)?;
        Ok((folders.pop().expect("the root is always there"), name))
    }

    fn temp_in<'a>(&self, folder: &'a OwnedFd) -> io::Result<Temp<'a>> {
        let name = format!("{}{}", self.temp_prefix, uuid::Uuid::new_v4().simple());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let file = rustix::fs::openat(folder, &name, flags, Mode::RUSR | Mode::WUSR)?;
        // Shows a sweep that the file is being written; if locks do not work, the sweep gets no lock either and leaves
        // the file.
        let _ = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive);
        let file = file.into();
        Ok(Temp { folder, name, file })
    }
}

/// A file that is not visible yet; dropping it removes it.
struct Temp<'a> {
    folder: &'a OwnedFd,
    name: String,
    file: File,
}

impl Temp<'_> {
    /// Gives the file its name unless that is taken.
    fn publish(&self, name: &str) -> Result<(), Errno> {
        let (folder, flags) = (self.folder, RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(folder, &self.name, folder, name, flags) {
            // The filesystem does not support this rename: a hard link does not replace a file either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                rustix::fs::linkat(folder, &self.name, folder, name, AtFlags::empty())
            }
            result => result,
        }
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        // After a rename the name is gone; otherwise this cleans up, with `sweep` as the fallback.
        let _ = rustix::fs::unlinkat(self.folder, &self.name, AtFlags::empty());
    }
}

impl Content {
    /// Writes the bytes, and compares a spool file with its expected digest.
    fn write_to(self, target: &mut File) -> Result<(), Refusal> {
        let (path, expected) = match self {
            Self::Bytes(bytes) => return Ok(target.write_all(&bytes)?),
            Self::Spool { path, expected } => (path, expected),
        };
        let unreadable = |cause| Refusal::Spool {
            path: path.clone(),
            cause,
        };
        let mut source = File::open(&path).map_err(unreadable)?;
        let mut hasher = Hasher::default();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match source.read(&mut chunk) {
                Ok(0) => break,
                Ok(length) => {
                    hasher.update(&chunk[..length]);
                    target.write_all(&chunk[..length])?;
                }
                Err(cause) if cause.kind() == io::ErrorKind::Interrupted => {}
                Err(cause) => return Err(unreadable(cause)),
            }
        }
        let found = Digest {
            size_bytes: hasher.seen_bytes(),
            sha256: hasher.finish(),
        };
        if found != expected {
            return Err(Refusal::Mismatch { expected, found });
        }
        Ok(())
    }
}

fn walk_in(
    folder: &OwnedFd,
    prefix: &str,
    enter: &dyn Fn(&str) -> bool,
    visit: &mut dyn FnMut(&OwnedFd, &str, &Stat) -> io::Result<()>,
) -> io::Result<()> {
    let mut entries = Dir::read_from(folder)?;
    while let Some(entry) = entries.read() {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let name = entry.file_name().to_string_lossy();
        let Some(stat) = stat_in(folder, entry.file_name())? else {
            continue;
        };
        let path = format!("{prefix}{name}");
        let is_folder = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if !is_folder || !enter(&path) {
            visit(folder, &path, &stat)?;
            continue;
        }
        match rustix::fs::openat(folder, entry.file_name(), FOLDER, Mode::empty()) {
            Ok(inner) => walk_in(&inner, &format!("{path}/"), enter, visit)?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

pub(super) fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// True if no process holds the writer's lock.
fn is_abandoned(folder: &OwnedFd, name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::openat(folder, name, flags, Mode::empty())
        .and_then(|file| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))
        .is_ok()
}

fn stat_in(folder: &OwnedFd, name: impl rustix::path::Arg) -> io::Result<Option<Stat>> {
    match rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Converts the `stat` of a regular file; an error for anything else.
pub(super) fn object_stat(stat: &Stat) -> io::Result<ObjectStat> {
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::other("it is not a regular file"));
    }
    let modified = DateTime::from_timestamp(stat.st_mtime, stat.st_mtime_nsec as u32);
    Ok(ObjectStat {
        size_bytes: u64::try_from(stat.st_size).unwrap_or(0),
        modified: modified.unwrap_or(DateTime::<Utc>::UNIX_EPOCH),
    })
}

fn absent_is_none<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Syncs the folders to disk, innermost first.
fn sync_folders(folders: &[OwnedFd]) -> io::Result<()> {
    folders.iter().rev().try_for_each(sync_folder)
}

fn sync_folder(folder: &OwnedFd) -> io::Result<()> {
    match rustix::fs::fsync(folder) {
        // Some network filesystems cannot sync a folder and do not need to.
        Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Creates a folder and its parents, each synced to disk before the next.
fn create_folders(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let Some(above) = path.parent() else {
        return Ok(());
    };
    create_folders(above)?;
    match rustix::fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    sync_folder(&File::open(above)?.into())
}
