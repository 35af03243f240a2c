//! Deletes what retention lets go. Invariant: an object is deleted only after it was marked, and after every guard was
//! asked again; its manifest goes first, so that what is left of an interrupted deletion is no copy for anyone.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use super::commit::Silent;
use super::presence::{self, Known, Lost, Presence};
use super::scales::Scales;
use crate::catalog::{
    Care, CatalogError, CopyState, Ended, Event, EventKind, ExpiryRun, Item, KeptByRule, News,
    Placement, Raised, Removal,
};
use crate::clock::Clock;
use crate::config::AlertLevel;
use crate::retention::{Guards, Hold, Kept, Plan, decide};
use crate::store::{Operation, Prune, StoreError};
use crate::types::{ObjectKey, counted};
use crate::wiring::Wiring;

/// A longer `grace` is left to a later run.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// Wall time may leave the running time, or a store's clock, by so much: daylight saving moves neither.
const MOST_DRIFT: TimeDelta = TimeDelta::hours(1);

/// A storage that has not removed an object by then is not waited for.
const REMOVE_TIMEOUT: Duration = Duration::from_secs(2 * 60);

/// So many objects have their deletion noted at once, durably, before the first of them goes.
const BATCH: usize = 256;

/// What a run did.
#[derive(Debug, Default)]
pub struct Report {
    /// What was decided for each object.
    pub plan: Plan,
    /// Objects that were chosen in this run.
    pub marked: Vec<ObjectKey>,
    /// Objects that were chosen and whose grace is not over.
    pub waiting: Vec<ObjectKey>,
    /// Objects that are gone from every storage.
    pub deleted: Vec<ObjectKey>,
    /// The bytes they had, in all storages.
    pub freed_bytes: u64,
    /// What could not be deleted, where and why; the next run goes on.
    pub failed: Vec<(ObjectKey, String)>,
}

/// Says what would become of every object now. Writes nothing.
///
/// # Errors
/// Where the catalog cannot be read.
pub async fn plan(wiring: &Wiring, guards: Guards) -> Result<Plan, CatalogError> {
    let items = wiring.catalog.items()?;
    planned(wiring, &items, guards).await
}

/// Marks what may go, waits for its grace, asks the guards again, and deletes.
///
/// # Errors
/// Where the catalog fails; what a storage does is part of the report.
pub async fn run(
    wiring: &Wiring,
    pruners: &[Arc<dyn Prune>],
    guards: Guards,
    stop: &CancellationToken,
) -> Result<Report, CatalogError> {
    let mut report = Report::default();
    let (pruners, lost) = present(wiring, pruners).await?;
    let pruners = pruners.as_slice();
    finish_begun(wiring, pruners, &mut report).await?;
    let items = wiring.catalog.items()?;
    report.plan = planned(wiring, &items, guards).await?;
    note_refused(wiring, &report.plan)?;
    note_clock(wiring, &report.plan)?;
    let unseen = unseen(&items, &lost);
    let mut chosen: BTreeSet<&ObjectKey> = report.plan.deleted().collect();
    for key in chosen.extract_if(.., |key| unseen.contains_key(*key)) {
        report.failed.push((key.clone(), unseen[key].clone()));
    }
    report.marked = mark(wiring, &items, &chosen, guards)?;
    if chosen.is_empty() {
        tell(wiring, &report)?;
        return Ok(report);
    }
    let grace = wiring.config.retention().grace;
    if !report.marked.is_empty() && !grace.is_zero() && grace <= LONGEST_WAIT {
        tokio::select! {
            () = wiring.clock.sleep(grace) => {}
            () = stop.cancelled() => return Ok(report),
        }
    }
    // Again from the beginning: what was pinned, leased, damaged or set back meanwhile stays.
    let items = wiring.catalog.items()?;
    let plan = planned(wiring, &items, guards).await?;
    let chosen: BTreeSet<&ObjectKey> = plan.deleted().collect();
    let is_chosen = |item: &&Item| chosen.contains(&item.key) && !unseen.contains_key(&item.key);
    let chosen = items.iter().filter(is_chosen);
    let due = due(chosen, grace, wiring.clock.now(), &mut report);
    // Daily copies come first: the archives that cover them are there until the last of them is gone.
    for batch in due.chunks(BATCH) {
        if stop.is_cancelled() {
            break;
        }
        delete(wiring, pruners, batch, guards, stop, &mut report).await?;
    }
    tell(wiring, &report)?;
    Ok(report)
}

