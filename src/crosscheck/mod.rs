//! Holds a restored copy against its source, by SQL of its own.
//!
//! Invariant: it shares no code with what reads a source or writes a dump. It imports `types` and SQLite only, so what
//! those overlook is not overlooked here for the same reason.
//!
//! [`Inventory::take`] looks at one database, inside whatever transaction its connection is in: every row of
//! `sqlite_schema`, every table that has a b-tree with its columns and all its rows, every search index by its
//! vocabulary, every R-tree by its rows, and the settings of the file. Where SQLite's own check of source and copy went
//! through everything, [`Inventory::take_content`] leaves FTS5 indexes over content of their own to it: it holds each of
//! them against that content. [`compare`] holds two inventories against each other: a difference must be declared by an [`Exception`](crate::types::Exception), and each exception must be a
//! difference. A D1 database is looked at by [`CloudPlan`], which asks for sums in place of rows. An image is held
//! against its source page by page ([`page_digest`]), and [`examine`] asks SQLite whether the source itself is whole.

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

/// A name in double quotes, as SQL wants it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text in single quotes, as SQL wants it.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// What SQLite says, without the statement that it says it of.
pub fn message(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => msg.clone(),
        error => error.to_string(),
    }
}

/// The first value of the first row.
fn ask<T: rusqlite::types::FromSql>(connection: &Connection, sql: &str) -> rusqlite::Result<T> {
    connection.query_row(sql, [], |row| row.get(0))
}
