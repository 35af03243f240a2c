//! Describes a SQLite database for the dump: its tables in dump order, what to read, and what must be left out.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Result};

use super::foreign_key::indexes_for_keys;
use super::shadow::{Trial, try_alone};
use crate::dump::{
    Content, Database, FileSettings, SequenceRow, Statistics, Table, TextEncoding, quoted_name,
};
use crate::quote;
use crate::source::describe::{
    self, Column, Entry, Extent, KeyTerm, RowKey, apply_skip_data, close_texts, content_of_module,
    exception, in_dump_order, known_numbers, loss_of_module, objects_of, warn_of_schema_text,
};
use crate::source::virtual_table::{Module, counts_up};
use crate::types::{Exception, ExceptionKind, Sha256};

/// A database's description with warnings and losses.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) database: Database,
    /// Digest of every schema entry, `sqlite_sequence` and the text encoding.
    pub(super) digest: Sha256,
    /// Tables that are missing from the dump, because their schema cannot be read.
    pub(super) missing: Vec<String>,
    pub(super) warnings: Vec<String>,
    /// Losses: what SQL text cannot represent.
    pub(super) losses: Vec<Exception>,
    /// Exceptions for what the configuration leaves out.
    pub(super) chosen: Vec<Exception>,
}

/// Describes the database of `connection`, as its current transaction sees it.
pub(super) fn describe(connection: &Connection, skip_data: &[String]) -> Result<Described> {
    let mut warnings = Vec::new();
    let (mut entries, mut losses) = read_entries(connection)?;
    losses.extend(close_texts(&mut entries));
    let virtuals = Virtuals::look_at(&entries);
    entries.retain(|entry| entry.kind != "table" || !virtuals.shadows.contains(&entry.name));
    let without_rowid = without_rowid(connection)?;
    let mut tables = Vec::new();
    for entry in entries.iter().filter(|entry| entry.kind == "table") {
        match entry.module() {
            None => {
                let has_rowid = !without_rowid.contains(&entry.name);
                tables.push(ordinary_table(connection, entry, has_rowid)?);
            }
            Some(module) if !virtuals.is_refused(&entry.name) => {
                losses.extend(loss_of_module(&entry.name, &module));
                tables.push(virtual_table(connection, entry, &module)?);
            }
            Some(_) => {}
        }
    }
    let mut missing = Vec::new();
    for (name, why) in virtuals.refused {
        warnings.push(format!(
            "table `{}` is left out: SQLite cannot make it ({why}), so its schema cannot be read",
            quote::name(&name)
        ));
        losses.push(exception(&name, ExceptionKind::Missing, why));
        missing.push(name);
    }
    entries.retain(|entry| !missing.contains(&entry.name) && !missing.contains(&entry.table));
    let chosen = apply_skip_data(&mut tables, skip_data, &mut warnings);
    let sequence = read_sequence(connection, &entries)?;
    let statistics = read_statistics(connection, &mut losses)?;
    let encoding = read_encoding(connection)?;
    let numbers = known_numbers(sequence.as_deref(), &entries);
    let digest = describe::digest(&entries, Some(&numbers), encoding);
    warn_of_schema_text(&entries, &mut warnings);
    let early = indexes_for_keys(connection, &tables)?;
    let (early_indexes, objects) = objects_of(&entries, &early);
    let database = Database {
        tables: in_dump_order(tables),
        early_indexes,
        objects,
        sequence,
        statistics,
        user_version: connection.pragma_query_value(None, "user_version", |row| row.get(0))?,
        application_id: connection.pragma_query_value(None, "application_id", |row| row.get(0))?,
        encoding,
        file: FileSettings {
            page_bytes: connection.pragma_query_value(None, "page_size", |row| row.get(0))?,
            auto_vacuum: connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?,
        },
    };
    Ok(Described {
        database,
        digest,
        missing,
        warnings,
        losses,
        chosen,
    })
}

/// The virtual tables of a schema.
#[derive(Default)]
struct Virtuals {
    /// Shadow tables: those that their modules created.
    shadows: HashSet<String>,
    /// Those that SQLite cannot create, and the reason. Tables beside them are treated like any other.
    refused: Vec<(String, String)>,
}

impl Virtuals {
    fn look_at(entries: &[Entry]) -> Self {
        let mut virtuals = Self::default();
        for entry in entries.iter().filter(|entry| entry.module().is_some()) {
            match try_alone(entry) {
                Trial::Makes(tables) => virtuals.shadows.extend(tables),
                Trial::Refused(why) => virtuals.refused.push((entry.name.clone(), why)),
            }
        }
        virtuals
    }

    fn is_refused(&self, name: &str) -> bool {
        self.refused.iter().any(|(refused, _)| refused == name)
    }
}

fn without_rowid(connection: &Connection) -> Result<HashSet<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND wr";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

