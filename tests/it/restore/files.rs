//! Restores into files: every kind of copy, from every storage, whole or in part.

use std::fs;
use std::path::Path;

use rusqlite::Connection;
use serde_json::Value;

use super::site::{Site, execute, same};
use crate::s3::server::Server;
use crate::torture::{LEAST_FEATURES, build, build_utf16};

/// Restores by `args` into a new file, which must be as the source is and proven to the last table.
fn check(site: &Site, args: &[&str], least_tables: usize) {
    let target = site.path("restored.db");
    let all = [&["restore"], args, &["--to", "restored.db"]].concat();
    let report = site.json(&all);
    same(&site.path("source.db"), &target);
    let database = &report["databases"][0];
    assert_eq!(database["compared_with"], "manifest", "{database}");
    let tables = database["tables"].as_array().unwrap();
    assert!(tables.len() >= least_tables, "{} tables", tables.len());
    let equal = tables.iter().filter(|table| table["result"] == "equal");
    assert!(equal.count() >= least_tables * 9 / 10, "{database:#}");
    fs::remove_file(target).unwrap();
    site.holds_no_leftovers();
}

/// Every storage, first by the daily copy's own object and then, that gone, out of the week's archive.
fn check_everywhere(compression: &str) {
    let server = tokio::runtime::Runtime::new().unwrap();
    let server = (server.block_on(Server::start()), server);
    let more = format!(
        "{}[export]\ncompression = \"{compression}\"\n",
        Site::bucket(&server.0)
    );
    let site = Site::new(&more).in_sql();
    let features = build(&site.path("source.db"));
    assert!(features.len() >= LEAST_FEATURES, "{}", features.len());
    let key = site.night(9);
    for storage in ["nas", "bucket"] {
        check(&site, &["shop", "--storage", storage], 80);
    }
    let file = format!("store/{key}");
    check(&site, &["--file", &file], 80);
    site.ok(&["archive"]).says("packed");
    fs::remove_file(site.path(&file)).unwrap();
    server.1.block_on(server.0.lose(&[&key]));
    for storage in ["nas", "bucket"] {
        let args = ["restore", &key, "--storage", storage, "--to", "a.db"];
        site.ok(&args)
            .complains("is missing")
            .says("equal to the manifest");
        same(&site.path("source.db"), &site.path("a.db"));
        fs::remove_file(site.path("a.db")).unwrap();
        check(&site, &["shop", "--storage", storage], 80);
    }
}

#[test]
fn the_torture_database_comes_back_from_disk_and_s3_as_it_was() {
    check_everywhere("none");
}

#[test]
fn the_torture_database_comes_back_from_gzip_and_archives_as_it_was() {
    check_everywhere("gzip");
}

#[test]
fn the_torture_database_comes_back_from_zstd_and_archives_as_it_was() {
    check_everywhere("zstd");
}

#[test]
fn utf16_comes_back_as_utf16() {
    let site = Site::new("");
    build_utf16(&site.path("source.db"));
    site.night(0);
    check(&site, &["shop"], 1);
}

fn small() -> Site {
    let site = Site::new("");
    site.execute(
        "CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT COLLATE NOCASE);
         CREATE TABLE posts(id INTEGER PRIMARY KEY, user INT REFERENCES users(id), body TEXT);
         CREATE TABLE big(id INTEGER PRIMARY KEY, data BLOB);
         CREATE TABLE log(what);
         CREATE INDEX by_name ON users(name); CREATE INDEX by_body ON posts(body);
         CREATE VIEW v AS SELECT name FROM users;
         INSERT INTO users(name) VALUES ('ann'), ('bob'); DELETE FROM users WHERE id = 2;
         INSERT INTO posts VALUES (1, 1, 'one'), (7, 1, 'seven');
         INSERT INTO big VALUES (1, randomblob(300000)), (2, zeroblob(100000));
         CREATE TRIGGER t AFTER INSERT ON users BEGIN INSERT INTO log VALUES (new.name); END;
         PRAGMA user_version = 5;",
    );
    site.night(0);
    site
}

fn one(path: &Path, sql: &str) -> String {
    let db = Connection::open(path).unwrap();
    let value: rusqlite::types::Value = db.query_row(sql, [], |row| row.get(0)).unwrap();
    format!("{value:?}")
}

const SCHEMA: &str = "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE sql NOT NULL \
                      AND name NOT LIKE 'sqlite%' ORDER BY name)";

#[test]
fn tables_come_alone_with_their_indexes_and_triggers() {
    let site = small();
    site.ok(&[
        "restore", "shop", "--table", "USERS", "big", "--to", "part.db",
    ])
    .says("every value equal");
    let part = site.path("part.db");
    assert_eq!(one(&part, SCHEMA), "Text(\"big,by_name,t,users\")");
    assert_eq!(
        one(&part, "SELECT group_concat(name) FROM users"),
        "Text(\"ann\")"
    );
    assert_eq!(one(&part, "SELECT seq FROM sqlite_sequence"), "Integer(2)");
    assert_eq!(
        one(&part, "SELECT sum(length(data)) FROM big"),
        "Integer(400000)"
    );
    site.ends(1, &["restore", "shop", "--table", "user", "--to", "x.db"])
        .complains("the copy has no table `user`\nhint: did you mean `users`?");
    assert!(!site.path("x.db").exists());
}

