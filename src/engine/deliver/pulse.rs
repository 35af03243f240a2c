//! Decides what a heartbeat says. Invariant: good is said only of what the catalog and a storage show, not of what a
//! process believes it did.

use std::time::Duration;

use chrono::TimeDelta;

use crate::anomaly::{Staleness, staleness};
use crate::catalog::{CatalogError, Posted, StoredCopy};
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
    let Some(copy) = wiring.catalog.last_good(&database.name)? else {
        return Ok(false);
    };
    let now = wiring.clock.now();
    let age = staleness(copy.created_at, now, &database.alerts);
    Ok(age == Staleness::Fresh && is_stored(wiring, &copy).await)
}

async fn is_stored(wiring: &Wiring, copy: &StoredCopy) -> bool {
    for placement in copy.live() {
        let Some(store) = wiring.store(&placement.storage) else {
            continue;
        };
        let stat = tokio::time::timeout(STAT_TIMEOUT, store.stat(copy.key())).await;
        let expected = copy.manifest.stored.size_bytes;
        if let Ok(Ok(Some(stat))) = stat
            && stat.size_bytes == expected
        {
            return true;
        }
    }
    false
}
