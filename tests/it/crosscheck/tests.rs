//! Proves that the generator makes what it claims and that the comparison sees every kind of difference.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use rusqlite::Connection;

use super::patina::{Copied, Exception};
use super::{compare, folder, generator, inventory, program, silent};

/// A database with something of every kind that the comparison knows.
const SCHEMA: &str = "
    PRAGMA encoding='UTF-16le';
    CREATE TABLE plain(a, b TEXT, c AS (a || 'x'));
    INSERT INTO plain(rowid, a, b) VALUES (1, 1, 'one'), (5, -0.0, CAST(X'00D8' AS TEXT)), (9, NULL, X'00');
    CREATE INDEX by_a ON plain(a) WHERE a > 1;
    CREATE VIEW shown AS SELECT a FROM plain;
    CREATE TRIGGER fires AFTER INSERT ON plain BEGIN SELECT 1; END;
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
    INSERT INTO counted(v) VALUES (1);
    INSERT INTO sqlite_sequence VALUES ('gone', 5.0);
    CREATE TABLE clustered(k TEXT PRIMARY KEY COLLATE unicase, v) WITHOUT ROWID;
    INSERT INTO clustered VALUES ('GRÜN', 1), ('x', 2);
    CREATE VIRTUAL TABLE own USING fts5(t, u);
    INSERT INTO own VALUES ('backup runs', 'restore'), ('backup', NULL);
    CREATE VIRTUAL TABLE empty_text USING fts5(t, content = '');
    INSERT INTO empty_text(rowid, t) VALUES (1, 'kept nowhere'), (2, 'words');
    CREATE VIRTUAL TABLE external USING fts5(a, content = 'plain');
    INSERT INTO external(rowid, a) VALUES (1, 'other words');
    CREATE VIRTUAL TABLE older USING fts4(t, languageid='lid');
    INSERT INTO older(docid, t, lid) VALUES (1, 'backup', 0), (2, 'restore', 7);
    CREATE TABLE empty_text_content(v);
    INSERT INTO empty_text_content VALUES (1);
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, +label);
    INSERT INTO boxes VALUES (1, 0, 1, 'a'), (2, 5, 6, NULL);
    CREATE INDEX by_c0 ON own_content(c0);
    ANALYZE;
";

/// Each changes one thing; with the object it belongs to.
const CHANGES: &[(&str, &str)] = &[
    ("UPDATE plain SET a = 2 WHERE rowid = 1", "plain"),
    ("UPDATE plain SET a = 0.0 WHERE rowid = 5", "plain"),
    ("UPDATE plain SET a = 1.0 WHERE rowid = 1", "plain"),
    (
        "UPDATE plain SET b = CAST(X'FFDF' AS TEXT) WHERE rowid = 5",
        "plain",
    ),
    (
        "UPDATE plain SET b = CAST(b AS TEXT) WHERE rowid = 9",
        "plain",
    ),
    ("UPDATE plain SET rowid = 4 WHERE rowid = 5", "plain"),
    ("DELETE FROM plain WHERE rowid = 9", "plain"),
    ("INSERT INTO plain(a) VALUES (1)", "plain"),
    ("ALTER TABLE plain ADD COLUMN d", "plain"),
    ("DROP INDEX by_a", "by_a"),
    ("DROP VIEW shown", "shown"),
    ("DROP TRIGGER fires", "fires"),
    ("CREATE TABLE another(a)", "another"),
    ("DROP TABLE counted", "counted"),
    (
        "UPDATE sqlite_sequence SET seq = 5 WHERE name = 'gone'",
        "sqlite_sequence",
    ),
    (
        "DELETE FROM sqlite_sequence WHERE name = 'counted'",
        "sqlite_sequence",
    ),
    (
        "INSERT INTO sqlite_sequence VALUES ('gone', 6)",
        "sqlite_sequence",
    ),
    ("UPDATE clustered SET k = 'grün' WHERE v = 1", "clustered"),
    (
        "DELETE FROM sqlite_stat1 WHERE tbl = 'plain'",
        "sqlite_stat1",
    ),
    ("UPDATE sqlite_stat4 SET sample = X'00'", "sqlite_stat4"),
    ("UPDATE own SET u = 'restored' WHERE rowid = 1", "own"),
    ("UPDATE own SET u = '' WHERE rowid = 2", "own"),
    (
        "INSERT INTO own(own, rank) VALUES ('rank', 'bm25(2.0)')",
        "own",
    ),
    (
        "INSERT INTO empty_text(empty_text, rowid, t) VALUES ('delete', 2, 'words')",
        "empty_text",
    ),
    (
        "INSERT INTO external(external) VALUES ('rebuild')",
        "external",
    ),
    ("UPDATE older SET lid = 8 WHERE docid = 2", "older"),
    ("UPDATE older SET t = 'restored' WHERE docid = 2", "older"),
    ("UPDATE empty_text_content SET v = 2", "empty_text_content"),
    ("UPDATE boxes SET x1 = 1.5 WHERE id = 1", "boxes"),
    ("UPDATE boxes SET label = '' WHERE id = 2", "boxes"),
    ("DROP INDEX by_c0", "by_c0"),
    ("PRAGMA user_version = 1", "user_version"),
    ("PRAGMA application_id = 1", "application_id"),
    ("PRAGMA page_size = 1024; VACUUM", "page_size"),
    ("PRAGMA auto_vacuum = 1; VACUUM", "auto_vacuum"),
    (
        "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = sql || ' ' WHERE name = 'by_a'",
        "by_a",
    ),
    (
        "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, 'b TEXT', 'b  TEXT') WHERE name = 'plain'",
        "plain",
    ),
];

fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    program::register(&db).unwrap();
    db
}

#[test]
fn every_single_change_is_noticed_and_named() {
    let folder = folder();
    let (source, changed) = (folder.path().join("a.db"), folder.path().join("b.db"));
    open(&source).execute_batch(SCHEMA).unwrap();
    let held = inventory::take(&source).unwrap();
    for (sql, object) in CHANGES {
        fs::copy(&source, &changed).unwrap();
        let db = open(&changed);
        db.execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        drop(db);
        let found = inventory::take(&changed).unwrap();
        for (a, b) in [(&held, &found), (&found, &held)] {
            let differences = compare::differences(a, b);
            let is_named = differences
                .iter()
                .any(|difference| difference.objects.iter().any(|name| name == object));
            assert!(is_named, "not noticed: {sql}\n{differences:#?}");
        }
    }
}

#[test]
fn a_copy_of_the_file_and_another_layout_of_the_same_content_are_equal() {
    let folder = folder();
    let (source, copy) = (folder.path().join("a.db"), folder.path().join("b.db"));
    open(&source).execute_batch(SCHEMA).unwrap();
    let held = inventory::take(&source).unwrap();
    let unreadable = held.parts.iter().filter(|(_, part)| part.answer.is_err());
    let unreadable: Vec<&String> = unreadable.map(|(what, _)| what).collect();
    assert!(held.parts.len() > 100, "only {} parts", held.parts.len());
    assert!(unreadable.is_empty(), "not read: {unreadable:#?}");
    fs::copy(&source, &copy).unwrap();
    let db = open(&copy);
    db.execute_batch(
        "INSERT INTO own(own) VALUES ('optimize'); INSERT INTO older(older) VALUES ('optimize');
         INSERT INTO empty_text(empty_text) VALUES ('optimize'); VACUUM",
    )
    .unwrap();
    drop(db);
    let found = inventory::take(&copy).unwrap();
    let differences = compare::differences(&held, &found);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn only_a_declared_difference_of_a_copy_that_is_not_proven_is_no_silence() {
    let folder = folder();
    let (source, changed) = (folder.path().join("a.db"), folder.path().join("b.db"));
    open(&source).execute_batch(SCHEMA).unwrap();
    fs::copy(&source, &changed).unwrap();
    open(&changed)
        .execute_batch("DELETE FROM plain; PRAGMA user_version = 3")
        .unwrap();
    let (held, found) = (
        inventory::take(&source).unwrap(),
        inventory::take(&changed).unwrap(),
    );
    let silent_of = |class: &str, objects: &[&str]| {
        let exception = |object: &&str| Exception {
            object: (*object).to_owned(),
            kind: String::new(),
            reason: String::new(),
        };
        let copied = Copied {
            restored: changed.clone(),
            class: class.to_owned(),
            exceptions: objects.iter().map(exception).collect(),
            is_image: false,
            sql: None,
        };
        silent(&copied, compare::differences(&held, &found)).len()
    };
    assert!(silent_of("B", &[]) >= 2);
    assert!(silent_of("A", &["plain", "user_version"]) >= 2);
    assert!(silent_of("B", &["plain"]) >= 1);
    assert_eq!(silent_of("B", &["PLAIN", "user_version", "external"]), 0);
}

#[test]
fn the_generator_makes_every_kind_of_piece_and_the_same_again_for_the_same_seed() {
    let mut kinds: BTreeMap<&str, u64> = BTreeMap::new();
    let mut tables = 0;
    for seed in 0..600 {
        let folder = folder();
        let path = folder.path().join("a.db");
        let recipe = generator::generate(&path, folder.path(), seed);
        for kind in recipe.kinds {
            *kinds.entry(kind).or_default() += 1;
        }
        let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'table'";
        tables += open(&path)
            .query_row(count, [], |row| row.get::<_, u64>(0))
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", recipe.sql));
        if seed % 20 == 0 {
            let other = folder.path().join("b.db");
            let again = generator::generate(&other, folder.path(), seed);
            assert_eq!(recipe.sql, again.sql, "seed {seed}");
        }
    }
    assert_eq!(kinds.len(), generator::PIECES.len(), "{kinds:#?}");
    assert!(kinds.values().all(|count| *count >= 3), "{kinds:#?}");
    assert!(tables > 2_000, "only {tables} tables");
}
