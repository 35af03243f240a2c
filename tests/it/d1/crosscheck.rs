//! The independent check of D1 databases: true copies pass, and whatever a copy lacks or has in another form is noticed.

use std::fs;

use patina::crosscheck::CloudInventory;
use patina::dump::Header;
use patina::engine::drill::{self, DrillError};
use patina::engine::spool::Writing;
use patina::progress::Progress;
use patina::source::d1::D1Source;
use patina::source::{DumpForm, DumpRequest, Dumped, Look, Source};
use patina::types::{Compression, EvidenceClass, Exception, ExceptionKind, JobId};
use rusqlite::Connection;
use tokio_util::sync::CancellationToken;

use super::engine::{Engine, wrangler_restore};
use super::{Bench, same};

/// Everything that D1 keeps and that SQL text carries whole.
const KINDS: &str = r#"
    CREATE TABLE users(id INTEGER PRIMARY KEY AUTOINCREMENT, email TEXT UNIQUE, score REAL, data BLOB, v);
    INSERT INTO users(id, email, score, data, v) VALUES
        (3, 'a@example.com', 0.1, X'00ff80', 9007199254740993), (9, 'b@example.com', -2.5, NULL, -9223372036854775808),
        (10, 'c@example.com', 3.0, zeroblob(300), 9223372036854775807), (11, NULL, 1e300, X'', -0.0),
        (12, 'replaced ' || char(65533) || ' really', 5e-324, NULL, 9e999), (13, 'nul' || char(0) || 'nul', 0, NULL, -9e999),
        (14, 'line' || char(13, 10) || 'line' || char(10), 1e15, NULL, 1e-30), (15, CAST(X'61ff62e28828' AS TEXT), 7, NULL, 1e40),
        (16, replace(hex(zeroblob(50000)), '0', 'éa'), 1.5, zeroblob(120000), 'it''s'), (17, '', 2, X'27', '\n');
    DELETE FROM users WHERE id = 9;
    INSERT INTO sqlite_sequence VALUES ('gone', 'not a number'), (NULL, 2.5), ('users again', X'00');
    CREATE TABLE loose(a, b); INSERT INTO loose VALUES (1, 'x'), (2, 'y'), (3, 'z'); DELETE FROM loose WHERE a = 2;
    CREATE TABLE pairs(a TEXT COLLATE NOCASE, b INT, c, PRIMARY KEY (b, a DESC)) WITHOUT ROWID;
    INSERT INTO pairs VALUES ('x', 1, 'one'), ('X1', 1, 'two'), ('x', 2, NULL);
    CREATE TABLE made(a INT, b AS (a * 2), c TEXT GENERATED ALWAYS AS (a || 'c') STORED); INSERT INTO made(a) VALUES (1), (2);
    CREATE TABLE "o'd""d; [name] 🌱"("select" INT, "a""b" TEXT DEFAULT 'it''s', `c d` BLOB);
    INSERT INTO "o'd""d; [name] 🌱" VALUES (1, 'x', X'00');
    CREATE TABLE hidden_rowid(rowid, _rowid_, oid); INSERT INTO hidden_rowid VALUES (5, 6, 7), (1, 2, 3);
    CREATE TABLE notes_extra(x); INSERT INTO notes_extra VALUES ('a table named like a part of `notes`');
    CREATE TABLE orphan_data(id, block); INSERT INTO orphan_data VALUES (1, X'00');
    CREATE TABLE orphan_content(x); INSERT INTO orphan_content VALUES (1);
    CREATE VIRTUAL TABLE notes USING fts5(title, body, tokenize='porter unicode61', prefix='2 3');
    INSERT INTO notes(rowid, title, body) VALUES (5, 'Hello', 'running ' || char(233)), (7, 'World', 'words and words');
    CREATE INDEX on_shadow ON notes_content(c0);
    CREATE TABLE posts(id INTEGER PRIMARY KEY, title TEXT, body TEXT);
    CREATE VIRTUAL TABLE posts_fts USING fts5(title, body, content='posts', content_rowid='id');
    CREATE TRIGGER posts_ai AFTER INSERT ON posts BEGIN
        INSERT INTO posts_fts(rowid, title, body) VALUES (new.id, new.title, new.body); END;
    CREATE TRIGGER posts_ad AFTER DELETE ON posts BEGIN
        INSERT INTO posts_fts(posts_fts, rowid, title, body) VALUES ('delete', old.id, old.title, old.body); END;
    INSERT INTO posts VALUES (1, 'first', 'the quick brown fox'), (2, 'second', 'jumps over'), (5, 'third', 'the lazy dog');
    DELETE FROM posts WHERE id = 2;
    CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1, +label);
    INSERT INTO boxes VALUES (4, 0.1, 0.2, 'a'), (2, -1, 1e9, 'b');
    CREATE VIEW v AS SELECT email FROM users WHERE score > 1;
    CREATE INDEX i ON users(score DESC) WHERE v IS NOT NULL;
    CREATE INDEX e ON users(lower(email));
    CREATE TRIGGER t INSTEAD OF INSERT ON v BEGIN INSERT INTO users(email) VALUES (new.email); END;
    CREATE TABLE empty(a, b);
    ANALYZE;
    INSERT INTO sqlite_stat1 VALUES ('users', 'i', '77 11'), ('nowhere', NULL, 5), (X'00', 'x', NULL);
