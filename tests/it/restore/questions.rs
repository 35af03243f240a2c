//! Questions to copies, and what changed between two of them.

use rusqlite::Connection;
use serde_json::json;

use super::site::Site;
use crate::torture::build;

#[test]
fn a_query_reads_only_what_it_needs_and_shows_every_type() {
    let site = Site::new("[export]\ncompression = \"gzip\"\n");
    site.execute(
        "CREATE TABLE a(id INTEGER PRIMARY KEY, v); CREATE TABLE b(x);
         INSERT INTO a VALUES (1, NULL), (2, 9007199254740993), (3, 3.0), (4, 'it''s'), (5, X'00ff'), (6, 9e999),
           (7, CAST(X'61ff' AS TEXT)), (8, -9223372036854775808);
         INSERT INTO b VALUES (1); CREATE VIEW v AS SELECT count(*) AS n FROM a;",
    );
    site.night(0);
    let answer = site.json(&["query", "shop", "SELECT v FROM a ORDER BY id"]);
    let rows = json!([
        [null], [9_007_199_254_740_993_i64], [3.0], ["it's"], [{"blob": "00ff"}], [{"real": "Infinity"}],
        [{"text": "61ff"}], [i64::MIN]
    ]);
    assert_eq!(answer["rows"], rows);
    let csv = site.ok(&[
        "query",
        "shop",
        "SELECT v, id FROM a WHERE id < 5",
        "--as",
        "csv",
    ]);
    assert_eq!(
        csv.out,
        "\"v\",\"id\"\r\n,1\r\n9007199254740993,2\r\n3.0,3\r\n\"it's\",4\r\n"
    );
    // A view is made last, so everything is loaded for it.
    site.ok(&["query", "shop", "SELECT n FROM v"]).says("8");
    site.ok(&["query", "shop", "SELECT * FROM a NATURAL JOIN b LIMIT 1"]);
    site.ends(3, &["query", "shop", "SELECT * FROM a", "--limit", "2"])
        .complains("there are more than these 2 rows");
    for sql in [
        "DELETE FROM a",
        "SELECT 1; SELECT 2",
        "SELECT * FROM nothing",
        "ATTACH 'x' AS y",
    ] {
        site.ends(1, &["query", "shop", sql])
            .complains("the query is refused");
    }
    let endless =
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT max(i) FROM n";
    site.ends(1, &["query", "shop", endless, "--timeout", "1s"])
        .complains("ran longer than 1 s");
    assert_eq!(
        std::fs::read_dir(site.path("state"))
            .unwrap()
            .filter(|entry| {
                entry
                    .as_ref()
                    .unwrap()
                    .file_name()
                    .to_string_lossy()
                    .starts_with("look-")
            })
            .count(),
        0
    );
}

#[test]
fn every_table_of_the_torture_database_can_be_asked_alone() {
    let site = Site::new("");
    build(&site.path("source.db"));
    site.night(0);
    let db = Connection::open(site.path("source.db")).unwrap();
    let sql = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%' \
               ORDER BY name";
    let mut statement = db.prepare(sql).unwrap();
    let names = statement
        .query_map([], |row| row.get::<_, String>(0))
        .unwrap();
    let names: Vec<String> = names.map(Result::unwrap).collect();
    assert!(names.len() > 60, "{}", names.len());
    // A process for each would take long; each seventh has the odd names, too.
    for name in names.iter().step_by(7) {
        let sql = format!("SELECT count(*) FROM \"{}\"", name.replace('"', "\"\""));
        let rows: i64 = db.query_row(&sql, [], |row| row.get(0)).unwrap();
        assert_eq!(
            site.json(&["query", "shop", &sql])["rows"],
            json!([[rows]]),
            "{name}"
        );
    }
}

