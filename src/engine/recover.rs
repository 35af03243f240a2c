//! Brings the state directory in order after a process that died. Invariant: afterwards every copy is fully there or
//! not there, and nothing else is left.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};

use super::backup::SizeFinding;
use super::commit::{commit, is_read_whole};
use super::expire::LONGEST_WAIT;
use super::judge;
use super::pack::{self, PackError};
use super::spool::{Ready, hash_file};
use super::state::{StateDir, StateError};
use crate::catalog::{CatalogError, Committed, Removal, Spooled};
use crate::progress::Progress;
use crate::types::{DatabaseName, IsoWeek, JobId, ObjectKey};
use crate::wiring::Wiring;

/// A store that does not say by then whether a manifest is there is not asked for more.
const STAT_TIMEOUT: Duration = Duration::from_secs(30);

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

/// Ends what a dead process left: stores copies that were proven, removes what was not.
///
/// # Errors
/// Where the catalog fails or files cannot be removed. Calling it again goes on.
pub async fn run(wiring: &Wiring, state: &StateDir) -> Result<Recovery, RecoverError> {
    let mut recovery = Recovery {
        interrupted: wiring.catalog.interrupt_running(wiring.clock.now())?,
        ..Recovery::default()
    };
    wiring.catalog.release_dead(pack::HOLDER)?;
    wiring.catalog.release_dead(crate::http::HOLDER)?;
    for (job, spooled) in wiring.catalog.spooled()? {
        let name = spooled.database.clone();
        if finish(wiring, job, &spooled).await? {
            recovery.completed.push(name);
        } else {
            wiring.catalog.discard_spooled(job, &name)?;
            recovery.discarded.push(name);
        }
    }
    recovery.listed_again = take_back_removals(wiring).await?;
    for packed in wiring.catalog.packed()? {
        let week = packed.manifest.week;
        match pack::is_proven(&packed) {
            true => match pack::settle(wiring, &packed, &Progress::default()).await {
                Ok(_) => recovery.packed.push(week),
                Err(PackError::Catalog(error)) => return Err(error.into()),
                // No storage took it; the daily copies are there for another one.
                Err(error) => tracing::warn!(%week, "{error}"),
            },
            false => wiring.catalog.discard_packed(&packed.manifest.key)?,
        }
    }
    recovery.swept = state.sweep(&[])?;
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

/// Goes on at N6 where the spool is what was proven; false where it is not, or no store takes it.
async fn finish(wiring: &Wiring, job: JobId, spooled: &Spooled) -> Result<bool, CatalogError> {
    let manifest = &spooled.manifest;
    let is_proven = hash_file(&spooled.path).is_ok_and(|(sha256, size_bytes)| {
        sha256 == manifest.stored.sha256 && size_bytes == manifest.stored.size_bytes
    });
    if !is_proven {
        return Ok(false);
    }
    let ready = Ready::found(spooled.path.clone(), manifest.plain, manifest.stored);
    let outcome = commit(
        &wiring.stores,
        &ready.as_proven(manifest),
        &Progress::default(),
        wiring.clock.as_ref(),
    )
    .await;
    if outcome.good.is_empty() {
        return Ok(false);
    }
    let now = wiring.clock.now();
    let changes = judge::changes(wiring, manifest)?;
    let news = judge::of_copy(wiring, manifest, &SizeFinding::BuiltIn, &changes)?;
    wiring.catalog.settle_spooled_with(
        job,
        &Committed {
            database_id: manifest.source.id.clone(),
            manifest,
            is_read_whole: is_read_whole(manifest.stored.size_bytes),
            storages: outcome.good,
            degraded: outcome.failed,
            started_at: started_at(&manifest.started_at).unwrap_or(now),
            completed_at: now,
            expires_at: super::expires_at(manifest.date, wiring),
        },
        &news,
    )?;
    Ok(true)
}

fn started_at(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .ok()
        .map(|time| time.to_utc())
}