"#;

/// A hundred columns are the most that D1 takes.
fn wide() -> String {
    let names: Vec<String> = (0..100).map(|at| format!("c{at}")).collect();
    let row = |first: usize| {
        let values: Vec<String> = (0..100).map(|at| (first + at * 7).to_string()).collect();
        format!("({})", values.join(","))
    };
    format!(
        "CREATE TABLE wide({}); INSERT INTO wide VALUES {},{},{}; DELETE FROM wide WHERE rowid = 2;",
        names.join(","),
        row(1),
        row(2),
        row(3)
    )
}

/// A database of D1 with everything in it.
struct Case {
    bench: Bench,
    engine: Engine,
    id: String,
}

impl Case {
    fn new(sql: &str) -> Self {
        let (bench, engine) = (Bench::new(), Engine::start());
        let id = engine.create("case");
        engine.execute(&id, sql);
        Self { bench, engine, id }
    }

    fn source(&self, snapshot_bytes: u64) -> D1Source {
        let source = self.bench.source(&self.engine, &self.id);
        source.with_snapshot_up_to(snapshot_bytes)
    }

    fn dump(&self, snapshot_bytes: u64) -> Dumped {
        self.bench.dump(&self.source(snapshot_bytes)).unwrap()
    }

    /// The dump as it was written, and what the check saw.
    fn look(&self, snapshot_bytes: u64) -> (Dumped, Writing, Box<CloudInventory>) {
        let header = Header {
            agent: "test".to_owned(),
            database: "d1".parse().unwrap(),
            generated: chrono::DateTime::UNIX_EPOCH,
            job: JobId::random(),
            source: "d1".to_owned(),
        };
        let stop = CancellationToken::new();
        let request = DumpRequest {
            header: &header,
            skip_data: &[],
            form: DumpForm::Sql,
            look: Look::ContentAndHealth,
            progress: &Progress::default(),
            stop: &stop,
        };
        let spool = self.bench.path("look.partial");
        let _ = fs::remove_file(&spool);
        let mut writing = Writing::create(&spool, Compression::None).unwrap();
        let mut dumped = self
            .source(snapshot_bytes)
            .dump(&request, &mut writing)
            .unwrap();
        let witness = dumped.witness.take();
        let witness = witness.unwrap_or_else(|| panic!("{:?}", dumped.warnings));
        let testimony = witness.hear(&stop).unwrap();
        (dumped, writing, testimony.cloud.unwrap())
    }
}

#[track_caller]
fn check(sql: &str, expected: &[(&str, ExceptionKind)]) {
    let case = Case::new(sql);
    for snapshot_bytes in [u64::MAX, 0] {
        let dumped = case.dump(snapshot_bytes);
        let found = dumped.exceptions.iter();
        let found: Vec<(&str, ExceptionKind)> = found.map(|e| (&*e.object, e.kind)).collect();
        assert_eq!(found, expected, "{snapshot_bytes}");
        let class = match expected.is_empty() {
            true => EvidenceClass::A,
            false => EvidenceClass::B,
        };
        assert_eq!(dumped.class, class, "{:?}", dumped.warnings);
    }
}

#[test]
fn every_kind_of_table_and_value_is_proven_equal() {
    check(&format!("{KINDS}{}", wide()), &[]);
}

