//! Reads a search index whose entries need not follow from rows in the copy: its storage is copied into a scratch
//! database, in which its vocabulary can be read.

use rusqlite::backup::Backup;
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::{CloudError, Texts, plan, typed, unhex};
use crate::crosscheck::module::{self, Family, Virtual};
use crate::crosscheck::quoted;
use crate::crosscheck::rows::RowDigest;
use crate::crosscheck::vocabulary::vocabulary;

/// A search index without content of its own.
#[derive(Debug, Clone)]
pub struct Carried {
    table: Virtual,
    sql: String,
    /// Its storage tables, each with its columns.
    storage: Vec<(String, Vec<String>)>,
}

impl Carried {
    /// Returns the index of `table`; `None` if `table` is not an FTS5 index, or if the index follows from its own rows.
    pub(super) fn of(
        table: &Virtual,
        sql: &str,
        columns: impl Fn(&str) -> Vec<String>,
    ) -> Option<Self> {
        let is_carried = table.family == Family::Fts5 && module::option(sql, "content").is_some();
        let storage = |name: &String| (name.clone(), columns(name));
        is_carried.then(|| Self {
            table: table.clone(),
            sql: sql.to_owned(),
            storage: table.shadows.iter().map(storage).collect(),
        })
    }

    /// Name of the virtual table.
    pub fn name(&self) -> &str {
        &self.table.name
    }

    /// Returns the statements that read the whole storage.
    pub fn statements(&self) -> Vec<String> {
        let select = |(name, columns): &(String, Vec<String>)| {
            let terms: Vec<String> = columns
                .iter()
                .map(|column| typed(&quoted(column)))
                .collect();
            format!(
                "SELECT {} FROM {} NOT INDEXED",
                terms.join(","),
                quoted(name)
            )
        };
        self.storage.iter().map(select).collect()
    }

    /// Returns the statement that computes the size of the storage in bytes.
    pub fn size_statement(&self) -> String {
        let sum = |(name, columns): &(String, Vec<String>)| {
            let bytes: Vec<String> = columns
                .iter()
                .map(|column| format!("coalesce(octet_length({}),0)", quoted(column)))
                .collect();
            format!(
                "(SELECT coalesce(sum({}),0) FROM {})",
                bytes.join("+"),
                quoted(name)
            )
        };
        let sums: Vec<String> = self.storage.iter().map(sum).collect();
        format!("SELECT 't'||({})", sums.join("+"))
    }

    /// Computes the vocabulary from the answers to [`Self::statements`]; `None` if this SQLite cannot read such an
    /// index.
    ///
    /// # Errors
    /// If the answers have another shape.
    pub fn vocabulary(&self, answers: &[Texts]) -> Result<Option<RowDigest>, CloudError> {
        if answers.len() != self.storage.len() {
            return Err(CloudError::Misshapen);
        }
        let mut rows = Vec::new();
        for (answer, (_, columns)) in answers.iter().zip(&self.storage) {
            if answer.iter().any(|row| row.len() != columns.len()) {
                return Err(CloudError::Misshapen);
            }
            let values = |row: &Vec<String>| (0..row.len()).map(|at| value(row, at)).collect();
            let values: Vec<Vec<Value>> = answer.iter().map(values).collect::<Result<_, _>>()?;
            rows.push(values);
        }
        Ok(self.carried(&rows).ok())
    }

    fn carried(&self, rows: &[Vec<Vec<Value>>]) -> Result<RowDigest, CloudError> {
        let made = Connection::open_in_memory()?;
        made.execute_batch(&self.sql)?;
        for ((name, columns), rows) in self.storage.iter().zip(rows) {
            let name = quoted(name);
            made.execute_batch(&format!("DELETE FROM {name}"))?;
            let places = vec!["?"; columns.len()].join(",");
            let mut insert = made.prepare(&format!("INSERT INTO {name} VALUES({places})"))?;
            for row in rows {
                insert.execute(params_from_iter(row))?;
            }
        }
        // The connection that created the table has cached its old state.
        let mut read = Connection::open_in_memory()?;
        Backup::new(&made, &mut read)?.step(-1)?;
        vocabulary_of(&read, &self.table)
    }
}

/// Returns the vocabulary of a search index in the database of `connection`, with a position for each entry.
pub(super) fn vocabulary_of(
    connection: &Connection,
    table: &Virtual,
) -> Result<RowDigest, CloudError> {
    vocabulary(connection, table)?.ok_or(CloudError::Misshapen)
}

/// Parses a value of [`typed`]; such a storage contains no reals.
fn value(row: &[String], at: usize) -> Result<Value, CloudError> {
    let text = plan::cell(row, at)?;
    let (kind, rest) = text.split_at_checked(1).ok_or(CloudError::Misshapen)?;
    let value = match kind {
        "n" => Some(Value::Null),
        "i" => rest.parse().ok().map(Value::Integer),
        "b" => unhex(rest).map(Value::Blob),
        "t" => unhex(rest)
            .and_then(|text| String::from_utf8(text).ok())
            .map(Value::Text),
        _ => None,
    };
    value.ok_or(CloudError::Misshapen)
}
