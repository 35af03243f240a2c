//! Takes stock of a database with SQL of its own: everything a restore must bring back, part by part.
//!
//! Invariant: nothing here imports `patina`. What one reader overlooks, another must not overlook in the same way.

mod full_text;
mod module;

use std::collections::{BTreeMap, HashMap};
use std::fmt::{self, Debug};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, ToSql};

use self::module::{Module, module_of};
use super::program;

/// Columns in one query. SQLite allows 2,000 in a result, and UTF-16 values take two each.
const COLUMNS_AT_ONCE: usize = 500;

/// What `PRAGMA` says and a copy must say, too.
const SETTINGS: &[&str] = &[
    "encoding",
    "page_size",
    "auto_vacuum",
    "user_version",
    "application_id",
];

/// One value, by storage class and bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    /// The bits, so that −0.0 is not 0.0.
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
}

pub(super) type Rows = Vec<Vec<Cell>>;

/// One thing that must be equal in source and copy.
pub(super) struct Part {
    /// What sort of thing it is, for counting.
    pub(super) kind: &'static str,
    /// The names under which an exception may declare that it is not.
    pub(super) objects: Vec<String>,
    /// Sorted rows, or why they cannot be read.
    pub(super) answer: Result<Rows, String>,
}

/// Everything that must be equal, by what it is called.
#[derive(Default)]
pub(super) struct Inventory {
    pub(super) parts: BTreeMap<String, Part>,
}

/// Reads everything in the database at `path`.
pub(super) fn take(path: &Path) -> Result<Inventory, String> {
    let db = open(path).map_err(|error| error.to_string())?;
    let mut inventory = Inventory::default();
    for setting in SETTINGS {
        let answer = rows(&db, &format!("PRAGMA main.{setting}"), &[]);
        inventory.add(setting, "(setting)", &[setting], answer);
    }
    let encoding: String = db
        .query_row("PRAGMA encoding", [], |row| row.get(0))
        .map_err(|error| error.to_string())?;
    let entries = entries(&db)?;
    inventory.add_schema(&entries);
    let mut shadows = HashMap::new();
    for entry in entries.iter().filter(|entry| entry.is_virtual()) {
        add_virtual(&mut inventory, &db, entry, &mut shadows);
    }
    let tables = entries
        .iter()
        .filter(|entry| entry.kind == b"table" && entry.root_page > 0);
    for entry in tables {
        let rule = shadows.get(&entry.name().to_lowercase());
        add_table(&mut inventory, &db, entry, rule, encoding != "UTF-8");
    }
    Ok(inventory)
}

/// What SQLite's own check says of the database at `path`; empty where it finds nothing.
pub(super) fn check(path: &Path) -> Result<Vec<String>, String> {
    let read = || -> rusqlite::Result<Vec<String>> {
        let db = open(path)?;
        let mut check = db.prepare("PRAGMA integrity_check(50)")?;
        let lines = check.query_map([], |row| Ok(lossy(row.get_ref(0)?)))?;
        lines.collect()
    };
    let lines = read().map_err(|error| error.to_string())?;
    Ok(lines.into_iter().filter(|line| line != "ok").collect())
}

/// Whether a line of that check is about a row that breaks a rule of its table, not about damage.
pub(super) fn is_about_rules(line: &str) -> bool {
    let rules = [
        "NULL value in ",
        "CHECK constraint failed in ",
        "NUMERIC value in ",
    ];
    let classes = [
        "TEXT value in ",
        "BLOB value in ",
        "INT value in ",
        "REAL value in ",
        "non-",
    ];
    rules.iter().any(|start| line.starts_with(start))
        || classes
            .iter()
            .any(|class| line.starts_with(class) && line.contains(" value in "))
}

fn open(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags)?;
    program::register(&db)?;
    db.execute_batch("PRAGMA temp_store=MEMORY; PRAGMA foreign_keys=OFF")?;
    Ok(db)
}

/// A row of `sqlite_schema`, as bytes.
struct Entry {
    kind: Vec<u8>,
    name: Vec<u8>,
    table: Vec<u8>,
    sql: Cell,
    root_page: i64,
}