#[test]
fn tables_go_into_a_database_that_is_there_and_leave_the_rest_of_it() {
    let site = small();
    let target = site.path("live.db");
    execute(
        &target,
        "PRAGMA journal_mode=WAL; PRAGMA user_version=9;
         CREATE TABLE own(id INTEGER PRIMARY KEY AUTOINCREMENT, v); INSERT INTO own(v) VALUES (1), (2), (3);
         CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, name); INSERT INTO users VALUES (90, 'zoe');",
    );
    let args = ["restore", "shop", "--table", "users", "--to", "live.db"];
    site.ends(1, &args).complains("the table `users` in");
    assert_eq!(one(&target, "SELECT name FROM users"), "Text(\"zoe\")");
    let report = site.json(&[&args[..], &["--replace"]].concat());
    assert_eq!(
        one(&target, "SELECT group_concat(id || name) FROM users"),
        "Text(\"1ann\")"
    );
    assert_eq!(one(&target, "SELECT count(*) FROM own"), "Integer(3)");
    assert_eq!(one(&target, "PRAGMA user_version"), "Integer(9)");
    assert_eq!(one(&target, "PRAGMA journal_mode"), "Text(\"wal\")");
    let sequence =
        "SELECT group_concat(name || seq) FROM (SELECT * FROM sqlite_sequence ORDER BY name)";
    assert_eq!(one(&target, sequence), "Text(\"own3,users2\")");
    let safe = report["databases"][0]["safety_copy"].as_str().unwrap();
    assert_eq!(
        one(Path::new(safe), "SELECT name FROM users"),
        "Text(\"zoe\")"
    );
    // One that is not there yet needs no leave, and its rows fire no trigger.
    site.ok(&[
        "restore", "shop", "--table", "log", "posts", "--to", "live.db",
    ]);
    assert_eq!(
        one(&target, "SELECT group_concat(body) FROM posts"),
        "Text(\"one,seven\")"
    );
    assert_eq!(one(&target, "SELECT count(*) FROM log"), "Integer(0)");
    site.holds_no_leftovers();
}

#[test]
fn a_file_is_replaced_only_on_request_and_what_it_held_is_kept_with_its_log() {
    let site = small();
    let target = site.path("old.db");
    let db = Connection::open(&target).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE precious(a); INSERT INTO precious VALUES (42);")
        .unwrap();
    // As after a crash: what was committed is in the log alone.
    for suffix in ["", "-wal"] {
        fs::copy(
            site.path(&format!("old.db{suffix}")),
            site.path(&format!("crashed.db{suffix}")),
        )
        .unwrap();
    }
    drop(db);
    let args = ["restore", "shop", "--to", "crashed.db"];
    site.ends(1, &args)
        .complains("is there already\nhint: `--replace`");
    let report = site.json(&[&args[..], &["--replace"]].concat());
    let safe = report["databases"][0]["safety_copy"].as_str().unwrap();
    assert_eq!(
        one(Path::new(safe), "SELECT a FROM precious"),
        "Integer(42)"
    );
    assert!(!site.path("crashed.db-wal").exists());
    let target = site.path("crashed.db");
    assert_eq!(one(&target, "PRAGMA journal_mode"), "Text(\"wal\")");
    same(&site.path("source.db"), &target);
    // A log without its database would be played into the new one.
    fs::rename(&target, site.path("elsewhere.db")).unwrap();
    fs::write(site.path("crashed.db-wal"), "stale").unwrap();
    site.ends(1, &args)
        .complains("a log of an earlier database");
    site.ok(&[&args[..], &["--replace"]].concat());
    same(&site.path("source.db"), &site.path("crashed.db"));
}