/// Returns the entries that have a text, and exceptions for those that cannot be written because a part of them is not
/// UTF-8.
fn read_entries(connection: &Connection) -> Result<(Vec<Entry>, Vec<Exception>)> {
    let mut statement = connection.prepare(
        "SELECT type, name, tbl_name, sql FROM main.sqlite_schema
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
    )?;
    let mut rows = statement.query([])?;
    let (mut entries, mut losses) = (Vec::new(), Vec::new());
    while let Some(row) = rows.next()? {
        let bytes = |at| -> Result<Vec<u8>> { Ok(row.get_ref(at)?.as_bytes()?.to_vec()) };
        let parts = [bytes(0)?, bytes(1)?, bytes(2)?, bytes(3)?].map(String::from_utf8);
        match parts {
            [Ok(kind), Ok(name), Ok(table), Ok(sql)] => entries.push(Entry {
                kind,
                name,
                table,
                sql,
            }),
            _ => {
                let name = String::from_utf8_lossy(&bytes(1)?).into_owned();
                let reason = "its text is not UTF-8, which SQL text must be";
                losses.push(exception(&name, ExceptionKind::Missing, reason));
            }
        }
    }
    Ok((entries, losses))
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
    // Of the tables with rowids, only those with `INTEGER PRIMARY KEY DESC` have a key index that matters.
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

/// Returns the tables that foreign keys point to; queried only if the text can contain one.
fn read_parents(connection: &Connection, entry: &Entry) -> Result<Vec<String>> {
    if !holds_word(&entry.sql, "references") {
        return Ok(Vec::new());
    }
    let mut statement =
        connection.prepare_cached("SELECT DISTINCT \"table\" FROM pragma_foreign_key_list(?1)")?;
    let parents = statement.query_map([&entry.name], |row| row.get(0))?;
    parents.collect()
}

/// True if the text contains the word in any case, possibly inside a longer one.
fn holds_word(sql: &str, word: &str) -> bool {
    sql.to_ascii_lowercase().contains(word)
}

fn primary_key_index(connection: &Connection, table: &str) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'")?
        .query_row([table], |row| row.get(0))
        .optional()
}

/// Counts a table's rows, and finds the first and last rowid if they matter.
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

/// Returns the settings made by `INSERT INTO f(f, rank) VALUES(setting, value)`.
fn read_settings(connection: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let shadow = quoted_name(&format!("{table}_config"));
    let sql = format!("SELECT k, quote(v) FROM main.{shadow} WHERE k <> 'version' ORDER BY k");
    let mut statement = connection.prepare(&sql)?;
    let settings = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    settings.collect()
}

/// Returns the rows of `sqlite_sequence` with any content; `None` if that table does not exist.
fn read_sequence(connection: &Connection, entries: &[Entry]) -> Result<Option<Vec<SequenceRow>>> {
    // It exists if a table has AUTOINCREMENT, and remains after the last such table was dropped.
    let mut tables = entries.iter().filter(|entry| entry.kind == "table");
    if !tables.any(|entry| counts_up(&entry.sql)) && !has_table(connection, "sqlite_sequence")? {
        return Ok(None);
    }
    let mut statement = connection
        .prepare("SELECT quote(name), quote(seq) FROM main.sqlite_sequence ORDER BY rowid")?;
    let rows = statement.query_map([], |row| {
        Ok(SequenceRow {
            name: row.get(0)?,
            seq: row.get(1)?,
        })
    })?;
    rows.collect::<Result<_>>().map(Some)
}

/// Returns the planner's statistics. Only special builds of SQLite have `sqlite_stat4`.
fn read_statistics(
    connection: &Connection,
    losses: &mut Vec<Exception>,
) -> Result<Option<Statistics>> {
    for table in ["sqlite_stat4", "sqlite_stat3", "sqlite_stat2"] {
        if has_table(connection, table)? {
            let reason = "the stock `sqlite3` shell has no such table";
            losses.push(exception(table, ExceptionKind::Missing, reason));
        }
    }
    if !has_table(connection, "sqlite_stat1")? {
        return Ok(None);
    }
    let mut statement = connection.prepare(
        "SELECT quote(tbl), quote(idx), quote(stat) FROM main.sqlite_stat1 ORDER BY rowid",
    )?;
    let rows = statement.query_map([], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?;
    Ok(Some(Statistics {
        rows: rows.collect::<Result<_>>()?,
    }))
}

fn has_table(connection: &Connection, name: &str) -> Result<bool> {
    connection
        .prepare_cached("SELECT count(*) FROM main.sqlite_schema WHERE type='table' AND name=?1")?
        .query_row([name], |row| row.get(0))
}

fn read_encoding(connection: &Connection) -> Result<TextEncoding> {
    let name: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    Ok(match name.as_str() {
        "UTF-16le" => TextEncoding::Utf16Le,
        "UTF-16be" => TextEncoding::Utf16Be,
        _ => TextEncoding::Utf8,
    })
}