/// The storages that hold something of what is known there, and those that lost everything. What an empty mount point or
/// another bucket does not show was not deleted, and is not noted so.
async fn present(
    wiring: &Wiring,
    pruners: &[Arc<dyn Prune>],
) -> Result<(Vec<Arc<dyn Prune>>, Vec<Lost>), CatalogError> {
    let known = Known::of(&wiring.catalog)?;
    let (mut present, mut lost) = (Vec::with_capacity(pruners.len()), Vec::new());
    for pruner in pruners {
        match presence::look(pruner.as_ref(), &known.in_storage(pruner.name())).await {
            Presence::Lost(storage) => lost.push(storage),
            // One that does not answer says so where something is to be deleted.
            Presence::There | Presence::New | Presence::Unknown(_) => {
                present.push(Arc::clone(pruner));
            }
        }
    }
    Ok((present, lost))
}

/// The objects that should lie in a storage that lost everything, and why they stay: each may be there once its disk is.
fn unseen(items: &[Item], lost: &[Lost]) -> BTreeMap<ObjectKey, String> {
    let mut unseen = BTreeMap::new();
    for storage in lost {
        let lies_there = |item: &&Item| {
            let mut placements = item.placements.iter();
            placements.any(|placement| placement.storage == storage.storage)
        };
        let why = storage.refused(Operation::Remove).to_string();
        let keys = items.iter().filter(lies_there).map(|item| &item.key);
        unseen.extend(keys.map(|key| (key.clone(), why.clone())));
    }
    unseen
}

/// Those of `marked` whose grace is over; the others wait.
fn due<'a>(
    marked: impl Iterator<Item = &'a Item>,
    grace: Duration,
    now: DateTime<Utc>,
    report: &mut Report,
) -> Vec<&'a Item> {
    let mut due = Vec::new();
    for item in marked {
        let Some(marked_at) = item.marked_at else {
            continue;
        };
        // A moment that is still to come is no grace that is over.
        match (now - marked_at).to_std() {
            Ok(passed) if passed >= grace => due.push(item),
            _ => report.waiting.push(item.key.clone()),
        }
    }
    due
}

/// Says what was done and what kept the rest, in the log and in the catalog.
fn tell(wiring: &Wiring, report: &Report) -> Result<(), CatalogError> {
    for (key, why) in &report.failed {
        tracing::warn!(%key, "{key} was not deleted: {why}");
    }
    let kept: Vec<KeptByRule> = report
        .plan
        .kept()
        .into_iter()
        .map(|(rule, (why, objects))| KeptByRule {
            rule: rule.to_owned(),
            objects,
            why: why.to_string(),
        })
        .collect();
    let told = |by: &KeptByRule| format!("; {} kept by {}: {}", by.objects, by.rule, by.why);
    let (deleted, failed) = (report.deleted.len(), report.failed.len());
    let counted = counted(deleted as u64, "object");
    let told: String = kept.iter().map(told).collect();
    let text = format!("expiry: {counted} deleted, {failed} failed{told}");
    let (expired, waiting) = (report.marked.len(), report.waiting.len());
    let (freed_bytes, kept_objects) = (
        report.freed_bytes,
        kept.iter().map(|by| by.objects).sum::<u64>(),
    );
    // The level of an event is a constant of its call.
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                expired,
                waiting,
                deleted,
                failed,
                kept_objects,
                freed_bytes,
                "{text}"
            )
        };
    }
    match kept.iter().any(|by| Kept::stops(&by.rule)) {
        true => log!(warn),
        false => log!(info),
    }
    wiring.catalog.note_expiry(&ExpiryRun {
        at: wiring.clock.now(),
        deleted: deleted as u64,
        failed: failed as u64,
        kept,
    })
}

