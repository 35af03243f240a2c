//! Opens a scratch database for SQL text from an untrusted source. Invariant: the text can affect only that database,
//! and it cannot grow without bound.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use tokio_util::sync::CancellationToken;

use super::stop_when_asked;

/// Factor by which rows may be larger than their text; each index may add their size once more.
const MAX_GROWTH: u64 = 16;

/// Size that a scratch database may always have, in bytes.
const MIN_CAP_BYTES: u64 = 64 * 1024 * 1024;

/// Bytes of text per table or index: each has a page of its own, even if empty, and no text creates one in fewer bytes:
/// `a UNIQUE,`.
const LEAST_BYTES_PER_ROOT: u64 = 8;

/// SQLite counts pages in 32 bits.
const MOST_PAGES: u64 = 0xffff_fffe;

/// Page size in bytes; the text may choose another one.
const PAGE_BYTES: u64 = 4096;

/// Page size for which the cap holds, in bytes: it is counted in pages, and the text chooses their size, so larger
/// pages may take more.
const CAPPED_PAGE_BYTES: u64 = 1024;

/// Size of the page cache. The allocator keeps its memory, and an upload to S3 takes 24 MiB after it: together less
/// than 64 MiB.
const CACHE_KB: u32 = 4_000;

/// Factor by which a database may exceed its known size: another order of insertion leaves pages of indexes half full,
/// and the source may have been vacuumed.
const LARGER_THAN_KNOWN: u64 = 2;

/// Upper bound for the size of a database by its text: enough for all rows, indexes and empty tables, but finite.
///
/// Text alone does not say how large its database is: a stored generated column, or an index on an expression, may hold
/// megabytes for each row of ten bytes. A caller that knows the size of the source, or of the database with which the
/// copy was proven, may give it, and twice that much is allowed, too.
///
/// A size from a manifest is only a claim: a writer to the storage may claim any. No ratio to the text bounds it without
/// refusing proven copies, so the disk does: a tenth of its free space is left, so that text made to grow fails as on a
/// full disk and nothing else on the machine does. A claim never lowers the rule for text.
#[derive(Debug, Clone, Copy)]
pub struct Cap {
    text_bytes: u64,
    /// Number of indexes that the text created so far.
    indexes: u64,
    /// What else is allowed, as the database was once as large.
    known_bytes: u64,
    /// The database's own page size; 0 before its first table, up to which the text may choose it.
    page_bytes: u64,
}

impl Cap {
    /// Returns the cap for this number of bytes of SQL text.
    pub fn for_text(text_bytes: u64) -> Self {
        Self {
            text_bytes,
            indexes: 0,
            known_bytes: 0,
            page_bytes: 0,
        }
    }

    /// The same for text whose database, to be made at `path`, was so large once, or is said to have been.
    pub fn of_database(self, database_bytes: Option<u64>, path: &Path) -> Self {
        let bytes = database_bytes.unwrap_or_default();
        let bytes = bytes.saturating_mul(LARGER_THAN_KNOWN);
        Self {
            known_bytes: bytes.min(free_bytes(path) / 10 * 9),
            ..self
        }
    }

    fn pages(&self) -> u64 {
        let growth = MAX_GROWTH.saturating_add(self.indexes);
        let content_bytes = self.text_bytes.saturating_mul(growth).max(MIN_CAP_BYTES);
        let roots = self.text_bytes / LEAST_BYTES_PER_ROOT;
        let pages = (content_bytes / CAPPED_PAGE_BYTES).saturating_add(roots);
        let known = self.known_bytes.checked_div(self.page_bytes);
        pages.max(known.unwrap_or_default()).min(MOST_PAGES)
    }

    /// Makes room for the indexes that `statement`, which is executed next, creates; before the first table, when the
    /// page size is chosen, for the whole known size.
    ///
    /// # Errors
    /// SQLite's.
    pub fn make_room(
        &mut self,
        connection: &mut Connection,
        statement: &[u8],
    ) -> rusqlite::Result<()> {
        let Some(made) = indexes_in(statement) else {
            return Ok(());
        };
        let is_first = self.known_bytes > 0 && self.page_bytes == 0;
        if made == 0 && !is_first {
            return Ok(());
        }
        self.indexes = self.indexes.saturating_add(made);
        if is_first {
            self.page_bytes = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        }
        connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)?;
        let pages = self.pages();
        connection.execute_batch(&format!("PRAGMA max_page_count={pages}"))?;
        connection.authorizer(Some(permit))
    }
}

