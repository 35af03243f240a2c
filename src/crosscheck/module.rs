//! Finds out which tables a virtual table's module uses, by creating that table alone, never by names.

use std::collections::HashMap;

use rusqlite::{Connection, Result};

/// Kind of content of a virtual table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// FTS3 and FTS4.
    Fts3,
    /// FTS5.
    Fts5,
    /// R-trees of floats and of integers.
    Rtree,
    /// Another module that this SQLite has.
    Other,
    /// The module, or something that it needs, is missing: its tables are compared like any others.
    Unknown,
}

/// A virtual table, and the tables that its module actually creates for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Virtual {
    pub(super) name: String,
    pub(super) family: Family,
    /// Names as the module spells them.
    pub(super) shadows: Vec<String>,
    /// True for an FTS5 index over content of its own, which SQLite's check compares with that content.
    pub(super) indexes_own_content: bool,
}

/// Returns the virtual tables of `main`. `texts` are their names and `CREATE` texts.
pub(super) fn look_at(texts: &[(String, String)]) -> Result<Vec<Virtual>> {
    texts
        .iter()
        .map(|(name, sql)| {
            let family = family(sql);
            let shadows = made_by(name, sql);
            let family = match shadows {
                Some(_) => family,
                None => Family::Unknown,
            };
            Ok(Virtual {
                name: name.clone(),
                family,
                shadows: shadows.unwrap_or_default(),
                indexes_own_content: family == Family::Fts5 && option(sql, "content").is_none(),
            })
        })
        .collect()
}

/// Returns the tables that this statement creates when executed alone; `None` if it fails.
fn made_by(name: &str, sql: &str) -> Option<Vec<String>> {
    let connection = Connection::open_in_memory().ok()?;
    if connection.execute_batch(sql).is_err() {
        connection.execute_batch(&content_table(sql)?).ok()?;
        connection.execute_batch(sql).ok()?;
    }
    let list = "SELECT name FROM sqlite_schema WHERE type='table' AND rootpage>0";
    let mut statement = connection.prepare(list).ok()?;
    let names = statement.query_map([], |row| row.get(0)).ok()?;
    let mut names: Vec<String> = names.collect::<Result<_>>().ok()?;
    names.retain(|made| made != name && made != CONTENT_TABLE);
    Some(names)
}

const CONTENT_TABLE: &str = "any content";

/// Returns a statement that creates the content table, whose columns the module reads if it has none of its own; a
/// table with any column suffices.
fn content_table(sql: &str) -> Option<String> {
    let content = option(sql, "content")?;
    (!content.is_empty()).then(|| format!("CREATE TABLE {}(a)", super::quoted(&content)))
}

/// Returns the value of an option such as `content=...`, without its quotes. FTS3 takes such an argument for a column,
/// FTS4 the last of several, and FTS5 the first of its options that begins with the word.
pub(super) fn option(sql: &str, key: &str) -> Option<String> {
    let module = module_name(sql);
    let is_key = |word: &str| match module.as_str() {
        "fts3" => false,
        "fts5" => {
            let word = word.to_ascii_lowercase();
            let option = FTS5_OPTIONS.iter().find(|option| option.starts_with(&word));
            !word.is_empty() && option == Some(&key)
        }
        _ => word.eq_ignore_ascii_case(key),
    };
    let mut value = None;
    for (at, _) in sql.match_indices('=') {
        let before = sql[..at].trim_end();
        let name = before.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_');
        if is_key(&before[name.len()..]) {
            value = Some(unquoted(sql[at + 1..].trim_start()));
        }
    }
    value
}

/// In the order in which FTS5 compares them.
const FTS5_OPTIONS: &[&str] = &[
    "prefix",
    "tokenize",
    "content",
    "contentless_delete",
    "contentless_unindexed",
    "content_rowid",
    "columnsize",
    "locale",
    "detail",
    "tokendata",
];

