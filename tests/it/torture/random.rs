//! Makes a random database for a seed: odd names, every kind of table, rows of every storage class.

use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::dice::Dice;

/// Names that have to be quoted, one way or another.
pub(super) const ODD_NAMES: &[&str] = &[
    "a b",
    "select",
    "ORDER",
    "it's",
    "say \"hi\"",
    "[x]",
    "x]",
    "`tick`",
    "semi;colon",
    "-- comment",
    "/* open",
    "new\nline",
    "tab\there",
    "grün",
    "日本語",
    "🦀",
    "שלום",
    "1st",
    "$dollar",
    "?1",
    ":a",
    "@b",
    "percent%s",
    "back\\slash",
    "rowid",
    "values",
    "null",
    "BEGIN TRANSACTION",
    "COMMIT;",
    "END",
    "x'y\"z",
    " ",
    "e\u{301}",
    "a.b",
    "main.t",
    "_patina_stage_x",
    "generated",
    "index",
    "trailing ",
    "\u{202e}rtl",
    "(",
    ")",
    ",",
    "''",
];

const TYPES: &[&str] = &[
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
    "DOUBLE",
];
const STRICT_TYPES: &[&str] = &["INTEGER", "REAL", "TEXT", "BLOB", "ANY"];
const MOST_ROWS: usize = 60;

/// Creates a database at `path`, the same for the same seed; returns how many rows it holds.
pub(crate) fn random_database(path: &Path, seed: u64) -> usize {
    let mut dice = Dice::new(seed);
    let mut db = Connection::open(path).unwrap();
    db.execute_batch("PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF; PRAGMA foreign_keys=OFF")
        .unwrap();
    let db = db.transaction().unwrap();
    let mut names = Names::default();
    let tables: Vec<_> = (0..3 + dice.below(6))
        .map(|_| Table::random(&mut dice, &mut names))
        .collect();
    let mut rows = 0;
    for (at, table) in tables.iter().enumerate() {
        db.execute_batch(&table.sql(&tables))
            .unwrap_or_else(|error| panic!("{error}: {}", table.sql(&tables)));
        rows += table.fill(&db, &mut dice);
        if dice.chance(50) {
            table.index(&db, &mut dice, &format!("index {at}"));
        }
        if dice.chance(30) {
            let view = quoted(&format!("view {at}"));
            db.execute_batch(&format!(
                "CREATE VIEW {view} AS SELECT * FROM {}",
                table.name
            ))
            .unwrap();
        }
    }
    tables.iter().for_each(|table| table.refer(&db, &tables));
    if dice.chance(30) {
        let version = dice.below(1000);
        db.execute_batch(&format!("PRAGMA user_version = {version}"))
            .unwrap();
    }
    db.commit().unwrap();
    rows
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Gives out names, none twice.
#[derive(Default)]
struct Names(usize);

impl Names {
    fn next(&mut self, dice: &mut Dice) -> String {
        self.0 += 1;
        quoted(&format!("{}{}", dice.pick(ODD_NAMES), self.0))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// Rowids 1…n, or with gaps.
    Implicit,
    Integer,
    Autoincrement,
    /// WITHOUT ROWID, over the first two columns.
    Columns,
}

struct Table {
    name: String,
    key: Key,
    strict: bool,
    gaps: bool,
    /// The table this one's last column refers to, by its place.
    refers_to: Option<usize>,
    columns: Vec<Column>,
}

struct Column {
    name: String,
    kind: &'static str,
    rule: &'static str,
}

impl Table {
    fn random(dice: &mut Dice, names: &mut Names) -> Self {
        let strict = dice.chance(25);
        let key = dice.pick(&[
            Key::Implicit,
            Key::Implicit,
            Key::Integer,
            Key::Autoincrement,
            Key::Columns,
        ]);
        let kinds = if strict { STRICT_TYPES } else { TYPES };
        let least = if key == Key::Columns { 2 } else { 1 };
        let mut columns: Vec<_> = (0..least + dice.below(7))
            .map(|_| Column {
                name: names.next(dice),
                kind: dice.pick(kinds),
                rule: dice.pick(&[
                    "",
                    "",
                    "",
                    "UNIQUE",
                    "NOT NULL",
                    "COLLATE NOCASE",
                    "DEFAULT 'x;y'",
                ]),
            })
            .collect();
        if dice.chance(15) && key == Key::Implicit {
            let taken = dice.pick(&["rowid", "_rowid_", "OID"]);
            columns[0].name = quoted(taken);
        }
        let refers_to = dice.chance(40).then(|| dice.below(8));
        Self {
            name: names.next(dice),
            key,
            strict,
            gaps: dice.chance(50),
            refers_to,
            columns,
        }
    }

    /// The table that the last column refers to, where it can be referred to.
    fn parent<'a>(&self, all: &'a [Self]) -> Option<&'a Self> {
        let parent = all.get(self.refers_to?)?;
        matches!(parent.key, Key::Integer | Key::Autoincrement).then_some(parent)
    }

    fn sql(&self, all: &[Self]) -> String {
        let mut parts = Vec::new();
        match self.key {
            Key::Integer => parts.push("id INTEGER PRIMARY KEY".to_owned()),
            Key::Autoincrement => parts.push("id INTEGER PRIMARY KEY AUTOINCREMENT".to_owned()),
            Key::Implicit | Key::Columns => {}
        }
        let column = |column: &Column| format!("{} {} {}", column.name, column.kind, column.rule);
        parts.extend(self.columns.iter().map(column));
        parts.push(
            "made AS (';') VIRTUAL".replace("AS", if self.strict { "TEXT AS" } else { "AS" }),
        );
        if let Some(parent) = self.parent(all) {
            parts.push(format!("parent INTEGER REFERENCES {}(id)", parent.name));
        }
        if self.key == Key::Columns {
            let [first, second, ..] = self.columns.as_slice() else {
                unreachable!("two at least")
            };
            parts.push(format!(
                "PRIMARY KEY ({}, {} DESC)",
                first.name, second.name
            ));
        }
        let options: Vec<_> = [
            (self.strict, "STRICT"),
            (self.key == Key::Columns, "WITHOUT ROWID"),
        ]
        .into_iter()
        .filter_map(|(wanted, option)| wanted.then_some(option))
        .collect();
        format!(
            "CREATE TABLE {}({}) {}",
            self.name,
            parts.join(", "),
            options.join(", ")
        )
    }

    /// Inserts random rows; one that breaks a constraint is left out.
    fn fill(&self, db: &Connection, dice: &mut Dice) -> usize {
        let names: Vec<_> = self
            .columns
            .iter()
            .map(|column| column.name.as_str())
            .collect();
        let rowid = self.rowid().filter(|_| self.gaps);
        let columns: Vec<_> = rowid.into_iter().chain(names).collect();
        let marks = vec!["?"; columns.len()].join(", ");
        let (name, columns) = (&self.name, columns.join(", "));
        let sql = format!("INSERT OR IGNORE INTO {name}({columns}) VALUES ({marks})");
        let mut insert = db.prepare(&sql).unwrap();
        let mut next = i64::try_from(dice.below(10)).unwrap() - 5;
        let mut rows = 0;
        for _ in 0..dice.below(MOST_ROWS) {
            next += 1 + i64::try_from(dice.below(5)).unwrap();
            let key = rowid.map(|_| Value::Integer(next));
            let values: Vec<_> = self
                .columns
                .iter()
                .map(|column| self.value(column, dice))
                .collect();
            rows += insert
                .execute(params_from_iter(key.into_iter().chain(values)))
                .unwrap();
        }
        rows
    }

    /// What the rowid can be called in an INSERT.
    fn rowid(&self) -> Option<&'static str> {
        let taken = |name: &str| {
            self.columns
                .iter()
                .any(|column| column.name.trim_matches('"').eq_ignore_ascii_case(name))
        };
        match self.key {
            Key::Columns => None,
            Key::Integer | Key::Autoincrement => Some("id"),
            Key::Implicit => ["rowid", "_rowid_", "oid"]
                .into_iter()
                .find(|name| !taken(name)),
        }
    }

    fn value(&self, column: &Column, dice: &mut Dice) -> Value {
        if !self.strict || column.kind == "ANY" {
            return random_value(dice);
        }
        loop {
            let value = random_value(dice);
            let fits = match value {
                Value::Null => column.rule != "NOT NULL",
                Value::Integer(_) => column.kind == "INTEGER",
                Value::Real(_) => column.kind == "REAL",
                Value::Text(_) => column.kind == "TEXT",
                Value::Blob(_) => column.kind == "BLOB",
            };
            if fits {
                return value;
            }
        }
    }

    fn index(&self, db: &Connection, dice: &mut Dice, name: &str) {
        let column = &self.columns[dice.below(self.columns.len())].name;
        let rest = dice.pick(&["", "WHERE 1", "WHERE typeof(';') = 'text'", "-- open"]);
        let sql = format!(
            "CREATE INDEX {} ON {}({column} DESC) {rest}",
            quoted(name),
            self.name
        );
        db.execute(&sql, []).unwrap();
    }

    /// Fills the foreign key with ids that exist, once all tables have their rows.
    fn refer(&self, db: &Connection, all: &[Self]) {
        let Some(parent) = self.parent(all) else {
            return;
        };
        let sql = format!(
            "UPDATE {} SET parent = (SELECT id FROM {} ORDER BY id DESC LIMIT 1)",
            self.name, parent.name
        );
        db.execute(&sql, []).unwrap();
    }
}

