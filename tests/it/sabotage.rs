//! Alters one thing of a copy at a time: the independent check must see each. What a reader omits or a writer changes
//! ends as one of these.

use std::path::{Path, PathBuf};

use patina::crosscheck::{Inventory, compare, examine};
use patina::types::Health;
use rusqlite::Connection;
use tempfile::TempDir;

const SOURCE: &str = "
    PRAGMA page_size=8192; PRAGMA auto_vacuum=1;
    CREATE TABLE person(id INTEGER PRIMARY KEY, name TEXT NOT NULL, born INT, note,
        upper_name TEXT GENERATED ALWAYS AS (upper(name)) VIRTUAL,
        long_name TEXT GENERATED ALWAYS AS (name || '!') STORED);
    CREATE INDEX person_name ON person(name);
    CREATE UNIQUE INDEX person_born ON person(born) WHERE born IS NOT NULL;
    CREATE INDEX person_lower ON person(lower(name) DESC);
    CREATE TABLE loose(a, b); INSERT INTO loose(rowid, a, b) VALUES(3, 1, 'x'), (9, 2.5, X'00ff'), (-4, NULL, 'y');
    CREATE TABLE pair(k TEXT COLLATE NOCASE, v, PRIMARY KEY(k DESC)) WITHOUT ROWID;
    CREATE TABLE typed(a INT, b TEXT) STRICT;
    CREATE TABLE counted(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
    CREATE TABLE child(id INTEGER PRIMARY KEY, parent REFERENCES person(id) ON DELETE CASCADE, CHECK(id > 0));
    CREATE TABLE empty(a, b);
    CREATE TABLE \"odd \"\"name\"\" -- table\"(\"select\" TEXT, \"\" INT);
    CREATE TABLE mail_content(subject, body);
    CREATE VIRTUAL TABLE mail USING fts5(subject, body, content='');
    CREATE VIRTUAL TABLE notes USING fts5(words, content='');
    CREATE VIRTUAL TABLE coarse USING fts5(a, b, content='', detail=column);
    CREATE VIRTUAL TABLE bare USING fts5(a, b, content='', detail=none);
    CREATE TABLE _cf_settings(k, v);
    CREATE VIEW adults AS SELECT name FROM person WHERE born < 2000;
    CREATE TRIGGER person_added AFTER INSERT ON person BEGIN INSERT INTO loose(a, b) VALUES(new.id, 'new'); END;
    CREATE TRIGGER adults_gone INSTEAD OF DELETE ON adults BEGIN DELETE FROM person WHERE name = old.name; END;
    CREATE VIRTUAL TABLE found USING fts5(title, text UNINDEXED, tokenize='porter unicode61');
    CREATE VIRTUAL TABLE posts USING fts5(name, content='person', content_rowid='id');
    CREATE VIRTUAL TABLE older USING fts4(title, text, languageid='lid');
    CREATE VIRTUAL TABLE place USING rtree(id, x0, x1, +label TEXT);
    INSERT INTO person(id, name, born, note) VALUES
        (1, 'Ada', 1815, 9007199254740993), (2, 'Grace', 1906, 0.1), (5, 'Zoë', NULL, 'tab' || char(9) || 'end');
    INSERT INTO pair VALUES('a', 1), ('B', 2), ('c', NULL);
    INSERT INTO typed VALUES(1, '1'), (2, '02');
    INSERT INTO counted(v) VALUES('x'), ('y'); DELETE FROM counted WHERE id = 2;
    INSERT INTO child VALUES(1, 1), (2, 2);
    INSERT INTO \"odd \"\"name\"\" -- table\" VALUES('v', 7);
    INSERT INTO mail_content VALUES('hi', 'body'); INSERT INTO mail(rowid, subject, body) VALUES(1, 'hi', 'body');
    INSERT INTO notes(rowid, words) VALUES(1, 'one two'), (2, 'two three');
    INSERT INTO coarse(rowid, a, b) VALUES(1, 'one', 'two'), (2, 'three', 'four');
    INSERT INTO bare(rowid, a, b) VALUES(1, 'one', 'two'), (2, 'three', 'four');
    INSERT INTO _cf_settings VALUES('k', 'v');
    INSERT INTO found(rowid, title, text) VALUES(1, 'running backups', 'one'), (7, 'nightly copies', 'two');
    INSERT INTO found(found, rank) VALUES('rank', 'bm25(10.0)');
    INSERT INTO posts(rowid, name) VALUES(1, 'Ada'), (2, 'Grace');
    INSERT INTO older(docid, title, text, lid) VALUES(1, 'delta', 'one', 0), (4, 'delta', 'two', 3);
    INSERT INTO place VALUES(1, 0.5, 1.5, 'here'), (2, 3, 4, 'there');
    CREATE INDEX found_shadow ON found_content(c0);
    ANALYZE; DROP TABLE IF EXISTS sqlite_stat4;
    PRAGMA user_version=42; PRAGMA application_id=1234;";

/// What is done to the copy; the texts of the schema are changed as a careless writer would.
const SABOTAGE: &[(&str, &str)] = &[
    ("a table is omitted", "DROP TABLE typed"),
    ("an empty table is omitted", "DROP TABLE empty"),
    (
        "a table with an odd name is omitted",
        "DROP TABLE \"odd \"\"name\"\" -- table\"",
    ),
    (
        "a table named like a shadow table is omitted",
        "DROP TABLE mail_content",
    ),
    (
        "a table named like one of D1's is omitted",
        "DROP TABLE _cf_settings",
    ),
    (
        "a table is there twice",
        "CREATE TABLE typed2 AS SELECT * FROM typed",
    ),
    ("a table is renamed", "ALTER TABLE typed RENAME TO typed_"),
    (
        "a table is renamed in case alone",
        "ALTER TABLE typed RENAME TO passing; ALTER TABLE passing RENAME TO TYPED",
    ),
    (
        "a column is renamed",
        "ALTER TABLE typed RENAME COLUMN b TO c",
    ),
    ("a column is omitted", "ALTER TABLE loose DROP COLUMN b"),
    ("a column is added", "ALTER TABLE loose ADD COLUMN c"),
    ("an index is omitted", "DROP INDEX person_name"),
    ("a unique index is omitted", "DROP INDEX person_born"),
    (
        "an index on an expression is omitted",
        "DROP INDEX person_lower",
    ),
    (
        "an index on a shadow table is omitted",
        "DROP INDEX found_shadow",
    ),
    (
        "an index has other columns",
        "DROP INDEX person_name; CREATE INDEX person_name ON person(name, born)",
    ),
    (
        "an index sorts the other way",
        "DROP INDEX person_lower; CREATE INDEX person_lower ON person(lower(name))",
    ),
    (
        "an index is unique no more",
        "DROP INDEX person_born; CREATE INDEX person_born ON person(born) WHERE born IS NOT NULL",
    ),
    (
        "a partial index is over all rows",
        "DROP INDEX person_born; CREATE UNIQUE INDEX person_born ON person(born)",
    ),
    ("a view is omitted", "DROP VIEW adults"),
    (
        "a view is another one",
        "DROP VIEW adults; CREATE VIEW adults AS SELECT name FROM person WHERE born < 1900",
    ),
    ("a trigger is omitted", "DROP TRIGGER person_added"),
    (
        "an INSTEAD OF trigger is omitted",
        "DROP TRIGGER adults_gone",
    ),
    (
        "a trigger is another one",
        "DROP TRIGGER person_added; CREATE TRIGGER person_added AFTER INSERT ON person BEGIN SELECT 1; END",
    ),
    (
        "a trigger fires at another moment",
        "@text:person_added:AFTER INSERT:BEFORE INSERT",
    ),
    ("a row is omitted", "DELETE FROM loose WHERE rowid = 9"),
    (
        "a row is there twice",
        "INSERT INTO loose SELECT * FROM loose WHERE rowid = 9",
    ),
    ("the last row is omitted", "DELETE FROM person WHERE id = 5"),
    (
        "the first row is omitted",
        "DELETE FROM person WHERE id = 1",
    ),
    ("all rows of a table are omitted", "DELETE FROM typed"),
    (
        "a row of a table without rowids is omitted",
        "DELETE FROM pair WHERE k = 'B'",
    ),
    (
        "rowids are renumbered",
        "UPDATE loose SET rowid = rowid + 1000",
    ),
    (
        "one rowid is another",
        "UPDATE loose SET rowid = 500 WHERE rowid = 9",
    ),
    (
        "two rows are exchanged",
        "UPDATE loose SET a = CASE rowid WHEN 3 THEN 2.5 ELSE 1 END, b = CASE rowid WHEN 3 THEN X'00ff' ELSE 'x' END WHERE rowid IN (3, 9)",
    ),
    ("two columns are exchanged", "UPDATE loose SET a = b, b = a"),
    (
        "an integer is rounded as a float is",
        "UPDATE person SET note = 9007199254740992 WHERE id = 1",
    ),
    (
        "an integer becomes a float",
        "UPDATE person SET note = CAST(note AS REAL) WHERE id = 1",
    ),
    (
        "an integer becomes text",
        "UPDATE person SET note = CAST(note AS TEXT) WHERE id = 1",
    ),
    (
        "a float loses its last bit",
        "UPDATE person SET note = 0.10000000000000002 WHERE id = 2",
    ),
    (
        "a float becomes text",
        "UPDATE person SET note = '0.1' WHERE id = 2",
    ),
    (
        "NULL becomes an empty text",
        "UPDATE loose SET a = '' WHERE a IS NULL",
    ),
    ("NULL becomes zero", "UPDATE pair SET v = 0 WHERE v IS NULL"),
    (
        "text becomes a blob",
        "UPDATE loose SET b = CAST(b AS BLOB) WHERE rowid = 3",
    ),
    (
        "a blob becomes text",
        "UPDATE loose SET b = CAST(b AS TEXT) WHERE rowid = 9",
    ),
    (
        "a blob is cut",
        "UPDATE loose SET b = X'00' WHERE rowid = 9",
    ),
    (
        "a text is in another case",
        "UPDATE person SET name = 'ada' WHERE id = 1",
    ),
    (
        "a key is in another case",
        "UPDATE pair SET k = 'b' WHERE k = 'B'",
    ),
    (
        "a text is composed another way",
        "UPDATE person SET name = 'Zoe' || char(776) WHERE id = 5",
    ),
    (
        "a text loses a blank at its end",
        "UPDATE person SET note = rtrim(note, 'd') WHERE id = 5",
    ),
    (
        "a tab becomes a blank",
        "UPDATE person SET note = replace(note, char(9), ' ') WHERE id = 5",
    ),
    (
        "a text is cut at a NUL",
        "UPDATE typed SET b = b || char(0) || 'x' WHERE a = 1",
    ),
    (
        "a leading zero is lost",
        "UPDATE typed SET b = '2' WHERE a = 2",
    ),
    ("sqlite_sequence is empty", "DELETE FROM sqlite_sequence"),
    (
        "a number of sqlite_sequence is another",
        "UPDATE sqlite_sequence SET seq = 1",
    ),
    (
        "a number of sqlite_sequence is text",
        "UPDATE sqlite_sequence SET seq = CAST(seq AS TEXT)",
    ),
    (
        "sqlite_sequence has a row more",
        "INSERT INTO sqlite_sequence VALUES('gone', 7)",
    ),
    ("the statistics are omitted", "DROP TABLE sqlite_stat1"),
    (
        "a row of the statistics is omitted",
        "DELETE FROM sqlite_stat1 WHERE idx = 'person_name'",
    ),
    (
        "a number of the statistics is another",
        "UPDATE sqlite_stat1 SET stat = '7' WHERE idx = 'person_name'",
    ),
    ("a full-text table is omitted", "DROP TABLE found"),
    (
        "a row of a full-text table is omitted",
        "DELETE FROM found WHERE rowid = 7",
    ),
    (
        "an unindexed value of a full-text table is another",
        "UPDATE found SET text = 'three' WHERE rowid = 7",
    ),
    (
        "a rowid of a full-text table is another",
        "UPDATE found SET rowid = 8 WHERE rowid = 7",
    ),
    (
        "a setting of a full-text table is omitted",
        "DELETE FROM found_config WHERE k = 'rank'",
    ),
    (
        "a full-text table has another tokenizer",
        "@text:found:porter unicode61:unicode61",
    ),
    (
        "an index over another table is rebuilt",
        "INSERT INTO posts(posts) VALUES('rebuild')",
    ),
    (
        "an index over another table lacks a row",
        "INSERT INTO posts(posts, rowid, name) VALUES('delete', 2, 'Grace')",
    ),
    (
        "an index over another table counts a row more",
        "UPDATE posts_data SET block = CAST(X'09' || substr(block, 2) AS BLOB) WHERE id = 1",
    ),
    (
        "a full-text index counts a row more",
        "UPDATE found_data SET block = CAST(X'09' || substr(block, 2) AS BLOB) WHERE id = 1",
    ),
    (
        "the entries of a full-text index are lost",
        "DELETE FROM found_idx; DELETE FROM found_data WHERE id > 10; UPDATE found_data SET block = X'0000000000000000' WHERE id = 10",
    ),
    (
        "a word of a full-text index is another",
        "UPDATE found_data SET block = unhex(replace(hex(block), hex('copi'), hex('copy'))) WHERE id > 10",
    ),
    (
        "a contentless index is empty",
        "INSERT INTO mail(mail) VALUES('delete-all')",
    ),
    (
        "a word of a contentless index is in another column",
        "INSERT INTO mail(mail, rowid, subject, body) VALUES('delete', 1, 'hi', 'body'); INSERT INTO mail(rowid, subject, body) VALUES(1, 'body', 'hi')",
    ),
    (
        "two words of a contentless index change places",
        "INSERT INTO notes(notes, rowid, words) VALUES('delete', 1, 'one two'); INSERT INTO notes(rowid, words) VALUES(1, 'two one')",
    ),
    (
        "two words of a contentless index change documents",
        "INSERT INTO notes(notes, rowid, words) VALUES('delete', 1, 'one two'), ('delete', 2, 'two three'); INSERT INTO notes(rowid, words) VALUES(1, 'three two'), (2, 'two one')",
    ),
    (
        "a word of a contentless index is another",
        "INSERT INTO notes(notes, rowid, words) VALUES('delete', 1, 'one two'); INSERT INTO notes(rowid, words) VALUES(1, 'won two')",
    ),
    (
        "a word of an index without places is in another column",
        "INSERT INTO coarse(coarse, rowid, a, b) VALUES('delete', 1, 'one', 'two'); INSERT INTO coarse(rowid, a, b) VALUES(1, 'two', 'one')",
    ),
    (
        "two words of an index without columns change documents",
        "INSERT INTO bare(bare, rowid, a, b) VALUES('delete', 1, 'one', 'two'), ('delete', 2, 'three', 'four'); INSERT INTO bare(rowid, a, b) VALUES(1, 'three', 'two'), (2, 'one', 'four')",
    ),
    (
        "a language of a full-text table is lost",
        "UPDATE older SET lid = 0 WHERE docid = 4",
    ),
    (
        "a row of an older full-text table is omitted",
        "DELETE FROM older WHERE docid = 4",
    ),
    (
        "a setting of an older full-text table is another",
        "INSERT INTO older(older) VALUES('automerge=4')",
    ),
    (
        "the entries of an older full-text index are lost",
        "DELETE FROM older_segdir",
    ),
    (
        "the entries of one language are lost",
        "DELETE FROM older_segdir WHERE level >= 3072",
    ),
    ("an R-tree lacks a row", "DELETE FROM place WHERE id = 2"),
    (
        "an R-tree has another box",
        "UPDATE place SET x1 = 1.75 WHERE id = 1",
    ),
    (
        "a label in an R-tree is another",
        "UPDATE place SET label = 'elsewhere' WHERE id = 1",
    ),
    ("user_version is lost", "PRAGMA user_version=0"),
    ("application_id is lost", "PRAGMA application_id=0"),
    ("the page size is another", "PRAGMA page_size=4096; VACUUM"),
    ("auto_vacuum is another", "PRAGMA auto_vacuum=0; VACUUM"),
    (
        "a default is another",
        "@text:person:born INT:born INT DEFAULT 7",
    ),
    ("a CHECK is omitted", "@text:child:, CHECK(id > 0):"),
    (
        "a foreign key is another",
        "@text:child:ON DELETE CASCADE:ON DELETE SET NULL",
    ),
    ("a collation is another", "@text:pair:NOCASE:RTRIM"),
    ("NOT NULL is lost", "@text:person:TEXT NOT NULL:TEXT"),
    ("STRICT is lost", "@text:typed: STRICT:"),
    (
        "a generated column is another",
        "@text:person:upper(name):lower(name)",
    ),
    (
        "a text gains a newline at its end",
        "@text:empty:(a, b):(a, b)\n",
    ),
    ("a blank in a text is lost", "@text:empty:(a, b):(a,b)"),
];

struct Lab {
    folder: TempDir,
    source: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let source = folder.path().join("source.db");
        Connection::open(&source)
            .unwrap()
            .execute_batch(SOURCE)
            .unwrap();
        Self { folder, source }
    }

    /// A copy of the source, altered.
    fn copy(&self, sabotage: &str) -> PathBuf {
        let copy = self.folder.path().join("copy.db");
        std::fs::copy(&self.source, &copy).unwrap();
        let connection = Connection::open(&copy).unwrap();
        if let Some(change) = sabotage.strip_prefix("@text:") {
            let mut parts = change.splitn(3, ':');
            let mut next = || parts.next().unwrap();
            let (name, from, to) = (next(), next(), next());
            let sql = "UPDATE sqlite_schema SET sql = replace(sql, ?2, ?3) WHERE name = ?1 AND instr(sql, ?2) > 0";
            connection
                .execute_batch("PRAGMA writable_schema=ON")
                .unwrap();
            let changed = connection.execute(sql, [name, from, to]).unwrap();
            assert_eq!(changed, 1, "{sabotage}");
        } else {
            connection.execute_batch(sabotage).unwrap();
        }
        copy
    }
}

