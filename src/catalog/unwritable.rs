//! Opens a catalog for reading that cannot be read in place: on a disk that errors made read-only, or written by an
//! older version. Invariant: the file and its folder are only read, and committed data is visible even if it is still
//! in the write-ahead log.

use std::fmt::Write;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::OpenFlags;
use rusqlite::backup::Progress;
use rustix::fs::{Access, access};
use tempfile::TempDir;

use super::error::CatalogError;
use super::{Catalog, schema};

/// Opens the catalog; `None`: its folder is writable, so that this is not the cause of the failure.
pub(super) fn open(path: &Path) -> Result<Option<Catalog>, CatalogError> {
    let folder = match path.parent() {
        Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
        Some(folder) => folder,
        None => return Ok(None),
    };
    if access(folder, Access::WRITE_OK).is_ok() {
        return Ok(None);
    }
    let has_log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if !has_log {
        let catalog = immutable(path)?;
        match catalog.with(|connection| schema::check(connection, path)) {
            Ok(()) => return Ok(Some(catalog)),
            Err(CatalogError::Older { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    copied(path).map(Some)
}

/// Makes a private copy of a catalog of an older version, and migrates it. The file stays unchanged: a daemon of that
/// version may use it, and reading is no reason to change it.
pub(super) fn brought_up_to_date(path: &Path) -> Result<Catalog, CatalogError> {
    let denied = |cause: std::io::Error| CatalogError::denied(path, &cause);
    let folder = TempDir::with_prefix("patina-catalog-").map_err(denied)?;
    let copy = folder.path().join("catalog.db");
    let older = Catalog::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    older.with(|connection| Ok(connection.backup("main", &copy, None::<fn(Progress)>)?))?;
    prepared(path, &copy, folder)
}

/// No process can change the file, so SQLite needs neither a log nor locks.
fn immutable(path: &Path) -> Result<Catalog, CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    let uri = PathBuf::from(format!("file:{}?immutable=1", escaped(path)));
    Catalog::connect_as(path, &uri, flags, None)
}

/// Makes a private copy, including the write-ahead log, and migrates it.
fn copied(path: &Path) -> Result<Catalog, CatalogError> {
    let denied = |cause: std::io::Error| CatalogError::denied(path, &cause);
    let folder = TempDir::with_prefix("patina-catalog-").map_err(denied)?;
    let copy = folder.path().join("catalog.db");
    fs::copy(path, &copy).map_err(denied)?;
    let log = beside(path, "-wal");
    if log.exists() {
        fs::copy(&log, beside(&copy, "-wal")).map_err(denied)?;
    }
    prepared(path, &copy, folder)
}

fn prepared(path: &Path, copy: &Path, folder: TempDir) -> Result<Catalog, CatalogError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let catalog = Catalog::connect_as(path, copy, flags, Some(Arc::new(folder)))?;
    catalog.with(|connection| schema::prepare(connection, path))?;
    Ok(catalog)
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// A path as SQLite reads it in a URI.
fn escaped(path: &Path) -> String {
    let mut text = String::new();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'-' | b'_' => {
                text.push(char::from(*byte));
            }
            _ => {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    // Two slashes at the front would be read as a host's name.
    match text.starts_with("//") {
        true => format!("/{}", text.trim_start_matches('/')),
        false => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_uri_is_only_a_path() {
        let odd = Path::new("/a b/q?mode=rwc#x/100%/ü.db");
        assert_eq!(escaped(odd), "/a%20b/q%3Fmode%3Drwc%23x/100%25/%C3%BC.db");
        assert_eq!(escaped(Path::new("//host/x.db")), "/host/x.db");
    }
}
