//! Answers HTTP requests: status, API, downloads, dashboard, metrics. Invariant: a request reads the catalog, opens a
//! store, or records a backup request and activates the tasks; it never runs a job itself.

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

/// Holder name of a download's leases in the catalog.
pub const HOLDER: &str = "download";

/// Upper bound for the granted downloads read at startup to restore the limits: far more than one hour allows.
const MOST_TAKEN: usize = 1_000;

/// Returns the wiring for requests that begin now.
pub type Current = Arc<dyn Fn() -> Arc<Wiring> + Send + Sync>;

/// Inputs of the server.
pub struct Sources {
    /// Returns the configuration and what was built from it; called for each request, so that a reload needs no
    /// restart.
    pub current: Current,
    /// The running jobs.
    pub live: Live,
    /// Activates the tasks.
    pub activator: Activator,
    /// The public keys of Cloudflare Access.
    pub access: AccessKeys,
    /// Returns the process state for the metrics.
    pub vitals: Arc<dyn Fn() -> metrics::Vitals + Send + Sync>,
    /// Stops the server and ends every open stream.
    pub stop: CancellationToken,
}

/// State passed to every handler. Clones share it.
#[derive(Clone)]
struct Api(Arc<Shared>);

struct Shared {
    sources: Sources,
    /// A separate connection: reading never waits for writers.
    reader: Catalog,
    reading: Turns,
    writing: Turns,
    limits: limits::Limits,
    ledger: ledger::Ledger,
    counts: list::Counts,
    standings: standing::Standings,
    share: Share,
    /// True if the server is reachable only from this host.
    is_local: bool,
}

impl Api {
    fn new(sources: Sources, is_local: bool) -> Result<Self, CatalogError> {
        let catalog = (sources.current)().catalog.clone();
        // The file exists, since this process just wrote it; if it does not, the writer's connection reports the error.
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

    /// Waits while a backup runs and requests have used up their CPU share.
    async fn let_backups_work(&self) {
        let is_free = || self.0.sources.live.is_idle();
        self.0.share.wait(is_free).await;
    }

    /// Reads the catalog through the read-only connection.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        self.0.reading.take(&self.0.reader, question).await
    }

    /// Writes to the catalog; may wait for another process's lock.
    async fn write<T: Send + 'static>(
        &self,
        wiring: &Wiring,
        work: impl FnOnce(&Catalog) -> Result<T, CatalogError> + Send + 'static,
    ) -> Result<T, CatalogError> {
        self.0.writing.take(&wiring.catalog, work).await
    }
}

/// Serializes the requests on one catalog connection, which does one thing at a time. A waiting request holds no
/// thread: backups need those, too.
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
