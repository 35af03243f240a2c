//! Ordinary tables: every key, type, option and constraint.

use super::{Build, indexes, names, values};

const TYPES: &[&str] = &[
    "",
    "",
    "INTEGER",
    "INT",
    "REAL",
    "TEXT",
    "BLOB",
    "NUMERIC",
    "VARCHAR(20)",
    "BOOLEAN",
    "DATETIME",
    "DOUBLE PRECISION",
    "\"odd type\"(3, -4)",
    "FLOATING POINT",
    "ANY",
];
const STRICT_TYPES: &[&str] = &["INTEGER", "INT", "REAL", "TEXT", "BLOB", "ANY"];
const RULES: &[&str] = &[
    "",
    "",
    "",
    "",
    "UNIQUE",
    "UNIQUE ON CONFLICT REPLACE",
    "NOT NULL ON CONFLICT IGNORE",
    "NOT NULL DEFAULT 'x;y'",
    "COLLATE NOCASE",
    "COLLATE RTRIM UNIQUE",
    "DEFAULT (1 + 2)",
    "DEFAULT CURRENT_TIMESTAMP",
    "DEFAULT -0.0",
    "DEFAULT X'00FF'",
    "DEFAULT \"double quoted\"",
    "CONSTRAINT \"a 'name\" NULL",
    "REFERENCES no_such_table",
    "CHECK (1)",
];

