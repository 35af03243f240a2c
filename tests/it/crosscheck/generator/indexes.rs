//! Indexes, views and triggers of every form.

use super::Build;
use super::tables::Table;

/// Some indexes on a table.
pub(super) fn add(build: &mut Build, table: &Table) {
    for _ in 0..build.dice.below(4) {
        let index = build.name();
        let first = build.dice.below(table.columns.len());
        let second = build.dice.below(table.columns.len());
        let (a, b) = (&table.columns[first], &table.columns[second]);
        let terms = build.dice.pick(&[
            "{a}",
            "{a} DESC",
            "{a} COLLATE NOCASE, {b} COLLATE RTRIM DESC",
            "{a}, {b}, {a} DESC",
            "length({a})",
            "lower({a}) COLLATE BINARY DESC, {b}",
            "typeof({a}) || ';'",
            "{a} IS NULL, ({b})",
            "CAST({a} AS TEXT) COLLATE NOCASE",
            "json_quote(typeof({b}))",
        ]);
        let conditions = [
            "",
            "",
            "",
            " WHERE {a} IS NOT NULL",
            " WHERE typeof({b}) = 'text'",
            " WHERE {a} > 1 AND {b} < 'x;y'",
            " WHERE 0",
            " WHERE {b} <> ' -- no comment' -- but this",
            " /* open",
        ];
        let fitting = conditions.len() - if build.is_plain { 2 } else { 0 };
        let condition = build.dice.pick(&conditions[..fitting]);
        let unique = build.dice.pick(&["", "", "UNIQUE "]);
        let sql = format!(
            "CREATE {unique}INDEX {index} ON {}({terms}){condition}",
            table.name
        );
        build.attempt(&sql.replace("{a}", a).replace("{b}", b));
    }
}

/// A view, of which some refer to what is gone, and a trigger on it.
pub(super) fn add_view(build: &mut Build, table: &Table) {
    let (view, trigger) = (build.name(), build.name());
    let body = build.dice.pick(&[
        "AS SELECT * FROM {t}",
        "AS SELECT rowid AS r, {a} FROM {t} WHERE {a} IS NOT NULL",
        "(x, \"z z\") AS SELECT {a}, ';' FROM {t} ORDER BY 1 DESC",
        "AS WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 3) SELECT i, {a} FROM n, {t}",
        "AS SELECT lost FROM no_such_table",
        "AS SELECT no_such_function({a}) FROM {t}",
        "AS SELECT count(*) OVER (ORDER BY {a}) AS c FROM {t}",
        "AS VALUES (1, 'a''b'), (2, NULL)",
    ]);
    let body = body
        .replace("{t}", &table.name)
        .replace("{a}", &table.columns[0]);
    build.attempt(&format!("CREATE VIEW {view} {body}"));
    let event = build.dice.pick(&["INSERT", "UPDATE", "DELETE"]);
    build.attempt(&format!(
        "CREATE TRIGGER {trigger} INSTEAD OF {event} ON {view} BEGIN DELETE FROM {} WHERE 0; SELECT 1; END",
        table.name
    ));
}

/// Triggers that would change rows if a restore let them.
pub(super) fn add_triggers(build: &mut Build, table: &Table) {
    for _ in 0..1 + build.dice.below(2) {
        let trigger = build.name();
        let when = build.dice.pick(&[
            "BEFORE INSERT",
            "AFTER INSERT",
            "AFTER UPDATE",
            "BEFORE DELETE",
            "AFTER UPDATE OF {a}",
        ]);
        let condition = build
            .dice
            .pick(&["", "", "FOR EACH ROW ", "WHEN new.{a} IS NOT 'END' "]);
        let body = build.dice.pick(&[
            "DELETE FROM {t};",
            "UPDATE {t} SET {a} = 'changed';",
            "SELECT RAISE(ABORT, 'no; never');",
            "INSERT INTO {t}({a}) SELECT 'more' WHERE 0; SELECT CASE 1 WHEN 1 THEN 'END' END;",
            "INSERT INTO no_such_table VALUES (new.{a});",
        ]);
        let sql = format!("CREATE TRIGGER {trigger} {when} ON {{t}} {condition}BEGIN {body} END");
        build.attempt(
            &sql.replace("{t}", &table.name)
                .replace("{a}", &table.columns[0]),
        );
    }
}
