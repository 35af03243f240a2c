//! Plans the statements for a D1 database, and reads the answers.

use std::collections::{BTreeMap, HashSet};

use super::index::Carried;
use super::sums::Summed;
use super::{CloudError, CloudInventory, CloudTable, Texts};
use crate::crosscheck::inventory::{SchemaEntry, free_name, is_of_sqlite};
use crate::crosscheck::module::{self, Family, Virtual};
use crate::crosscheck::quoted;

/// `hidden` value of a generated column that is computed when it is read, not stored.
const IS_COMPUTED: i64 = 2;

/// The statements for a schema that was read before. The same text runs on D1 and on a restored copy.
#[derive(Debug, Clone)]
pub struct CloudPlan {
    pub(super) schema: BTreeMap<(String, String), SchemaEntry>,
    pub(super) tables: Vec<CloudTable>,
    /// Search indexes that are not built from rows in the copy.
    pub(super) indexes: Vec<Carried>,
    pub(super) virtuals: Vec<Virtual>,
    /// Existing tables of SQLite's own, which are compared row by row.
    listed: Vec<(&'static str, String)>,
}

/// One column.
#[derive(Debug, Clone)]
struct Column {
    name: String,
    key_place: i64,
    hidden: i64,
    /// Its other properties as text.
    facts: String,
}

impl CloudPlan {
    /// The statements whose answers a plan is made from; [`Self::statements`] begins with them, too. Tables that D1
    /// uses for itself cannot be read and are not part of the user's database.
    pub const SCHEMA: [&'static str; 3] = [
        "SELECT 't'||hex(type),'t'||hex(name),'t'||hex(tbl_name),CASE WHEN sql IS NULL THEN 't-' ELSE 't'||hex(sql) END,\
         't'||(coalesce(rootpage,0)>0) FROM sqlite_schema WHERE lower(name) NOT GLOB '_cf_*' \
         AND lower(tbl_name) NOT GLOB '_cf_*' ORDER BY type,name",
        "SELECT 't'||hex(s.name),'t'||hex(c.name),'t'||c.pk,'t'||c.hidden,\
         't'||hex(c.type)||' '||c.\"notnull\"||' '||coalesce(hex(c.dflt_value),'-') \
         FROM sqlite_schema AS s JOIN pragma_table_xinfo(s.name) AS c \
         WHERE s.type='table' AND lower(s.name) NOT GLOB '_cf_*' ORDER BY s.name,c.cid",
        "SELECT 't'||hex(name) FROM pragma_table_list WHERE schema='main' AND wr AND lower(name) NOT GLOB '_cf_*'",
    ];

    /// Makes a plan from the answers to [`Self::SCHEMA`]. The rows of the tables in `only_counted` are only counted.
    ///
    /// # Errors
    /// If the answers have another shape.
    pub fn new(answers: &[Texts], only_counted: &[String]) -> Result<Self, CloudError> {
        let [entries, columns, without_rowid] = answers else {
            return Err(CloudError::Misshapen);
        };
        let (mut schema, mut with_tree) = (BTreeMap::new(), Vec::new());
        for row in entries {
            let (kind, name) = (unhexed(row, 0)?, unhexed(row, 1)?);
            if cell(row, 4)? == "1" && kind == "table" {
                with_tree.push(name.clone());
            }
            let sql = match cell(row, 3)? {
                "-" => None,
                hex => Some(super::unhex(hex).ok_or(CloudError::Misshapen)?),
            };
            let table = unhexed(row, 2)?;
            schema.insert((kind, name), SchemaEntry { table, sql });
        }
        let columns = read_columns(columns)?;
        let without_rowid: HashSet<String> = without_rowid
            .iter()
            .map(|row| unhexed(row, 0))
            .collect::<Result<_, _>>()?;
        let texts: Vec<(String, String)> = virtual_texts(&schema, &with_tree);
        let virtuals = module::look_at(&texts)?;
        let owners = module::owners(&virtuals);
        let mut tables = Vec::new();
        for name in &with_tree {
            let owner = owners
                .get(&name.to_ascii_lowercase())
                .map(|at| &virtuals[*at]);
            if owner.is_some_and(|owner| owner.is_index_storage(name)) {
                continue;
            }
            let columns = columns.get(name).map_or(&[][..], Vec::as_slice);
            let is_counted = is_named(name, only_counted);
            let has_rowid = !without_rowid.contains(name);
            tables.push(planned(name, columns, owner, has_rowid, is_counted));
        }
        for table in virtuals
            .iter()
            .filter(|table| table.family == Family::Rtree)
        {
            let columns = columns.get(&table.name).map_or(&[][..], Vec::as_slice);
            tables.push(planned_rtree(
                table,
                columns,
                is_named(&table.name, only_counted),
            ));
        }
        let indexes = virtuals
            .iter()
            .zip(&texts)
            .filter_map(|(table, (_, sql))| {
                Carried::of(table, sql, |name| names(columns.get(name)))
            })
            .collect();
        forget_texts(&mut schema, &virtuals);
        Ok(Self {
            listed: listed(&with_tree),
            schema,
            tables,
            indexes,
            virtuals,
        })
    }