/// A table that others may build on.
#[derive(Clone)]
pub(super) struct Table {
    /// In double quotes.
    pub(super) name: String,
    pub(super) columns: Vec<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    None,
    /// A column of this declaration.
    Column(&'static str),
    /// A WITHOUT ROWID table.
    Clustered,
}

/// One random table with rows, indexes and what else belongs to it.
pub(super) fn plain(build: &mut Build) {
    let table = random(build);
    indexes::add(build, &table);
    if build.dice.chance(20) {
        indexes::add_view(build, &table);
    }
    if build.dice.chance(20) {
        indexes::add_triggers(build, &table);
    }
    if build.dice.chance(20) {
        let sql = format!(
            "DELETE FROM {} WHERE abs(random() % 1) = 1 OR length({}) > 4",
            table.name, table.columns[0]
        );
        build.attempt(&sql);
    }
    build.tables.push(table);
}

fn random(build: &mut Build) -> Table {
    let name = build.name();
    let is_strict = build.dice.chance(20);
    let key = build.dice.pick(&[
        Key::None,
        Key::None,
        Key::Column("INTEGER PRIMARY KEY"),
        Key::Column("INTEGER PRIMARY KEY DESC"),
        Key::Column("INTEGER PRIMARY KEY AUTOINCREMENT"),
        Key::Column("INTEGER PRIMARY KEY ON CONFLICT REPLACE"),
        Key::Column("INT PRIMARY KEY"),
        Key::Column("TEXT PRIMARY KEY COLLATE NOCASE"),
        Key::Clustered,
        Key::Clustered,
    ]);
    let count = 1 + build.dice.below(6);
    let mut columns = names::columns(&mut build.dice, count);
    take_rowid_names(build, &mut columns);
    let kinds: Vec<&'static str> = columns
        .iter()
        .map(|_| {
            build
                .dice
                .pick(if is_strict { STRICT_TYPES } else { TYPES })
        })
        .collect();
    let mut parts: Vec<String> = Vec::new();
    for (at, (column, kind)) in columns.iter().zip(&kinds).enumerate() {
        parts.push(match key {
            Key::Column(declared) if at == 0 => format!("{column} {declared}"),
            _ => format!("{column} {kind} {}", build.dice.pick(RULES)),
        });
    }
    if build.dice.chance(25) {
        parts.push(generated(build, &columns, is_strict));
    }
    if key == Key::Clustered {
        let more = columns.len().min(1 + build.dice.below(2));
        let terms: Vec<String> = columns[..more]
            .iter()
            .map(|column| {
                let order =
                    build
                        .dice
                        .pick(&["", "", "DESC", "COLLATE NOCASE", "COLLATE RTRIM DESC"]);
                format!("{column} {order}")
            })
            .collect();
        parts.push(format!("PRIMARY KEY ({})", terms.join(", ")));
    }
    if build.dice.chance(15) {
        parts.push(table_rule(build, &columns));
    }
    let mut options = Vec::new();
    if key == Key::Clustered {
        options.push("WITHOUT ROWID");
    }
    if is_strict {
        options.push("STRICT");
    }
    let create = format!(
        "CREATE TABLE {name}({}) {}",
        parts.join(build.dice.pick(&[", ", ",\n  ", " , "])),
        options.join(", ")
    );
    if !build.attempt(&create) {
        // Some combinations are no tables; the plainest one always is.
        columns = (0..count).map(|at| format!("c{at}")).collect();
        build.run(&format!("CREATE TABLE {name}({})", columns.join(", ")));
    }
    let table = Table { name, columns };
    let kinds = is_strict.then_some(kinds);
    fill(build, &table, kinds.as_deref());
    table
}

/// Sometimes columns have the names under which SQLite offers the rowid: one, two, or all of them.
fn take_rowid_names(build: &mut Build, columns: &mut [String]) {
    if !build.dice.chance(12) {
        return;
    }
    let taken = build.dice.below(3) + 1;
    let names = ["rowid", "_ROWID_", "\"oid\""];
    for (column, name) in columns.iter_mut().zip(names.iter().take(taken)) {
        (*name).clone_into(column);
    }
}

fn generated(build: &mut Build, columns: &[String], is_strict: bool) -> String {
    let column = build
        .dice
        .pick(&columns.iter().map(String::as_str).collect::<Vec<_>>());
    let kind = if is_strict {
        "ANY"
    } else {
        build.dice.pick(TYPES)
    };
    let expression = build.dice.pick(&[
        "';'",
        "{} || '-'",
        "length({})",
        "typeof({})",
        "CASE WHEN {} IS NULL THEN 'none' ELSE {} END",
        "json_quote(typeof({}))",
    ]);
    let expression = expression.replace("{}", column);
    let how = build
        .dice
        .pick(&["", "VIRTUAL", "STORED", "VIRTUAL COLLATE NOCASE"]);
    format!("\"made by\" {kind} GENERATED ALWAYS AS ({expression}) {how}")
}

fn table_rule(build: &mut Build, columns: &[String]) -> String {
    let (first, last) = (&columns[0], &columns[columns.len() - 1]);
    let rule = build.dice.pick(&[
        "UNIQUE ({a}, {b} COLLATE NOCASE DESC)",
        "CONSTRAINT \"it's named\" CHECK ({a} IS NOT 12345)",
        "FOREIGN KEY ({a}) REFERENCES \"parent of\" ({b}) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED",
        "UNIQUE ({b}) ON CONFLICT IGNORE",
        "CHECK (length({b}) < 100000000 /* no -- end */)",
    ]);
    rule.replace("{a}", first).replace("{b}", last)
}

/// Inserts rows of any values; those that break a rule are left out.
fn fill(build: &mut Build, table: &Table, strict: Option<&[&'static str]>) {
    let has_rowid = build.dice.chance(40);
    let count = match build.dice.below(20) {
        0 => 0,
        1 => 150,
        _ => build.dice.below(14),
    };
    for row in 0..count {
        let values: Vec<String> = (0..table.columns.len())
            .map(|at| match strict {
                Some(kinds) => values::strict(&mut build.dice, build.encoding, kinds[at]),
                None => build.value(),
            })
            .collect();
        let (columns, values) = (table.columns.join(", "), values.join(", "));
        let rowid = match row {
            0 => build
                .dice
                .pick(&["-9223372036854775808", "-5", "0", "7"])
                .to_owned(),
            1 => build
                .dice
                .pick(&["9223372036854775807", "1", "1000"])
                .to_owned(),
            _ => (row * 3 + build.dice.below(3)).to_string(),
        };
        let with = format!(
            "INSERT OR IGNORE INTO {}(rowid, {columns}) VALUES ({rowid}, {values})",
            table.name
        );
        let without = format!(
            "INSERT OR IGNORE INTO {}({columns}) VALUES ({values})",
            table.name
        );
        if !has_rowid || !build.attempt(&with) {
            build.attempt(&without);
        }
    }
}

/// Tables that refer to each other in circles, to nothing, or to something that is no key.
pub(super) fn foreign_keys(build: &mut Build) {
    let (left, right) = (build.name(), build.name());
    let action = build.dice.pick(&[
        "",
        "ON DELETE CASCADE",
        "ON UPDATE SET NULL",
        "DEFERRABLE INITIALLY DEFERRED",
    ]);
    let target = build.dice.pick(&["(id)", "", "(no_column)", "(name)"]);
    build.run(&format!(
        "CREATE TABLE {left}(id INTEGER PRIMARY KEY, other REFERENCES {right}{target} {action}, name TEXT)"
    ));
    build.run(&format!(
        "CREATE TABLE {right}(id INTEGER PRIMARY KEY, other REFERENCES {left}(id), name TEXT, up REFERENCES {right})"
    ));
    for id in 1..2 + build.dice.below(5) {
        let other = build.dice.below(6);
        build.run(&format!(
            "INSERT INTO {left} VALUES ({id}, {other}, 'n{id}')"
        ));
        build.run(&format!(
            "INSERT INTO {right} VALUES ({other} * 10 + {id}, {id}, 'm', {other})"
        ));
    }
    if build.dice.chance(50) {
        let index = build.name();
        build.run(&format!("CREATE UNIQUE INDEX {index} ON {left}(name)"));
    }
}

/// A table that was changed after rows were in it.
pub(super) fn altered(build: &mut Build) {
    let table = random(build);
    let index = build.name();
    build.attempt(&format!(
        "CREATE INDEX {index} ON {}({})",
        table.name, table.columns[0]
    ));
    let default = build.dice.pick(&[
        "",
        "DEFAULT 'added'",
        "DEFAULT 1.0",
        "DEFAULT X'00'",
        "NOT NULL DEFAULT 7",
        "REAL DEFAULT 3",
        "AS (1)",
    ]);
    build.attempt(&format!(
        "ALTER TABLE {} ADD COLUMN added {default}",
        table.name
    ));
    if build.dice.chance(40) {
        build.attempt(&format!(
            "ALTER TABLE {} RENAME COLUMN {} TO \"re named\"",
            table.name, table.columns[0]
        ));
    }
    if build.dice.chance(40) {
        let last = &table.columns[table.columns.len() - 1];
        build.attempt(&format!("ALTER TABLE {} DROP COLUMN {last}", table.name));
    }
    if build.dice.chance(50) {
        let name = build.name();
        build.attempt(&format!("ALTER TABLE {} RENAME TO {name}", table.name));
    }
    if build.dice.chance(20) {
        let name = build.name();
        build.run(&format!(
            "CREATE TABLE {name} AS SELECT 1 AS a, 'x' AS \"b c\", 2.5 AS \"d\"\"\", NULL AS e"
        ));
    }
}

/// More columns than anybody expects, seldom as many as SQLite allows.
pub(super) fn wide(build: &mut Build) {
    let name = build.name();
    let count = build.dice.pick(&[64, 101, 101, 300, 1000, 2000]);
    let columns: Vec<String> = (0..count).map(|at| format!("c{at}")).collect();
    build.run(&format!("CREATE TABLE {name}({})", columns.join(",")));
    for row in 0..3 {
        build.run(&format!(
            "INSERT INTO {name}(c0, c{}) VALUES ({row}, 'last')",
            count - 1
        ));
    }
    build.run(&format!(
        "UPDATE {name} SET c{} = X'01', c{} = 'middle'",
        count / 2,
        count / 2 + 1
    ));
}

/// Tables whose text has comments, line ends and what else a person writes.
pub(super) fn commented(build: &mut Build) {
    let name = build.name();
    let text = build.dice.pick(&[
        "CREATE TABLE {}(\r\n  a INTEGER, -- first\r\n  b TEXT\r\n)",
        "CREATE TABLE {}(a /* one\n/\ngo\n*/, b -- 'open\n)",
        "CREATE TABLE {}(\n/\n*\n*/ a, b)",
        "create   table\t{}\n(\tA,\n\nb )",
        "CREATE TABLE {}([a], `b` DEFAULT 'x -- y\n.quit\n')",
        "CREATE TABLE {} /* ; */ (a DEFAULT ';', b DEFAULT ('--'))",
        "CREATE TABLE IF NOT EXISTS {}(a, b, CHECK (a <> '\n/\n'))",
        "CREATE TABLE {}(a\u{a0}, b \u{202e}type)",
        "CREATE TABLE {}(a,--\n--\nb/**/)",
    ]);
    let text = text.replace("\n/\n*\n*/", "/*\n/\n*\n*/");
    let is_made = build.attempt(&text.replace("{}", &name));
    if !is_made {
        build.run(&format!("CREATE TABLE {name}(a, b)"));
    }
    for _ in 0..3 {
        let value = build.value();
        build.attempt(&format!("INSERT INTO {name} VALUES ({value}, {value})"));
    }
    let view = build.name();
    let text = build.dice.pick(&[
        "CREATE VIEW {v} AS SELECT * FROM {t} -- tail",
        "CREATE VIEW {v} AS SELECT 1 /* never closed",
        "CREATE VIEW {v}(x)\r\nAS\r\nSELECT ';' FROM {t}",
        "CREATE VIEW {v} AS\ngo\n/\nSELECT 1",
        "CREATE VIEW {v} AS SELECT '\n/\n' AS a, '\ngo\n' AS b",
        "CREATE TRIGGER {v} AFTER DELETE ON {t} BEGIN SELECT CASE WHEN 1 THEN 'END;' END; -- x\r\nSELECT 2; END",
        "CREATE INDEX {v} ON {t}(b) -- open",
        "CREATE INDEX {v} ON {t}(b || '\n/\n')",
    ]);
    build.attempt(&text.replace("{v}", &view).replace("{t}", &name));
}