/// Returns the free bytes of the file system of `path`; 0 if it cannot say.
fn free_bytes(path: &Path) -> u64 {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let stat = rustix::fs::statvfs(folder.unwrap_or(Path::new(".")));
    stat.map_or(0, |stat| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Returns an upper bound for the indexes that a statement creates, explicit ones and those that its keys need; `None` if
/// it creates nothing.
fn indexes_in(statement: &[u8]) -> Option<u64> {
    let mut rest = statement.trim_ascii_start();
    while rest.starts_with(b"--") {
        let end = rest.iter().position(|byte| *byte == b'\n');
        rest = rest[end.unwrap_or(rest.len())..].trim_ascii_start();
    }
    let is_create = rest
        .get(..6)
        .is_some_and(|word| word.eq_ignore_ascii_case(b"create"));
    if !is_create {
        return None;
    }
    let words = rest.split(|byte| !byte.is_ascii_alphabetic());
    let keys = ["index", "unique", "primary"];
    let is_key = |word: &&[u8]| {
        keys.iter()
            .any(|key| word.eq_ignore_ascii_case(key.as_bytes()))
    };
    Some(words.filter(is_key).count() as u64)
}

/// Opens the database at `path` to execute SQL text in it, within `cap`; its content is not durable.
///
/// # Errors
/// SQLite's; and `SQLITE_INTERRUPT` from any statement once `stop` is cancelled.
pub fn open_scratch(
    path: &Path,
    cap: &Cap,
    stop: &CancellationToken,
) -> rusqlite::Result<Connection> {
    let pages = cap.pages();
    let mut connection = Connection::open(path)?;
    connection.execute_batch(&format!(
        "PRAGMA page_size={PAGE_BYTES}; PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;
         PRAGMA cache_size=-{CACHE_KB}; PRAGMA foreign_keys=OFF;
         PRAGMA max_page_count={pages};"
    ))?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.authorizer(Some(permit))?;
    stop_when_asked(&mut connection, stop)?;
    Ok(connection)
}

/// Allows Patina's own statements on a connection of [`open_scratch`].
///
/// # Errors
/// SQLite's.
pub fn lift_limits(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
}

/// Permits what a dump needs, and nothing else.
fn permit(context: AuthContext<'_>) -> Authorization {
    const PRAGMAS: [&str; 9] = [
        "defer_foreign_keys",
        "foreign_keys",
        "page_size",
        "auto_vacuum",
        "ignore_check_constraints",
        "user_version",
        "application_id",
        "encoding",
        "data_version",
    ];
    let is_allowed = match context.action {
        AuthAction::Attach { .. } | AuthAction::Detach { .. } => false,
        AuthAction::Pragma { pragma_name, .. } => PRAGMAS.contains(&pragma_name),
        AuthAction::Function { function_name } => {
            !["load_extension", "writefile", "readfile", "edit"].contains(&function_name)
        }
        AuthAction::CreateTempTable { .. }
        | AuthAction::CreateTempTrigger { .. }
        | AuthAction::CreateTempView { .. } => false,
        _ => true,
    };
    if is_allowed {
        Authorization::Allow
    } else {
        Authorization::Deny
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_grows_with_text_tables_and_indexes_and_has_an_end() {
        let pages = |bytes| Cap::for_text(bytes).pages();
        assert_eq!(pages(0), MIN_CAP_BYTES / CAPPED_PAGE_BYTES);
        // 20,000 tables of 8 indexes in 2 MB of text.
        assert!(pages(2_000_000) > 180_000);
        assert_eq!(pages(u64::MAX), MOST_PAGES);
        let connection = &mut Connection::open_in_memory().unwrap();
        let mut cap = Cap::for_text(100_000_000);
        let before = cap.pages();
        cap.make_room(connection, b"INSERT INTO t VALUES('create unique index')")
            .unwrap();
        assert_eq!(cap.pages(), before);
        cap.make_room(connection, b"-- x\nCREATE UNIQUE INDEX i ON t(x)")
            .unwrap();
        assert!(cap.pages() >= before + 100_000_000 / CAPPED_PAGE_BYTES);
    }

    #[test]
    fn indexes_are_counted_as_a_statement_makes_them() {
        for (sql, count) in [
            ("CREATE TABLE t(a UNIQUE, b, c PRIMARY KEY)", Some(2)),
            ("\n-- Table: a\n\ncreate index i on t(a)", Some(1)),
            ("CREATE TABLE t(a)", Some(0)),
            ("SELECT 'create index'", None),
            ("", None),
            ("-- only", None),
        ] {
            assert_eq!(indexes_in(sql.as_bytes()), count, "{sql}");
        }
    }
    #[test]
    fn a_known_size_counts_in_the_pages_of_the_database_and_never_beyond_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("scratch.db");
        let rule = Cap::for_text(1000).pages();
        let pages_of = |page_bytes: u64, known_bytes: u64| {
            let mut connection = Connection::open_in_memory().unwrap();
            let sql = format!("PRAGMA page_size={page_bytes}");
            connection.execute_batch(&sql).unwrap();
            let mut cap = Cap::for_text(1000).of_database(Some(known_bytes), &path);
            assert_eq!(cap.pages(), rule, "before the first table");
            cap.make_room(&mut connection, b"CREATE TABLE t(a)")
                .unwrap();
            cap.pages()
        };
        assert_eq!(pages_of(512, 80_000_000), 160_000_000 / 512);
        assert_eq!(pages_of(65_536, 80_000_000), rule);
        assert_eq!(pages_of(4096, 1), rule);
        // The disk of the test may have room for all that SQLite can count.
        let most = (free_bytes(&path) / 65_536).max(rule).min(MOST_PAGES);
        assert!(pages_of(65_536, u64::MAX) <= most);
        let nowhere = Cap::for_text(0).of_database(Some(u64::MAX), Path::new("/no/such/folder/x"));
        assert_eq!(nowhere.known_bytes, 0);
    }
}
