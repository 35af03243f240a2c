//! Says what changed from one copy to another. Invariant: a table is called equal only where every row and value is.
//!
//! Tables whose manifests have the same digest are equal without being read; only the others are loaded.

use std::path::Path;

use rusqlite::Connection;

use super::error::RestoreError;
use super::making::{Job, refuse_unknown};
use super::origin::on_thread;
use super::rows::{Rows, TableDifference};
use super::sieve::folded;
use super::{loading, rows};
use crate::types::{SourceEvidence, TableEvidence};

/// What changed from one copy to another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Tables, indexes, views and triggers that came, went or have another text.
    pub schema: Vec<SchemaChange>,
    /// Tables that differ, or could not be compared.
    pub tables: Vec<TableDifference>,
    /// How many tables are equal.
    pub equal_tables: u64,
}

/// One entry of the schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaChange {
    /// `table`, `index`, `view` or `trigger`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its text in the first copy; `None`: it is not there.
    pub before: Option<String>,
    /// Its text in the second copy; `None`: it is not there.
    pub after: Option<String>,
}

impl SchemaChange {
    /// `added`, `removed` or `changed`.
    pub fn word(&self) -> &'static str {
        match (&self.before, &self.after) {
            (None, _) => "added",
            (_, None) => "removed",
            _ => "changed",
        }
    }
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.schema.is_empty() && self.tables.iter().all(TableDifference::is_empty)
    }
}

/// Compares the copy of `a`, the older one, with that of `b`. Both have the same tables asked for; all where none is.
/// `folder` is private and empty. So many keys of each kind of change are named.
///
/// # Errors
/// [`RestoreError`], where a copy cannot be read or does not have a table that was asked for.
pub async fn diff(
    a: &Job<'_>,
    b: &Job<'_>,
    folder: &Path,
    samples: usize,
) -> Result<Difference, RestoreError> {
    let asked = a.tables.to_vec();
    let known = match (a.origin.manifest(), b.origin.manifest()) {
        (Some(a), Some(b)) => Some((a.evidence.clone(), b.evidence.clone())),
        _ => None,
    };
    let wanted = known.as_ref().map(|(a, b)| unequal(a, b, &asked));
    if let Some((a, b)) = &known {
        let names = a.tables.iter().chain(&b.tables);
        refuse_unknown(&asked, &names.map(|table| &*table.name).collect::<Vec<_>>())?;
        if wanted.as_ref().is_some_and(Vec::is_empty) && a.schema == b.schema {
            let equal_tables = a
                .tables
                .iter()
                .filter(|t| is_asked(&asked, &t.name))
                .count() as u64;
            return Ok(Difference {
                equal_tables,
                ..Difference::default()
            });
        }
    }
    let (first, second) = (folder.join("a.db"), folder.join("b.db"));
    loading::load(a, first.clone(), wanted.clone()).await?;
    loading::load(b, second.clone(), wanted.clone()).await?;
    let stop = a.stop.clone();
    on_thread(move || {
        let work = || compare(&first, &second, &asked, wanted.as_deref(), samples, &stop);
        work().map_err(|error| RestoreError::sqlite(Path::new("the private databases"), &error))
    })
    .await
}

/// The tables whose digests do not say that they are equal.
fn unequal(a: &SourceEvidence, b: &SourceEvidence, asked: &[String]) -> Vec<String> {
    let is_equal = |table: &TableEvidence, other: &SourceEvidence| {
        let other = other.tables.iter().find(|other| other.name == table.name);
        other.is_some_and(|other| other == table && table.hash.is_some())
    };
    let of_a = a.tables.iter().filter(|table| !is_equal(table, b));
    let of_b = b.tables.iter().filter(|table| !is_equal(table, a));
    let mut names: Vec<String> = of_a.chain(of_b).map(|table| table.name.clone()).collect();
    names.retain(|name| is_asked(asked, name));
    names.sort();
    names.dedup();
    names
}

fn is_asked(asked: &[String], name: &str) -> bool {
    asked.is_empty() || asked.iter().any(|asked| folded(asked) == folded(name))
}

fn compare(
    first: &Path,
    second: &Path,
    asked: &[String],
    loaded: Option<&[String]>,
    samples: usize,
    stop: &tokio_util::sync::CancellationToken,
) -> rusqlite::Result<Difference> {
    let (a, b) = (rows::open(first, stop)?, rows::open(second, stop)?);
    let mut difference = Difference {
        schema: schema_changes(&a, &b, asked)?,
        ..Difference::default()
    };
    let (in_a, in_b) = (rows::tables(&a)?, rows::tables(&b)?);
    let mut names: Vec<&String> = in_a.iter().chain(&in_b).collect();
    names.sort();
    names.dedup();
    for name in names.into_iter().filter(|name| is_asked(asked, name)) {
        let is_loaded = loaded.is_none_or(|loaded| loaded.contains(name));
        let found = match is_loaded {
            true => Rows::of(&a, &b, name, samples)?.compare()?,
            false => None,
        };
        match found {
            None => difference.equal_tables += 1,
            Some(found) => difference.tables.push(found),
        }
    }
    Ok(difference)
}

type Entry = (String, String, String, String);

fn schema_changes(
    a: &Connection,
    b: &Connection,
    asked: &[String],
) -> rusqlite::Result<Vec<SchemaChange>> {
    let (before, after) = (entries(a)?, entries(b)?);
    let mut changes = Vec::new();
    let change = |entry: &Entry, before: Option<&Entry>, after: Option<&Entry>| SchemaChange {
        kind: entry.0.clone(),
        name: entry.1.clone(),
        before: before.map(|entry| entry.3.clone()),
        after: after.map(|entry| entry.3.clone()),
    };
    let find = |entries: &[Entry], wanted: &Entry| {
        let mut found = entries.iter();
        found
            .find(|entry| (&entry.0, &entry.1) == (&wanted.0, &wanted.1))
            .cloned()
    };
    for entry in before.iter().filter(|entry| is_asked(asked, &entry.2)) {
        let other = find(&after, entry);
        if other.as_ref().is_none_or(|other| other.3 != entry.3) {
            changes.push(change(entry, Some(entry), other.as_ref()));
        }
    }
    for entry in after.iter().filter(|entry| is_asked(asked, &entry.2)) {
        if find(&before, entry).is_none() {
            changes.push(change(entry, None, Some(entry)));
        }
    }
    Ok(changes)
}

/// Kind, name, table and text; trailing blanks are no change.
fn entries(connection: &Connection) -> rusqlite::Result<Vec<Entry>> {
    let sql = "SELECT type, name, tbl_name, rtrim(sql, char(9, 10, 13, 32)) FROM main.sqlite_schema
               WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND tbl_name NOT IN
               (SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow') ORDER BY rowid";
    let mut statement = connection.prepare(sql)?;
    let entries = statement.query_map([], |row| {
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
    })?;
    entries.collect()
}
