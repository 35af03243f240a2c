//! Restores into the real D1 engine, by its import, and reads back what went in.

use std::fs;
use std::path::Path;

use super::site::{Site, same};
use crate::d1::engine::{ACCOUNT, Engine, TOKEN, Wrangler};
use crate::images::build_image;
use crate::torture::{build_for_d1, build_utf16};

fn site(engine: &Engine) -> Site {
    let account = format!(
        "[cloudflare]\naccount_id = \"{ACCOUNT}\"\napi_token = \"{TOKEN}\"\napi_url = \"{}\"\n",
        engine.url()
    );
    Site::new(&account)
}

/// What the engine has in its file.
fn held(site: &Site, engine: &Engine, id: &str, name: &str) -> std::path::PathBuf {
    let path = site.path(name);
    engine.copy_file(id, &path);
    path
}

#[test]
fn the_torture_database_goes_into_an_empty_d1_database_and_reads_back_equal() {
    let engine = Engine::start();
    let site = site(&engine);
    // An image of it would hold an index without its text, which D1 cannot get.
    let config = fs::read_to_string(site.path("patina.toml")).unwrap();
    fs::write(
        site.path("patina.toml"),
        format!("{config}method = \"sql\"\n"),
    )
    .unwrap();
    build_for_d1(&site.path("source.db"));
    let key = site.night(0);
    let id = engine.create("shop-again");
    let plan = ["restore", "shop", "--to", "d1:shop-again", "--dry-run"];
    site.ok(&plan).says("empty").says(&id);
    let report = site.json(&["restore", &key, "--to", "d1:shop-again"]);
    let tables = report["databases"][0]["tables"].as_array().unwrap();
    assert!(tables.len() > 80, "{}", tables.len());
    // What D1 has no place for is not a part of it.
    super::site::execute(
        &site.path("source.db"),
        "PRAGMA user_version=0; PRAGMA application_id=0;",
    );
    same(
        &site.path("source.db"),
        &held(&site, &engine, &id, "held.db"),
    );
}

#[test]
fn what_is_in_a_d1_database_is_replaced_only_when_confirmed_and_kept_proven() {
    let engine = Engine::start();
    let site = site(&engine);
    site.execute(
        "CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name); CREATE INDEX by_name ON users(name);
         CREATE TABLE big(v); INSERT INTO big VALUES (zeroblob(200000));
         INSERT INTO users(name) VALUES ('ann'), ('bob');",
    );
    site.night(0);
    let id = engine.create("live");
    let before = "CREATE TABLE parents(id INTEGER PRIMARY KEY); CREATE TABLE kids(p REFERENCES parents(id)); \
                  CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO counted VALUES (41); \
                  INSERT INTO parents VALUES (1); INSERT INTO kids VALUES (1); CREATE VIEW w AS SELECT * FROM kids; \
                  CREATE TABLE users(old)";
    for sql in before.split("; ") {
        engine.execute(&id, sql);
    }
    let original = held(&site, &engine, &id, "original.db");
    let args = ["restore", "shop", "--to", "d1:live"];
    site.ends(1, &args)
        .complains("in the D1 database `live`")
        .complains("--replace");
    site.ends(2, &[&args[..], &["--replace"]].concat())
        .complains("add `--yes`");
    same(&original, &held(&site, &engine, &id, "untouched.db"));
    // One table, beside what is there.
    let table = [&args[..], &["--table", "users", "--replace", "--yes"]].concat();
    site.ok(&table);
    let counted = engine.execute(
        &id,
        "SELECT group_concat(name || seq) AS s FROM sqlite_sequence ORDER BY name",
    );
    assert!(
        counted.to_string().contains("counted41") && counted.to_string().contains("users2"),
        "{counted}"
    );
    // All of it, with what is there in a proven copy.
    let report = site.json(&[&args[..], &["--replace", "--yes", "--safety-copy", "kept"]].concat());
    same(
        &site.path("source.db"),
        &held(&site, &engine, &id, "held.db"),
    );
    let kept = report["databases"][0]["safety_copy"].as_str().unwrap();
    assert!(Path::new(&site.path(kept)).exists(), "{kept}");
    let manifest = format!("{kept}.json");
    let back = [
        "restore",
        "--file",
        kept,
        "--manifest",
        &manifest,
        "--to",
        "back.db",
    ];
    site.ok(&back).says("equal to the manifest").says("parents");
    site.ok(&[
        &back[..5],
        &["--to", &format!("d1:{id}"), "--replace", "--yes"],
    ]
    .concat());
    same(
        &site.path("back.db"),
        &held(&site, &engine, &id, "again.db"),
    );
}

