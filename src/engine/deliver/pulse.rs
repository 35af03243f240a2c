//! Decides what a heartbeat says. Invariant: good is said only of what the catalog and a storage show, not of what a
//! process believes it did.

use std::time::Duration;

use chrono::TimeDelta;

use crate::anomaly::{Staleness, staleness};
use crate::catalog::{CatalogError, Good, Posted};
use crate::config::{Database, Sink};
use crate::notify::Beat;
use crate::types::EventKind;
use crate::wiring::Wiring;

/// A beat that is older says nothing true any more.
pub(super) const PATIENCE: TimeDelta = TimeDelta::hours(1);

/// A store that has not said by then whether a copy is there does not show it.
const STAT_TIMEOUT: Duration = Duration::from_secs(20);

/// What a sink is told for an event.
pub(super) async fn beat(
    wiring: &Wiring,
    sink: &Sink,
    posted: &Posted,
) -> Result<Beat, CatalogError> {
    match posted.event.kind {
        EventKind::BackupStarted => return Ok(Beat::Start),
        EventKind::BackupCompleted => {}
        EventKind::BackupFailed => return Ok(Beat::Bad),
        _ => return Ok(Beat::Nothing),
    }
    for database in wiring.config.databases() {
        let is_its = sink.databases.is_empty() || sink.databases.contains(&database.name);
        if is_its && !has_copy(wiring, database).await? {
            let name = &database.name;
            tracing::warn!(sink = %sink.name, database = %name, "heartbeat {} says that something is wrong: no storage shows a fresh copy of {name}", sink.name);
            return Ok(Beat::Bad);
        }
    }
    Ok(Beat::Good)
}

/// Whether a database has a good copy that is young enough and lies in a storage.
async fn has_copy(wiring: &Wiring, database: &Database) -> Result<bool, CatalogError> {
    let now = wiring.clock.now();
    let Some(good) = wiring.catalog.freshness_copy(&database.name, now)? else {
        return Ok(false);
    };
    let age = staleness(good.created_at, now, &database.alerts);
    Ok(age == Staleness::Fresh && is_stored(wiring, &good).await?)
}

/// Whether a storage has the object that the copy is in.
async fn is_stored(wiring: &Wiring, good: &Good) -> Result<bool, CatalogError> {
    let (key, expected) = match &good.archive {
        None => (&good.key, good.size_bytes),
        Some(key) => match wiring.catalog.archive(key)? {
            Some(archive) => (key, archive.manifest.stored.size_bytes),
            None => return Ok(false),
        },
    };
    for storage in &good.storages {
        let Some(store) = wiring.store(storage) else {
            continue;
        };
        let stat = tokio::time::timeout(STAT_TIMEOUT, store.stat(key)).await;
        if let Ok(Ok(Some(stat))) = stat
            && stat.size_bytes == expected
        {
            return Ok(true);
        }
    }
    Ok(false)
}
