//! Says whether a storage holds anything of what the catalog knows there. Invariant: it looks only; nothing is marked or
//! deleted for what it says.
//!
//! A directory that lost everything at once is most likely an empty mount point, and a bucket another one than before. So
//! every storage, of whatever kind, is looked at here before anything works with it, by whatever command: it is an error
//! until it holds something again, or a person says that it is empty for good.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::future::join_all;

use crate::catalog::{
    Catalog, CatalogError, CopyState, Ended, Event, EventKind, Item, News, Raised,
};
use crate::config::AlertLevel;
use crate::copy::MAX_MANIFEST_BYTES;
use crate::store::{Operation, Store, StoreError, StoreErrorKind, read_small};
use crate::types::{KeyKind, ObjectKey, counted};
use crate::wiring::Wiring;

/// So many of the newest objects are asked for before all are listed.
const ASKED_FOR: usize = 3;

/// A store that has not answered by then is not waited for.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// What the catalog knows of all storages.
pub struct Known(Vec<Item>);

/// What a storage holds of what is known there.
#[derive(Debug)]
pub enum Presence {
    /// Nothing is known there: it is new, or its copies were given up.
    New,
    /// At least one object is there.
    There,
    /// None is.
    Lost(Lost),
    /// It does not answer.
    Unknown(StoreError),
}

/// A storage that holds nothing of what is known there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Its name.
    pub storage: String,
    /// How many objects it should hold.
    pub objects: usize,
}

impl Known {
    /// What is known now of this installation's objects.
    ///
    /// # Errors
    /// Where the catalog cannot be read.
    pub fn of(catalog: &Catalog) -> Result<Self, CatalogError> {
        let own = catalog.instance()?;
        let mut items = catalog.items()?;
        items.retain(|item| *item.instance == *own);
        Ok(Self(items))
    }

    /// The objects that lie in a storage as far as known, in the order of keys. Those that were found missing or chosen to
    /// go are none.
    pub fn in_storage(&self, storage: &str) -> Vec<&Item> {
        let is_there = |item: &&Item| {
            let mut placements = item.placements.iter();
            item.marked_at.is_none()
                && placements.any(|placement| {
                    placement.storage == storage && placement.state == CopyState::Live
                })
        };
        let mut items: Vec<&Item> = self.0.iter().filter(is_there).collect();
        items.sort_by(|one, other| one.key.cmp(&other.key));
        items
    }
}

impl Lost {
    /// Why nothing is read from it, written to it or concluded from it, and the ways out.
    pub fn refusal(&self) -> StoreErrorKind {
        let cause = match self.objects {
            1 => "the object that it should hold is not there".to_owned(),
            objects => {
                let objects = counted(objects, "object");
                format!("none of the {objects} that it should hold is there")
            }
        };
        StoreErrorKind::Refused {
            cause: format!("{cause}; is its disk mounted? is it the right bucket?"),
            hint: format!(
                "mount the disk, or correct `directory`, `bucket` or `prefix`; if it was emptied or replaced for good, say \
                 so: `patina reconcile --replaced {}`",
                self.storage
            ),
        }
    }

    /// The same as the error of a call.
    pub fn refused(&self, operation: Operation) -> StoreError {
        StoreError::new(&self.storage, operation, None, self.refusal())
    }

    /// The end of it.
    pub(super) fn ended(&self, at: DateTime<Utc>) -> Ended {
        over(&self.storage, at)
    }
}

/// Looks whether `store` holds any of `known`, which is in the order of keys.
pub async fn look(store: &dyn Store, known: &[&Item]) -> Presence {
    if known.is_empty() {
        return Presence::New;
    }
    match holds_any(store, known).await {
        Ok(true) => Presence::There,
        Ok(false) => Presence::Lost(Lost {
            storage: store.name().to_owned(),
            objects: known.len(),
        }),
        Err(error) => Presence::Unknown(error),
    }
}

/// Another installation's disk may hold the same keys, so that a key alone says nothing.
async fn holds_any(store: &dyn Store, known: &[&Item]) -> Result<bool, StoreError> {
    let is_daily = |item: &&&Item| matches!(item.key.kind(), KeyKind::Daily { .. });
    let newest = known.iter().rev().filter(is_daily).take(ASKED_FOR);
    let archive = known.iter().rev().find(|item| !is_daily(item));
    for item in newest.chain(archive) {
        let stat = store.stat(&item.key).await?;
        if stat.is_some_and(|stat| stat.size_bytes == item.size_bytes) {
            return Ok(true);
        }
    }
    let listing = store.list().await?;
    let find = |key: &ObjectKey| {
        let found = known.binary_search_by(|item| item.key.cmp(key));
        found.ok().map(|at| known[at])
    };
    let mut objects = listing.objects.iter();
    if objects.any(|(key, stat)| find(key).is_some_and(|item| item.size_bytes == stat.size_bytes)) {
        return Ok(true);
    }
    // All objects gone or changed, but not their manifests: that is damage, and for others to tell.
    let manifests = listing
        .objects
        .iter()
        .filter_map(|(key, _)| match key.kind() {
            KeyKind::Manifest { of } => Some((key, find(of)?)),
            _ => None,
        });
    for (key, item) in manifests.take(ASKED_FOR) {
        if is_written_by(store, key, &item.instance).await? {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn is_written_by(
    store: &dyn Store,
    key: &ObjectKey,
    instance: &str,
) -> Result<bool, StoreError> {
    let text = read_small(store, key, MAX_MANIFEST_BYTES).await?;
    let document = text.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
    Ok(document.is_some_and(|document| document["instance"] == instance))
}

/// Looks at every storage before a job, and tells of those that lost everything. Gives the warnings.
///
/// # Errors
/// Where the catalog cannot be read or written.
pub(super) async fn tell(wiring: &Wiring) -> Result<Vec<String>, CatalogError> {
    let known = Known::of(&wiring.catalog)?;
    let (mut news, mut warnings) = (News::default(), Vec::new());
    // Side by side: one that does not answer holds up none of the others.
    let looks = wiring.stores.iter().map(|store| {
        let known = known.in_storage(store.name());
        async move {
            tokio::select! {
                looked = look(store.as_ref(), &known) => Some(looked),
                // What hangs is told where a copy is stored.
                () = wiring.clock.sleep(LOOK_TIMEOUT) => None,
            }
        }
    });
    for (store, looked) in wiring.stores.iter().zip(join_all(looks).await) {
        let (name, at) = (store.name(), wiring.clock.now());
        match looked {
            Some(Presence::Lost(lost)) => {
                let message = lost.refused(Operation::Prepare).to_string();
                warnings.push(message.clone());
                let event = Event {
                    kind: EventKind::MissingObject,
                    severity: AlertLevel::Critical,
                    database: None,
                    message,
                    at,
                };
                news.raised.push(Raised::once(event, scope(name)));
            }
            Some(Presence::There | Presence::New) => news.ended.push(over(name, at)),
            Some(Presence::Unknown(_)) | None => {}
        }
    }
    wiring.catalog.announce(&news)?;
    Ok(warnings)
}

fn over(storage: &str, at: DateTime<Utc>) -> Ended {
    Ended {
        kinds: vec![EventKind::MissingObject],
        scope: scope(storage),
        database: None,
        message: format!("storage `{storage}` holds again what it should"),
        at,
    }
}

fn scope(storage: &str) -> String {
    format!("storage {storage}")
}
