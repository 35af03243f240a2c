//! Opens two connections that see the same state of a database in WAL mode. Invariant: nothing was committed between
//! the starts of their two read transactions.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::{Failure, begin, connect, read_only};
use crate::source::SourceError;
use crate::source::sqlite::SqliteSource;

/// Number of attempts. There is a gap between two transactions of a writer; a writer without one in this many attempts
/// never pauses.
const TRIES: u32 = 200;

/// Unit of the pause between attempts. Pauses grow over 20 attempts and start over, so that they do not keep step with
/// the writer.
const PAUSE: Duration = Duration::from_micros(50);

/// Opens `place` twice; each connection is inside a read transaction, and both see the same state.
pub(super) fn open_pair(
    source: &SqliteSource,
    place: &Path,
) -> Result<(Connection, Connection), Failure> {
    let first = connect_patiently(source, place)?;
    let second = connect_patiently(source, place)?;
    let mut failed = None;
    for tried in 0..TRIES {
        match begin_together(&first, &second) {
            Ok(true) => return Ok((first, second)),
            Ok(false) => failed = None,
            Err(error) if is_half_written(&error) => failed = Some(error),
            Err(error) => return Err(Failure::Sqlite(error)),
        }
        for connection in [&first, &second] {
            if !connection.is_autocommit() {
                connection.execute_batch("ROLLBACK")?;
            }
        }
        pause(tried);
    }
    Err(failed.map_or_else(|| Failure::Told(never_rests(source)), Failure::Sqlite))
}

/// Opens a connection, with retries: setting it up reads the schema, which a writer may be changing.
fn connect_patiently(source: &SqliteSource, place: &Path) -> rusqlite::Result<Connection> {
    let mut tried = 0;
    loop {
        match connect(source, place, read_only()) {
            Err(error) if is_half_written(&error) && tried < TRIES => pause(tried),
            other => return other,
        }
        tried += 1;
    }
}

fn pause(tried: u32) {
    std::thread::sleep(PAUSE * (tried % 20));
}

/// Begins both transactions; returns true if they see the same state.
fn begin_together(first: &Connection, second: &Connection) -> rusqlite::Result<bool> {
    // Outside a transaction this reads the newest state, as the transaction of `first` does below. If the number is
    // still the same then, there was no commit in between, and `second` began in between.
    let before = data_version(first)?;
    begin(second)?;
    begin(first)?;
    Ok(data_version(first)? == before)
}

/// True if a header in the shared memory was read while its writer changed it. If it persists, it is the mark of a
/// crash.
fn is_half_written(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error().map(|error| error.extended_code);
    code == Some(rusqlite::ffi::SQLITE_READONLY_RECOVERY)
}

fn never_rests(source: &SqliteSource) -> SourceError {
    SourceError::Unavailable {
        what: source.what(),
        why: format!(
            "it is written to all the time: in {TRIES} tries, a transaction was committed while two connections began\n\
             hint: let the writer put several changes into one transaction, or back up when it writes less"
        ),
        retryable: true,
    }
}

/// Returns a number that changes once another connection has committed, as seen by `connection`
/// (<https://sqlite.org/pragma.html#pragma_data_version>).
fn data_version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0))
}
