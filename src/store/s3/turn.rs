//! Serializes the creation of each key within this process. Invariant: at most one creator holds a key.
//!
//! Required for services without conditional writes, and for one that checks `If-None-Match` and completes an upload in
//! two steps: SeaweedFS 4.48 lets both of two simultaneous completions succeed in one of five cases.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::types::ObjectKey;

#[derive(Default)]
pub(super) struct Turns {
    busy: Mutex<BTreeSet<ObjectKey>>,
    freed: Notify,
}

/// Exclusive right to create one key; dropping it releases the key.
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: &'a ObjectKey,
}

impl Turns {
    /// Waits until no other task creates `key`.
    pub(super) async fn take<'a>(&'a self, key: &'a ObjectKey) -> Turn<'a> {
        loop {
            let mut freed = pin!(self.freed.notified());
            // Registers before the check, so that a release after it is not missed.
            freed.as_mut().enable();
            if self.busy().insert(key.clone()) {
                return Turn { turns: self, key };
            }
            freed.await;
        }
    }

    fn busy(&self) -> MutexGuard<'_, BTreeSet<ObjectKey>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.turns.busy().remove(self.key);
        self.turns.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_key_has_one_turn_and_another_key_does_not_wait() {
        let turns = Turns::default();
        let one = "weekly/2026-W47.tar.gz".parse().unwrap();
        let other = "weekly/2026-W46.tar.gz".parse().unwrap();
        let held = turns.take(&one).await;
        let _other = turns.take(&other).await;
        let mut next = pin!(turns.take(&one));
        assert!(futures_util::poll!(next.as_mut()).is_pending());
        drop(held);
        assert!(futures_util::poll!(next.as_mut()).is_ready());
    }
}
