//! Compares what the catalog knows with what the storages hold. Invariant: a listing alone proves nothing absent, and
//! nothing is ever deleted here.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::adopt::{Candidate, Whose, adopt};
use super::presence::{self, Known, Lost, Presence};
use super::verify::freeze;
use crate::catalog::{
    CatalogError, CopyState, Damage, Ended, Event, EventKind, Item, News, Raised,
};
use crate::config::AlertLevel;
use crate::store::{Listing, ObjectStat, Operation, Store, StoreError};
use crate::types::{KeyKind, ObjectKey, counted, grouped};
use crate::wiring::Wiring;

/// An object is missing when it was absent at two looks at least this far apart.
pub const SECOND_LOOK: Duration = Duration::from_secs(10 * 60);

/// A backup puts its object before its manifest: a younger object without one may be on its way.
const ON_ITS_WAY: TimeDelta = TimeDelta::hours(1);

/// A storage whose objects are not compared by then hangs: the listing of a million takes minutes.
const COMPARE_TIMEOUT: Duration = Duration::from_secs(3600);

/// An event names no more keys; the log has all.
const KEYS_IN_EVENT: usize = 5;

/// Of so many keys it is known whether they were told of.
const KEYS_REMEMBERED: usize = 1_000;

/// Objects that stay untracked are told of again after this.
const REMIND_AFTER: TimeDelta = TimeDelta::days(7);

/// Whether to wait until an absent object can be looked for a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// Wait [`SECOND_LOOK`] where anything is absent.
    Wait,
    /// Leave the second look to the next run.
    Leave,
}

/// What was found in one storage.
#[derive(Debug, Default)]
pub struct StorageReport {
    /// The storage's name.
    pub storage: String,
    /// Why it could not be compared; nothing is concluded then.
    pub error: Option<String>,
    /// How many objects of ours it lists, manifests included.
    pub listed: usize,
    /// How many names are there that are no keys of ours.
    pub foreign: u64,
    /// Known objects that are gone: absent at two looks.
    pub missing: Vec<ObjectKey>,
    /// Known objects that were absent at one look so far.
    pub absent: Vec<ObjectKey>,
    /// Known objects that have another length than was stored.
    pub changed: Vec<ObjectKey>,
    /// Known objects that were missing and are there again; `patina verify` has to read them.
    pub returned: Vec<ObjectKey>,
    /// How many objects other installations have there; they are left alone.
    pub others: usize,
    /// Objects of this installation that the catalog did not know, with a valid manifest: it does now.
    pub adopted: Vec<ObjectKey>,
    /// Objects and manifests that do not belong together, and why. They are left alone.
    pub untracked: Vec<(ObjectKey, String)>,
}

impl StorageReport {
    /// Whether storage and catalog agree.
    pub fn is_clean(&self) -> bool {
        self.error.is_none()
            && self.missing.is_empty()
            && self.absent.is_empty()
            && self.changed.is_empty()
            && self.untracked.is_empty()
    }
}

