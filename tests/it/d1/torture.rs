//! Everything that D1 can hold comes back from it, and goes into it again.

use std::fs;
use std::path::Path;

use patina::source::SqliteSource;
use patina::types::EvidenceClass;
use rusqlite::Connection;

use super::engine::{Engine, wrangler_restore};
use super::{Bench, same};
use crate::torture::{LEAST_FEATURES, Shell, build_for_d1};

/// Puts the torture database into the engine; gives its id, and its file's copy as `original.db`.
pub(super) fn torture(bench: &Bench, engine: &Engine, for_wrangler: bool) -> String {
    let features = build_for_d1(&bench.path("sqlite.db"));
    if for_wrangler {
        drop_what_wrangler_refuses(&bench.path("sqlite.db"));
    }
    assert!(features.len() >= LEAST_FEATURES - 20, "{}", features.len());
    let source = SqliteSource::new(bench.path("sqlite.db"), bench.folder.path().to_owned());
    bench.dump(&source).unwrap();
    let id = engine.create("torture");
    engine.import(&id, &bench.path("dump.sql"));
    fs::remove_file(bench.path("dump.sql")).unwrap();
    engine.copy_file(&id, &bench.path("original.db"));
    same(&bench.path("sqlite.db"), &bench.path("original.db"));
    id
}

/// wrangler takes no file with these words in it, and in a schema they cannot be written in another way.
fn drop_what_wrangler_refuses(path: &Path) {
    let db = Connection::open(path).unwrap();
    let sql = "SELECT 'DROP ' || type || ' \"' || replace(name, '\"', '\"\"') || '\"' FROM sqlite_schema \
               WHERE sql LIKE '%BEGIN TRANSACTION%'";
    let drops: Vec<String> = {
        let mut statement = db.prepare(sql).unwrap();
        let drops = statement.query_map([], |row| row.get(0)).unwrap();
        drops.map(Result::unwrap).collect()
    };
    assert!((1..4).contains(&drops.len()), "{drops:?}");
    drops.iter().for_each(|sql| db.execute_batch(sql).unwrap());
}

fn check(snapshot_bytes: u64, with_wrangler: bool) {
    let bench = Bench::new();
    let engine = Engine::start();
    let id = torture(&bench, &engine, with_wrangler);
    let source = bench
        .source(&engine, &id)
        .with_snapshot_up_to(snapshot_bytes);
    let dumped = bench.dump(&source).unwrap();
    assert_eq!(dumped.class, EvidenceClass::A);
    assert!(dumped.bookmark.is_some());
    assert!(!dumped.incomplete);
    assert!(
        dumped.evidence.tables.len() > 80,
        "{}",
        dumped.evidence.tables.len()
    );
    let is_told = |words: &str| {
        dumped
            .warnings
            .iter()
            .any(|warning| warning.contains(words))
    };
    assert!(is_told("fts_contentless"), "{:?}", dumped.warnings);
    assert_eq!(
        is_told("BEGIN TRANSACTION"),
        !with_wrangler,
        "{:?}",
        dumped.warnings
    );
    let (original, dump) = (bench.path("original.db"), bench.path("dump.sql"));
    // Keys in a cycle hold only at the end of a transaction, or where they are off.
    for shell in Shell::all().into_iter().filter(|shell| shell.safe) {
        let (wrapped, with_keys) = (shell.wrapped, shell.foreign_keys);
        let restored = bench.path(&format!("shell-{wrapped}-{with_keys}.db"));
        shell.restore(&dump, &restored).unwrap();
        same(&original, &restored);
    }
    if with_wrangler {
        wrangler_restore(&dump, &bench.path("wrangler.db")).unwrap();
        same(&original, &bench.path("wrangler.db"));
    }
}

#[test]
fn the_torture_database_comes_back_from_one_request_and_goes_into_d1_again() {
    check(u64::MAX, true);
}

#[test]
fn the_torture_database_comes_back_page_by_page() {
    check(0, false);
}

/// Every kind of key, over and over: some pages hold one row only.
#[test]
fn the_torture_database_comes_back_in_tiny_pages() {
    let bench = Bench::new();
    let engine = Engine::start();
    let id = torture(&bench, &engine, false);
    let source = bench.source(&engine, &id).with_snapshot_up_to(0);
    let dumped = bench.dump(&source.with_page_bytes(600)).unwrap();
    assert_eq!(dumped.class, EvidenceClass::A);
    let whole = bench.path("whole.sql");
    fs::rename(bench.path("dump.sql"), &whole).unwrap();
    let source = bench.source(&engine, &id).with_snapshot_up_to(u64::MAX);
    assert_eq!(bench.dump(&source).unwrap().evidence, dumped.evidence);
}
