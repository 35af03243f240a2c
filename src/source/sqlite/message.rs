//! Formats SQLite's errors. Invariant: they contain no statement, no value and no long text of a schema, only names.

use std::borrow::Cow;

use crate::excerpt::excerpt;
use crate::quote::line;

/// Upper bound for a message, in characters: SQLite's messages are one sentence; a longer one quotes something.
const MOST_CHARS: usize = 300;

/// Upper bound for a name or keyword that SQLite rejected and that is repeated, in characters.
const MOST_TOKEN_CHARS: usize = 40;

/// The texts before and after a token that SQLite rejected.
const QUOTED: [(&str, &str); 2] = [
    ("near \"", "\": syntax error"),
    ("unrecognized token: \"", "\""),
];

/// Returns SQLite's message for `error`. The statement, which `rusqlite` appends, is left out, as it may contain rows
/// and have any length; so is a token that is not a plain word.
pub fn sqlite_message(error: &rusqlite::Error) -> String {
    let message = match error {
        rusqlite::Error::SqlInputError { msg, .. } => Cow::Borrowed(msg.as_str()),
        other => Cow::Owned(other.to_string()),
    };
    excerpt(&line(&without_token(&message)), MOST_CHARS).into_owned()
}

fn without_token(message: &str) -> Cow<'_, str> {
    for (before, after) in QUOTED {
        let Some(rest) = message.strip_prefix(before) else {
            continue;
        };
        // The token itself may contain the text that follows it.
        let Some(end) = rest.rfind(after) else {
            continue;
        };
        let token = &rest[..end];
        let is_word = token.chars().all(|c| c.is_alphanumeric() || c == '_');
        if !is_word || token.chars().count() > MOST_TOKEN_CHARS {
            return Cow::Owned(format!("{before}…{}", &rest[end..]));
        }
    }
    Cow::Borrowed(message)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn message(sql: &str) -> String {
        let connection = Connection::open_in_memory().unwrap();
        sqlite_message(&connection.execute_batch(sql).unwrap_err())
    }

    #[test]
    fn a_message_names_what_is_missing_and_holds_neither_statement_nor_value() {
        let columns: Vec<String> = (0..300).map(|n| format!("column_{n:03} TEXT")).collect();
        let columns = columns.join(",");
        for (sql, expected) in [
            (
                format!("CREATE TABLE t({columns}, CHECK (app_check(column_001)))"),
                "no such function: app_check",
            ),
            (
                "INSERT INTO t VALUES('a secret')".to_owned(),
                "no such table: t",
            ),
            (
                "SELECT 1 'a' 'the secret of a row'".to_owned(),
                "near \"…\": syntax error",
            ),
            (
                // A punctuation mark is not a word.
                "CREATE TABLE t(a, CHECK)".to_owned(),
                "near \"…\": syntax error",
            ),
            ("SELECT FROM".to_owned(), "near \"FROM\": syntax error"),
            (
                "SELECT 'open: the secret of a row".to_owned(),
                "unrecognized token: \"…\"",
            ),
        ] {
            assert_eq!(message(&sql), expected, "{sql}");
        }
    }

    #[test]
    fn a_message_that_a_schema_wrote_is_bounded() {
        let long = "x".repeat(5_000);
        let sql =
            format!("CREATE TABLE t(a CHECK (a <> '{long}')); INSERT INTO t VALUES('{long}')");
        let found = message(&sql);
        assert!(found.starts_with("CHECK constraint failed: "), "{found}");
        assert_eq!(found.chars().count(), MOST_CHARS);
    }
}
