//! Reads foreign keys and the unique indexes that they may depend on.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, Result};

use crate::dump::Table;
use crate::source::describe::{self, ForeignKey, UniqueIndex};

/// Returns the names of all `CREATE UNIQUE INDEX` whose columns are those that some table's foreign key refers to.
pub(super) fn indexes_for_keys(
    connection: &Connection,
    tables: &[Table],
) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for table in tables.iter().filter(|table| !table.parents.is_empty()) {
        let keys = read_keys(connection, &table.name)?;
        for parent in keys.iter().map(|key| &key.parent) {
            let indexes = unique_indexes(connection, parent)?;
            found.extend(describe::indexes_for_keys(&keys, &indexes));
        }
    }
    Ok(found)
}

/// Reads each key's parent and the columns it references there.
fn read_keys(connection: &Connection, table: &str) -> Result<Vec<ForeignKey>> {
    let mut statement = connection
        .prepare_cached("SELECT id, \"table\", lower(\"to\") FROM pragma_foreign_key_list(?1)")?;
    let mut rows = statement.query([table])?;
    let mut keys: BTreeMap<i64, ForeignKey> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (parent, column): (String, Option<String>) = (row.get(1)?, row.get(2)?);
        let key = keys.entry(row.get(0)?).or_insert(ForeignKey {
            parent,
            columns: Vec::new(),
        });
        key.columns.extend(column);
    }
    let mut keys: Vec<ForeignKey> = keys.into_values().collect();
    keys.iter_mut().for_each(|key| key.columns.sort_unstable());
    Ok(keys)
}

/// Reads the unique indexes over all rows and plain columns.
fn unique_indexes(connection: &Connection, table: &str) -> Result<Vec<UniqueIndex>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND origin = 'c' AND NOT partial",
    )?;
    let names = statement.query_map([table], |row| row.get(0))?;
    let mut indexes = Vec::new();
    for name in names {
        let name: String = name?;
        if let Some(columns) = read_index_columns(connection, &name)? {
            let table = table.to_owned();
            indexes.push(UniqueIndex {
                name,
                table,
                columns,
            });
        }
    }
    Ok(indexes)
}

/// Reads the index's columns, sorted; `None` if one is an expression.
fn read_index_columns(connection: &Connection, index: &str) -> Result<Option<Vec<String>>> {
    let mut statement =
        connection.prepare_cached("SELECT lower(name) FROM pragma_index_info(?1)")?;
    let columns = statement.query_map([index], |row| row.get(0))?;
    let columns: Option<Vec<String>> = columns.collect::<Result<_>>()?;
    Ok(columns.map(|mut columns| {
        columns.sort_unstable();
        columns
    }))
}
