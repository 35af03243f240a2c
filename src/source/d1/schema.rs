//! Reads a database's schema over the API, and the data that the dump needs before the first row.

use std::collections::{HashMap, HashSet};

use super::answer::Cell;
use super::error::ApiError;
use super::schema_rows::{
    count, integer, read_columns, read_entries, read_foreign_keys, read_keys, read_list,
    read_unique_indexes, shadows,
};
pub(super) use super::schema_rows::{misshapen, text};
use crate::dump::{Content, Database, SequenceRow, Statistics, Table, TextEncoding, quoted_name};
use crate::quote;
use crate::source::describe::{
    self, Column, Entry, Extent, RowKey, apply_skip_data, close_texts, exception, in_dump_order,
    indexes_for_keys, is_cloudflare, known_numbers, loss_of_module, objects_of, ordinary_table,
    virtual_table, warn_of_schema_text,
};
use crate::source::virtual_table::Module;
use crate::types::{Exception, ExceptionKind, Sha256, counted, either};

/// The modules of D1; `pragma_module_list` is not available there.
const MODULES: &[&str] = &["fts5", "fts5vocab", "rtree", "rtree_i32"];

/// A result set of D1 has at most 100 columns; two for each of the table's, and three more.
const SIZED_COLUMNS: usize = 45;

/// The result rows of one statement.
pub(super) type Rows = Vec<Vec<Cell>>;

/// Capabilities of this database, found by trying.
#[derive(Debug, Clone, Copy)]
pub(super) struct Skills {
    /// `atan2` distinguishes −0.0 from 0.0.
    pub(super) atan2: bool,
    /// The settings of full-text tables can be read.
    pub(super) settings: bool,
    /// Foreign keys can be checked.
    pub(super) key_check: bool,
    /// D1 has time to compute the sizes of all values.
    pub(super) sizes: bool,
}

impl Default for Skills {
    fn default() -> Self {
        Self {
            atan2: true,
            settings: true,
            key_check: true,
            sizes: true,
        }
    }
}

impl Skills {
    /// Gives up the capability that `error` refers to; returns false if it refers to none that can be given up.
    pub(super) fn learn(&mut self, error: &ApiError) -> bool {
        let skill = match error {
            ApiError::Refused { message, .. } if message.contains("atan2") => &mut self.atan2,
            ApiError::Refused { message, .. } if message.contains("foreign key mismatch") => {
                &mut self.key_check
            }
            ApiError::Refused { message, .. }
                if message.contains("_config") || message.contains("not authorized") =>
            {
                &mut self.settings
            }
            error if error.wants_less() && self.sizes => &mut self.sizes,
            error if error.wants_less() => &mut self.key_check,
            _ => return false,
        };
        std::mem::replace(skill, false)
    }
}

/// Change counter: a cheap value that every write and nearly every change of the schema alters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pulse {
    /// Rows changed since the database was loaded; falls back to 0 after some seconds without a request.
    pub(super) changes: i64,
    schema: (i64, i64),
}

impl Pulse {
    pub(super) const SQL: &str = "SELECT quote(total_changes()),quote(count(*)),\
        quote(coalesce(sum(length(sql)+length(name)),0)) FROM sqlite_schema";

    pub(super) fn read(rows: &Rows) -> Result<Self, ApiError> {
        let row = rows.first().ok_or_else(misshapen)?;
        Ok(Self {
            changes: integer(row, 0)?,
            schema: (integer(row, 1)?, integer(row, 2)?),
        })
    }

    /// True if the schema is certainly different.
    pub(super) fn has_other_schema(&self, other: &Self) -> bool {
        self.schema != other.schema
    }
}

/// A database's schema.
#[derive(Debug)]
pub(super) struct Schema {
    /// Entries that belong to the user.
    pub(super) entries: Vec<Entry>,
    pub(super) tables: Vec<TableSchema>,
    /// Tables that are missing from the dump.
    pub(super) missing: Vec<String>,
    /// Indexes that foreign keys depend on.
    early: HashSet<String>,
    warnings: Vec<String>,
    /// Losses: what SQL text cannot represent.
    pub(super) losses: Vec<Exception>,
    has_sequence: bool,
    has_statistics: bool,
}

