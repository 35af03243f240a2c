//! Writes the queries that read rows without loss, one page at a time. Pure.
//!
//! A page begins after the last row's key, which is a literal in the query: parameters would be compared as text.

use std::collections::BTreeSet;

use super::answer::Cell;
use crate::dump::{Content, Literals, Rowid, Table, TextEncoding, quoted_name};
use crate::source::describe::{KeyTerm, RowKey};

/// Columns per statement. A result set of D1 has at most 100; the key may need some.
const COLUMNS_PER_STATEMENT: usize = 90;

/// Length of a statement at which another one is begun, in bytes. D1 accepts 100,000.
const STATEMENT_BYTES: usize = 80_000;

/// Upper bound for the length of a key in a query, in bytes; after a longer one the next page is found by counting
/// rows.
const KEY_BYTES: usize = 8_000;

/// Size above which a value is read in slices when a table is read page by page, in bytes.
const LARGE_BYTES: u64 = 500_000;

/// The queries that read one table.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) table: &'a Table,
    pub(super) key: &'a RowKey,
    /// Size of the largest value of each column, in bytes; `None` if unknown.
    pub(super) largest: Option<&'a [u64]>,
    /// Largest rowid when the rows were counted; later rows are left to the next backup.
    pub(super) last: Option<i64>,
    /// Columns whose text is read as hex, since it may not be UTF-8.
    pub(super) as_hex: BTreeSet<usize>,
    /// True if `atan2` distinguishes −0.0 from 0.0 here.
    pub(super) has_atan2: bool,
}

/// Start of a page.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Begin {
    /// At the first row.
    Start,
    /// After the row with these key values.
    After(Vec<Cell>),
    /// After this many rows.
    Offset(u64),
}

/// Size of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// All remaining rows.
    All,
    /// This number of rows.
    Rows(u64),
    /// At most this number of rows and, unless it is one row, of bytes.
    RowsAndBytes(u64, u64),
}

impl<'a> Reader<'a> {
    /// Creates a reader that reads every value of a table in full.
    pub(super) fn new(table: &'a Table, key: &'a RowKey, has_atan2: bool) -> Self {
        Self {
            table,
            key,
            largest: Some(&[]),
            last: None,
            as_hex: BTreeSet::new(),
            has_atan2,
        }
    }

    /// True if there are rows to read.
    pub(super) fn has_rows(&self) -> bool {
        self.table.content == Content::Rows
    }

    /// Returns the statements that read one page, for one transaction; their rows are joined by [`Self::join`].
    pub(super) fn page(&self, from: &Begin, limit: Limit) -> Vec<String> {
        let tail = self.tail(from, limit);
        let mut statements = Vec::new();
        let mut terms: Vec<String> = self.rowid_term().into_iter().collect();
        let mut bytes = 0;
        for column in 0..self.table.columns.len() {
            let term = self.term(column);
            bytes += term.len();
            if terms.len() >= COLUMNS_PER_STATEMENT || bytes + tail.len() > STATEMENT_BYTES {
                bytes = term.len();
                statements.push(format!("SELECT {} {tail}", terms.join(",")));
                terms.clear();
            }
            terms.push(term);
        }
        statements.push(format!("SELECT {} {tail}", terms.join(",")));
        statements
    }

    /// Joins the parts of each row; `None` if they do not match.
    pub(super) fn join(&self, parts: Vec<Vec<Vec<Cell>>>) -> Option<Vec<Vec<Cell>>> {
        let mut parts = parts.into_iter();
        let mut rows = parts.next()?;
        for part in parts {
            if part.len() != rows.len() {
                return None;
            }
            for (row, more) in rows.iter_mut().zip(part) {
                row.extend(more);
            }
        }
        let width = self.table.columns.len() + usize::from(self.rowid_term().is_some());
        rows.iter().all(|row| row.len() == width).then_some(rows)
    }

