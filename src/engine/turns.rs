//! Gives each database's backup its turn. Invariant: one database is never backed up twice at once, and none waits for the
//! turn of another.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::types::DatabaseName;

/// One turn per database.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<DatabaseName, Arc<tokio::sync::Mutex<()>>>>);

/// The turn of a database, until it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Whether somebody works on this database now.
    pub(super) fn is_taken(&self, name: &DatabaseName) -> bool {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.get(name).is_some_and(|turn| turn.try_lock().is_err())
    }

    /// Waits until nobody works on this database.
    pub(super) async fn take(&self, name: &DatabaseName) -> Turn {
        let turn = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(name.clone()).or_default())
        };
        Turn {
            _guard: turn.lock_owned().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn a_database_waits_for_its_turn_and_others_do_not() {
        let turns = Turns::default();
        let [blog, shop]: [DatabaseName; 2] = ["blog", "shop"].map(|name| name.parse().unwrap());
        let first = turns.take(&blog).await;
        assert!(turns.is_taken(&blog) && !turns.is_taken(&shop));
        let _other = turns.take(&shop).await;
        let mut second = Box::pin(turns.take(&blog));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let _second = second.await;
    }
}
