//! Tells what differs between a source and its copy, and which of it nobody declared.

use std::collections::BTreeMap;

use super::inventory::{Cell, Inventory, Part, Rows};

/// Rows told per part; the rest is counted.
const MOST_TOLD: usize = 3;

/// One thing that is not equal.
#[derive(Debug)]
pub(super) struct Difference {
    /// The names under which an exception may declare it.
    pub(super) objects: Vec<String>,
    /// What sort of thing it is, for counting.
    pub(super) kind: &'static str,
    pub(super) text: String,
}

/// Everything that differs.
pub(super) fn differences(source: &Inventory, copy: &Inventory) -> Vec<Difference> {
    let mut found = Vec::new();
    for (what, part) in &source.parts {
        match copy.parts.get(what) {
            None => found.push(difference(part, what, "missing in the copy".to_owned())),
            Some(other) => {
                if let Some(text) = unequal(&part.answer, &other.answer) {
                    found.push(difference(part, what, text));
                }
            }
        }
    }
    for (what, part) in &copy.parts {
        if !source.parts.contains_key(what) {
            found.push(difference(part, what, "only in the copy".to_owned()));
        }
    }
    found
}

fn difference(part: &Part, what: &str, text: String) -> Difference {
    Difference {
        objects: part.objects.clone(),
        kind: part.kind,
        text: format!("{what}: {text}"),
    }
}

fn unequal(source: &Result<Rows, String>, copy: &Result<Rows, String>) -> Option<String> {
    match (source, copy) {
        (a, b) if a == b => None,
        (Ok(a), Ok(b)) => Some(unequal_rows(a, b)),
        (a, b) => {
            let told = |side: &Result<Rows, String>| match side {
                Ok(rows) => format!("{} rows", rows.len()),
                Err(error) => error.clone(),
            };
            Some(format!(
                "{} in the source, {} in the copy",
                told(a),
                told(b)
            ))
        }
    }
}

fn unequal_rows(source: &Rows, copy: &Rows) -> String {
    let mut balance: BTreeMap<&Vec<Cell>, i64> = BTreeMap::new();
    source
        .iter()
        .for_each(|row| *balance.entry(row).or_default() += 1);
    copy.iter()
        .for_each(|row| *balance.entry(row).or_default() -= 1);
    balance.retain(|_, count| *count != 0);
    if balance.is_empty() {
        return "another order of rows".to_owned();
    }
    let told = balance.iter().take(MOST_TOLD).map(|(row, count)| {
        let side = if *count > 0 { "source" } else { "copy" };
        let mut row = format!("{row:?}");
        if let Some((end, _)) = row.char_indices().nth(600) {
            row.truncate(end);
        }
        format!("only the {side} has {row}")
    });
    let told: Vec<String> = told.collect();
    format!("{} rows differ: {}", balance.len(), told.join("; "))
}
