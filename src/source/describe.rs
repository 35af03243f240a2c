//! Converts a schema that was read into the dump's description of it: the same for every engine, so that a copy
//! restored into SQLite is described like its source. Pure.

use std::collections::HashSet;

use super::virtual_table::{FullText, Module};
use crate::dump::{
    Content, Rowid, SchemaObject, SequenceRow, Table, TextEncoding, TextEnd, early_end,
    parents_first, quoted_name, text_end,
};
use crate::quote;
use crate::types::{ContentHash, Exception, ExceptionKind, Hasher, Sha256, TableEvidence};

/// One row of `sqlite_schema`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table: String,
    pub(super) sql: String,
}

impl Entry {
    /// Returns the module of a virtual table; `None` for every other entry.
    pub(super) fn module(&self) -> Option<Module> {
        let start = self.sql.get(.."CREATE VIRTUAL".len())?;
        start
            .eq_ignore_ascii_case("CREATE VIRTUAL")
            .then(|| Module::of(&self.sql))?
    }
}

/// A column as `PRAGMA table_xinfo` describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) declared: String,
    pub(super) key_place: i64,
    pub(super) is_hidden: bool,
}

/// One term of a primary key's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyTerm {
    pub(super) column: String,
    pub(super) collation: String,
    pub(super) descends: bool,
}

/// The key that identifies and orders the rows of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RowKey {
    /// A column that is the rowid.
    Column(String),
    /// The rowid, under a name that no column uses.
    Rowid(&'static str),
    /// The primary key of a WITHOUT ROWID table.
    Primary(Vec<KeyTerm>),
    /// No usable key: only a scan gives the order.
    Scan,
}

impl RowKey {
    /// Determines the key of an ordinary table; `key` is its primary key's index, if it has one.
    pub(super) fn of(columns: &[Column], has_rowid: bool, key: Option<&[KeyTerm]>) -> Self {
        if !has_rowid {
            let known = |term: &KeyTerm| {
                let collation = term.collation.to_ascii_uppercase();
                ["BINARY", "NOCASE", "RTRIM"].contains(&collation.as_str())
            };
            return match key {
                Some(terms) if terms.iter().all(known) => Self::Primary(terms.to_vec()),
                _ => Self::Scan,
            };
        }
        if let Some(column) = rowid_column(columns, key.is_some()) {
            return Self::Column(column.to_owned());
        }
        let is_free = |name: &&str| {
            !columns
                .iter()
                .any(|column| column.name.eq_ignore_ascii_case(name))
        };
        let names = ["rowid", "_rowid_", "oid"];
        // Rowids without a name cannot be read, so they need not be kept.
        names
            .into_iter()
            .find(is_free)
            .map_or(Self::Scan, Self::Rowid)
    }

    /// Returns the `ORDER BY` terms; empty if there is no key.
    pub(super) fn order_by(&self) -> String {
        match self {
            Self::Column(column) => quoted_name(column),
            Self::Rowid(name) => (*name).to_owned(),
            Self::Primary(terms) => {
                let term = |term: &KeyTerm| {
                    let direction = if term.descends { " DESC" } else { "" };
                    let column = quoted_name(&term.column);
                    format!("{column} COLLATE {}{direction}", term.collation)
                };
                terms.iter().map(term).collect::<Vec<_>>().join(",")
            }
            Self::Scan => String::new(),
        }
    }
}

/// Returns the column that is the rowid: `INTEGER PRIMARY KEY`, for which SQLite creates no index.
fn rowid_column(columns: &[Column], has_key_index: bool) -> Option<&str> {
    let mut keys = columns.iter().filter(|column| column.key_place > 0);
    let key = keys.next()?;
    let is_alias =
        keys.next().is_none() && key.declared.eq_ignore_ascii_case("INTEGER") && !has_key_index;
    is_alias.then_some(key.name.as_str())
}

/// Number of rows of a table, and its first and last rowid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Extent {
    pub(super) rows: u64,
    pub(super) first: Option<i64>,
    pub(super) last: Option<i64>,
}

