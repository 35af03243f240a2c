//! Finds messages that would say `1 rows`: a number in a format string before a word in the plural.

use std::path::Path;

use super::read_tree;

/// What messages count, in the plural.
const THINGS: &[&str] = &[
    "alerts",
    "archives",
    "attempts",
    "backups",
    "bytes",
    "characters",
    "columns",
    "copies",
    "databases",
    "days",
    "entries",
    "errors",
    "events",
    "exceptions",
    "failures",
    "files",
    "findings",
    "hours",
    "indexes",
    "jobs",
    "keys",
    "lines",
    "members",
    "minutes",
    "mistakes",
    "months",
    "names",
    "objects",
    "pages",
    "problems",
    "requests",
    "results",
    "rows",
    "sinks",
    "statements",
    "storages",
    "tables",
    "times",
    "triggers",
    "views",
    "warnings",
    "weeks",
];

/// Words between a number and its thing.
const BETWEEN: &[&str] = &[
    "daily", "good", "more", "older", "other", "stored", "verified", "weekly",
];

/// Lines where the number is never one, each with its reason.
const NEVER_ONE: &[(&str, &str)] = &[
    ("failed {count} times in a row", "one has an arm of its own"),
    (
        "its last {failures} backups failed",
        "one has an arm of its own",
    ),
    ("within the last {ROWS_DAYS} days", "a constant"),
    ("this {of} had its {most} downloads", "a constant"),
    ("milliseconds are", "at least a thousand"),
];

/// What is wrong in a line of code; `None`: nothing.
fn plural_without_count(line: &str) -> Option<&str> {
    let code = line.trim_start();
    let is_free = code.starts_with("//") || NEVER_ONE.iter().any(|(part, _)| line.contains(part));
    if is_free {
        return None;
    }
    line.match_indices("} ").find_map(|(at, _)| {
        let inside = line[..at].rsplit('{').next()?;
        // A constant is what it is, and the writer looked at it.
        let is_constant =
            inside.len() > 1 && inside.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        let mut words = line[at + 2..].split(|c: char| !c.is_ascii_alphabetic());
        let mut word = words.next()?;
        while BETWEEN.contains(&word) {
            word = words.next()?;
        }
        (!is_constant && THINGS.contains(&word)).then_some(word)
    })
}

/// The code without its tests and without the dump's own format, which the specification writes.
fn messages(name: &str, text: &str) -> impl Iterator<Item = (usize, String)> {
    let end = text.find("#[cfg(test)]\nmod tests {").unwrap_or(text.len());
    let is_free = name.ends_with("tests.rs") || name.starts_with("dump/");
    let lines: Vec<_> = text[..end].lines().map(str::to_owned).enumerate().collect();
    lines.into_iter().filter(move |_| !is_free)
}

#[test]
fn no_message_counts_one_thing_as_many() {
    let files = read_tree(Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut found = Vec::new();
    for file in &files {
        for (index, line) in messages(&file.name, &file.text) {
            if let Some(word) = plural_without_count(&line) {
                let name = &file.name;
                found.push(format!("src/{name}:{}: {word}: {}", index + 1, line.trim()));
            }
        }
    }
    assert!(
        found.is_empty(),
        "{} messages would count one as many\nhint: `types::counted`, `share` and `either` know better\n\n{}",
        found.len(),
        found.join("\n")
    );
}

#[test]
fn the_search_finds_what_would_be_wrong_and_nothing_else() {
    for wrong in [
        "format!(\"it had {before} rows\")",
        "format!(\"{} databases\", 1)",
        "write!(f, \"{count} daily copies may go\")",
        "format!(\"{gone} more tables\")",
    ] {
        assert!(plural_without_count(wrong).is_some(), "{wrong}");
    }
    for right in [
        "format!(\"it had {before}\")",
        "/// {count} rows",
        "format!(\"{MOST_PAGES} pages\")",
        "format!(\"{name} rowser\")",
    ] {
        assert!(plural_without_count(right).is_none(), "{right}");
    }
}
