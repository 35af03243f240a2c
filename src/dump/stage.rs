//! Writes a row whose values do not fit one statement: pieces are inserted into a scratch table and joined there.
//!
//! They are never appended to the real row: CHECK and UNIQUE constraints would see half a value. The pieces are joined
//! pairwise in rounds, so a value of n bytes is copied log n times, not n / piece times.

use std::io::{self, Write};

use super::literal::write_blob;
use super::{Literals, MAX_STATEMENT_BYTES, Value, quoted_name};

/// Bytes of a value in one piece; as hex, twice that number of characters.
const PIECE_BYTES: usize = 40_000;

/// The scratch table of one dump.
#[derive(Debug)]
pub(super) struct Stage {
    table: String,
    created: bool,
}

impl Stage {
    /// Creates a stage whose table name is not used by any table, view or index of the source.
    pub(super) fn new<'a>(taken: impl Iterator<Item = &'a str> + Clone) -> Self {
        let is_free = |name: &str| !taken.clone().any(|t| t.eq_ignore_ascii_case(name));
        let numbered = (1u32..).map(|n| format!("_patina_stage_{n}"));
        let name = std::iter::once("_patina_stage".to_owned())
            .chain(numbered)
            .find(|name| is_free(name))
            .expect("a schema has fewer names than there are numbers");
        Self {
            table: quoted_name(&name),
            created: false,
        }
    }

    /// The quoted name of the scratch table.
    pub(super) fn table(&self) -> &str {
        &self.table
    }

    /// Writes one row that does not fit one statement, as statements that end with `;` and a newline. `insert` is the
    /// statement up to `VALUES`.
    pub(super) fn write_row(
        &mut self,
        out: &mut impl Write,
        literals: &Literals,
        insert: &str,
        values: &[Value<'_>],
    ) -> io::Result<()> {
        if !self.created {
            self.created = true;
            writeln!(
                out,
                "CREATE TABLE {}(\"c\" INTEGER,\"k\" INTEGER,\"v\" BLOB,PRIMARY KEY(\"c\",\"k\"));",
                self.table
            )?;
        }
        let mut row: Vec<Option<Vec<u8>>> = values
            .iter()
            .map(|value| small_literal(literals, *value))
            .collect();
        self.evict_until_it_fits(insert.len(), &mut row, values);
        let mut pieces = 0;
        for (column, cell) in row.iter().enumerate() {
            if cell.is_none() {
                let bytes = encoded(literals, values[column]);
                pieces = pieces.max(self.write_pieces(out, column, &bytes)?);
            }
        }
        self.write_joins(out, pieces)?;
        writeln!(out, "{insert}")?;
        for (column, cell) in row.iter().enumerate() {
            out.write_all(if column == 0 { b"(" } else { b"," })?;
            match (cell, values[column]) {
                (Some(literal), _) => out.write_all(literal)?,
                (None, Value::Text(_)) => {
                    write!(out, "CAST({} AS TEXT)", self.piece_of(column))?;
                }
                (None, _) => write!(out, "{}", self.piece_of(column))?,
            }
        }
        writeln!(out, ");\nDELETE FROM {};", self.table)
    }

    /// Drops the scratch table if it was created.
    pub(super) fn finish(&mut self, out: &mut impl Write) -> io::Result<()> {
        if std::mem::take(&mut self.created) {
            writeln!(out, "DROP TABLE {};\n", self.table)?;
        }
        Ok(())
    }

    /// Stages the largest values until the rest fits a statement.
    fn evict_until_it_fits(
        &self,
        insert_bytes: usize,
        row: &mut [Option<Vec<u8>>],
        values: &[Value<'_>],
    ) {
        let reference_bytes = self.piece_of(row.len()).len() + "CAST( AS TEXT)".len();
        loop {
            let cells: usize = row
                .iter()
                .map(|cell| 1 + cell.as_ref().map_or(reference_bytes, Vec::len))
                .sum();
            if insert_bytes + cells + 8 <= MAX_STATEMENT_BYTES {
                return;
            }
            let largest = row
                .iter_mut()
                .zip(values)
                .filter(|(_, value)| matches!(value, Value::Text(_) | Value::Blob(_)))
                .map(|(cell, _)| cell)
                .max_by_key(|cell| cell.as_ref().map_or(0, Vec::len))
                .filter(|cell| cell.as_ref().is_some_and(|c| c.len() > reference_bytes));
            match largest {
                Some(cell) => *cell = None,
                // Thousands of tiny columns: nothing can be staged, and SQLite itself accepts statements of up to a
                // gigabyte.
                None => return,
            }
        }
    }

    fn write_pieces(&self, out: &mut impl Write, column: usize, bytes: &[u8]) -> io::Result<u64> {
        let mut count = 0;
        let mut hex = Vec::with_capacity(2 * PIECE_BYTES + 3);
        for piece in bytes.chunks(PIECE_BYTES) {
            hex.clear();
            write_blob(&mut hex, piece);
            write!(out, "INSERT INTO {} VALUES({column},{count},", self.table)?;
            out.write_all(&hex)?;
            out.write_all(b");\n")?;
            count += 1;
        }
        if count == 0 {
            writeln!(out, "INSERT INTO {} VALUES({column},0,X'');", self.table)?;
        }
        Ok(count)
    }

    /// Joins the pieces 0…n-1 of every column into piece 0.
    fn write_joins(&self, out: &mut impl Write, pieces: u64) -> io::Result<()> {
        let table = &self.table;
        let mut step = 1u64;
        while step < pieces {
            let wide = 2 * step;
            writeln!(
                out,
                "UPDATE {table} SET \"v\"=CAST(\"v\"||(SELECT b.\"v\" FROM {table} AS b WHERE \
                 b.\"c\"={table}.\"c\" AND b.\"k\"={table}.\"k\"+{step}) AS BLOB) WHERE \"k\"%{wide}=0 AND EXISTS \
                 (SELECT 1 FROM {table} AS b WHERE b.\"c\"={table}.\"c\" AND b.\"k\"={table}.\"k\"+{step});"
            )?;
            writeln!(out, "DELETE FROM {table} WHERE \"k\"%{wide}<>0;")?;
            step = wide;
        }
        Ok(())
    }

    fn piece_of(&self, column: usize) -> String {
        format!("(SELECT \"v\" FROM {} WHERE \"c\"={column})", self.table)
    }
}

/// Returns the literal of a value that can remain in the row; `None` for a value that is always staged.
fn small_literal(literals: &Literals, value: Value<'_>) -> Option<Vec<u8>> {
    if value.bytes().len() > PIECE_BYTES {
        return None;
    }
    let mut literal = Vec::new();
    literals.write(&mut literal, value);
    Some(literal)
}

/// Returns the bytes that `CAST(… AS TEXT)` or a blob needs in the database's encoding.
fn encoded<'a>(literals: &Literals, value: Value<'a>) -> std::borrow::Cow<'a, [u8]> {
    match value {
        Value::Text(text) if literals.encoding() != super::TextEncoding::Utf8 => {
            literals.encoding().encode(text).into()
        }
        Value::Text(bytes) | Value::Blob(bytes) => bytes.into(),
        Value::Null | Value::Integer(_) | Value::Real(_) => {
            unreachable!("only texts and blobs are staged")
        }
    }
}
