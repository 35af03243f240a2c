//! Writes SQL literals that every SQLite since 3.40 reads back to the same type and bytes.

use memchr::memmem::Finder;

use super::real::write_real;

/// One value of a row, as SQLite stores it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<'a> {
    /// SQL NULL.
    Null,
    /// A signed 64-bit integer.
    Integer(i64),
    /// A double; never NaN, which SQLite stores as NULL.
    Real(f64),
    /// Text in UTF-8, as SQLite returns it; it may contain NUL and invalid sequences.
    Text(&'a [u8]),
    /// Bytes.
    Blob(&'a [u8]),
}

impl Value<'_> {
    /// Returns the bytes of a text or blob; empty for numbers and NULL.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(bytes) | Self::Blob(bytes) => bytes,
            Self::Null | Self::Integer(_) | Self::Real(_) => &[],
        }
    }
}

/// The encoding of the source's text, `PRAGMA encoding`. It determines the bytes inside `CAST(X'…' AS TEXT)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TextEncoding {
    /// UTF-8, the default of SQLite and the only one of D1.
    #[default]
    Utf8,
    /// UTF-16, little endian.
    Utf16Le,
    /// UTF-16, big endian.
    Utf16Be,
}

impl TextEncoding {
    /// Name of the encoding in `PRAGMA encoding`.
    pub fn pragma_name(self) -> &'static str {
        match self {
            Self::Utf8 => "UTF-8",
            Self::Utf16Le => "UTF-16le",
            Self::Utf16Be => "UTF-16be",
        }
    }

    /// Converts UTF-8 text to this encoding; unchanged for UTF-8.
    pub(super) fn encode(self, text: &[u8]) -> Vec<u8> {
        let unit_bytes = match self {
            Self::Utf8 => return text.to_vec(),
            Self::Utf16Le => u16::to_le_bytes,
            Self::Utf16Be => u16::to_be_bytes,
        };
        String::from_utf8_lossy(text)
            .encode_utf16()
            .flat_map(unit_bytes)
            .collect()
    }
}

/// Writes values as literals; contains the prepared search for words that other tools change inside values.
#[derive(Debug)]
pub struct Literals {
    encoding: TextEncoding,
    begin: Finder<'static>,
}

impl Literals {
    /// Creates a writer of literals for a database with this encoding.
    pub fn new(encoding: TextEncoding) -> Self {
        Self {
            encoding,
            begin: Finder::new("BEGIN TRANSACTION"),
        }
    }

    /// The encoding that `CAST(X'…' AS TEXT)` is written for.
    pub fn encoding(&self) -> TextEncoding {
        self.encoding
    }

    /// Appends one value.
    pub fn write(&self, out: &mut Vec<u8>, value: Value<'_>) {
        match value {
            Value::Null => out.extend_from_slice(b"NULL"),
            Value::Integer(number) => {
                out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
            }
            Value::Real(number) => write_real(out, number),
            Value::Text(text) => self.write_text(out, text),
            Value::Blob(bytes) => write_blob(out, bytes),
        }
    }

    fn write_text(&self, out: &mut Vec<u8>, text: &[u8]) {
        match self.plainness(text) {
            Plainness::Verbatim => {
                out.push(b'\'');
                out.extend_from_slice(text);
                out.push(b'\'');
            }
            Plainness::Quotes => {
                out.push(b'\'');
                push_doubled(out, text, b'\'');
                out.push(b'\'');
            }
            Plainness::Hex => {
                out.extend_from_slice(b"CAST(");
                match self.encoding {
                    TextEncoding::Utf8 => write_blob(out, text),
                    other => write_blob(out, &other.encode(text)),
                }
                out.extend_from_slice(b" AS TEXT)");
            }
        }
    }

    fn plainness(&self, text: &[u8]) -> Plainness {
        let mut plainness = Plainness::Verbatim;
        for at in memchr::memchr3_iter(b'\'', 0, b'\r', text) {
            if text[at] != b'\'' {
                return Plainness::Hex;
            }
            plainness = Plainness::Quotes;
        }
        let is_changed = std::str::from_utf8(text).is_err()
            || self.holds_begin(text)
            || self.holds_noncharacter(text);
        match is_changed {
            true => Plainness::Hex,
            false => plainness,
        }
    }

