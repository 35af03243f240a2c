//! Dumps databases that break backup tools, restores them in every way, and compares without the dump's code.

use std::path::Path;

use patina::types::Compression;

use crate::dumping::{Workshop, assert_same_text, body};
use crate::torture::{self, Shell, compare};

const COMPRESSIONS: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Zstd];

#[track_caller]
fn assert_same(a: &Path, b: &Path, what: &str) {
    let differences = compare(a, b);
    assert!(differences.is_empty(), "{what}: {differences:#?}");
}

/// Restores `dump` in every way of the shell that takes it, and compares.
fn check_shells(workshop: &Workshop, database: &Path, dump: &Path, shells: &[Shell]) {
    assert!(shells.len() >= 2, "no shells");
    for (at, shell) in shells.iter().enumerate() {
        let restored = workshop.path(&format!("shell{at}.db"));
        let outcome = shell.restore(dump, &restored);
        outcome.unwrap_or_else(|error| panic!("{shell:?}: {error}"));
        assert_same(database, &restored, &format!("{shell:?}"));
        std::fs::remove_file(restored).unwrap();
    }
}

/// Proves and restores a dump in each compression, and dumps the restored copy again.
fn check_drill(workshop: &Workshop, database: &Path, compressions: &[Compression]) {
    let dump = workshop.dump(database, "first.sql").unwrap();
    let first = body(&dump);
    for compression in compressions {
        let source = workshop.source(database);
        let spooled = workshop.spool(&source, "a.partial", *compression);
        let (partial, mut dumped) = spooled.unwrap();
        let restored = workshop.restore(&partial, "restored.db").unwrap();
        assert_same(database, &restored, &format!("{compression:?}"));
        let again = workshop.dump(&restored, "again.sql").unwrap();
        assert_same_text(&first, &body(&again), "a dump of the restored copy");
        let ready = workshop.prove(partial, &mut dumped).unwrap();
        ready.remove().unwrap();
        std::fs::remove_file(restored).unwrap();
    }
}

/// The dump itself turns keys off, which has no effect inside a transaction: rows that violate a key need one or the
/// other to be absent.
fn for_violations() -> Vec<Shell> {
    let all = Shell::all().into_iter();
    all.filter(|shell| !(shell.foreign_keys && shell.wrapped))
        .collect()
}

#[test]
fn the_torture_database_comes_back_whole_through_every_shell() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    let features = torture::build(&database);
    assert!(features.len() >= torture::LEAST_FEATURES, "fixtures moved?");
    let dump = workshop.dump(&database, "a.sql").unwrap();
    check_shells(&workshop, &database, &dump, &for_violations());
}

#[test]
fn the_torture_database_comes_back_whole_through_the_drill_in_every_compression() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    torture::build(&database);
    check_drill(&workshop, &database, &COMPRESSIONS);
}

#[test]
fn a_dump_that_violates_no_key_restores_with_foreign_keys_on_with_and_without_a_transaction() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    torture::build_for_d1(&database);
    let dump = workshop.dump(&database, "a.sql").unwrap();
    check_shells(&workshop, &database, &dump, &Shell::all());
    check_drill(&workshop, &database, &[Compression::None]);
}

#[test]
fn the_same_content_dumps_to_the_same_bytes_twice() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    torture::build(&database);
    let first = body(&workshop.dump(&database, "first.sql").unwrap());
    let second = body(&workshop.dump(&database, "second.sql").unwrap());
    assert!(first.len() > 1_000_000);
    assert_same_text(&first, &second, "the second dump");
    // Another file with the same content: pages, free space and rowids of the schema are other ones.
    let vacuumed = workshop.path("vacuumed.db");
    let db = rusqlite::Connection::open(&database).unwrap();
    db.execute("VACUUM INTO ?1", [vacuumed.to_str().unwrap()])
        .unwrap();
    let third = body(&workshop.dump(&vacuumed, "third.sql").unwrap());
    assert_same_text(&first, &third, "a vacuumed copy's dump");
}