/// Tells that the time keeps everything, once, and that it does no more.
fn note_clock(wiring: &Wiring, plan: &Plan) -> Result<(), CatalogError> {
    let (at, scope) = (wiring.clock.now(), "expiry clock".to_owned());
    let mut news = News::default();
    match plan.kept().get("clock") {
        Some((why, objects)) => {
            let objects = counted(*objects, "object");
            let event = Event {
                kind: EventKind::ExpiryRefused,
                severity: AlertLevel::Warning,
                database: None,
                message: format!(
                    "nothing expires, {objects} of an age to go: {why}\nhint: set the clock right, then restart patina"
                ),
                at,
            };
            news.raised.push(Raised::once(event, scope));
        }
        None => news.ended.push(Ended {
            kinds: vec![EventKind::ExpiryRefused],
            scope,
            database: None,
            message: "the time can be trusted again: copies expire".to_owned(),
            at,
        }),
    }
    wiring.catalog.announce(&news).map(drop)
}

/// Takes back the marks of what stays now, and marks what goes. Gives what was not marked before.
fn mark(
    wiring: &Wiring,
    items: &[Item],
    chosen: &BTreeSet<&ObjectKey>,
    guards: Guards,
) -> Result<Vec<ObjectKey>, CatalogError> {
    let (mut stay, mut go) = (Vec::new(), Vec::new());
    for item in items {
        match (chosen.contains(&item.key), item.marked_at) {
            (false, Some(_)) => stay.push(item.key.clone()),
            (true, None) => go.push(item.key.clone()),
            _ => {}
        }
    }
    wiring.catalog.unmark(&stay)?;
    wiring.catalog.mark(&go, wiring.clock.now(), guards)?;
    Ok(go)
}

/// Ends the deletions that an earlier process began. One that took nothing away yet is asked about like any other.
async fn finish_begun(
    wiring: &Wiring,
    pruners: &[Arc<dyn Prune>],
    report: &mut Report,
) -> Result<(), CatalogError> {
    let removal = Removing::new(wiring);
    for (key, storage) in wiring.catalog.removals()? {
        let Some(pruner) = pruners.iter().find(|pruner| pruner.name() == storage) else {
            continue;
        };
        let manifest = key.manifest();
        let stat = removal.in_time(&storage, pruner.stat(&manifest)).await;
        let stat = stat.and_then(|stat| stat.map_err(|error| error.to_string()));
        match stat {
            Ok(Some(_)) => wiring.catalog.cancel_removals(&[(key, storage)])?,
            Ok(None) => match removal.run(pruner.as_ref(), &key).await {
                Ok(()) => {
                    wiring.catalog.removed(&[(key.clone(), storage)])?;
                    report.deleted.push(key);
                }
                Err(why) => report.failed.push((key, why)),
            },
            Err(why) => report.failed.push((key, why)),
        }
    }
    Ok(())
}

