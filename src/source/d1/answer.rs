//! Parses the JSON of the API. Invariant: no value of a database ever passes through a JSON number.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use crate::dump::Value;

/// The envelope of every response.
#[derive(Deserialize)]
pub(super) struct Envelope<T> {
    pub(super) success: bool,
    #[serde(default = "Vec::new")]
    pub(super) errors: Vec<Fault>,
    #[serde(default = "nothing")]
    pub(super) result: Option<T>,
    pub(super) result_info: Option<PageInfo>,
}

fn nothing<T>() -> Option<T> {
    None
}

/// One error in a response.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Fault {
    #[serde(default)]
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Deserialize)]
pub(super) struct PageInfo {
    pub(super) total_count: Option<u64>,
}

/// The result of one statement of a batch.
#[derive(Deserialize)]
pub(super) struct Answer {
    pub(super) success: bool,
    pub(super) results: Results,
    #[serde(default)]
    pub(super) meta: Meta,
}

#[derive(Deserialize)]
pub(super) struct Results {
    pub(super) rows: Vec<Vec<Cell>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Meta {
    pub(super) served_by_primary: Option<bool>,
}

/// One value, read from the text that [`super::select`] asks for.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Cell {
    Null,
    Integer(i64),
    Real(f64),
    Text(Vec<u8>),
    Blob(Vec<u8>),
    /// Text with U+FFFD, which the API also substitutes for bytes that are not UTF-8.
    Doubtful,
    /// A value too large for a page: true if it is text, and its length in bytes.
    Large {
        is_text: bool,
        bytes: u64,
    },
}

impl Cell {
    /// Returns the value; large and doubtful ones must have been replaced before.
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::Null | Self::Doubtful | Self::Large { .. } => Value::Null,
            Self::Integer(number) => Value::Integer(*number),
            Self::Real(number) => Value::Real(*number),
            Self::Text(bytes) => Value::Text(bytes),
            Self::Blob(bytes) => Value::Blob(bytes),
        }
    }

    /// Parses one of these forms: `t` and plain text; `x` and text in hex; `s`, `t` or `b`, and a length; or SQLite's
    /// own `quote()`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, rest) = (text.as_bytes().first()?, text.get(1..));
        Some(match first {
            b't' if rest?.contains(char::REPLACEMENT_CHARACTER) => Self::Doubtful,
            b't' => Self::Text(rest?.as_bytes().to_vec()),
            b'x' => Self::Text(unhex(rest?)?),
            b's' => {
                let (class, bytes) = rest?.split_at_checked(1)?;
                Self::Large {
                    is_text: class == "t",
                    bytes: bytes.parse().ok()?,
                }
            }
            b'X' => Self::Blob(unhex(rest?.strip_prefix('\'')?.strip_suffix('\'')?)?),
            b'N' if text == "NULL" => Self::Null,
            b'-' | b'0'..=b'9' => match text.parse() {
                Ok(number) => Self::Integer(number),
                Err(_) => Self::Real(real(text)?),
            },
            _ => return None,
        })
    }
}

/// Parses a real as `quote()` writes it; `9.0e+999` is infinity. A number without a point or exponent is not a real but
/// an integer that is too large.
fn real(text: &str) -> Option<f64> {
    let is_real = text.contains(['.', 'e', 'E']);
    let number: f64 = text.parse().ok()?;
    (is_real && !number.is_nan()).then_some(number)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) {
        return None;
    }
    let mut bytes = vec![0; text.len() / 2];
    faster_hex::hex_decode(text.as_bytes(), &mut bytes).ok()?;
    Some(bytes)
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Cell;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value as text")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Cell, E> {
                Cell::parse(text)
                    .ok_or_else(|| E::custom("a value in another form than was asked for"))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, cell: Cell) {
        assert_eq!(serde_json::from_str::<Cell>(json).unwrap(), cell);
    }

    #[test]
    fn every_form_is_read_and_no_number_is() {
        check(r#""NULL""#, Cell::Null);
        check(r#""-9223372036854775808""#, Cell::Integer(i64::MIN));
        check(
            r#""9007199254740993""#,
            Cell::Integer(9_007_199_254_740_993),
        );
        check(r#""1.0""#, Cell::Real(1.0));
        check(r#""9.0e+999""#, Cell::Real(f64::INFINITY));
        check(r#""-9.0e+999""#, Cell::Real(f64::NEG_INFINITY));
        check(r#""t""#, Cell::Text(Vec::new()));
        check(r#""ta\u0000\\n\n""#, Cell::Text(b"a\0\\n\n".to_vec()));
        check(r#""tNULL""#, Cell::Text(b"NULL".to_vec()));
        check("\"ta\u{fffd}\"", Cell::Doubtful);
        check(r#""xFF00""#, Cell::Text(vec![0xff, 0]));
        check(r#""X'00FF'""#, Cell::Blob(vec![0, 0xff]));
        let large = Cell::Large {
            is_text: false,
            bytes: 7,
        };
        check(r#""sb7""#, large);
        for wrong in [
            "1",
            "null",
            "[1]",
            "\"\"",
            "\"X'0'\"",
            "\"Inf\"",
            "\"99999999999999999999\"",
            "\"nan\"",
        ] {
            assert!(serde_json::from_str::<Cell>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn minus_zero_keeps_its_sign() {
        let Cell::Real(zero) = Cell::parse("-0.0").unwrap() else {
            panic!("no real");
        };
        assert!(zero.is_sign_negative());
    }
}
