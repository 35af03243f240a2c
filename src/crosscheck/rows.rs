//! Computes a digest of the rows of a query: each value by its storage class and bytes, in the order of the scan.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, Row, Statement};

/// Size up to which values are collected before they are hashed, in bytes.
const GATHER_BYTES: usize = 64 * 1024;

/// Number of columns in one query of [`RowDigest::raw_text`]; SQLite's limit is 2,000.
const COLUMNS_PER_QUERY: usize = 500;

/// A digest of rows, and their number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowDigest {
    pub(super) rows: u64,
    pub(super) digest: [u8; 32],
}

/// Collects values and hashes them.
#[derive(Default)]
pub(super) struct Digester {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl Digester {
    pub(super) fn value(&mut self, value: ValueRef<'_>) {
        match value {
            ValueRef::Null => self.gathered.push(0),
            ValueRef::Integer(number) => self.number(1, number.to_be_bytes()),
            ValueRef::Real(number) => self.number(2, number.to_bits().to_be_bytes()),
            ValueRef::Text(bytes) => self.bytes(3, bytes),
            ValueRef::Blob(bytes) => self.bytes(4, bytes),
        }
    }

    pub(super) fn bytes(&mut self, class: u8, bytes: &[u8]) {
        self.gathered.push(class);
        self.gathered
            .extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        if bytes.len() >= GATHER_BYTES {
            self.flush();
            self.hasher.update(bytes);
        } else {
            self.gathered.extend_from_slice(bytes);
        }
        self.flush_full();
    }

    fn number(&mut self, class: u8, bytes: [u8; 8]) {
        self.gathered.push(class);
        self.gathered.extend_from_slice(&bytes);
        self.flush_full();
    }

    fn flush_full(&mut self) {
        if self.gathered.len() >= GATHER_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.gathered);
        self.gathered.clear();
    }

    /// Adds every row of `query`, passes it to `see`, and returns the number of rows.
    pub(super) fn rows(
        &mut self,
        query: &mut Statement<'_>,
        mut see: impl FnMut(&Row<'_>),
    ) -> Result<u64> {
        let width = query.column_count();
        let mut rows = query.query([])?;
        let mut count = 0;
        while let Some(row) = rows.next()? {
            for column in 0..width {
                self.value(row.get_ref(column)?);
            }
            see(row);
            count += 1;
        }
        Ok(count)
    }

    /// Returns the digest of all values, with this number of rows.
    pub(super) fn finish(mut self, rows: u64) -> RowDigest {
        self.flush();
        RowDigest {
            rows,
            digest: *self.hasher.finalize().as_bytes(),
        }
    }
}

impl RowDigest {
    /// Computes the digest of every row of `query`.
    pub(super) fn of(query: &mut Statement<'_>) -> Result<Self> {
        let mut digester = Digester::default();
        let rows = digester.rows(query, |_| {})?;
        Ok(digester.finish(rows))
    }

    /// Computes the digest of several queries, one after another; `rows` is the number of the first query's rows.
    pub(super) fn of_all(connection: &Connection, queries: &[String]) -> Result<Self> {
        let mut digester = Digester::default();
        let mut rows = None;
        for sql in queries {
            let count = digester.rows(&mut connection.prepare(sql)?, |_| {})?;
            rows.get_or_insert(count);
        }
        Ok(digester.finish(rows.unwrap_or_default()))
    }

    /// Returns queries for the bytes of every text as they are stored in the file. SQLite converts text to UTF-8, which
    /// changes a UTF-16 text that is cut inside a surrogate pair.
    pub(super) fn raw_text(columns: &[String], from: &str) -> Vec<String> {
        let column = |name: &String| {
            let name = super::quoted(name);
            format!("CASE typeof({name}) WHEN 'text' THEN CAST({name} AS BLOB) END")
        };
        let query = |columns: &[String]| {
            let columns: Vec<String> = columns.iter().map(column).collect();
            format!("SELECT {} FROM {from}", columns.join(","))
        };
        columns.chunks(COLUMNS_PER_QUERY).map(query).collect()
    }
}