/// Compares every storage with the catalog.
///
/// # Errors
/// Where the catalog fails; what a storage does is part of the report.
pub async fn run(
    wiring: &Wiring,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Vec<StorageReport>, CatalogError> {
    run_for(Whose::Ours, wiring, patience, stop).await
}

/// The same, and takes in what is `whose`.
pub(super) async fn run_for(
    whose: Whose,
    wiring: &Wiring,
    patience: Patience,
    stop: &CancellationToken,
) -> Result<Vec<StorageReport>, CatalogError> {
    // Side by side: one that does not answer holds up none of the others.
    let compared = wiring.stores.iter();
    let compared = compared.map(|store| in_time(wiring, store.as_ref(), whose, stop));
    let mut reports = try_join_all(compared).await?;
    if patience == Patience::Wait && reports.iter().any(|report| !report.absent.is_empty()) {
        tokio::select! {
            () = wiring.clock.sleep(SECOND_LOOK) => second_looks(wiring, &mut reports).await?,
            () = stop.cancelled() => {}
        }
    }
    for report in &reports {
        if stop.is_cancelled() {
            break;
        }
        tell(wiring, report)?;
    }
    Ok(reports)
}

/// Takes a person's word that a storage which lost everything is really empty: what it held is missing from now on. Gives
/// the objects.
///
/// # Errors
/// Where the catalog cannot be read or written.
pub fn replaced(wiring: &Wiring, lost: &Lost) -> Result<Vec<ObjectKey>, CatalogError> {
    let storage = &lost.storage;
    let known = Known::of(&wiring.catalog)?;
    let known = known.in_storage(storage).into_iter();
    let keys: Vec<ObjectKey> = known.map(|item| item.key.clone()).collect();
    for key in &keys {
        let text = format!("storage `{storage}`: `{key}` was lost with all that it held");
        damaged(wiring, key, storage, Damage::Missing, &text)?;
    }
    let news = News {
        ended: vec![lost.ended(wiring.clock.now())],
        ..News::default()
    };
    wiring.catalog.announce(&news)?;
    Ok(keys)
}

async fn in_time(
    wiring: &Wiring,
    store: &dyn Store,
    whose: Whose,
    stop: &CancellationToken,
) -> Result<StorageReport, CatalogError> {
    let unanswered = |error| StorageReport {
        storage: store.name().to_owned(),
        error: Some(error),
        ..StorageReport::default()
    };
    tokio::select! {
        compared = compare(wiring, store, whose) => compared,
        () = wiring.clock.sleep(COMPARE_TIMEOUT) => Ok(unanswered(format!(
            "storage `{}` was not compared within {}",
            store.name(),
            humantime::format_duration(COMPARE_TIMEOUT)
        ))),
        () = stop.cancelled() => Ok(unanswered("the process was asked to stop".to_owned())),
    }
}

async fn compare(
    wiring: &Wiring,
    store: &dyn Store,
    whose: Whose,
) -> Result<StorageReport, CatalogError> {
    let mut report = StorageReport {
        storage: store.name().to_owned(),
        ..StorageReport::default()
    };
    if let Some(error) = lost(wiring, store).await? {
        report.error = Some(error);
        return Ok(report);
    }
    // Read first: what a backup commits in between is then unknown here, and adopting it changes nothing.
    let items = wiring.catalog.items()?;
    match store.list().await {
        Ok(listing) => {
            report.listed = listing.objects.len();
            report.foreign = listing.foreign;
            let listed = Listed::of(&listing);
            look_for_known(wiring, store, &items, &listed, &mut report).await?;
            look_at_unknown(wiring, store, &items, &listed, (whose, &mut report)).await?;
        }
        Err(error) => report.error = Some(error.to_string()),
    }
    Ok(report)
}

/// Why nothing is concluded from what `store` does not hold: it lost everything at once.
async fn lost(wiring: &Wiring, store: &dyn Store) -> Result<Option<String>, CatalogError> {
    let known = Known::of(&wiring.catalog)?;
    Ok(
        match presence::look(store, &known.in_storage(store.name())).await {
            Presence::Lost(lost) => Some(lost.refused(Operation::List).to_string()),
            Presence::There | Presence::New | Presence::Unknown(_) => None,
        },
    )
}

/// A listing by key.
struct Listed<'a>(BTreeMap<&'a ObjectKey, &'a ObjectStat>);

impl<'a> Listed<'a> {
    fn of(listing: &'a Listing) -> Self {
        let objects = listing.objects.iter();
        Self(objects.map(|(key, stat)| (key, stat)).collect())
    }

    fn has(&self, key: &ObjectKey) -> bool {
        self.0.contains_key(key)
    }
}

async fn look_for_known(
    wiring: &Wiring,
    store: &dyn Store,
    items: &[Item],
    listed: &Listed<'_>,
    report: &mut StorageReport,
) -> Result<(), CatalogError> {
    let own = wiring.catalog.instance()?;
    for item in items.iter().filter(|item| item.marked_at.is_none()) {
        let mut placements = item.placements.iter();
        let Some(placement) = placements.find(|placement| placement.storage == report.storage)
        else {
            continue;
        };
        let key = &item.key;
        let size_bytes = listed.0.get(key).map(|stat| stat.size_bytes);
        if size_bytes == Some(item.size_bytes) && listed.has(&key.manifest()) {
            if placement.state == CopyState::Missing {
                report.returned.push(key.clone());
            }
            continue;
        }
        if *item.instance != *own {
            // It expired there, or whatever else that installation did: no damage of this one.
            if let Ok(None) = store.stat(key).await {
                wiring.catalog.forget_other(key, &report.storage)?;
            }
        } else if placement.state == CopyState::Live {
            look_again(wiring, store, item, report).await?;
        }
    }
    Ok(())
}

/// What a look at one object gave, without its listing.
enum Seen {
    Whole,
    Absent,
    Changed(u64),
}

/// Asks for the object itself; a listing may have left it out.
async fn look(store: &dyn Store, item: &Item) -> Result<Seen, StoreError> {
    let Some(stat) = store.stat(&item.key).await? else {
        return Ok(Seen::Absent);
    };
    if stat.size_bytes != item.size_bytes {
        return Ok(Seen::Changed(stat.size_bytes));
    }
    Ok(match store.stat(&item.key.manifest()).await? {
        Some(_) => Seen::Whole,
        None => Seen::Absent,
    })
}

async fn look_again(
    wiring: &Wiring,
    store: &dyn Store,
    item: &Item,
    report: &mut StorageReport,
) -> Result<(), CatalogError> {
    let (catalog, now) = (&wiring.catalog, wiring.clock.now());
    let (key, storage) = (&item.key, store.name());
    match look(store, item).await {
        Ok(Seen::Whole) => catalog.forget_absence(key, storage),
        Ok(Seen::Absent) => {
            let first_at = catalog.note_absence(key, storage, now)?;
            if is_second_look(first_at, now) {
                let text = format!(
                    "storage `{storage}`: `{key}`, or its manifest, was absent at {first_at} and still is"
                );
                report.missing.push(key.clone());
                return damaged(wiring, key, storage, Damage::Missing, &text);
            }
            report.absent.push(key.clone());
            Ok(())
        }
        Ok(Seen::Changed(size_bytes)) => {
            let text = format!(
                "storage `{storage}`: `{key}` has {} instead of {}",
                counted(size_bytes, "byte"),
                grouped(item.size_bytes)
            );
            report.changed.push(key.clone());
            damaged(wiring, key, storage, Damage::Corrupt, &text)
        }
        Err(error) => {
            // Nobody can know; what is known stays.
            report.error.get_or_insert(error.to_string());
            Ok(())
        }
    }
}

/// A clock that was set back makes the wait longer, never shorter than it says.
fn is_second_look(first_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - first_at)
        .to_std()
        .is_ok_and(|passed| passed >= SECOND_LOOK)
}

