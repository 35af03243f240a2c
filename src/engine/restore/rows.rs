//! Compares the rows of one table in two databases, by key where it has one. Invariant: values are equal only with
//! the same type and the same bytes.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Result, Row, Statement, params_from_iter,
};
use tokio_util::sync::CancellationToken;

use super::query::value_of;
use crate::dump::{Literals, TextEncoding, Value, quoted_name};

/// SQLite instructions between two looks at the request to stop.
const INSTRUCTIONS_PER_CHECK: i32 = 100_000;

/// Keys are for people: longer ones are cut.
const MAX_KEY_CHARS: usize = 120;

/// So many characters have at most four bytes each.
const MAX_KEY_BYTES: usize = 4 * MAX_KEY_CHARS;

/// What differs in one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableDifference {
    /// Its name.
    pub name: String,
    /// What tells its rows apart.
    pub key: KeyKind,
    /// Rows that only the second copy has, and some of their keys.
    pub added: Changes,
    /// Rows that only the first copy has, and some of their keys.
    pub removed: Changes,
    /// Rows that both have with other values, and some of their keys.
    pub changed: Changes,
    /// Columns that only one copy has; the others were compared.
    pub columns: Vec<String>,
    /// Why its rows could not be compared.
    pub not_compared: Option<String>,
}

/// What tells rows apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KeyKind {
    /// The primary key: these columns.
    Primary(Vec<String>),
    /// The rowid.
    Rowid,
    /// Nothing: equal rows are counted, and no row can be called changed.
    #[default]
    Whole,
}

/// Rows that changed in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many.
    pub rows: u64,
    /// Keys of the first ones, as SQL.
    pub samples: Vec<String>,
}

impl Changes {
    fn add(&mut self, most: usize, key: impl FnOnce() -> String) {
        self.rows += 1;
        if self.samples.len() < most {
            self.samples.push(key());
        }
    }
}

impl TableDifference {
    /// Whether nothing is known to differ.
    pub fn is_empty(&self) -> bool {
        let rows = self.added.rows + self.removed.rows + self.changed.rows;
        rows == 0 && self.columns.is_empty()
    }
}

/// A database of ours, only to be read.
pub(super) fn open(path: &Path, stop: &CancellationToken) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.execute_batch("PRAGMA trusted_schema=OFF; PRAGMA cache_size=-8000;")?;
    let stop = stop.clone();
    connection.progress_handler(INSTRUCTIONS_PER_CHECK, Some(move || stop.is_cancelled()))?;
    Ok(connection)
}

/// The tables with rows of their own.
pub(super) fn tables(connection: &Connection) -> Result<Vec<String>> {
    let sql =
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type IN ('table', 'virtual')
               AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
    names(connection, sql, "")
}

fn names(connection: &Connection, sql: &str, table: &str) -> Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    match statement.parameter_count() {
        0 => statement.query_map([], |row| row.get(0))?.collect(),
        _ => statement.query_map([table], |row| row.get(0))?.collect(),
    }
}

/// One table in two databases.
pub(super) struct Rows<'a> {
    a: &'a Connection,
    b: &'a Connection,
    table: String,
    key: KeyKind,
    columns: Vec<String>,
    samples: usize,
    found: TableDifference,
}

impl<'a> Rows<'a> {
    pub(super) fn of(
        a: &'a Connection,
        b: &'a Connection,
        name: &str,
        samples: usize,
    ) -> Result<Self> {
        let (in_a, in_b) = (columns(a, name)?, columns(b, name)?);
        let common: Vec<String> = in_a
            .iter()
            .filter(|name| in_b.contains(name))
            .cloned()
            .collect();
        let lone = |some: &[String]| !some.is_empty();
        let mut lonely = Vec::new();
        if lone(&in_a) && lone(&in_b) {
            let all = in_a.iter().chain(&in_b);
            lonely = all.filter(|name| !common.contains(name)).cloned().collect();
        }
        // A table that only one copy has is compared with an empty one.
        let columns = match (in_a.is_empty(), in_b.is_empty()) {
            (true, _) => in_b,
            (_, true) => in_a,
            _ => common,
        };
        let key = key_of(a, b, name, &columns)?;
        Ok(Self {
            a,
            b,
            table: quoted_name(name),
            found: TableDifference {
                name: name.to_owned(),
                key: key.clone(),
                columns: lonely,
                ..TableDifference::default()
            },
            key,
            columns,
            samples,
        })
    }

