//! Migrates a catalog's schema. Invariant: forward only, each migration in one transaction, and never in a file that is
//! not a catalog.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, TransactionBehavior};

use super::error::{CatalogError, Stop};

/// Migrations in their order; the file's `user_version` is the number applied.
const MIGRATIONS: [&str; 16] = [
    include_str!("../../migrations/001_backup_metadata.sql"),
    include_str!("../../migrations/002_copies.sql"),
    include_str!("../../migrations/003_week.sql"),
    include_str!("../../migrations/004_slots.sql"),
    include_str!("../../migrations/005_outbox.sql"),
    include_str!("../../migrations/006_audit.sql"),
    include_str!("../../migrations/007_overview.sql"),
    include_str!("../../migrations/008_labels.sql"),
    include_str!("../../migrations/009_reloads.sql"),
    include_str!("../../migrations/010_rehearsals.sql"),
    include_str!("../../migrations/011_items.sql"),
    include_str!("../../migrations/012_suspect.sql"),
    include_str!("../../migrations/013_order.sql"),
    include_str!("../../migrations/014_access.sql"),
    include_str!("../../migrations/015_expiry.sql"),
    include_str!("../../migrations/016_doubts.sql"),
];

/// Latest schema version this program knows.
const KNOWN: u32 = MIGRATIONS.len() as u32;

/// `Ptna`: distinguishes a catalog from other SQLite files.
const APPLICATION_ID: i64 = 0x5074_6E61;

/// Prepares a connection for writing and applies the missing migrations.
pub(super) fn prepare(connection: &mut Connection, path: &Path) -> Result<(), Stop> {
    version(connection, path)?;
    check_pages(connection, path)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    enter_wal_mode(connection)?;
    while version(connection, path)? < KNOWN {
        step(connection, path)?;
    }
    Ok(())
}

/// Enters WAL mode; SQLite does not wait by itself while another process opens the same new file.
fn enter_wal_mode(connection: &Connection) -> rusqlite::Result<()> {
    const PAUSE: Duration = Duration::from_millis(20);
    let mut waited = Duration::ZERO;
    loop {
        let change = connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()));
        match change {
            Err(error)
                if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
                    && waited < super::BUSY_TIMEOUT =>
            {
                std::thread::sleep(PAUSE);
                waited += PAUSE;
            }
            other => return other,
        }
    }
}

/// Checks that the schema is current, for a connection that only reads.
pub(super) fn check(connection: &mut Connection, path: &Path) -> Result<(), Stop> {
    let found = version(connection, path)?;
    if found < KNOWN {
        let (path, known) = (path.to_owned(), KNOWN);
        return Err(CatalogError::Older { path, found, known }.into());
    }
    Ok(())
}

/// Applies the next migration, unless another process just did.
fn step(connection: &mut Connection, path: &Path) -> Result<(), Stop> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let taken = version(&transaction, path)?;
    let Some(migration) = MIGRATIONS.get(taken as usize) else {
        return Ok(());
    };
    transaction.execute_batch(migration)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", taken + 1)?;
    Ok(transaction.commit()?)
}

/// Number of migrations applied to the file; rejects a file that is not a catalog, or a newer one.
fn version(connection: &Connection, path: &Path) -> Result<u32, Stop> {
    // One statement sees one state, even while another process migrates.
    let sql = "SELECT application_id, user_version, (SELECT count(*) FROM main.sqlite_schema) = 0
               FROM pragma_application_id, pragma_user_version";
    let (application, found, is_empty): (i64, i64, bool) =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let path = path.to_owned();
    let ours = application == APPLICATION_ID || (is_empty && (application, found) == (0, 0));
    let Some(found) = u32::try_from(found).ok().filter(|_| ours) else {
        return Err(CatalogError::Foreign { path }.into());
    };
    if found > KNOWN {
        let known = KNOWN;
        return Err(CatalogError::Newer { path, found, known }.into());
    }
    Ok(found)
}

fn check_pages(connection: &Connection, path: &Path) -> Result<(), Stop> {
    let found =
        connection.pragma_query_value(None, "quick_check", |row| row.get::<_, String>(0))?;
    if found != "ok" {
        let (path, cause) = (path.to_owned(), found.replace('\n', "; "));
        return Err(CatalogError::Damaged { path, cause }.into());
    }
    Ok(())
}