fn damaged(
    wiring: &Wiring,
    key: &ObjectKey,
    storage: &str,
    damage: Damage,
    text: &str,
) -> Result<(), CatalogError> {
    let now = wiring.clock.now();
    tracing::error!(%key, storage, "{text}");
    wiring
        .catalog
        .mark_damaged(key, storage, damage, text, now)?;
    freeze(wiring, key, text, now)
}

async fn second_looks(wiring: &Wiring, reports: &mut [StorageReport]) -> Result<(), CatalogError> {
    let items = wiring.catalog.items()?;
    for report in reports {
        let absent = std::mem::take(&mut report.absent);
        let Some(store) = wiring.store(&report.storage) else {
            continue;
        };
        if let Some(error) = lost(wiring, store.as_ref()).await? {
            report.error.get_or_insert(error);
            continue;
        }
        for item in items.iter().filter(|item| absent.contains(&item.key)) {
            look_again(wiring, store.as_ref(), item, report).await?;
        }
    }
    Ok(())
}

async fn look_at_unknown(
    wiring: &Wiring,
    store: &dyn Store,
    items: &[Item],
    listed: &Listed<'_>,
    (whose, report): (Whose, &mut StorageReport),
) -> Result<(), CatalogError> {
    let others = match whose {
        Whose::Ours => wiring.catalog.others_in(&report.storage)?,
        Whose::Everyones => BTreeSet::new(),
    };
    let is_known = |key: &ObjectKey| {
        let found = items.binary_search_by(|item| item.key.cmp(key));
        let is_known = found.is_ok_and(|at| {
            let mut placements = items[at].placements.iter();
            placements.any(|placement| placement.storage == report.storage)
        });
        is_known || others.contains(key)
    };
    let now = wiring.clock.now();
    let mut candidates: Vec<Candidate> = Vec::new();
    for (key, stat) in listed.0.iter().filter(|(key, _)| !is_known(object_of(key))) {
        match key.kind() {
            KeyKind::Manifest { of } => {
                let object = listed.0.get(of.as_ref()).map(|stat| **stat);
                candidates.push((of.as_ref().clone(), object));
            }
            _ if listed.has(&key.manifest()) || now - stat.modified < ON_ITS_WAY => {}
            _ => {
                let why = "it has no manifest: a backup or a deletion did not come to its end";
                report.untracked.push(((*key).clone(), why.to_owned()));
            }
        }
    }
    let known_others = others.iter().filter(|key| listed.has(key)).count();
    let adopted = adopt(wiring, store, candidates, whose).await?;
    report.others = known_others + adopted.others.len();
    report.adopted = adopted.keys;
    report.untracked.extend(adopted.refused);
    report.error = report.error.take().or(adopted.error);
    Ok(())
}