impl Entry {
    fn name(&self) -> String {
        String::from_utf8_lossy(&self.name).into_owned()
    }

    fn sql(&self) -> String {
        match &self.sql {
            Cell::Text(sql) => String::from_utf8_lossy(sql).into_owned(),
            _ => String::new(),
        }
    }

    fn is_virtual(&self) -> bool {
        self.kind == b"table" && self.root_page == 0
    }
}

fn entries(db: &Connection) -> Result<Vec<Entry>, String> {
    let sql = "SELECT type, name, tbl_name, sql, rootpage FROM main.sqlite_schema";
    let bytes = |cell: &Cell| match cell {
        Cell::Text(bytes) | Cell::Blob(bytes) => bytes.clone(),
        other => format!("{other:?}").into_bytes(),
    };
    let entry = |row: Vec<Cell>| Entry {
        kind: bytes(&row[0]),
        name: bytes(&row[1]),
        table: bytes(&row[2]),
        sql: row[3].clone(),
        root_page: match row[4] {
            Cell::Integer(page) => page,
            _ => 0,
        },
    };
    Ok(rows(db, sql, &[])?.into_iter().map(entry).collect())
}

impl Inventory {
    /// Adds what is equal where it has the same rows, in any order.
    fn add(
        &mut self,
        kind: &'static str,
        which: &str,
        objects: &[&str],
        mut answer: Result<Rows, String>,
    ) {
        if let Ok(rows) = &mut answer {
            rows.sort();
        }
        self.add_ordered(kind, which, objects, answer);
    }

    fn add_ordered(
        &mut self,
        kind: &'static str,
        which: &str,
        objects: &[&str],
        answer: Result<Rows, String>,
    ) {
        let what = format!("{kind} {which}");
        let objects = objects.iter().map(|object| (*object).to_owned()).collect();
        let part = Part {
            kind,
            objects,
            answer,
        };
        self.parts.insert(what.escape_debug().to_string(), part);
    }

    fn add_schema(&mut self, entries: &[Entry]) {
        let mut by_name: BTreeMap<(Vec<u8>, Vec<u8>), Vec<&Entry>> = BTreeMap::new();
        for entry in entries {
            let key = (entry.kind.clone(), entry.name.clone());
            by_name.entry(key).or_default().push(entry);
        }
        for ((kind, name), same) in by_name {
            let what = match kind.as_slice() {
                b"table" => "schema of table",
                b"index" => "schema of index",
                b"view" => "schema of view",
                b"trigger" => "schema of trigger",
                _ => "schema of something else,",
            };
            let name = String::from_utf8_lossy(&name).into_owned();
            let row = |entry: &&Entry| {
                let is_stored = Cell::Integer((entry.root_page > 0).into());
                vec![
                    Cell::Text(entry.table.clone()),
                    entry.sql.clone(),
                    is_stored,
                ]
            };
            let (own, table) = (
                same[0].name(),
                String::from_utf8_lossy(&same[0].table).into_owned(),
            );
            let rows = same.iter().map(row).collect();
            self.add(what, &name, &[&own, &table], Ok(rows));
        }
    }
}

/// How a shadow table of a virtual table that can be read is compared.
enum Shadow {
    /// Not at all: another layout of the same index is as good.
    Layout,
    /// Without the column `origin`, which numbers segments.
    DocSizes,
    /// The totals of an FTS5 index, in the row 1.
    Fts5Totals,
    /// The totals and the setting of an FTS4 index, not its hint to merge.
    Fts4Totals,
    /// The settings of an FTS5 index, not the number of its layout.
    Fts5Settings,
    /// The ids and additional columns of an R-tree, not the node each row lies in.
    RtreeRows,
}

