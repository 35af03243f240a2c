//! Opens what lies in the state directory. Invariant: no link is followed there, and nothing is used that another user
//! made.

use std::fs::{DirBuilder, File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

/// For whom it may be read and written.
const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Who may write into a folder beside its owner.
const WRITABLE_BY_OTHERS: u32 = 0o022;

/// The state directory, and whose it is.
#[derive(Debug)]
pub(super) struct Private {
    folder: File,
    owner: u32,
}

/// Why something in it is not used.
pub(super) type Untrusted = String;

impl Private {
    /// Opens the directory, and makes it where absent.
    pub(super) fn open(path: &Path) -> io::Result<Result<Self, Untrusted>> {
        DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        // A link to the directory itself is the operator's: `/var/lib/patina` may be one.
        let folder = File::open(path)?;
        let facts = folder.metadata()?;
        if !facts.is_dir() {
            return Err(Errno::NOTDIR.into());
        }
        let (owner, user) = (facts.uid(), own_id());
        if owner != user && owner != 0 && user != 0 {
            return Ok(Err(format!(
                "belongs to the user with the id {owner}, and this process has the id {user}"
            )));
        }
        if owner == user && facts.mode() & WRITABLE_BY_OTHERS != 0 {
            let mode = Mode::from_raw_mode(facts.mode() & 0o7777 & !WRITABLE_BY_OTHERS);
            rustix::fs::fchmod(&folder, mode)?;
        }
        Ok(Ok(Self { folder, owner }))
    }

    /// The folder `name` in it, private; made where absent, which is told.
    pub(super) fn folder(&self, name: &str) -> io::Result<Result<(File, IsNew), Untrusted>> {
        let is_new = match rustix::fs::mkdirat(&self.folder, name, Mode::RWXU) {
            Ok(()) => IsNew::Yes,
            Err(Errno::EXIST) => IsNew::No,
            Err(errno) => return Err(errno.into()),
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let folder = match rustix::fs::openat(&self.folder, name, flags, Mode::empty()) {
            Ok(folder) => File::from(folder),
            Err(Errno::LOOP | Errno::NOTDIR) => {
                return Ok(Err("is a link, or no folder".to_owned()));
            }
            Err(errno) => return Err(errno.into()),
        };
        let facts = folder.metadata()?;
        if let Err(untrusted) = self.check_owner(&facts) {
            return Ok(Err(untrusted));
        }
        if facts.mode() & 0o7777 != 0o700 {
            rustix::fs::fchmod(&folder, Mode::RWXU)?;
        }
        Ok(Ok((folder, is_new)))
    }

    /// The file `name` in it for reading and writing, made where absent.
    pub(super) fn file(&self, name: &str) -> io::Result<Result<File, Untrusted>> {
        let flags = OFlags::RDWR | OFlags::CREATE;
        let file = match open_at(&self.folder, name, flags) {
            Ok(file) => file,
            Err(Errno::LOOP) => return Ok(Err("is a link".to_owned())),
            Err(Errno::NXIO | Errno::ISDIR) => return Ok(Err("is no file".to_owned())),
            Err(errno) => return Err(errno.into()),
        };
        let facts = file.metadata()?;
        Ok(match self.check_owner(&facts) {
            Err(untrusted) => Err(untrusted),
            Ok(()) if !facts.is_file() => Err("is no file".to_owned()),
            Ok(()) if facts.nlink() > 1 => Err("has another name elsewhere".to_owned()),
            Ok(()) => Ok(file),
        })
    }

    /// Whether this user made it; root may also work in a directory of another user's, for whom that one made it.
    pub(super) fn check_owner(&self, facts: &Metadata) -> Result<(), Untrusted> {
        let (owner, user) = (facts.uid(), own_id());
        if owner == user || (user == 0 && owner == self.owner) {
            return Ok(());
        }
        Err(format!("belongs to the user with the id {owner}"))
    }
}

/// Whether something was made just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IsNew {
    /// It was.
    Yes,
    /// It was there.
    No,
}

/// Opens `name` without following a link, and without waiting where it is a pipe.
pub(super) fn open_at(folder: &File, name: &str, flags: OFlags) -> Result<File, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file: OwnedFd = rustix::fs::openat(folder, name, flags, OWNER_ONLY)?;
    Ok(file.into())
}

fn own_id() -> u32 {
    rustix::process::geteuid().as_raw()
}
