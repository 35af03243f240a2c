//! Brings the state directory in order after a process that died. Invariant: afterwards every copy is fully there or
//! not there, and nothing else is left.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, StreamExt, stream};

use super::backup::SizeFinding;
use super::commit::{NotPlaced, Silent, in_each, is_read_whole, place};
use super::daily_key::{KeyRequest, MOST_LOST_KEYS};
use super::expire::LONGEST_WAIT;
use super::judge;
use super::pack::{self, PackError};
use super::spool::{Ready, hash_file};
use super::state::{StateDir, StateError};
use crate::catalog::{AddedStorages, CatalogError, Committed, Packed, Removal, Spooled};
use crate::progress::Progress;
use crate::types::{DatabaseName, IsoWeek, JobId, Manifest, ObjectKey};
use crate::wiring::Wiring;

/// A store that does not say by then whether a manifest is there is not asked for more.
const STAT_TIMEOUT: Duration = Duration::from_secs(30);

/// So many left-over copies are stored at once.
const AT_ONCE: usize = 4;

/// What was found and done.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Jobs that a dead process left running; they are `interrupted` now.
    pub interrupted: Vec<JobId>,
    /// Databases whose proven copy was still stored.
    pub completed: Vec<DatabaseName>,
    /// Databases whose copy was given up.
    pub discarded: Vec<DatabaseName>,
    /// Weeks whose proven archive was still stored.
    pub packed: Vec<IsoWeek>,
    /// Copies whose deletion had begun and taken nothing away: they are listed again.
    pub listed_again: usize,
    /// Left-over files that were removed.
    pub swept: u64,
}

/// Why the state cannot be brought in order.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Left-over files cannot be removed.
    #[error(transparent)]
    Sweep(#[from] StateError),
}

/// What a dead process left to be stored, once everything else is in order.
#[derive(Debug, Default)]
pub struct Left {
    recovery: Recovery,
    spooled: Vec<(JobId, Spooled)>,
    packed: Vec<Packed>,
}

/// Ends what a dead process left: stores copies that were proven, removes what was not.
///
/// # Errors
/// Where the catalog fails or files cannot be removed. Calling it again goes on.
pub async fn run(wiring: &Wiring, state: &StateDir) -> Result<Recovery, RecoverError> {
    let left = begin(wiring, state)?;
    end(wiring, left).await
}

/// Brings in order whatever takes no storage: jobs, leases, and files that nothing waits for.
///
/// # Errors
/// As [`run`].
pub fn begin(wiring: &Wiring, state: &StateDir) -> Result<Left, RecoverError> {
    let catalog = &wiring.catalog;
    let interrupted = catalog.interrupt_running(wiring.clock.now())?;
    catalog.release_dead(pack::HOLDER)?;
    catalog.release_dead(crate::http::HOLDER)?;
    let (spooled, packed) = (catalog.spooled()?, catalog.packed()?);
    let files = spooled.iter().map(|(_, spooled)| &spooled.path);
    let files = files.chain(packed.iter().map(|packed| &packed.path));
    let keep: Vec<PathBuf> = files.cloned().collect();
    let swept = state.sweep(&keep)?;
    Ok(Left {
        recovery: Recovery {
            interrupted,
            swept,
            ..Recovery::default()
        },
        spooled,
        packed,
    })
}

/// Stores what [`begin`] left. New jobs may run meanwhile.
///
/// # Errors
/// Where the catalog fails.
pub async fn end(wiring: &Wiring, left: Left) -> Result<Recovery, RecoverError> {
    let Left {
        mut recovery,
        spooled,
        packed,
    } = left;
    let finished = spooled.into_iter().map(|(job, spooled)| async move {
        let is_stored = finish(wiring, job, &spooled).await?;
        Ok::<_, CatalogError>((spooled.database, is_stored, remove(&spooled.path)))
    });
    // Side by side in each storage; few, as each may be large.
    let finished = Vec::from_iter(finished.map(FutureExt::boxed));
    let mut finished = stream::iter(finished).buffer_unordered(AT_ONCE);
    while let Some(ended) = finished.next().await {
        let (name, is_stored, swept) = ended?;
        recovery.swept += swept;
        match is_stored {
            true => recovery.completed.push(name),
            false => recovery.discarded.push(name),
        }
    }
    recovery.completed.sort();
    recovery.discarded.sort();
    recovery.listed_again = take_back_removals(wiring).await?;
    for packed in packed {
        let week = packed.manifest.week;
        match pack::is_proven(&packed) {
            true => match pack::settle(wiring, &packed, &Progress::default()).await {
                Ok(_) => recovery.packed.push(week),
                Err(PackError::Catalog(error)) => return Err(error.into()),
                // No storage took it; the daily copies are there for another one.
                Err(error) => tracing::warn!(%week, "{error}"),
            },
            false => {
                wiring.catalog.discard_packed(&packed.manifest.key)?;
                recovery.swept += remove(&packed.path);
            }
        }
    }
    if recovery != Recovery::default() {
        tracing::warn!(
            interrupted = recovery.interrupted.len(),
            completed = recovery.completed.len(),
            discarded = recovery.discarded.len(),
            listed_again = recovery.listed_again,
            swept = recovery.swept,
            "the last process ended early; its work was brought in order"
        );
    }
    Ok(recovery)
}