    /// Returns the columns with text that may not be UTF-8.
    pub(super) fn doubtful(&self, rows: &[Vec<Cell>]) -> BTreeSet<usize> {
        let skipped = self.first_column();
        let cells = rows.iter().flat_map(|row| row.iter().enumerate());
        let doubtful = cells.filter(|(_, cell)| **cell == Cell::Doubtful);
        doubtful.map(|(at, _)| at - skipped).collect()
    }

    /// Returns the cells of a row that are written to the dump and included in the evidence's digest.
    pub(super) fn written<'r>(&self, row: &'r [Cell], rowid: Rowid) -> &'r [Cell] {
        match rowid {
            Rowid::Kept(_) => row,
            Rowid::Implied => &row[self.first_column()..],
        }
    }

    /// Returns the rowid if it was read beside the columns.
    pub(super) fn rowid(&self, row: &[Cell]) -> Option<i64> {
        match (self.rowid_term().is_some(), row.first()) {
            (true, Some(Cell::Integer(rowid))) => Some(*rowid),
            _ => None,
        }
    }

    /// Returns the start of the page after `row`, which is the last of `done` rows.
    pub(super) fn after(&self, row: &[Cell], done: u64) -> Begin {
        let skipped = self.first_column();
        let place = |name: &str| self.table.columns.iter().position(|column| column == name);
        let cell = |name: &str| place(name).map(|at| row[skipped + at].clone());
        let key = match self.key {
            RowKey::Rowid(_) => row.first().cloned().map(|cell| vec![cell]),
            RowKey::Column(name) => cell(name).map(|cell| vec![cell]),
            RowKey::Primary(terms) => terms.iter().map(|term| cell(&term.column)).collect(),
            RowKey::Scan => None,
        };
        let is_short = |key: &Vec<Cell>| {
            let bytes: usize = key.iter().map(|cell| cell.value().bytes().len()).sum();
            let is_whole = |cell: &Cell| !matches!(cell, Cell::Large { .. } | Cell::Doubtful);
            bytes <= KEY_BYTES && key.iter().all(is_whole)
        };
        key.filter(is_short)
            .map_or(Begin::Offset(done), Begin::After)
    }

    /// Returns the statement that reads `bytes` bytes from `start` (counted from 0) of one value, as hex.
    pub(super) fn slice(&self, from: &Begin, column: usize, start: u64, bytes: u64) -> String {
        let name = quoted_name(&self.table.columns[column]);
        let tail = self.tail(from, Limit::Rows(1));
        let start = start + 1;
        format!(
            "SELECT 's'||substr(typeof({name}),1,1)||octet_length({name}),\
             'x'||hex(substr(CAST({name} AS BLOB),{start},{bytes})) {tail}"
        )
    }

    /// Number of columns before the table's own.
    pub(super) fn first_column(&self) -> usize {
        usize::from(self.rowid_term().is_some())
    }

    fn rowid_term(&self) -> Option<String> {
        match self.key {
            RowKey::Rowid(name) => Some(format!("quote({name})")),
            RowKey::Column(_) | RowKey::Primary(_) | RowKey::Scan => None,
        }
    }

    /// SQL for one value as text that cannot be altered on the way.
    fn term(&self, column: usize) -> String {
        let c = quoted_name(&self.table.columns[column]);
        let large = match self.largest {
            Some(largest) if largest.get(column).is_none_or(|most| *most <= LARGE_BYTES) => {
                String::new()
            }
            _ => format!(
                "WHEN octet_length({c})>{LARGE_BYTES} THEN 's'||substr(typeof({c}),1,1)||octet_length({c}) "
            ),
        };
        let text = match self.as_hex.contains(&column) {
            true => format!("'x'||hex({c})"),
            false => format!("'t'||{c}"),
        };
        let minus_zero = match self.has_atan2 {
            true => format!("WHEN typeof({c})='real' AND {c}=0.0 AND atan2({c},-1)<0 THEN '-0.0' "),
            false => String::new(),
        };
        format!("CASE {large}WHEN typeof({c})='text' THEN {text} {minus_zero}ELSE quote({c}) END")
    }

    /// SQL from `FROM` to the end.
    fn tail(&self, from: &Begin, limit: Limit) -> String {
        let source = self.source();
        let (after, offset) = match from {
            Begin::Start => (None, 0),
            Begin::After(key) => (Some(self.is_after(key)), 0),
            Begin::Offset(rows) => (None, *rows),
        };
        let conditions: Vec<String> = after.into_iter().chain(self.is_not_later()).collect();
        let condition = match conditions.is_empty() {
            true => String::new(),
            false => format!(" WHERE {}", conditions.join(" AND ")),
        };
        let order = match self.table.order_by.as_str() {
            "" => String::new(),
            terms => format!(" ORDER BY {terms}"),
        };
        let offset_text = match offset {
            0 => String::new(),
            rows => format!(" OFFSET {rows}"),
        };
        let limit = match limit {
            Limit::All => String::new(),
            Limit::Rows(rows) => format!(" LIMIT {rows}{offset_text}"),
            Limit::RowsAndBytes(rows, bytes) => {
                let widths = self.widths();
                format!(
                    " LIMIT max(1,(SELECT count(*) FROM (SELECT sum(w) OVER (ROWS UNBOUNDED PRECEDING) AS s FROM \
                     (SELECT {widths} AS w FROM {source}{condition}{order} LIMIT {rows}{offset_text})) WHERE \
                     s<={bytes})){offset_text}"
                )
            }
        };
        format!("FROM {source}{condition}{order}{limit}")
    }

    fn source(&self) -> String {
        let table = quoted_name(&self.table.name);
        let is_plain_scan = self.table.order_by.is_empty() && !self.table.is_virtual;
        let scan = if is_plain_scan { " NOT INDEXED" } else { "" };
        format!("{table}{scan}")
    }

    /// SQL for the bytes of a row, as a sum of low depth.
    fn widths(&self) -> String {
        let mut terms: Vec<String> = self
            .table
            .columns
            .iter()
            .map(|column| format!("coalesce(octet_length({}),0)", quoted_name(column)))
            .collect();
        while terms.len() > 1 {
            terms = terms
                .chunks(2)
                .map(|pair| match pair {
                    [a, b] => format!("({a}+{b})"),
                    _ => pair.concat(),
                })
                .collect();
        }
        terms.pop().unwrap_or_else(|| "0".to_owned())
    }

    fn is_not_later(&self) -> Option<String> {
        let last = self.last?;
        match self.key {
            RowKey::Rowid(name) => Some(format!("{name}<={last}")),
            RowKey::Column(name) => Some(format!("{}<={last}", quoted_name(name))),
            RowKey::Primary(_) | RowKey::Scan => None,
        }
    }

    /// SQL condition that a row comes after `key`.
    fn is_after(&self, key: &[Cell]) -> String {
        match self.key {
            RowKey::Rowid(name) => format!("{name}>{}", literal(&key[0])),
            RowKey::Column(name) => format!("{}>{}", quoted_name(name), literal(&key[0])),
            RowKey::Primary(terms) => {
                let pairs: Vec<(&KeyTerm, &Cell)> = terms.iter().zip(key).collect();
                comes_after(&pairs)
            }
            RowKey::Scan => "1".to_owned(),
        }
    }
}

/// SQL condition `a>=x AND (a>x OR b>y …)`, each term in its own collation and direction; the first half allows the
/// index to be used.
fn comes_after(terms: &[(&KeyTerm, &Cell)]) -> String {
    let Some(((term, cell), rest)) = terms.split_first() else {
        return "0".to_owned();
    };
    let column = format!("{} COLLATE {}", quoted_name(&term.column), term.collation);
    let value = literal(cell);
    let sign = if term.descends { '<' } else { '>' };
    if rest.is_empty() {
        return format!("{column}{sign}{value}");
    }
    let rest = comes_after(rest);
    format!("{column}{sign}={value} AND ({column}{sign}{value} OR ({rest}))")
}

fn literal(cell: &Cell) -> String {
    let mut text = Vec::new();
    Literals::new(TextEncoding::Utf8).write(&mut text, cell.value());
    String::from_utf8(text).expect("text that is not UTF-8 is written as hex")
}
