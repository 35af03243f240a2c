//! Reads stored objects again and compares every byte with what was stored. Invariant: what could not be read changes
//! nothing that is known.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use super::commit::samples_read_back;
use super::lease::while_leased;
use super::presence::{self, Known, Presence};
use crate::catalog::{CatalogError, Damage, Event, EventKind, Item, Placement};
use crate::config::AlertLevel;
use crate::copy::{ReadingError, check_manifest, read_archive, read_copy};
use crate::progress::Progress;
use crate::store::Operation;
use crate::types::{DatabaseName, ObjectKey, counted};
use crate::wiring::Wiring;

/// Each night reads this part of all stored bytes, so that a week reads every byte.
const NIGHTS: u64 = 7;

/// What a storage may take for any object, and at which rate it must at least go on: a slower one hangs.
const READ_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const LEAST_BYTES_PER_SECOND: u64 = 50_000;

/// Which objects to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope<'a> {
    /// A seventh of all bytes, those that were read longest ago, and whatever was never read.
    Share,
    /// Everything that was too large to be read back whole when it was stored, and was not read since.
    Sampled,
    /// Everything.
    All,
    /// These objects, wherever they lie.
    Keys(&'a [ObjectKey]),
}

/// One object in one storage that is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The object.
    pub key: ObjectKey,
    /// The storage's name.
    pub storage: String,
    /// How many bytes it has there.
    pub size_bytes: u64,
}

/// What was found of one object in one storage.
#[derive(Debug)]
pub struct Finding {
    /// What was read.
    pub target: Target,
    /// Whether every byte was right.
    pub found: Result<(), ReadingError>,
}

/// The objects that `scope` names, those that were read longest ago first. Objects that expiry chose are left out, and
/// those of other installations where they are not asked for by their keys.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn select(wiring: &Wiring, scope: Scope<'_>) -> Result<Vec<Target>, CatalogError> {
    let items = wiring.catalog.items()?;
    let own = wiring.catalog.instance()?;
    let is_asked = |item: &Item| match scope {
        Scope::Share | Scope::All => item.marked_at.is_none() && *item.instance == *own,
        Scope::Sampled => {
            item.marked_at.is_none()
                && *item.instance == *own
                && samples_read_back(item.size_bytes).is_some()
        }
        Scope::Keys(keys) => keys.contains(&item.key),
    };
    let mut all: Vec<(Option<DateTime<Utc>>, Target)> = Vec::new();
    for item in items.iter().filter(|item| is_asked(item)) {
        for placement in placements(wiring, item, scope) {
            let target = Target {
                key: item.key.clone(),
                storage: placement.storage.clone(),
                size_bytes: item.size_bytes,
            };
            all.push((placement.verified_at, target));
        }
    }
    if let Scope::Keys(_) = scope {
        return Ok(all.into_iter().map(|(_, target)| target).collect());
    }
    // `None` sorts first; the sort is stable, so of one age the order of keys holds.
    all.sort_by_key(|(verified_at, _)| *verified_at);
    let mut left_bytes = match scope {
        Scope::Share => all.iter().map(|(_, target)| target.size_bytes).sum::<u64>(),
        Scope::Sampled | Scope::All | Scope::Keys(_) => u64::MAX,
    }
    .div_ceil(NIGHTS);
    let is_due = |(verified_at, target): &(Option<DateTime<Utc>>, Target)| {
        let is_due = verified_at.is_none()
            || match scope {
                Scope::Share => left_bytes > 0,
                Scope::Sampled => false,
                Scope::All | Scope::Keys(_) => true,
            };
        left_bytes = left_bytes.saturating_sub(target.size_bytes);
        is_due
    };
    all.retain(is_due);
    Ok(all.into_iter().map(|(_, target)| target).collect())
}

