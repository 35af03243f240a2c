//! Checks a copy of a D1 database. D1 provides no file, no temporary tables and no digests, so the check lets it add up
//! every table ([`sums`](self::sums)), does the same in the restored copy, and compares.
//!
//! Invariant: the same statements run on both.
//!
//! Cost: each table is scanned once more, so about twice the rows are read; the statements of a small database go into
//! the request that reads it.

mod index;
mod plan;
mod sums;

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::Connection;
use rusqlite::types::ValueRef;

pub use self::index::Carried;
pub use self::plan::CloudPlan;
use self::sums::Summed;
use super::compare::{Difference, difference, of_schema, settle};
use super::inventory::SchemaEntry;
use super::module::Virtual;
use super::rows::RowDigest;
use crate::types::{Exception, ExceptionKind, Hasher, Sha256, counted};

/// The result rows of one statement: text, without the `t` before each.
pub type Texts = Vec<Vec<String>>;

/// The reason that the check cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum CloudError {
    /// An answer does not have the requested columns.
    #[error("the check was given other columns than it asked for")]
    Misshapen,
    /// The plan was made for another schema.
    #[error("the schema changed meanwhile")]
    Changed,
    /// The copy or a scratch database cannot be read.
    #[error("{}", super::message(.0))]
    Sqlite(#[from] rusqlite::Error),
}

/// Sums of one table, computed in parts or at once.
#[derive(Debug, Clone)]
pub struct CloudTable {
    summed: Summed,
    owner: Option<String>,
    /// Properties of each column as text.
    columns: Vec<String>,
    is_only_counted: bool,
    rows: u64,
    last: Option<i64>,
    /// Sum of the rowids; then for each column its sum, and the bytes of its texts and blobs.
    sums: Vec<i64>,
}

impl CloudTable {
    fn new(
        summed: Summed,
        owner: Option<String>,
        columns: Vec<String>,
        is_only_counted: bool,
    ) -> Self {
        Self {
            summed,
            owner,
            columns,
            is_only_counted,
            rows: 0,
            last: None,
            sums: Vec::new(),
        }
    }

    /// Name of the table.
    pub fn name(&self) -> &str {
        &self.summed.name
    }

    /// True if it can be added up in parts.
    pub fn has_parts(&self) -> bool {
        self.summed.rowid.is_some() && !self.is_only_counted
    }

    /// Number of rows added up so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Last rowid that was added up.
    pub fn last(&self) -> Option<i64> {
        self.last
    }

    /// Returns the statements that add up the rows after the rowid `after`, at most `limit` of them if the table has
    /// parts.
    pub fn statements(
        &self,
        after: Option<i64>,
        limit: Option<u64>,
        has_atan2: bool,
    ) -> Vec<String> {
        match self.is_only_counted {
            true => {
                let name = super::quoted(self.name());
                vec![format!("SELECT 't'||count(*),'t','t0' FROM {name}")]
            }
            false => self.summed.statements(after, limit, has_atan2),
        }
    }

    /// Adds the answers to [`Self::statements`].
    ///
    /// # Errors
    /// If they have another shape.
    pub fn add(&mut self, answers: &[Texts]) -> Result<(), CloudError> {
        let mut sums = Vec::new();
        for (at, rows) in answers.iter().enumerate() {
            let [row] = &rows[..] else {
                return Err(CloudError::Misshapen);
            };
            if at == 0 {
                self.rows += u64::try_from(number(row, 0)?).map_err(|_| CloudError::Misshapen)?;
                self.last = plan::cell(row, 1)?.parse().ok();
                sums.push(number(row, 2)?);
            }
            for at in 3..row.len() {
                sums.push(number(row, at)?);
            }
        }
        if sums.len() != self.width() {
            return Err(CloudError::Misshapen);
        }
        self.sums.resize(sums.len(), 0);
        for (sum, more) in self.sums.iter_mut().zip(sums) {
            *sum = sum.wrapping_add(more);
        }
        Ok(())
    }