/// One table's schema.
#[derive(Debug)]
pub(super) struct TableSchema {
    pub(super) entry: Entry,
    pub(super) module: Option<Module>,
    pub(super) columns: Vec<Column>,
    pub(super) key: RowKey,
    pub(super) parents: Vec<String>,
}

impl Schema {
    /// The statements that read the schema.
    pub(super) const SQL: [&str; 6] = [
        "SELECT 'x'||hex(type),'x'||hex(name),'x'||hex(tbl_name),'x'||hex(sql) FROM sqlite_schema \
         WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
        "SELECT 'x'||hex(name),'t'||type,quote(wr) FROM pragma_table_list WHERE schema='main'",
        "SELECT 'x'||hex(l.name),'x'||hex(c.name),'x'||hex(c.type),quote(c.pk),quote(c.hidden) \
         FROM pragma_table_list AS l JOIN pragma_table_xinfo(l.name) AS c \
         WHERE l.schema='main' AND l.type IN ('table','virtual','shadow') AND l.name NOT LIKE '\\_cf\\_%' ESCAPE '\\' \
         ORDER BY l.name,c.cid",
        "SELECT 'x'||hex(l.name),'x'||hex(k.name),quote(k.\"desc\"),'t'||k.coll FROM pragma_table_list AS l \
         JOIN pragma_index_list(l.name) AS i JOIN pragma_index_xinfo(i.name) AS k \
         WHERE l.schema='main' AND l.type IN ('table','shadow') AND l.name NOT LIKE '\\_cf\\_%' ESCAPE '\\' \
         AND i.origin='pk' AND k.key=1 ORDER BY l.name,k.seqno",
        "SELECT 'x'||hex(l.name),quote(f.id),'x'||hex(f.\"table\"),CASE WHEN f.\"to\" IS NULL THEN 'NULL' ELSE \
         'x'||hex(lower(f.\"to\")) END FROM pragma_table_list AS l JOIN pragma_foreign_key_list(l.name) AS f \
         WHERE l.schema='main' AND l.type IN ('table','shadow') AND l.name NOT LIKE '\\_cf\\_%' ESCAPE '\\' \
         ORDER BY l.name,f.id,f.seq",
        "SELECT 'x'||hex(l.name),'x'||hex(i.name),CASE WHEN k.name IS NULL THEN 'NULL' ELSE 'x'||hex(lower(k.name)) END \
         FROM pragma_table_list AS l JOIN pragma_index_list(l.name) AS i JOIN pragma_index_info(i.name) AS k \
         WHERE l.schema='main' AND l.type IN ('table','shadow') AND l.name NOT LIKE '\\_cf\\_%' ESCAPE '\\' \
         AND i.\"unique\" AND i.origin='c' AND NOT i.partial ORDER BY l.name,i.name",
    ];

