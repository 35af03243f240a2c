//! Answers requests: what was backed up, how it stands, the copies themselves. Invariant: a request reads the catalog,
//! opens a store, or leaves a wish and says "look again"; it never runs a job itself.

mod about;
mod answer;
mod aside;
mod audit;
mod auth;
mod call;
mod connection;
mod dashboard;
mod download;
mod events;
#[cfg(test)]
mod fuzz;
mod guides;
mod jobs;
mod kept;
mod ledger;
mod limits;
mod list;
pub mod metrics;
mod openapi;
pub mod page;
mod params;
mod router;
mod server;
mod standing;
mod status;
mod trigger;

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use self::aside::Share;
use crate::catalog::{Catalog, CatalogError};
use crate::progress::Live;
use crate::task::Activator;
use crate::wiring::Wiring;

pub use self::auth::{AccessKeys, key_digest};
pub use self::openapi::DOCUMENT as OPENAPI;
pub use self::router::endpoints;
pub use self::server::{ServeError, Server};

/// What a lease of a copy that is handed out is called in the catalog.
pub const HOLDER: &str = "download";

/// So many granted downloads are looked at for the limits when the server starts: far more than an hour has.
const MOST_TAKEN: usize = 1_000;

/// Gives what requests that begin now work on.
pub type Current = Arc<dyn Fn() -> Arc<Wiring> + Send + Sync>;

/// What the server answers from.
pub struct Sources {
    /// The configuration and what was built from it; asked for each request, so that a reload needs no restart.
    pub current: Current,
    /// The jobs at work.
    pub live: Live,
    /// Has the tasks look again.
    pub activator: Activator,
    /// The keys that Cloudflare Access signs with.
    pub access: AccessKeys,
    /// Gives what the process knows of itself, for the metrics.
    pub vitals: Arc<dyn Fn() -> metrics::Vitals + Send + Sync>,
    /// Ends every open stream.
    pub stop: CancellationToken,
}

/// What every handler is given. Clones are the same.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    sources: Sources,
    /// A connection of its own: reading never waits for who writes.
    reader: Catalog,
    reading: Turns,
    writing: Turns,
    limits: limits::Limits,
    ledger: ledger::Ledger,
    counts: list::Counts,
    standings: standing::Standings,
    share: Share,
    /// Whether nobody beyond this host reaches the server.
    is_local: bool,
}

impl Api {
    fn new(sources: Sources, is_local: bool) -> Result<Self, CatalogError> {
        let catalog = (sources.current)().catalog.clone();
        // One that was just written by this process is there; where it is not, the writer's connection says why.
        let reader = Catalog::open_read_only(catalog.path())?.unwrap_or(catalog);
        let share = Share::new();
        let limits = limits::Limits::default();
        let wiring = (sources.current)();
        let now = (wiring.clock.now(), wiring.clock.elapsed());
        limits.remember(&reader.taken(MOST_TAKEN)?, now);
        Ok(Self(Arc::new(Shared {
            sources,
            reader,
            reading: Turns::new(&share),
            writing: Turns::new(&share),
            limits,
            ledger: ledger::Ledger::default(),
            counts: list::Counts::default(),
            standings: standing::Standings::default(),
            share,
            is_local,
        })))
    }

    /// Waits while a backup runs and requests have had their share of the processors.
    async fn let_backups_work(&self) {
        let is_free = || self.0.sources.live.is_idle();
        self.0.share.wait(is_free).await;
    }

    /// Asks the catalog through the connection that only reads.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        self.0.reading.take(&self.0.reader, question).await
    }

    /// Writes into the catalog; it may wait for the lock of another process.
    async fn write<T: Send + 'static>(
        &self,
        wiring: &Wiring,
        work: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        self.0.writing.take(&wiring.catalog, work).await
    }
}

/// Lets one request after the other use a connection to the catalog, which does one thing at a time. Who waits for a turn
/// holds no thread: those do the work of backups, too.
struct Turns {
    one: Arc<Semaphore>,
    share: Share,
}

impl Turns {
    fn new(share: &Share) -> Self {
        Self {
            one: Arc::new(Semaphore::new(1)),
            share: share.clone(),
        }
    }

    async fn take<T: Send + 'static>(
        &self,
        catalog: &Catalog,
        work: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        let turn = Arc::clone(&self.one).acquire_owned().await;
        let (turn, catalog) = (turn.expect("nobody closes it"), catalog.clone());
        let share = self.share.clone();
        let done = tokio::task::spawn_blocking(move || {
            let _until_done = turn;
            share.charged(|| work(&catalog))
        });
        done.await
            .unwrap_or_else(|error| match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => unreachable!("nothing aborts it"),
            })
    }
}
