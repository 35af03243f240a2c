//! Gives each database's backup its turn. Invariant: one database is never backed up twice at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

use crate::types::DatabaseName;

/// One turn per database.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<BTreeMap<DatabaseName, Arc<tokio::sync::Mutex<()>>>>);

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

    /// The turns in the order of names, so that no two wait for each other.
    fn of(&self, names: &[DatabaseName]) -> Vec<Arc<tokio::sync::Mutex<()>>> {
        let mut names = names.to_vec();
        names.sort();
        names.dedup();
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
