//! Digests a table's rows as SQLite hands them out, without going through the dump's text.

use super::Value;
use crate::types::ContentHash;

/// Small values are gathered up to this size before they are hashed.
const GATHER_BYTES: usize = 32 * 1024;

/// A digest over the rows of one table, each value by its type and bytes. Row and value order count.
///
/// A value is one tag byte (`n`, `i`, `r`, `t`, `b`); then 8 bytes, little endian, for numbers, or a length of 8
/// bytes and the bytes. A row ends with `;`.
#[derive(Default)]
pub struct ContentHasher {
    hasher: blake3::Hasher,
    gathered: Vec<u8>,
}

impl ContentHasher {
    /// Takes in the next value of the row.
    pub fn value(&mut self, value: Value<'_>) {
        match value {
            Value::Null => self.gathered.push(b'n'),
            Value::Integer(number) => self.fixed(b'i', number.to_le_bytes()),
            Value::Real(number) => self.fixed(b'r', number.to_bits().to_le_bytes()),
            Value::Text(bytes) => self.sized(b't', bytes),
            Value::Blob(bytes) => self.sized(b'b', bytes),
        }
    }

    /// Ends the row.
    pub fn end_row(&mut self) {
        self.gathered.push(b';');
        if self.gathered.len() >= GATHER_BYTES {
            self.flush();
        }
    }

    /// The digest of all rows.
    pub fn finish(mut self) -> ContentHash {
        self.flush();
        ContentHash::from(*self.hasher.finalize().as_bytes())
    }

    fn fixed(&mut self, tag: u8, bytes: [u8; 8]) {
        let mut cell = [tag; 9];
        cell[1..].copy_from_slice(&bytes);
        self.gathered.extend_from_slice(&cell);
    }

    fn sized(&mut self, tag: u8, bytes: &[u8]) {
        self.fixed(tag, (bytes.len() as u64).to_le_bytes());
        if bytes.len() < GATHER_BYTES {
            self.gathered.extend_from_slice(bytes);
        } else {
            self.flush();
            self.hasher.update(bytes);
        }
    }

    fn flush(&mut self) {
        self.hasher.update(&self.gathered);
        self.gathered.clear();
    }
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