#[test]
fn what_changed_is_told_by_table_and_key() {
    let site = Site::new("");
    site.execute(
        "CREATE TABLE same(a); INSERT INTO same VALUES (1);
         CREATE TABLE ids(id INTEGER PRIMARY KEY, v); INSERT INTO ids VALUES (1, 'a'), (2, 'b'), (3, 1);
         CREATE TABLE pairs(a TEXT, b, v, PRIMARY KEY(a, b)) WITHOUT ROWID;
         INSERT INTO pairs VALUES ('x', 1, 'p'), ('y', 2, 'q');
         CREATE TABLE loose(v); INSERT INTO loose VALUES ('one'), ('two');
         CREATE TABLE noname(rowid, _rowid_, oid); INSERT INTO noname VALUES (1, 1, 1), (1, 1, 1), (2, 2, 2);
         CREATE TABLE gone(a); INSERT INTO gone VALUES (1), (2); CREATE INDEX i ON ids(v);
         CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f VALUES ('hello');",
    );
    let old = site.night(1);
    site.night(0);
    site.ok(&["diff", &old, "shop"]).says("equal: 7 tables");
    site.execute(
        "DELETE FROM ids WHERE id = 2; UPDATE ids SET v = 1.0 WHERE id = 3; INSERT INTO ids VALUES (9, 'n');
         UPDATE pairs SET v = 'r' WHERE a = 'x'; DELETE FROM loose WHERE rowid = 1; INSERT INTO loose VALUES ('three');
         DELETE FROM noname WHERE \"oid\" = 2; INSERT INTO noname VALUES (1, 1, 1);
         DROP TABLE gone; CREATE TABLE fresh(a); INSERT INTO fresh VALUES (7); DROP INDEX i;
         CREATE INDEX i ON ids(v DESC); UPDATE f SET t = 'world'; ALTER TABLE same ADD COLUMN more DEFAULT 5;",
    );
    let new = site.night(0);
    let ran = site.ends(1, &["--json", "diff", &old, &new]);
    let found: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    let table = |name: &str| {
        let tables = found["tables"].as_array().unwrap();
        let found = tables.iter().find(|table| table["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {}", ran.out))
    };
    let counts = |name: &str| {
        let of = |kind: &str| table(name)[kind]["rows"].as_u64().unwrap();
        (of("added"), of("removed"), of("changed"))
    };
    assert_eq!(counts("ids"), (1, 1, 1));
    assert_eq!(table("ids")["changed"]["keys"], json!(["3"]));
    assert_eq!(
        (counts("pairs"), &table("pairs")["changed"]["keys"]),
        ((0, 0, 1), &json!(["'x',1"]))
    );
    assert_eq!(
        (counts("loose"), &table("loose")["key"]),
        ((1, 1, 0), &json!("rowid"))
    );
    assert_eq!(
        (counts("noname"), &table("noname")["key"]),
        ((1, 1, 0), &json!("whole rows"))
    );
    assert_eq!(counts("gone"), (0, 2, 0));
    assert_eq!(counts("fresh"), (1, 0, 0));
    assert_eq!(counts("f"), (0, 0, 1));
    assert_eq!(table("same")["columns"], json!(["more"]));
    let schema: Vec<String> = found["schema"]
        .as_array()
        .unwrap()
        .iter()
        .map(|change| {
            format!(
                "{} {}",
                change["change"].as_str().unwrap(),
                change["name"].as_str().unwrap()
            )
        })
        .collect();
    for wanted in ["changed same", "removed gone", "added fresh", "changed i"] {
        assert!(
            schema.iter().any(|change| change == wanted),
            "{wanted}: {schema:?}"
        );
    }
    site.ends(1, &["diff", &old, &new]).says("~ 1 changed: 3");
    site.ends(1, &["diff", &old, &new, "--table", "pairs"])
        .says("by a,b");
    // Trouble is not a difference.
    site.ends(2, &["diff", &old, &new, "--table", "none"])
        .complains("no table `none`");
    site.ends(2, &["diff", &old, "nobody"]);
}
