//! What only the program of a database has: a function and collations that no other SQLite knows.

use std::cmp::Ordering;

use rusqlite::Connection;
use rusqlite::functions::FunctionFlags;
use rusqlite::types::ValueRef;

/// Teaches a connection what the program knows.
pub(super) fn register(db: &Connection) -> rusqlite::Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    db.create_scalar_function("program_fold", 1, flags, |context| {
        Ok(match context.get_raw(0) {
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                let sum = bytes
                    .iter()
                    .fold(7_i64, |sum, byte| (sum * 31 + i64::from(*byte)) % 65_521);
                Some(sum)
            }
            ValueRef::Integer(integer) => Some(integer % 1_000),
            ValueRef::Real(_) | ValueRef::Null => None,
        })
    })?;
    db.create_collation("program_order", program_order)?;
    db.create_collation("unicase", unicase)?;
    db.create_collation("icu_root", unicase)
}

/// Shorter first, then backwards.
fn program_order(a: &str, b: &str) -> Ordering {
    a.len().cmp(&b.len()).then_with(|| b.cmp(a))
}

/// Upper and lower case are equal, in every script.
fn unicase(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.chars(), b.chars());
    a.flat_map(char::to_lowercase)
        .cmp(b.flat_map(char::to_lowercase))
}