/// Adds what a virtual table answers, and says which shadow tables that covers.
fn add_virtual(
    inventory: &mut Inventory,
    db: &Connection,
    entry: &Entry,
    shadows: &mut HashMap<String, (Shadow, String)>,
) {
    let name = entry.name();
    let Some(module) = module_of(&entry.sql()) else {
        return;
    };
    let is_readable = db
        .prepare(&format!("SELECT * FROM main.{}", quoted(&name)))
        .is_ok();
    inventory.add(
        "readable virtual table",
        &name,
        &[&name],
        Ok(vec![vec![Cell::Integer(is_readable.into())]]),
    );
    if !is_readable {
        return;
    }
    let mut shadow = |suffix: &str, rule: Shadow| {
        let table = format!("{name}_{suffix}").to_lowercase();
        shadows.insert(table, (rule, name.clone()));
    };
    match module {
        Module::Fts5 => {
            shadow("data", Shadow::Fts5Totals);
            shadow("idx", Shadow::Layout);
            shadow("docsize", Shadow::DocSizes);
            shadow("config", Shadow::Fts5Settings);
            full_text::add_fts5(inventory, db, &name);
        }
        Module::Fts3 | Module::Fts4 => {
            shadow("segments", Shadow::Layout);
            shadow("segdir", Shadow::Layout);
            if module == Module::Fts4 {
                shadow("stat", Shadow::Fts4Totals);
            }
            full_text::add_fts3(inventory, db, &name);
        }
        Module::Rtree => {
            shadow("node", Shadow::Layout);
            shadow("parent", Shadow::Layout);
            shadow("rowid", Shadow::RtreeRows);
            let answer = rows(db, &format!("SELECT * FROM main.{}", quoted(&name)), &[]);
            inventory.add("boxes of", &name, &[&name], answer);
        }
        Module::Vocabulary => {
            let answer = rows(db, &format!("SELECT * FROM main.{}", quoted(&name)), &[]);
            inventory.add("words shown by", &name, &[&name], answer);
        }
        Module::Other => {}
    }
}

/// Adds the rows of a table that has pages of its own.
fn add_table(
    inventory: &mut Inventory,
    db: &Connection,
    entry: &Entry,
    rule: Option<&(Shadow, String)>,
    is_utf16: bool,
) {
    let name = entry.name();
    let table = format!("main.{}", quoted(&name));
    let objects: Vec<&str> = match rule {
        Some((_, owner)) => vec![&name, owner],
        None => vec![&name],
    };
    let kind = match rule {
        None if is_of_sqlite(&name) => "own rows of",
        None => "rows of",
        Some(_) => "shadow rows of",
    };
    let chosen = match rule {
        None => None,
        Some((Shadow::Layout, _)) => return,
        Some((Shadow::Fts5Totals, _)) => Some(
            "SELECT CASE WHEN trim(hex(block), '0') = '' THEN '' ELSE hex(block) END FROM {} WHERE id = 1",
        ),
        Some((Shadow::Fts4Totals, _)) => {
            Some("SELECT id, hex(value) FROM {} WHERE id <> 1 AND trim(hex(value), '0') <> ''")
        }
        Some((Shadow::Fts5Settings, _)) => Some("SELECT k, v FROM {} WHERE k <> 'version'"),
        Some((Shadow::RtreeRows | Shadow::DocSizes, _)) => None,
    };
    if let Some(sql) = chosen {
        let answer = rows(db, &sql.replace("{}", &table), &[]);
        inventory.add(kind, &name, &objects, answer);
        return;
    }
    if is_of_sqlite(&name) {
        inventory.add_ordered(kind, &name, &objects, own_table(db, &name));
        return;
    }
    let mut columns = match columns(db, &name) {
        Ok(columns) => columns,
        Err(error) => return inventory.add(kind, &name, &objects, Err(error)),
    };
    let left_out = match rule {
        Some((Shadow::DocSizes, _)) => Some("origin"),
        Some((Shadow::RtreeRows, _)) => Some("nodeno"),
        _ => None,
    };
    let rowid = free_rowid(db, &name, &columns);
    columns.retain(|column| Some(column.as_str()) != left_out);
    for (at, some) in columns.chunks(COLUMNS_AT_ONCE).enumerate() {
        let named = some.iter().map(|column| quoted(column));
        let terms: Vec<String> = rowid.iter().cloned().chain(named).collect();
        let terms: Vec<String> = terms
            .iter()
            .flat_map(|term| as_stored(term, is_utf16))
            .collect();
        let sql = format!("SELECT {} FROM {table} NOT INDEXED", terms.join(", "));
        let which = match at {
            0 => name.clone(),
            _ => format!("{name}, part {at}"),
        };
        inventory.add(kind, &which, &objects, rows(db, &sql, &[]));
    }
}

