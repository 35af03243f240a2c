//! Chooses the statements of a dump that certain tables need. Pure. Invariant: a statement is left out only where it
//! fills a table that nobody wants; of a text that is not ours none is.

use std::collections::HashSet;

use crate::engine::drill::Step;

/// The first bytes of a dump of ours.
const RULE: &[u8] = b"-- ================================================\n";

/// The tables into which a dump puts pieces of large values on their way.
const STAGE: &str = "_patina_stage";

/// Statements that a tool puts around its text, and that the one transaction of a restore replaces.
const FRAMES: [&str; 7] = [
    "begin",
    "commit",
    "end",
    "pragma foreign_keys",
    "pragma journal_mode",
    "pragma synchronous",
    "analyze",
];

/// Looks at each statement of a text, in order.
pub(super) struct Sieve {
    wanted: Option<HashSet<String>>,
    is_ours: Option<bool>,
    /// The table whose rows follow, as the dump's mark spells it.
    section: String,
    /// The rows that the dump says each table has.
    counts: Vec<(String, u64)>,
}

impl Sieve {
    /// Lets the rows of these tables through; `None`: all.
    pub(super) fn new(wanted: Option<&[String]>) -> Self {
        Self {
            wanted: wanted.map(|names| names.iter().map(|name| folded(name)).collect()),
            is_ours: None,
            section: String::new(),
            counts: Vec::new(),
        }
    }

    /// Narrows what is let through from now on; `None`: all.
    pub(super) fn want(&mut self, names: Option<&[String]>) {
        self.wanted = Self::new(names).wanted;
    }

    /// Whether the text begins as a dump of ours does.
    pub(super) fn is_ours(&self) -> bool {
        self.is_ours == Some(true)
    }

    /// The rows that the dump says each table has; the names as its marks spell them.
    pub(super) fn counts(&self) -> &[(String, u64)] {
        &self.counts
    }

    /// What to do with the next statement.
    pub(super) fn step(&mut self, statement: &[u8]) -> Step {
        let is_ours = *self
            .is_ours
            .get_or_insert_with(|| statement.starts_with(RULE));
        let sql = self.read_marks(statement);
        if !is_ours {
            return match is_frame(sql) {
                true => Step::Skip,
                false => Step::Run,
            };
        }
        match filled_table(sql) {
            Some(table) if !self.wants(&table) => Step::Skip,
            _ => Step::Run,
        }
    }

    /// The table that `statement`, the next one, puts rows into; `None` where it does something else.
    pub(super) fn fills(statement: &[u8]) -> Option<String> {
        let mut nobody = Self::new(None);
        filled_table(nobody.read_marks(statement))
    }

    fn wants(&self, table: &str) -> bool {
        let Some(wanted) = &self.wanted else {
            return true;
        };
        if table.eq_ignore_ascii_case("sqlite_sequence") {
            return true;
        }
        let table = folded(table);
        match table.starts_with(STAGE) {
            // Pieces belong to the table whose mark stands above them.
            true => wanted.iter().any(|name| one_line(name) == self.section),
            false => wanted.contains(&table),
        }
    }

    /// Reads the comments before a statement; gives what follows them.
    fn read_marks<'a>(&mut self, statement: &'a [u8]) -> &'a [u8] {
        let mut rest = statement;
        loop {
            rest = rest.trim_ascii_start();
            if rest.starts_with(b"--") {
                let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
                self.read_mark(&rest[..end]);
                rest = &rest[end..];
            } else if rest.starts_with(b"/*") {
                let end = memchr::memmem::find(rest, b"*/").map_or(rest.len(), |at| at + 2);
                rest = &rest[end..];
            } else {
                return rest;
            }
        }
    }

    fn read_mark(&mut self, line: &[u8]) {
        if let Some(name) = line.strip_prefix(b"-- Table: ") {
            self.section = folded(&String::from_utf8_lossy(name));
        } else if let Some(rows) = line.strip_prefix(b"-- Rows: ")
            && let Ok(rows) = String::from_utf8_lossy(rows).parse()
        {
            self.counts.push((self.section.clone(), rows));
        }
    }
}