/// Where the object lies. A storage that left the configuration is worth a word only to who asks for the object.
fn placements<'a>(
    wiring: &Wiring,
    item: &'a Item,
    scope: Scope<'_>,
) -> impl Iterator<Item = &'a Placement> {
    item.placements.iter().filter(move |placement| {
        let is_by_itself = matches!(scope, Scope::Share | Scope::Sampled);
        !is_by_itself || wiring.store(&placement.storage).is_some()
    })
}

/// Reads each target and writes what was found to the catalog; a damage stops the expiry of the databases it is
/// about, until `patina ack`. Ends early, without the rest, where it is told to stop.
///
/// # Errors
/// Where the catalog fails; what a storage does is part of the findings.
pub async fn run(
    wiring: &Wiring,
    targets: Vec<Target>,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Vec<Finding>, CatalogError> {
    // Side by side in the storages: one that does not answer holds up none of the others.
    let mut by_storage: BTreeMap<String, Vec<(usize, Target)>> = BTreeMap::new();
    for (number, target) in targets.into_iter().enumerate() {
        let those = by_storage.entry(target.storage.clone()).or_default();
        those.push((number, target));
    }
    let read = by_storage.into_values();
    let read = read.map(|targets| in_storage(wiring, targets, progress, stop).boxed());
    let read = try_join_all(Vec::from_iter(read)).await?;
    let mut findings: Vec<(usize, Finding)> = read.into_iter().flatten().collect();
    findings.sort_by_key(|(number, _)| *number);
    let findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).collect();
    tell(&findings);
    Ok(findings)
}

