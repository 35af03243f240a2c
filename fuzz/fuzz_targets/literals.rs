//! Writes any value as a literal: SQLite reads the same type and the same bytes back.

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use patina::dump::{Literals, TextEncoding, Value};
use rusqlite::Connection;
use rusqlite::types::ValueRef;

thread_local! {
    static DATABASE: RefCell<Connection> =
        RefCell::new(Connection::open_in_memory().expect("a database in memory"));
}

fuzz_target!(|data: &[u8]| {
    let Some((kind, rest)) = data.split_first() else {
        return;
    };
    let number = || rest.first_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes));
    let value = match (kind % 4, number()) {
        (0, _) => Value::Text(rest),
        (1, _) => Value::Blob(rest),
        (2, Some(number)) => Value::Integer(number.cast_signed()),
        // SQLite stores NaN as NULL.
        (_, Some(number)) if !f64::from_bits(number).is_nan() => {
            Value::Real(f64::from_bits(number))
        }
        _ => Value::Null,
    };
    let mut sql = b"SELECT ".to_vec();
    Literals::new(TextEncoding::Utf8).write(&mut sql, value);
    let sql = String::from_utf8(sql).expect("a literal is UTF-8 whatever its value is");
    DATABASE.with_borrow(|database| {
        let mut statement = database.prepare(&sql).expect(&sql);
        let mut rows = statement.query([]).expect(&sql);
        let row = rows.next().expect(&sql).expect("one row");
        let is_same = match (row.get_ref(0).expect(&sql), value) {
            (ValueRef::Null, Value::Null) => true,
            (ValueRef::Integer(found), Value::Integer(number)) => found == number,
            (ValueRef::Real(found), Value::Real(number)) => found.to_bits() == number.to_bits(),
            (ValueRef::Text(found), Value::Text(bytes)) => found == bytes,
            (ValueRef::Blob(found), Value::Blob(bytes)) => found == bytes,
            _ => false,
        };
        assert!(is_same, "{value:?} came back otherwise: {sql}");
    });
});
