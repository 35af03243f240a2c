//! Proves that the fixtures hold what they claim and that the comparison sees every kind of difference.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tempfile::TempDir;

use super::build::Fits;
use super::*;

fn folder() -> (TempDir, impl Fn(&str) -> PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, move |name: &str| path.join(name))
}

fn copy(from: &Path, to: &Path) -> Connection {
    fs::copy(from, to).unwrap();
    let db = Connection::open(to).unwrap();
    db.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA synchronous=OFF")
        .unwrap();
    db
}

#[track_caller]
fn same(a: &Path, b: &Path) {
    let differences = compare(a, b);
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_torture_database_holds_every_feature_and_is_sound() {
    let (_folder, path) = folder();
    let names = build(&path("a.db"));
    assert!(
        names.len() >= LEAST_FEATURES,
        "only {} features",
        names.len()
    );
    assert_eq!(
        names.iter().collect::<BTreeSet<_>>().len(),
        names.len(),
        "a name twice"
    );
    let db = Connection::open(path("a.db")).unwrap();
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    let sound: Vec<String> = {
        let mut check = db.prepare("PRAGMA integrity_check").unwrap();
        check
            .query_map([], |row| row.get(0))
            .unwrap()
            .map(Result::unwrap)
            .collect()
    };
    assert_eq!(sound, ["CHECK constraint failed in broken_check"]);
    assert!(count("SELECT count(*) FROM sqlite_schema") > 200);
    assert_eq!(
        count("SELECT count(*) FROM pragma_table_xinfo('columns_200')"),
        200
    );
    assert!(count("SELECT count(*) FROM random_doubles WHERE typeof(v) = 'real'") >= 5_000);
    assert_eq!(
        count("SELECT count(*) FROM invalid_utf8 WHERE hex(t) = 'FF80'"),
        1
    );
    assert_eq!(
        count("SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%-- a view'"),
        1
    );
    assert!(count("SELECT count(*) FROM sqlite_stat1") > 0);
    assert!(count("SELECT max(length(v)) FROM longer_blob") >= 3_000_000);
}

#[test]
fn the_database_for_d1_violates_no_key() {
    let (_folder, path) = folder();
    let names = build_for_d1(&path("a.db"));
    assert!(
        names.len() >= LEAST_FEATURES - 20,
        "only {} features",
        names.len()
    );
    let db = Connection::open(path("a.db")).unwrap();
    assert!(
        !db.prepare("PRAGMA foreign_key_check")
            .unwrap()
            .exists([])
            .unwrap()
    );
    let wide = "SELECT 1 FROM pragma_table_list AS l, pragma_table_xinfo(l.name) WHERE l.type = 'table' GROUP BY l.name HAVING count(*) > 100";
    assert!(!db.prepare(wide).unwrap().exists([]).unwrap());
}

#[test]
fn a_copied_and_a_vacuumed_database_compare_equal() {
    let (_folder, path) = folder();
    build(&path("a.db"));
    fs::copy(path("a.db"), path("b.db")).unwrap();
    same(&path("a.db"), &path("b.db"));
    let db = Connection::open(path("a.db")).unwrap();
    db.execute("VACUUM INTO ?1", [path("c.db").to_str().unwrap()])
        .unwrap();
    same(&path("a.db"), &path("c.db"));
}

#[test]
fn every_single_change_is_noticed() {
    let (_folder, path) = folder();
    let light = path("light.db");
    build_some(&light, |feature| {
        feature.fits != Fits::Heavy
            && !feature.name.contains("3 MB")
            && !feature.name.contains("random")
    });
    let changes = [
        (
            "UPDATE integers SET v = v + 1 WHERE v = 9007199254740993",
            "integers",
        ),
        ("UPDATE zeros SET v = 0.0", "zeros"),
        (
            "UPDATE integral_reals SET v = 3 WHERE v = 3.0",
            "integral_reals",
        ),
        (
            "UPDATE reals SET v = 0.3 WHERE v = 0.30000000000000004",
            "reals",
        ),
        (
            "UPDATE infinities SET v = NULL WHERE v = 9e999",
            "infinities",
        ),
        ("UPDATE empties SET v = X'' WHERE v = ''", "empties"),
        ("UPDATE empties SET v = '' WHERE v IS NULL", "empties"),
        (
            "UPDATE newlines SET v = char(10) WHERE v = char(13, 10)",
            "newlines",
        ),
        ("UPDATE nuls SET v = 'a' WHERE v = 'a'||char(0)", "nuls"),
        (
            "UPDATE invalid_utf8 SET t = char(65533) WHERE hex(t) = 'FF80'",
            "invalid_utf8",
        ),
        (
            "UPDATE numeric_untyped SET v = 7 WHERE v = '007'",
            "numeric_untyped",
        ),
        ("UPDATE crossed SET i = 1 WHERE i = X'01'", "crossed"),
        (
            "UPDATE _patina_stage SET mine = 'x' WHERE i = 7",
            "_patina_stage",
        ),
        (
            "UPDATE implicit_gaps SET rowid = 5 WHERE rowid = 4",
            "implicit_gaps",
        ),
        (
            "UPDATE rowid_two SET _rowid_ = 4 WHERE _rowid_ = 3",
            "rowid_two",
        ),
        (
            "UPDATE descending_key SET rowid = 4 WHERE rowid = 5",
            "descending_key",
        ),
        ("UPDATE rowid_three SET oid = 0 WHERE v = 3", "rowid_three"),
        ("DELETE FROM keyed WHERE b = 0", "keyed"),
        (
            "INSERT INTO implicit_gapless VALUES ('c')",
            "implicit_gapless",
        ),
        ("DELETE FROM one", "one"),
        (
            "UPDATE sqlite_sequence SET seq = 8 WHERE name = 'numbered_changed'",
            "sqlite_sequence",
        ),
        (
            "DELETE FROM sqlite_sequence WHERE name = 'numbered_empty'",
            "sqlite_sequence",
        ),
        ("INSERT INTO violator VALUES (5, 5)", "foreign_key_check"),
        ("PRAGMA user_version = 1", "user_version"),
        ("PRAGMA application_id = 1", "application_id"),
        ("DROP INDEX index_partial", "schema"),
        ("DROP TRIGGER end", "schema"),
        ("DROP VIEW broken_view", "schema"),
        ("DROP TABLE empty", "schema"),
        ("CREATE TABLE more(a)", "schema"),
        ("ALTER TABLE empty ADD COLUMN c", "schema"),
        ("CREATE INDEX more ON empty(a)", "schema"),
        (
            "UPDATE fts_plain SET body = 'x' WHERE rowid = 3",
            "fts_plain",
        ),
        (
            "UPDATE fts_options SET note = '7' WHERE rowid = 6",
            "fts_options",
        ),
        (
            "INSERT INTO fts_external(fts_external) VALUES ('delete-all')",
            "fts_external",
        ),
        ("DELETE FROM fts4_plain WHERE docid = 9", "fts4_plain"),
        ("UPDATE boxes SET max_x = 0.3 WHERE id = 1", "boxes"),
        (
            "UPDATE labelled_boxes SET label = 'its' WHERE id = 1",
            "labelled_boxes",
        ),
        ("UPDATE generated SET b = 'X' WHERE a = 1", "generated"),
    ];
    for (sql, what) in changes {
        let changed = path("changed.db");
        let db = copy(&light, &changed);
        db.execute_batch(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        drop(db);
        for differences in [compare(&light, &changed), compare(&changed, &light)] {
            let told = differences.iter().any(|text| text.contains(what));
            assert!(told, "not noticed: {sql}\n{differences:#?}");
        }
    }
}

#[test]
fn only_the_content_of_exempt_tables_may_differ() {
    let (_folder, path) = folder();
    let fts = build_some(&path("a.db"), |feature| feature.name.starts_with("FTS"));
    assert!(fts.len() >= 8, "fixtures moved?");
    let db = copy(&path("a.db"), &path("b.db"));
    db.execute_batch("INSERT INTO fts_contentless(fts_contentless) VALUES ('delete-all')")
        .unwrap();
    same(&path("a.db"), &path("b.db"));
    assert!(!compare_except(&path("a.db"), &path("b.db"), &[]).is_empty());
    db.execute_batch("DELETE FROM fts4_plain").unwrap();
    assert!(!compare(&path("a.db"), &path("b.db")).is_empty());
    let exempt = ["fts4_plain", "fts_contentless"];
    assert!(compare_except(&path("a.db"), &path("b.db"), &exempt).is_empty());
}

#[test]
fn the_databases_that_sql_cannot_restore_exactly_hold_their_oddity() {
    let (_folder, path) = folder();
    build_utf16(&path("wide.db"));
    let narrow = Connection::open(path("narrow.db")).unwrap();
    narrow
        .execute_batch("CREATE TABLE texts(id INTEGER PRIMARY KEY, t TEXT NOT NULL)")
        .unwrap();
    assert!(compare(&path("wide.db"), &path("narrow.db"))[0].contains("encoding"));
    build_crlf_schema(&path("crlf.db"));
    let db = Connection::open(path("crlf.db")).unwrap();
    let crlf = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%' || char(13, 10) || '%'";
    assert_eq!(db.query_row(crlf, [], |row| row.get(0)), Ok(2));
    build_open_comment(&path("open.db"));
    let db = Connection::open(path("open.db")).unwrap();
    let open = "SELECT count(*) FROM sqlite_schema WHERE sql LIKE '%/* never; closed'";
    assert_eq!(db.query_row(open, [], |row| row.get(0)), Ok(1));
}

#[test]
fn the_same_seed_makes_the_same_database() {
    let (_folder, path) = folder();
    let mut rows = 0;
    for seed in 0..40 {
        let (a, b) = (path(&format!("{seed}a.db")), path(&format!("{seed}b.db")));
        rows += random_database(&a, seed);
        random_database(&b, seed);
        assert_eq!(fs::read(&a).unwrap(), fs::read(&b).unwrap(), "seed {seed}");
        same(&a, &b);
    }
    assert!(rows > 1_000, "only {rows} rows");
    assert!(!compare(&path("0a.db"), &path("1a.db")).is_empty());
}

#[test]
fn the_shell_runs_a_dump_in_every_way() {
    let (_folder, path) = folder();
    let sql =
        "CREATE TABLE t(a);\nINSERT INTO t VALUES ('x\n.quit\ny'), (2);\nCREATE INDEX i ON t(a);\n";
    fs::write(path("dump.sql"), sql).unwrap();
    Connection::open(path("a.db"))
        .unwrap()
        .execute_batch(sql)
        .unwrap();
    for (at, shell) in Shell::all().into_iter().enumerate() {
        let restored = path(&format!("{at}.db"));
        shell.restore(&path("dump.sql"), &restored).unwrap();
        same(&path("a.db"), &restored);
    }
    shell_restore(&path("dump.sql"), &path("safe.db"), true).unwrap();
}

#[test]
fn the_shell_tells_why_a_dump_failed() {
    let (_folder, path) = folder();
    let cases = [
        (
            "CREATE TABLE t(a); INSERT INTO no_table VALUES (1);",
            "no_table",
        ),
        (
            "CREATE TABLE t(a); INSERT INTO t VALUES ('open",
            "unrecognized token",
        ),
        ("ATTACH 'other.db' AS other;", "safe mode"),
    ];
    for (at, (sql, reason)) in cases.into_iter().enumerate() {
        fs::write(path("dump.sql"), sql).unwrap();
        let error = shell_restore(&path("dump.sql"), &path(&format!("{at}.db")), true).unwrap_err();
        assert!(error.contains(reason), "{sql}: {error}");
    }
}
