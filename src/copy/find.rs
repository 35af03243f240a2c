//! Finds copies and the ways to read them. Invariant: ways without known damage come first.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::catalog::{Catalog, CatalogError, CopyState, Placement, StoredArchive, StoredCopy};
use crate::store::Store;
use crate::types::{BackupDate, DatabaseName, Manifest, ObjectKey};
use crate::wiring::Wiring;

/// A copy that was found: an object of its own, or a member of an archive.
#[derive(Debug, Clone)]
pub enum Found {
    /// The copy is an object of its own.
    Daily(Box<StoredCopy>),
    /// The copy is only inside an archive.
    Archived {
        /// The archive.
        archive: Box<StoredArchive>,
        /// The commit record of the copy itself.
        manifest: Box<Manifest>,
    },
}

impl Found {
    /// The copy's commit record.
    pub fn manifest(&self) -> &Manifest {
        match self {
            Self::Daily(copy) => &copy.manifest,
            Self::Archived { manifest, .. } => manifest,
        }
    }

    /// Key of the object that holds the copy.
    pub fn object(&self) -> &ObjectKey {
        match self {
            Self::Daily(copy) => copy.key(),
            Self::Archived { archive, .. } => archive.key(),
        }
    }

    /// Size of that object, in bytes.
    pub fn object_bytes(&self) -> u64 {
        match self {
            Self::Daily(copy) => copy.manifest.stored.size_bytes,
            Self::Archived { archive, .. } => archive.manifest.stored.size_bytes,
        }
    }

    /// Time when that object was proven.
    pub fn created_at(&self) -> DateTime<Utc> {
        match self {
            Self::Daily(copy) => copy.created_at,
            Self::Archived { archive, .. } => archive.created_at,
        }
    }

    /// The storages that hold or held that object.
    pub fn placements(&self) -> &[Placement] {
        match self {
            Self::Daily(copy) => &copy.placements,
            Self::Archived { archive, .. } => &archive.placements,
        }
    }
}

/// Returns the daily copy with this key, or the archive that contains it; `None` if neither is known.
///
/// # Errors
/// If the catalog cannot be read.
pub fn by_key(key: &ObjectKey, catalog: &Catalog) -> Result<Option<Found>, CatalogError> {
    if let Some(copy) = catalog.copy(key)? {
        return Ok(Some(Found::Daily(Box::new(copy))));
    }
    let mut archives = catalog.archives_of(key)?;
    // An archive without known damage first; among equals, the newest.
    archives.sort_by_key(|archive| archive.live().next().is_none());
    let Some(archive) = archives.into_iter().next() else {
        return Ok(None);
    };
    let mut members = archive.manifest.members.iter();
    let member = members.find(|member| member.manifest.key == *key);
    let manifest = member.map(|member| Box::new(member.manifest.clone()));
    Ok(manifest.map(|manifest| Found::Archived {
        archive: Box::new(archive),
        manifest,
    }))
}

/// Returns the last copy of a database on a day, wherever it is held; `None` if that day has none.
///
/// # Errors
/// If the catalog cannot be read.
pub fn of_day(
    database: &DatabaseName,
    date: BackupDate,
    catalog: &Catalog,
) -> Result<Option<Found>, CatalogError> {
    let held = catalog.held(database, Some(date), Some(1))?;
    match held.first() {
        Some(held) => by_key(&held.key, catalog),
        None => Ok(None),
    }
}

/// A way to read a copy: a storage, and the archive in it unless the copy is an object of its own.
#[derive(Clone)]
pub struct Way {
    /// The storage.
    pub store: Arc<dyn Store>,
    /// The archive that contains the copy; `None` if the copy is an object of its own.
    pub archive: Option<Arc<StoredArchive>>,
    /// True if the object is not known to be missing or damaged in this storage.
    pub is_live: bool,
}

/// Returns the ways to read a copy through configured storages, or only through the one named `asked`: those without
/// known damage first, and among these the object of its own before an archive. Empty if no such storage holds the
/// copy.
///
/// # Errors
/// If the catalog cannot be read.
pub fn ways(
    copy: &Found,
    wiring: &Wiring,
    catalog: &Catalog,
    asked: Option<&str>,
) -> Result<Vec<Way>, CatalogError> {
    let mut ways = Vec::new();
    let mut add = |archive: Option<&Arc<StoredArchive>>, placement: &Placement| {
        let is_asked = asked.is_none_or(|asked| asked == placement.storage);
        if let Some(store) = wiring.store(&placement.storage).filter(|_| is_asked) {
            ways.push(Way {
                store: Arc::clone(store),
                archive: archive.cloned(),
                is_live: placement.state == CopyState::Live,
            });
        }
    };
    if let Found::Daily(copy) = copy {
        copy.placements
            .iter()
            .for_each(|placement| add(None, placement));
    }
    for archive in catalog.archives_of(&copy.manifest().key)? {
        let archive = Arc::new(archive);
        let placements = archive.placements.iter();
        placements.for_each(|placement| add(Some(&archive), placement));
    }
    ways.sort_by_key(|way| !way.is_live);
    Ok(ways)
}
