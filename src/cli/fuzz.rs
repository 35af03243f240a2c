//! Passes generated names, values, addresses and manifests to everything that reads or prints them. Nothing may panic,
//! and no hidden character may be printed.

use std::fmt::Display;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value as Json, json};

use super::address::Address;
use super::args::Form;
use super::query::Shown;
use super::table::{Side, Table};
use super::{list, show};
use crate::catalog::{CopyState, Placement, StoredCopy};
use crate::copy::Found;
use crate::dump::Value;
use crate::engine::restore::query::Taker as _;
use crate::guide::{Chosen, Guide, Home};
use crate::types::{
    BackupDate, DatabaseName, IsoWeek, JobId, Manifest, ObjectKey, Sha256, counted, grouped,
};
use crate::{excerpt, quote};

/// Number of runs; together with those of `http::fuzz` more than 100,000.
const TEXTS: usize = 25_000;
const ADDRESSES: usize = 40_000;
const MANIFESTS: usize = 6_000;

/// Fragments that have broken printers.
const PIECES: [&str; 40] = [
    "",
    "a",
    "blog",
    "latest",
    "latest~",
    "@",
    "~",
    "daily/",
    "weekly/",
    "manifests/",
    ".sql",
    ".json",
    ".gz",
    "2026-11-22",
    "2026-W47",
    "/",
    "..",
    "\0",
    "\n",
    "\r",
    "\t",
    "\u{1b}[31m",
    "\u{9b}",
    "\u{202e}",
    "\u{2028}",
    "\u{feff}",
    "é",
    "e\u{301}",
    "語",
    "👩‍👩‍👧",
    "\u{10ffff}",
    "`",
    "```",
    "|",
    "<",
    "\\",
    "'",
    "\"",
    "-",
    "18446744073709551616",
];

pub(crate) fn text(random: &mut StdRng) -> String {
    let pieces = match random.random_range(0..5000) {
        0 => 30_000,
        1..50 => 200,
        _ => random.random_range(0..8),
    };
    let mut text = String::new();
    let only = random
        .random_bool(0.1)
        .then(|| random.random_range(0..PIECES.len()));
    for _ in 0..pieces {
        match random.random_range(0..10) {
            0 => text.extend(char::from_u32(random.random_range(0..0x11_0000))),
            _ => {
                text.push_str(PIECES[only.unwrap_or_else(|| random.random_range(0..PIECES.len()))])
            }
        }
    }
    text
}

/// Asserts that the output contains no hidden character except newlines.
#[track_caller]
fn assert_seen(what: impl Display, shown: &str) {
    let hidden = shown.chars().find(|c| *c != '\n' && quote::is_hidden(*c));
    assert_eq!(hidden, None, "{what}");
}

#[test]
fn no_text_makes_a_printer_panic() {
    let random = &mut StdRng::seed_from_u64(27);
    for number in 0..TEXTS {
        let text = text(random);
        let most = random.random_range(0..300);
        let _ = excerpt::excerpt(&text, most);
        let _ = excerpt::cut(&text, most, |text| text.encode_utf16().count());
        for shown in [
            quote::line(&text).into_owned(),
            quote::lines(&text).into_owned(),
            quote::name(&text),
            quote::log(&text),
            quote::markdown(&text),
            quote::code(&text),
            quote::code_cell(&text),
            quote::shell(&text),
            quote::toml(&text),
            quote::padded(&quote::name(&text), most * 1000),
            counted(random.random::<u64>(), &quote::name(&text)),
            grouped(random.random()),
        ] {
            assert_seen(number, &shown);
        }
        assert!(quote::block(&text).ends_with("`\n"));
        let mut table = Table::new([("A", Side::Left), ("B", Side::Right)]);
        table.row([quote::line(&text).into_owned(), text.clone()]);
        table.row([text.clone(), String::new()]);
        let _ = table.to_string();
        let bytes = text.as_bytes();
        let broken = &bytes[bytes.len().min(1)..bytes.len() - bytes.len().min(1) / 2];
        let values = [
            Value::Text(bytes),
            Value::Blob(bytes),
            Value::Text(broken),
            Value::Integer(random.random()),
            Value::Real(f64::from_bits(random.random())),
            Value::Null,
        ];
        // NaN cannot be stored.
        let values = values.map(|value| match value {
            Value::Real(real) if real.is_nan() => Value::Null,
            other => other,
        });
        for form in [Form::Table, Form::Csv, Form::Json] {
            let mut shown = Shown::new(form, Vec::new());
            shown.columns(&vec![text.clone(); values.len()]).unwrap();
            shown.row(&values).unwrap();
            let written = String::from_utf8(shown.finish(false).unwrap());
            match form {
                Form::Table => assert_seen(number, &written.unwrap()),
                Form::Json => drop(serde_json::from_str::<Json>(&written.unwrap()).unwrap()),
                Form::Csv => {}
            }
        }
    }
}

