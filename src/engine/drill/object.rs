//! Names what a statement is about, for errors. Invariant: nothing of the statement but a kind and a name gets out.

use crate::excerpt::excerpt;
use crate::quote::line;

/// A longer name is cut in a message.
const MOST_NAME_CHARS: usize = 120;

/// The kind and name of what `statement` makes or fills, such as ``table `posts` ``.
pub(super) fn object_in(statement: &[u8]) -> String {
    let text = String::from_utf8_lossy(statement);
    let mut words = Words { rest: &text };
    let first = words.next();
    let named = match first.as_deref().map(str::to_ascii_uppercase).as_deref() {
        Some("CREATE") => created(&mut words),
        Some("INSERT" | "REPLACE" | "DELETE") => {
            filled(&mut words).map(|name| format!("rows of table `{name}`"))
        }
        Some("PRAGMA") => words.name().map(|name| format!("setting `{name}`")),
        _ => None,
    };
    named.unwrap_or_else(|| "a statement".to_owned())
}

fn created(words: &mut Words<'_>) -> Option<String> {
    let kind = loop {
        match words.next()?.to_ascii_uppercase().as_str() {
            "TEMP" | "TEMPORARY" | "UNIQUE" => {}
            "VIRTUAL" => {
                words.next()?;
                break "virtual table";
            }
            "TABLE" => break "table",
            "INDEX" => break "index",
            "VIEW" => break "view",
            "TRIGGER" => break "trigger",
            _ => return None,
        }
    };
    let mut after = Words { rest: words.rest };
    let condition = [after.next(), after.next(), after.next()];
    let is_condition = |(found, word): (&Option<String>, &str)| {
        found
            .as_deref()
            .is_some_and(|found| found.eq_ignore_ascii_case(word))
    };
    if condition
        .iter()
        .zip(["IF", "NOT", "EXISTS"])
        .all(is_condition)
    {
        words.rest = after.rest;
    }
    words.name().map(|name| format!("{kind} `{name}`"))
}

/// The table after `INTO` or `FROM`.
fn filled(words: &mut Words<'_>) -> Option<String> {
    loop {
        match words.next()?.to_ascii_uppercase().as_str() {
            "INTO" | "FROM" => return words.name(),
            "OR" | "ABORT" | "FAIL" | "IGNORE" | "REPLACE" | "ROLLBACK" => {}
            _ => return None,
        }
    }
}

/// The words and names at the beginning of a statement, comments left out.
struct Words<'a> {
    rest: &'a str,
}

impl Words<'_> {
    /// A name, without the schema that may stand before it, and short enough for a message.
    fn name(&mut self) -> Option<String> {
        let mut name = self.next()?;
        self.skip();
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            name = self.next()?;
        }
        Some(excerpt(&line(&name), MOST_NAME_CHARS).into_owned())
    }

    /// The next word, or name without its quotes; `None` where something else follows.
    fn next(&mut self) -> Option<String> {
        self.skip();
        let quote = self.rest.chars().next()?;
        match quote {
            '"' | '\'' | '`' => self.quoted(quote),
            '[' => {
                let (name, rest) = self.rest[1..].split_once(']')?;
                let name = name.to_owned();
                self.rest = rest;
                Some(name)
            }
            _ => self.plain(),
        }
    }

    fn quoted(&mut self, quote: char) -> Option<String> {
        let inside = &self.rest[1..];
        let mut name = String::new();
        let mut chars = inside.char_indices().peekable();
        while let Some((at, c)) = chars.next() {
            if c == quote && chars.next_if(|(_, next)| *next == quote).is_none() {
                self.rest = &inside[at + 1..];
                return Some(name);
            }
            name.push(c);
        }
        None
    }

    fn plain(&mut self) -> Option<String> {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '$' || !c.is_ascii();
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        (!word.is_empty()).then(|| word.to_owned())
    }

    /// Blanks and comments.
    fn skip(&mut self) {
        loop {
            self.rest = self.rest.trim_start();
            let end = match self.rest {
                text if text.starts_with("--") => text.find('\n').map(|at| at + 1),
                text if text.starts_with("/*") => text.find("*/").map(|at| at + 2),
                _ => return,
            };
            self.rest = &self.rest[end.unwrap_or(self.rest.len())..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_named_by_the_kind_and_name_of_its_object() {
        for (statement, expected) in [
            ("CREATE TABLE t(a, CHECK (f(a)))", "table `t`"),
            (
                "\n-- rows: 3\ncreate table \"a \"\"b\"\"\"(x)",
                "table `a \"b\"`",
            ),
            ("CREATE TABLE [a b](x)", "table `a b`"),
            ("CREATE TABLE `a``b`(x)", "table `a`b`"),
            ("CREATE TABLE 'quoted'(x)", "table `quoted`"),
            ("CREATE TABLE IF/**/NOT EXISTS main . \"t\"(x)", "table `t`"),
            ("CREATE TABLE IF(x)", "table `IF`"),
            ("CREATE UNIQUE INDEX i ON t(a)", "index `i`"),
            ("CREATE TEMP VIEW v AS SELECT 1", "view `v`"),
            (
                "CREATE TRIGGER /* why */ tr AFTER INSERT ON t BEGIN SELECT 1; END",
                "trigger `tr`",
            ),
            ("CREATE VIRTUAL TABLE f USING fts5(t)", "virtual table `f`"),
            ("CREATE TABLE الطلبات(x)", "table `الطلبات`"),
            ("CREATE TABLE \"🍋 注文\"(x)", "table `🍋 注文`"),
            (
                "INSERT INTO \"posts\" VALUES('a secret')",
                "rows of table `posts`",
            ),
            (
                "INSERT OR REPLACE INTO posts(a) VALUES(1)",
                "rows of table `posts`",
            ),
            ("PRAGMA user_version=3", "setting `user_version`"),
            ("SELECT 'a secret'", "a statement"),
            ("CREATE", "a statement"),
            ("CREATE TABLE \"open", "a statement"),
            ("", "a statement"),
        ] {
            assert_eq!(object_in(statement.as_bytes()), expected, "{statement}");
        }
        assert_eq!(object_in(b"CREATE TABLE \"a\xff\"(x)"), "table `a\u{fffd}`");
        let long = format!("CREATE TABLE {}(x)", "n".repeat(5_000));
        assert!(object_in(long.as_bytes()).len() < 150);
    }
}
