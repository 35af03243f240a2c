//! Feeds generated queries, ranges and addresses to every parser of client input. Nothing may panic, and no hidden
//! character may be returned.

use axum::http::header::{HeaderMap, HeaderValue, RANGE};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::download::range::Asked;
use super::params::{Params, shown};
use crate::quote;
use crate::types::{BackupDate, DatabaseName, ObjectKey};

/// Together with those of `cli::fuzz` more than 100,000.
const INPUTS: usize = 30_000;

const PIECES: [&str; 32] = [
    "database",
    "date",
    "limit",
    "after",
    "=",
    "&",
    "%",
    "%00",
    "%0a",
    "%1b%5b31m",
    "%c3%a9",
    "%ff",
    "+",
    "1000",
    "0",
    "-1",
    "18446744073709551616",
    "2026-11-22",
    "bytes=",
    "-",
    ",",
    " ",
    "é",
    "語",
    "\u{202e}",
    "\n",
    "\0",
    "blog",
    "daily/",
    ".sql",
    "99999999999999999999",
    "x",
];

fn text(random: &mut StdRng) -> String {
    let pieces = match random.random_range(0..500) {
        0 => 2_000,
        _ => random.random_range(0..9),
    };
    (0..pieces)
        .map(|_| PIECES[random.random_range(0..PIECES.len())])
        .collect()
}

#[test]
fn no_parameter_and_no_range_makes_the_api_panic() {
    let random = &mut StdRng::seed_from_u64(31);
    let known = ["database", "date", "limit", "after"];
    let (mut read, mut parts) = (0, 0);
    for _ in 0..INPUTS {
        let text = text(random);
        assert!(quote::is_plain(&shown(&text)), "{text:?}");
        if let Ok(params) = Params::read(Some(&text), &known) {
            read += 1;
            let _ = params.get::<usize>("limit", "rule");
            let _ = params.get::<DatabaseName>("database", "rule");
            let _ = params.get::<BackupDate>("date", "rule");
            let _ = params.get::<ObjectKey>("after", "rule");
        }
        let mut headers = HeaderMap::new();
        let range = match random.random_bool(0.5) {
            true => format!("bytes={text}"),
            false => text,
        };
        if let Ok(value) = HeaderValue::from_bytes(range.as_bytes()) {
            headers.insert(RANGE, value);
        }
        let size_bytes = match random.random_range(0..3) {
            0 => 0,
            1 => u64::MAX,
            _ => random.random_range(0..2_000),
        };
        if let Some(asked) = Asked::read(&headers, "\"tag\"", size_bytes) {
            let part = asked.part();
            assert!(part.from <= part.until && part.until <= size_bytes);
            parts += u64::from(matches!(asked, Asked::Part(_)));
        }
    }
    assert!(read > 100 && parts > 20, "{read} {parts}");
}
