//! Finds the other names of a database file: hard links and single-file mounts. Invariant: the result is not declared
//! complete if a name may be missing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::place::{Identity, Place};

/// Number of entries of a folder that are searched.
const MOST_ENTRIES: usize = 100_000;

/// All names of a file that could be found.
#[derive(Debug)]
pub(super) struct Names {
    /// The names, including the path that is opened.
    pub(super) known: BTreeSet<PathBuf>,
    /// Number of hard links of the file.
    pub(super) links: u64,
    /// True if the file is itself a mount point.
    pub(super) is_mount: bool,
    /// True if every name is known.
    pub(super) is_complete: bool,
}

impl Names {
    /// Searches the folder of the file, that of `configured`, and those that mounts lead to.
    pub(super) fn find(place: &Place, configured: &Path) -> Self {
        let mounts = Mounts::read();
        let links = fs::metadata(&place.file).map_or(1, |metadata| metadata.nlink());
        let is_mount = is_mount_point(&place.file, &mounts);
        let mut known = BTreeSet::from([place.file.clone()]);
        known.extend(mounts.names(place));
        if links > 1 || is_mount {
            let folders: BTreeSet<PathBuf> = known
                .iter()
                .map(PathBuf::as_path)
                .chain([configured])
                .filter_map(|name| fs::canonicalize(name.parent()?).ok())
                .collect();
            for folder in folders {
                known.extend(names_in(&folder, place.identity));
            }
        }
        // A mount point covers the name below it, so it is not one of the hard links.
        let found = known
            .iter()
            .filter(|name| !is_mount_point(name, &mounts))
            .count();
        Self {
            is_complete: u64::try_from(found).is_ok_and(|found| found >= links),
            known,
            links,
            is_mount,
        }
    }
}

fn names_in(folder: &Path, identity: Identity) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .take(MOST_ENTRIES);
    let paths = entries.flatten().map(|entry| entry.path());
    paths
        .filter(|path| {
            let metadata = fs::symlink_metadata(path);
            metadata
                .is_ok_and(|metadata| metadata.is_file() && Identity::from(&metadata) == identity)
        })
        .collect()
}

/// True if something is mounted at this very file.
fn is_mount_point(file: &Path, mounts: &Mounts) -> bool {
    root_of_mount(file).unwrap_or_else(|| mounts.0.iter().any(|mount| mount.at == file))
}

/// Returns the kernel's answer; `None` if it gives none (before Linux 5.8).
#[cfg(target_os = "linux")]
fn root_of_mount(file: &Path) -> Option<bool> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let status = statx(CWD, file, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()).ok()?;
    let knows = status
        .stx_attributes_mask
        .contains(StatxAttributes::MOUNT_ROOT);
    knows.then(|| status.stx_attributes.contains(StatxAttributes::MOUNT_ROOT))
}

#[cfg(not(target_os = "linux"))]
fn root_of_mount(_file: &Path) -> Option<bool> {
    Some(false)
}

/// The mounts that this process sees; empty if they cannot be read.
struct Mounts(Vec<Mount>);

struct Mount {
    device: Vec<u8>,
    /// Path of the mounted part inside its file system.
    root: PathBuf,
    at: PathBuf,
}

impl Mounts {
    fn read() -> Self {
        let text = fs::read("/proc/self/mountinfo").unwrap_or_default();
        Self(
            text.split(|&byte| byte == b'\n')
                .filter_map(Mount::parse)
                .collect(),
        )
    }

    /// Returns other names of the file, through the mounts of its file system.
    fn names(&self, place: &Place) -> Vec<PathBuf> {
        let above = self
            .0
            .iter()
            .filter(|mount| place.file.starts_with(&mount.at));
        // Of several mounts at one place, the last lies above the others.
        let Some(own) = above.max_by_key(|mount| mount.at.as_os_str().len()) else {
            return Vec::new();
        };
        let is_mount = own.at == place.file;
        let Some(inside) = place
            .file
            .strip_prefix(&own.at)
            .ok()
            .map(|rest| join(&own.root, rest))
        else {
            return Vec::new();
        };
        let same_device = self.0.iter().filter(|mount| mount.device == own.device);
        let candidates = same_device.filter_map(|mount| {
            let rest = inside.strip_prefix(&mount.root).ok()?;
            // A folder that is mounted twice has the same logs in both places; a file that is mounted alone has not.
            let is_file = rest.as_os_str().is_empty();
            (is_file || is_mount).then(|| join(&mount.at, rest))
        });
        candidates
            .filter(|name| *name != place.file)
            .filter(|name| {
                fs::metadata(name).is_ok_and(|metadata| Identity::from(&metadata) == place.identity)
            })
            .collect()
    }
}

impl Mount {
    /// Parses one line of `/proc/self/mountinfo` (`man 5 proc_pid_mountinfo`).
    fn parse(line: &[u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ').skip(2);
        Some(Self {
            device: fields.next()?.to_owned(),
            root: unescape(fields.next()?),
            at: unescape(fields.next()?),
        })
    }
}

/// Decodes blanks and backslashes, which are written as `\040` and the like.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = after.get(..3).filter(|_| byte == b'\\');
        let code =
            octal.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { &after[3..] } else { after };
    }
    OsString::from_vec(bytes).into()
}

/// Like [`Path::join`], without a `/` at the end if `rest` is empty.
fn join(path: &Path, rest: &Path) -> PathBuf {
    if rest.as_os_str().as_bytes().is_empty() {
        path.to_owned()
    } else {
        path.join(rest)
    }
}
