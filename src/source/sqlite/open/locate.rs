//! Finds the log that belongs to a database file, and decides how to read both. Invariant: if there may be a log that
//! cannot be seen, the database is refused with a hint, never read without it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::holder::Holder;
use super::names::Names;
use super::orphan;
use super::place::{Place, beside};
use super::{Failure, Way, not_readable};
use crate::source::SourceError;
use crate::source::sqlite::{SqliteSource, shown};
use crate::types::counted;

/// Number of attempts: a process that opens or closes a database holds its lock for a moment without a log.
const LOOKS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// State of a database in WAL mode.
enum Situation {
    /// No process has it open, and no log is left.
    Closed,
    /// Name of the database beside which the log is.
    Log(PathBuf),
    /// A process has it open with a log other than the one beside it.
    Elsewhere(Holder),
}

/// Chooses the name by which `place` is opened, and the way to read it.
pub(super) fn locate(
    source: &SqliteSource,
    place: &mut Place,
    names: &Names,
) -> Result<Way, SourceError> {
    if !place.is_wal(source)? {
        return rollback(source, place, names);
    }
    let mut looks = 0;
    loop {
        looks += 1;
        match situation(source, place, names)? {
            Situation::Log(name) => {
                place.file = name;
                let has_shm = exists(source, &beside(&place.file, "-shm"))?;
                return Ok(if has_shm { Way::Log } else { Way::Copy });
            }
            Situation::Closed => return closed(source, place, names),
            Situation::Elsewhere(holder) if looks >= LOOKS => {
                return Err(elsewhere(source, place, &holder));
            }
            Situation::Elsewhere(_) => std::thread::sleep(PAUSE),
        }
    }
}

fn situation(
    source: &SqliteSource,
    place: &Place,
    names: &Names,
) -> Result<Situation, SourceError> {
    let io_error = |error: io::Error| not_readable(source, &error);
    let mut with_log = Vec::new();
    for name in &names.known {
        if exists(source, &beside(name, "-wal"))? {
            with_log.push(name);
        }
    }
    let holder = Holder::of_database(&place.file, place.identity).map_err(io_error)?;
    match (with_log.as_slice(), holder) {
        ([], Some(holder)) => Ok(Situation::Elsewhere(holder)),
        ([], None) => Ok(Situation::Closed),
        ([name], holder) => {
            for suffix in ["-wal", "-shm"] {
                check_readable(source, &beside(name, suffix))?;
            }
            let is_used = Holder::of_log(name, place.identity)
                .map_err(io_error)?
                .is_some();
            match holder {
                Some(holder) if !holder.is_exclusive && !is_used => {
                    Ok(Situation::Elsewhere(holder))
                }
                _ => Ok(Situation::Log((*name).clone())),
            }
        }
        ([first, second, ..], _) => Err(two_logs(source, first, second)),
    }
}

/// Chooses the way to read a database in WAL mode that has no visible log.
fn closed(source: &SqliteSource, place: &Place, names: &Names) -> Result<Way, SourceError> {
    if !names.is_complete {
        return Err(other_name(source, names, "write-ahead log"));
    }
    orphan::refuse(source, place, "-wal")?;
    let journal = journals(source, names)?;
    // `immutable` ignores journals: a file with more than one name, or with a journal, is copied.
    Ok(if names.known.len() == 1 && journal.is_empty() {
        Way::Immutable
    } else {
        Way::Copy
    })
}

fn rollback(source: &SqliteSource, place: &mut Place, names: &Names) -> Result<Way, SourceError> {
    if !names.is_complete {
        return Err(other_name(source, names, "rollback journal"));
    }
    match journals(source, names)?.as_slice() {
        [] => {}
        [name] => {
            check_readable(source, &beside(name, "-journal"))?;
            place.file.clone_from(name);
        }
        [first, second, ..] => return Err(two_logs(source, first, second)),
    }
    Ok(Way::Snapshot)
}

/// Checks, while a read lock is held, that no journal elsewhere contains what the file lost: a writer is alive, or no
/// other name has a journal and no orphaned journal fits.
pub(super) fn check_no_other_journal(
    source: &SqliteSource,
    place: &Place,
    names: &Names,
) -> Result<(), Failure> {
    let writer = Holder::of_reserved(&place.file, place.identity);
    if writer
        .map_err(|error| not_readable(source, &error))?
        .is_some()
    {
        return Ok(()); // It could not change the file yet, and cannot while the lock is held.
    }
    if let Some(name) = journals(source, names)?
        .iter()
        .find(|&name| *name != place.file)
    {
        return Err(Failure::JournalElsewhere(name.clone()));
    }
    Ok(orphan::refuse(source, place, "-journal")?)
}

