//! Finds the indexes that foreign keys rest on. A key may refer to columns that are unique only through an index of
//! its own; with foreign keys on, no child's row can be written before that index exists.

use std::collections::{BTreeMap, HashSet};

use rusqlite::{Connection, Result};

use crate::dump::Table;

/// The names of all `CREATE UNIQUE INDEX` whose columns are those that some table's foreign key refers to.
pub(super) fn indexes_for_keys(
    connection: &Connection,
    tables: &[Table],
) -> Result<HashSet<String>> {
    let mut found = HashSet::new();
    for table in tables.iter().filter(|table| !table.parents.is_empty()) {
        for (parent, columns) in read_keys(connection, &table.name)? {
            for index in unique_indexes(connection, &parent)? {
                if read_index_columns(connection, &index)? == columns {
                    found.insert(index);
                }
            }
        }
    }
    Ok(found)
}

/// Each key's parent and the columns it names there; a key that names none means the primary key.
fn read_keys(connection: &Connection, table: &str) -> Result<Vec<(String, Vec<Option<String>>)>> {
    let mut statement = connection
        .prepare_cached("SELECT id, \"table\", lower(\"to\") FROM pragma_foreign_key_list(?1)")?;
    let mut rows = statement.query([table])?;
    let mut keys: BTreeMap<i64, (String, Vec<Option<String>>)> = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let (parent, column) = (row.get(1)?, row.get(2)?);
        let key = keys.entry(row.get(0)?).or_insert((parent, Vec::new()));
        key.1.push(column);
    }
    let in_order = |(parent, mut columns): (String, Vec<Option<String>>)| {
        columns.sort_unstable();
        (parent, columns)
    };
    Ok(keys
        .into_values()
        .filter(|(_, columns)| columns.iter().all(Option::is_some))
        .map(in_order)
        .collect())
}

fn unique_indexes(connection: &Connection, table: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare_cached(
        "SELECT name FROM pragma_index_list(?1) WHERE \"unique\" AND origin = 'c' AND NOT partial",
    )?;
    let names = statement.query_map([table], |row| row.get(0))?;
    names.collect()
}

/// The index's columns, sorted; `None` is an expression.
fn read_index_columns(connection: &Connection, index: &str) -> Result<Vec<Option<String>>> {
    let mut statement =
        connection.prepare_cached("SELECT lower(name) FROM pragma_index_info(?1)")?;
    let columns = statement.query_map([index], |row| row.get(0))?;
    let mut columns: Vec<Option<String>> = columns.collect::<Result<_>>()?;
    columns.sort_unstable();
    Ok(columns)
}
