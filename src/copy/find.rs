//! Finds copies and the ways to them. Invariant: a way without known trouble stands before one with.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::catalog::{Catalog, CatalogError, CopyState, Placement, StoredArchive, StoredCopy};
use crate::store::Store;
use crate::types::{BackupDate, DatabaseName, Manifest, ObjectKey};
use crate::wiring::Wiring;

/// A copy that was found: an object of its own, or a member of an archive.
#[derive(Debug, Clone)]
pub enum Found {
    /// It has its own object.
    Daily(Box<StoredCopy>),
    /// It is inside an archive alone.
    Archived {
        /// The archive.
        archive: Box<StoredArchive>,
        /// The copy's own commit record.
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

    /// The key of the object that holds it.
    pub fn object(&self) -> &ObjectKey {
        match self {
            Self::Daily(copy) => copy.key(),
            Self::Archived { archive, .. } => archive.key(),
        }
    }

    /// How many bytes that object has.
    pub fn object_bytes(&self) -> u64 {
        match self {
            Self::Daily(copy) => copy.manifest.stored.size_bytes,
            Self::Archived { archive, .. } => archive.manifest.stored.size_bytes,
        }
    }

    /// When that object was proven.
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

/// The daily copy with this key, or what an archive has of it. `None`: neither is known.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn by_key(key: &ObjectKey, catalog: &Catalog) -> Result<Option<Found>, CatalogError> {
    if let Some(copy) = catalog.copy(key)? {
        return Ok(Some(Found::Daily(Box::new(copy))));
    }
    let mut archives = catalog.archives_of(key)?;
    // One without known trouble first; the newest of equals.
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

/// The last copy of a database's day, wherever it is held. `None`: that day has none.
///
/// # Errors
/// Where the catalog cannot be read.
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

/// A way to a copy: a storage, and the archive there that holds it where it is not an object of its own.
#[derive(Clone)]
pub struct Way {
    /// The storage.
    pub store: Arc<dyn Store>,
    /// The archive to read it from; `None`: it is an object of its own.
    pub archive: Option<Arc<StoredArchive>>,
    /// Whether nothing is known against the object there.
    pub is_live: bool,
}

/// The ways to a copy through configured storages, or only through the one called `asked`: those without known
/// trouble first, and of these its own object before an archive. Empty: no such storage holds it.
///
/// # Errors
/// Where the catalog cannot be read.
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
