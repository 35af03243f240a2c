//! Everything that D1 can hold comes back from it, and goes into it again.

use std::fs;

use patina::source::SqliteSource;
use patina::types::EvidenceClass;

use super::engine::{Engine, wrangler_restore};
use super::{Bench, same};
use crate::torture::{LEAST_FEATURES, Shell, build_for_d1};

/// Puts the torture database into the engine; gives its id, and its file's copy as `original.db`.
fn torture(bench: &Bench, engine: &Engine) -> String {
    let features = build_for_d1(&bench.path("sqlite.db"));
    assert!(features.len() >= LEAST_FEATURES - 20, "{}", features.len());
    let source = SqliteSource::new(bench.path("sqlite.db"), bench.folder.path().to_owned());
    bench.dump(&source).unwrap();
    let id = engine.create("torture");
    engine.import(&id, fs::read_to_string(bench.path("dump.sql")).unwrap());
    fs::remove_file(bench.path("dump.sql")).unwrap();
    engine.copy_file(&id, &bench.path("original.db"));
    same(&bench.path("sqlite.db"), &bench.path("original.db"));
    id
}

fn check(snapshot_bytes: u64, with_wrangler: bool) {
    let bench = Bench::new();
    let engine = Engine::start();
    let id = torture(&bench, &engine);
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
    let (original, dump) = (bench.path("original.db"), bench.path("dump.sql"));
    let shell = Shell {
        safe: true,
        foreign_keys: true,
        ..Shell::default()
    };
    shell.restore(&dump, &bench.path("shell.db")).unwrap();
    same(&original, &bench.path("shell.db"));
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
