//! Writes random values with the dump's literals and reads them back with two versions of SQLite.

use std::fmt::Write as _;
use std::fs;

use patina::dump::{Literals, TextEncoding, Value};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::dumping::Workshop;
use crate::torture::{Dice, shell_restore};

const DOUBLES: usize = 1_000_000;
const VALUES: usize = 20_000;
const ROWS_PER_INSERT: usize = 500;

/// Rows of a number and a value, with SQLite's own words around the literals.
fn script(values: &[Value<'_>], encoding: TextEncoding) -> Vec<u8> {
    let literals = Literals::new(encoding);
    let name = encoding.pragma_name();
    let mut text =
        format!("PRAGMA encoding='{name}'; BEGIN; CREATE TABLE v(i INTEGER PRIMARY KEY, v);\n");
    for (at, rows) in values.chunks(ROWS_PER_INSERT).enumerate() {
        text.push_str("INSERT INTO v VALUES");
        let mut bytes = std::mem::take(&mut text).into_bytes();
        for (row, value) in rows.iter().enumerate() {
            let separator = if row == 0 { '\n' } else { ',' };
            let number = at * ROWS_PER_INSERT + row;
            bytes.extend_from_slice(format!("{separator}({number},").as_bytes());
            literals.write(&mut bytes, *value);
            bytes.push(b')');
        }
        bytes.extend_from_slice(b";\n");
        text = String::from_utf8(bytes).expect("a dump is UTF-8, whatever its values are");
    }
    text.write_str("COMMIT;\n").unwrap();
    text.into_bytes()
}

/// Loads the values with the bundled SQLite and with the stock shell, and compares each with what was written.
fn check(values: &[Value<'_>], encoding: TextEncoding) {
    assert!(values.len() >= 1_000, "no values");
    let workshop = Workshop::new();
    let script = script(values, encoding);
    let bundled = Connection::open_in_memory().unwrap();
    bundled
        .execute_batch(std::str::from_utf8(&script).unwrap())
        .unwrap();
    check_rows(&bundled, values, "the bundled SQLite");
    fs::write(workshop.path("script.sql"), script).unwrap();
    let restored = workshop.path("shell.db");
    shell_restore(&workshop.path("script.sql"), &restored, true).unwrap();
    let stock = Connection::open(restored).unwrap();
    check_rows(&stock, values, "the stock shell");
}

fn check_rows(db: &Connection, values: &[Value<'_>], by: &str) {
    let mut statement = db.prepare("SELECT v FROM v ORDER BY i").unwrap();
    let mut rows = statement.query([]).unwrap();
    let mut checked = 0;
    while let Some(row) = rows.next().unwrap() {
        let written = values[checked];
        let is_same = match (row.get_ref(0).unwrap(), written) {
            (ValueRef::Null, Value::Null) => true,
            (ValueRef::Integer(a), Value::Integer(b)) => a == b,
            (ValueRef::Real(a), Value::Real(b)) => a.to_bits() == b.to_bits(),
            (ValueRef::Text(a), Value::Text(b)) | (ValueRef::Blob(a), Value::Blob(b)) => a == b,
            _ => false,
        };
        assert!(
            is_same,
            "{by}: {written:?} came back as {:?}",
            row.get_ref(0)
        );
        checked += 1;
    }
    assert_eq!(checked, values.len(), "{by}");
}

#[test]
fn a_million_doubles_come_back_bit_for_bit_by_both_versions_of_sqlite() {
    let mut dice = Dice::new(2026);
    let mut doubles = vec![
        0.0,
        -0.0,
        f64::MAX,
        f64::MIN_POSITIVE,
        f64::INFINITY,
        f64::NEG_INFINITY,
    ];
    for exponent in -1074..=1023 {
        around(&mut doubles, 2f64.powi(exponent));
    }
    for exponent in -323..=308 {
        around(&mut doubles, format!("1e{exponent}").parse().unwrap());
        around(
            &mut doubles,
            format!("9.007199254740993e{exponent}").parse().unwrap(),
        );
    }
    while doubles.len() < DOUBLES {
        let double = match dice.below(8) {
            0..=2 => dice.double(),
            3 | 4 => decimal(&mut dice, 300),
            5 => decimal(&mut dice, 18),
            6 => f64::from_bits(dice.bits() >> (12 + dice.below(52))),
            // Between 1e-295 and 1e-283, where SQLite 3.40 begins to divide twice.
            _ => decimal(&mut dice, 6) * 1e-289,
        };
        doubles.push(double);
    }
    let values: Vec<Value<'_>> = doubles.into_iter().map(Value::Real).collect();
    check(&values, TextEncoding::Utf8);
}

fn around(doubles: &mut Vec<f64>, double: f64) {
    doubles.extend([double, double.next_up(), double.next_down(), -double]);
    doubles.retain(|double| !double.is_nan());
}

/// A decimal of 15 to 17 digits, as people and programs write them.
fn decimal(dice: &mut Dice, most_exponent: i32) -> f64 {
    let digits = 10u64.pow(14 + u32::try_from(dice.below(3)).unwrap());
    let mantissa = digits + dice.bits() % (9 * digits);
    let range = usize::try_from(2 * most_exponent + 1).unwrap();
    let exponent = i32::try_from(dice.below(range)).unwrap() - most_exponent;
    let sign = if dice.chance(50) { "-" } else { "" };
    let shift = digits.ilog10().cast_signed();
    format!("{sign}{mantissa}e{}", exponent - shift)
        .parse()
        .unwrap()
}

#[test]
fn random_bytes_come_back_as_text_and_as_blob() {
    let mut dice = Dice::new(7);
    let bytes: Vec<Vec<u8>> = (0..VALUES).map(|_| random_bytes(&mut dice)).collect();
    let value = |(at, bytes)| match at % 2 {
        0 => Value::Text(bytes),
        _ => Value::Blob(bytes),
    };
    let all = bytes.iter().map(Vec::as_slice).enumerate();
    let values: Vec<Value<'_>> = all.map(value).collect();
    check(&values, TextEncoding::Utf8);
}

/// Bytes that mean something to SQL, the shell, UTF-8 or wrangler, more often than others.
fn random_bytes(dice: &mut Dice) -> Vec<u8> {
    const PIECES: &[&[u8]] = &[
        b"'",
        b"''",
        b"\"",
        b"\0",
        b"\r",
        b"\n",
        b"\r\n",
        b"\\",
        b";",
        b"--",
        b"/*",
        b"*/",
        b"X'00'",
        b"\n.quit\n",
        b"BEGIN TRANSACTION",
        b"COMMIT",
        b"\xff",
        b"\xc3",
        b"\xa4",
        b"\xed\xa0\x80",
        b"\xf0\x9f\xa6\x80",
        b"\xef\xbf\xbd",
        b"\xef\xbb\xbf",
        b"\xc0\x80",
        b"\x1a",
        b"\x7f",
        b"?1",
        b":a",
    ];
    let mut bytes = Vec::new();
    for _ in 0..dice.below(12) {
        if dice.chance(60) {
            bytes.extend_from_slice(dice.pick(PIECES));
        } else {
            bytes.push(dice.bits().to_le_bytes()[0]);
        }
    }
    bytes
}

#[test]
fn random_text_comes_back_in_a_utf_16_database() {
    const LETTERS: &[char] = &[
        'a', '\'', '\0', '\r', '\n', 'ü', '日', '🦀', '\u{fffd}', '\u{feff}', '\u{e000}',
    ];
    let mut dice = Dice::new(16);
    let texts: Vec<String> = (0..VALUES / 4)
        .map(|_| (0..dice.below(9)).map(|_| dice.pick(LETTERS)).collect())
        .collect();
    let values: Vec<Value<'_>> = texts
        .iter()
        .map(|text| Value::Text(text.as_bytes()))
        .collect();
    for encoding in [TextEncoding::Utf16Le, TextEncoding::Utf16Be] {
        check(&values, encoding);
    }
}

#[test]
fn integers_of_every_length_come_back() {
    let mut dice = Dice::new(64);
    let mut integers = vec![0, -1, i64::MIN, i64::MAX, i64::MIN + 1];
    integers.extend((0..5_000).map(|_| dice.bits().cast_signed() >> dice.below(64)));
    let values: Vec<Value<'_>> = integers.into_iter().map(Value::Integer).collect();
    check(&values, TextEncoding::Utf8);
}
