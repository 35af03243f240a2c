//! Gives databases their places among those that are worked on at once. Invariant: they come in order of priority, and a
//! free place is taken at once, whatever the others still do.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// So many copies more may wait for storages that are late, beside those that are worked on: each keeps its file in the
/// spool meanwhile.
const MOST_BEHIND: usize = 32;

/// One database's place.
pub(super) struct Place<'a> {
    permit: Mutex<Permit>,
    behind: &'a Semaphore,
}

enum Permit {
    AtWork { _permit: OwnedSemaphorePermit },
    Behind,
}

impl Place<'_> {
    /// Lets the next database begin: what is left to do here is waiting alone. Does nothing where too many do.
    pub(super) fn give_back(&self) {
        let mut permit = self.permit.lock().unwrap_or_else(PoisonError::into_inner);
        if let Permit::AtWork { .. } = *permit
            && let Ok(behind) = self.behind.try_acquire()
        {
            behind.forget();
            *permit = Permit::Behind;
        }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let permit = self
            .permit
            .get_mut()
            .unwrap_or_else(PoisonError::into_inner);
        if let Permit::Behind = permit {
            self.behind.add_permits(1);
        }
    }
}

/// Runs the work of all items, `at_once` of them at a time, in their order. Gives the results in the same order.
pub(super) async fn each<'a, T, R>(
    items: Vec<T>,
    at_once: usize,
    behind: &'a Semaphore,
    work: impl Fn(T, Place<'a>) -> BoxFuture<'a, R>,
) -> Vec<R> {
    let places = Arc::new(Semaphore::new(at_once.max(1)));
    let mut working = FuturesUnordered::new();
    let mut ended: Vec<(usize, R)> = Vec::with_capacity(items.len());
    for (number, item) in items.into_iter().enumerate() {
        let permit = loop {
            tokio::select! {
                biased;
                Some(done) = working.next() => ended.push(done),
                permit = Arc::clone(&places).acquire_owned() => {
                    break permit.expect("nobody closes it");
                }
            }
        };
        let permit = Mutex::new(Permit::AtWork { _permit: permit });
        let work = work(item, Place { permit, behind });
        working.push(async move { (number, work.await) });
    }
    while let Some(done) = working.next().await {
        ended.push(done);
    }
    ended.sort_by_key(|(number, _)| *number);
    ended.into_iter().map(|(_, result)| result).collect()
}

/// The places of those that wait for late storages.
pub(super) fn behind() -> Semaphore {
    Semaphore::new(MOST_BEHIND)
}