    /// Returns the statements for one transaction: [`Self::SCHEMA`], then everything else.
    pub fn statements(&self, has_atan2: bool) -> Vec<String> {
        let mut statements = self.head();
        for table in &self.tables {
            statements.extend(table.statements(None, None, has_atan2));
        }
        for index in &self.indexes {
            statements.extend(index.statements());
        }
        statements
    }

    /// Reads the answers to [`Self::statements`].
    ///
    /// # Errors
    /// If they have another shape, and [`CloudError::Changed`] if the schema is a different one.
    pub fn read(&self, has_atan2: bool, answers: &[Texts]) -> Result<CloudInventory, CloudError> {
        let mut rest = answers;
        let mut take = |count: usize| {
            let (taken, others) = rest.split_at_checked(count).ok_or(CloudError::Misshapen)?;
            rest = others;
            Ok::<_, CloudError>(taken)
        };
        let mut inventory = self.begin(has_atan2, take(self.head().len())?)?;
        for table in &self.tables {
            let count = table.statements(None, None, has_atan2).len();
            let mut table = table.clone();
            table.add(take(count)?)?;
            inventory.put(table);
        }
        for index in &self.indexes {
            let vocabulary = index.vocabulary(take(index.statements().len())?)?;
            inventory.put_index(index.name(), vocabulary);
        }
        Ok(inventory)
    }

    /// Returns the statements before those of tables and search indexes.
    pub fn head(&self) -> Vec<String> {
        let mut statements: Vec<String> = Self::SCHEMA.map(str::to_owned).to_vec();
        statements.extend(self.listed.iter().map(|(_, sql)| sql.clone()));
        statements
    }

    /// Creates an inventory from the answers to [`Self::head`]; tables and search indexes are inserted later.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn begin(&self, has_atan2: bool, answers: &[Texts]) -> Result<CloudInventory, CloudError> {
        let (schema, listed) = answers
            .split_at_checked(Self::SCHEMA.len())
            .ok_or(CloudError::Misshapen)?;
        let counted: Vec<String> = self
            .counted()
            .map(|table| table.name().to_owned())
            .collect();
        let found = Self::new(schema, &counted)?;
        if found.schema != self.schema || found.tables.len() != self.tables.len() {
            return Err(CloudError::Changed);
        }
        if found
            .tables
            .iter()
            .zip(&self.tables)
            .any(|(a, b)| !a.is_like(b))
        {
            return Err(CloudError::Changed);
        }
        let listed = self.listed.iter().zip(listed);
        Ok(CloudInventory {
            has_atan2,
            only_counted: counted,
            schema: self.schema.clone(),
            tables: BTreeMap::new(),
            indexes: BTreeMap::new(),
            listed: listed
                .map(|((name, _), rows)| (*name, rows.clone()))
                .collect(),
        })
    }

    /// The tables to add up.
    pub fn tables(&self) -> &[CloudTable] {
        &self.tables
    }

    /// The search indexes to read.
    pub fn indexes(&self) -> &[Carried] {
        &self.indexes
    }

    fn counted(&self) -> impl Iterator<Item = &CloudTable> {
        self.tables.iter().filter(|table| table.is_only_counted)
    }
}

fn is_named(name: &str, names: &[String]) -> bool {
    names.iter().any(|other| other.eq_ignore_ascii_case(name))
}

fn names(columns: Option<&Vec<Column>>) -> Vec<String> {
    let columns = columns.map_or(&[][..], Vec::as_slice);
    columns.iter().map(|column| column.name.clone()).collect()
}

fn facts(columns: &[Column]) -> Vec<String> {
    let fact = |column: &Column| {
        let Column {
            name,
            key_place,
            hidden,
            facts,
        } = column;
        format!("{name} {key_place} {hidden} {facts}")
    };
    columns.iter().map(fact).collect()
}

