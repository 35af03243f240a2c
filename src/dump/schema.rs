//! Describes a database for the writer: what to create, what to read, and in which order.

use super::{TextEncoding, quoted_name};

/// A database as it will be dumped.
#[derive(Debug, Clone, Default)]
pub struct Database {
    /// Tables in dump order: ordinary ones parents first, then virtual ones.
    pub tables: Vec<Table>,
    /// Unique indexes that foreign keys refer to, in schema order: they must exist before a child's row does.
    pub early_indexes: Vec<SchemaObject>,
    /// The other indexes, then views, then triggers; each group in schema order.
    pub objects: Vec<SchemaObject>,
    /// The rows of `sqlite_sequence`; `None` if that table does not exist.
    pub sequence: Option<Vec<SequenceRow>>,
    /// Statistics of the query planner: `sqlite_stat1`.
    pub statistics: Option<Statistics>,
    /// `PRAGMA user_version`; written when not zero.
    pub user_version: i64,
    /// `PRAGMA application_id`; written when not zero.
    pub application_id: i64,
    /// `PRAGMA encoding`; written when not UTF-8.
    pub encoding: TextEncoding,
    /// Layout of the file; written when not SQLite's default.
    pub file: FileSettings,
}

/// A row of `sqlite_sequence` as SQL literals, since a program can store any value there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SequenceRow {
    /// The table's name, as a literal.
    pub name: String,
    /// The last number that was assigned, as a literal.
    pub seq: String,
}

impl SequenceRow {
    /// Returns name and number as plain text.
    pub fn told(&self) -> (String, String) {
        let quoted = |text: &str| {
            let inner = text.strip_prefix('\'')?.strip_suffix('\'')?;
            Some(inner.replace("''", "'"))
        };
        let name = quoted(&self.name).unwrap_or_else(|| self.name.clone());
        (name, self.seq.clone())
    }
}

/// The rows of `sqlite_stat1`, each value an SQL literal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Table, index and statistics of each row.
    pub rows: Vec<[String; 3]>,
}

/// Settings of a SQLite file that apply from its first page on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSettings {
    /// `PRAGMA page_size`, in bytes.
    pub page_bytes: u32,
    /// `PRAGMA auto_vacuum`: 0 none, 1 full, 2 incremental.
    pub auto_vacuum: u8,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            page_bytes: 4096,
            auto_vacuum: 0,
        }
    }
}

impl Database {
    /// Number of rows of all tables whose rows are written.
    pub fn total_rows(&self) -> u64 {
        self.tables.iter().map(Table::written_rows).sum()
    }
}

/// An index, view or trigger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaObject {
    /// `index`, `view` or `trigger`, as in `sqlite_schema.type`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its text, verbatim.
    pub sql: String,
}

/// One table.
#[derive(Debug, Clone)]
pub struct Table {
    /// Its name, as the schema spells it.
    pub name: String,
    /// Its `CREATE` text, verbatim.
    pub sql: String,
    /// True for a virtual table: these are created after the ordinary ones and `sqlite_sequence`.
    pub is_virtual: bool,
    /// The columns to read and to write; generated and hidden ones are left out.
    pub columns: Vec<String>,
    /// Treatment of its rowids.
    pub rowid: Rowid,
    /// The `ORDER BY` terms that give key order; empty if only a plain scan does.
    pub order_by: String,
    /// Number of rows in the table.
    pub rows: u64,
    /// Treatment of its rows.
    pub content: Content,
    /// FTS5 settings (`rank`, `automerge`, …) that are stored in a shadow table: name and literal.
    pub settings: Vec<(String, String)>,
    /// The tables its foreign keys point to.
    pub parents: Vec<String>,
}

/// Treatment of a table's rowids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rowid {
    /// Rowids are not written: a column is the rowid, the table has none, or they run 1…n and are assigned again.
    Implied,
    /// Rowids are read and written under this name, which no column uses.
    Kept(&'static str),
}

/// Treatment of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// The rows are written.
    Rows,
    /// The rows are an index over another table or a view, which FTS rebuilds once that exists.
    Rebuilt,
    /// The rows are left out, for this reason.
    Omitted(String),
}

impl Table {
    /// Number of its rows that the dump contains.
    pub fn written_rows(&self) -> u64 {
        match self.content {
            Content::Rows => self.rows,
            Content::Rebuilt | Content::Omitted(_) => 0,
        }
    }

    /// Names of the columns to read and to write: the rowid first if it is kept.
    pub fn all_columns(&self) -> Vec<String> {
        let rowid = match self.rowid {
            Rowid::Kept(name) => Some(name.to_owned()),
            Rowid::Implied => None,
        };
        rowid
            .into_iter()
            .chain(self.columns.iter().map(|name| quoted_name(name)))
            .collect()
    }

    /// Returns the query that reads every row in key order, each with [`Table::all_columns`].
    pub fn select(&self) -> String {
        let columns = self.all_columns().join(",");
        let table = quoted_name(&self.name);
        if self.order_by.is_empty() {
            // `NOT INDEXED` makes the scan follow the table's own b-tree, which is in rowid order.
            let scan = if self.is_virtual { "" } else { " NOT INDEXED" };
            return format!("SELECT {columns} FROM main.{table}{scan}");
        }
        format!(
            "SELECT {columns} FROM main.{table} ORDER BY {}",
            self.order_by
        )
    }
}