    /// What differs; `None`: nothing.
    pub(super) fn compare(mut self) -> Result<Option<TableDifference>> {
        let compared = match self.key_terms() {
            Some(terms) => self.by_key(&terms),
            None => self.as_multisets(),
        };
        if let Err(error) = compared {
            if error.sqlite_error_code() == Some(rusqlite::ErrorCode::OperationInterrupted) {
                return Err(error);
            }
            self.found.not_compared = Some(crate::source::sqlite_message(&error));
        }
        let is_told = !self.found.is_empty() || self.found.not_compared.is_some();
        Ok(is_told.then_some(self.found))
    }

    fn key_terms(&self) -> Option<Vec<String>> {
        match &self.key {
            KeyKind::Primary(columns) => {
                Some(columns.iter().map(|name| quoted_name(name)).collect())
            }
            KeyKind::Rowid => Some(vec!["rowid".to_owned()]),
            KeyKind::Whole => None,
        }
    }

    fn by_key(&mut self, terms: &[String]) -> Result<()> {
        let (a, b) = (self.a, self.b);
        let (mut removed, mut changed) = (Changes::default(), Changes::default());
        self.each_missing(a, b, terms, |key, has_other| match has_other {
            true => changed.add(self.samples, || key_text(key)),
            false => removed.add(self.samples, || key_text(key)),
        })?;
        let mut added = Changes::default();
        self.each_missing(b, a, terms, |key, has_other| {
            if !has_other {
                added.add(self.samples, || key_text(key));
            }
        })?;
        (self.found.added, self.found.removed, self.found.changed) = (added, removed, changed);
        Ok(())
    }

