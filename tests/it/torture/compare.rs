//! Tells two databases apart by everything a restore must bring back.
//!
//! Values are compared by storage class and bytes (reals by their bits), rows as multisets with their rowid, so the
//! order in which a dump wrote them plays no part.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, Row};

use super::CONTENTLESS;

/// Differences told per table; the rest is counted.
const MOST_TOLD: usize = 4;

/// Words that both databases' full-text tables are asked for.
const PROBES: &[&str] = &[
    "backup",
    "restore",
    "run*",
    "ba*",
    "grün",
    "restoring",
    "nowhere",
];

/// What differs between two databases, as sentences; empty where nothing does.
///
/// Left out: statistics, shadow tables, automatic indexes, and the content of [`CONTENTLESS`] tables.
pub(crate) fn compare(a: &Path, b: &Path) -> Vec<String> {
    compare_except(a, b, CONTENTLESS)
}

/// Like [`compare`], leaving out the content (never the schema) of the tables named in `exempt`.
pub(crate) fn compare_except(a: &Path, b: &Path, exempt: &[&str]) -> Vec<String> {
    let (a, b) = (open(a), open(b));
    let mut found = Vec::new();
    for pragma in ["encoding", "user_version", "application_id"] {
        let sql = format!("SELECT * FROM pragma_{pragma}");
        tell(
            &mut found,
            &format!("PRAGMA {pragma}"),
            rows(&a, &sql),
            rows(&b, &sql),
        );
    }
    tell(&mut found, "schema", schema(&a), schema(&b));
    tell(&mut found, "sqlite_sequence", sequence(&a), sequence(&b));
    let in_b = tables(&b);
    for table in tables(&a) {
        let exempt = exempt.contains(&table.name.as_str());
        if !exempt && in_b.iter().any(|other| other.name == table.name) {
            compare_table(&mut found, &a, &b, &table);
        }
    }
    for check in ["foreign_key_check", "integrity_check"] {
        let sql = format!("PRAGMA {check}");
        tell(&mut found, check, rows(&a, &sql), rows(&b, &sql));
    }
    found
}

/// Neither side is changed; temporary tables are allowed.
fn open(path: &Path) -> Connection {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(path, flags).unwrap();
    db.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY")
        .unwrap();
    db
}

/// One value, by storage class and bytes.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Cell {
    Null,
    Integer(i64),
    /// The bits, so that −0.0 is not 0.0.
    Real(u64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
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
            Self::Real(bits) => write!(f, "{:?}#{bits:016x}", f64::from_bits(*bits)),
            Self::Text(bytes) => write_bytes(f, "text", bytes),
            Self::Blob(bytes) => write_bytes(f, "blob", bytes),
        }
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, class: &str, bytes: &[u8]) -> fmt::Result {
    let start = &bytes[..bytes.len().min(160)];
    write!(f, "{class}[{}]'{}'", bytes.len(), start.escape_ascii())
}

/// What a query answers, or why it cannot.
type Answer = Result<Vec<Vec<Cell>>, String>;

fn rows(db: &Connection, sql: &str) -> Answer {
    let read = || -> rusqlite::Result<Vec<Vec<Cell>>> {
        let mut statement = db.prepare(sql)?;
        let width = statement.column_count();
        let cells = |row: &Row<'_>| (0..width).map(|at| Ok(row.get_ref(at)?.into())).collect();
        statement.query_map([], cells)?.collect()
    };
    read().map_err(|error| error.to_string())
}

/// Adds a sentence for each row that one side has and the other has not.
fn tell(found: &mut Vec<String>, what: &str, a: Answer, b: Answer) {
    let (a, b) = match (a, b) {
        (Ok(a), Ok(b)) => (a, b),
        (Err(a), Err(b)) if a == b => return,
        (a, b) => {
            let told = |side: Answer| side.map_or_else(|error| error, |_| "an answer".to_owned());
            found.push(format!(
                "{what}: {} in the first, {} in the second",
                told(a),
                told(b)
            ));
            return;
        }
    };
    let mut balance: BTreeMap<Vec<Cell>, i64> = BTreeMap::new();
    a.into_iter()
        .for_each(|row| *balance.entry(row).or_default() += 1);
    b.into_iter()
        .for_each(|row| *balance.entry(row).or_default() -= 1);
    balance.retain(|_, count| *count != 0);
    for (row, count) in balance.iter().take(MOST_TOLD) {
        let side = if *count > 0 { "first" } else { "second" };
        found.push(format!("{what}: only the {side} has {}", show(row)));
    }
    if balance.len() > MOST_TOLD {
        found.push(format!("{what}: {} rows differ", balance.len()));
    }
}

