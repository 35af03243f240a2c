//! Compares two inventories, and the differences with the declared exceptions.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::inventory::{Inventory, SchemaEntry, TableFacts};
use crate::types::{Exception, ExceptionKind, counted};

/// A difference between a copy and its source, or an exception without a difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Difference {
    /// The table, index, view, trigger or setting.
    pub object: String,
    /// Kind of the difference.
    pub kind: ExceptionKind,
    /// True for a declared exception that is not a difference.
    pub is_unneeded: bool,
    /// Description, as a sentence without its end.
    pub text: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns every difference that no exception declares, and every exception that is not a difference. If the result is
/// empty, the copy contains everything in the source except for `declared`.
pub fn compare(source: &Inventory, copy: &Inventory, declared: &[Exception]) -> Vec<Difference> {
    settle(differences(source, copy), &belongings(source), declared)
}

/// Returns the differences in `found` that are not declared, and the declared exceptions that were not found. `belongs`
/// maps each index, trigger and shadow table to its table.
pub(super) fn settle(
    found: BTreeSet<Difference>,
    belongs: &BTreeMap<&str, &str>,
    declared: &[Exception],
) -> Vec<Difference> {
    let mut used = vec![false; declared.len()];
    let mut left: Vec<Difference> = Vec::new();
    for difference in found {
        let mut is_declared = false;
        for (at, exception) in declared.iter().enumerate() {
            if covers(exception, &difference, belongs) {
                used[at] = true;
                is_declared = true;
            }
        }
        if !is_declared {
            left.push(difference);
        }
    }
    let unused = declared.iter().zip(used).filter(|(_, used)| !used);
    left.extend(unused.map(|(exception, _)| Difference {
        object: exception.object.clone(),
        kind: exception.kind,
        is_unneeded: true,
        text: format!("`{}` is declared to differ, and does not", exception.object),
    }));
    left
}

/// Maps each index, trigger and shadow table to its table.
fn belongings(source: &Inventory) -> BTreeMap<&str, &str> {
    let entries = source.schema.iter();
    let mut belongs: BTreeMap<&str, &str> = entries
        .filter(|((kind, name), entry)| kind != "table" && *name != entry.table)
        .map(|((_, name), entry)| (name.as_str(), entry.table.as_str()))
        .collect();
    for (name, table) in &source.tables {
        belongs.extend(table.owner.as_deref().map(|owner| (name.as_str(), owner)));
    }
    belongs
}

/// True if the exception covers this difference. A missing table includes its rows and indexes.
fn covers(exception: &Exception, found: &Difference, belongs: &BTreeMap<&str, &str>) -> bool {
    use ExceptionKind::{Index, Missing, Rows, Values};
    let is_same = exception.object == found.object;
    match exception.kind {
        Missing => is_same || belongs.get(&*found.object) == Some(&&*exception.object),
        Rows => is_same && matches!(found.kind, Rows | Values | Index),
        Values => is_same && matches!(found.kind, Values | Index),
        kind => is_same && kind == found.kind,
    }
}

fn differences(source: &Inventory, copy: &Inventory) -> BTreeSet<Difference> {
    let mut found = BTreeSet::new();
    of_schema(&source.schema, &copy.schema, &mut found);
    of_tables(source, copy, &mut found);
    for (name, index) in &source.indexes {
        if let Some(restored) = copy.indexes.get(name)
            && index != restored
        {
            let text = match index.rows == restored.rows {
                true => format!("the search index `{name}` has other entries"),
                false => format!(
                    "the search index `{name}` has {}, restored {}",
                    counted(index.rows, "entry"),
                    restored.rows
                ),
            };
            found.insert(difference(name, ExceptionKind::Index, text));
        } else if !copy.indexes.contains_key(name) {
            let text = format!("the search index `{name}` cannot be read in the copy");
            found.insert(difference(name, ExceptionKind::Index, text));
        }
    }
    for (name, value) in &source.settings {
        let restored = copy.settings.get(name).map_or("", String::as_str);
        if value != restored {
            let text = format!("{name} {value}, restored {restored}");
            found.insert(difference(name, ExceptionKind::Setting, text));
        }
    }
    found
}

/// Rows of `sqlite_schema`, by type and name.
type Schema = BTreeMap<(String, String), SchemaEntry>;

pub(super) fn of_schema(source: &Schema, copy: &Schema, found: &mut BTreeSet<Difference>) {
    for ((kind, name), entry) in source {
        match copy.get(&(kind.clone(), name.clone())) {
            None => {
                let text = format!("{kind} `{name}` is missing");
                found.insert(difference(name, ExceptionKind::Missing, text));
            }
            Some(restored) if restored != entry => {
                found.insert(difference(
                    name,
                    ExceptionKind::Schema,
                    told(kind, name, entry, restored),
                ));
            }
            Some(_) => {}
        }
    }
    for (kind, name) in copy.keys() {
        if !source.contains_key(&(kind.clone(), name.clone())) {
            let text = format!("{kind} `{name}` is only in the copy");
            found.insert(difference(name, ExceptionKind::Schema, text));
        }
    }
}

fn told(kind: &str, name: &str, source: &SchemaEntry, copy: &SchemaEntry) -> String {
    if source.table != copy.table {
        return format!("{kind} `{name}` belongs to another table");
    }
    let length = |entry: &SchemaEntry| entry.sql.as_deref().map_or(0, <[u8]>::len);
    let (before, after) = (length(source), length(copy));
    match before == after {
        true => format!("the text of {kind} `{name}` is another one"),
        false => {
            let before = counted(before, "byte");
            format!("the text of {kind} `{name}` has {before}, restored {after}")
        }
    }
}

fn of_tables(source: &Inventory, copy: &Inventory, found: &mut BTreeSet<Difference>) {
    for (name, table) in &source.tables {
        // A missing table is reported with the schema.
        if let Some(restored) = copy.tables.get(name) {
            found.extend(of_table(name, table, restored));
        } else if copy
            .schema
            .contains_key(&("table".to_owned(), name.clone()))
        {
            let text = format!("table `{name}` cannot be read in the copy");
            found.insert(difference(name, ExceptionKind::Rows, text));
        }
    }
}

fn of_table(name: &str, source: &TableFacts, copy: &TableFacts) -> Option<Difference> {
    let owner = source.owner.as_deref().unwrap_or(name);
    // All tables of a module except its content are its index.
    let is_index = owner != name && name.strip_prefix(owner) != Some("_content");
    let kind = |kind| match is_index {
        true => ExceptionKind::Index,
        false => kind,
    };
    if source.columns != copy.columns {
        let text = format!("table `{name}` has other columns");
        return Some(difference(name, ExceptionKind::Schema, text));
    }
    let (a, b) = (source.content, copy.content);
    if a.rows != b.rows {
        let rows = counted(a.rows, "row");
        let text = format!("table `{name}` has {rows}, restored {}", b.rows);
        return Some(difference(owner, kind(ExceptionKind::Rows), text));
    }
    (a != b).then(|| {
        let text = format!("table `{name}` has other values or rowids");
        difference(owner, kind(ExceptionKind::Values), text)
    })
}

pub(super) fn difference(object: &str, kind: ExceptionKind, text: String) -> Difference {
    Difference {
        object: object.to_owned(),
        kind,
        is_unneeded: false,
        text,
    }
}