/// The object a key is about: itself, or what it is the manifest of.
fn object_of(key: &ObjectKey) -> &ObjectKey {
    match key.kind() {
        KeyKind::Manifest { of } => of,
        _ => key,
    }
}

fn tell(wiring: &Wiring, report: &StorageReport) -> Result<(), CatalogError> {
    let storage = &report.storage;
    if let Some(error) = &report.error {
        tracing::error!(
            storage,
            "storage {storage} was not compared to its end: {error}"
        );
    }
    for (key, why) in &report.untracked {
        tracing::warn!(storage, %key, "storage {storage}: {key} is untracked: {why}");
    }
    tracing::info!(
        storage,
        listed = report.listed,
        adopted = report.adopted.len(),
        others = report.others,
        missing = report.missing.len(),
        absent = report.absent.len(),
        untracked = report.untracked.len(),
        "storage {storage} is compared with the catalog"
    );
    if report.untracked.is_empty() {
        // A listing that did not come to its end says nothing.
        let ended = report.error.is_none().then(|| Ended {
            kinds: vec![EventKind::UntrackedObjects],
            scope: storage.clone(),
            database: None,
            message: format!("storage `{storage}` holds no untracked objects any more"),
            at: wiring.clock.now(),
        });
        let news = News {
            ended: ended.into_iter().collect(),
            ..News::default()
        };
        return wiring.catalog.announce(&news).map(drop);
    }
    let shown: Vec<String> = report
        .untracked
        .iter()
        .take(KEYS_IN_EVENT)
        .map(|(key, why)| format!("`{key}`: {why}"))
        .collect();
    let count = report.untracked.len();
    let event = Event {
        kind: EventKind::UntrackedObjects,
        severity: AlertLevel::Warning,
        database: None,
        message: format!(
            "storage `{storage}` holds {count} untracked objects, which are left alone: {}\n\
             hint: look at them, and remove by hand what nobody needs",
            shown.join("; ")
        ),
        at: wiring.clock.now(),
    };
    let keys = report.untracked.iter().take(KEYS_REMEMBERED);
    let raised = Raised {
        details: keys.map(|(key, _)| key.to_string()).collect(),
        again: Some(REMIND_AFTER),
        ..Raised::once(event, storage.as_str())
    };
    let news = News {
        raised: vec![raised],
        ..News::default()
    };
    wiring.catalog.announce(&news).map(drop)
}
