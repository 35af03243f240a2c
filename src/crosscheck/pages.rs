//! Computes a digest of a database page by page, as its connection's transaction sees it.

use std::ops::Range;

use rusqlite::{Connection, Result};

use crate::types::{Hasher, Sha256};

/// A digest of all pages, and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageDigest {
    /// Number of pages of the database.
    pub pages: u64,
    /// Size of a page in bytes.
    pub page_bytes: u64,
    /// Digest of every page except the fields of the first that SQLite rewrites in any copy.
    pub digest: Sha256,
}

/// Fields in the first 100 bytes that differ in a copy by SQLite's backup API: the versions that state whether a log is
/// used, the change counter, the size in pages, the schema cookie, and the version of the last writer
/// (<https://sqlite.org/fileformat2.html>).
const OWN: [Range<usize>; 5] = [18..20, 24..28, 28..32, 40..44, 92..100];

/// Computes the digest of every page of `main`.
///
/// # Errors
/// SQLite's. The table does not exist if SQLite was built without `sqlite_dbpage`.
pub fn page_digest(connection: &Connection) -> Result<PageDigest> {
    let mut statement = connection.prepare("SELECT pgno,data FROM sqlite_dbpage('main')")?;
    let mut rows = statement.query([])?;
    let mut hasher = Hasher::default();
    let (mut pages, mut page_bytes) = (0, 0);
    while let Some(row) = rows.next()? {
        let number: i64 = row.get(0)?;
        hasher.update(&number.to_be_bytes());
        let data = row.get_ref(1)?.as_blob()?;
        if number == 1 {
            page_bytes = data.len() as u64;
            let mut first = data.to_vec();
            for range in OWN {
                first.get_mut(range).into_iter().for_each(|own| own.fill(0));
            }
            hasher.update(&first);
        } else {
            hasher.update(data);
        }
        pages += 1;
    }
    Ok(PageDigest {
        pages,
        page_bytes,
        digest: hasher.finish(),
    })
}