/// The name as comparisons and marks know it: SQLite folds ASCII alone.
pub(super) fn folded(name: &str) -> String {
    one_line(name).to_ascii_lowercase()
}

/// As a dump's comments spell it.
fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// `t` of `INSERT INTO "t" …`, and of what changes a table of pieces.
fn filled_table(sql: &[u8]) -> Option<String> {
    let starts: [&[u8]; 3] = [b"INSERT INTO \"", b"UPDATE \"", b"DELETE FROM \""];
    let rest = starts.iter().find_map(|start| sql.strip_prefix(*start))?;
    let mut name = Vec::new();
    let mut at = 0;
    loop {
        let end = at + memchr::memchr(b'"', &rest[at..])?;
        name.extend_from_slice(&rest[at..end]);
        if rest.get(end + 1) != Some(&b'"') {
            return String::from_utf8(name).ok();
        }
        name.push(b'"');
        at = end + 2;
    }
}

fn is_frame(sql: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&sql[..sql.len().min(80)]).to_ascii_lowercase();
    let words: Vec<&str> = start
        .split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
        .collect();
    FRAMES.iter().any(|frame| {
        let frame: Vec<&str> = frame.split(' ').collect();
        words.starts_with(&frame)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(wanted: &[&str], text: &[&str]) -> Vec<bool> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let mut sieve = Sieve::new(Some(&wanted));
        text.iter()
            .map(|statement| sieve.step(statement.as_bytes()) == Step::Run)
            .collect()
    }

    #[test]
    fn only_rows_of_other_tables_are_left_out_of_a_dump_of_ours() {
        let rule = String::from_utf8(RULE.to_vec()).unwrap();
        let text = [
            &format!("{rule}-- x\n{rule}\nPRAGMA defer_foreign_keys=TRUE;"),
            "CREATE TABLE a(x);",
            "-- Table: a\n-- Rows: 1\nINSERT INTO \"a\" (\"x\") VALUES\n(1);",
            "\n-- Table: B \"q\"\n-- Rows: 2\nINSERT INTO \"B \"\"q\"\"\" (\"x\") VALUES\n(1);",
            "\nINSERT INTO \"_patina_stage\" VALUES(0,0,X'00');",
            "\n-- Table: a\nINSERT INTO \"_patina_stage\" VALUES(0,0,X'00');",
            "DELETE FROM \"sqlite_sequence\";",
            "INSERT INTO \"sqlite_sequence\" (\"name\",\"seq\") VALUES('a',1);",
            "CREATE INDEX i ON a(x);",
        ];
        let a = [true, true, true, false, false, true, true, true, true];
        assert_eq!(steps(&["A"], &text), a);
        let b = [true, true, false, true, true, false, true, true, true];
        assert_eq!(steps(&["b \"q\""], &text), b);
    }

    #[test]
    fn of_another_tools_text_only_its_frame_is_left_out() {
        let text = [
            "PRAGMA foreign_keys=OFF;",
            "BEGIN TRANSACTION;",
            "INSERT INTO \"b\" VALUES(1);",
            "PRAGMA user_version=3;",
            "COMMIT;",
        ];
        assert_eq!(steps(&["a"], &text), [false, false, true, true, false]);
    }

    #[test]
    fn the_rows_that_a_dump_announces_are_kept() {
        let mut sieve = Sieve::new(None);
        sieve.step(RULE);
        sieve.step(b"-- Table: a\n-- Rows: 0\n\n-- Table: b\n-- Rows: 12\nINSERT INTO \"b\" (x) VALUES(1);");
        sieve.step(b"-- Table: c\n-- Rows: 0 (left out: skip_data)\nCREATE INDEX i ON a(x);");
        assert_eq!(sieve.counts(), [("a".to_owned(), 0), ("b".to_owned(), 12)]);
    }
}
