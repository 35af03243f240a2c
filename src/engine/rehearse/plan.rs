//! Finds the newest copy of each database and the ways to it. Invariant: of a cold rehearsal nothing local is read, but
//! the configuration.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Ask, Knowledge, RehearseError};
use crate::catalog::{Catalog, CatalogError, RehearsalOutcome};
use crate::copy::{Way, by_key, ways};
use crate::engine::rebuild;
use crate::engine::reconcile::StorageReport;
use crate::engine::restore::Workshop;
use crate::types::{DatabaseName, KeyKind, Manifest};
use crate::wiring::{Moment, Wiring};

/// What there is to restore, in the order of a restore.
pub struct Plan {
    pub(super) ask: Ask,
    pub(super) began: Moment,
    pub(super) candidates: Vec<Candidate>,
    pub(super) storages: Vec<StorageFinding>,
}

/// One database of a plan.
pub(super) struct Candidate {
    pub(super) database: DatabaseName,
    pub(super) copy: Option<NewestCopy>,
    /// Why there is no copy to try.
    pub(super) absence: Option<Absence>,
}

/// The newest copy of a database.
pub(super) struct NewestCopy {
    pub(super) manifest: Box<Manifest>,
    pub(super) ways: Vec<Way>,
}

/// Why a database has no copy to try.
#[derive(Debug, Clone)]
pub(super) struct Absence {
    pub(super) outcome: RehearsalOutcome,
    pub(super) why: String,
}

/// What a storage showed to somebody who knew nothing of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageFinding {
    /// The storage.
    pub storage: String,
    /// Why it could not be looked through; `None`: it was.
    pub unread: Option<String>,
    /// Manifests that lead to no copy, and why. Objects without a manifest are none of them: nobody counts on those.
    pub wrong: Vec<String>,
}

impl Plan {
    /// The databases, in the order of a restore.
    pub fn databases(&self) -> impl Iterator<Item = &DatabaseName> {
        self.candidates.iter().map(|candidate| &candidate.database)
    }

    /// Whether a copy of this database was found.
    pub fn has_copy(&self, database: &DatabaseName) -> bool {
        let mut candidates = self.candidates.iter();
        candidates.any(|one| one.database == *database && one.copy.is_some())
    }

    pub(super) async fn make(
        wiring: &Wiring,
        ask: &Ask,
        workshop: &Workshop,
        stop: &CancellationToken,
    ) -> Result<Self, RehearseError> {
        let began = Moment::of(wiring.clock.as_ref());
        let (candidates, storages) = match ask.knowledge {
            Knowledge::Catalog => (candidates(wiring, ask, &[])?, Vec::new()),
            Knowledge::Manifests => {
                let stranger = as_a_stranger(wiring, ask, workshop)?;
                let found = rebuild::run(&stranger, stop).await?;
                // Where several installations share a storage, it is this one's copies that must come back.
                let own = wiring.catalog.instance()?;
                if found.instances.contains(&own) {
                    stranger.catalog.take_over(&own)?;
                }
                let storages: Vec<StorageFinding> = found.storages.iter().map(finding).collect();
                (candidates(&stranger, ask, &storages)?, storages)
            }
        };
        Ok(Self {
            ask: ask.clone(),
            began,
            candidates,
            storages,
        })
    }
}

/// The same storages, and a catalog that knows nothing yet.
fn as_a_stranger(wiring: &Wiring, ask: &Ask, workshop: &Workshop) -> Result<Wiring, CatalogError> {
    let is_asked = |name: &str| ask.storage.as_deref().is_none_or(|asked| asked == name);
    let stores = wiring.stores.iter().filter(|store| is_asked(store.name()));
    Ok(Wiring {
        config: Arc::clone(&wiring.config),
        databases: Vec::new(),
        stores: stores.cloned().collect(),
        sinks: Vec::new(),
        catalog: Catalog::open(&workshop.path("stranger.db"))?,
        account: None,
        hooks: Arc::clone(&wiring.hooks),
        clock: Arc::clone(&wiring.clock),
        built_at: wiring.built_at,
    })
}

fn finding(report: &StorageReport) -> StorageFinding {
    let storage = &report.storage;
    let manifests = report.untracked.iter();
    let manifests = manifests.filter(|(key, _)| matches!(key.kind(), KeyKind::Manifest { .. }));
    StorageFinding {
        storage: storage.clone(),
        unread: report.error.clone(),
        wrong: manifests
            .map(|(key, why)| format!("storage `{storage}`: `{key}` leads to no copy: {why}"))
            .collect(),
    }
}

/// The databases and their newest copies, by what the catalog of `wiring` says.
fn candidates(
    wiring: &Wiring,
    ask: &Ask,
    storages: &[StorageFinding],
) -> Result<Vec<Candidate>, CatalogError> {
    let names = match ask.databases.as_slice() {
        [] => all(wiring)?,
        some => without_repeats(some),
    };
    let mut candidates = Vec::with_capacity(names.len());
    for database in names {
        let copy = newest(wiring, &database, ask.storage.as_deref())?;
        let absence = match &copy {
            Some(copy) if copy.ways.is_empty() => Some(out_of_reach(copy, ask)),
            Some(_) => None,
            None => Some(absence(storages)),
        };
        candidates.push(Candidate {
            database,
            copy: copy.filter(|copy| !copy.ways.is_empty()),
            absence,
        });
    }
    Ok(candidates)
}

fn without_repeats(asked: &[DatabaseName]) -> Vec<DatabaseName> {
    let mut names: Vec<DatabaseName> = Vec::with_capacity(asked.len());
    for name in asked {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
    names
}

fn out_of_reach(copy: &NewestCopy, ask: &Ask) -> Absence {
    let key = &copy.manifest.key;
    Absence {
        outcome: RehearsalOutcome::Absent,
        why: match &ask.storage {
            Some(storage) => format!("storage `{storage}` does not hold `{key}`"),
            None => format!("no configured storage holds `{key}`"),
        },
    }
}

/// Nobody knows that there is none where a storage did not show what it holds.
fn absence(storages: &[StorageFinding]) -> Absence {
    match storages.iter().find(|storage| storage.unread.is_some()) {
        Some(unread) => Absence {
            outcome: RehearsalOutcome::Failed,
            // Why not is told of the storage, once.
            why: format!("storage `{}` could not be looked through", unread.storage),
        },
        None => Absence {
            outcome: RehearsalOutcome::Absent,
            why: "there is no copy of it".to_owned(),
        },
    }
}

fn newest(
    wiring: &Wiring,
    database: &DatabaseName,
    storage: Option<&str>,
) -> Result<Option<NewestCopy>, CatalogError> {
    let catalog = &wiring.catalog;
    let held = catalog.held(database, None, Some(1))?;
    let Some(held) = held.first() else {
        return Ok(None);
    };
    let Some(found) = by_key(&held.key, catalog)? else {
        return Ok(None);
    };
    Ok(Some(NewestCopy {
        ways: ways(&found, wiring, catalog, storage)?,
        manifest: Box::new(found.manifest().clone()),
    }))
}

/// The configured databases in the order of restore, then those of which copies alone are left, by name.
fn all(wiring: &Wiring) -> Result<Vec<DatabaseName>, CatalogError> {
    let configured = wiring.config.restore_order().into_iter();
    let mut names: Vec<DatabaseName> = configured.map(|known| known.name.clone()).collect();
    let stored = wiring.catalog.stored_databases()?.into_iter();
    let others: Vec<DatabaseName> = stored.filter(|name| !names.contains(name)).collect();
    names.extend(others);
    Ok(names)
}
