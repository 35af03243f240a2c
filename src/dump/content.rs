//! Computes a digest of a table's rows as SQLite returns them, independently of the dump's text.
//!
//! A value is one tag byte (`n`, `i`, `r`, `t`, `b`), followed by 8 bytes, little endian, for numbers, or by a length
//! of 8 bytes and the bytes for texts and blobs. A row ends with `;`. The same bytes carry rows from the thread that
//! reads them to the one that writes them.

use super::Value;
use crate::types::ContentHash;

/// Size up to which small values are collected before they are hashed, in bytes.
const GATHER_BYTES: usize = 32 * 1024;

/// A digest of the rows of one table, each value by its type and bytes. The order of rows and of values matters.
#[derive(Default)]
pub struct ContentHasher {
    hasher: blake3::Hasher,
    gathered: RowBlock,
}

/// Rows encoded as bytes.
#[derive(Debug, Default)]
pub struct RowBlock(Vec<u8>);

impl ContentHasher {
    /// Adds the next value of the current row.
    pub fn value(&mut self, value: Value<'_>) {
        self.gathered.push(value);
    }

    /// Ends the current row.
    pub fn end_row(&mut self) {
        self.gathered.end_row();
        if self.gathered.len() >= GATHER_BYTES {
            self.flush();
        }
    }

    /// Adds all rows of a block, after the values that were added one by one.
    pub fn block(&mut self, block: &RowBlock) {
        self.flush();
        self.hasher.update(&block.0);
    }

    /// Returns the digest of all rows.
    pub fn finish(mut self) -> ContentHash {
        self.flush();
        ContentHash::from(*self.hasher.finalize().as_bytes())
    }

    fn flush(&mut self) {
        self.hasher.update(&self.gathered.0);
        self.gathered.clear();
    }
}

impl RowBlock {
    /// Appends a row.
    pub fn push_row(&mut self, values: &[Value<'_>]) {
        values.iter().for_each(|value| self.push(*value));
        self.end_row();
    }

    /// Returns the rows as bytes, to be read with [`Self::from_bytes`] by the same program.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Creates a block from the bytes that [`Self::as_bytes`] returned.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Number of bytes that the rows take.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Removes the rows and keeps the allocated memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Calls `take` with each row.
    ///
    /// # Errors
    /// The first error of `take`.
    pub fn each_row<E>(
        &self,
        mut take: impl FnMut(&[Value<'_>]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut values = Vec::new();
        let mut rest = self.0.as_slice();
        while let Some((value, after)) = next_value(rest) {
            rest = after;
            match value {
                Some(value) => values.push(value),
                None => {
                    take(&values)?;
                    values.clear();
                }
            }
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.0.push(b'n'),
            Value::Integer(number) => self.fixed(b'i', number.to_le_bytes()),
            Value::Real(number) => self.fixed(b'r', number.to_bits().to_le_bytes()),
            Value::Text(bytes) => self.sized(b't', bytes),
            Value::Blob(bytes) => self.sized(b'b', bytes),
        }
    }

    fn end_row(&mut self) {
        self.0.push(b';');
    }

    fn fixed(&mut self, tag: u8, bytes: [u8; 8]) {
        let mut cell = [tag; 9];
        cell[1..].copy_from_slice(&bytes);
        self.0.extend_from_slice(&cell);
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.fixed(tag, (bytes.len() as u64).to_le_bytes());
        self.0.extend_from_slice(bytes);
    }
}

/// Returns the next value and the bytes after it, with `None` in place of the value for the end of a row; `None` at the
/// end of the block.
fn next_value(bytes: &[u8]) -> Option<(Option<Value<'_>>, &[u8])> {
    let (tag, rest) = bytes.split_first()?;
    match tag {
        b';' => return Some((None, rest)),
        b'n' => return Some((Some(Value::Null), rest)),
        _ => {}
    }
    let (number, rest) = rest.split_first_chunk::<8>()?;
    let number = u64::from_le_bytes(*number);
    Some(match tag {
        b'i' => (Some(Value::Integer(number.cast_signed())), rest),
        b'r' => (Some(Value::Real(f64::from_bits(number))), rest),
        _ => {
            let (bytes, rest) = rest.split_at_checked(usize::try_from(number).ok()?)?;
            let value = match tag {
                b't' => Value::Text(bytes),
                _ => Value::Blob(bytes),
            };
            (Some(value), rest)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(rows: &[&[Value<'_>]]) -> ContentHash {
        let mut hasher = ContentHasher::default();
        for row in rows {
            row.iter().for_each(|value| hasher.value(*value));
            hasher.end_row();
        }
        hasher.finish()
    }

    #[test]
    fn a_block_gives_back_its_rows_and_has_their_digest() {
        let rows: [&[Value<'_>]; 3] = [
            &[Value::Null, Value::Integer(i64::MIN), Value::Real(-0.0)],
            &[],
            &[Value::Text(b"a;n"), Value::Blob(b"")],
        ];
        let mut block = RowBlock::default();
        rows.iter().for_each(|row| block.push_row(row));
        let mut seen = 0;
        let outcome = block.each_row(|row| {
            assert_eq!(row, rows[seen]);
            seen += 1;
            Ok::<(), ()>(())
        });
        assert_eq!((outcome, seen), (Ok(()), rows.len()));
        let mut hasher = ContentHasher::default();
        hasher.block(&block);
        assert_eq!(hasher.finish(), hash(&rows));
    }

    #[test]
    fn a_different_type_value_or_place_gives_a_different_digest() {
        let tables: [&[&[Value<'_>]]; 9] = [
            &[],
            &[&[Value::Integer(1)]],
            &[&[Value::Real(1.0)]],
            &[&[Value::Text(b"1")]],
            &[&[Value::Blob(b"1")]],
            &[&[Value::Null]],
            &[&[Value::Real(0.0)]],
            &[&[Value::Real(-0.0)]],
            &[
                &[Value::Text(b"a"), Value::Text(b"bc")],
                &[Value::Text(b"ab"), Value::Text(b"c")],
            ],
        ];
        let digests: std::collections::HashSet<_> = tables.iter().map(|rows| hash(rows)).collect();
        assert_eq!(digests.len(), tables.len());
    }
}