    /// Reads the answers to [`Self::SQL`].
    pub(super) fn read(answers: &[Rows]) -> Result<Self, ApiError> {
        let [entries, listed, columns, keys, foreign, indexes] = answers else {
            return Err(misshapen());
        };
        let (names, without_rowid) = read_list(listed)?;
        let mut entries = read_entries(entries)?;
        entries.retain(|entry| !is_cloudflare(&entry.name) && !is_cloudflare(&entry.table));
        let shadows = shadows(&entries);
        entries.retain(|entry| entry.kind != "table" || !shadows.contains(&entry.name));
        let mut columns = read_columns(columns)?;
        let keys = read_keys(keys)?;
        let mut foreign = read_foreign_keys(foreign)?;
        let mut schema = Self {
            early: HashSet::new(),
            entries: Vec::new(),
            tables: Vec::new(),
            missing: Vec::new(),
            warnings: Vec::new(),
            losses: close_texts(&mut entries),
            has_sequence: names.iter().any(|name| name == "sqlite_sequence"),
            has_statistics: names.iter().any(|name| name == "sqlite_stat1"),
        };
        if names.iter().any(|name| name == "sqlite_stat4") {
            let reason = "the stock `sqlite3` shell has no such table";
            let kind = ExceptionKind::Missing;
            schema.losses.push(exception("sqlite_stat4", kind, reason));
        }
        let mut foreign_keys = Vec::new();
        for entry in entries.iter().filter(|entry| entry.kind == "table") {
            let module = entry.module();
            if let Some(module) = module.as_ref().filter(|m| !MODULES.contains(&&*m.name)) {
                schema.warnings.push(format!(
                    "table `{}` is left out: its module `{}` is not one of D1's, so its schema cannot be read",
                    quote::name(&entry.name),
                    quote::name(&module.name)
                ));
                schema.missing.push(entry.name.clone());
                let reason = format!("its module `{}` is not one of D1's", module.name);
                let kind = ExceptionKind::Missing;
                schema.losses.push(exception(&entry.name, kind, reason));
                continue;
            }
            if let Some(module) = &module {
                schema.losses.extend(loss_of_module(&entry.name, module));
            }
            let columns = columns.remove(&entry.name).unwrap_or_default();
            let has_rowid = !without_rowid.contains(&entry.name);
            let key = match module {
                Some(_) => RowKey::Rowid("rowid"),
                None => RowKey::of(
                    &columns,
                    has_rowid,
                    keys.get(&entry.name).map(Vec::as_slice),
                ),
            };
            let own = foreign.remove(&entry.name).unwrap_or_default();
            let mut parents: Vec<String> = Vec::new();
            for key in &own {
                if !parents.contains(&key.parent) {
                    parents.push(key.parent.clone());
                }
            }
            foreign_keys.extend(own);
            schema.tables.push(TableSchema {
                parents,
                entry: entry.clone(),
                module,
                columns,
                key,
            });
        }
        let missing = &schema.missing;
        entries.retain(|entry| !missing.contains(&entry.name) && !missing.contains(&entry.table));
        schema.entries = entries;
        schema.early = indexes_for_keys(&foreign_keys, &read_unique_indexes(indexes)?);
        Ok(schema)
    }

    /// Returns the key that identifies the rows of `table`.
    pub(super) fn key(&self, table: &Table) -> &RowKey {
        let found = self
            .tables
            .iter()
            .find(|other| other.entry.name == table.name);
        found.map_or(&RowKey::Scan, |table| &table.key)
    }

    /// Returns the tables in dump order, without row counts.
    pub(super) fn shapes(&self, skip_data: &[String]) -> Vec<Table> {
        let shape = |table: &TableSchema| table.described(Extent::default(), Vec::new());
        let mut tables: Vec<Table> = self.tables.iter().map(shape).collect();
        apply_skip_data(&mut tables, skip_data, &mut Vec::new());
        in_dump_order(tables)
    }

    /// Returns the statements whose answers [`Self::describe`] takes; the caller may spread them over several requests.
    pub(super) fn facts_sql(&self, skills: Skills) -> Vec<String> {
        let mut statements = Vec::new();
        for table in self.tables.iter().filter(|table| table.has_rows()) {
            statements.extend(table.facts_sql(skills.sizes));
        }
        for table in self
            .tables
            .iter()
            .filter(|table| skills.settings && table.has_settings())
        {
            let shadow = quoted_name(&format!("{}_config", table.entry.name));
            statements.push(format!(
                "SELECT 'x'||hex(k),'x'||hex(quote(v)) FROM {shadow} WHERE k<>'version' ORDER BY k"
            ));
        }
        if self.has_sequence {
            statements.push(
                "SELECT 'x'||hex(quote(name)),'x'||hex(quote(seq)) FROM sqlite_sequence ORDER BY rowid"
                    .to_owned(),
            );
        }
        if self.has_statistics {
            statements.push(
                "SELECT 'x'||hex(quote(tbl)),'x'||hex(quote(idx)),'x'||hex(quote(stat)) \
                 FROM sqlite_stat1 ORDER BY rowid"
                    .to_owned(),
            );
        }
        if skills.key_check && self.has_parents() {
            statements.push("SELECT quote(count(*)) FROM pragma_foreign_key_check".to_owned());
        }
        statements
    }

