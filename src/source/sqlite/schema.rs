//! Describes a SQLite database for the dump: its tables in dump order, what to read, and what must stay out.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Result};

use super::foreign_key::indexes_for_keys;
use crate::dump::{Content, Database, Table, TextEncoding, quoted_name};
use crate::source::describe::{
    self, Column, Entry, Extent, KeyTerm, RowKey, apply_skip_data, content_of_module,
    in_dump_order, is_cloudflare, make_texts_end_well, objects_of, warn_of_schema_text,
};
use crate::source::virtual_table::{Module, counts_up};
use crate::types::Sha256;

/// A database's description and what was noticed on the way.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) database: Database,
    /// Digest of every schema entry, `sqlite_sequence` and the text encoding.
    pub(super) digest: Sha256,
    /// Tables that are missing in the dump, because their schema cannot be read.
    pub(super) missing: Vec<String>,
    pub(super) warnings: Vec<String>,
}

/// Describes the database that `connection` has open, as its current transaction sees it.
pub(super) fn describe(connection: &Connection, skip_data: &[String]) -> Result<Described> {
    let mut warnings = Vec::new();
    let mut missing = Vec::new();
    let listed = list_tables(connection)?;
    let modules = list_modules(connection)?;
    let mut entries = read_entries(connection)?;
    make_texts_end_well(&mut entries, &mut warnings);
    entries.retain(|entry| {
        let is_internal = is_cloudflare(&entry.name) || is_cloudflare(&entry.table);
        if is_internal && entry.kind == "table" {
            warnings.push(format!(
                "table `{}` belongs to D1 itself and is left out",
                entry.name
            ));
        }
        !is_internal && !listed.shadow.contains(&entry.table)
    });
    let mut tables = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == "table") {
        match entry.module() {
            None => {
                let has_rowid = !listed.without_rowid.contains(&entry.name);
                tables.push(ordinary_table(connection, entry, has_rowid)?);
            }
            Some(module) if modules.contains(&module.name) => {
                tables.push(virtual_table(connection, entry, &module)?);
            }
            Some(module) => {
                warnings.push(format!(
                    "table `{}` is left out: its module `{}` is not part of SQLite, so its schema cannot be read",
                    entry.name, module.name
                ));
                missing.push(entry.name.clone());
            }
        }
    }
    entries.retain(|entry| !missing.contains(&entry.name) && !missing.contains(&entry.table));
    apply_skip_data(&mut tables, skip_data, &mut warnings);
    let sequence = read_sequence(connection, &entries)?;
    let encoding = read_encoding(connection)?;
    let digest = describe::digest(&entries, sequence.as_deref(), encoding);
    warn_of_schema_text(&entries, &mut warnings);
    let early = indexes_for_keys(connection, &tables)?;
    let (early_indexes, objects) = objects_of(&entries, &early);
    let database = Database {
        tables: in_dump_order(tables),
        early_indexes,
        objects,
        sequence,
        user_version: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
        application_id: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
        encoding,
    };
    Ok(Described {
        database,
        digest,
        missing,
        warnings,
    })
}

struct Listed {
    shadow: HashSet<String>,
    without_rowid: HashSet<String>,
}

fn list_tables(connection: &Connection) -> Result<Listed> {
    let mut listed = Listed {
        shadow: HashSet::new(),
        without_rowid: HashSet::new(),
    };
    let mut statement =
        connection.prepare("SELECT name, type, wr FROM pragma_table_list WHERE schema = 'main'")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        if row.get_ref(1)?.as_str()? == "shadow" {
            listed.shadow.insert(name);
        } else if row.get(2)? {
            listed.without_rowid.insert(name);
        }
    }
    Ok(listed)
}

fn list_modules(connection: &Connection) -> Result<HashSet<String>> {
    let mut statement = connection.prepare("SELECT lower(name) FROM pragma_module_list")?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

fn read_entries(connection: &Connection) -> Result<Vec<Entry>> {
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
    )?;
    let entries = statement.query_map([], |row| {
        Ok(Entry {
            kind: row.get(0)?,
            name: row.get(1)?,
            table: row.get(2)?,
            sql: row.get(3)?,
        })
    })?;
    entries.collect()
}

fn read_columns(connection: &Connection, table: &str) -> Result<Vec<Column>> {
    let mut statement =
        connection.prepare_cached("SELECT name, type, pk, hidden FROM pragma_table_xinfo(?1)")?;
    let columns = statement.query_map([table], |row| {
        Ok(Column {
            name: row.get(0)?,
            declared: row.get(1)?,
            key_place: row.get(2)?,
            is_hidden: row.get::<_, i64>(3)? != 0,
        })
    })?;
    columns.collect()
}