/// Deletes objects, each from every storage it lies in; what the end of the process leaves is ended by the next run.
async fn delete(
    wiring: &Wiring,
    pruners: &[Arc<dyn Prune>],
    items: &[&Item],
    guards: Guards,
    stop: &CancellationToken,
    report: &mut Report,
) -> Result<(), CatalogError> {
    let (mut gone, mut untouched) = (Vec::new(), Vec::new());
    let removing = Removing::new(wiring);
    for (removal, pruner) in begin(wiring, pruners, items, guards, report)? {
        if stop.is_cancelled() {
            untouched.push(removal);
            continue;
        }
        let (key, storage) = &removal;
        match removing.run(pruner, key).await {
            Ok(()) => {
                tracing::info!(%key, storage, "{key} expired in {storage}");
                gone.push(removal);
            }
            Err(why) => report.failed.push((key.clone(), why)),
        }
    }
    wiring.catalog.removed(&gone)?;
    wiring.catalog.cancel_removals(&untouched)?;
    let mut left: BTreeMap<&ObjectKey, usize> = BTreeMap::new();
    for (item, _) in places(items) {
        *left.entry(&item.key).or_default() += 1;
    }
    for (key, _) in &gone {
        left.entry(key).and_modify(|places| *places -= 1);
    }
    for item in items {
        let left = left.get(&item.key).copied().unwrap_or_default();
        report.freed_bytes += item.size_bytes * (item.placements.len() - left) as u64;
        if left == 0 {
            report.deleted.push(item.key.clone());
        }
    }
    Ok(())
}

/// Notes durably which deletions begin, and gives each with who carries it out.
fn begin<'a>(
    wiring: &Wiring,
    pruners: &'a [Arc<dyn Prune>],
    items: &[&Item],
    guards: Guards,
    report: &mut Report,
) -> Result<Vec<(Removal, &'a dyn Prune)>, CatalogError> {
    let pruner = |storage: &str| pruners.iter().find(|pruner| pruner.name() == storage);
    let mut wanted = Vec::new();
    for (item, placement) in places(items) {
        let storage = &placement.storage;
        match pruner(storage) {
            Some(_) => wanted.push((item.key.clone(), storage.clone())),
            None => {
                let why = format!("storage `{storage}` is not in the configuration any more");
                report.failed.push((item.key.clone(), why));
            }
        }
    }
    let begun = wiring
        .catalog
        .begin_removals(&wanted, wiring.clock.now(), guards)?;
    let carried_out = begun.into_iter().filter_map(|removal| {
        let pruner = pruner(&removal.1)?.as_ref();
        Some((removal, pruner))
    });
    Ok(carried_out.collect())
}

/// Each object with each place it lies in.
fn places<'a>(items: &'a [&'a Item]) -> impl Iterator<Item = (&'a Item, &'a Placement)> {
    items
        .iter()
        .flat_map(|item| item.placements.iter().map(|placement| (*item, placement)))
}

/// Removes objects, each within a bounded time; a storage that did not answer once is not asked again in this run.
struct Removing<'a> {
    clock: &'a dyn Clock,
    silent: Silent,
}

impl<'a> Removing<'a> {
    fn new(wiring: &'a Wiring) -> Self {
        Self {
            clock: wiring.clock.as_ref(),
            silent: Silent::default(),
        }
    }

    async fn run(&self, pruner: &dyn Prune, key: &ObjectKey) -> Result<(), String> {
        self.in_time(pruner.name(), remove(pruner, key)).await?
    }

    async fn in_time<T>(&self, storage: &str, work: impl Future<Output = T>) -> Result<T, String> {
        let seconds = REMOVE_TIMEOUT.as_secs();
        let hangs = || format!("storage `{storage}` did not answer within {seconds} s");
        if self.silent.has(storage) {
            return Err(hangs());
        }
        tokio::select! {
            done = work => Ok(done),
            () = self.clock.sleep(REMOVE_TIMEOUT) => {
                self.silent.note(storage, true);
                Err(hangs())
            }
        }
    }
}

/// Removes the manifest, then the object, and looks whether both are gone.
async fn remove(pruner: &dyn Prune, key: &ObjectKey) -> Result<(), String> {
    let told = |error: StoreError| error.to_string();
    let manifest = key.manifest();
    pruner.remove(&manifest).await.map_err(told)?;
    pruner.remove(key).await.map_err(told)?;
    for key in [&manifest, key] {
        if pruner.stat(key).await.map_err(told)?.is_some() {
            let name = pruner.name();
            return Err(format!(
                "storage `{name}`: `{key}` is still there after its removal"
            ));
        }
    }
    Ok(())
}

