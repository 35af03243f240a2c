//! Limits the length of rows that are read into memory.

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

/// Upper bound for a row, in bytes, if the choice of the form is left to Patina: SQL text needs several times a row's
/// size in memory, here and when it is restored; an image needs none. D1 accepts rows of 2 MB.
pub(super) const MAX_ROW_BYTES: usize = 32 * 1024 * 1024;

/// Upper bound for a row, in bytes, if the configuration requires SQL text. A row then needs about five times its size
/// in memory: read, written as hexadecimal digits, parsed, and stored again.
pub(super) const SQL_ROW_LIMIT_BYTES: usize = 128 * 1024 * 1024;

/// SQLite's limit for a value, in bytes.
pub(super) const SQLITE_LENGTH: usize = 1_000_000_000;

pub(super) fn is_too_big(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::TooBig)
}

/// Makes SQLite reject longer values before it reads them, until this is dropped.
pub(super) struct ValueLimit<'a> {
    connection: &'a Connection,
    usual: i32,
}

impl<'a> ValueLimit<'a> {
    pub(super) fn set(connection: &'a Connection, most_bytes: usize) -> rusqlite::Result<Self> {
        let usual = connection.limit(Limit::SQLITE_LIMIT_LENGTH)?;
        let most = i32::try_from(most_bytes).unwrap_or(usual);
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, most.min(usual))?;
        Ok(Self { connection, usual })
    }
}

impl Drop for ValueLimit<'_> {
    fn drop(&mut self) {
        // The limit was in force before, so this does not fail.
        let _ = self
            .connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, self.usual);
    }
}