fn ordinary_table(connection: &Connection, entry: &Entry, has_rowid: bool) -> Result<Table> {
    let columns = read_columns(connection, &entry.name)?;
    // Of a table with rowids, only `INTEGER PRIMARY KEY DESC` has a key index that matters.
    let index = match !has_rowid || holds_word(&entry.sql, "desc") {
        true => primary_key_index(connection, &entry.name)?,
        false => None,
    };
    let terms = match &index {
        Some(index) => Some(key_terms(connection, index)?),
        None => None,
    };
    let key = RowKey::of(&columns, has_rowid, terms.as_deref());
    let extent = extent(connection, &entry.name, &key)?;
    let parents = read_parents(connection, entry)?;
    Ok(describe::ordinary_table(
        entry, &columns, &key, extent, parents,
    ))
}

/// The tables that foreign keys point to; asked only where the text can hold one.
fn read_parents(connection: &Connection, entry: &Entry) -> Result<Vec<String>> {
    if !holds_word(&entry.sql, "references") {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare_cached("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1)")?;
    let parents = statement.query_map([&entry.name], |row| row.get(0))?;
    parents.collect()
}

/// Whether the text holds the word in any case, perhaps inside a longer one.
fn holds_word(sql: &str, word: &str) -> bool {
    sql.to_ascii_lowercase().contains(word)
}

fn primary_key_index(connection: &Connection, table: &str) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'")?
        .query_row([table], |row| row.get(0))
        .optional()
}

/// Counts a table's rows, and finds the ends of its rowids where they matter.
fn extent(connection: &Connection, table: &str, key: &RowKey) -> Result<Extent> {
    let table = quoted_name(table);
    let ends = match key {
        RowKey::Rowid(name) => format!(
            "(SELECT min({name}) FROM main.{table}), (SELECT max({name}) FROM main.{table})"
        ),
        RowKey::Column(_) | RowKey::Primary(_) | RowKey::Scan => "NULL, NULL".to_owned(),
    };
    let sql = format!("SELECT (SELECT count(*) FROM main.{table}), {ends}");
    connection.prepare(&sql)?.query_row([], |row| {
        Ok(Extent {
            rows: row.get(0)?,
            first: row.get(1)?,
            last: row.get(2)?,
        })
    })
}

fn key_terms(connection: &Connection, index: &str) -> Result<Vec<KeyTerm>> {
    let mut statement = connection.prepare_cached(
        "SELECT name, \"desc\", coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno",
    )?;
    let terms = statement.query_map([index], |row| {
        Ok(KeyTerm {
            column: row.get(0)?,
            descends: row.get(1)?,
            collation: row.get(2)?,
        })
    })?;
    terms.collect()
}

fn virtual_table(connection: &Connection, entry: &Entry, module: &Module) -> Result<Table> {
    let rows = match content_of_module(module) {
        Content::Rows => connection
            .prepare(&format!(
                "SELECT count(*) FROM main.{}",
                quoted_name(&entry.name)
            ))?
            .query_row([], |row| row.get(0))?,
        Content::Rebuilt | Content::Omitted(_) => 0,
    };
    let settings = match module.name.as_str() {
        "fts5" => read_settings(connection, &entry.name)?,
        _ => Vec::new(),
    };
    let columns = read_columns(connection, &entry.name)?;
    Ok(describe::virtual_table(
        entry, module, &columns, rows, settings,
    ))
}

/// What `INSERT INTO f(f, rank) VALUES(setting, value)` has set.
fn read_settings(connection: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let shadow = quoted_name(&format!("{table}_config"));
    let sql = format!("SELECT k, quote(v) FROM main.{shadow} WHERE k <> 'version' ORDER BY k");
    let mut statement = connection.prepare(&sql)?;
    let settings = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    settings.collect()
}

/// The sequence values of tables that exist; `None` where no table counts with AUTOINCREMENT.
fn read_sequence(connection: &Connection, entries: &[Entry]) -> Result<Option<Vec<(String, i64)>>> {
    let mut tables = entries.iter().filter(|entry| entry.kind == "table");
    if !tables.any(|entry| counts_up(&entry.sql)) {
        return Ok(None);
    }
    let mut statement = connection.prepare(
        "SELECT name, seq FROM main.sqlite_sequence
         WHERE typeof(name) = 'text' AND typeof(seq) = 'integer' ORDER BY rowid",
    )?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut rows: Vec<(String, i64)> = rows.collect::<Result<_>>()?;
    rows.retain(|(name, _)| entries.iter().any(|entry| entry.name == *name));
    Ok(Some(rows))
}

fn read_encoding(connection: &Connection) -> Result<TextEncoding> {
    let name: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    Ok(match name.as_str() {
        "UTF-16le" => TextEncoding::Utf16Le,
        "UTF-16be" => TextEncoding::Utf16Be,
        _ => TextEncoding::Utf8,
    })
}