#[test]
fn random_databases_come_back_whole_through_shell_and_drill() {
    const SEEDS: u64 = 60;
    let mut rows = 0;
    for seed in 1000..1000 + SEEDS {
        let workshop = Workshop::new();
        let database = workshop.path("a.db");
        rows += torture::random_database(&database, seed);
        println!("seed {seed}");
        let dump = workshop.dump(&database, "a.sql").unwrap();
        let mut shells = for_violations();
        if seed % 10 > 0 {
            // Without a transaction the shell waits for the disk after each statement.
            shells.retain(|shell| shell.wrapped);
        }
        check_shells(&workshop, &database, &dump, &shells);
        check_drill(&workshop, &database, &[COMPRESSIONS[seed as usize % 3]]);
    }
    assert!(rows > 2_000, "only {rows} rows");
}

#[test]
fn a_utf_16_database_stays_one() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    torture::build_utf16(&database);
    let dump = workshop.dump(&database, "a.sql").unwrap();
    check_shells(&workshop, &database, &dump, &for_violations());
    check_drill(&workshop, &database, &COMPRESSIONS);
}

#[test]
fn a_comment_that_schema_text_leaves_open_is_closed_and_declared() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    torture::build_open_comment(&database);
    let source = workshop.source(&database);
    let (partial, mut dumped) = workshop
        .spool(&source, "a.partial", Compression::None)
        .unwrap();
    let told = dumped
        .exceptions
        .iter()
        .any(|exception| exception.object == "a_opened");
    assert!(told, "{:?}", dumped.exceptions);
    let restored = workshop.restore(&partial, "restored.db").unwrap();
    workshop.prove(partial, &mut dumped).unwrap();
    let differences = compare(&database, &restored);
    assert_eq!(differences.len(), 2, "{differences:#?}");
    assert!(
        differences[1].contains("/* never; closed */"),
        "{differences:#?}"
    );
    let first = workshop.dump(&database, "first.sql").unwrap();
    let again = workshop.dump(&restored, "again.sql").unwrap();
    assert_same_text(&body(&first), &body(&again), "a dump of the restored copy");
    for (at, shell) in for_violations().into_iter().enumerate() {
        let by_shell = workshop.path(&format!("{at}.db"));
        shell.restore(&first, &by_shell).unwrap();
        assert_same(&restored, &by_shell, "by the shell");
    }
}

#[test]
fn crlf_in_schema_text_is_kept_by_the_drill_and_warned_of() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    torture::build_crlf_schema(&database);
    let source = workshop.source(&database);
    let (_partial, dumped) = workshop
        .spool(&source, "w.partial", Compression::None)
        .unwrap();
    let told = dumped.warnings.iter().filter(|w| w.contains("CRLF"));
    assert_eq!(told.count(), 2, "{:?}", dumped.warnings);
    check_drill(&workshop, &database, &COMPRESSIONS);
}

#[test]
fn the_word_autoincrement_alone_makes_no_sequence() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    let db = rusqlite::Connection::open(&database).unwrap();
    db.execute_batch(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v DEFAULT 'autoincrement'); -- AUTOINCREMENT
         INSERT INTO t(id) VALUES (1), (5);",
    )
    .unwrap();
    drop(db);
    let dump = workshop.dump(&database, "a.sql").unwrap();
    check_shells(&workshop, &database, &dump, &for_violations());
    check_drill(&workshop, &database, &[Compression::None]);
}

#[test]
fn a_row_of_two_thousand_tiny_doubles_and_a_large_blob_is_staged() {
    let workshop = Workshop::new();
    let database = workshop.path("a.db");
    let db = rusqlite::Connection::open(&database).unwrap();
    let columns: Vec<String> = (0..1999).map(|at| format!("c{at}")).collect();
    let tiny = vec!["-4.9e-321"; 1999].join(",");
    db.execute_batch(&format!(
        "CREATE TABLE wide(big, {}); INSERT INTO wide VALUES (zeroblob(100000), {tiny}), (NULL, {tiny});",
        columns.join(",")
    ))
    .unwrap();
    drop(db);
    check_drill(&workshop, &database, &[Compression::None]);
}
