//! Accepts connections and serves them until it is stopped. Invariant: clients, slow or numerous, delay neither the
//! shutdown nor the responses to others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::process::{Resource, getrlimit};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::aside::Threads;
use super::call::Peer;
use super::connection::Connection;
use super::{Api, Sources, ledger, router};
use crate::catalog::CatalogError;
use crate::config::Http;
use crate::types::counted;

/// Time limit of a request's head. It is short; a client that takes longer only occupies a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Upper bound for connections, below the usual limit of 1,024 open files, with room for databases, spools and
/// storages.
const MOST_CONNECTIONS: u64 = 768;

/// Number of open files reserved for backups, regardless of the clients: the catalog, the log, and for each database
/// read at the same time its files, its spool and the copy that proves it.
const FILES_FOR_BACKUPS: u64 = 48;

/// Number of clients served even if there are hardly enough files for backups.
const LEAST_CONNECTIONS: u64 = 4;

/// Buffer size of a connection, which bounds a request's head.
const MOST_BUFFER_BYTES: usize = 64 * 1024;

/// Time for responses in progress once the process is stopping; the daemon ends after 8 s at most.
const GRACE: Duration = Duration::from_secs(4);

/// Pause after a failed `accept`, which mostly means too many open files: some must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Reason that the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process uses the address.
    #[error(
        "`{0}` is in use: another process listens there\n\
         hint: end it, or give `listen` in [http] another port; `127.0.0.1:0` takes any free one"
    )]
    InUse(SocketAddr),
    /// The system does not allow listening on the address.
    #[error("cannot listen on `{address}`: {cause}\nhint: `listen` in [http] names the address")]
    Denied {
        /// The address.
        address: SocketAddr,
        /// The system's error.
        cause: io::Error,
    },
    /// Everyone would be admitted.
    #[error(
        "`listen` on `{0}` lets everybody in\n\
         hint: add `[[http.key]]` (see `patina key new`), `[http.access]` or `allow_ips`, or listen on `127.0.0.1`"
    )]
    Open(SocketAddr),
    /// The system provides no threads for requests.
    #[error(
        "no threads for requests: {0}\n\
         hint: raise the limit of processes and threads (`ulimit -u`; `TasksMax` of a systemd unit)"
    )]
    Threads(io::Error),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A server that listens but does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens on the address in `[http]`.
    ///
    /// # Errors
    /// If the address is unavailable, or reachable beyond this host without any authentication configured.
    pub async fn bind(config: &Http) -> Result<Self, ServeError> {
        let wanted = config.listen;
        if !is_local(wanted) && !config.has_auth() {
            return Err(ServeError::Open(wanted));
        }
        let refused = |cause| refused(wanted, cause);
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Address that it listens on; for port 0, with the port that was chosen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves requests until `sources.stop`, and then gives those in progress four seconds. Backups come first:
    /// requests run on low-priority threads and, while a backup runs, are limited to a share of the processors.
    ///
    /// # Errors
    /// If no threads are available, or the catalog cannot be opened for reading.
    pub async fn serve(self, sources: Sources) -> Result<(), ServeError> {
        let threads = Threads::new().map_err(ServeError::Threads)?;
        threads.run(self.answer(sources)).await
    }

    async fn answer(self, sources: Sources) -> Result<(), ServeError> {
        let stop = sources.stop.clone();
        let api = Api::new(sources, is_local(self.address))?;
        let router = router::router(api.clone());
        let most = connections(open_files());
        if most < MOST_CONNECTIONS {
            tracing::info!(
                "at most {} at once: the process may have {} open, and backups come first",
                counted(most, "client"),
                counted(open_files().unwrap_or_default(), "file")
            );
        }
        let places = std::sync::Arc::new(Semaphore::new(usize::try_from(most).unwrap_or_default()));
        let noting = tokio::spawn(ledger::keep(api.clone()));
        // The socket's events are delivered to the runtime on which it is registered.
        let listener = self.listener.into_std().and_then(TcpListener::from_std);
        let listener = listener.map_err(|error| refused(self.address, error))?;
        let mut served = JoinSet::new();
        loop {
            while served.try_join_next().is_some() {}
            let place = tokio::select! {
                () = stop.cancelled() => break,
                place = std::sync::Arc::clone(&places).acquire_owned() => place,
            };
            let place = place.expect("nobody closes it");
            let accepted = tokio::select! {
                () = stop.cancelled() => break,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (api, router) = (api.clone(), router.clone());
                    served.spawn(connection(stream, peer, api, router, place));
                }
                Err(error) => {
                    tracing::warn!("a connection was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        let ended = async { while served.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("answers that did not end in time are cut off");
        }
        served.shutdown().await;
        // Writes the refusals of the last second, too.
        let _ = noting.await;
        ledger::note(&api, true).await;
        Ok(())
    }
}

/// Number of files that the process may have open; `None` if unlimited.
fn open_files() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Number of clients served at once: a quarter of all open files, or more if there are few, is left to backups.
fn connections(open_files: Option<u64>) -> u64 {
    let Some(all) = open_files else {
        return MOST_CONNECTIONS;
    };
    let for_backups = FILES_FOR_BACKUPS.max(all / 4);
    all.saturating_sub(for_backups)
        .clamp(LEAST_CONNECTIONS, MOST_CONNECTIONS)
}

fn refused(address: SocketAddr, cause: io::Error) -> ServeError {
    match cause.kind() {
        io::ErrorKind::AddrInUse => ServeError::InUse(address),
        _ => ServeError::Denied { address, cause },
    }
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    api: Api,
    router: Router,
    _place: OwnedSemaphorePermit,
) {
    // Small responses are sent at once.
    let _ = stream.set_nodelay(true);
    let to = stream.local_addr().ok();
    let peer = Peer { from, to };
    let service = service_fn(|mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let (api, router) = (&api, router.clone());
        async move {
            api.let_backups_work().await;
            router.oneshot(request).await
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MOST_BUFFER_BYTES);
    let stream = TokioIo::new(Connection::new(stream));
    let mut served = std::pin::pin!(builder.serve_connection(stream, service));
    let stop = &api.0.sources.stop;
    let ended = api.0.share.charged_steps(async {
        tokio::select! {
            ended = served.as_mut() => ended,
            () = stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                served.await
            }
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(peer = %from, "a connection ended badly: {error}");
    }
}