/// Lets nothing of a refused database expire until a person looked, and says so once.
fn note_refused(wiring: &Wiring, plan: &Plan) -> Result<(), CatalogError> {
    let suspect = wiring.catalog.care(wiring.clock.now())?.suspect;
    for (database, why) in &plan.refused {
        let first = match suspect.contains_key(database) {
            true => "repair its source, and back it up",
            false => "look at `patina plan`",
        };
        let event = Event {
            kind: EventKind::ExpiryRefused,
            severity: AlertLevel::Critical,
            database: Some(database.clone()),
            message: format!(
                "nothing of `{database}` expires: {why}\nhint: {first}, then `patina ack {database}`"
            ),
            at: wiring.clock.now(),
        };
        tracing::warn!(%database, "nothing of {database} expires: {why}");
        wiring.catalog.freeze(database, &event)?;
    }
    Ok(())
}

async fn planned(wiring: &Wiring, items: &[Item], guards: Guards) -> Result<Plan, CatalogError> {
    let now = wiring.clock.now();
    let care = wiring.catalog.care(now)?;
    let hold = hold(wiring, items, &care).await;
    let scales = Scales {
        catalog: &wiring.catalog,
        config: &wiring.config,
        knows: &|storage| wiring.store(storage).is_some(),
        now,
    };
    let objects = scales.objects(items, &care)?;
    Ok(decide(&objects, &scales.situation(care, hold, guards)))
}

/// Why nothing may go now.
async fn hold(wiring: &Wiring, items: &[Item], care: &Care) -> Option<Hold> {
    if let Some(why) = doubt(wiring, items).await {
        return Some(Hold::Clock(why));
    }
    let until = care
        .quiet_until
        .filter(|until| wiring.clock.now() < *until)?;
    Some(Hold::Quiet(until.format("%Y-%m-%d %H:%M UTC").to_string()))
}

/// Why the wall time is not to be trusted. Sleep moves both times of the clock; a person or NTP moves one.
async fn doubt(wiring: &Wiring, items: &[Item]) -> Option<String> {
    let (now, elapsed) = (wiring.clock.now(), wiring.clock.elapsed());
    let ran = TimeDelta::from_std(elapsed.saturating_sub(wiring.built_at.elapsed)).ok()?;
    let drift = now - wiring.built_at.wall - ran;
    if drift.abs() > MOST_DRIFT {
        let minutes = counted(drift.num_minutes().unsigned_abs(), "minute");
        let way = if drift < TimeDelta::zero() {
            "back"
        } else {
            "ahead"
        };
        return Some(format!(
            "it moved {way} by {minutes} against the running time since Patina started"
        ));
    }
    let newest = items.iter().max_by_key(|item| item.created_at)?;
    if now + MOST_DRIFT < newest.created_at {
        let (key, at) = (&newest.key, newest.created_at);
        return Some(format!("it is before {at}, when `{key}` was made"));
    }
    for placement in newest
        .placements
        .iter()
        .filter(|placement| placement.state == CopyState::Live)
    {
        let Some(store) = wiring.store(&placement.storage) else {
            continue;
        };
        // A store that does not answer gives no reason to doubt, and takes no deletion either.
        let stat = tokio::select! {
            stat = store.stat(&newest.key) => stat,
            () = wiring.clock.sleep(REMOVE_TIMEOUT) => Ok(None),
        };
        if let Ok(Some(stat)) = stat
            && (stat.modified - newest.created_at).abs() > TimeDelta::days(1)
        {
            let (key, theirs, ours) = (&newest.key, stat.modified, newest.created_at);
            return Some(format!(
                "storage `{}` took `{key}` at {theirs} by its own clock, and at {ours} by ours",
                store.name()
            ));
        }
    }
    None
}