fn inventory(path: &Path) -> Inventory {
    Inventory::take(&Connection::open(path).unwrap()).unwrap()
}

/// The first difference, where everything is read. A copy that cannot even be read is no copy, either.
fn seen(source: &Inventory, copy: &Path) -> Option<String> {
    match Inventory::take(&Connection::open(copy).unwrap()) {
        Ok(copy) => compare(source, &copy, &[]).first().map(ToString::to_string),
        Err(error) => Some(error.to_string()),
    }
}

/// The same where SQLite's check of both speaks for the indexes over their own content, as in a backup.
fn seen_beside_health(source: &Inventory, copy: &Path) -> Option<String> {
    let connection = Connection::open(copy).unwrap();
    let copy = match Inventory::take_content(&connection) {
        Ok(copy) => copy,
        Err(error) => return Some(error.to_string()),
    };
    let found = compare(source, &copy, &[]);
    let found = found.first().map(ToString::to_string);
    found.or_else(|| {
        let verdict: String = connection
            .query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))
            .unwrap();
        (verdict != "ok").then_some(verdict)
    })
}

#[test]
fn the_check_sees_each_single_omission_and_alteration() {
    let lab = Lab::new();
    let connection = Connection::open(&lab.source).unwrap();
    let source = Inventory::take(&connection).unwrap();
    let content = Inventory::take_content(&connection).unwrap();
    assert!(source.has_read_own_indexes() && !content.has_read_own_indexes());
    let findings = examine(&connection).unwrap();
    assert!(findings.is_complete && findings.health == Health::Ok);
    assert_eq!(findings.exceptions, []);
    let same = lab.copy("");
    assert_eq!(seen(&source, &same), None);
    assert_eq!(seen_beside_health(&content, &same), None);
    let mut missed = Vec::new();
    for (number, (what, sql)) in SABOTAGE.iter().enumerate() {
        let copy = lab.copy(sql);
        for seen in [seen(&source, &copy), seen_beside_health(&content, &copy)] {
            let text = seen.as_deref().unwrap_or("NOT SEEN");
            println!("{:>3} {what}: {text}", number + 1);
            if seen.is_none() {
                missed.push(*what);
            }
        }
    }
    assert!(SABOTAGE.len() >= 60, "{}", SABOTAGE.len());
    assert_eq!(missed, [""; 0]);
}

#[test]
fn rows_that_are_only_in_the_log_are_seen_to_be_missing() {
    let lab = Lab::new();
    let writer = Connection::open(&lab.source).unwrap();
    writer
        .execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; INSERT INTO empty VALUES(1, 2);",
        )
        .unwrap();
    let source = inventory(&lab.source);
    let alone = lab.folder.path().join("alone.db");
    std::fs::copy(&lab.source, &alone).unwrap();
    let found = compare(&source, &inventory(&alone), &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].object, "empty");
}

#[test]
fn what_is_laid_out_another_way_and_holds_the_same_is_no_difference() {
    for sql in [
        "INSERT INTO found(found) VALUES('optimize'); INSERT INTO older(older) VALUES('optimize')",
        "INSERT INTO found(found) VALUES('rebuild')",
        "UPDATE loose SET a = a; DELETE FROM place WHERE id = 1; INSERT INTO place VALUES(1, 0.5, 1.5, 'here')",
        "REINDEX",
    ] {
        let lab = Lab::new();
        let found = compare(&inventory(&lab.source), &inventory(&lab.copy(sql)), &[]);
        assert_eq!(found, [], "{sql}");
    }
}
