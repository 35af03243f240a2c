//! Chooses the key of a daily copy. Invariant: a key that the catalog or a storage that answers knows is not chosen.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use super::commit::Silent;
use crate::catalog::CatalogError;
use crate::types::{BackupDate, Compression, CopyForm, DatabaseName, ObjectKey};
use crate::wiring::Wiring;

/// How often another installation may take a copy's key before the copy is stored; then something else is wrong.
pub(super) const MOST_LOST_KEYS: u32 = 3;

/// Copies of one database whose export began in the same second are rare; so many never happen.
const MAX_KEYS_TRIED: u32 = 60;

/// A store that has not said by then whether a key is free is not asked any longer.
const STAT_TIMEOUT: Duration = Duration::from_secs(60);

/// The same once another store has said so: what a working store takes, and no database waits long for one that hangs.
const STAT_TIMEOUT_BESIDE: Duration = Duration::from_secs(5);

/// The copy that needs a key.
pub(super) struct KeyRequest<'a> {
    pub(super) database: &'a DatabaseName,
    /// The day it stands for.
    pub(super) date: BackupDate,
    /// When its export began.
    pub(super) started_at: DateTime<Utc>,
    pub(super) form: CopyForm,
    pub(super) compression: Compression,
}

impl KeyRequest<'_> {
    /// The day's first copy has the plain key; a later one the time, or the next second that is free.
    ///
    /// # Errors
    /// Where the catalog cannot be read.
    pub(super) async fn choose(
        &self,
        wiring: &Wiring,
        silent: &Silent,
    ) -> Result<ObjectKey, CatalogError> {
        let key_at =
            |time| ObjectKey::daily(self.date, self.database, time, self.form, self.compression);
        let catalog = &wiring.catalog;
        let mut key = key_at(None);
        let mut is_taken = catalog.daily_key_taken(self.date, self.database)?;
        let mut time = self.started_at.time();
        for _ in 0..MAX_KEYS_TRIED {
            if !is_taken && !is_in_a_store(wiring, silent, &key).await {
                break;
            }
            key = key_at(Some(time));
            is_taken = catalog.copy(&key)?.is_some();
            time += TimeDelta::seconds(1);
        }
        Ok(key)
    }
}

/// Whether a store has an object there; one that does not answer is told when the copy is stored, and none is waited for
/// long once another has answered.
async fn is_in_a_store(wiring: &Wiring, silent: &Silent, key: &ObjectKey) -> bool {
    let stores = wiring.stores.iter();
    let asked = stores.filter(|store| !silent.has(store.name()));
    let mut answers: FuturesUnordered<_> = asked
        .map(|store| async move {
            let stat = store.stat(key).await;
            (store.name(), stat.is_ok_and(|stat| stat.is_some()))
        })
        .collect();
    let mut waiting: BTreeSet<&str> = wiring.stores.iter().map(|it| it.name()).collect();
    let mut patience = STAT_TIMEOUT;
    loop {
        tokio::select! {
            biased;
            answer = answers.next() => match answer {
                None => return false,
                Some((_, true)) => return true,
                Some((store, false)) => {
                    waiting.remove(store);
                    patience = STAT_TIMEOUT_BESIDE;
                }
            },
            () = wiring.clock.sleep(patience) => {
                for store in waiting {
                    silent.note(store, true);
                }
                return false;
            }
        }
    }
}