#[test]
fn a_dump_of_d1_goes_into_d1_again_with_sequence_and_statistics() {
    let case = Case::new(&format!("{KINDS}{}", wide()));
    let dumped = case.dump(u64::MAX);
    assert_eq!(dumped.class, EvidenceClass::A);
    case.engine
        .copy_file(&case.id, &case.bench.path("original.db"));
    let again = case.engine.create("again");
    case.engine.import(&again, &case.bench.path("dump.sql"));
    case.engine.copy_file(&again, &case.bench.path("again.db"));
    same(
        &case.bench.path("original.db"),
        &case.bench.path("again.db"),
    );
    let sql = "SELECT group_concat(quote(tbl) || quote(idx) || quote(stat), ';') FROM sqlite_stat1 ORDER BY 1";
    let statistics = |name: &str| -> String {
        let db = Connection::open(case.bench.path(name)).unwrap();
        db.query_row(sql, [], |row| row.get(0)).unwrap()
    };
    assert_eq!(statistics("original.db"), statistics("again.db"));
    wrangler_restore(
        &case.bench.path("dump.sql"),
        &case.bench.path("wrangler.db"),
    )
    .unwrap();
    same(
        &case.bench.path("original.db"),
        &case.bench.path("wrangler.db"),
    );
    assert_eq!(statistics("original.db"), statistics("wrangler.db"));
}

const POSTS: &str = "CREATE TABLE posts(id INTEGER PRIMARY KEY, t TEXT); INSERT INTO posts VALUES (1, 'one two'), (2, 'three');";

#[test]
fn a_search_index_that_does_not_follow_from_its_rows_is_an_exception() {
    let index = "CREATE VIRTUAL TABLE f USING fts5(t, content='posts', content_rowid='id');";
    let expected = [("f", ExceptionKind::Index)];
    // Fewer documents; other words, as many of them; none at all.
    for rows in [
        "INSERT INTO f(rowid, t) VALUES (1, 'one two');",
        "INSERT INTO f(rowid, t) VALUES (1, 'one two'), (2, 'four');",
        "",
    ] {
        check(&format!("{POSTS}{index}{rows}"), &expected);
    }
    check(
        &format!("{POSTS}{index}INSERT INTO f(f) VALUES ('rebuild');"),
        &[],
    );
    // As the third row has no words, only the number of rows tells that it was never indexed.
    let begun = "CREATE VIRTUAL TABLE f USING fts5(t, conten=posts, content_r=id, col=0);";
    let more = "INSERT INTO posts VALUES (3, ''); INSERT INTO f(rowid, t) VALUES (1, 'one two'), (2, 'three');";
    check(&format!("{POSTS}{begun}{more}"), &expected);
}

#[test]
fn a_contentless_search_index_is_an_exception() {
    let index = "CREATE VIRTUAL TABLE f USING fts5(t, content=''";
    let rows = "INSERT INTO f(rowid, t) VALUES (1, 'one');";
    let expected = [("f", ExceptionKind::Rows)];
    check(&format!("{index});{rows}"), &expected);
    check(&format!("{index}, columnsize=0);{rows}"), &expected);
    check(&format!("{index});"), &[]);
    // FTS5 takes any beginning of an option's name.
    let begun = "CREATE VIRTUAL TABLE f USING fts5(t, c='', col=0);";
    check(&format!("{begun}{rows}"), &expected);
}

#[test]
fn rows_that_are_left_out_are_an_exception_where_there_are_any() {
    let case = Case::new(&format!("{POSTS} CREATE TABLE empty(a)"));
    for snapshot_bytes in [u64::MAX, 0] {
        let skip = ["POSTS".to_owned(), "empty".to_owned()];
        let source = case.source(snapshot_bytes);
        let dumped = case.bench.dump_without(&source, &skip).unwrap();
        let expected = [("posts", ExceptionKind::Rows)];
        let found = dumped.exceptions.iter();
        assert_eq!(
            found.map(|e| (&*e.object, e.kind)).collect::<Vec<_>>(),
            expected
        );
        assert_eq!(dumped.class, EvidenceClass::B);
    }
}

