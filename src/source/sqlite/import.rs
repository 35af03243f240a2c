//! Loads SQL text of another program into a scratch database, from which it is then dumped like any other. Invariant:
//! text that is incomplete, or that does not load completely, leaves no database to dump.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode};
use tokio_util::sync::CancellationToken;

use super::message::sqlite_message;
use super::scratch::{Cap, lift_limits, open_scratch};
use crate::dump::{SplitError, Splitter};

/// Upper bound for the length of a statement, in bytes. No statement of an export is longer than the largest row, which
/// is twice as long in hexadecimal.
const MAX_STATEMENT_BYTES: usize = 64 * 1024 * 1024;

/// A database that was loaded from text.
pub(crate) struct Imported {
    path: PathBuf,
    connection: Connection,
}

/// The reason that text could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImportError {
    /// It ends inside a statement, or cannot be read.
    #[error(transparent)]
    Split(#[from] SplitError),
    /// SQLite refused a statement.
    #[error("{why}, in the statement at byte {at_bytes}")]
    Refused {
        /// SQLite's message.
        why: String,
        /// Offset of the statement.
        at_bytes: u64,
    },
    /// The scratch database cannot be used.
    #[error("the scratch database cannot be used: {0}")]
    Scratch(String),
    /// The import was cancelled.
    #[error("the import was stopped")]
    Stopped,
}

impl Imported {
    /// Executes the statements of the file `sql` in a new database at `into`, in one transaction. `source_bytes`: how large
    /// the database is that was exported.
    ///
    /// # Errors
    /// If the text is truncated, SQLite refuses a statement, or `stop` was cancelled.
    pub(crate) fn load(
        sql: &Path,
        into: &Path,
        source_bytes: Option<u64>,
        stop: &CancellationToken,
    ) -> Result<Self, ImportError> {
        let unreadable = |error: std::io::Error| ImportError::Scratch(error.to_string());
        let text_bytes = fs::metadata(sql).map_err(unreadable)?.len();
        let mut cap = Cap::for_text(text_bytes).of_database(source_bytes, into);
        let mut connection = open_scratch(into, &cap, stop).map_err(of_scratch)?;
        connection.execute_batch("BEGIN").map_err(of_scratch)?;
        let file = File::open(sql).map_err(unreadable)?;
        let mut splitter = Splitter::new(file, MAX_STATEMENT_BYTES);
        while let Some((at_bytes, statement)) = splitter.next_statement()? {
            if stop.is_cancelled() {
                return Err(ImportError::Stopped);
            }
            cap.make_room(&mut connection, statement)
                .map_err(of_scratch)?;
            execute(&connection, at_bytes, statement)?;
        }
        if connection.is_autocommit() {
            let why = "the text ends its own transaction".to_owned();
            return Err(ImportError::Refused { why, at_bytes: 0 });
        }
        connection.execute_batch("COMMIT").map_err(of_scratch)?;
        lift_limits(&mut connection).map_err(of_scratch)?;
        Ok(Self {
            path: into.to_owned(),
            connection,
        })
    }

    /// Returns the rows of a query whose values are all text.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn ask(&self, sql: &str) -> rusqlite::Result<Vec<Vec<String>>> {
        let mut statement = self.connection.prepare(sql)?;
        let width = statement.column_count();
        let rows = statement.query_map([], |row| (0..width).map(|at| row.get(at)).collect())?;
        rows.collect()
    }

    /// Closes the database and returns its path.
    ///
    /// # Errors
    /// SQLite's.
    pub(crate) fn close(self) -> Result<PathBuf, ImportError> {
        // A closed database in this mode is read in place; one with a rollback journal would be copied first.
        let sql = "PRAGMA journal_mode=WAL";
        let changed = self.connection.query_row(sql, [], |row| row.get(0));
        let _: String = changed.map_err(of_scratch)?;
        self.connection
            .close()
            .map_err(|(_, error)| of_scratch(error))?;
        Ok(self.path)
    }
}

fn execute(connection: &Connection, at_bytes: u64, statement: &[u8]) -> Result<(), ImportError> {
    let refused = |why: String| ImportError::Refused { why, at_bytes };
    let sql = std::str::from_utf8(statement)
        .map_err(|error| refused(format!("the text is not UTF-8: {error}")))?;
    let executed = connection.execute_batch(sql);
    executed.map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted | ErrorCode::DiskFull) => of_scratch(error),
        // Never the statement: it may contain the user's rows.
        _ => refused(sqlite_message(&error)),
    })
}

fn of_scratch(error: rusqlite::Error) -> ImportError {
    match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => ImportError::Stopped,
        _ => ImportError::Scratch(sqlite_message(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Imported, ImportError> {
        let folder = tempfile::tempdir().unwrap();
        let (sql, into) = (folder.path().join("a.sql"), folder.path().join("a.db"));
        fs::write(&sql, text).unwrap();
        Imported::load(&sql, &into, None, &CancellationToken::new())
    }

    #[test]
    fn text_that_is_cut_or_reaches_elsewhere_is_refused() {
        let whole = "CREATE TABLE t(a);\nINSERT INTO t VALUES(1);\n";
        let imported = load(whole).unwrap();
        assert_eq!(imported.ask("SELECT quote(a) FROM t").unwrap(), [["1"]]);
        for text in [
            "CREATE TABLE t(a);\nINSERT INTO t VA",
            "CREATE TABLE t(a);\nINSERT INTO u VALUES(1);",
            "ATTACH 'elsewhere.db' AS e;",
            "COMMIT;",
            "CREATE TABLE t(a DEFAULT 'a\0b');",
        ] {
            assert!(load(text).is_err(), "{text:?}");
        }
    }
}