#[test]
fn all_databases_come_back_by_priority() {
    let site = small();
    let config = fs::read_to_string(site.path("patina.toml")).unwrap();
    execute(
        &site.path("b.db"),
        "CREATE TABLE t(a); INSERT INTO t VALUES (1)",
    );
    site.configure(&format!(
        "{config}[[database]]\nname = \"auth\"\nsqlite = \"b.db\"\npriority = \"critical\"\n"
    ));
    site.ok(&["backup"]);
    let plan = site.ok(&["restore", "--all", "--to", "back", "--dry-run"]);
    plan.says("new database").says("nothing was changed");
    assert!(!site.path("back").exists());
    let report = site.json(&["restore", "--all", "--to", "back"]);
    let targets: Vec<_> = report["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["target"].as_str().unwrap())
        .collect();
    assert_eq!(targets, ["back/auth.db", "back/shop.db"]);
    same(&site.path("b.db"), &site.path("back/auth.db"));
    same(&site.path("source.db"), &site.path("back/shop.db"));
    site.ends(1, &["restore", "--all", "--to", "back"]);
}

#[test]
fn a_dump_is_restored_where_nothing_but_the_dump_is_left() {
    let site = small();
    let sql = site.ok(&["cat", "shop"]).out;
    let stranger = Site::new("");
    fs::remove_file(stranger.path("patina.toml")).unwrap();
    fs::write(stranger.path("shop.sql"), &sql).unwrap();
    stranger
        .ok(&["restore", "--file", "shop.sql", "--to", "a.db"])
        .says("as many rows as the dump announces");
    same(&site.path("source.db"), &stranger.path("a.db"));
    let manifest = site.json(&["show", "shop"])["manifest"].to_string();
    fs::write(stranger.path("m.json"), manifest).unwrap();
    stranger
        .ok(&[
            "restore",
            "--file",
            "shop.sql",
            "--manifest",
            "m.json",
            "--to",
            "b.db",
        ])
        .says("equal to the manifest");
    stranger.ok(&[
        "restore", "--file", "shop.sql", "--table", "posts", "--to", "c.db",
    ]);
    assert_eq!(
        one(&stranger.path("c.db"), SCHEMA),
        "Text(\"by_body,posts\")"
    );
    for (what, text) in [
        ("the dump ends inside", sql[..sql.len() - 300].to_owned()),
        ("changed", sql.replace("'ann'", "'eve'")),
    ] {
        fs::write(stranger.path("bad.sql"), text).unwrap();
        let ran = stranger.ends(4, &["restore", "--file", "bad.sql", "--to", "d.db"]);
        ran.complains(what);
        assert!(!stranger.path("d.db").exists(), "{what}");
    }
    // What the stock shell wrote.
    let source = site.path("source.db");
    let dump = std::process::Command::new("sqlite3")
        .arg(&source)
        .arg(".dump")
        .output()
        .unwrap();
    fs::write(stranger.path("stock.sql"), dump.stdout).unwrap();
    stranger
        .ok(&["restore", "--file", "stock.sql", "--to", "e.db"])
        .says("nothing known to compare with");
    assert_eq!(
        one(&stranger.path("e.db"), "SELECT count(*) FROM posts"),
        "Integer(2)"
    );
    stranger.holds_no_leftovers();
}

#[test]
fn a_restore_of_very_many_tables_sums_them_up_and_names_those_to_look_at() {
    let site = Site::new("");
    let config = fs::read_to_string(site.path("patina.toml")).unwrap();
    site.configure(&format!("{config}skip_data = [\"t7\"]\n"));
    let tables = (0..120).map(|n| format!("CREATE TABLE t{n}(a); INSERT INTO t{n} VALUES ({n});"));
    site.execute(&tables.collect::<String>());
    site.night(0);
    let ran = site.ok(&["restore", "shop", "--to", "out.db"]);
    ran.says("the copy holds no rows: ")
        .says("119 tables are not listed; `--json` names each\n")
        .says("✓ 120 tables, 119 rows: equal to the manifest");
    assert!(!ran.out.contains("every value equal"), "{}", ran.out);
    let told = site.json(&["restore", "shop", "--to", "again.db"]);
    let tables = told["databases"][0]["tables"].as_array().unwrap();
    assert_eq!(tables.len(), 120);
    // Few are listed as they always were.
    let ran = site.ok(&["restore", "shop", "--table", "t1", "t2", "--to", "few.db"]);
    ran.says("every value equal");
    assert!(!ran.out.contains("not listed"), "{}", ran.out);
}

#[test]
fn a_database_far_larger_than_its_text_is_proven_and_restored_by_the_size_that_it_had() {
    let site = Site::new("").in_sql();
    // 40 MB in 80,000 pages, of a text that may fill 65,536: the values stand nowhere but in the pages.
    site.execute(
        "PRAGMA page_size = 512;
         CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB AS (zeroblob(1000000)) STORED);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 40)
         INSERT INTO t(id) SELECT i FROM n",
    );
    let key = site.night(0);
    let manifest = site.path(&format!("store/manifests/{key}.json"));
    let mut told: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    assert!(
        told["database_bytes"].as_u64().unwrap() > 40_000_000,
        "{told}"
    );
    assert!(
        told["plain"]["size_bytes"].as_u64().unwrap() < 10_000,
        "{told}"
    );
    site.ok(&["restore", "shop", "--to", "out.db"]);
    let size = "SELECT sum(length(v)) FROM t";
    assert_eq!(one(&site.path("out.db"), size), "Integer(40000000)");
    let rows = site.json(&["query", "shop", size]);
    assert_eq!(rows["rows"][0][0], 40_000_000);
    site.ok(&["drill"]);

    // The manifest alone knows it: one from before it was noted is read, and allows what the text does.
    let dump = format!("store/{key}");
    let from_file = |name: &str, told: &Value, to: &str, code: i32| {
        fs::write(site.path(name), told.to_string()).unwrap();
        site.ends(
            code,
            &["restore", "--file", &dump, "--manifest", name, "--to", to],
        )
    };
    from_file("new.json", &told, "new.db", 0);
    // What it says is a claim; more than there is room for changes nothing.
    told["database_bytes"] = u64::MAX.into();
    from_file("claim.json", &told, "claim.db", 0);
    told.as_object_mut().unwrap().remove("database_bytes");
    from_file("old.json", &told, "old.db", 1).complains("full");
}