    fn width(&self) -> usize {
        match self.is_only_counted {
            true => 1,
            false => 1 + 2 * self.summed.columns.len(),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        self.name() == other.name() && self.columns == other.columns
    }

    /// Returns the first difference of the copy: its kind, and a sentence.
    fn difference(&self, copy: &Self) -> Option<(ExceptionKind, String)> {
        let name = self.name();
        if self.columns != copy.columns {
            let text = format!("table `{name}` has other columns");
            return Some((ExceptionKind::Schema, text));
        }
        if self.rows != copy.rows {
            let (a, b) = (counted(self.rows, "row"), copy.rows);
            let text = format!("table `{name}` has {a}, restored {b}");
            return Some((ExceptionKind::Rows, text));
        }
        let mut pairs = self.sums.iter().zip(&copy.sums);
        let at = pairs.position(|(a, b)| a != b)?;
        let text = match at
            .checked_sub(1)
            .and_then(|at| self.summed.columns.get(at / 2))
        {
            Some(column) => format!("column `{column}` of table `{name}` has other values"),
            None => format!("table `{name}` has other rowids"),
        };
        Some((ExceptionKind::Values, text))
    }
}

/// Everything in a D1 database that its copy must equal.
#[derive(Debug, Clone)]
pub struct CloudInventory {
    has_atan2: bool,
    only_counted: Vec<String>,
    schema: BTreeMap<(String, String), SchemaEntry>,
    tables: BTreeMap<String, CloudTable>,
    /// By the virtual table's name; `None` if the index could not be read.
    indexes: BTreeMap<String, Option<RowDigest>>,
    /// The rows of SQLite's own tables.
    listed: BTreeMap<&'static str, Texts>,
}

impl CloudInventory {
    /// Takes the inventory of the restored copy with the statements that ran on the source.
    ///
    /// # Errors
    /// SQLite's.
    pub fn of_copy(&self, copy: &Connection) -> Result<Self, CloudError> {
        Self::take(copy, self.has_atan2, &self.only_counted)
    }

    /// Takes the inventory of the database of `copy`.
    fn take(
        copy: &Connection,
        has_atan2: bool,
        only_counted: &[String],
    ) -> Result<Self, CloudError> {
        let ask = |sql: &str| ask(copy, sql);
        let schema: Vec<Texts> = CloudPlan::SCHEMA
            .into_iter()
            .map(ask)
            .collect::<Result<_, _>>()?;
        let plan = CloudPlan::new(&schema, only_counted)?;
        let head: Vec<Texts> = plan
            .head()
            .iter()
            .map(|sql| ask(sql))
            .collect::<Result<_, _>>()?;
        let mut inventory = plan.begin(has_atan2, &head)?;
        for table in &plan.tables {
            let mut table = table.clone();
            let statements = table.statements(None, None, has_atan2);
            let answers: Vec<Texts> = statements
                .iter()
                .map(|sql| ask(sql))
                .collect::<Result<_, _>>()?;
            table.add(&answers)?;
            inventory.put(table);
        }
        for index in &plan.indexes {
            let table: Option<&Virtual> = plan
                .virtuals
                .iter()
                .find(|table| table.name == index.name());
            let vocabulary = table.map(|table| index::vocabulary_of(copy, table));
            inventory.put_index(index.name(), vocabulary.transpose()?);
        }
        Ok(inventory)
    }

    /// Inserts the sums of a table.
    pub fn put(&mut self, table: CloudTable) {
        self.tables.insert(table.name().to_owned(), table);
    }

    /// Inserts the vocabulary of a search index; `None` if it could not be read.
    pub fn put_index(&mut self, name: &str, vocabulary: Option<RowDigest>) {
        self.indexes.insert(name.to_owned(), vocabulary);
    }

    /// Compares like [`super::compare`].
    pub fn compare(&self, copy: &Self, declared: &[Exception]) -> Vec<Difference> {
        let mut belongs: BTreeMap<&str, &str> = self
            .schema
            .iter()
            .filter(|((kind, name), entry)| kind != "table" && *name != entry.table)
            .map(|((_, name), entry)| (name.as_str(), entry.table.as_str()))
            .collect();
        for (name, table) in &self.tables {
            belongs.extend(table.owner.as_deref().map(|owner| (name.as_str(), owner)));
        }
        settle(self.differences(copy), &belongs, declared)
    }

