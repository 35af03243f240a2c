//! Edits the text of `patina.toml`. Invariant: every byte outside the edited database stays.
//!
//! The result is text: the caller parses it with [`super::Config::from_text`] before writing it.

use std::ops::Range;

use toml::de::{DeTable, DeValue};
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

use super::model::{D1Method, SourceSpec};
use crate::types::DatabaseName;

/// Reason that a file cannot be edited.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The text is not TOML.
    #[error("the file cannot be edited: {message}\nhint: see `patina check`")]
    Syntax {
        /// Message of the parser.
        message: String,
    },
    /// The file already has a database of this name.
    #[error("database `{name}` is in the file already\nhint: choose another name")]
    Exists {
        /// The name.
        name: DatabaseName,
    },
    /// The file has no database of this name.
    #[error("database `{name}` is not in the file{hint}")]
    Missing {
        /// The name.
        name: DatabaseName,
        /// Hint with a similar name, or empty.
        hint: String,
    },
    /// `database` is written in another form than `[[database]]`.
    #[error("`database` is not a list of `[[database]]` tables\nhint: edit the file by hand")]
    Unusual,
}

/// Returns the text with a `[[database]]` of this name and source after the last database.
pub fn add_database(
    text: &str,
    name: &DatabaseName,
    source: &SourceSpec,
) -> Result<String, EditError> {
    let root = parse(text)?;
    let known = databases(&root)?;
    if known.iter().any(|(known, _)| *known == name.as_str()) {
        return Err(EditError::Exists { name: name.clone() });
    }
    let at = match known.last() {
        Some((_, header)) => table_lines(&root, text, header.start).end,
        None => text.len(),
    };
    let (before, after) = text.split_at(at);
    let gap = if before.is_empty() || before.ends_with("\n\n") {
        ""
    } else if before.ends_with('\n') {
        "\n"
    } else {
        "\n\n"
    };
    let end = if after.is_empty() { "" } else { "\n" };
    let block = block(name, source);
    Ok(format!("{before}{gap}{block}{end}{after}"))
}

/// Lines of the new table, its strings quoted for TOML.
fn block(name: &DatabaseName, source: &SourceSpec) -> DocumentMut {
    let mut table = Table::new();
    table["name"] = value(name.as_str());
    match source {
        SourceSpec::D1 { id, method } => {
            table["d1"] = value(id);
            if *method == D1Method::Export {
                table["method"] = value("export");
            }
        }
        SourceSpec::Sqlite(path) => table["sqlite"] = value(path.display().to_string()),
    }
    let mut list = ArrayOfTables::new();
    list.push(table);
    let mut document = DocumentMut::new();
    document["database"] = Item::ArrayOfTables(list);
    document
}

/// Returns the text without the `[[database]]` of this name. Comments above it stay.
pub fn remove_database(text: &str, name: &DatabaseName) -> Result<String, EditError> {
    let root = parse(text)?;
    let header = databases(&root)?
        .into_iter()
        .find(|(known, _)| *known == name.as_str())
        .map(|(_, span)| span);
    let Some(header) = header else {
        let names = names(text)?;
        let near = super::shape::did_you_mean(name.as_str(), names.iter().map(String::as_str));
        return Err(EditError::Missing {
            name: name.clone(),
            hint: near.map_or(String::new(), |near| format!("\nhint: {near}")),
        });
    };
    let lines = table_lines(&root, text, header.start);
    Ok(format!("{}{}", &text[..lines.start], &text[lines.end..]))
}

/// Span of the `sqlite` value in the `[[database]]` of this name; `None` if the text has none.
pub fn sqlite_span(text: &str, name: &DatabaseName) -> Option<Range<usize>> {
    let root = parse(text).ok()?;
    let list = root.get("database")?.get_ref().as_array()?;
    list.iter().find_map(|item| {
        let table = item.get_ref().as_table()?;
        let is_it = table.get("name")?.get_ref().as_str()? == name.as_str();
        is_it.then(|| table.get("sqlite"))?.map(|path| path.span())
    })
}

/// Lines of the table whose header starts at `header`, with one blank line after it.
fn table_lines(root: &DeTable<'_>, text: &str, header: usize) -> Range<usize> {
    let mut headers = Vec::new();
    collect_headers(root, text, &mut headers);
    let next = headers.into_iter().filter(|start| *start > header).min();
    let start = line_start(text, header);
    let end = next.map_or(text.len(), |next| line_start(text, next));
    start..start + body_length(&text[start..end])
}

