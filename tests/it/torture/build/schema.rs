//! Indexes, views, triggers, comments in schema text, and the settings in the header.

use rusqlite::{Connection, Result};

use super::{Feature, anywhere, only_sqlite};

pub(super) const FEATURES: &[Feature] = &[
    anywhere(
        "indexes: partial, on expressions, unique, descending, collated",
        indexes,
    ),
    anywhere("comments in schema text", comments),
    anywhere(
        "schema text that ends in a comment without newline",
        trailing_comments,
    ),
    anywhere("a view before its table", |db| {
        db.execute_batch(
            "CREATE VIEW early_view AS SELECT v FROM late_table;
             CREATE TABLE late_table(v); INSERT INTO late_table VALUES (1);",
        )
    }),
    anywhere("views on views, in the wrong order", |db| {
        db.execute_batch(
            "CREATE VIEW a_top AS SELECT x + 1 AS y FROM b_middle;
             CREATE VIEW b_middle(x, \"z z\") AS SELECT v, v || ';' FROM c_base;
             CREATE TABLE c_base(v); INSERT INTO c_base VALUES (41);",
        )
    }),
    anywhere("a view on a table that is gone", |db| {
        db.execute_batch("CREATE VIEW broken_view AS SELECT lost FROM no_such_table_either")
    }),
    anywhere(
        "a view with a recursive query and strings with semicolons",
        |db| {
            db.execute_batch(
            "CREATE VIEW recursive_view AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 3)
             SELECT i, 'a;b' AS \"c;d\", CASE i WHEN 1 THEN 'END' END AS e FROM n;",
        )
        },
    ),
    anywhere(
        "triggers that would fire while rows are restored",
        firing_triggers,
    ),
    anywhere("triggers with semicolons, CASE and END inside", bodies),
    anywhere("INSTEAD OF triggers on views", instead_of),
    anywhere("triggers named end and begin", keyword_triggers),
    anywhere("a trigger that forbids every change", |db| {
        db.execute_batch(
            "CREATE TABLE frozen(v); INSERT INTO frozen VALUES ('ice');
             CREATE TRIGGER frozen_insert BEFORE INSERT ON frozen BEGIN SELECT RAISE(ABORT, 'no; never'); END;
             CREATE TRIGGER frozen_delete BEFORE DELETE ON frozen BEGIN SELECT RAISE(FAIL, 'no'); END;",
        )
    }),
    only_sqlite("statistics of ANALYZE", |db| db.execute_batch("ANALYZE")),
    only_sqlite("user_version", |db| {
        db.execute_batch("PRAGMA user_version = -2147483648")
    }),
    only_sqlite("application_id", |db| {
        db.execute_batch("PRAGMA application_id = 1346458190")
    }),
];

fn indexes(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE indexed(a TEXT, b, c INTEGER);
         INSERT INTO indexed VALUES ('x', 1, 1), ('Y', 2, 2), ('y', NULL, 3), (NULL, X'00', NULL);
         CREATE INDEX index_partial ON indexed(a) WHERE c > 1 AND a <> ';';
         CREATE INDEX index_expression ON indexed(lower(a) || ';', abs(c), (b IS NULL));
         CREATE UNIQUE INDEX index_unique ON indexed(c);
         CREATE UNIQUE INDEX index_unique_partial ON indexed(lower(a)) WHERE c IN (1, 2);
         CREATE INDEX index_order ON indexed(c DESC, a COLLATE NOCASE ASC, b COLLATE RTRIM DESC);
         CREATE INDEX index_again ON indexed(c);
         CREATE INDEX index_json ON indexed(json_extract(a, '$.\"k;\"')) WHERE json_valid(a);",
    )
}

fn comments(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE commented( -- first; comment with 'quote
            a /* inside; */ INTEGER, -- \"second\"
            /* several
               lines; CREATE TABLE x(y);
            */ b TEXT DEFAULT '--no /* comment */' -- last, unclosed ( and '
         );
         INSERT INTO commented VALUES (1, '--');
         CREATE VIEW commented_view AS -- why
            SELECT a /* ; */ FROM commented;
         CREATE INDEX commented_index ON commented(a /* ; */, b -- '
         );
         CREATE TRIGGER commented_trigger AFTER UPDATE ON commented -- ;
         BEGIN -- END;
            UPDATE commented SET b = '/* END; */' /* END; */ WHERE a = -1; -- it's
         END;",
    )
}

/// A statement without `;` keeps the comment that follows it.
fn trailing_comments(db: &Connection) -> Result<()> {
    for sql in [
        "CREATE TABLE trailing(a INTEGER -- the last column\n)",
        "INSERT INTO trailing VALUES (1)",
        "CREATE INDEX trailing_index ON trailing(a) -- an index; 'open",
        "CREATE VIEW trailing_view AS SELECT a FROM trailing -- a view",
        "CREATE TABLE \"trailing -- name\"(\"-- column\") -- gone",
    ] {
        db.execute(sql, [])?;
    }
    Ok(())
}

fn firing_triggers(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE fired(v); CREATE TABLE fired_log(what);
         CREATE TRIGGER fired_insert AFTER INSERT ON fired BEGIN INSERT INTO fired_log VALUES ('in ' || new.v); END;
         CREATE TRIGGER fired_delete AFTER DELETE ON fired BEGIN INSERT INTO fired_log VALUES ('out ' || old.v); END;
         INSERT INTO fired VALUES (1), (2), (3); DELETE FROM fired WHERE v = 2; DELETE FROM fired_log WHERE what = 'in 3';",
    )
}

fn bodies(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE bodies(a, b); INSERT INTO bodies VALUES (1, 'END;');
         CREATE TRIGGER body_case AFTER UPDATE OF a, b ON bodies FOR EACH ROW
         WHEN CASE WHEN new.a > 1 THEN 1 ELSE 0 END BEGIN
            UPDATE bodies SET b = CASE a WHEN 1 THEN 'BEGIN' WHEN 2 THEN CASE b WHEN ';' THEN 'END;' ELSE 'END' END END;
            INSERT INTO bodies SELECT 'END; END;', \"b\" FROM bodies WHERE a = 'BEGIN TRANSACTION;';
            DELETE FROM bodies WHERE a IS NULL;
         END;
         CREATE TRIGGER body_lines BEFORE DELETE ON bodies BEGIN
            SELECT 1;
            SELECT 'a
 END;
';
         END;",
    )
}

fn instead_of(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE under(v); INSERT INTO under VALUES (1);
         CREATE VIEW over AS SELECT v FROM under;
         CREATE TRIGGER a_over_insert INSTEAD OF INSERT ON over BEGIN INSERT INTO under VALUES (new.v); END;
         CREATE TRIGGER over_update INSTEAD OF UPDATE OF v ON over BEGIN UPDATE under SET v = new.v WHERE v = old.v; END;",
    )
}

fn keyword_triggers(db: &Connection) -> Result<()> {
    db.execute_batch(
        "CREATE TABLE keyworded(\"end\", \"begin\", \"case\"); INSERT INTO keyworded VALUES (1, 2, 3);
         CREATE TRIGGER end AFTER UPDATE ON keyworded BEGIN SELECT \"end\", [case], `begin` FROM keyworded; END;
         CREATE TRIGGER \"begin\" AFTER DELETE ON keyworded BEGIN SELECT new_end FROM (SELECT 1 AS new_end); END;",
    )
}
