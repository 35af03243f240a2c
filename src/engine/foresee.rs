//! Says what a configuration lets go, before expiry acts on it. Reads the catalog alone and writes nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::{DateTime, Utc};

use super::scales::Scales;
use crate::catalog::{Catalog, CatalogError, Item, ItemContent};
use crate::config::Config;
use crate::retention::{Guards, decide};
use crate::types::{ByteCount, DatabaseName, ObjectKey, counted};

/// What may go under a configuration and stays under another.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Foreseen {
    /// Daily copies.
    pub daily: usize,
    /// Weekly archives.
    pub weekly: usize,
    /// Their bytes, in all storages.
    pub bytes: u64,
    /// Of how many objects there are in all.
    pub all: usize,
    /// How many objects of each database; an archive counts for each whose copies are in it.
    pub databases: BTreeMap<DatabaseName, usize>,
    /// Databases of which expiry lets nothing go before a person has agreed, and why.
    pub refused: BTreeMap<DatabaseName, String>,
}

/// What expiry may delete under `config`; of that, where there is a `before`, only what it may not delete under that
/// one. What keeps all of a database until a person looks (more than half of its copies would go) is told apart and
/// does not make the numbers smaller; what keeps everything for some hours (the clock, a new catalog) is left out.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn expirable(
    catalog: &Catalog,
    config: &Config,
    before: Option<&Config>,
    now: DateTime<Utc>,
) -> Result<Foreseen, CatalogError> {
    let items = catalog.items()?;
    // A storage that left the configuration is another matter: what lies there is as it was before.
    let knows = |storage: &str| config.storage(storage).is_some();
    let under = |config| {
        let scales = Scales {
            catalog,
            config,
            knows: &knows,
            now,
        };
        gone(&scales, &items)
    };
    let (mut keys, mut refused) = under(config)?;
    if let Some(before) = before {
        let (known, _) = under(before)?;
        keys.retain(|key| !known.contains(key));
    }
    let mut foreseen = Foreseen {
        all: items.len(),
        ..Foreseen::default()
    };
    for item in items.iter().filter(|item| keys.contains(&item.key)) {
        foreseen.add(item);
    }
    refused.retain(|database, _| foreseen.databases.contains_key(database));
    foreseen.refused = refused;
    Ok(foreseen)
}

type Gone = (BTreeSet<ObjectKey>, BTreeMap<DatabaseName, String>);

/// What goes once every person has agreed, and the databases of which nothing goes before.
fn gone(scales: &Scales<'_>, items: &[Item]) -> Result<Gone, CatalogError> {
    let care = scales.catalog.care(scales.now)?;
    let objects = scales.objects(items, &care)?;
    let mut situation = scales.situation(care, None, Guards::all());
    let refused = decide(&objects, &situation).refused;
    situation
        .acknowledged
        .extend(items.iter().flat_map(databases));
    let keys = decide(&objects, &situation).deleted().cloned().collect();
    Ok((keys, refused))
}

/// Each database that has a copy in it, once.
fn databases(item: &Item) -> BTreeSet<DatabaseName> {
    match &item.content {
        ItemContent::Daily { database, .. } => BTreeSet::from([database.clone()]),
        ItemContent::Weekly { members, .. } => {
            let names = members.iter().map(|member| member.database.clone());
            names.collect()
        }
    }
}

impl Foreseen {
    /// How many objects.
    pub fn count(&self) -> usize {
        self.daily + self.weekly
    }

    fn add(&mut self, item: &Item) {
        match &item.content {
            ItemContent::Daily { .. } => self.daily += 1,
            ItemContent::Weekly { .. } => self.weekly += 1,
        }
        self.bytes += item.size_bytes * item.placements.len() as u64;
        for database in databases(item) {
            *self.databases.entry(database).or_default() += 1;
        }
    }
}

/// Such as ``20 daily copies and 2 weekly archives of 60 may go, 1.2 MB: 15 of `blog`, 7 of `orders` ``.
impl fmt::Display for Foreseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let some = |count: usize, one: &str| (count > 0).then(|| counted(count, one));
        let kinds = [
            some(self.daily, "daily copy"),
            some(self.weekly, "weekly archive"),
        ];
        let kinds: Vec<String> = kinds.into_iter().flatten().collect();
        let (kinds, all, bytes) = (kinds.join(" and "), self.all, ByteCount(self.bytes));
        let all = counted(all, "object");
        write!(f, "{kinds} of {all} may go, {bytes}: ")?;
        let databases = self.databases.iter();
        let databases: Vec<String> = databases
            .map(|(name, count)| format!("{count} of `{name}`"))
            .collect();
        write!(f, "{}", databases.join(", "))?;
        for (database, why) in &self.refused {
            write!(
                f,
                "; of `{database}` nothing goes before `patina ack {database}`: {why}"
            )?;
        }
        Ok(())
    }
}
