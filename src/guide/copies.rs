//! Finds the copies of a database, wherever they lie.

use std::collections::HashMap;

use crate::catalog::{Catalog, CatalogError, CopyFilter, CopyState, Placement};
use crate::types::{BackupDate, DatabaseName, EvidenceClass, Manifest, ObjectKey};

/// A copy there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// The day it stands for.
    pub date: BackupDate,
    /// The key of its daily object, which an archive may have taken the place of.
    pub key: ObjectKey,
    /// The length of its SQL text.
    pub size_bytes: u64,
    /// Its rows, in all tables.
    pub rows: u64,
    /// Whether it counts as a backup.
    pub is_good: bool,
    /// Whether its source was damaged when it was made.
    pub is_suspect: bool,
    /// Whether it is dated later than it can have been made.
    pub is_ahead: bool,
    /// Whether it was found in a storage and nothing here ever committed it.
    pub is_unconfirmed: bool,
    /// What of its source it does not carry.
    pub exceptions: usize,
}

/// A copy, and where its bytes are.
pub(super) struct Known {
    pub(super) manifest: Manifest,
    /// The archive it is in, where it is in one alone.
    pub(super) archive: Option<ObjectKey>,
    /// The entry's name in that archive.
    pub(super) path: String,
    /// Whether it is dated later than it can have been made.
    is_ahead: bool,
    /// Whether it was found in a storage and nothing here ever committed it.
    is_unconfirmed: bool,
    placements: Vec<Placement>,
}

impl Known {
    /// Whether it was proven against its source, is whole, and lies undamaged somewhere.
    pub(super) fn is_good(&self) -> bool {
        self.manifest.counts() && self.storages().next().is_some()
    }

    /// Whether its source was damaged when it was made.
    pub(super) fn is_suspect(&self) -> bool {
        self.manifest.class == EvidenceClass::S
    }

    /// The storages that hold it undamaged.
    pub(super) fn storages(&self) -> impl Iterator<Item = &str> {
        let placements = self.placements.iter();
        let live = placements.filter(|placement| placement.state == CopyState::Live);
        live.map(|placement| placement.storage.as_str())
    }

    pub(super) fn available(&self) -> Available {
        Available {
            date: self.manifest.date,
            key: self.manifest.key.clone(),
            size_bytes: self.manifest.plain.size_bytes,
            rows: self.manifest.evidence.total_rows(),
            is_good: self.is_good(),
            is_suspect: self.is_suspect(),
            is_ahead: self.is_ahead,
            is_unconfirmed: self.is_unconfirmed,
            exceptions: self.manifest.exceptions.len(),
        }
    }
}

/// Every copy of a database that this installation stored and that expiry did not choose, the last made first.
pub(super) fn of(catalog: &Catalog, database: &DatabaseName) -> Result<Vec<Known>, CatalogError> {
    let mut found: HashMap<ObjectKey, Known> = HashMap::new();
    for archive in catalog.archives()? {
        let members = archive.manifest.members.iter();
        for member in members.filter(|member| member.manifest.database == *database) {
            let known = Known {
                manifest: member.manifest.clone(),
                archive: Some(archive.key().clone()),
                path: member.path.clone(),
                is_ahead: false,
                is_unconfirmed: false,
                placements: archive.placements.clone(),
            };
            found.insert(member.manifest.key.clone(), known);
        }
    }
    let dailies = catalog.copies(&CopyFilter {
        database: Some(database.clone()),
        ..CopyFilter::default()
    })?;
    for copy in dailies {
        let known = Known {
            archive: None,
            path: String::new(),
            is_ahead: false,
            is_unconfirmed: false,
            placements: copy.placements,
            manifest: copy.manifest,
        };
        let in_archive = found.get(&known.manifest.key).is_some_and(Known::is_good);
        // A damaged daily does not stand before the archive that holds it whole.
        if known.is_good() || !in_archive {
            found.insert(known.manifest.key.clone(), known);
        }
    }
    let mut held = catalog.held(database, None, None)?;
    // Suspect ones come last there; here each has its place in time.
    held.sort_by(|one, other| (other.order, &other.key).cmp(&(one.order, &one.key)));
    Ok(held
        .iter()
        .filter_map(|held| {
            let known = found.remove(&held.key)?;
            Some(Known {
                is_ahead: held.is_ahead,
                is_unconfirmed: held.is_unconfirmed,
                ..known
            })
        })
        .collect())
}