    /// Builds the dump's description from the answers to [`Self::facts_sql`].
    pub(super) fn describe(
        &self,
        answers: Vec<Rows>,
        skills: Skills,
        skip_data: &[String],
    ) -> Result<Described, ApiError> {
        let mut answers = answers.into_iter();
        let mut next = || answers.next().ok_or_else(misshapen);
        let mut extents = HashMap::new();
        let mut sizes = HashMap::new();
        for table in self.tables.iter().filter(|table| table.has_rows()) {
            let (extent, size) = table.read_facts(skills.sizes, &mut next)?;
            extents.insert(&*table.entry.name, extent);
            sizes.extend(size.map(|size| (table.entry.name.clone(), size)));
        }
        let mut settings: HashMap<&str, Vec<(String, String)>> = HashMap::new();
        for table in self
            .tables
            .iter()
            .filter(|table| skills.settings && table.has_settings())
        {
            let rows = next()?;
            let pairs = rows.iter().map(|row| Ok((text(row, 0)?, text(row, 1)?)));
            settings.insert(&table.entry.name, pairs.collect::<Result<_, ApiError>>()?);
        }
        let mut sequence = None;
        if self.has_sequence {
            let rows = next()?;
            let rows = rows.iter().map(|row| {
                Ok(SequenceRow {
                    name: text(row, 0)?,
                    seq: text(row, 1)?,
                })
            });
            sequence = Some(rows.collect::<Result<Vec<_>, ApiError>>()?);
        }
        let mut statistics = None;
        if self.has_statistics {
            let rows = next()?;
            let rows = rows
                .iter()
                .map(|row| Ok([text(row, 0)?, text(row, 1)?, text(row, 2)?]));
            let rows = rows.collect::<Result<_, ApiError>>()?;
            statistics = Some(Statistics { rows });
        }
        let mut violations = 0;
        if skills.key_check && self.has_parents() {
            violations = count(next()?.first().ok_or_else(misshapen)?, 0)?;
        }
        let mut warnings = self.warnings.clone();
        if !skills.settings && self.tables.iter().any(TableSchema::has_settings) {
            warnings.push(
                "the settings of full-text tables cannot be read and are left out".to_owned(),
            );
        }
        let table = |table: &TableSchema| {
            let extent = extents.get(&*table.entry.name).copied().unwrap_or_default();
            let settings = settings.remove(&*table.entry.name).unwrap_or_default();
            table.described(extent, settings)
        };
        let mut tables: Vec<Table> = self.tables.iter().map(table).collect();
        let mut exceptions = self.losses.clone();
        exceptions.extend(apply_skip_data(&mut tables, skip_data, &mut warnings));
        exceptions.extend(rebuilt(&tables));
        exceptions.sort();
        exceptions.dedup_by(|a, b| a.object == b.object && a.kind == b.kind);
        warn_of_schema_text(&self.entries, &mut warnings);
        if violations > 0 {
            warnings.push(format!(
                "{} {} a foreign key: D1 refuses such rows on import",
                counted(violations, "row"),
                either(violations, "violates", "violate")
            ));
        }
        let (early_indexes, objects) = objects_of(&self.entries, &self.early);
        let numbers = known_numbers(sequence.as_deref(), &self.entries);
        let digest = describe::digest(&self.entries, Some(&numbers), TextEncoding::Utf8);
        let extents = extents
            .into_iter()
            .map(|(name, extent)| (name.to_owned(), extent));
        Ok(Described {
            digest,
            violations,
            warnings,
            exceptions,
            sizes,
            extents: extents.collect(),
            database: Database {
                tables: in_dump_order(tables),
                early_indexes,
                objects,
                sequence,
                statistics,
                ..Database::default()
            },
        })
    }

    fn has_parents(&self) -> bool {
        self.tables.iter().any(|table| !table.parents.is_empty())
    }
}

