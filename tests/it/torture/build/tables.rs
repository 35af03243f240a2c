//! Kinds of tables, rowids, defaults and generated columns.

use rusqlite::{Connection, Result};

use super::{Feature, anywhere, only_sqlite};

pub(super) const FEATURES: &[Feature] = &[
    anywhere("an empty table", |db| {
        db.execute_batch("CREATE TABLE empty(a, b TEXT NOT NULL)")
    }),
    only_sqlite("a table of 200 columns", columns_200),
    anywhere("a table of one column filled by its default", |db| {
        db.execute_batch("CREATE TABLE one(a DEFAULT 1); INSERT INTO one DEFAULT VALUES")
    }),
    anywhere("defaults of every kind", defaults),
    anywhere("generated columns, virtual and stored", generated),
    anywhere("strict tables", strict),
    anywhere(
        "WITHOUT ROWID, composite, descending, collated",
        without_rowid,
    ),
    anywhere("INTEGER PRIMARY KEY with gaps and extremes", integer_key),
    anywhere(
        "INTEGER PRIMARY KEY DESC, which is no rowid",
        descending_key,
    ),
    anywhere("INT PRIMARY KEY, which is no rowid", int_key),
    anywhere("AUTOINCREMENT ahead of its rows", autoincrement),
    anywhere("AUTOINCREMENT changed by hand", changed_sequence),
    anywhere("AUTOINCREMENT without rows", empty_sequence),
    anywhere("implicit rowids with gaps", implicit_gaps),
    anywhere(
        "implicit rowids below zero and at the extremes",
        implicit_extremes,
    ),
    anywhere("implicit rowids from 1 without a gap", implicit_gapless),
    anywhere(
        "implicit rowids from 1 in another order than the text",
        implicit_order,
    ),
    anywhere("a column called rowid", rowid_one),
    anywhere("columns called rowid and oid", rowid_two),
    anywhere("columns called rowid, _rowid_ and oid", rowid_three),
    anywhere("an INTEGER PRIMARY KEY called rowid", rowid_key),
    anywhere("constraints with conflict clauses", conflict_clauses),
    anywhere("UNIQUE over NULLs and collations", unique_nulls),
    anywhere("CHECK with strings that hold semicolons", checks),
    anywhere("a table altered after it was filled", altered),
    anywhere("a table made by CREATE TABLE AS", |db| {
        db.execute_batch("CREATE TABLE made_as AS SELECT 1 AS a, 'x' AS \"b c\", X'00' AS d")
    }),
    only_sqlite(
        "rows that break a CHECK added behind their back",
        broken_check,
    ),
];

fn columns_200(db: &Connection) -> Result<()> {
    let columns: Vec<_> = (0..200)
        .map(|at| format!("\"column {at}\" INTEGER DEFAULT {at}"))
        .collect();
    db.execute_batch(&format!(
        "CREATE TABLE columns_200({}); INSERT INTO columns_200 DEFAULT VALUES; INSERT INTO columns_200(\"column 7\") VALUES (NULL)",
        columns.join(", ")
    ))
}

fn defaults(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE defaults(
            a INTEGER DEFAULT 1, b DEFAULT -1, c REAL DEFAULT 1.5e3, d TEXT DEFAULT 'it''s; -- no comment',
            e BLOB DEFAULT X'00FF', f DEFAULT NULL, g DEFAULT (1 + 2), h TEXT DEFAULT CURRENT_TIMESTAMP,
            i TEXT DEFAULT CURRENT_DATE, j DEFAULT TRUE, k DEFAULT (abs(-3) || ';'), l DEFAULT 0x7f,
            m DEFAULT +9, n DEFAULT word, o TEXT NOT NULL DEFAULT '', p DEFAULT ('('));
         INSERT INTO defaults(h, i) VALUES ('then', 'then');
         INSERT INTO defaults VALUES
            (NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'o', NULL);",
    )
}

fn generated(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE generated(
            v INTEGER GENERATED ALWAYS AS (a * 2) VIRTUAL, a INTEGER, s TEXT AS (b || ';' || a) STORED, b TEXT,
            c AS (s || '!') NOT NULL UNIQUE);
         INSERT INTO generated(a, b) VALUES (1, 'x'), (2, 'y'), (-3, 'z');
         CREATE INDEX generated_v ON generated(v) WHERE s <> 'END;';
         CREATE TABLE generated_keyed(a TEXT, b TEXT, k AS (a || b) STORED, PRIMARY KEY (b, a)) WITHOUT ROWID;
         INSERT INTO generated_keyed(a, b) VALUES ('1', '2'), ('3', '0');
         CREATE TABLE generated_only_one_plain(p, q AS (p) VIRTUAL, r AS (q) STORED);
         INSERT INTO generated_only_one_plain(p) VALUES (1.5), (NULL), (X'00');",
    )
}

