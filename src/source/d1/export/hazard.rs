//! Finds what Cloudflare's own export would lose. Pure.
//!
//! Invariant: everything listed here was observed to be lost or to make a file that does not load
//! (<https://github.com/cloudflare/workers-sdk/issues/15378>, `#9042`, `#9519`, and the exporter itself).

use std::collections::HashSet;

use super::probe::{HAZARDS, Print};
use crate::dump::{Rowid, Table};
use crate::source::d1::schema::{Described, Schema};
use crate::source::describe::RowKey;
use crate::types::{Exception, ExceptionKind, counted};

/// D1's limit for a statement, in bytes, which also applies to its own export.
const STATEMENT_BYTES: u64 = 100_000;

/// Number of hazards listed in a message; the rest are only counted.
const MOST_TOLD: usize = 3;

/// Selects tables of which an index contains every column: a scan of such an index returns the rows in its own order.
pub(super) const COVERED_SQL: &str = "SELECT 'x'||hex(l.name) FROM pragma_table_list AS l WHERE l.schema='main' AND \
    l.type='table' AND l.name NOT LIKE '\\_cf\\_%' ESCAPE '\\' AND EXISTS (SELECT 1 FROM pragma_index_list(l.name) AS i \
    WHERE NOT i.partial AND (SELECT count(*) FROM pragma_index_xinfo(i.name) AS k WHERE k.key AND k.cid>=0)>=\
    (SELECT count(*) FROM pragma_table_info(l.name)))";

/// Returns the hazards that the schema shows. `covered` are the tables that [`COVERED_SQL`] found.
pub(super) fn of_schema(
    schema: &Schema,
    described: &Described,
    covered: &HashSet<String>,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut earlier: HashSet<String> = HashSet::new();
    for name in &schema.missing {
        found.push(format!(
            "table `{name}` is virtual, and it exports no database with such a table"
        ));
    }
    for table in &schema.tables {
        let name = &table.entry.name;
        if let Some(module) = &table.module {
            let module = &module.name;
            found.push(format!(
                "table `{name}` is virtual (`{module}`), and it exports no database with such a table"
            ));
        }
        earlier.insert(name.to_lowercase());
        let later = |parent: &&String| !earlier.contains(&parent.to_lowercase());
        if let Some(parent) = table.parents.iter().find(later) {
            found.push(format!(
                "table `{name}` refers to `{parent}`, which its file creates later or not at all"
            ));
        }
    }
    for table in described.database.tables.iter().filter(|t| !t.is_virtual) {
        let name = &table.name;
        match (table.rowid, schema.key(table)) {
            (Rowid::Kept(_), _) => found.push(format!(
                "table `{name}` has implicit rowids with gaps, which it renumbers"
            )),
            (_, RowKey::Rowid(_)) if table.rows > 1 && covered.contains(name) => found.push(format!(
                "table `{name}` has an index over all its columns, by which it may renumber implicit rowids"
            )),
            _ => {}
        }
    }
    let views: HashSet<String> = schema
        .entries
        .iter()
        .filter(|entry| entry.kind == "view")
        .map(|entry| entry.name.to_lowercase())
        .collect();
    for entry in &schema.entries {
        let (kind, name) = (&entry.kind, &entry.name);
        if kind == "trigger" && views.contains(&entry.table.to_lowercase()) {
            found.push(format!(
                "trigger `{name}` is INSTEAD OF, and its file creates it before its view"
            ));
        }
        let is_closed =
            |loss: &Exception| loss.kind == ExceptionKind::Schema && loss.object == *name;
        if schema.losses.iter().any(is_closed) {
            found.push(format!(
                "the text of {kind} `{name}` ends in a comment, which swallows the `;`"
            ));
        }
    }
    found
}

/// Returns the hazards in the rows of one table.
pub(super) fn of_rows(table: &Table, print: &Print) -> Vec<String> {
    let name = &table.name;
    let mut found = Vec::new();
    for (column, seen) in table.columns.iter().zip(&print.columns) {
        if let Some(what) = seen.hazard.checked_sub(1).map(|at| HAZARDS[at]) {
            found.push(format!("column `{column}` of table `{name}` has {what}"));
        }
    }
    if print.widest_bytes > STATEMENT_BYTES {
        let bytes = counted(print.widest_bytes, "byte");
        found.push(format!(
            "table `{name}` has a row of {bytes}, longer than the {STATEMENT_BYTES} of a statement"
        ));
    }
    found
}

/// Combines `found` into one message with a hint; `None` if nothing was found.
pub(super) fn told(found: &[String]) -> Option<String> {
    if found.is_empty() {
        return None;
    }
    let mut text = found[..found.len().min(MOST_TOLD)].join("; ");
    if found.len() > MOST_TOLD {
        text.push_str(&format!("; and {} more", found.len() - MOST_TOLD));
    }
    Some(format!(
        "Cloudflare's own export would not bring everything back: {text}\n\
         hint: remove `method` from this database; `method = \"raw\"`, the default, reads it without loss and without \
         blocking it"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_with_the_way_out() {
        assert_eq!(told(&[]), None);
        let found: Vec<String> = (0..5).map(|n| format!("reason {n}")).collect();
        let text = told(&found).unwrap();
        assert!(text.contains("reason 2; and 2 more\nhint: "), "{text}");
    }
}
