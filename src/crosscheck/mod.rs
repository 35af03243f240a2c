//! Compares a restored copy with its source, by SQL of its own.
//!
//! Invariant: it shares no code with the modules that read a source or write a dump. It imports only `types` and
//! SQLite, so an error in those modules is not repeated here.
//!
//! [`Inventory::take`] reads one database, inside its connection's present transaction: every row of `sqlite_schema`,
//! every table that has a b-tree with its columns and all its rows, every search index by its vocabulary, every R-tree
//! by its rows, and the settings of the file. If SQLite's own check of source and copy covered everything,
//! [`Inventory::take_content`] leaves FTS5 indexes over content of their own to it: the check compares each of them
//! with that content. [`compare`] compares two inventories: a difference must be declared by an
//! [`Exception`](crate::types::Exception), and each exception must be a difference. A D1 database is checked by
//! [`CloudPlan`], which requests sums instead of rows. An image is compared with its source page by page
//! ([`page_digest`]), and [`examine`] lets SQLite check the source itself.

mod cloud;
mod compare;
mod health;
mod inventory;
mod module;
mod pages;
mod rows;
mod vocabulary;

pub use cloud::{Carried, CloudError, CloudInventory, CloudPlan, CloudTable, Texts};
pub use compare::{Difference, compare};
pub use health::{Findings, examine};
pub use inventory::{Inventory, count_rows};
pub use pages::{PageDigest, page_digest};

use rusqlite::Connection;

/// Returns a name in double quotes for SQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns a text in single quotes for SQL.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Returns SQLite's message without the statement that it is about.
pub fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}

/// Returns the first value of the first row.
fn ask<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> rusqlite::Result<T> {
    connection.query_row(sql, [], |row| row.get(0))
}
