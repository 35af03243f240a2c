//! Remembers the last report of a failed start. Invariant: in places where another user may write, only a regular file
//! of this user is believed or replaced; what cannot be remembered safely is reported again rather than never.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, TimeDelta, Utc};
use rustix::fs::OFlags;
use rustix::process::geteuid;

use crate::types::Sha256;

/// Time after which the same failure is reported again.
const AGAIN: TimeDelta = TimeDelta::hours(24);

/// Upper bound for the file, in bytes; a digest and a time take about a hundred.
const MOST_BYTES: u64 = 4096;

const NAME: &str = "not-started";

/// Possible places of the note.
pub(super) struct Stamp {
    /// The state directory.
    state: PathBuf,
    /// Parents of this user's private folder that replaces a missing state directory, the best one first.
    roots: Vec<PathBuf>,
}

impl Stamp {
    pub(super) fn of(state: &Path) -> Self {
        let given = ["RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"].into_iter();
        let given = given.filter_map(std::env::var_os).map(PathBuf::from);
        let given = given.filter(|path| path.is_absolute() && path.is_dir());
        Self {
            state: state.to_owned(),
            roots: given.chain([std::env::temp_dir()]).collect(),
        }
    }

    /// True if this was not reported within the last day; it is then recorded as reported now.
    pub(super) fn is_new(&self, why: &str, now: DateTime<Utc>) -> bool {
        let Some(path) = self.path() else {
            return true;
        };
        let digest = Sha256::of(why.as_bytes()).to_string();
        let told = read(&path).unwrap_or_default();
        let was_told = told.split_once(' ').is_some_and(|(what, at)| {
            let at = DateTime::parse_from_rfc3339(at.trim());
            what == digest && at.is_ok_and(|at| (now - at.to_utc()).abs() < AGAIN)
        });
        if !was_told {
            let _ = write(&path, &format!("{digest} {}\n", now.to_rfc3339()));
        }
        !was_told
    }

    /// Removes the note. Returns true if there was one.
    pub(super) fn remove(&self) -> bool {
        let stand_ins = self.roots.iter().filter_map(|root| self.stand_in(root));
        let paths = stand_ins.chain([self.state.join(NAME)]);
        let removed = paths.filter(|path| read(path).is_ok() && fs::remove_file(path).is_ok());
        removed.count() > 0
    }

    fn path(&self) -> Option<PathBuf> {
        if self.state.is_dir() {
            return Some(self.state.join(NAME));
        }
        self.roots.iter().find_map(|root| {
            let folder = folder_in(root);
            // If it exists already, its owner decides if it is used.
            let _ = DirBuilder::new().mode(0o700).create(folder);
            self.stand_in(root)
        })
    }

    /// Returns the note's path in a folder that only this user can access.
    fn stand_in(&self, root: &Path) -> Option<PathBuf> {
        let folder = folder_in(root);
        let found = fs::symlink_metadata(&folder).ok()?;
        let is_private =
            found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o077 == 0;
        let digest = Sha256::of(self.state.as_os_str().as_encoded_bytes()).to_string();
        is_private.then(|| folder.join(format!("{NAME}-{}", &digest[..16])))
    }
}

fn folder_in(root: &Path) -> PathBuf {
    root.join(format!("patina-{}", geteuid().as_raw()))
}

/// Reads the text of a note that this user wrote.
fn read(path: &Path) -> io::Result<String> {
    // A pipe in this place is opened without waiting for its other end, and then rejected, as it is not a regular file.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let flags = i32::try_from(flags.bits()).map_err(io::Error::other)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    let found = file.metadata()?;
    let is_own = found.is_file() && found.uid() == geteuid().as_raw() && found.nlink() == 1;
    if !is_own {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = String::new();
    file.take(MOST_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

/// Writes a new file and renames it over whatever exists: a link is replaced, not followed.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension(uuid::Uuid::new_v4().to_string());
    let mut options = OpenOptions::new();
    let mut file: File = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)?;
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        let _ = fs::remove_file(&unfinished);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    const WHY: &str = "the state directory cannot be made";

    fn now() -> DateTime<Utc> {
        "2026-11-30T03:00:00Z".parse().unwrap()
    }

    fn stamp(root: &Path) -> Stamp {
        Stamp {
            state: root.join("nowhere/state"),
            roots: vec![root.to_owned()],
        }
    }

    #[test]
    fn the_same_is_told_once_a_day_and_again_after_it_was_taken_back() {
        let root = tempfile::tempdir().unwrap();
        let stamp = stamp(root.path());
        assert!(stamp.is_new(WHY, now()));
        assert!(!stamp.is_new(WHY, now() + TimeDelta::hours(23)));
        assert!(stamp.is_new("another", now()));
        assert!(stamp.is_new(WHY, now()));
        assert!(stamp.is_new(WHY, now() + TimeDelta::hours(24)));
        // A clock that was set back by days must not suppress a report.
        assert!(stamp.is_new(WHY, now() - TimeDelta::days(9)));
        assert!(stamp.remove());
        assert!(!stamp.remove());
        assert!(stamp.is_new(WHY, now()));
    }

    #[test]
    fn a_link_in_the_place_of_the_note_is_neither_believed_nor_written_through() {
        let root = tempfile::tempdir().unwrap();
        let stamp = stamp(root.path());
        let note = stamp.path().unwrap();
        let digest = Sha256::of(WHY.as_bytes());
        let planted = root.path().join("planted");
        let text = format!("{digest} {}\n", now().to_rfc3339());
        fs::write(&planted, &text).unwrap();
        symlink(&planted, &note).unwrap();
        assert!(stamp.is_new(WHY, now()), "the link was believed");
        assert_eq!(
            fs::read_to_string(&planted).unwrap(),
            text,
            "written through"
        );
        assert!(!fs::symlink_metadata(&note).unwrap().is_symlink());
        // The same holds for a hard link to another file.
        fs::remove_file(&note).unwrap();
        fs::hard_link(&planted, &note).unwrap();
        assert!(stamp.is_new(WHY, now()), "the second name was believed");
    }

    #[test]
    fn a_folder_that_others_may_write_to_or_that_is_a_link_holds_no_note() {
        let root = tempfile::tempdir().unwrap();
        let stamp = stamp(root.path());
        let folder = folder_in(root.path());
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, &folder).unwrap();
        assert!(stamp.is_new(WHY, now()) && stamp.is_new(WHY, now()));
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        assert!(stamp.is_new(WHY, now()) && stamp.is_new(WHY, now()));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
