//! Schemas that somebody changed by hand: rows that break their own schema, and texts no CREATE would leave.

use super::{Build, quoted};

/// A table whose rows were there before its rules.
pub(super) fn broken_rows(build: &mut Build) {
    let name = build.bare_name();
    let table = quoted(&name);
    let (before, after) = build.dice.pick(&[
        ("(a BLOB, b)", "(a INTEGER, b)"),
        ("(a BLOB, b)", "(a TEXT, b)"),
        ("(a BLOB, b)", "(a REAL, b NUMERIC)"),
        ("(a TEXT, b)", "(a BLOB, b TEXT)"),
        ("(a, b)", "(a NOT NULL, b)"),
        ("(a, b)", "(a, b NOT NULL DEFAULT 'x')"),
        ("(a, b)", "(a CHECK (a > 100), b)"),
        ("(a, b)", "(a, b, CHECK (typeof(b) = 'integer'))"),
        ("(a, b)", "(a INTEGER, b TEXT) STRICT"),
        ("(a, b)", "(a, b, c AS (b || '!'))"),
        ("(a, b)", "(a, b, added DEFAULT 'later')"),
        (
            "(id INTEGER PRIMARY KEY, a, b)",
            "(id INTEGER PRIMARY KEY, a NOT NULL, b CHECK (0))",
        ),
        (
            "(a PRIMARY KEY, b) WITHOUT ROWID",
            "(a PRIMARY KEY, b NOT NULL CHECK (b <> 1)) WITHOUT ROWID",
        ),
    ]);
    build.run(&format!("CREATE TABLE {table}{before}"));
    let values = ["'5'", "5", "NULL", "1.5", "'x'", "X'35'", "2.0", "'007'"];
    for at in 0..2 + build.dice.below(5) {
        let (a, b) = (build.dice.pick(&values), build.dice.pick(&values));
        build.attempt(&format!(
            "INSERT INTO {table}(rowid, a, b) VALUES ({at}, {a}, {b})"
        ));
        build.attempt(&format!("INSERT INTO {table}(a, b) VALUES ({a}, {b})"));
    }
    let new = super::values::text(&format!("CREATE TABLE {table}{after}"));
    build.schema_edit(&name, &new);
    if build.dice.chance(20) {
        let index = build.bare_name();
        let sql = format!("INDEX {} ON {table}(b)", quoted(&index));
        build.run(&format!("CREATE {sql}"));
        let new = super::values::text(&format!("CREATE UNIQUE {sql}"));
        build.schema_edit(&index, &new);
    }
}

/// Tables, indexes, views and triggers whose texts end, begin or look like no CREATE leaves them.
pub(super) fn texts(build: &mut Build) {
    let name = build.bare_name();
    let (table, view, index) = (quoted(&name), build.bare_name(), build.bare_name());
    build.run(&format!("CREATE TABLE {table}(aa, bb DEFAULT 'd')"));
    build.run(&format!("INSERT INTO {table} VALUES (1, 'x'), (2, NULL)"));
    build.run(&format!("CREATE INDEX {} ON {table}(bb)", quoted(&index)));
    build.run(&format!(
        "CREATE VIEW {} AS SELECT aa FROM {table}",
        quoted(&view)
    ));
    for _ in 0..1 + build.dice.below(2) {
        let object = build.dice.pick(&[name.as_str(), &index, &view]);
        let change = build.dice.pick(&[
            "sql || ';'",
            "sql || ' ;  '",
            "sql || char(10)",
            "sql || char(13, 10)",
            "sql || ' -- tail'",
            "sql || ';' || char(10) || '/' || char(10)",
            "sql || ';' || char(10) || 'go'",
            "sql || ' /* open'",
            "sql || '; DROP TABLE x; --'",
            "replace(sql, 'CREATE ', 'CREATE' || char(13, 10))",
            "replace(sql, 'CREATE ', 'create' || char(9))",
            "replace(sql, 'CREATE ', 'CREATE/* ; */ ')",
            "replace(sql, 'bb', '/*' || CAST(X'2020FF20' AS TEXT) || '*/ bb')",
            "replace(sql, '''d''', '''' || CAST(X'2020FF20' AS TEXT) || '''')",
            "replace(sql, 'aa', 'aa /*' || char(10) || '/' || char(10) || '*/')",
            "replace(sql, 'aa', 'aa /*' || char(10) || 'go' || char(10) || '*/')",
            "replace(sql, 'aa', char(10) || 'aa' || char(10) || char(10))",
        ]);
        build.schema_edit(object, change);
    }
}
