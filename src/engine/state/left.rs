//! Knows what Patina leaves in its spool folder. Invariant: only that is ever removed; where anything else lies there,
//! nothing is.

use std::fs::{self, DirEntry, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::private::{IsNew, Private, Untrusted, open_at};
use crate::types::JobId;

/// This file marks the folder as Patina's own.
pub(super) const MARKER: &str = ".patina-spool";

const MARKER_TEXT: &[u8] =
    b"Patina made this folder for files in the making, and removes them at each start.\n";

/// What a file system itself keeps at its root.
const OF_THE_DISK: &str = "lost+found";

/// How files in the making end, and what SQLite adds to that.
const SUFFIXES: [&str; 3] = [".partial", ".ready", ".scratch"];
const LOGS: [&str; 4] = ["", "-journal", "-wal", "-shm"];

/// How folders in the making begin; six characters follow.
const FOLDERS: [&str; 3] = ["copy-", "image-", "export-"];

/// How a file without a name begins where the file system wants one for it.
const UNNAMED: &str = ".tmp";

/// The characters of a random name.
const RANDOM_LENGTH: usize = 6;

/// The length of a job's id.
const ID_LENGTH: usize = 36;

/// What was found there that Patina did not make, and why that is thought.
pub(super) type Foreign = (PathBuf, Untrusted);

/// Marks the folder. One from before there were marks may hold what Patina made, and nothing else.
pub(super) fn mark(
    private: &Private,
    (folder, is_new): &(File, IsNew),
    path: &Path,
) -> io::Result<Result<(), Foreign>> {
    let is_marked = path.join(MARKER).symlink_metadata().is_ok();
    if *is_new == IsNew::No
        && !is_marked
        && let Err(foreign) = look(private, folder, path)?
    {
        return Ok(Err(foreign));
    }
    match open_at(
        folder,
        MARKER,
        OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL,
    ) {
        Ok(mut file) => file.write_all(MARKER_TEXT)?,
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(Ok(()))
}

/// Everything that Patina left in the folder.
pub(super) fn look(
    private: &Private,
    folder: &File,
    path: &Path,
) -> io::Result<Result<Vec<DirEntry>, Foreign>> {
    let device = folder.metadata()?.dev();
    let mut left = Vec::new();
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        let (name, facts) = (entry.file_name(), entry.metadata()?);
        if name == MARKER || (name == OF_THE_DISK && facts.is_dir()) {
            continue;
        }
        let is_of_ours = name
            .to_str()
            .is_some_and(|name| is_our_name(name, facts.is_dir()));
        let why = match private.check_owner(&facts) {
            Err(why) => Some(why),
            Ok(()) if facts.dev() != device => Some("is another disk".to_owned()),
            Ok(()) if !is_of_ours => Some("was not made by Patina".to_owned()),
            Ok(()) => None,
        };
        match why {
            Some(why) => return Ok(Err((entry.path(), why))),
            None => left.push(entry),
        }
    }
    Ok(Ok(left))
}

fn is_our_name(name: &str, is_folder: bool) -> bool {
    let is_random = |rest: &str| {
        rest.len() == RANDOM_LENGTH && rest.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if is_folder {
        let mut prefixes = FOLDERS.iter();
        return prefixes.any(|prefix| name.strip_prefix(prefix).is_some_and(is_random));
    }
    if name.strip_prefix(UNNAMED).is_some_and(is_random) {
        return true;
    }
    let Some((id, rest)) = name.split_at_checked(ID_LENGTH) else {
        return false;
    };
    let ends_as_ours = |log: &str| {
        let stem = rest.strip_suffix(log);
        stem.is_some_and(|stem| SUFFIXES.iter().any(|suffix| stem.ends_with(suffix)))
    };
    id.parse::<JobId>().is_ok() && rest.starts_with('-') && LOGS.iter().any(|log| ends_as_ours(log))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_patina_gives_are_its_own() {
        let id = "0b6f8a52-3c1f-4f6e-9d8a-2f1d5c7b9e10";
        for rest in [
            "blog.partial",
            "blog.ready",
            "2026-W47.ready",
            "a.scratch-wal",
        ] {
            assert!(is_our_name(&format!("{id}-{rest}"), false), "{rest}");
        }
        assert!(is_our_name("copy-aB3dE6", true) && is_our_name(".tmpaB3dE6", false));
        for name in ["holiday.ready", "photos", "copy-1", ".tmp", ".partial", "é"] {
            assert!(
                !is_our_name(name, false) && !is_our_name(name, true),
                "{name}"
            );
        }
        assert!(!is_our_name(&format!("{id}-blog.ready"), true));
        assert!(!is_our_name(&format!("{id}-notes.txt"), false));
    }
}