#[test]
fn what_d1_refuses_leaves_it_as_it_was() {
    let engine = Engine::start();
    let site = site(&engine);
    // A table wider than D1 takes: only D1 knows.
    let columns: Vec<String> = (0..120).map(|n| format!("c{n}")).collect();
    site.execute(&format!(
        "CREATE TABLE first(a); CREATE TABLE wide({})",
        columns.join(",")
    ));
    site.night(0);
    let id = engine.create("live");
    engine.execute(&id, "CREATE TABLE precious(a)");
    let original = held(&site, &engine, &id, "original.db");
    let args = ["restore", "shop", "--to", "d1:live", "--replace", "--yes"];
    site.ends(1, &args)
        .complains("D1 did not import the copy and is as it was");
    same(&original, &held(&site, &engine, &id, "held.db"));
    // Rows that break a key, and text that is not UTF-8, are told before anything is sent.
    site.execute("PRAGMA foreign_keys=OFF; DROP TABLE wide; CREATE TABLE kid(p REFERENCES first(a)); INSERT INTO kid VALUES (1); CREATE UNIQUE INDEX u ON first(a);");
    site.night(0);
    site.ends(1, &args)
        .complains("violates a foreign key, which D1 refuses");
    fs::remove_file(site.path("source.db")).unwrap();
    build_utf16(&site.path("source.db"));
    site.night(0);
    site.ends(1, &args).complains("UTF-16");
    same(&original, &held(&site, &engine, &id, "held2.db"));
    site.ends(2, &["restore", "shop", "--to", "d1:lif"])
        .complains("has no D1 database `lif`");
}

#[test]
fn a_token_that_may_only_read_is_told_before_anything_changes() {
    let engine = Engine::start();
    let site = site(&engine);
    site.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1);");
    site.night(0);
    let id = engine.create("live");
    let config = fs::read_to_string(site.path("patina.toml")).unwrap();
    site.configure(&config.replace(TOKEN, "read-token"));
    site.ends(1, &["restore", "shop", "--to", "d1:live"])
        .complains("restoring needs Edit");
    let left = held(&site, &engine, &id, "held.db");
    let db = rusqlite::Connection::open(left).unwrap();
    let count: i64 = db
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 0);
}

#[test]
fn where_there_is_no_import_a_small_copy_goes_in_as_one_batch() {
    let engine = Engine::start();
    let site = site(&engine);
    site.execute(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 9007199254740993), (2, X'00ff');
         CREATE TABLE log(v); CREATE TRIGGER tr AFTER INSERT ON t BEGIN INSERT INTO log VALUES (new.v); END;",
    );
    site.night(0);
    let id = engine.create("no-import");
    site.ok(&["restore", "shop", "--to", &format!("d1:{id}")])
        .says("equal to the manifest");
    same(
        &site.path("source.db"),
        &held(&site, &engine, &id, "held.db"),
    );
    // One that the batch refuses leaves nothing, either.
    let columns: Vec<String> = (0..120).map(|n| format!("c{n}")).collect();
    site.execute(&format!("CREATE TABLE wide({})", columns.join(",")));
    site.night(0);
    let args = [
        "restore",
        "shop",
        "--to",
        "d1:no-import",
        "--replace",
        "--yes",
    ];
    site.ends(1, &args).complains("too many columns");
    same(
        &site.path("held.db"),
        &held(&site, &engine, &id, "again.db"),
    );
}

