//! Parses the rows that describe a schema.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::answer::Cell;
use super::error::{ApiError, shortened};
use super::schema::Rows;
use crate::source::describe::{Column, Entry, ForeignKey, KeyTerm, UniqueIndex};
use crate::source::sqlite::{Trial, try_alone};

pub(super) fn read_entries(rows: &Rows) -> Result<Vec<Entry>, ApiError> {
    let entry = |row: &Vec<Cell>| {
        let (kind, name) = (text(row, 0)?, text(row, 1)?);
        let sql = match row.get(3) {
            Some(Cell::Text(bytes)) if std::str::from_utf8(bytes).is_err() => {
                let (kind, name) = (shortened(&kind), shortened(&name));
                let text = format!("the text of {kind} `{name}` is not UTF-8");
                return Err(ApiError::Malformed(text));
            }
            _ => text(row, 3)?,
        };
        Ok(Entry {
            kind,
            name,
            table: text(row, 2)?,
            sql,
        })
    };
    rows.iter().map(entry).collect()
}

/// Returns the names of all tables, and of those without rowids.
pub(super) fn read_list(rows: &Rows) -> Result<(Vec<String>, Vec<String>), ApiError> {
    let (mut names, mut without_rowid) = (Vec::new(), Vec::new());
    for row in rows {
        let name = text(row, 0)?;
        if integer(row, 2)? != 0 {
            without_rowid.push(name.clone());
        }
        names.push(name);
    }
    Ok((names, without_rowid))
}

/// Returns the names of shadow tables: those that virtual tables created for themselves.
pub(super) fn shadows(entries: &[Entry]) -> HashSet<String> {
    let virtual_tables = entries.iter().filter(|entry| entry.module().is_some());
    let made = virtual_tables.filter_map(|entry| match try_alone(entry) {
        Trial::Makes(tables) => Some(tables),
        Trial::Refused(_) => None,
    });
    made.flatten().collect()
}

pub(super) fn read_columns(rows: &Rows) -> Result<HashMap<String, Vec<Column>>, ApiError> {
    let mut columns: HashMap<String, Vec<Column>> = HashMap::new();
    for row in rows {
        columns.entry(text(row, 0)?).or_default().push(Column {
            name: text(row, 1)?,
            declared: text(row, 2)?,
            key_place: integer(row, 3)?,
            is_hidden: integer(row, 4)? != 0,
        });
    }
    Ok(columns)
}

pub(super) fn read_keys(rows: &Rows) -> Result<HashMap<String, Vec<KeyTerm>>, ApiError> {
    let mut keys: HashMap<String, Vec<KeyTerm>> = HashMap::new();
    for row in rows {
        keys.entry(text(row, 0)?).or_default().push(KeyTerm {
            column: text(row, 1)?,
            descends: integer(row, 2)? != 0,
            collation: text(row, 3)?,
        });
    }
    Ok(keys)
}

/// Reads the foreign keys of each table; a key that names no column has an empty list of columns.
pub(super) fn read_foreign_keys(rows: &Rows) -> Result<HashMap<String, Vec<ForeignKey>>, ApiError> {
    let mut keys: BTreeMap<(String, i64), ForeignKey> = BTreeMap::new();
    for row in rows {
        let (table, id, parent) = (text(row, 0)?, integer(row, 1)?, text(row, 2)?);
        let key = keys.entry((table, id)).or_insert(ForeignKey {
            parent,
            columns: Vec::new(),
        });
        if row.get(3) != Some(&Cell::Null) {
            key.columns.push(text(row, 3)?);
        }
    }
    let mut of_tables: HashMap<String, Vec<ForeignKey>> = HashMap::new();
    for ((table, _), mut key) in keys {
        key.columns.sort_unstable();
        of_tables.entry(table).or_default().push(key);
    }
    Ok(of_tables)
}

/// Reads the unique indexes over plain columns; foreign keys depend on no others.
pub(super) fn read_unique_indexes(rows: &Rows) -> Result<Vec<UniqueIndex>, ApiError> {
    let mut indexes: BTreeMap<String, Option<UniqueIndex>> = BTreeMap::new();
    for row in rows {
        let (table, name) = (text(row, 0)?, text(row, 1)?);
        let index = indexes.entry(name.clone()).or_insert(Some(UniqueIndex {
            name,
            table,
            columns: Vec::new(),
        }));
        match (row.get(2), index.as_mut()) {
            (Some(Cell::Text(_)), Some(index)) => index.columns.push(text(row, 2)?),
            _ => *index = None,
        }
    }
    let mut indexes: Vec<UniqueIndex> = indexes.into_values().flatten().collect();
    indexes
        .iter_mut()
        .for_each(|index| index.columns.sort_unstable());
    Ok(indexes)
}

pub(super) fn text(row: &[Cell], at: usize) -> Result<String, ApiError> {
    match row.get(at) {
        Some(Cell::Text(bytes)) => String::from_utf8(bytes.clone())
            .map_err(|_| ApiError::Malformed("the schema's text is not UTF-8".to_owned())),
        _ => Err(misshapen()),
    }
}

pub(super) fn integer(row: &[Cell], at: usize) -> Result<i64, ApiError> {
    match row.get(at) {
        Some(Cell::Integer(number)) => Ok(*number),
        _ => Err(misshapen()),
    }
}

pub(super) fn count(row: &[Cell], at: usize) -> Result<u64, ApiError> {
    u64::try_from(integer(row, at)?).map_err(|_| misshapen())
}

pub(super) fn misshapen() -> ApiError {
    ApiError::Malformed("the result has another shape than was asked for".to_owned())
}