impl Extent {
    /// True if the rowids run 1…n, so that SQLite assigns the same ones again.
    pub(super) fn is_gapless(self) -> bool {
        self.rows == 0 || self.first == Some(1) && self.last == i64::try_from(self.rows).ok()
    }
}

/// Describes an ordinary table.
pub(super) fn ordinary_table(
    entry: &Entry,
    columns: &[Column],
    key: &RowKey,
    extent: Extent,
    parents: Vec<String>,
) -> Table {
    let rowid = match key {
        RowKey::Rowid(name) if !extent.is_gapless() => Rowid::Kept(name),
        _ => Rowid::Implied,
    };
    Table {
        name: entry.name.clone(),
        sql: entry.sql.clone(),
        is_virtual: false,
        columns: visible(columns),
        rowid,
        order_by: key.order_by(),
        rows: extent.rows,
        content: Content::Rows,
        settings: Vec::new(),
        parents,
    }
}

/// Describes a virtual table of a module that SQLite has; `rows` is used only if the content is written.
pub(super) fn virtual_table(
    entry: &Entry,
    module: &Module,
    columns: &[Column],
    rows: u64,
    settings: Vec<(String, String)>,
) -> Table {
    let content = content_of_module(module);
    Table {
        name: entry.name.clone(),
        sql: entry.sql.clone(),
        is_virtual: true,
        columns: carried(columns, module),
        rowid: match module.is_full_text() {
            true => Rowid::Kept("rowid"),
            false => Rowid::Implied,
        },
        order_by: "rowid".to_owned(),
        rows: if content == Content::Rows { rows } else { 0 },
        content,
        settings,
        parents: Vec::new(),
    }
}

/// Returns the treatment of the rows of a virtual table.
pub(super) fn content_of_module(module: &Module) -> Content {
    match module.name.as_str() {
        "rtree" | "rtree_i32" => Content::Rows,
        _ if module.is_full_text() => match module.full_text() {
            FullText::Own => Content::Rows,
            FullText::External => Content::Rebuilt,
            FullText::Contentless => Content::Omitted(CONTENTLESS.to_owned()),
        },
        name => Content::Omitted(format!("the module `{name}` keeps no rows of its own")),
    }
}

const CONTENTLESS: &str =
    "a contentless full-text table holds an index of text that it does not keep";

/// Returns what SQL text cannot represent of a virtual table.
pub(super) fn loss_of_module(table: &str, module: &Module) -> Option<Exception> {
    if !module.is_full_text() {
        return None;
    }
    if module.full_text() == FullText::Contentless {
        return Some(exception(table, ExceptionKind::Rows, CONTENTLESS));
    }
    let is_on = |value: String| value.parse() != Ok(0);
    module.option("locale").is_some_and(is_on).then(|| {
        let reason = "the locale of each value cannot be written as SQL text";
        exception(table, ExceptionKind::Values, reason)
    })
}

pub(super) fn exception(object: &str, kind: ExceptionKind, reason: impl Into<String>) -> Exception {
    Exception {
        object: object.to_owned(),
        kind,
        reason: reason.into(),
    }
}

/// Names of the columns to read and to write.
pub(super) fn visible(columns: &[Column]) -> Vec<String> {
    let visible = columns.iter().filter(|column| !column.is_hidden);
    visible.map(|column| column.name.clone()).collect()
}

/// Names of the columns of a virtual table to read and to write: FTS4 hides the one with each row's language.
fn carried(columns: &[Column], module: &Module) -> Vec<String> {
    let language = match module.name.as_str() {
        "fts4" => module.option("languageid"),
        _ => None,
    };
    let is_language = |column: &&Column| {
        let language = language.as_ref();
        language.is_some_and(|language| column.name.eq_ignore_ascii_case(language))
    };
    let hidden = columns.iter().filter(|column| column.is_hidden);
    let language = hidden.filter(is_language).map(|column| column.name.clone());
    visible(columns).into_iter().chain(language).collect()
}