/// A database's description, and data that helps to read its rows.
#[derive(Debug)]
pub(super) struct Described {
    pub(super) database: Database,
    pub(super) digest: Sha256,
    pub(super) violations: u64,
    pub(super) warnings: Vec<String>,
    /// Parts of the database that the dump does not contain.
    pub(super) exceptions: Vec<Exception>,
    /// Sizes by table, if they were read.
    pub(super) sizes: HashMap<String, Sizes>,
    /// Extents by table.
    pub(super) extents: HashMap<String, Extent>,
}

/// Sizes of a table's values, in bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Largest value of each column.
    pub(super) largest: Vec<u64>,
    /// Sum over all values.
    pub(super) total: u64,
}

impl TableSchema {
    fn has_rows(&self) -> bool {
        match &self.module {
            None => true,
            Some(module) => describe::content_of_module(module) == Content::Rows,
        }
    }

    fn has_settings(&self) -> bool {
        self.module
            .as_ref()
            .is_some_and(|module| module.name == "fts5")
    }

    fn described(&self, extent: Extent, settings: Vec<(String, String)>) -> Table {
        match &self.module {
            Some(module) => {
                virtual_table(&self.entry, module, &self.columns, extent.rows, settings)
            }
            None => ordinary_table(
                &self.entry,
                &self.columns,
                &self.key,
                extent,
                self.parents.clone(),
            ),
        }
    }

    /// Returns the statements that count the rows and find the first and last rowid and the sizes, in one scan if
    /// possible.
    fn facts_sql(&self, with_sizes: bool) -> Vec<String> {
        let table = quoted_name(&self.entry.name);
        let ends = match &self.key {
            RowKey::Rowid(_) | RowKey::Column(_) if self.module.is_none() => {
                let key = self.key.order_by();
                format!(
                    "quote((SELECT min({key}) FROM {table})),quote((SELECT max({key}) FROM {table}))"
                )
            }
            _ => "'NULL','NULL'".to_owned(),
        };
        let mut terms = vec![format!("quote(count(*)),{ends}")];
        let mut statements = Vec::new();
        let columns = describe::visible(&self.columns);
        for columns in columns.chunks(SIZED_COLUMNS).filter(|_| with_sizes) {
            for column in columns {
                let column = quoted_name(column);
                terms.push(format!(
                    "quote(coalesce(max(octet_length({column})),0)),quote(coalesce(sum(octet_length({column})),0))"
                ));
            }
            statements.push(format!("SELECT {} FROM {table}", terms.join(",")));
            terms = vec!["'NULL','NULL','NULL'".to_owned()];
        }
        if statements.is_empty() {
            statements.push(format!("SELECT {} FROM {table}", terms.join(",")));
        }
        statements
    }

    fn read_facts(
        &self,
        with_sizes: bool,
        next: &mut impl FnMut() -> Result<Rows, ApiError>,
    ) -> Result<(Extent, Option<Sizes>), ApiError> {
        let mut extent = Extent::default();
        let mut sizes = Sizes::default();
        for at in 0..self.facts_sql(with_sizes).len() {
            let rows = next()?;
            let row = rows.first().ok_or_else(misshapen)?;
            if at == 0 {
                let end = |at: usize| match row.get(at) {
                    Some(Cell::Integer(rowid)) => Some(*rowid),
                    _ => None,
                };
                extent = Extent {
                    rows: count(row, 0)?,
                    first: end(1),
                    last: end(2),
                };
            }
            for at in (3..row.len()).step_by(2) {
                sizes.largest.push(count(row, at)?);
                sizes.total += count(row, at + 1)?;
            }
        }
        Ok((extent, with_sizes.then_some(sizes)))
    }
}

/// Returns an exception for each search index over another table. The check may still find that its entries are the
/// same.
fn rebuilt(tables: &[Table]) -> impl Iterator<Item = Exception> {
    let rebuilt = tables
        .iter()
        .filter(|table| table.content == Content::Rebuilt);
    rebuilt.map(|table| {
        let reason =
            "it is built again from the rows that it is over, which need not give the same entries";
        exception(&table.name, ExceptionKind::Index, reason)
    })
}