fn unquoted(text: &str) -> String {
    let mut chars = text.chars();
    let close = match chars.next() {
        Some(quote @ ('\'' | '"' | '`')) => quote,
        Some('[') => ']',
        _ => {
            let end = text.find([',', ')', ' ', '\n', '\t']);
            return text[..end.unwrap_or(text.len())].to_owned();
        }
    };
    let mut value = String::new();
    while let Some(c) = chars.next() {
        if c == close {
            if close == ']' || chars.clone().next() != Some(close) {
                break;
            }
            chars.next();
        }
        value.push(c);
    }
    value
}

fn family(sql: &str) -> Family {
    match module_name(sql).as_str() {
        "fts3" | "fts4" => Family::Fts3,
        "fts5" => Family::Fts5,
        "rtree" | "rtree_i32" => Family::Rtree,
        _ => Family::Other,
    }
}

/// Returns the word after `USING`, outside quotes and comments, in lower case.
fn module_name(sql: &str) -> String {
    let mut words = words(sql);
    for word in words.by_ref() {
        if word.eq_ignore_ascii_case("using") {
            break;
        }
    }
    words.next().unwrap_or_default().to_ascii_lowercase()
}

/// Returns words and quoted names, the latter without quotes; a quoted `using` is returned as an empty string.
fn words(sql: &str) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(c) = rest.chars().next() {
        if rest.starts_with("--") {
            rest = rest.find('\n').map_or("", |end| &rest[end..]);
        } else if rest.starts_with("/*") {
            rest = rest[2..].find("*/").map_or("", |end| &rest[end + 4..]);
        } else if matches!(c, '\'' | '"' | '`' | '[') {
            let close = if c == '[' { ']' } else { c };
            let value = unquoted(rest);
            let doubled = value.matches(close).count();
            let length = (c.len_utf8() + value.len() + doubled + 1).min(rest.len());
            rest = rest.get(length..).unwrap_or("");
            let is_keyword = value.eq_ignore_ascii_case("using");
            found.push(if is_keyword { String::new() } else { value });
        } else if c.is_alphanumeric() || c == '_' || c == '$' {
            let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'));
            let (word, after) = rest.split_at(end.unwrap_or(rest.len()));
            found.push(word.to_owned());
            rest = after;
        } else {
            rest = &rest[c.len_utf8()..];
        }
    }
    found.into_iter()
}

impl Virtual {
    /// True if this shadow table is the storage of an index, whose layout depends on the order of writes; the
    /// vocabulary or the rows of the virtual table are compared instead.
    pub(super) fn is_index_storage(&self, shadow: &str) -> bool {
        let Some(suffix) = shadow.strip_prefix(self.name.as_str()) else {
            return false;
        };
        let storage: &[&str] = match self.family {
            Family::Fts5 => &["_data", "_idx"],
            Family::Fts3 => &["_segments", "_segdir"],
            Family::Rtree => &["_node", "_parent", "_rowid"],
            Family::Other | Family::Unknown => &[],
        };
        storage.contains(&suffix)
    }
}

impl Virtual {
    /// Returns a condition for the rows of this shadow table that are content, if not all are: the version of an
    /// index's storage and the state of an unfinished merge are not.
    pub(super) fn rows_of_content(&self, shadow: &str) -> Option<&'static str> {
        match (self.family, shadow.strip_prefix(self.name.as_str())?) {
            (Family::Fts5, "_config") => Some("k IS NOT 'version'"),
            (Family::Fts3, "_stat") => Some("id IS NOT 1"),
            _ => None,
        }
    }
}

/// Maps each shadow table, by lower-case name, to the index of its virtual table.
pub(super) fn owners(tables: &[Virtual]) -> HashMap<String, usize> {
    let mut owners = HashMap::new();
    for (at, table) in tables.iter().enumerate() {
        for shadow in &table.shadows {
            owners.insert(shadow.to_ascii_lowercase(), at);
        }
    }
    owners
}