/// Lists copies again that a dead process had chosen to delete and that are there: hundreds are chosen and noted at once,
/// and only the next expiry would ask about them. Gives how many.
async fn take_back_removals(wiring: &Wiring) -> Result<usize, CatalogError> {
    let mut untouched: Vec<Removal> = Vec::new();
    let mut silent = BTreeSet::new();
    for (key, storage) in wiring.catalog.removals()? {
        let Some(store) = wiring
            .store(&storage)
            .filter(|_| !silent.contains(&storage))
        else {
            continue;
        };
        let manifest = key.manifest();
        let stat = tokio::select! {
            biased;
            stat = store.stat(&manifest) => stat.ok(),
            () = wiring.clock.sleep(STAT_TIMEOUT) => None,
        };
        match stat {
            Some(Some(_)) => untouched.push((key, storage)),
            Some(None) => {}
            // The next expiry asks again.
            None => {
                silent.insert(storage);
            }
        }
    }
    let catalog = &wiring.catalog;
    catalog.cancel_removals(&untouched)?;
    let mut chosen: BTreeSet<ObjectKey> = untouched.into_iter().map(|(key, _)| key).collect();
    // A longer grace lasts from one run to the next; a short one was over with the run that died.
    if wiring.config.retention().grace <= LONGEST_WAIT {
        let items = catalog.items()?.into_iter();
        chosen.extend(
            items
                .filter(|item| item.marked_at.is_some())
                .map(|item| item.key),
        );
    }
    let chosen = Vec::from_iter(chosen);
    catalog.unmark(&chosen)?;
    Ok(chosen.len())
}

/// Removes a file that nothing waits for any more; one that stays is swept at the next start.
fn remove(path: &Path) -> u64 {
    u64::from(fs::remove_file(path).is_ok())
}

/// Goes on at N6 where the spool is what was proven; false where it is not, or no store takes it. Another installation
/// may have taken its key meanwhile; then the next free one is tried, as a backup does.
async fn finish(wiring: &Wiring, job: JobId, spooled: &Spooled) -> Result<bool, CatalogError> {
    let catalog = &wiring.catalog;
    let mut spooled = spooled.clone();
    let mut is_good = catalog.copy(&spooled.manifest.key)?.is_some();
    if is_proven(&spooled).await {
        let mut tries_left = MOST_LOST_KEYS;
        while store(wiring, job, &spooled, &mut is_good).await? && !is_good && tries_left > 0 {
            tries_left -= 1;
            spooled.manifest.key = another_key(wiring, &spooled.manifest).await?;
            catalog.respool(job, &spooled)?;
        }
    }
    catalog.end_spooled(job, &spooled.database)?;
    Ok(is_good)
}

async fn is_proven(spooled: &Spooled) -> bool {
    let (path, stored) = (spooled.path.clone(), spooled.manifest.stored);
    let hashed = tokio::task::spawn_blocking(move || hash_file(&path)).await;
    hashed.is_ok_and(|hashed| {
        hashed.is_ok_and(|(sha256, size_bytes)| {
            sha256 == stored.sha256 && size_bytes == stored.size_bytes
        })
    })
}

/// Stores it in every storage. Gives whether one of them holds something else under its key.
async fn store(
    wiring: &Wiring,
    job: JobId,
    spooled: &Spooled,
    is_good: &mut bool,
) -> Result<bool, CatalogError> {
    let manifest = &spooled.manifest;
    let ready = Ready::found(spooled.path.clone(), manifest.plain, manifest.stored);
    let (clock, silent) = (wiring.clock.as_ref(), Silent::default());
    let proven = ready.as_proven(manifest);
    let placing = place(&wiring.stores, &proven, &silent, clock);
    let (progress, size_bytes) = (Progress::default(), manifest.stored.size_bytes);
    let mut is_key_taken = false;
    in_each(placing, &progress, size_bytes, |placed| {
        let (storages, degraded) = match placed {
            Ok(storage) => (vec![storage], Vec::new()),
            Err(NotPlaced { why, is_taken }) => {
                is_key_taken |= is_taken;
                (Vec::new(), vec![why])
            }
        };
        if *is_good {
            add(wiring, job, manifest, (&storages, &degraded))
        } else if storages.is_empty() {
            Ok(())
        } else {
            *is_good = true;
            settle(wiring, job, manifest, storages)
        }
    })
    .await?;
    Ok(is_key_taken)
}

async fn another_key(wiring: &Wiring, manifest: &Manifest) -> Result<ObjectKey, CatalogError> {
    let request = KeyRequest {
        database: &manifest.database,
        date: manifest.date,
        started_at: started_at(&manifest.started_at).unwrap_or(wiring.clock.now()),
        form: manifest.key.form(),
        compression: manifest.stored.compression,
    };
    request.choose(wiring, &Silent::default()).await
}

/// Lets a copy count that lies in its first storage now.
fn settle(
    wiring: &Wiring,
    job: JobId,
    manifest: &Manifest,
    storages: Vec<String>,
) -> Result<(), CatalogError> {
    let now = wiring.clock.now();
    let changes = judge::changes(wiring, manifest)?;
    let news = judge::of_copy(wiring, manifest, &SizeFinding::BuiltIn, &changes)?;
    wiring.catalog.settle_first(
        job,
        &Committed {
            database_id: manifest.source.id.clone(),
            manifest,
            is_read_whole: is_read_whole(manifest.stored.size_bytes),
            storages,
            degraded: Vec::new(),
            started_at: started_at(&manifest.started_at).unwrap_or(now),
            completed_at: now,
            expires_at: super::expires_at(manifest.date, wiring),
        },
        &news,
    )
}

fn add(
    wiring: &Wiring,
    job: JobId,
    manifest: &Manifest,
    (storages, degraded): (&[String], &[String]),
) -> Result<(), CatalogError> {
    let added = AddedStorages {
        manifest,
        storages,
        degraded,
        is_read_whole: is_read_whole(manifest.stored.size_bytes),
        at: wiring.clock.now(),
    };
    wiring.catalog.add_storages(job, &added)
}

fn started_at(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.to_utc())
}
