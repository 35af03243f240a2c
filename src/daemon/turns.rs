//! Gives each database's backup, and each kind of other work, its turn. Invariant: one database is never backed up twice
//! at once, and no two weeks are packed at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::types::DatabaseName;

/// One turn per database, and one per kind of other work.
#[derive(Debug, Default)]
pub(super) struct Turns {
    databases: Mutex<BTreeMap<DatabaseName, Arc<tokio::sync::Mutex<()>>>>,
    kinds: [Arc<tokio::sync::Mutex<()>>; 4],
}

/// Work that is not done twice at once, whether the schedule or a command wants it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Packing the week, and letting go what may go.
    Week,
    /// Comparing storages with the catalog.
    Reconcile,
    /// Reading stored copies again.
    Verify,
    /// Restoring copies for a trial.
    Drill,
}

/// The turn of some databases, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _guards: Vec<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits until nobody works on any of these databases.
    pub(super) async fn take(&self, names: &[DatabaseName]) -> Turn {
        let mut guards = Vec::with_capacity(names.len());
        for turn in self.of(names) {
            guards.push(turn.lock_owned().await);
        }
        Turn { _guards: guards }
    }

    /// Waits until nobody does work of this kind.
    pub(super) async fn take_kind(&self, kind: Kind) -> Turn {
        let guard = Arc::clone(&self.kinds[kind as usize]).lock_owned().await;
        Turn {
            _guards: vec![guard],
        }
    }

    /// The turns in the order of names, so that no two wait for each other.
    fn of(&self, names: &[DatabaseName]) -> Vec<Arc<tokio::sync::Mutex<()>>> {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        let mut turns = self
            .databases
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let turns = names
            .into_iter()
            .map(|name| turns.entry(name).or_default().clone());
        turns.collect()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn names(text: &str) -> Vec<DatabaseName> {
        text.split(' ').map(|name| name.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_database_waits_for_its_turn_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.take(&names("b a a")).await;
        turns.take(&names("c")).await;
        let both = names("a c");
        let mut second = Box::pin(turns.take(&both));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        second.await;
    }
}