/// Reads the targets of one storage, one after the other. Once it did not answer, the rest is left to the next night.
async fn in_storage(
    wiring: &Wiring,
    targets: Vec<(usize, Target)>,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Vec<(usize, Finding)>, CatalogError> {
    let mut findings = Vec::with_capacity(targets.len());
    let mut unread: Option<String> = lost(wiring, &targets).await?;
    for (number, target) in targets {
        if let Some(why) = &unread {
            let found = Err(ReadingError::Unread(why.clone()));
            let finding = Finding { target, found };
            note(wiring, &finding)?;
            findings.push((number, finding));
            continue;
        }
        let key = std::slice::from_ref(&target.key);
        let timeout =
            READ_TIMEOUT + Duration::from_secs(target.size_bytes / LEAST_BYTES_PER_SECOND);
        let found = async {
            tokio::select! {
                found = look(wiring, &target, progress) => Some(found),
                () = wiring.clock.sleep(timeout) => {
                    let timeout = humantime::format_duration(timeout);
                    let why = format!("storage `{}` did not answer within {timeout}", target.storage);
                    unread = Some(why.clone());
                    Some(Ok(Err(ReadingError::Unread(why))))
                }
                () = stop.cancelled() => None,
            }
        };
        let found = while_leased(wiring, key, "verify", found).await?;
        let Some(found) = found else {
            break;
        };
        let finding = Finding {
            target,
            found: found?,
        };
        note(wiring, &finding)?;
        findings.push((number, finding));
    }
    Ok(findings)
}

/// Why nothing is read: the storage of `targets` lost everything at once, and none of it is noted as missing.
async fn lost(
    wiring: &Wiring,
    targets: &[(usize, Target)],
) -> Result<Option<String>, CatalogError> {
    let storage = targets.first().map(|(_, target)| &target.storage);
    let Some(store) = storage.and_then(|storage| wiring.store(storage)) else {
        return Ok(None);
    };
    let known = Known::of(&wiring.catalog)?;
    let known = known.in_storage(store.name());
    // One that does not answer says so where it is read from.
    let looked = tokio::select! {
        looked = presence::look(store.as_ref(), &known) => looked,
        () = wiring.clock.sleep(READ_TIMEOUT) => return Ok(None),
    };
    Ok(match looked {
        Presence::Lost(lost) => Some(lost.refused(Operation::Read).to_string()),
        Presence::There | Presence::New | Presence::Unknown(_) => None,
    })
}

fn tell(findings: &[Finding]) {
    let wrong = findings.iter().filter(|finding| finding.found.is_err());
    let (wrong, all) = (wrong.count(), findings.len());
    let read_bytes: u64 = findings
        .iter()
        .map(|finding| finding.target.size_bytes)
        .fold(0, u64::saturating_add);
    tracing::info!(
        objects = all,
        wrong,
        read_bytes,
        "verification: {} read, {wrong} of them not right",
        counted(all, "object")
    );
}

async fn look(
    wiring: &Wiring,
    target: &Target,
    progress: &Arc<Progress>,
) -> Result<Result<(), ReadingError>, CatalogError> {
    let (key, storage) = (&target.key, &target.storage);
    let Some(store) = wiring.store(storage) else {
        let text = format!("storage `{storage}` is not in the configuration any more");
        return Ok(Err(ReadingError::Unread(text)));
    };
    let store = store.as_ref();
    if let Some(copy) = wiring.catalog.copy(key)? {
        let manifest = &copy.manifest;
        return Ok(match check_manifest(store, key, manifest).await {
            Ok(()) => read_copy(store, manifest, progress, |_| Ok(())).await,
            wrong => wrong,
        });
    }
    if let Some(archive) = wiring.catalog.archive(key)? {
        let manifest = &archive.manifest;
        return Ok(match check_manifest(store, key, manifest).await {
            Ok(()) => read_archive(store, manifest, progress).await,
            wrong => wrong,
        });
    }
    // It expired since it was chosen.
    let text = format!("`{key}` is not known any more");
    Ok(Err(ReadingError::Unread(text)))
}

/// Writes it to the catalog; what could not be read stays as it is.
fn note(wiring: &Wiring, finding: &Finding) -> Result<(), CatalogError> {
    let (catalog, now) = (&wiring.catalog, wiring.clock.now());
    let (key, storage) = (&finding.target.key, finding.target.storage.as_str());
    if catalog.is_read_only() {
        return Ok(());
    }
    let (damage, text) = match &finding.found {
        Ok(()) => return catalog.mark_verified(key, storage, now),
        Err(ReadingError::Missing(text)) => (Damage::Missing, text),
        Err(ReadingError::Damaged(text)) => (Damage::Corrupt, text),
        Err(error @ (ReadingError::Unread(_) | ReadingError::Sink(_))) => {
            tracing::warn!(%key, storage, "{key} in {storage} was not verified: {error}");
            return Ok(());
        }
    };
    tracing::error!(%key, storage, "{key} in {storage} is not what was stored: {text}");
    catalog.mark_damaged(key, storage, damage, text, now)?;
    freeze(wiring, key, text, now)
}

/// Lets nothing expire of the databases whose copies the damaged object holds.
pub(super) fn freeze(
    wiring: &Wiring,
    key: &ObjectKey,
    why: &str,
    at: DateTime<Utc>,
) -> Result<(), CatalogError> {
    for database in databases_in(wiring, key)? {
        let message = format!(
            "nothing of `{database}` expires: {why}\nhint: look at the storage, then `patina ack {database}`"
        );
        let event = Event {
            kind: EventKind::ExpiryRefused,
            severity: AlertLevel::Critical,
            database: Some(database.clone()),
            message,
            at,
        };
        wiring.catalog.freeze(&database, &event)?;
    }
    Ok(())
}

fn databases_in(wiring: &Wiring, key: &ObjectKey) -> Result<BTreeSet<DatabaseName>, CatalogError> {
    if let Some(copy) = wiring.catalog.copy(key)? {
        return Ok(BTreeSet::from([copy.manifest.database]));
    }
    let members = wiring
        .catalog
        .archive(key)?
        .map(|archive| archive.manifest.members);
    let members = members.into_iter().flatten();
    Ok(members.map(|member| member.manifest.database).collect())
}