#[test]
fn no_text_makes_an_address_panic() {
    let random = &mut StdRng::seed_from_u64(28);
    let mut taken = 0;
    for _ in 0..ADDRESSES {
        let text = text(random);
        let address: Result<Address, _> = text.parse();
        if let Ok(address) = &address {
            taken += 1;
            assert_eq!(address.to_string().parse(), Ok(address.clone()), "{text:?}");
        }
        let errors = [
            address.err().map(|error| error.to_string()),
            text.parse::<ObjectKey>()
                .err()
                .map(|error| error.to_string()),
            text.parse::<DatabaseName>()
                .err()
                .map(|error| error.to_string()),
            text.parse::<BackupDate>()
                .err()
                .map(|error| error.to_string()),
            text.parse::<IsoWeek>().err().map(|error| error.to_string()),
            text.parse::<Sha256>().err().map(|error| error.to_string()),
            text.parse::<JobId>().err().map(|error| error.to_string()),
        ];
        for error in errors.into_iter().flatten() {
            assert!(error.chars().count() < 1_000, "{error}");
            assert!(quote::is_plain(&error), "{error:?}");
        }
    }
    assert!(taken > 500, "{taken}");
}

fn base() -> Json {
    let hash = "00".repeat(32);
    json!({
        "format": 2, "instance": "one", "key": "daily/2026-11-22/blog.sql.zst", "database": "blog", "date": "2026-11-22",
        "zone": "UTC", "job": "550e8400-e29b-41d4-a716-446655440000",
        "source": { "kind": "sqlite", "id": "/srv/x.db", "bookmark": "b", "method": "export", "method_reason": "r" },
        "started_at": "2026-11-22T03:00:00Z", "completed_at": "2026-11-22T03:00:02Z",
        "plain": { "sha256": hash, "size_bytes": 400 },
        "stored": { "sha256": hash, "size_bytes": 100, "compression": "zstd" },
        "evidence": {
            "tables": [
                { "name": "a", "rows": 1, "omitted": "why" },
                { "name": "b", "rows": 2 }
            ],
            "schema": hash, "user_version": 0, "application_id": 0, "foreign_key_violations": 0
        },
        "class": "A",
        "check": {
            "schema_entries": 2, "tables": 2, "rows": 3, "digest": hash, "health": { "damaged": ["line"] }
        },
        "exceptions": [{ "object": "o", "kind": "missing", "reason": "r" }], "incomplete": false, "warnings": ["w"],
        "sqlite_version": "3.51.3", "patina_version": "0.1.0"
    })
}

/// Replaces a random part of the document.
fn mutate(document: &mut Json, random: &mut StdRng) {
    match document {
        Json::Object(fields) if !fields.is_empty() => {
            let at = random.random_range(0..fields.len());
            if let Some(field) = fields.values_mut().nth(at) {
                return mutate(field, random);
            }
        }
        Json::Array(items) if !items.is_empty() && random.random_bool(0.8) => {
            let at = random.random_range(0..items.len());
            return mutate(&mut items[at], random);
        }
        Json::String(_) if random.random_bool(0.8) => {
            *document = json!(text(random));
            return;
        }
        Json::Number(_) if random.random_bool(0.8) => {
            *document = match random.random_range(0..3) {
                0 => json!(u64::MAX),
                1 => json!(i64::MIN),
                _ => json!(random.random::<u64>()),
            };
            return;
        }
        _ => {}
    }
    *document = match random.random_range(0..5) {
        0 => Json::Null,
        1 => json!([]),
        2 => json!("S"),
        3 => json!(true),
        _ => json!({}),
    };
}

#[test]
fn no_manifest_makes_a_printer_panic() {
    let random = &mut StdRng::seed_from_u64(29);
    let mut taken = 0;
    for number in 0..MANIFESTS {
        let mut document = base();
        for _ in 0..random.random_range(1..5) {
            mutate(&mut document, random);
        }
        let Ok(manifest) = serde_json::from_value::<Manifest>(document) else {
            continue;
        };
        taken += 1;
        let name = text(random);
        let copy = StoredCopy {
            manifest: manifest.clone(),
            created_at: chrono::DateTime::from_timestamp(random.random::<u32>().into(), 0).unwrap(),
            placements: vec![Placement {
                storage: "near".to_owned(),
                state: CopyState::Corrupt,
                verified_at: None,
                damage: Some(name.clone()),
                damaged_at: None,
            }],
        };
        assert!(list::document(&copy).is_object());
        assert_seen(
            number,
            &list::shown(
                std::slice::from_ref(&copy),
                &list::Doubts::default(),
                copy.created_at,
            ),
        );
        assert_seen(number, &show::text(&Found::Daily(Box::new(copy))));
        let guide = Guide {
            lacks_rows: false,
            restore_after: Vec::new(),
            reason: name.clone(),
            database: manifest.database.clone(),
            home: Home::Sqlite(name.clone().into()),
            description: name,
            priority: None,
            copies: Vec::new(),
            chosen: Some(Chosen {
                manifest,
                archive: None,
            }),
            ways: Vec::new(),
        };
        assert_seen(number, &guide.markdown());
        assert!(guide.document().is_object());
    }
    assert!(taken > MANIFESTS / 10, "{taken}");
}
