//! Accepts connections and serves them until it is told to end. Invariant: no client, slow or many, keeps it from ending
//! in time or from answering the others.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::call::Peer;
use super::connection::Connection;
use super::{Api, Sources, router};
use crate::catalog::CatalogError;
use crate::config::Http;

/// A request's head is short; who takes longer holds a connection for nothing.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Below the 1,024 open files that a process usually may have, with room for databases, spools and storages.
const MOST_CONNECTIONS: usize = 768;

/// Neither head nor buffer of a connection takes more.
const MOST_BUFFER_BYTES: usize = 64 * 1024;

/// What answers that were begun may take once the process is told to end; the daemon ends after 8 s at most.
const GRACE: Duration = Duration::from_secs(4);

/// After a failed `accept`, mostly for want of open files, some must be closed first.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process has the address.
    #[error(
        "`{0}` is in use: another process listens there\n\
         hint: end it, or give `listen` in [http] another port; `127.0.0.1:0` takes any free one"
    )]
    InUse(SocketAddr),
    /// The system does not let us listen there.
    #[error("cannot listen on `{address}`: {cause}\nhint: `listen` in [http] names the address")]
    Denied {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        cause: io::Error,
    },
    /// Anybody would be let in.
    #[error(
        "`listen` on `{0}` lets everybody in\n\
         hint: add `[[http.key]]` (see `patina key new`), `[http.access]` or `allow_ips`, or listen on `127.0.0.1`"
    )]
    Open(SocketAddr),
    /// The catalog cannot be read.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
}

/// A server that listens and does not answer yet.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Listens where `[http]` says.
    ///
    /// # Errors
    /// Where the address cannot be had, or reaches beyond this host with nothing that keeps strangers out.
    pub async fn bind(config: &Http) -> Result<Self, ServeError> {
        let wanted = config.listen;
        if !is_local(wanted) && !config.has_auth() {
            return Err(ServeError::Open(wanted));
        }
        let refused = |cause: io::Error| match cause.kind() {
            io::ErrorKind::AddrInUse => ServeError::InUse(wanted),
            _ => ServeError::Denied {
                address: wanted,
                cause,
            },
        };
        let listener = TcpListener::bind(wanted).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens; of port 0 the one that was free.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `sources.stop`, and then ends what it began within four seconds.
    ///
    /// # Errors
    /// Where the catalog cannot be opened for reading.
    pub async fn serve(self, sources: Sources) -> Result<(), ServeError> {
        let stop = sources.stop.clone();
        let router = router::router(Api::new(sources, is_local(self.address))?);
        let places = std::sync::Arc::new(Semaphore::new(MOST_CONNECTIONS));
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
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let (router, stop) = (router.clone(), stop.clone());
                    served.spawn(connection(stream, peer, router, stop, place));
                }
                Err(error) => {
                    tracing::warn!("a connection was not accepted: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        let ended = async { while served.join_next().await.is_some() {} };
        if tokio::time::timeout(GRACE, ended).await.is_err() {
            tracing::warn!("answers that did not end in time are cut off");
        }
        served.shutdown().await;
        Ok(())
    }
}

fn is_local(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_loopback()
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    stop: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // Small answers go out at once.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(Peer(peer));
        router.clone().oneshot(request)
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MOST_BUFFER_BYTES);
    let stream = TokioIo::new(Connection::new(stream));
    let mut served = std::pin::pin!(builder.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, "a connection ended badly: {error}");
    }
}