    /// Calls `tell` with the key of each row of `from` that `to` does not have just so, and whether it has another with
    /// this key.
    fn each_missing(
        &self,
        from: &Connection,
        to: &Connection,
        terms: &[String],
        mut tell: impl FnMut(&[ValueRef<'_>], bool),
    ) -> Result<()> {
        if columns(from, &self.found.name)?.is_empty() {
            return Ok(());
        }
        let list = self.list();
        let mut all = from.prepare(&format!(
            "SELECT {},{list} FROM {}",
            terms.join(","),
            self.table
        ))?;
        let mut lookup = match columns(to, &self.found.name)?.is_empty() {
            true => None,
            false => {
                let terms: Vec<String> = terms.iter().map(|term| format!("{term} IS ?")).collect();
                let filter = terms.join(" AND ");
                Some(to.prepare(&format!("SELECT {list} FROM {} WHERE {filter}", self.table))?)
            }
        };
        let width = self.columns.len();
        let mut rows = all.query([])?;
        while let Some(row) = rows.next()? {
            let values = cells(row, terms.len() + width)?;
            let (key, values) = values.split_at(terms.len());
            match lookup.as_mut().map(|lookup| find(lookup, key, values)) {
                None => tell(key, false),
                Some(found) => match found? {
                    Some(true) => {}
                    Some(false) => tell(key, true),
                    None => tell(key, false),
                },
            }
        }
        Ok(())
    }

    fn list(&self) -> String {
        match self.columns.is_empty() {
            true => "NULL".to_owned(),
            false => self
                .columns
                .iter()
                .map(|name| quoted_name(name))
                .collect::<Vec<_>>()
                .join(","),
        }
    }

    fn as_multisets(&mut self) -> Result<()> {
        let mut balance: HashMap<[u8; 32], i64> = HashMap::new();
        for (connection, step) in [(self.a, -1), (self.b, 1)] {
            if columns(connection, &self.found.name)?.is_empty() {
                continue;
            }
            let sql = format!("SELECT {} FROM {}", self.list(), self.table);
            let mut statement = connection.prepare(&sql)?;
            let mut rows = statement.query([])?;
            while let Some(row) = rows.next()? {
                let mut hasher = blake3::Hasher::new();
                for value in cells(row, self.columns.len())? {
                    feed(&mut hasher, value);
                }
                *balance.entry(*hasher.finalize().as_bytes()).or_default() += step;
            }
        }
        for count in balance.values() {
            match *count {
                0 => {}
                1.. => self.found.added.rows += count.unsigned_abs(),
                _ => self.found.removed.rows += count.unsigned_abs(),
            }
        }
        Ok(())
    }
}

fn cells<'r>(row: &'r Row<'_>, width: usize) -> Result<Vec<ValueRef<'r>>> {
    (0..width).map(|at| row.get_ref(at)).collect()
}

/// Whether the row with this key has these values; `None`: there is no such row.
fn find(
    lookup: &mut Statement<'_>,
    key: &[ValueRef<'_>],
    values: &[ValueRef<'_>],
) -> Result<Option<bool>> {
    let key = key.iter().map(|value| ToSqlOutput::Borrowed(*value));
    let is_same = |row: &Row<'_>| {
        let others = cells(row, values.len())?;
        Ok(others.iter().zip(values).all(|(a, b)| is_equal(*a, *b)))
    };
    lookup.query_row(params_from_iter(key), is_same).optional()
}

/// Reals by their bits: −0.0 is not 0.0.
fn is_equal(a: ValueRef<'_>, b: ValueRef<'_>) -> bool {
    match (a, b) {
        (ValueRef::Real(a), ValueRef::Real(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

fn feed(hasher: &mut blake3::Hasher, value: ValueRef<'_>) {
    let (class, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => {
            hasher.update(&[1]).update(&number.to_le_bytes());
            return;
        }
        ValueRef::Real(number) => {
            hasher.update(&[2]).update(&number.to_bits().to_le_bytes());
            return;
        }
        ValueRef::Text(bytes) => (3, bytes),
        ValueRef::Blob(bytes) => (4, bytes),
    };
    hasher
        .update(&[class])
        .update(&(bytes.len() as u64).to_le_bytes());
    hasher.update(bytes);
}

fn key_text(key: &[ValueRef<'_>]) -> String {
    let literals = Literals::new(TextEncoding::Utf8);
    let mut text = Vec::new();
    for (at, value) in key.iter().enumerate() {
        if at > 0 {
            text.push(b',');
        }
        literals.write(&mut text, beginning(value_of(*value)));
    }
    let text = String::from_utf8_lossy(&text);
    match text.char_indices().nth(MAX_KEY_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// As much of a value as a key shows, so that a long one is not written out to be cut.
fn beginning(value: Value<'_>) -> Value<'_> {
    match value {
        Value::Text(bytes) if bytes.len() > MAX_KEY_BYTES => {
            let start = &bytes[..MAX_KEY_BYTES];
            let end = match std::str::from_utf8(start) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => start.len(),
            };
            Value::Text(&start[..end])
        }
        Value::Blob(bytes) if bytes.len() > MAX_KEY_BYTES => Value::Blob(&bytes[..MAX_KEY_BYTES]),
        short => short,
    }
}

/// The columns that hold values of their own; empty where there is no such table.
fn columns(connection: &Connection, table: &str) -> Result<Vec<String>> {
    names(
        connection,
        "SELECT name FROM pragma_table_xinfo(?1) WHERE hidden = 0",
        table,
    )
}

fn key_of(a: &Connection, b: &Connection, table: &str, columns: &[String]) -> Result<KeyKind> {
    let sql = "SELECT name FROM pragma_table_xinfo(?1) WHERE pk > 0 ORDER BY pk";
    let (mut primary, in_b) = (names(a, sql, table)?, names(b, sql, table)?);
    let is_lone = self::columns(a, table)?.is_empty() || self::columns(b, table)?.is_empty();
    if primary.is_empty() && is_lone {
        primary = in_b.clone();
    }
    let is_shared = primary == in_b || is_lone;
    let is_usable = !primary.is_empty() && primary.iter().all(|name| columns.contains(name));
    if is_shared && is_usable && !has_null(a, table, &primary)? && !has_null(b, table, &primary)? {
        return Ok(KeyKind::Primary(primary));
    }
    let has_rowid = |connection: &Connection| -> Result<bool> {
        let sql = format!("SELECT rowid FROM {} LIMIT 0", quoted_name(table));
        let is_there = !self::columns(connection, table)?.is_empty();
        Ok(!is_there || connection.prepare(&sql).is_ok())
    };
    let hides_rowid = columns
        .iter()
        .any(|name| name.eq_ignore_ascii_case("rowid"));
    Ok(match !hides_rowid && has_rowid(a)? && has_rowid(b)? {
        true => KeyKind::Rowid,
        false => KeyKind::Whole,
    })
}

/// A primary key of a table with rowids may hold NULL, any number of times.
fn has_null(connection: &Connection, table: &str, key: &[String]) -> Result<bool> {
    if columns(connection, table)?.is_empty() {
        return Ok(false);
    }
    let terms: Vec<String> = key
        .iter()
        .map(|name| format!("{} IS NULL", quoted_name(name)))
        .collect();
    let sql = format!(
        "SELECT 1 FROM {} WHERE {} LIMIT 1",
        quoted_name(table),
        terms.join(" OR ")
    );
    connection.prepare(&sql)?.exists([])
}