/// The engine's import is ours, so somebody else's client must find it as it finds Cloudflare's.
#[test]
fn wrangler_takes_the_same_dump_by_the_same_import() {
    let engine = Engine::start();
    let site = site(&engine);
    site.execute(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (1, 'it''s; END;'), (2, X'00ff');
         CREATE TABLE log(v);
         CREATE TRIGGER tr AFTER INSERT ON t BEGIN
           INSERT INTO log SELECT CASE WHEN new.v > 1 THEN 'a;' ELSE 'b' END; DELETE FROM log WHERE v = 1; END;",
    );
    site.night(0);
    fs::write(site.path("shop.sql"), site.ok(&["cat", "shop"]).out).unwrap();
    let id = engine.create("by-wrangler");
    let wrangler = Wrangler::remote(&engine, &id);
    wrangler.import(&site.path("shop.sql")).unwrap();
    same(
        &site.path("source.db"),
        &held(&site, &engine, &id, "held.db"),
    );
}

#[test]
fn an_image_that_needs_its_program_is_refused_and_d1_stays_as_it_is() {
    let engine = Engine::start();
    let site = site(&engine);
    build_image(&site.path("source.db"));
    let key = site.night(0);
    assert!(key.ends_with(".sqlite"), "{key}");
    let id = engine.create("empty");
    let refused = site.run(&["restore", "shop", "--to", "d1:empty"]);
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    for part in [
        "D1 cannot take this copy: it is an image",
        "hint: restore it into a file",
    ] {
        assert!(refused.err.contains(part), "{}", refused.err);
    }
    let tables = engine.execute(
        &id,
        "SELECT count(*) AS n FROM sqlite_schema WHERE name = 'plain'",
    );
    assert!(tables.to_string().contains("\"n\":0"), "{tables}");
}

#[test]
fn settings_of_a_file_and_statistics_of_single_tables_stay_behind() {
    let engine = Engine::start();
    let site = site(&engine);
    let columns: Vec<String> = (0..100).map(|at| format!("c{at}")).collect();
    site.execute(&format!(
        "PRAGMA journal_mode=DELETE; PRAGMA page_size=8192; PRAGMA auto_vacuum=1; VACUUM;
         CREATE TABLE users(id INTEGER PRIMARY KEY, name); CREATE INDEX by_name ON users(name);
         INSERT INTO users(name) VALUES ('ann'), ('bob'); CREATE TABLE wide({});
         INSERT INTO wide(rowid, c0, c99) VALUES (-3, 1, 2), (7, 3, 4), (8, 5, 6), (9223372036854775807, 7, 8); ANALYZE;
         DROP TABLE sqlite_stat4;",
        columns.join(",")
    ));
    site.night(0);
    let id = engine.create("all");
    let restored = site.ok(&["restore", "shop", "--to", "d1:all"]);
    restored.complains("settings of its own in place of page_size=8192, auto_vacuum=1");
    same(
        &site.path("source.db"),
        &held(&site, &engine, &id, "held.db"),
    );
    let statistics = |id: &str| {
        let sql = "SELECT group_concat(tbl || ' ' || stat) AS s FROM sqlite_stat1";
        engine.execute(id, sql).to_string()
    };
    assert!(statistics(&id).contains("users 2 1"), "{}", statistics(&id));
    // Beside another table, whose statistics stay.
    let other = engine.create("other");
    engine.execute(
        &other,
        "CREATE TABLE kept(a); CREATE INDEX i ON kept(a); INSERT INTO kept VALUES (1), (2), (3); ANALYZE",
    );
    site.ok(&["restore", "shop", "--to", "d1:other", "--table", "users"]);
    assert!(
        statistics(&other).contains("kept 3 1"),
        "{}",
        statistics(&other)
    );
}
