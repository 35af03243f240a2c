//! Explains how to restore databases, for this configuration and its existing copies. Invariant: every command is
//! complete: it runs as printed, for a person without further knowledge.

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

/// Instructions to restore one database.
#[derive(Debug, Clone)]
pub struct Guide {
    /// The database.
    pub database: DatabaseName,
    /// Its source, and the target of the restore.
    pub home: Home,
    /// Description for people; may be empty.
    pub description: String,
    /// Priority; `None` if the database is no longer configured.
    pub priority: Option<Priority>,
    /// True if its tables lost rows and no person has acknowledged that yet.
    pub lacks_rows: bool,
    /// Databases that must be restored before it.
    pub restore_after: Vec<DatabaseName>,
    /// Reason for its place in the restore order; may be empty.
    pub reason: String,
    /// All existing copies, newest first.
    pub copies: Vec<Available>,
    /// The copy that the commands name: the one requested, or the newest good one; `None` if there is no copy.
    pub chosen: Option<Chosen>,
    /// Methods to restore it, best first; without a copy only Time Travel, if available.
    pub ways: Vec<Way>,
}

/// Location of a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Home {
    /// A Cloudflare D1 database, by its UUID.
    D1(String),
    /// A SQLite file.
    Sqlite(PathBuf),
}

impl Home {
    /// Returns the UUID or the path.
    pub fn id(&self) -> String {
        match self {
            Self::D1(id) => id.clone(),
            Self::Sqlite(path) => path.display().to_string(),
        }
    }
}

/// The copy that a guide describes.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// Commit record of the copy.
    pub manifest: Manifest,
    /// The archive that contains it, if it is not an object of its own.
    pub archive: Option<String>,
}

/// A method to restore a database.
#[derive(Debug, Clone)]
pub struct Way {
    /// Key in the JSON document, such as `method1_wrangler`.
    pub key: String,
    /// Name, for people.
    pub name: String,
    /// Steps, in this order.
    pub steps: Vec<Step>,
    /// Data that the method destroys.
    pub warning: Option<String>,
    /// Further information.
    pub note: Option<String>,
}

/// A step of a method.
#[derive(Debug, Clone)]
pub struct Step {
    /// Description, in a sentence without a period.
    pub say: String,
    /// The command; `None` if a person must act.
    pub command: Option<String>,
}

impl Guide {
    /// Returns the guide that restores `database` from its newest good copy, or from the copy with the key `copy` if
    /// given. `None`: neither the configuration nor the catalog knows this database.
    ///
    /// # Errors
    /// If the catalog cannot be read.
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

/// Returns the copy with this key; without a key the newest good one, else the newest that is not suspect, else the
/// newest.
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