fn strict(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE strict(a INT, b INTEGER, c REAL, d TEXT, e BLOB, f ANY) STRICT;
         INSERT INTO strict VALUES (1, 2, 3, '4', X'05', '006'), (NULL, NULL, 1e300, '', X'', 6),
            (-1, -2, -0.5, char(0), X'00', 6.0);
         CREATE TABLE strict_keyed(k ANY PRIMARY KEY, v ANY) STRICT, WITHOUT ROWID;
         INSERT INTO strict_keyed VALUES (1, '1'), ('1', 1), (X'31', 1.0), (1.5, NULL);",
    )
}

fn without_rowid(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE keyed(a TEXT COLLATE NOCASE, b INTEGER, c, PRIMARY KEY (c DESC, a COLLATE RTRIM, b)) WITHOUT ROWID;
         INSERT INTO keyed VALUES ('b', 1, 'x'), ('B', 2, 'x'), ('a ', 3, 'y'), ('a', 4, 2), ('a', 4, 2.5), ('z', 0, X'78');
         CREATE TABLE keyed_nocase(k TEXT PRIMARY KEY COLLATE NOCASE, v) WITHOUT ROWID;
         INSERT INTO keyed_nocase VALUES ('Beta', 1), ('alpha', 2), ('GAMMA', 3);
         CREATE TABLE keyed_integer(i INTEGER PRIMARY KEY, rowid TEXT) WITHOUT ROWID;
         INSERT INTO keyed_integer VALUES (9223372036854775807, 'max'), (-9223372036854775808, 'min'), (0, 'zero');",
    )
}

fn integer_key(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE integer_key(v TEXT, id INTEGER PRIMARY KEY);
         INSERT INTO integer_key VALUES ('max', 9223372036854775807), ('min', -9223372036854775808), ('zero', 0),
            ('gap', 77), ('one', 1);
         CREATE TABLE integer_key_apart(v TEXT, \"the id\" INTEGER, PRIMARY KEY(\"the id\" ASC));
         INSERT INTO integer_key_apart VALUES ('a', 5), ('b', -5);",
    )
}

fn descending_key(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE descending_key(id INTEGER PRIMARY KEY DESC, v TEXT);
         INSERT INTO descending_key(rowid, id, v) VALUES (10, 3, 'a'), (20, 1, 'b'), (5, NULL, 'c'), (6, NULL, 'd');",
    )
}

fn int_key(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE int_key(id INT PRIMARY KEY, v);
         INSERT INTO int_key(rowid, id, v) VALUES (7, 1, 'a'), (3, 2, 'b'), (9, NULL, 'c'), (-9, NULL, 'c');",
    )
}

fn autoincrement(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE numbered(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
         INSERT INTO numbered(id, v) VALUES (1, 'a'), (5, 'b'), (1000, 'gone');
         DELETE FROM numbered WHERE id = 1000;",
    )
}

fn changed_sequence(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE numbered_changed(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
         INSERT INTO numbered_changed(id, v) VALUES (50, 'a');
         UPDATE sqlite_sequence SET seq = 7 WHERE name = 'numbered_changed';
         CREATE TABLE numbered_forgotten(id INTEGER PRIMARY KEY AUTOINCREMENT, v);
         INSERT INTO numbered_forgotten(id, v) VALUES (60, 'a');
         DELETE FROM sqlite_sequence WHERE name = 'numbered_forgotten';",
    )
}

fn empty_sequence(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE numbered_empty(id INTEGER PRIMARY KEY AUTOINCREMENT);
         INSERT INTO numbered_empty VALUES (9223372036854775807);
         DELETE FROM numbered_empty;
         CREATE TABLE numbered_never(id INTEGER PRIMARY KEY AUTOINCREMENT);",
    )
}

fn implicit_gaps(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE implicit_gaps(v);
         INSERT INTO implicit_gaps(rowid, v) VALUES (1, 'a'), (2, 'b'), (4, 'c'), (1000000, 'd');
         CREATE TABLE implicit_late(v); INSERT INTO implicit_late(rowid, v) VALUES (2, 'a'), (3, 'b');",
    )
}