    fn differences(&self, copy: &Self) -> BTreeSet<Difference> {
        let mut found = BTreeSet::new();
        of_schema(&self.schema, &copy.schema, &mut found);
        for (name, table) in &self.tables {
            // A missing table is reported with the schema.
            if let Some(restored) = copy.tables.get(name)
                && let Some((kind, text)) = table.difference(restored)
            {
                let owner = table.owner.as_deref().unwrap_or(name);
                // The other storage of such an index, such as the word counts per document, is part of the index.
                let kind = match self.indexes.contains_key(owner) {
                    true => ExceptionKind::Index,
                    false => kind,
                };
                found.insert(difference(owner, kind, text));
            }
        }
        for (name, index) in &self.indexes {
            let text = match (index, copy.indexes.get(name)) {
                (Some(index), Some(Some(restored))) if index == restored => continue,
                (None, Some(_)) => format!("the search index `{name}` could not be read"),
                _ => format!("the search index `{name}` has other entries"),
            };
            found.insert(difference(name, ExceptionKind::Index, text));
        }
        for (name, rows) in &self.listed {
            if copy
                .listed
                .get(name)
                .is_some_and(|restored| rows != restored)
            {
                let text = format!("table `{name}` has other values");
                found.insert(difference(name, ExceptionKind::Values, text));
            }
        }
        found
    }

    /// Number of rows of `sqlite_schema`.
    pub fn schema_entries(&self) -> u64 {
        self.schema.len() as u64
    }

    /// Number of tables that were added up.
    pub fn tables(&self) -> u64 {
        self.tables.len() as u64
    }

    /// Number of rows that were added up.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.rows).sum()
    }

    /// Returns one digest of everything: equal for equal databases.
    pub fn digest(&self) -> Sha256 {
        let mut hasher = Hasher::default();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        for ((kind, name), entry) in &self.schema {
            add(kind.as_bytes());
            add(name.as_bytes());
            add(entry.table.as_bytes());
            add(entry.sql.as_deref().unwrap_or_default());
        }
        for (name, table) in &self.tables {
            add(name.as_bytes());
            table
                .columns
                .iter()
                .for_each(|column| add(column.as_bytes()));
            add(&table.rows.to_be_bytes());
            table.sums.iter().for_each(|sum| add(&sum.to_be_bytes()));
        }
        for (name, index) in &self.indexes {
            add(name.as_bytes());
            add(&index.map_or([0; 32], |index| index.digest));
        }
        for (name, rows) in &self.listed {
            add(name.as_bytes());
            rows.iter().flatten().for_each(|text| add(text.as_bytes()));
        }
        hasher.finish()
    }
}

/// Runs a statement on the copy, with answers like those of D1.
fn ask(copy: &Connection, sql: &str) -> Result<Texts, CloudError> {
    let mut statement = copy.prepare(sql)?;
    let width = statement.column_count();
    let mut rows = statement.query([])?;
    let mut texts = Vec::new();
    while let Some(row) = rows.next()? {
        let text = |at| match row.get_ref(at)? {
            ValueRef::Text([b't', text @ ..]) => Ok(String::from_utf8_lossy(text).into_owned()),
            _ => Err(CloudError::Misshapen),
        };
        texts.push((0..width).map(text).collect::<Result<_, _>>()?);
    }
    Ok(texts)
}

/// SQL for a value as its type's first letter and text that every version of SQLite writes in the same way.
fn typed(column: &str) -> String {
    format!(
        "'t'||substr(typeof({column}),1,1)||CASE typeof({column}) WHEN 'integer' THEN {column} WHEN 'null' THEN '' \
         WHEN 'real' THEN CAST({column} AS INTEGER)||'.'||CAST(({column}-CAST({column} AS INTEGER))*4294967296 AS INTEGER) \
         ELSE hex({column}) END"
    )
}

fn number(row: &[String], at: usize) -> Result<i64, CloudError> {
    plan::cell(row, at)?
        .parse()
        .map_err(|_| CloudError::Misshapen)
}

fn unhex(hex: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16);
    let byte = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    };
    hex.as_bytes().chunks(2).map(byte).collect()
}