/// Returns the names beside which a journal exists that may have to be rolled back: SQLite overwrites the first byte of
/// a completed one, or empties it.
fn journals(source: &SqliteSource, names: &Names) -> Result<Vec<PathBuf>, SourceError> {
    let mut found = Vec::new();
    for name in &names.known {
        let journal = beside(name, "-journal");
        let mut first = [0];
        match File::open(&journal).and_then(|file| file.take(1).read(&mut first)) {
            Ok(_) if first == [0] => {}
            Ok(_) => found.push(name.clone()),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(log_not_readable(source, &journal, &error)),
        }
    }
    Ok(found)
}

fn exists(source: &SqliteSource, path: &Path) -> Result<bool, SourceError> {
    let found = path.try_exists();
    found.map_err(|error| log_not_readable(source, path, &error))
}

/// Checks that a log can be read if it exists. It is not opened for that: closing it would drop SQLite's locks on it.
pub(super) fn check_readable(source: &SqliteSource, log: &Path) -> Result<(), SourceError> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};
    match accessat(CWD, log, Access::READ_OK, AtFlags::EACCESS).map_err(io::Error::from) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| log_not_readable(source, log, &error)),
    }
}

/// Builds the error that names the log and its owner.
pub(super) fn log_not_readable(
    source: &SqliteSource,
    log: &Path,
    error: &io::Error,
) -> SourceError {
    use std::os::unix::fs::MetadataExt;
    let user = rustix::process::geteuid().as_raw();
    let owner = fs::metadata(log).map_or_else(
        |_| String::new(),
        |log| {
            let (uid, gid, mode) = (log.uid(), log.gid(), log.mode() & 0o777);
            format!("it belongs to user {uid} and group {gid} with mode {mode:03o}; ")
        },
    );
    SourceError::Unavailable {
        what: source.what(),
        why: format!(
            "its log {} cannot be read: {error}\nhint: {owner}Patina runs as user {user}: let it read the database, \
             `-wal`, `-shm` and `-journal` by a common group, or run it as the user that writes them; SQLite gives \
             new logs the mode of the database",
            shown(log)
        ),
        retryable: error.kind() != ErrorKind::PermissionDenied,
    }
}

fn other_name(source: &SqliteSource, names: &Names, log: &str) -> SourceError {
    let (why, hint) = if names.is_mount {
        (
            format!("it is mounted as a single file, so a {log} beside the original could not be seen"),
            "mount the folder that holds the database, not the file, and configure its path in that folder".to_owned(),
        )
    } else {
        (
            format!(
                "it has {} (hard links), of which {} could be found; a {log} beside another one would be missed",
                counted(names.links, "name"),
                names.known.len()
            ),
            format!(
                "`find MOUNT-POINT -xdev -samefile {}` lists them; keep the one that its program opens, and configure \
                 that; a copy is made with `cp`, never with `ln`",
                source.path.display()
            ),
        )
    };
    refusal(source, why, hint)
}

fn elsewhere(source: &SqliteSource, place: &Place, holder: &Holder) -> SourceError {
    let logs = holder.logs();
    let open = if logs.is_empty() {
        String::new()
    } else {
        format!(" (it has {} open)", logs.join(", "))
    };
    refusal(
        source,
        format!(
            "{holder} has it open, but not with the log {}{open}: the database was renamed or replaced while it was \
             open, or is open by another name",
            shown(&beside(&place.file, "-wal"))
        ),
        "restart that program, so that it opens the database by its present name, or configure the name that it uses; \
         for a program in a container, share the folder with it, not the file"
            .to_owned(),
    )
}

fn two_logs(source: &SqliteSource, first: &Path, second: &Path) -> SourceError {
    refusal(
        source,
        format!(
            "it has the names {} and {}, and each has a log of its own; SQLite cannot join them",
            shown(first),
            shown(second)
        ),
        "stop the programs that use it, keep a copy of all these files, open the database once by each name with \
         `sqlite3`, check it with `PRAGMA integrity_check`, and keep one name"
            .to_owned(),
    )
}

pub(super) fn refusal(source: &SqliteSource, why: String, hint: String) -> SourceError {
    SourceError::UnknownLog {
        what: source.what(),
        why,
        hint,
    }
}
