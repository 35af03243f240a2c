//! Takes the inventory of one database: everything in it that a copy must contain, too.

use std::collections::{BTreeMap, HashMap, HashSet};

use rusqlite::{Connection, Result, Statement};

use super::module::{self, Family, Virtual};
use super::rows::RowDigest;
use super::vocabulary::vocabulary;
use super::{ask, literal, message, quoted};
use crate::types::{Hasher, Sha256};

/// SQLite's limit for the columns of one result.
const MOST_COLUMNS: usize = 2_000;

/// Everything in a database that its copy must equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Every row of `sqlite_schema`, by type and name.
    pub(super) schema: BTreeMap<(String, String), SchemaEntry>,
    /// Every table with a b-tree except the storage of search indexes and R-trees, by name.
    pub(super) tables: BTreeMap<String, TableFacts>,
    /// The vocabulary of every search index and the rows of every R-tree, by the virtual table's name.
    pub(super) indexes: BTreeMap<String, RowDigest>,
    /// The settings stored in the file.
    pub(super) settings: BTreeMap<&'static str, String>,
    /// The search indexes over content of their own whose vocabulary was not read.
    unread: Vec<Virtual>,
}

/// One row of `sqlite_schema` without its type and name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SchemaEntry {
    pub(super) table: String,
    /// The text, byte by byte as it is stored in the file.
    pub(super) sql: Option<Vec<u8>>,
}

/// One table with a b-tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TableFacts {
    /// The virtual table that it is a part of.
    pub(super) owner: Option<String>,
    /// Their names, in order.
    pub(super) columns: Vec<String>,
    pub(super) content: RowDigest,
}

/// One row of `sqlite_schema`.
struct Listed {
    kind: String,
    name: String,
    has_tree: bool,
    entry: SchemaEntry,
}

impl Inventory {
    /// Takes the inventory of the database of `connection`, as its transaction sees it.
    ///
    /// # Errors
    /// SQLite's: if any part of the database cannot be read.
    pub fn take(connection: &Connection) -> Result<Self> {
        let mut inventory = Self::take_content(connection)?;
        inventory.read_own_indexes(connection)?;
        Ok(inventory)
    }

    /// Takes the inventory without the vocabulary of FTS5 indexes over content of their own: if SQLite's check of the
    /// whole database ran ([`Findings::is_complete`](super::Findings::is_complete)), it compared each of them with that
    /// content, which is all included here. If both a source and its copy passed, equal content has equal indexes.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_content(connection: &Connection) -> Result<Self> {
        connection.execute_batch("PRAGMA temp_store=MEMORY")?;
        let encoding: String = ask(connection, "PRAGMA main.encoding")?;
        let listed = list(connection)?;
        let virtuals = module::look_at(&virtual_texts(&listed))?;
        let mut tables = BTreeMap::new();
        let owners = module::owners(&virtuals);
        let look = Look {
            connection,
            is_utf8: encoding == "UTF-8",
            without_rowid: without_rowid(connection)?,
        };
        for row in listed.iter().filter(|row| row.has_tree) {
            let owner = owners.get(&row.name.to_ascii_lowercase());
            let owner = owner.map(|at| &virtuals[*at]);
            if !owner.is_some_and(|owner| owner.is_index_storage(&row.name)) {
                let facts = look.table(&row.name, owner)?;
                tables.insert(row.name.clone(), facts);
            }
        }
        let mut indexes = BTreeMap::new();
        let (unread, others): (Vec<&Virtual>, Vec<&Virtual>) =
            virtuals.iter().partition(|table| table.indexes_own_content);
        for table in others {
            if let Some(digest) = look.index(table)? {
                indexes.insert(table.name.clone(), digest);
            }
        }
        for table in &unread {
            // SQLite's check skips tables that it cannot open.
            connection.prepare(&format!("SELECT 1 FROM main.{}", quoted(&table.name)))?;
        }
        let unread = unread.into_iter().cloned().collect();
        Ok(Self {
            schema: listed
                .into_iter()
                .map(|row| ((row.kind, row.name), row.entry))
                .collect(),
            tables,
            indexes,
            settings: settings(connection, encoding)?,
            unread,
        })
    }

    /// True if the vocabulary of each search index was read.
    pub fn has_read_own_indexes(&self) -> bool {
        self.unread.is_empty()
    }

    /// Reads what [`take_content`](Self::take_content) left out, from the same database.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn read_own_indexes(&mut self, connection: &Connection) -> Result<()> {
        for table in std::mem::take(&mut self.unread) {
            if let Some(digest) = vocabulary(connection, &table)? {
                self.indexes.insert(table.name, digest);
            }
        }
        Ok(())
    }

    /// Number of rows of `sqlite_schema`.
    pub fn schema_entries(&self) -> u64 {
        self.schema.len() as u64
    }

    /// Number of tables that were read.
    pub fn tables(&self) -> u64 {
        self.tables.len() as u64
    }

    /// Number of rows that were read.
    pub fn rows(&self) -> u64 {
        self.tables.values().map(|table| table.content.rows).sum()
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
            for column in &table.columns {
                add(column.as_bytes());
            }
            add(&table.content.digest);
        }
        for (name, index) in &self.indexes {
            add(name.as_bytes());
            add(&index.digest);
        }
        for (name, value) in &self.settings {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        hasher.finish()
    }
}