/// What may happen to a copy.
const SABOTAGE: &[&str] = &[
    "DROP TABLE empty",
    "DROP TABLE notes_extra",
    "DROP TABLE orphan_data",
    "DROP TABLE posts_fts",
    "DROP TABLE boxes",
    "DROP INDEX i",
    "DROP INDEX on_shadow",
    "DROP VIEW v",
    "DROP TRIGGER posts_ai",
    "DROP INDEX i; CREATE INDEX i ON users(score DESC)",
    "CREATE TABLE more(a)",
    "CREATE INDEX more ON loose(a)",
    "ALTER TABLE loose RENAME COLUMN b TO c",
    "ALTER TABLE loose ADD COLUMN c",
    "DELETE FROM users WHERE id = 17",
    "INSERT INTO empty VALUES (NULL, NULL)",
    "UPDATE users SET v = 9007199254740992 WHERE id = 3",
    "UPDATE users SET v = -9223372036854775808.0 WHERE v = 9223372036854775807",
    "UPDATE users SET v = v - 1 WHERE v = 9223372036854775807",
    "UPDATE users SET v = 0.0 WHERE id = 11",
    "UPDATE users SET v = 0 WHERE id = 11",
    "UPDATE users SET v = NULL WHERE id = 12",
    "UPDATE users SET v = -v WHERE id = 13",
    "UPDATE users SET v = 1.0000000000000004e-30 WHERE id = 14",
    "UPDATE users SET v = 1.0000000000000001e40 WHERE id = 15",
    "UPDATE users SET score = 0.10000000000000002 WHERE id = 3",
    "UPDATE users SET score = -score WHERE id = 11",
    "UPDATE users SET email = CAST(email AS BLOB) WHERE id = 3",
    "UPDATE users SET email = 'a@example.con' WHERE id = 3",
    "UPDATE users SET email = 'replaced ? really' WHERE id = 12",
    "UPDATE users SET email = 'nul' WHERE id = 13",
    "UPDATE users SET email = replace(email, char(13), '') WHERE id = 14",
    "UPDATE users SET email = 'a' || char(65533) || 'b' || char(65533) || '(' WHERE id = 15",
    "UPDATE users SET email = substr(email, 1, 40000) WHERE id = 16",
    "UPDATE users SET data = zeroblob(299) WHERE id = 10",
    "UPDATE users SET data = CAST(data AS TEXT) WHERE id = 10",
    "UPDATE users SET data = NULL WHERE id = 11",
    "UPDATE users SET email = NULL WHERE id = 17",
    "UPDATE loose SET b = CASE b WHEN 'x' THEN 'z' ELSE 'x' END",
    "UPDATE loose SET a = b, b = a",
    "UPDATE loose SET rowid = 2 WHERE rowid = 3",
    "UPDATE pairs SET c = CASE c WHEN 'one' THEN 'two' WHEN 'two' THEN 'one' END",
    "UPDATE pairs SET a = 'x1' WHERE a = 'X1'",
    "UPDATE made SET a = 3 WHERE a = 2",
    "UPDATE wide SET c99 = c99 + 1 WHERE rowid = 3",
    "UPDATE wide SET c46 = c47, c47 = c46 WHERE rowid = 1",
    "UPDATE \"o'd\"\"d; [name] 🌱\" SET \"a\"\"b\" = 'X'",
    "UPDATE hidden_rowid SET oid = 8 WHERE oid = 7",
    "UPDATE notes SET body = 'running e' WHERE rowid = 5",
    "DELETE FROM notes WHERE rowid = 7",
    "INSERT INTO notes(notes, rank) VALUES ('rank', 'bm25(10.0)')",
    "INSERT INTO posts_fts(rowid, title, body) VALUES (9, 'first', 'more')",
    "INSERT INTO posts_fts(posts_fts, rowid, title, body) VALUES ('delete', 5, 'third', 'the lazy dog')",
    "INSERT INTO posts_fts(posts_fts) VALUES ('delete-all')",
    "UPDATE boxes SET x1 = 0.3 WHERE id = 4",
    "UPDATE boxes SET label = 'A' WHERE id = 4",
    "UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'users'",
    "UPDATE sqlite_sequence SET seq = 'not a Number' WHERE name = 'gone'",
    "UPDATE sqlite_sequence SET seq = 2 WHERE name IS NULL",
    "DELETE FROM sqlite_sequence WHERE name = 'gone'",
    "UPDATE sqlite_stat1 SET stat = '78 11' WHERE stat = '77 11'",
    "DELETE FROM sqlite_stat1 WHERE tbl = 'nowhere'",
];

