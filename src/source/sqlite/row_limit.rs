//! How long a row may be that is read into memory.

use rusqlite::limits::Limit;
use rusqlite::{Connection, ErrorCode};

/// A row of more bytes is not written as SQL text where the form is left to Patina: text holds it several times over in
/// memory, here and wherever it is restored; an image holds none of it. D1 takes rows of 2 MB.
pub(super) const MAX_ROW_BYTES: usize = 32 * 1024 * 1024;

/// A row of more bytes is refused where the configuration insists on SQL text. A row takes about five times its size in
/// memory then: read, written as hexadecimal digits, parsed, and stored again.
pub(super) const SQL_ROW_LIMIT_BYTES: usize = 128 * 1024 * 1024;

/// SQLite has no longer value.
pub(super) const SQLITE_LENGTH: usize = 1_000_000_000;

pub(super) fn is_too_big(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::TooBig)
}

/// Has SQLite refuse longer values before it reads them, until it is dropped.
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
        // It was in force before.
        let _ = self
            .connection
            .set_limit(Limit::SQLITE_LIMIT_LENGTH, self.usual);
    }
}
