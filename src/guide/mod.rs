//! Tells how to get databases back, for this configuration and the copies there are. Invariant: every command is whole: it
//! runs as it is printed, by a person who knows nothing else.

mod command;
mod copies;
mod document;
mod image;
mod keys;
mod page;
mod rescue;
mod runbook;
mod ways;

pub use copies::Available;
pub use runbook::Runbook;

use std::path::PathBuf;

use crate::catalog::{Catalog, CatalogError};
use crate::config::{Config, SourceSpec};
use crate::types::{DatabaseName, Manifest, ObjectKey, Priority};

use copies::Known;

/// How to get one database back.
#[derive(Debug, Clone)]
pub struct Guide {
    /// The database.
    pub database: DatabaseName,
    /// Where it was read from, and where it goes.
    pub home: Home,
    /// What it holds, for people; may be empty.
    pub description: String,
    /// How urgent it is; `None`: it left the configuration.
    pub priority: Option<Priority>,
    /// Whether its tables lost rows, and no person has said yet that this is right.
    pub lacks_rows: bool,
    /// The databases that are restored before it.
    pub restore_after: Vec<DatabaseName>,
    /// Why it has its place in the order of restore; may be empty.
    pub reason: String,
    /// Every copy there is, the newest first.
    pub copies: Vec<Available>,
    /// The copy that the commands name: the one asked for, or the newest good one; `None`: there is none.
    pub chosen: Option<Chosen>,
    /// Ways to get it back, the best first; none without a copy, but for Time Travel.
    pub ways: Vec<Way>,
}

/// What a database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// A Cloudflare D1 database, by its UUID.
    D1(String),
    /// A SQLite file.
    Sqlite(PathBuf),
}

impl Home {
    /// The UUID or the path.
    pub fn id(&self) -> String {
        match self {
            Self::D1(id) => id.clone(),
            Self::Sqlite(path) => path.display().to_string(),
        }
    }
}

/// The copy that a guide is about.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Its commit record.
    pub manifest: Manifest,
    /// The archive that holds it, where it lies in no storage by itself.
    pub archive: Option<String>,
}

/// One way to get a database back.
#[derive(Debug, Clone)]
pub struct Way {
    /// Its key in the JSON document, such as `method1_wrangler`.
    pub key: String,
    /// Its name, for people.
    pub name: String,
    /// What to do, in this order.
    pub steps: Vec<Step>,
    /// What it destroys.
    pub warning: Option<String>,
    /// What is good to know.
    pub note: Option<String>,
}

/// One thing to do.
#[derive(Debug, Clone)]
pub struct Step {
    /// What, in a sentence without a period.
    pub say: String,
    /// The command that does it; `None`: a person does.
    pub command: Option<String>,
}

impl Guide {
    /// How to get `database` back from its newest good copy, or from the one with the key `copy` where one is given.
    /// `None`: neither the configuration nor the catalog knows this database.
    ///
    /// # Errors
    /// Where the catalog cannot be read.
    pub fn read(
        config: &Config,
        catalog: &Catalog,
        database: &DatabaseName,
        copy: Option<&ObjectKey>,
    ) -> Result<Option<Self>, CatalogError> {
        let known = copies::of(catalog, database)?;
        let configured = config.database(database);
        let home = match (configured, known.first()) {
            (Some(database), _) => home(&database.source),
            (None, Some(copy)) => home_of(&copy.manifest),
            (None, None) => return Ok(None),
        };
        let chosen = choose(&known, copy);
        Ok(Some(Self {
            ways: ways::all(config, &home, database, chosen),
            lacks_rows: catalog.lacks_rows(database)?,
            database: database.clone(),
            home,
            description: configured.map_or(String::new(), |database| database.description.clone()),
            priority: configured.map(|database| database.priority),
            restore_after: configured.map_or(Vec::new(), |one| one.restore_after.clone()),
            reason: configured.map_or(String::new(), |one| one.reason.clone()),
            chosen: chosen.map(|copy| Chosen {
                manifest: copy.manifest.clone(),
                archive: copy.archive.as_ref().map(ToString::to_string),
            }),
            copies: known.iter().map(Known::available).collect(),
        }))
    }
}

/// The copy of this key; without one the newest that counts, or where none does the newest at all: a suspect one only
/// where there is no other.
fn choose<'a>(known: &'a [Known], key: Option<&ObjectKey>) -> Option<&'a Known> {
    let is_wanted = |copy: &&Known| match key {
        Some(key) => copy.manifest.key == *key,
        None => copy.is_good(),
    };
    known
        .iter()
        .find(is_wanted)
        .or_else(|| {
            known
                .iter()
                .find(|copy| key.is_none() && !copy.is_suspect())
        })
        .or_else(|| known.first().filter(|_| key.is_none()))
}

fn home(source: &SourceSpec) -> Home {
    match source {
        SourceSpec::D1 { id, .. } => Home::D1(id.clone()),
        SourceSpec::Sqlite(path) => Home::Sqlite(path.clone()),
    }
}

fn home_of(manifest: &Manifest) -> Home {
    let source = &manifest.source;
    match source.kind.as_str() {
        "d1" => Home::D1(source.id.clone()),
        _ => Home::Sqlite(PathBuf::from(&source.id)),
    }
}
