//! Finds logs whose database is gone and that may belong to another one: a database that was renamed while its log held
//! changes. Invariant: a log is ignored only if it is shown to be another database's, or to contain nothing.
//!
//! SQLite leaves such a log even if the application ends in good order: it does not move a log into a file that lost
//! its name.
//!
//! Limits: a database that was moved to another folder has no mark of its log, and a folder that may not be listed
//! shows none.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};

use super::locate::refusal;
use super::place::Place;
use super::private_copy::PrivateCopy;
use crate::source::SourceError;
use crate::source::sqlite::{SqliteSource, shown};

/// Query for the first messages of a check.
const QUICK_CHECK: &str = "PRAGMA quick_check(20)";

/// Refuses a database if a log without a database exists beside it that fits it.
pub(super) fn refuse(
    source: &SqliteSource,
    place: &Place,
    suffix: &'static str,
) -> Result<(), SourceError> {
    let Some(folder) = place.file.parent() else {
        return Ok(());
    };
    let page_bytes = place.page_bytes(source)?;
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let log = entry.path();
        if is_orphan(&log, suffix)
            && page_bytes_of(&log).is_some_and(|bytes| bytes == page_bytes)
            && may_belong(source, place, &log, suffix)?
        {
            return Err(found(source, place, &log, suffix));
        }
    }
    Ok(())
}

fn is_orphan(log: &Path, suffix: &str) -> bool {
    let name = log.as_os_str().as_bytes();
    let database = name.strip_suffix(suffix.as_bytes());
    let database =
        database.map(|name| PathBuf::from(std::ffi::OsString::from_vec(name.to_owned())));
    database.is_some_and(|database| matches!(database.try_exists(), Ok(false)))
}

/// Returns the page size in the header of a log (<https://sqlite.org/fileformat2.html>, sections 3 and 4).
fn page_bytes_of(log: &Path) -> Option<u32> {
    let mut header = [0; 32];
    File::open(log).ok()?.read_exact(&mut header).ok()?;
    let at = match header {
        [0x37, 0x7f, 0x06, 0x82 | 0x83, ..] => 8,
        [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7, ..] => 24,
        _ => return None,
    };
    let bytes = header.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_be_bytes(bytes))
}

/// Applies the log to a copy: the log of another database damages the copy, or changes nothing.
fn may_belong(
    source: &SqliteSource,
    place: &Place,
    log: &Path,
    suffix: &str,
) -> Result<bool, SourceError> {
    let (alone, before) = PrivateCopy::with_foreign_log(source, place, None)?;
    let (joined, after) = PrivateCopy::with_foreign_log(source, place, Some((log, suffix)))?;
    let is_damaged =
        |connection: &Connection| is_damaged(connection).map_err(|error| source.told(error));
    let (was_damaged, is_damaged) = (is_damaged(&before)?, is_damaged(&after)?);
    drop((before, after));
    let is_same = alone
        .has_same_bytes(&joined)
        .map_err(|error| SourceError::Unavailable {
            what: source.what(),
            why: format!("comparing two private copies failed: {error}"),
            retryable: false,
        })?;
    Ok(!is_same && (was_damaged || !is_damaged))
}

/// True if the structure of the file is broken; rows that violate their schema do not count.
fn is_damaged(connection: &Connection) -> rusqlite::Result<bool> {
    const MARKS: [&str; 5] = ["Tree ", "Page ", "Freelist", "page count", "malformed"];
    let mut statement = match connection.prepare(QUICK_CHECK) {
        Err(error) => return corrupt(error),
        Ok(statement) => statement,
    };
    let mut rows = statement.query([])?;
    loop {
        match rows.next() {
            Ok(None) => return Ok(false),
            Ok(Some(row)) => {
                let line: String = row.get(0)?;
                if MARKS.iter().any(|mark| line.contains(mark)) {
                    return Ok(true);
                }
            }
            Err(error) => return corrupt(error),
        }
    }
}

fn corrupt(error: rusqlite::Error) -> rusqlite::Result<bool> {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Ok(true),
        // A schema that needs its application's functions cannot be checked: no damage is shown.
        _ => Ok(false),
    }
}

fn found(source: &SqliteSource, place: &Place, log: &Path, suffix: &str) -> SourceError {
    let own = super::place::beside(&place.file, suffix);
    refusal(
        source,
        format!(
            "the log {} has no database and fits this one: it may have been renamed while the log held changes",
            shown(log)
        ),
        format!(
            "keep a copy of both; if the log belongs to it, rename the log to {}; if not, move the log to another folder",
            shown(&own)
        ),
    )
}