    /// True if the text contains U+FFFE or U+FFFF and the encoding is UTF-16: SQLite versions of Debian 12's age
    /// convert these to U+FFFD on the way from UTF-8 to UTF-16.
    fn holds_noncharacter(&self, text: &[u8]) -> bool {
        self.encoding != TextEncoding::Utf8
            && memchr::memmem::find_iter(text, b"\xef\xbf")
                .any(|at| matches!(text.get(at + 2), Some(0xbe | 0xbf)))
    }

    /// True if the text contains `BEGIN TRANSACTION`, which wrangler removes from a file, also inside a value.
    fn holds_begin(&self, text: &[u8]) -> bool {
        text.len() >= self.begin.needle().len() && self.begin.find(text).is_some()
    }
}

enum Plainness {
    Verbatim,
    Quotes,
    Hex,
}

/// Appends `X'…'` in upper-case hexadecimal.
pub(super) fn write_blob(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(b"X'");
    let start = out.len();
    out.resize(start + 2 * bytes.len(), 0);
    faster_hex::hex_encode_upper(bytes, &mut out[start..])
        .expect("the space is twice the bytes' length");
    out.push(b'\'');
}

/// Appends a name in double quotes, with quotes inside doubled.
pub fn write_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    push_doubled(out, name.as_bytes(), b'"');
    out.push(b'"');
}

/// Returns a name in double quotes, with quotes inside doubled.
pub fn quoted_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn push_doubled(out: &mut Vec<u8>, text: &[u8], quote: u8) {
    let mut done = 0;
    for at in memchr::memchr_iter(quote, text) {
        out.extend_from_slice(&text[done..=at]);
        out.push(quote);
        done = at + 1;
    }
    out.extend_from_slice(&text[done..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: Value<'_>, literal: &str) {
        let mut out = Vec::new();
        Literals::new(TextEncoding::Utf8).write(&mut out, value);
        assert_eq!(String::from_utf8(out).unwrap(), literal);
    }

    #[test]
    fn each_storage_class_has_its_literal() {
        check(Value::Null, "NULL");
        check(Value::Integer(i64::MAX), "9223372036854775807");
        check(Value::Integer(i64::MIN), "-9223372036854775808");
        check(Value::Integer(9_007_199_254_740_993), "9007199254740993");
        check(Value::Blob(b""), "X''");
        check(Value::Blob(&[0, 0xff, 0x1a]), "X'00FF1A'");
        check(Value::Text(b""), "''");
        check(Value::Text(b"it's"), "'it''s'");
        check(Value::Text("a\\nb\nc 🌱".as_bytes()), "'a\\nb\nc 🌱'");
    }

    #[test]
    fn text_that_a_tool_would_change_is_written_as_hex() {
        check(Value::Text(b"a\0b"), "CAST(X'610062' AS TEXT)");
        check(Value::Text(b"a\r\nb"), "CAST(X'610D0A62' AS TEXT)");
        check(Value::Text(&[0xff]), "CAST(X'FF' AS TEXT)");
        check(
            Value::Text(b"BEGIN TRANSACTION"),
            "CAST(X'424547494E205452414E53414354494F4E' AS TEXT)",
        );
    }

    #[test]
    fn hex_text_of_a_utf_16_database_is_in_its_encoding() {
        let mut out = Vec::new();
        Literals::new(TextEncoding::Utf16Le).write(&mut out, Value::Text(b"a\r"));
        assert_eq!(out, b"CAST(X'61000D00' AS TEXT)");
        let mut out = Vec::new();
        Literals::new(TextEncoding::Utf16Be).write(&mut out, Value::Text("\u{ffff}".as_bytes()));
        assert_eq!(out, b"CAST(X'FFFF' AS TEXT)");
        check(Value::Text("\u{fffe}".as_bytes()), "'\u{fffe}'");
    }

    #[test]
    fn a_name_is_always_quoted() {
        assert_eq!(quoted_name("a\"b"), "\"a\"\"b\"");
        let mut out = Vec::new();
        write_name(&mut out, "a\"b");
        assert_eq!(out, b"\"a\"\"b\"");
    }
}
