//! Tables that look like parts of something else and are not, or are and have more than they should.

use super::{Build, quoted};

const SUFFIXES: &[&str] = &[
    "content",
    "data",
    "idx",
    "docsize",
    "config",
    "segments",
    "segdir",
    "stat",
    "node",
    "rowid",
    "parent",
    "chunks",
    "vector_chunks00",
    "DATA",
    "content2",
];

/// A table and tables with its name and the endings of shadow tables.
pub(super) fn tables(build: &mut Build) {
    let owner = build.bare_name();
    let kind = build.dice.pick(&[
        "CREATE TABLE {}(a, b)",
        "CREATE VIEW {} AS SELECT 1 AS a",
        "CREATE VIRTUAL TABLE {} USING fts5(a, content='')",
        "CREATE VIRTUAL TABLE {} USING fts5(a, columnsize=0)",
        "CREATE VIRTUAL TABLE {} USING fts3(a)",
        "CREATE VIRTUAL TABLE {} USING fts4(a, content=\"\")",
        "CREATE VIRTUAL TABLE {} USING fts4(a, matchinfo=fts3)",
        "CREATE VIRTUAL TABLE {} USING rtree(a, b, c)",
        "",
    ]);
    // Sometimes they were there before their owner.
    let is_late = build.dice.chance(50);
    if !is_late {
        build.attempt(&kind.replace("{}", &quoted(&owner)));
    }
    for _ in 0..1 + build.dice.below(3) {
        let suffix = build.dice.pick(SUFFIXES);
        let name = format!("{owner}_{suffix}");
        if !build.names.claim(&name) {
            continue;
        }
        let name = quoted(&name);
        let columns = build.dice.pick(&[
            "(v)",
            "(id INTEGER PRIMARY KEY, block BLOB)",
            "(k PRIMARY KEY, v) WITHOUT ROWID",
            "(docid INTEGER PRIMARY KEY, c0a)",
        ]);
        let (value, index) = (build.value(), build.name());
        // Where the module made a table of this name, that one is left alone.
        if build.attempt(&format!("CREATE TABLE {name}{columns}")) {
            build.attempt(&format!("INSERT INTO {name} VALUES ({value})"));
            build.attempt(&format!("INSERT INTO {name} VALUES (5, {value})"));
            build.attempt(&format!("CREATE INDEX {index} ON {name}(v)"));
        }
    }
    if is_late {
        build.attempt(&kind.replace("{}", &quoted(&owner)));
    }
    let owner = quoted(&owner);
    build.attempt(&format!("INSERT INTO {owner} VALUES ('backup words')"));
    build.attempt(&format!("INSERT INTO {owner} VALUES (1, 2)"));
    build.attempt(&format!("INSERT INTO {owner} VALUES (1, 2, 3)"));
}

/// A full-text table or R-tree on whose shadow tables somebody made an index, a trigger or a view.
pub(super) fn indexed_shadow(build: &mut Build) {
    let owner = build.bare_name();
    let table = quoted(&owner);
    let (create, shadow, column) = build.dice.pick(&[
        ("fts5(a, b)", "content", "c0"),
        ("fts5(a, b)", "docsize", "sz"),
        ("fts4(a, b)", "content", "c0a"),
        ("fts4(a, b)", "segdir", "level"),
        ("fts3(a, b)", "segments", "block"),
        ("rtree(a, b, c)", "rowid", "nodeno"),
    ]);
    build.attempt(&format!("CREATE VIRTUAL TABLE {table} USING {create}"));
    let (index, view, trigger) = (build.name(), build.name(), build.name());
    let shadow = quoted(&format!("{owner}_{shadow}"));
    if build.dice.chance(70) {
        build.attempt(&format!("CREATE INDEX {index} ON {shadow}({column})"));
    } else if build.dice.chance(50) {
        build.attempt(&format!(
            "CREATE TRIGGER {trigger} AFTER INSERT ON {shadow} BEGIN SELECT 1; END"
        ));
    } else {
        build.attempt(&format!(
            "CREATE VIEW {view} AS SELECT {column} FROM {shadow}"
        ));
    }
    for row in 1..4 {
        build.attempt(&format!(
            "INSERT INTO {table}(a, b) VALUES ('word{row}', 'backup')"
        ));
        build.attempt(&format!("INSERT INTO {table} VALUES ({row}, {row}, {row})"));
    }
}

/// Names that differ from SQLite's own in little, or that only an edit of the schema can give.
pub(super) fn near_sqlite(build: &mut Build) {
    let name = build.dice.pick(&[
        "sqlite",
        "sqliteX",
        "sqlite-stat1",
        "xsqlite_sequence",
        "sqlitestat1",
        "sqlite_",
        "_cf_KV",
        "_cf_METADATA",
        "sqlite_mine",
        "sqlite_statx",
    ]);
    if !build.names.claim(name) {
        return;
    }
    let value = build.value();
    if build.attempt(&format!("CREATE TABLE {}(a, b)", quoted(name))) {
        build.run(&format!("INSERT INTO {} VALUES (1, {value})", quoted(name)));
        let index = build.name();
        build.run(&format!("CREATE INDEX {index} ON {}(b)", quoted(name)));
        return;
    }
    // The prefix is SQLite's: only an edit of the schema gives it to somebody else.
    if !build.names.claim("plain_for_edit") {
        return;
    }
    build.run("CREATE TABLE plain_for_edit(a, b)");
    build.run(&format!(
        "INSERT INTO plain_for_edit VALUES (1, {value}), (2, NULL)"
    ));
    build.edits.push(format!(
        "UPDATE sqlite_schema SET name = '{name}', tbl_name = '{name}', sql = 'CREATE TABLE {name}(a, b)' WHERE name = 'plain_for_edit'"
    ));
}