fn planned(
    name: &str,
    columns: &[Column],
    owner: Option<&Virtual>,
    has_rowid: bool,
    is_only_counted: bool,
) -> CloudTable {
    let stored: Vec<String> = columns
        .iter()
        .filter(|column| column.hidden != IS_COMPUTED)
        .map(|column| column.name.clone())
        .collect();
    let all: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let rowid = match has_rowid && !is_of_sqlite(name) {
        true => free_name(&all).map(str::to_owned),
        false => None,
    };
    let mut key: Vec<&Column> = columns
        .iter()
        .filter(|column| column.key_place > 0)
        .collect();
    key.sort_by_key(|column| column.key_place);
    let key: Vec<String> = match key.is_empty() {
        true => stored.clone(),
        false => key.iter().map(|column| column.name.clone()).collect(),
    };
    // The version of an index's storage is not part of its content.
    let is_config = owner.is_some_and(|owner| {
        owner.family == Family::Fts5 && name.strip_prefix(owner.name.as_str()) == Some("_config")
    });
    CloudTable::new(
        Summed {
            name: name.to_owned(),
            columns: stored,
            rowid,
            key,
            is_virtual: false,
            condition: is_config.then_some("k<>'version'"),
        },
        owner.map(|owner| owner.name.clone()),
        facts(columns),
        is_only_counted,
    )
}

/// Plans an R-tree by the rows that it shows; their order on disk does not matter.
fn planned_rtree(table: &Virtual, columns: &[Column], is_only_counted: bool) -> CloudTable {
    let shown = columns.iter().filter(|column| column.hidden == 0);
    let shown: Vec<String> = shown.map(|column| column.name.clone()).collect();
    CloudTable::new(
        Summed {
            name: table.name.clone(),
            rowid: shown.first().map(|id| quoted(id)),
            columns: shown,
            key: Vec::new(),
            is_virtual: true,
            condition: None,
        },
        None,
        facts(columns),
        is_only_counted,
    )
}

fn read_columns(rows: &Texts) -> Result<BTreeMap<String, Vec<Column>>, CloudError> {
    let mut columns: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    for row in rows {
        columns.entry(unhexed(row, 0)?).or_default().push(Column {
            name: unhexed(row, 1)?,
            key_place: super::number(row, 2)?,
            hidden: super::number(row, 3)?,
            facts: cell(row, 4)?.to_owned(),
        });
    }
    Ok(columns)
}

/// Returns names and texts of the tables that have no b-tree.
fn virtual_texts(
    schema: &BTreeMap<(String, String), SchemaEntry>,
    with_tree: &[String],
) -> Vec<(String, String)> {
    let is_virtual = |name: &String| !with_tree.contains(name);
    let tables = schema
        .iter()
        .filter(|((kind, name), _)| kind == "table" && is_virtual(name));
    let text = |((_, name), entry): (&(String, String), &SchemaEntry)| {
        let sql = String::from_utf8(entry.sql.clone()?).ok()?;
        Some((name.clone(), sql))
    };
    tables.filter_map(text).collect()
}

/// Removes the texts of tables that a module created: they are the module's own, and another version writes different
/// ones; the columns of these tables are compared.
fn forget_texts(schema: &mut BTreeMap<(String, String), SchemaEntry>, virtuals: &[Virtual]) {
    let owners = module::owners(virtuals);
    for ((kind, name), entry) in schema {
        if kind == "table" && owners.contains_key(&name.to_ascii_lowercase()) {
            entry.sql = None;
        }
    }
}

/// Returns the statements for the rows of SQLite's own tables, each value by its type.
fn listed(with_tree: &[String]) -> Vec<(&'static str, String)> {
    let tables: [(&str, &[&str]); 2] = [
        ("sqlite_sequence", &["name", "seq"]),
        ("sqlite_stat1", &["tbl", "idx", "stat"]),
    ];
    let is_there = |name: &str| with_tree.iter().any(|other| other == name);
    let tables = tables.into_iter().filter(|(name, _)| is_there(name));
    let select = |(name, columns): (&'static str, &[&str])| {
        let terms: Vec<String> = columns.iter().map(|column| super::typed(column)).collect();
        let places: Vec<String> = (1..=columns.len()).map(|at| at.to_string()).collect();
        let sql = format!(
            "SELECT {} FROM {name} ORDER BY {}",
            terms.join(","),
            places.join(",")
        );
        (name, sql)
    };
    tables.map(select).collect()
}

pub(super) fn cell(row: &[String], at: usize) -> Result<&str, CloudError> {
    row.get(at).map(String::as_str).ok_or(CloudError::Misshapen)
}

/// Decodes a text in hex; bytes in a name that are not UTF-8 are detected by the schema's own digest.
fn unhexed(row: &[String], at: usize) -> Result<String, CloudError> {
    let bytes = super::unhex(cell(row, at)?).ok_or(CloudError::Misshapen)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