/// The bytes as they lie in the file: SQLite turns UTF-16 into UTF-8 for who reads text, and that loses half pairs.
fn as_stored(term: &str, is_utf16: bool) -> Vec<String> {
    if !is_utf16 {
        return vec![term.to_owned()];
    }
    let bytes =
        format!("CASE typeof({term}) WHEN 'text' THEN CAST({term} AS BLOB) ELSE {term} END");
    vec![format!("typeof({term})"), bytes]
}

fn is_of_sqlite(name: &str) -> bool {
    name == "sqlite_sequence" || name.starts_with("sqlite_stat")
}

/// Rows by their first two columns, those with the same ones in the order in which they lie.
fn own_table(db: &Connection, name: &str) -> Result<Rows, String> {
    let sql = format!("SELECT * FROM main.{} ORDER BY rowid", quoted(name));
    let mut rows = rows(db, &sql, &[])?;
    let keys = if name == "sqlite_sequence" { 1 } else { 2 };
    rows.sort_by(|a, b| a[..keys].cmp(&b[..keys]));
    Ok(rows)
}

/// Every column with a value, generated ones too.
fn columns(db: &Connection, table: &str) -> Result<Vec<String>, String> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1";
    let rows = rows(db, sql, &[&table])?;
    let name = |row: Vec<Cell>| match &row[0] {
        Cell::Text(name) => String::from_utf8(name.clone()).map_err(|error| error.to_string()),
        other => Err(format!("a column called {other:?}")),
    };
    rows.into_iter().map(name).collect()
}

/// A name of the rowid that no column has; none where the table has no rowid.
fn free_rowid(db: &Connection, table: &str, columns: &[String]) -> Option<String> {
    let is_free = |name: &&str| {
        !columns
            .iter()
            .any(|column| column.eq_ignore_ascii_case(name))
    };
    let name = ["rowid", "_rowid_", "oid"].into_iter().find(is_free)?;
    let sql = format!("SELECT {name} FROM main.{}", quoted(table));
    db.prepare(&sql).is_ok().then(|| name.to_owned())
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn rows(db: &Connection, sql: &str, parameters: &[&dyn ToSql]) -> Result<Rows, String> {
    let read = || -> rusqlite::Result<Rows> {
        let mut statement = db.prepare(sql)?;
        let width = statement.column_count();
        let mut found = statement.query(parameters)?;
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let cells = (0..width).map(|at| Ok(row.get_ref(at)?.into()));
            rows.push(cells.collect::<rusqlite::Result<Vec<Cell>>>()?);
        }
        Ok(rows)
    };
    read().map_err(|error| error.to_string())
}

fn lossy(value: ValueRef<'_>) -> String {
    match value {
        ValueRef::Text(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        other => format!("{other:?}"),
    }
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real.to_bits()),
            ValueRef::Text(bytes) => Self::Text(bytes.to_vec()),
            ValueRef::Blob(bytes) => Self::Blob(bytes.to_vec()),
        }
    }
}

impl Debug for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("NULL"),
            Self::Integer(integer) => write!(f, "{integer}"),
            Self::Real(bits) => write!(f, "{:?}", f64::from_bits(*bits)),
            Self::Text(bytes) => write_bytes(f, "", bytes),
            Self::Blob(bytes) => write_bytes(f, "blob", bytes),
        }
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, class: &str, bytes: &[u8]) -> fmt::Result {
    let start = &bytes[..bytes.len().min(300)];
    write!(f, "{class}'{}'", start.escape_ascii())?;
    if bytes.len() > start.len() {
        write!(f, "… {} bytes", bytes.len())?;
    }
    Ok(())
}