fn show(row: &[Cell]) -> String {
    let mut text = format!("{row:?}");
    if let Some((end, _)) = text.char_indices().nth(600) {
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Trailing blanks do not count: `CREATE INDEX … -- comment` cannot be ended without adding a newline.
fn schema(db: &Connection) -> Answer {
    rows(
        db,
        "SELECT type, name, tbl_name, rtrim(sql, char(9, 10, 13, 32)) FROM sqlite_schema \
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name NOT IN \
         (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow')",
    )
}

fn sequence(db: &Connection) -> Answer {
    let exists = "SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_sequence'";
    match db
        .prepare(exists)
        .and_then(|mut statement| statement.exists([]))
    {
        Ok(false) => Ok(Vec::new()),
        _ => rows(db, "SELECT name, seq FROM sqlite_sequence"),
    }
}

struct Table {
    name: String,
    module: Option<String>,
    has_rowid: bool,
}

/// The tables with content of their own: no shadow tables, nothing of SQLite's.
fn tables(db: &Connection) -> Vec<Table> {
    let sql = "SELECT list.name, list.wr, schema.sql FROM pragma_table_list AS list \
               JOIN sqlite_schema AS schema ON schema.name = list.name AND schema.type = 'table' \
               WHERE list.schema = 'main' AND list.type IN ('table', 'virtual') \
               AND list.name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY list.name";
    let mut statement = db.prepare(sql).unwrap();
    let table = |row: &Row<'_>| {
        Ok(Table {
            name: row.get(0)?,
            has_rowid: !row.get::<_, bool>(1)?,
            module: module_of(&row.get::<_, String>(2)?),
        })
    };
    statement
        .query_map([], table)
        .unwrap()
        .map(Result::unwrap)
        .collect()
}

/// `fts5` of `CREATE VIRTUAL TABLE x USING fts5(…)`.
fn module_of(sql: &str) -> Option<String> {
    let sql = sql.to_lowercase();
    let (_, rest) = sql
        .strip_prefix("create virtual table")?
        .split_once(" using ")?;
    Some(
        rest.trim()
            .split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()?
            .to_owned(),
    )
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn compare_table(found: &mut Vec<String>, a: &Connection, b: &Connection, table: &Table) {
    let name = quoted(&table.name);
    let sql = format!("SELECT {} FROM {name}", columns(a, table).join(", "));
    tell(
        found,
        &format!("table {name}"),
        rows(a, &sql),
        rows(b, &sql),
    );
    if table.module.as_deref() == Some("fts5") {
        tell(
            found,
            &format!("index of {name}"),
            vocabulary(a, table),
            vocabulary(b, table),
        );
    }
    if table
        .module
        .as_ref()
        .is_some_and(|module| module.starts_with("fts"))
    {
        for probe in PROBES {
            let sql = format!("SELECT rowid FROM {name} WHERE {name} MATCH '{probe}'");
            let what = format!("hits for `{probe}` in {name}");
            tell(found, &what, rows(a, &sql), rows(b, &sql));
        }
    }
}

/// Every column that holds a value, generated ones too, led by the rowid where it can be named.
fn columns(db: &Connection, table: &Table) -> Vec<String> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden <> 1";
    let mut statement = db.prepare(sql).unwrap();
    let names = statement
        .query_map([&table.name], |row| row.get(0))
        .unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    let is_free = |rowid: &&str| !names.iter().any(|name| name.eq_ignore_ascii_case(rowid));
    let rowid = ["rowid", "_rowid_", "oid"].into_iter().find(is_free);
    let rowid = rowid.filter(|_| table.has_rowid).map(str::to_owned);
    rowid
        .into_iter()
        .chain(names.iter().map(|name| quoted(name)))
        .collect()
}

/// Every term with its row, column and place.
fn vocabulary(db: &Connection, table: &Table) -> Answer {
    let name = quoted(&table.name);
    let make = format!(
        "DROP TABLE IF EXISTS temp.patina_vocabulary; \
         CREATE VIRTUAL TABLE temp.patina_vocabulary USING fts5vocab(main, {name}, instance)"
    );
    db.execute_batch(&make).map_err(|error| error.to_string())?;
    rows(db, "SELECT * FROM temp.patina_vocabulary")
}