#[test]
fn whatever_is_done_to_a_copy_is_noticed() {
    let case = Case::new(&format!("{KINDS}{}", wide()));
    for snapshot_bytes in [u64::MAX, 0] {
        let (_, writing, source) = case.look(snapshot_bytes);
        drop(writing.finish().unwrap());
        case.dump(snapshot_bytes);
        let dump = fs::read_to_string(case.bench.path("dump.sql")).unwrap();
        let restored = case
            .bench
            .path(&format!("restored-{}.db", snapshot_bytes.min(1)));
        Connection::open(&restored)
            .unwrap()
            .execute_batch(&dump)
            .unwrap();
        let mut missed = Vec::new();
        assert!(SABOTAGE.len() >= 60, "{}", SABOTAGE.len());
        for sql in SABOTAGE {
            let db = Connection::open(&restored).unwrap();
            let equal = source.of_copy(&db).unwrap();
            assert_eq!(source.compare(&equal, &[]), [], "before {sql}");
            db.execute_batch(&format!("BEGIN; {sql}")).unwrap();
            let altered = source.of_copy(&db).unwrap();
            if source.compare(&altered, &[]).is_empty() {
                missed.push(sql);
            }
        }
        assert!(missed.is_empty(), "{missed:#?}");
    }
}

#[test]
fn what_is_declared_must_differ_and_what_differs_must_be_declared() {
    let case = Case::new(POSTS);
    let (_, writing, source) = case.look(u64::MAX);
    drop(writing.finish().unwrap());
    let copy = Connection::open_in_memory().unwrap();
    copy.execute_batch(POSTS).unwrap();
    let rows = Exception {
        object: "posts".to_owned(),
        kind: ExceptionKind::Rows,
        reason: "a test".to_owned(),
    };
    let told = |copy: &Connection, declared: &[Exception]| {
        let found = source.compare(&source.of_copy(copy).unwrap(), declared);
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(told(&copy, &[]).is_empty());
    assert_eq!(
        told(&copy, std::slice::from_ref(&rows)),
        ["`posts` is declared to differ, and does not"]
    );
    copy.execute_batch("DELETE FROM posts WHERE id = 1")
        .unwrap();
    assert_eq!(told(&copy, &[]), ["table `posts` has 2 rows, restored 1"]);
    assert!(told(&copy, &[rows]).is_empty());
}

#[test]
fn a_dump_that_is_another_database_s_is_not_proven() {
    let (a, b) = (Case::new(POSTS), Case::new(POSTS));
    b.engine
        .execute(&b.id, "UPDATE posts SET t = 'tree' WHERE id = 2");
    let (_, other, _) = a.look(u64::MAX);
    drop(other.finish().unwrap());
    let witness = {
        // The witness of `a` for the dump of `b`.
        let header = Header {
            agent: "test".to_owned(),
            database: "d1".parse().unwrap(),
            generated: chrono::DateTime::UNIX_EPOCH,
            job: JobId::random(),
            source: "d1".to_owned(),
        };
        let request = DumpRequest {
            header: &header,
            skip_data: &[],
            form: DumpForm::Sql,
            look: Look::ContentAndHealth,
            progress: &Progress::default(),
            stop: &CancellationToken::new(),
        };
        let mut sink = Writing::create(&a.bench.path("a.partial"), Compression::None).unwrap();
        a.source(u64::MAX)
            .dump(&request, &mut sink)
            .unwrap()
            .witness
    };
    let (dumped, writing, _) = b.look(u64::MAX);
    let stop = CancellationToken::new();
    let trial = drill::Trial {
        evidence: &dumped.evidence,
        class: dumped.class,
        form: DumpForm::Sql,
        exceptions: &dumped.exceptions,
        skip_data: &[],
        scratch: &b.bench.path("scratch.db"),
        progress: &std::sync::Arc::default(),
        stop: &stop,
    };
    let error = drill::prove(writing.finish().unwrap(), &trial, witness).unwrap_err();
    assert!(matches!(error, DrillError::Differs(_)), "{error}");
    assert!(
        error
            .to_string()
            .contains("column `t` of table `posts` has other values"),
        "{error}"
    );
}
