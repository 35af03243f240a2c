//! Describes a SQLite database for the dump: its tables in dump order, what to read, and what must stay out.

use std::collections::HashSet;

use rusqlite::{Connection, OptionalExtension, Result};

use super::foreign_key::indexes_for_keys;
use super::virtual_table::{FullText, Module};
use crate::dump::{
    Content, Database, Rowid, SchemaObject, Table, TextEncoding, ends_in_open_comment,
    parents_first, quoted_name,
};
use crate::types::Hasher;
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

/// One row of `sqlite_schema`.
struct Entry {
    kind: String,
    name: String,
    table: String,
    sql: String,
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
        match virtual_module(entry) {
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
    for table in &tables {
        if let Content::Omitted(reason) = &table.content {
            warnings.push(format!(
                "the rows of table `{}` are left out: {reason}",
                table.name
            ));
        }
    }
    let sequence = read_sequence(connection, &entries)?;
    let encoding = read_encoding(connection)?;
    let digest = digest(&entries, sequence.as_deref(), encoding);
    warn_of_schema_text(&entries, &mut warnings);
    let early = indexes_for_keys(connection, &tables)?;
    let (early_indexes, objects) = objects_of(entries)
        .into_iter()
        .partition(|object| object.kind == "index" && early.contains(&object.name));
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

/// D1 keeps tables of its own under such names.
fn is_cloudflare(name: &str) -> bool {
    name.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("_cf_"))
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

/// Brings texts into the form that a restore keeps: one that ends in a comment cannot be ended as it stands.
fn make_texts_end_well(entries: &mut [Entry], warnings: &mut Vec<String>) {
    for Entry {
        kind, name, sql, ..
    } in entries
    {
        // `CREATE INDEX … -- why` needs a newline before its `;`, and SQLite keeps that newline.
        let length = sql.trim_end_matches([' ', '\t', '\n', '\r', '\x0c']).len();
        sql.truncate(length);
        if ends_in_open_comment(sql) {
            sql.push_str(" */");
            warnings.push(format!(
                "the text of {kind} `{name}` ends inside a comment, which the dump closes"
            ));
        }
    }
}

fn virtual_module(entry: &Entry) -> Option<Module> {
    let start = entry.sql.get(.."CREATE VIRTUAL".len())?;
    start
        .eq_ignore_ascii_case("CREATE VIRTUAL")
        .then(|| Module::of(&entry.sql))?
}

/// A column as `PRAGMA table_xinfo` describes it.
struct Column {
    name: String,
    declared: String,
    key_place: i64,
    is_hidden: bool,
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
    let key = if has_rowid {
        rowid_key(connection, entry, &columns)?
    } else {
        let index = primary_key_index(connection, &entry.name)?;
        RowKey::None(key_order(connection, index.as_deref())?)
    };
    let (rows, rowid, order_by) = count(connection, &entry.name, key)?;
    Ok(Table {
        name: entry.name.clone(),
        sql: entry.sql.clone(),
        is_virtual: false,
        columns: visible(columns),
        rowid,
        order_by,
        rows,
        content: Content::Rows,
        settings: Vec::new(),
        parents: read_parents(connection, entry)?,
    })
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

fn visible(columns: Vec<Column>) -> Vec<String> {
    columns
        .into_iter()
        .filter(|column| !column.is_hidden)
        .map(|column| column.name)
        .collect()
}

fn primary_key_index(connection: &Connection, table: &str) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT name FROM pragma_index_list(?1) WHERE origin = 'pk'")?
        .query_row([table], |row| row.get(0))
        .optional()
}

/// What identifies the rows of a table.
enum RowKey {
    /// This column is the rowid.
    Column(String),
    /// The rowid, under this name.
    Rowid(&'static str),
    /// Something else; with the `ORDER BY` terms for it.
    None(String),
}

/// What identifies the rows of a table that has rowids.
fn rowid_key(connection: &Connection, entry: &Entry, columns: &[Column]) -> Result<RowKey> {
    let mut keys = columns.iter().filter(|column| column.key_place > 0);
    if let (Some(key), None) = (keys.next(), keys.next())
        && key.declared.eq_ignore_ascii_case("INTEGER")
        // `INTEGER PRIMARY KEY DESC` is the one that is no rowid; SQLite makes an index for it.
        && !(holds_word(&entry.sql, "desc") && primary_key_index(connection, &entry.name)?.is_some())
    {
        return Ok(RowKey::Column(quoted_name(&key.name)));
    }
    let is_free = |name: &&str| {
        !columns
            .iter()
            .any(|column| column.name.eq_ignore_ascii_case(name))
    };
    let free = ["rowid", "_rowid_", "oid"].into_iter().find(is_free);
    // Where columns hide all three names, nobody can see this table's rowids, so nobody can miss them.
    Ok(free.map_or_else(|| RowKey::None(String::new()), RowKey::Rowid))
}

/// Counts a table's rows; gives what to do about its rowids, and the `ORDER BY` terms.
fn count(connection: &Connection, table: &str, key: RowKey) -> Result<(u64, Rowid, String)> {
    let table = quoted_name(table);
    let count = format!("(SELECT count(*) FROM main.{table})");
    let ask = |sql: String, read: fn(&rusqlite::Row<'_>) -> Result<(u64, bool)>| {
        connection.prepare(&sql)?.query_row([], read)
    };
    match key {
        RowKey::Column(order_by) | RowKey::None(order_by) => {
            let (rows, _) = ask(format!("SELECT {count}"), |row| Ok((row.get(0)?, true)))?;
            Ok((rows, Rowid::Implied, order_by))
        }
        RowKey::Rowid(name) => {
            let sql = format!(
                "SELECT n, n = 0 OR (SELECT min({name}) FROM main.{table}) = 1 \
                 AND (SELECT max({name}) FROM main.{table}) = n FROM (SELECT {count} AS n)"
            );
            let (rows, is_gapless) = ask(sql, |row| Ok((row.get(0)?, row.get(1)?)))?;
            let rowid = if is_gapless {
                Rowid::Implied
            } else {
                Rowid::Kept(name)
            };
            Ok((rows, rowid, name.to_owned()))
        }
    }
}

/// The key order of a WITHOUT ROWID table; empty where only a scan of the table gives it.
fn key_order(connection: &Connection, key_index: Option<&str>) -> Result<String> {
    let Some(index) = key_index else {
        return Ok(String::new());
    };
    let mut statement = connection.prepare_cached(
        "SELECT name, \"desc\", coll FROM pragma_index_xinfo(?1) WHERE key = 1 ORDER BY seqno",
    )?;
    let mut rows = statement.query([index])?;
    let mut terms = Vec::new();
    while let Some(row) = rows.next()? {
        let (column, descends, collation): (String, bool, String) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        if !["BINARY", "NOCASE", "RTRIM"].contains(&collation.to_ascii_uppercase().as_str()) {
            return Ok(String::new());
        }
        let direction = if descends { " DESC" } else { "" };
        terms.push(format!(
            "{} COLLATE {collation}{direction}",
            quoted_name(&column)
        ));
    }
    Ok(terms.join(","))
}

fn virtual_table(connection: &Connection, entry: &Entry, module: &Module) -> Result<Table> {
    let is_full_text = ["fts3", "fts4", "fts5"].contains(&module.name.as_str());
    let content = match module.name.as_str() {
        "rtree" | "rtree_i32" => Content::Rows,
        _ if is_full_text => match module.full_text() {
            FullText::Own => Content::Rows,
            FullText::External => Content::Rebuilt,
            FullText::Contentless => Content::Omitted(
                "a contentless full-text table holds an index of text that it does not keep"
                    .to_owned(),
            ),
        },
        name => Content::Omitted(format!("the module `{name}` keeps no rows of its own")),
    };
    let name = quoted_name(&entry.name);
    let rows = match content {
        Content::Rows => connection
            .prepare(&format!("SELECT count(*) FROM main.{name}"))?
            .query_row([], |row| row.get(0))?,
        Content::Rebuilt | Content::Omitted(_) => 0,
    };
    let settings = match module.name.as_str() {
        "fts5" => read_settings(connection, &entry.name)?,
        _ => Vec::new(),
    };
    Ok(Table {
        name: entry.name.clone(),
        sql: entry.sql.clone(),
        is_virtual: true,
        columns: visible(read_columns(connection, &entry.name)?),
        rowid: match is_full_text {
            true => Rowid::Kept("rowid"),
            false => Rowid::Implied,
        },
        order_by: "rowid".to_owned(),
        rows,
        content,
        settings,
        parents: Vec::new(),
    })
}

/// What `INSERT INTO f(f, rank) VALUES(setting, value)` has set.
fn read_settings(connection: &Connection, table: &str) -> Result<Vec<(String, String)>> {
    let shadow = quoted_name(&format!("{table}_config"));
    let sql = format!("SELECT k, quote(v) FROM main.{shadow} WHERE k <> 'version' ORDER BY k");
    let mut statement = connection.prepare(&sql)?;
    let settings = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    settings.collect()
}

fn apply_skip_data(tables: &mut [Table], skip_data: &[String], warnings: &mut Vec<String>) {
    for name in skip_data {
        match tables
            .iter_mut()
            .find(|table| table.name.eq_ignore_ascii_case(name))
        {
            Some(table) => table.content = Content::Omitted("skip_data".to_owned()),
            None => warnings.push(format!(
                "skip_data names table `{name}`, which does not exist"
            )),
        }
    }
}

/// The sequence values of tables that exist; `None` where no table counts with AUTOINCREMENT.
fn read_sequence(connection: &Connection, entries: &[Entry]) -> Result<Option<Vec<(String, i64)>>> {
    let mut is_any = false;
    for entry in entries.iter().filter(|entry| entry.kind == "table") {
        is_any = is_any || counts_up(connection, entry)?;
    }
    if !is_any {
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

/// Whether the table has an AUTOINCREMENT key; the word alone may stand in a comment or a default.
fn counts_up(connection: &Connection, entry: &Entry) -> Result<bool> {
    if !holds_word(&entry.sql, "autoincrement") {
        return Ok(false);
    }
    for column in read_columns(connection, &entry.name)? {
        let is_counter = |column: &str| -> Result<bool> {
            let (_, _, _, _, counts) =
                connection.column_metadata(Some("main"), &*entry.name, column)?;
            Ok(counts)
        };
        if column.key_place > 0 && is_counter(&column.name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn read_encoding(connection: &Connection) -> Result<TextEncoding> {
    let name: String = connection.pragma_query_value(None, "encoding", |row| row.get(0))?;
    Ok(match name.as_str() {
        "UTF-16le" => TextEncoding::Utf16Le,
        "UTF-16be" => TextEncoding::Utf16Be,
        _ => TextEncoding::Utf8,
    })
}

/// Ordinary tables parents first, then virtual ones in schema order.
fn in_dump_order(tables: Vec<Table>) -> Vec<Table> {
    let (ordinary, virtual_tables): (Vec<Table>, Vec<Table>) =
        tables.into_iter().partition(|table| !table.is_virtual);
    let links: Vec<(&str, Vec<String>)> = ordinary
        .iter()
        .map(|table| (table.name.as_str(), table.parents.clone()))
        .collect();
    let order = parents_first(&links);
    let mut slots: Vec<Option<Table>> = ordinary.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|index| slots[index].take())
        .chain(virtual_tables)
        .collect()
}

fn objects_of(entries: Vec<Entry>) -> Vec<SchemaObject> {
    let mut objects = Vec::new();
    let (tables, mut rest): (Vec<Entry>, Vec<Entry>) =
        entries.into_iter().partition(|entry| entry.kind == "table");
    drop(tables);
    for kind in ["index", "view", "trigger"] {
        let (of_kind, others): (Vec<Entry>, Vec<Entry>) =
            rest.into_iter().partition(|entry| entry.kind == kind);
        rest = others;
        objects.extend(of_kind.into_iter().map(|entry| SchemaObject {
            kind: entry.kind,
            name: entry.name,
            sql: entry.sql,
        }));
    }
    objects
}

fn digest(entries: &[Entry], sequence: Option<&[(String, i64)]>, encoding: TextEncoding) -> Sha256 {
    let mut lines: Vec<[&str; 4]> = entries
        .iter()
        .map(|entry| [&*entry.kind, &*entry.name, &*entry.table, &*entry.sql])
        .collect();
    lines.sort_unstable();
    let mut hasher = Hasher::default();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    lines.iter().flatten().for_each(|text| add(text));
    for (name, seq) in sequence.unwrap_or_default() {
        add(name);
        add(&seq.to_string());
    }
    add(encoding.pragma_name());
    hasher.finish()
}

/// Schema text stays verbatim, so what a tool changes in it cannot be avoided, only told.
fn warn_of_schema_text(entries: &[Entry], warnings: &mut Vec<String>) {
    for Entry {
        kind, name, sql, ..
    } in entries
    {
        if sql.contains("\r\n") {
            warnings.push(format!(
                "the text of {kind} `{name}` has CRLF line ends, which the `sqlite3` shell turns into LF"
            ));
        }
        if sql.contains("BEGIN TRANSACTION") {
            warnings.push(format!(
                "the text of {kind} `{name}` holds the words BEGIN TRANSACTION, which wrangler refuses or cuts out"
            ));
        }
    }
}
