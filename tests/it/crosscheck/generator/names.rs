//! Gives out names of every sort, none twice.

use std::collections::HashSet;

use crate::torture::Dice;

const PLAIN: &[&str] = &[
    "items",
    "users",
    "log",
    "t",
    "Data",
    "note_tags",
    "x",
    "posts",
    "_private",
];

const ODD: &[&str] = &[
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
    "--",
    "/* open",
    "/*",
    "*/",
    "new\nline",
    "cr\r\nlf",
    "tab\there",
    "grün",
    "GRÜN",
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
    "  lead",
    "e\u{301}",
    "a.b",
    "main.t",
    "_patina_stage_x",
    "_cf_KV",
    "_cf_x",
    "_CF_METADATA",
    "sqlite",
    "sqlitex",
    "sqlite.stat1",
    "xsqlite_stat1",
    "generated",
    "index",
    "trailing ",
    "\u{202e}rtl",
    "\u{feff}bom",
    "(",
    ")",
    ",",
    "''",
    "x_content",
    "x_data",
    "x_idx",
    "x_config",
    "x_docsize",
    "x_node",
    "x_rowid",
    "x_parent",
    "x_segments",
    "x_stat",
    "y_chunks00",
    "\n/\n",
    "\ngo\n",
    "\n.quit\n",
    "virtual table",
    "using fts5(x)",
    "autoincrement",
    "references",
    "without rowid",
    "temp",
    "main",
    "x'00'",
];

/// The names that were given out, in lower case: SQLite tells ASCII letters apart by nothing else.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// A new name, as it is.
    pub(super) fn next(&mut self, dice: &mut Dice) -> String {
        let mut name = match dice.below(100) {
            0..50 => dice.pick(PLAIN).to_owned(),
            50..97 => dice.pick(ODD).to_owned(),
            97 => String::new(),
            98 => "long name ".repeat(3 + dice.below(200)),
            _ => format!("{}{}", dice.pick(ODD), dice.pick(ODD)),
        };
        // The prefix is SQLite's own, also where two names happen to make it.
        if name.to_ascii_lowercase().starts_with("sqlite_") {
            name.insert(0, 'x');
        }
        let base = name.clone();
        let mut number = 1;
        while !self.0.insert(name.to_ascii_lowercase()) {
            number += 1;
            name = format!("{base}{number}");
        }
        name
    }

    /// Claims a name; `false` where it is taken.
    pub(super) fn claim(&mut self, name: &str) -> bool {
        self.0.insert(name.to_ascii_lowercase())
    }
}

/// Names of columns: `count` different ones, in double quotes where they need them.
pub(super) fn columns(dice: &mut Dice, count: usize) -> Vec<String> {
    let mut names = Names::default();
    (0..count)
        .map(|at| match dice.chance(65) {
            true => format!("c{at}"),
            false => super::quoted(&names.next(dice)),
        })
        .collect()
}