fn implicit_extremes(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE implicit_extremes(v);
         INSERT INTO implicit_extremes(rowid, v) VALUES
            (-9223372036854775808, 'a'), (-1, 'b'), (0, 'c'), (1, 'd'), (9223372036854775807, 'e');",
    )
}

fn implicit_gapless(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE implicit_gapless(v); INSERT INTO implicit_gapless VALUES ('a'), ('b'), ('c')",
    )
}

fn implicit_order(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE implicit_order(v TEXT PRIMARY KEY, w);
         INSERT INTO implicit_order(rowid, v, w) VALUES (3, 'a', 1), (1, 'c', 2), (2, 'b', 3);",
    )
}

fn rowid_one(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE rowid_one(RowID TEXT, v);
         INSERT INTO rowid_one(_rowid_, rowid, v) VALUES (5, 'five', 1), (3, 'three', 2);",
    )
}

fn rowid_two(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE rowid_two(rowid TEXT, oid INTEGER, v);
         INSERT INTO rowid_two(_rowid_, rowid, oid, v) VALUES (5, 'five', 50, 1), (3, 'three', 30, 2);
         CREATE TABLE rowid_two_more(_rowid_ TEXT, \"ROWID\" INTEGER);
         INSERT INTO rowid_two_more(oid, _rowid_, rowid) VALUES (-5, 'minus', 50), (3, 'three', 30);",
    )
}

fn rowid_three(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE rowid_three(rowid TEXT, _rowid_ INTEGER, oid REAL, v);
         INSERT INTO rowid_three VALUES ('a', 9, 1.5, 1), ('b', 8, 2.5, 2), ('c', 7, 3.5, 3);
         DELETE FROM rowid_three WHERE v = 2;",
    )
}

fn rowid_key(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE rowid_key(rowid INTEGER PRIMARY KEY, oid, _rowid_);
         INSERT INTO rowid_key VALUES (5, 'a', 1), (-3, 'b', 2);
         CREATE TABLE oid_key(oid INTEGER PRIMARY KEY, rowid);
         INSERT INTO oid_key VALUES (8, 'a'), (2, 'b');",
    )
}

fn conflict_clauses(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE conflicts(a UNIQUE ON CONFLICT REPLACE, b NOT NULL ON CONFLICT IGNORE, c UNIQUE ON CONFLICT IGNORE,
            PRIMARY KEY (a, b) ON CONFLICT ROLLBACK);
         INSERT INTO conflicts VALUES (1, 1, NULL), (2, 2, NULL), (NULL, 3, 1), (NULL, 3, 2);",
    )
}

fn unique_nulls(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE unique_nulls(a UNIQUE, b TEXT UNIQUE COLLATE NOCASE, UNIQUE (b, a));
         INSERT INTO unique_nulls VALUES (NULL, 'a'), (NULL, 'b'), (1, NULL), ('1', NULL), (X'31', 'ä'), (1.5, 'Ä');",
    )
}

fn checks(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE checks(
            a TEXT CHECK (a <> 'x;y' AND a NOT LIKE '%;--%'), b CHECK (b IN ('(', ')', ';', '''')),
            CONSTRAINT \"a; name\" CHECK (CASE WHEN a = 'END;' THEN 0 ELSE 1 END), CHECK (typeof(b) = 'text' /* ; */));
         INSERT INTO checks VALUES ('a;b', ';'), (NULL, '('), ('--', '''');",
    )
}

fn altered(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE altered_old(a, gone, c); INSERT INTO altered_old VALUES (1, 2, 3), (4, 5, 6);
         ALTER TABLE altered_old RENAME TO \"altered new\";
         ALTER TABLE \"altered new\" ADD COLUMN d TEXT NOT NULL DEFAULT 'added; later';
         ALTER TABLE \"altered new\" RENAME COLUMN c TO \"c d\";
         ALTER TABLE \"altered new\" DROP COLUMN gone;
         INSERT INTO \"altered new\" VALUES (7, 8, 'own');",
    )
}

fn broken_check(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE broken_check(a CHECK (a > 0));
         PRAGMA ignore_check_constraints=ON;
         INSERT INTO broken_check VALUES (-1), (1);
         PRAGMA ignore_check_constraints=OFF;",
    )
}