/// Returns every row of `sqlite_schema`, without any filter by name or type.
fn list(connection: &Connection) -> Result<Vec<Listed>> {
    let sql = "SELECT type,name,tbl_name,CAST(sql AS BLOB),coalesce(rootpage,0)>0 FROM main.sqlite_schema";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok(Listed {
            kind: row.get(0)?,
            name: row.get(1)?,
            has_tree: row.get::<_, bool>(4)? && row.get_ref(0)?.as_str()? == "table",
            entry: SchemaEntry {
                table: row.get(2)?,
                sql: row.get(3)?,
            },
        })
    })?;
    rows.collect()
}

/// Returns names and texts of the tables that have no b-tree.
fn virtual_texts(listed: &[Listed]) -> Vec<(String, String)> {
    let tables = listed
        .iter()
        .filter(|row| row.kind == "table" && !row.has_tree);
    let text = |row: &Listed| {
        let sql = row.entry.sql.clone()?;
        Some((row.name.clone(), String::from_utf8(sql).ok()?))
    };
    tables.filter_map(text).collect()
}

fn without_rowid(connection: &Connection) -> Result<HashSet<String>> {
    let sql = "SELECT name FROM pragma_table_list WHERE schema='main' AND wr";
    let mut statement = connection.prepare(sql)?;
    let names = statement.query_map([], |row| row.get(0))?;
    names.collect()
}

fn settings(connection: &Connection, encoding: String) -> Result<BTreeMap<&'static str, String>> {
    let mut settings = BTreeMap::from([("encoding", encoding)]);
    for name in ["auto_vacuum", "page_size", "user_version", "application_id"] {
        let value: i64 = ask(connection, &format!("PRAGMA main.{name}"))?;
        settings.insert(name, value.to_string());
    }
    Ok(settings)
}

/// Context for reading each table.
struct Look<'a> {
    connection: &'a Connection,
    is_utf8: bool,
    without_rowid: HashSet<String>,
}

