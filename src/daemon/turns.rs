//! Locks each kind of work against running twice at once. Invariant: no two archives are made at once. Backups have
//! locks of their own, one per database, in the engine.

use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard};

/// One lock per kind of work.
#[derive(Debug, Default)]
pub(super) struct Turns([Arc<Mutex<()>>; 4]);

/// Work that never runs twice at once, no matter if it was scheduled or requested by a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Making the weekly archive, and expiry.
    Week,
    /// Comparing storages with the catalog.
    Reconcile,
    /// Reading stored copies again.
    Verify,
    /// Restoring copies in a drill.
    Drill,
}

/// The lock of one kind of work, held until it is dropped.
#[derive(Debug)]
#[must_use = "the turn ends when this is dropped"]
pub(super) struct Turn {
    _guard: OwnedMutexGuard<()>,
}

impl Turns {
    /// Waits until no work of this kind is running.
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
