//! Finds the copies of a database, in storages and archives.

use std::collections::HashMap;

use crate::catalog::{Catalog, CatalogError, CopyFilter, CopyState, Placement};
use crate::types::{BackupDate, DatabaseName, EvidenceClass, Manifest, ObjectKey};

/// An existing copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Available {
    /// Day of the copy.
    pub date: BackupDate,
    /// Key of its daily object; the copy may by now be only in an archive.
    pub key: ObjectKey,
    /// Size of its SQL text, in bytes.
    pub size_bytes: u64,
    /// Number of rows in all tables.
    pub rows: u64,
    /// True if it counts as a backup.
    pub is_good: bool,
    /// True if its source was damaged when it was made.
    pub is_suspect: bool,
    /// True if its date is later than it can have been made.
    pub is_ahead: bool,
    /// True if it was found in a storage without ever having been committed here.
    pub is_unconfirmed: bool,
    /// Number of exceptions: parts of the source that the copy lacks.
    pub exceptions: usize,
}

/// A copy and the location of its bytes.
pub(super) struct Known {
    pub(super) manifest: Manifest,
    /// The archive that contains it, if it is not an object of its own.
    pub(super) archive: Option<ObjectKey>,
    /// Name of the entry in that archive.
    pub(super) path: String,
    /// True if its date is later than it can have been made.
    is_ahead: bool,
    /// True if it was found in a storage without ever having been committed here.
    is_unconfirmed: bool,
    placements: Vec<Placement>,
}

impl Known {
    /// True if it was proven against its source, is complete, and is undamaged in some storage.
    pub(super) fn is_good(&self) -> bool {
        self.manifest.counts() && self.storages().next().is_some()
    }

    /// True if its source was damaged when it was made.
    pub(super) fn is_suspect(&self) -> bool {
        self.manifest.class == EvidenceClass::S
    }

    /// Storages that hold it undamaged.
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

/// Returns every copy of a database that this installation stored and that expiry has not marked, most recent first.
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
        // A damaged daily copy does not take precedence over an archive that holds it undamaged.
        if known.is_good() || !in_archive {
            found.insert(known.manifest.key.clone(), known);
        }
    }
    let mut held = catalog.held(database, None, None)?;
    // That list puts suspect copies last; here each is at its place in time.
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