impl Look<'_> {
    fn table(&self, name: &str, owner: Option<&Virtual>) -> Result<TableFacts> {
        let from = format!("main.{} NOT INDEXED", quoted(name));
        let (columns, content) = match self.plain(name, &from, owner)? {
            Some(found) => found,
            None => {
                let columns = self.columns(&from)?;
                let queries = self.queries(name, &columns, &from, owner);
                let content = RowDigest::of_all(self.connection, &queries)?;
                (columns, content)
            }
        };
        Ok(TableFacts {
            owner: owner.map(|owner| owner.name.clone()),
            columns,
            content,
        })
    }

    /// Reads a table of the common kind with one query: `_rowid_` is the rowid, and all rows count. `None` for a table
    /// of another kind.
    fn plain(
        &self,
        name: &str,
        from: &str,
        owner: Option<&Virtual>,
    ) -> Result<Option<(Vec<String>, RowDigest)>> {
        let has_part = owner.is_some_and(|owner| owner.rows_of_content(name).is_some());
        if has_part || !self.is_utf8 || !self.has_rowid(name) {
            return Ok(None);
        }
        // There may be more columns than SQLite returns in one result; the longer way reports any other error.
        let Ok(mut all) = self
            .connection
            .prepare(&format!("SELECT _rowid_,* FROM {from}"))
        else {
            return Ok(None);
        };
        let columns: Vec<String> = names(&all).skip(1).collect();
        match free_name(&columns) {
            Some("_rowid_") => RowDigest::of(&mut all).map(|content| Some((columns, content))),
            _ => Ok(None),
        }
    }

    fn has_rowid(&self, table: &str) -> bool {
        !self.without_rowid.contains(table) && !is_of_sqlite(table)
    }

    /// Names of a table's columns. Their other properties are in the schema's text, which is compared.
    fn columns(&self, from: &str) -> Result<Vec<String>> {
        let all = self.connection.prepare(&format!("SELECT * FROM {from}"))?;
        Ok(names(&all).collect())
    }

    /// Returns the queries that read everything in a table.
    fn queries(
        &self,
        name: &str,
        columns: &[String],
        from: &str,
        owner: Option<&Virtual>,
    ) -> Vec<String> {
        if let Some(rows) = owner.and_then(|owner| owner.rows_of_content(name)) {
            return vec![format!("SELECT * FROM {from} WHERE {rows}")];
        }
        let rowid = self.has_rowid(name).then(|| free_name(columns)).flatten();
        let mut queries = match rowid {
            Some(rowid) if columns.len() < MOST_COLUMNS => {
                vec![format!("SELECT {rowid},* FROM {from}")]
            }
            Some(rowid) => vec![
                format!("SELECT {rowid} FROM {from}"),
                format!("SELECT * FROM {from}"),
            ],
            None => vec![format!("SELECT * FROM {from}")],
        };
        if !self.is_utf8 {
            queries.extend(RowDigest::raw_text(columns, from));
        }
        queries
    }

    /// Returns the vocabulary of a search index, or the rows of an R-tree.
    fn index(&self, table: &Virtual) -> Result<Option<RowDigest>> {
        if table.family == Family::Rtree {
            let sql = format!("SELECT * FROM main.{} ORDER BY 1", quoted(&table.name));
            return RowDigest::of(&mut self.connection.prepare(&sql)?).map(Some);
        }
        vocabulary(self.connection, table)
    }
}

/// Names of a query's columns.
fn names<'a>(query: &'a Statement<'_>) -> impl Iterator<Item = String> + 'a {
    query.column_names().map(str::to_owned)
}

/// True for SQLite's own tables, whose rowids have no meaning.
pub(super) fn is_of_sqlite(name: &str) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case("sqlite_"))
}

/// Returns a name for the rowid that no column has.
pub(super) fn free_name(columns: &[String]) -> Option<&'static str> {
    ["_rowid_", "rowid", "oid"].into_iter().find(|name| {
        !columns
            .iter()
            .any(|column| column.eq_ignore_ascii_case(name))
    })
}

/// Counts the rows of each table with a b-tree by a scan: for a database whose rows cannot be read by SQL. The message
/// is returned instead for a table that cannot even be counted. Shadow tables and SQLite's own are left out.
///
/// # Errors
/// SQLite's, if even `sqlite_schema` cannot be read.
pub fn count_rows(
    connection: &Connection,
) -> Result<Vec<(String, std::result::Result<u64, String>)>> {
    let listed = list(connection)?;
    let virtuals = module::look_at(&virtual_texts(&listed))?;
    let owners: HashMap<String, usize> = module::owners(&virtuals);
    let is_counted = |row: &&Listed| {
        row.has_tree
            && !is_of_sqlite(&row.name)
            && !owners.contains_key(&row.name.to_ascii_lowercase())
    };
    let count = |row: &Listed| {
        let sql = format!(
            "SELECT count(*) FROM main.{} NOT INDEXED",
            quoted(&row.name)
        );
        let rows = ask(connection, &sql).map_err(|error: rusqlite::Error| message(&error));
        (row.name.clone(), rows)
    };
    let mut counts: Vec<_> = listed.iter().filter(is_counted).map(count).collect();
    counts.sort();
    Ok(counts)
}

/// Returns a name as `main`'s schema spells it, or `None` if the schema has no such entry; used for the object of an
/// exception.
pub(super) fn spelled(connection: &Connection, name: &str) -> Option<String> {
    let sql = format!(
        "SELECT name FROM main.sqlite_schema WHERE name={} COLLATE NOCASE LIMIT 1",
        literal(name)
    );
    ask(connection, &sql).ok()
}
