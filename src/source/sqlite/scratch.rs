//! Opens a scratch database for SQL text that somebody else wrote. Invariant: the text can touch nothing but that
//! database, and it cannot grow without bound.

use std::path::Path;

use rusqlite::Connection;
use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use tokio_util::sync::CancellationToken;

use super::stop_when_asked;

/// A restored database may be this many times its text, for its indexes.
const MAX_GROWTH: u64 = 16;

/// What a scratch database may take in any case.
const MIN_CAP_BYTES: u64 = 64 * 1024 * 1024;

/// The text may choose another one.
const PAGE_BYTES: u64 = 4096;

/// The cap is counted in pages, and the text chooses their size: it holds for pages of this one, and larger ones may take
/// more.
const CAPPED_PAGE_BYTES: u64 = 1024;

/// The allocator keeps what the cache took, and an upload to S3 takes 24 MiB after it: together less than 64 MiB.
const CACHE_KB: u32 = 4_000;

/// Opens the database at `path` to execute `text_bytes` bytes of SQL in; nothing of it is durable.
///
/// # Errors
/// SQLite's; and `SQLITE_INTERRUPT` from any statement once `stop` is cancelled.
pub fn open_scratch(
    path: &Path,
    text_bytes: u64,
    stop: &CancellationToken,
) -> rusqlite::Result<Connection> {
    let cap_bytes = text_bytes.saturating_mul(MAX_GROWTH).max(MIN_CAP_BYTES);
    let pages = cap_bytes / CAPPED_PAGE_BYTES;
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

/// Lets statements of ours run on a connection of [`open_scratch`].
///
/// # Errors
/// SQLite's.
pub fn lift_limits(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.authorizer(None::<fn(AuthContext<'_>) -> Authorization>)
}

/// What a dump needs, and nothing else.
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