/// Length of a table without the comments and blank lines at its end, which belong to the next one.
fn body_length(table: &str) -> usize {
    let mut length = table.len();
    for line in table.split_inclusive('\n').rev() {
        if line.trim().starts_with('#') || line.trim().is_empty() {
            length -= line.len();
        } else {
            break;
        }
    }
    // One blank line belongs to the table before it.
    let rest = &table[length..];
    let blank = rest
        .split_inclusive('\n')
        .next()
        .filter(|line| line.trim().is_empty());
    length + blank.map_or(0, str::len)
}

fn parse(text: &str) -> Result<DeTable<'_>, EditError> {
    DeTable::parse(text)
        .map(|root| root.into_inner())
        .map_err(|error| EditError::Syntax {
            message: error.message().to_owned(),
        })
}

/// Name and header span of each `[[database]]`.
fn databases<'t>(root: &'t DeTable<'_>) -> Result<Vec<(&'t str, Range<usize>)>, EditError> {
    let Some(list) = root.get("database") else {
        return Ok(Vec::new());
    };
    let list = list.get_ref().as_array().ok_or(EditError::Unusual)?;
    let named = list.iter().filter_map(|item| {
        let name = item.get_ref().as_table()?.get("name")?;
        Some((name.get_ref().as_str()?, item.span()))
    });
    Ok(named.collect())
}

fn names(text: &str) -> Result<Vec<String>, EditError> {
    let root = parse(text)?;
    let names = databases(&root)?;
    Ok(names.iter().map(|(name, _)| (*name).to_owned()).collect())
}

/// Collects the start of every `[table]` and `[[table]]` header.
fn collect_headers(table: &DeTable<'_>, text: &str, headers: &mut Vec<usize>) {
    for value in table.values() {
        collect_from(value.get_ref(), value.span(), text, headers);
    }
}

fn collect_from(value: &DeValue<'_>, span: Range<usize>, text: &str, headers: &mut Vec<usize>) {
    match value {
        DeValue::Table(table) => {
            if text[span.start..].starts_with('[') {
                headers.push(span.start);
            }
            collect_headers(table, text, headers);
        }
        DeValue::Array(items) => {
            for item in items.iter() {
                collect_from(item.get_ref(), item.span(), text, headers);
            }
        }
        _ => {}
    }
}

fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    const FILE: &str = "# mine\n[agent] # the agent\nname = \"a\"\n\n# my databases\n[[database]]\nname = \"blog\" # old\nsqlite = \"b.db\"\n\n# the shop\n[[database]]\nname = \"shop\"\nsqlite = \"s.db\"\n\n# far below\n[http]\nlisten = \"127.0.0.1:1\"\n";

    fn name(text: &str) -> DatabaseName {
        text.parse().unwrap()
    }

    #[test]
    fn an_added_database_stands_after_the_others_and_comments_stay() {
        let source = SourceSpec::Sqlite(PathBuf::from("x \"y\".db"));
        let text = add_database(FILE, &name("new"), &source).unwrap();
        let at = text
            .find("[[database]]\nname = \"new\"\nsqlite = 'x \"y\".db'\n")
            .unwrap();
        assert!(
            at > text.find("s.db").unwrap() && at < text.find("# far below").unwrap(),
            "{text}"
        );
        for comment in [
            "# mine",
            "# the agent",
            "# my databases",
            "# old",
            "# the shop",
        ] {
            assert!(text.contains(comment), "{comment}");
        }
        let again = add_database(&text, &name("new"), &source).unwrap_err();
        assert_eq!(again, EditError::Exists { name: name("new") });
        assert_eq!(remove_database(&text, &name("new")).unwrap(), FILE);
    }

    #[test]
    fn a_removed_database_takes_nothing_else_along() {
        let text = remove_database(FILE, &name("blog")).unwrap();
        let gone = "[[database]]\nname = \"blog\" # old\nsqlite = \"b.db\"\n\n";
        assert_eq!(text, FILE.replace(gone, ""));
        let text = remove_database(&text, &name("shop")).unwrap();
        assert!(text.contains("# far below\n[http]") && !text.contains("shop\""));
        let error = remove_database(FILE, &name("blogg"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("did you mean `blog`?"), "{error}");
    }

    #[test]
    fn a_first_database_is_added_to_any_file() {
        let id = "45eae4c7-8ae7-4078-9218-8e1677a4360f".to_owned();
        let source = SourceSpec::D1 {
            id,
            method: D1Method::Export,
        };
        for text in ["", "# only a comment\n", "[agent]\nname = \"a\"\n"] {
            let edited = add_database(text, &name("auth"), &source).unwrap();
            assert!(edited.starts_with(text.trim_end()), "{edited}");
            assert!(edited.ends_with("method = \"export\"\n"), "{edited}");
            assert_eq!(names(&edited).unwrap(), ["auth"]);
        }
        let unusual = add_database("database = 3\n", &name("auth"), &source);
        assert_eq!(unusual.unwrap_err(), EditError::Unusual);
    }
}
