//! Gives each kind of work its turn. Invariant: no two weeks are packed at once. Backups have turns of their own, one per
//! database, in the engine.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// One turn per kind of work.
#[derive(Debug, Default)]
pub(super) struct Turns([Arc<Mutex<()>>; 4]);

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

/// The turn of one kind of work, until it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits until nobody does work of this kind.
    pub(super) async fn take(&self, kind: Kind) -> Turn {
        Turn {
            _guard: Arc::clone(&self.0[kind as usize]).lock_owned().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn work_of_a_kind_waits_for_its_turn_and_others_do_not() {
        let turns = Turns::default();
        let first = turns.take(Kind::Week).await;
        let _other = turns.take(Kind::Verify).await;
        let mut second = Box::pin(turns.take(Kind::Week));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        let _second = second.await;
    }
}