/// True for the names that D1 uses for its own tables.
pub(super) fn is_cloudflare(name: &str) -> bool {
    name.get(..4)
        .is_some_and(|start| start.eq_ignore_ascii_case("_cf_"))
}

/// Leaves out the rows of the tables in `skip_data`, and warns of every table without rows. Returns what the copy lacks
/// because of `skip_data`: rows, and the entries of search indexes over them.
pub(super) fn apply_skip_data(
    tables: &mut [Table],
    skip_data: &[String],
    warnings: &mut Vec<String>,
) -> Vec<Exception> {
    let mut chosen = Vec::new();
    for name in skip_data {
        match tables
            .iter_mut()
            .find(|table| table.name.eq_ignore_ascii_case(name))
        {
            Some(table) => {
                table.content = Content::Omitted(SKIP_DATA.to_owned());
                chosen.push(exception(&table.name, ExceptionKind::Rows, SKIP_DATA));
            }
            None => warnings.push(format!(
                "skip_data names table `{}`, which does not exist",
                quote::name(name)
            )),
        }
    }
    for table in tables {
        if let Content::Omitted(reason) = &table.content {
            warnings.push(format!(
                "the rows of table `{}` are left out: {}",
                quote::name(&table.name),
                quote::line(reason)
            ));
        }
        // Such an index may be built over any table or view.
        if table.content == Content::Rebuilt && !chosen.is_empty() {
            let reason = "it is built again over tables that `skip_data` may name";
            chosen.push(exception(&table.name, ExceptionKind::Index, reason));
        }
    }
    chosen
}

const SKIP_DATA: &str = "skip_data";

/// Sorts ordinary tables parents first, then virtual ones in schema order.
pub(super) fn in_dump_order(tables: Vec<Table>) -> Vec<Table> {
    let (ordinary, virtual_tables): (Vec<Table>, Vec<Table>) =
        tables.into_iter().partition(|table| !table.is_virtual);
    let links: Vec<(&str, Vec<String>)> = ordinary
        .iter()
        .map(|table| (table.name.as_str(), table.parents.clone()))
        .collect();
    let order = parents_first(&links);
    let mut slots: Vec<Option<Table>> = ordinary.into_iter().map(Some).collect();
    order
        .into_iter()
        .filter_map(|index| slots[index].take())
        .chain(virtual_tables)
        .collect()
}

/// Returns the indexes named in `early`, and the other indexes, views and triggers. Each group is in schema order.
pub(super) fn objects_of(
    entries: &[Entry],
    early: &HashSet<String>,
) -> (Vec<SchemaObject>, Vec<SchemaObject>) {
    let of_kind = |kind: &'static str| entries.iter().filter(move |entry| entry.kind == kind);
    let entries = ["index", "view", "trigger"].into_iter().flat_map(of_kind);
    let object = |entry: &Entry| SchemaObject {
        kind: entry.kind.clone(),
        name: entry.name.clone(),
        sql: entry.sql.clone(),
    };
    entries
        .map(object)
        .partition(|object| object.kind == "index" && early.contains(&object.name))
}

/// Returns the evidence of a table: the number of rows that are written, and their digest.
pub(super) fn evidence_of(table: &Table, hash: Option<ContentHash>) -> TableEvidence {
    TableEvidence {
        name: table.name.clone(),
        rows: table.written_rows(),
        hash,
        omitted: match &table.content {
            Content::Omitted(reason) => Some(reason.clone()),
            Content::Rows | Content::Rebuilt => None,
        },
    }
}

/// Returns the rows of `sqlite_sequence` that belong to existing tables and have a number, which are those that version
/// 0.1 recorded.
pub(super) fn known_numbers(
    sequence: Option<&[SequenceRow]>,
    entries: &[Entry],
) -> Vec<SequenceRow> {
    let mut rows = sequence.unwrap_or_default().to_vec();
    rows.retain(|row| {
        let (name, seq) = row.told();
        row.name.starts_with('\'')
            && seq.parse::<i64>().is_ok()
            && entries.iter().any(|entry| entry.name == name)
    });
    rows
}

