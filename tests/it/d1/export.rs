//! Cloudflare's own export as a way to back up: what it keeps comes back, what it loses is refused before it is asked.

use std::path::Path;

use patina::source::{Source, SourceError};
use patina::types::EvidenceClass;
use rusqlite::Connection;

use super::engine::{Engine, Wrangler};
use super::proxy::{Fate, Proxy};
use super::{Bench, same};

/// Everything that Cloudflare's exporter brings back.
pub(super) const KEPT: &str = r#"
    CREATE TABLE "parents"(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, score REAL, born INTEGER);
    CREATE TABLE children(id TEXT PRIMARY KEY, parent INTEGER NOT NULL REFERENCES parents(id) ON DELETE CASCADE,
        note TEXT, half AS (born_day / 2), born_day INTEGER, data BLOB, self TEXT REFERENCES children(id));
    CREATE TABLE pairs(a TEXT, b ANY, v, PRIMARY KEY (a, b)) WITHOUT ROWID, STRICT;
    CREATE TABLE empty(x);
    CREATE INDEX children_parent ON children(parent) WHERE note IS NOT NULL;
    CREATE VIEW names AS SELECT name FROM parents;
    CREATE TRIGGER bear AFTER INSERT ON parents BEGIN INSERT INTO pairs VALUES ('fired; END', new.id, NULL); END;
    INSERT INTO parents(name, score, born) VALUES ('Åse 🍂', 3.0, 9007199254740992), ('it''s', -0.1, -9007199254740992),
        ('a
b', 1e-300, NULL), ('back\nslash', 1.7976931348623157e308, 0), ('', 123456789.125, 1), ('only' || char(13), 5e-324, 2);
    DELETE FROM parents WHERE id = 5;
    INSERT INTO children(id, parent, note, born_day, data) VALUES ('x', 1, 'line
line', 7, X''), ('y', 2, NULL, 8, X'00ff0a'), ('z', 2, '\', 9, zeroblob(20000));
    INSERT INTO pairs VALUES ('k', 1, 2.5), ('k', 'one', 'v'), ('K', X'01', char(65533));
"#;

/// STRICT knows no column without a type.
fn kept() -> String {
    KEPT.replace(
        "v, PRIMARY KEY (a, b)) WITHOUT ROWID, STRICT",
        "v, PRIMARY KEY (a, b)) WITHOUT ROWID",
    )
}

/// An engine with one database of these statements.
fn engine_with(sql: &str) -> (Engine, String) {
    let engine = Engine::start();
    let id = engine.create("db");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("make.sql");
    std::fs::write(&file, format!("{};", sql.trim_end().trim_end_matches(';'))).unwrap();
    engine.import(&id, &file);
    (engine, id)
}

pub(crate) fn engine_with_what_is_kept() -> (Engine, String) {
    engine_with(&kept())
}

/// The file behind the link that polling leads to, as a program of Cloudflare's would fetch it.
pub(super) fn exported(engine: &Engine, id: &str) -> String {
    let first = engine.export(id, None);
    let bookmark = first["at_bookmark"].as_str().unwrap();
    for _ in 0..10 {
        let state = engine.export(id, Some(bookmark));
        if state["status"] == "complete" {
            return engine.download(state["result"]["signed_url"].as_str().unwrap());
        }
    }
    panic!("it never completes");
}

#[test]
fn the_stand_in_exports_what_wrangler_exports() {
    let more = "
        CREATE TABLE hazards(i, r, t); CREATE TABLE gaps(x); CREATE TABLE 'quoted'(\"a b\" TEXT, c DEFAULT 'CREATE TABLE \"');
        INSERT INTO hazards VALUES (9007199254740993, 9e999, 'both \\n and
newline'), (-9223372036854775808, -9e999, char(13) || '\\r'), (3, 3.0, -0.0), (1e21, 1e20, 1e-7);
        INSERT INTO gaps(rowid, x) VALUES (10, 'ten'), (20, CAST(X'61ff' AS TEXT));
        INSERT INTO quoted VALUES ('', NULL);
        CREATE VIEW v AS SELECT * FROM gaps;
        CREATE TRIGGER instead INSTEAD OF INSERT ON v BEGIN SELECT 1; END;";
    let sql = format!("{}{more}", kept());
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    std::fs::write(path("make.sql"), &sql).unwrap();
    let local = Wrangler::local();
    local.execute(&path("make.sql")).unwrap();
    local.export(&path("local.sql")).unwrap();
    let (engine, id) = engine_with(&sql);
    let ours = exported(&engine, &id);
    let theirs = std::fs::read_to_string(path("local.sql")).unwrap();
    assert_eq!(ours.trim_end(), theirs.trim_end());
    assert!(ours.contains("9007199254740992,9e999,replace("), "{ours}");
    // And wrangler finds the same over the API, by its own polls and its own download.
    let remote = Wrangler::remote(&engine, &id);
    remote.export(&path("remote.sql")).unwrap();
    let remote = std::fs::read_to_string(path("remote.sql")).unwrap();
    assert_eq!(remote.trim_end(), ours.trim_end());
}

#[test]
fn what_the_export_keeps_comes_back_as_class_b_with_its_method_told() {
    let bench = Bench::new();
    let (engine, id) = engine_with_what_is_kept();
    engine.copy_file(&id, &bench.path("original.db"));
    let source = bench.export_of(bench.client(&engine.account(engine.url())), &engine, &id);
    assert_eq!(source.facts().method.as_deref(), Some("export"));
    let dumped = bench.dump(&source).unwrap();
    assert_eq!(dumped.class, EvidenceClass::B);
    assert!(dumped.bookmark.is_some());
    assert!(
        dumped.warnings[0].contains("Cloudflare's own export"),
        "{:?}",
        dumped.warnings
    );
    crate::torture::shell_restore(&bench.path("dump.sql"), &bench.path("restored.db"), true)
        .unwrap();
    same(&bench.path("original.db"), &bench.path("restored.db"));
    // The same content as by queries, to the last digest.
    let raw = bench.dump(&bench.source(&engine, &id)).unwrap();
    assert_eq!(raw.evidence, dumped.evidence);
    assert_eq!(bench.scratch_left(), [""; 0]);
}

#[test]
fn tables_in_parts_and_without_rows_are_exported() {
    let bench = Bench::new();
    let (engine, id) = engine_with(
        "CREATE TABLE log(id INTEGER PRIMARY KEY, t TEXT, r REAL); CREATE TABLE secret(v TEXT);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 120000)
         INSERT INTO log SELECT i * 3, 'line ' || i, i / 7.0 FROM n;
         INSERT INTO secret VALUES ('hush')",
    );
    let proxy = Proxy::start(engine.port, |_| Fate::Pass);
    let source = bench.export_of(bench.client(&engine.account(proxy.url())), &engine, &id);
    let dumped = bench.dump_without(&source, &["secret".to_owned()]).unwrap();
    assert_eq!(dumped.evidence.total_rows(), 120_000);
    let parts = proxy
        .bodies()
        .iter()
        .filter(|body| body.contains("LIMIT 50000"))
        .count();
    assert_eq!(parts, 3 + 1);
    let text = std::fs::read_to_string(bench.path("dump.sql")).unwrap();
    assert!(text.contains("'line 119999'") && !text.contains("hush"));
}

#[test]
fn an_empty_database_is_exported() {
    let bench = Bench::new();
    let (engine, id) = engine_with("PRAGMA defer_foreign_keys=TRUE;");
    let source = bench.export_of(bench.client(&engine.account(engine.url())), &engine, &id);
    assert_eq!(bench.dump(&source).unwrap().evidence.tables, []);
}

/// Refused without the database being blocked for a moment, by an error that names the place and the way out.
#[track_caller]
fn refuses(sql: &str, words: &[&str]) {
    let (engine, id) = engine_with(sql);
    refuses_that(&engine, &id, words);
}

fn refuses_that(engine: &Engine, id: &str, words: &[&str]) {
    let bench = Bench::new();
    let proxy = Proxy::start(engine.port, |_| Fate::Pass);
    let source = bench.export_of(bench.client(&engine.account(proxy.url())), engine, id);
    let error = bench.dump(&source).unwrap_err();
    assert!(
        matches!(
            error,
            SourceError::Unavailable {
                retryable: false,
                ..
            }
        ),
        "{error:?}"
    );
    for word in words.iter().chain(&["hint: ", "method = \"raw\""]) {
        assert!(
            error.to_string().contains(word),
            "`{word}` is not in: {error}"
        );
    }
    let asked = proxy.bodies();
    assert!(
        !asked.iter().any(|body| body.contains("output_format")),
        "it was exported"
    );
    // The way out is one.
    bench.dump(&bench.source(engine, id)).unwrap();
}

#[test]
fn values_that_the_export_changes_are_refused() {
    let cell = "column `v` of table `t`";
    for (value, word) in [
        ("9007199254740993", "2^53"),
        ("-9223372036854775808", "2^53"),
        ("9e999", "infinities"),
        ("-9e999", "infinities"),
        ("3.0", "without a fraction"),
        ("-0.0", "negative zeros"),
        ("'both \\n and' || char(10)", "newline"),
        ("'both \\r and' || char(13)", "newline"),
        ("'a' || char(0) || 'b'", "NUL"),
        ("CAST(X'61ff' AS TEXT)", "UTF-8"),
    ] {
        let sql = format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t(v) VALUES ('fine'), ({value})"
        );
        refuses(&sql, &[cell, word]);
    }
}

#[test]
fn rows_and_schemas_that_the_export_breaks_are_refused() {
    refuses(
        "CREATE TABLE t(v); INSERT INTO t(rowid, v) VALUES (10, 1), (20, 2)",
        &["table `t`", "implicit rowids"],
    );
    refuses(
        "CREATE TABLE t(v TEXT PRIMARY KEY); INSERT INTO t VALUES ('b'), ('a')",
        &["table `t`", "implicit rowids"],
    );
    refuses(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t(v) VALUES (zeroblob(50000))",
        &["table `t`", "a row of 100,0"],
    );
    refuses(
        "CREATE TABLE child(p REFERENCES later(id)); CREATE TABLE later(id INTEGER PRIMARY KEY)",
        &["table `child`", "`later`"],
    );
    refuses(
        "CREATE TABLE t(v); CREATE VIEW w AS SELECT v FROM t;
         CREATE TRIGGER put INSTEAD OF INSERT ON w BEGIN INSERT INTO t VALUES (new.v); END",
        &["trigger `put`", "INSTEAD OF"],
    );
    refuses(
        "CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES ('x')",
        &["table `f`", "fts5"],
    );
    refuses(
        "CREATE VIRTUAL TABLE g USING rtree(id, a, b)",
        &["table `g`", "rtree"],
    );
    // A text that ends so cannot stand in a file with others.
    let (engine, id) = engine_with("CREATE TABLE t(v)");
    engine.execute(&id, "CREATE INDEX i ON t(v) -- why");
    refuses_that(&engine, &id, &["index `i`", "comment"]);
}

/// What no query can see beforehand shows in the sums afterwards.
#[test]
fn bytes_that_are_not_utf8_are_refused_at_the_latest_when_the_copy_is_compared() {
    for bytes in ["6180", "e28261", "f09f98", "edefbfbda080"] {
        let bench = Bench::new();
        let (engine, id) = engine_with(&format!(
            "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t(v) VALUES (CAST(X'{bytes}' AS TEXT))"
        ));
        let source = bench.export_of(bench.client(&engine.account(engine.url())), &engine, &id);
        let error = bench.dump(&source).unwrap_err();
        assert!(
            !error.is_retryable() && error.to_string().contains("`v` of table `t`"),
            "{error}"
        );
        assert_eq!(bench.scratch_left(), [""; 0]);
    }
}

#[test]
fn the_same_database_by_both_ways_gives_the_same_bytes_but_for_the_header() {
    let bench = Bench::new();
    let (engine, id) = engine_with_what_is_kept();
    let body = |path: &Path| {
        let text = std::fs::read_to_string(path).unwrap();
        let start = text.find("PRAGMA").unwrap();
        text[start..text.find("-- Backup Complete").unwrap()].to_owned()
    };
    bench.dump(&bench.source(&engine, &id)).unwrap();
    let raw = body(&bench.path("dump.sql"));
    let source = bench.export_of(bench.client(&engine.account(engine.url())), &engine, &id);
    bench.dump(&source).unwrap();
    assert_eq!(body(&bench.path("dump.sql")), raw);
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(&raw).unwrap();
}
