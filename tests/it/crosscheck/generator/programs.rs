//! Schemas that need their program: functions, collations, tokenizers and modules that only it has.

use super::{Build, quoted, values};

/// A function of the program, wherever a schema may call one.
pub(super) fn function(build: &mut Build) {
    let (table, other) = (build.name(), build.name());
    let create = build.dice.pick(&[
        "CREATE TABLE {t}(a, b CHECK (program_fold(a) IS NOT 99999))",
        "CREATE TABLE {t}(a, b, c AS (program_fold(a)))",
        "CREATE TABLE {t}(a, b, c AS (program_fold(a)) STORED)",
        "CREATE TABLE {t}(a, b DEFAULT (program_fold('x')))",
        "CREATE TABLE {t}(a, b)",
    ]);
    build.run(&create.replace("{t}", &table));
    for _ in 0..2 + build.dice.below(5) {
        let (a, b) = (build.value(), build.value());
        build.attempt(&format!("INSERT INTO {table}(a, b) VALUES ({a}, {b})"));
    }
    let more = build.dice.pick(&[
        "CREATE INDEX {o} ON {t}(program_fold(a))",
        "CREATE INDEX {o} ON {t}(b) WHERE program_fold(a) > 5",
        "CREATE UNIQUE INDEX {o} ON {t}(program_fold(a), b, rowid)",
        "CREATE VIEW {o} AS SELECT program_fold(a) AS f FROM {t}",
        "CREATE TRIGGER {o} AFTER INSERT ON {t} BEGIN SELECT program_fold(new.a); END",
    ]);
    build.attempt(&more.replace("{t}", &table).replace("{o}", &other));
}

/// A collation of the program, wherever a schema may name one.
pub(super) fn collation(build: &mut Build) {
    let (table, other) = (build.name(), build.name());
    let collation = build.dice.pick(&["program_order", "unicase", "ICU_root"]);
    let create = build.dice.pick(&[
        "CREATE TABLE {t}(a TEXT COLLATE {c}, b)",
        "CREATE TABLE {t}(a TEXT COLLATE {c} PRIMARY KEY, b)",
        "CREATE TABLE {t}(a TEXT COLLATE {c} PRIMARY KEY, b) WITHOUT ROWID",
        "CREATE TABLE {t}(a, b TEXT, PRIMARY KEY (b COLLATE {c} DESC, a)) WITHOUT ROWID",
        "CREATE TABLE {t}(a TEXT UNIQUE COLLATE {c}, b)",
        "CREATE TABLE {t}(id INTEGER PRIMARY KEY, a, b, UNIQUE (a COLLATE {c}))",
        "CREATE TABLE {t}(a, b CHECK (b COLLATE {c} <> 'never'))",
        "CREATE TABLE {t}(a, b)",
    ]);
    build.run(&create.replace("{t}", &table).replace("{c}", collation));
    for _ in 0..2 + build.dice.below(8) {
        let (a, b) = (build.prose(), build.prose());
        build.attempt(&format!(
            "INSERT OR IGNORE INTO {table}(a, b) VALUES ({a}, {b})"
        ));
    }
    let more = build.dice.pick(&[
        "",
        "CREATE INDEX {o} ON {t}(b COLLATE {c})",
        "CREATE UNIQUE INDEX {o} ON {t}(a COLLATE {c}, b)",
        "CREATE VIEW {o} AS SELECT * FROM {t} ORDER BY a COLLATE {c}",
    ]);
    if !more.is_empty() {
        build.attempt(
            &more
                .replace("{t}", &table)
                .replace("{o}", &other)
                .replace("{c}", collation),
        );
    }
}

/// A full-text table whose tokenizer only the program has. It was made with another one: to register one takes C.
pub(super) fn tokenizer(build: &mut Build) {
    let name = build.bare_name();
    let table = quoted(&name);
    let (made, named) = build.dice.pick(&[
        ("fts5(a, b)", "fts5(a, b, tokenize = 'jieba')"),
        (
            "fts5(a, b, tokenize = porter)",
            "fts5(a, b, tokenize = 'signal_tokenizer')",
        ),
        (
            "fts5(a, content='')",
            "fts5(a, content='', tokenize = 'icu en_US')",
        ),
        ("fts4(a, b)", "fts4(a, b, tokenize=icu de_DE)"),
        (
            "fts3(a, b, tokenize=porter)",
            "fts3(a, b, tokenize=mozporter)",
        ),
    ]);
    if !build.attempt(&format!("CREATE VIRTUAL TABLE {table} USING {made}")) {
        return;
    }
    for _ in 0..1 + build.dice.below(6) {
        let text = build.prose();
        build.attempt(&format!("INSERT INTO {table}(a) VALUES ({text})"));
    }
    let new = values::text(&format!("CREATE VIRTUAL TABLE {table} USING {named}"));
    build.schema_edit(&name, &new);
}

/// A virtual table of a module that no stock SQLite has, with the tables it keeps its content in.
pub(super) fn module(build: &mut Build) {
    let name = build.bare_name();
    for suffix in ["chunks", "rowids", "vector_chunks00", "info"] {
        let shadow = format!("{name}_{suffix}");
        if !build.names.claim(&shadow) {
            continue;
        }
        let shadow = quoted(&shadow);
        let value = build.value();
        build.attempt(&format!(
            "CREATE TABLE {shadow}(rowid INTEGER PRIMARY KEY, bytes)"
        ));
        build.attempt(&format!(
            "INSERT INTO {shadow} VALUES (1, {value}), (4, zeroblob(100))"
        ));
    }
    let (table, text) = (values::text(&name), quoted(&name));
    let module = build.dice.pick(&[
        "vec0(embedding float[8])",
        "spellfix1",
        "geopoly()",
        "\"my module\"(a, 'b''c')",
    ]);
    let sql = values::text(&format!("CREATE VIRTUAL TABLE {text} USING {module}"));
    build.edits.push(format!(
        "INSERT INTO sqlite_schema(type, name, tbl_name, rootpage, sql) VALUES ('table', {table}, {table}, 0, {sql})"
    ));
}