/// A value of any storage class, often an awkward one.
fn random_value(dice: &mut Dice) -> Value {
    match dice.below(5) {
        0 => Value::Null,
        1 => Value::Integer(i64::from_ne_bytes(
            (dice.bits() >> dice.below(64)).to_ne_bytes(),
        )),
        2 if dice.chance(30) => {
            Value::Real(dice.pick(&[0.0, -0.0, 1.0, 1e15, f64::INFINITY, f64::NEG_INFINITY]))
        }
        2 => Value::Real(dice.double()),
        3 => Value::Text(random_text(dice)),
        _ => Value::Blob(
            (0..dice.below(40))
                .map(|_| dice.bits().to_le_bytes()[0])
                .collect(),
        ),
    }
}

fn random_text(dice: &mut Dice) -> String {
    const PIECES: &[&str] = &[
        "a",
        "Z",
        " ",
        "'",
        "\"",
        "\n",
        "\r",
        "\r\n",
        "\0",
        "\\n",
        ";",
        "--",
        "/*",
        "🦀",
        "ü",
        "\u{fffd}",
        "1",
        "0",
        ".",
        "e5",
        "BEGIN TRANSACTION",
        "COMMIT;",
        "\n.quit\n",
        ")",
        ",(",
        "\t",
    ];
    let repeat = if dice.chance(2) { 9_000 } else { 1 };
    let text: String = (0..dice.below(12)).map(|_| dice.pick(PIECES)).collect();
    text.repeat(repeat)
}