/// Computes the digest of every schema entry, `sqlite_sequence` and the text encoding.
pub(super) fn digest(
    entries: &[Entry],
    sequence: Option<&[SequenceRow]>,
    encoding: TextEncoding,
) -> Sha256 {
    // The form in which version 0.1 wrote texts, so that its copies still have the same digest.
    let texts: Vec<String> = entries
        .iter()
        .map(|entry| closed(entry.sql.trim_end_matches(BLANKS)))
        .collect();
    let mut lines: Vec<[&str; 4]> = entries
        .iter()
        .zip(&texts)
        .map(|(entry, text)| [&*entry.kind, &*entry.name, &*entry.table, text])
        .collect();
    lines.sort_unstable();
    let mut hasher = Hasher::default();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    lines.iter().flatten().for_each(|text| add(text));
    for row in sequence.unwrap_or_default() {
        let (name, seq) = row.told();
        add(&name);
        add(&seq);
    }
    add(encoding.pragma_name());
    hasher.finish()
}

const BLANKS: [char; 5] = [' ', '\t', '\n', '\r', '\x0c'];

/// Closes a block comment that is open at the end of a text.
fn closed(sql: &str) -> String {
    match text_end(sql) {
        TextEnd::BlockComment => format!("{sql} */"),
        TextEnd::Clean | TextEnd::LineComment => sql.to_owned(),
    }
}

/// Ends the comments in which a text ends, so that a `;` can follow; returns an exception for each text that changes.
pub(super) fn close_texts(entries: &mut [Entry]) -> Vec<Exception> {
    let mut losses = Vec::new();
    for Entry {
        kind, name, sql, ..
    } in entries
    {
        let end = match text_end(sql) {
            // SQLite drops blanks at the end of a view's text, including the newline that ends the comment.
            TextEnd::LineComment if kind == "view" => continue,
            TextEnd::Clean => continue,
            TextEnd::LineComment => "\n",
            TextEnd::BlockComment => " */",
        };
        sql.push_str(end);
        let reason = "its text ends inside a comment, which must end before the next statement";
        losses.push(exception(name, ExceptionKind::Schema, reason));
    }
    losses
}

/// A foreign key: the parent, and the referenced columns, lower case and sorted; an empty list means the primary key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignKey {
    pub(super) parent: String,
    pub(super) columns: Vec<String>,
}

/// A `CREATE UNIQUE INDEX` over all rows: its table, and its columns, lower case and sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UniqueIndex {
    pub(super) name: String,
    pub(super) table: String,
    pub(super) columns: Vec<String>,
}

/// Returns the indexes that foreign keys depend on. A key may refer to columns that are unique only because of a
/// separate index; with foreign keys on, no child's row can be written before that index exists.
pub(super) fn indexes_for_keys(keys: &[ForeignKey], indexes: &[UniqueIndex]) -> HashSet<String> {
    let is_needed = |index: &&UniqueIndex| {
        keys.iter().any(|key| {
            key.parent.eq_ignore_ascii_case(&index.table) && key.columns == index.columns
        })
    };
    let needed = indexes.iter().filter(is_needed);
    needed.map(|index| index.name.clone()).collect()
}

/// Warns of schema text that other tools change. It is stored verbatim, so the change cannot be prevented.
pub(super) fn warn_of_schema_text(entries: &[Entry], warnings: &mut Vec<String>) {
    for Entry {
        kind, name, sql, ..
    } in entries
    {
        let name = quote::name(name);
        if sql.contains("\r\n") {
            warnings.push(format!(
                "the text of {kind} `{name}` has CRLF line ends, which the `sqlite3` shell turns into LF"
            ));
        }
        if let Some(line) = early_end(sql) {
            warnings.push(format!(
                "the text of {kind} `{name}` has a line with only `{line}`, which the `sqlite3` shell takes for the end of \
                 the statement: restore it with `patina restore`"
            ));
        }
        if sql.contains("BEGIN TRANSACTION") {
            warnings.push(format!(
                "the text of {kind} `{name}` holds the words BEGIN TRANSACTION, which wrangler refuses or cuts out"
            ));
        }
    }
}
