//! Prepares the context of each request. Invariant: every handler knows the client address and uses one configuration
//! throughout, and a response may be cached only if its handler says so.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{
    CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, HeaderMap, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::answer::Refusal;
use super::auth::client_address;
use super::params::Params;
use crate::wiring::Wiring;

/// Upper bound for a request body; no request needs more.
pub(super) const MOST_BODY_BYTES: usize = 64 * 1024;

/// Time limit of every response but a download, which includes waiting for the catalog.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Addresses of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Address of the peer.
    pub(super) from: SocketAddr,
    /// Local address; `None` if the system does not report it.
    pub(super) to: Option<SocketAddr>,
}

/// Context of one request, as every layer and handler sees it.
#[derive(Clone)]
pub(super) struct Call {
    /// Random UUID, sent in the response headers and used in the log and the audit.
    pub(super) id: String,
    /// Client address, not that of a trusted proxy.
    pub(super) address: IpAddr,
    /// True if the connection comes from this host.
    pub(super) is_peer_local: bool,
    /// True if the connection comes from a trusted proxy.
    pub(super) is_proxy_trusted: bool,
    /// Local address of the connection.
    pub(super) here: Option<IpAddr>,
    /// Wiring in force when the request arrived, used to its end.
    pub(super) wiring: Arc<Wiring>,
}

/// Outermost middleware layer.
pub(super) async fn look(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let wiring = (api.0.sources.current)();
    let from = address_of(&wiring, &request);
    let mut response = match call(&api, &id, &request) {
        Ok(call) => {
            let address = call.address;
            request.extensions_mut().insert(call);
            // A download starts when its storage sends the first bytes; after that, its duration depends on the client.
            let answered = match path.starts_with("/download/") {
                true => Ok(next.run(request).await),
                false => tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await,
            };
            let response = answered.unwrap_or_else(|_| {
                Refusal::unavailable("the answer took too long; try again").into_response()
            });
            let status = response.status().as_u16();
            tracing::debug!(request = %id, %address, %method, %path, status, "{method} {path}: {status}");
            response
        }
        Err(refusal) => refusal.into_response(),
    };
    let seen = (id.as_str(), wiring.clock.as_ref());
    let ledger = &api.0.ledger;
    ledger.answered(seen, from, (&method, &path), &response);
    let headers = response.headers_mut();
    let mut say = |name: HeaderName, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    say(CACHE_CONTROL, "no-store");
    say(X_CONTENT_TYPE_OPTIONS, "nosniff");
    say(REFERRER_POLICY, "no-referrer");
    if let Ok(id) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, id);
    }
    response
}

fn call(api: &Api, id: &str, request: &Request) -> Result<Call, Refusal> {
    let Some(Peer { from: peer, to }) = request.extensions().get::<Peer>().copied() else {
        return Err(Refusal::bad("the connection has no address"));
    };
    refuse_long_body(request.headers())?;
    refuse_key_in_query(request.uri().query())?;
    let wiring = (api.0.sources.current)();
    let address = client_address(wiring.config.http(), peer.ip(), request.headers())?;
    let peer_address = peer.ip().to_canonical();
    let mut trusted = wiring.config.http().trusted_proxies.iter();
    let is_proxy_trusted = trusted.any(|network| network.contains(peer_address));
    Ok(Call {
        id: id.to_owned(),
        address,
        is_peer_local: peer_address.is_loopback(),
        is_proxy_trusted,
        here: to.map(|to| to.ip().to_canonical()),
        wiring,
    })
}

/// Returns the client address, or the peer's if the proxy's header is invalid.
fn address_of(wiring: &Wiring, request: &Request) -> Option<IpAddr> {
    let peer = request.extensions().get::<Peer>()?.from.ip();
    let address = client_address(wiring.config.http(), peer, request.headers());
    Some(address.unwrap_or(peer.to_canonical()))
}

fn refuse_long_body(headers: &HeaderMap) -> Result<(), Refusal> {
    let length = headers.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    match length {
        Some(length) if length > MOST_BODY_BYTES as u64 => Err(body_too_long()),
        _ => Ok(()),
    }
}

pub(super) fn body_too_long() -> Refusal {
    let message = format!("a request's body may have {MOST_BODY_BYTES} bytes");
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_long", message)
}

/// Rejects a key in the query: URLs are kept in logs and histories, so that key is no longer secret.
fn refuse_key_in_query(query: Option<&str>) -> Result<(), Refusal> {
    const NAMES: [&str; 6] = [
        "key",
        "api_key",
        "apikey",
        "token",
        "x-patina-key",
        "patina_key",
    ];
    let is_key = |(name, value): (String, String)| {
        NAMES.contains(&name.to_ascii_lowercase().as_str()) || value.starts_with("ptk_")
    };
    if Params::pairs(query.unwrap_or_default()).any(is_key) {
        let message = "a key does not belong in the address, where logs keep it: send the header \
                       X-Patina-Key, and replace this key";
        return Err(Refusal::bad(message).because("key_in_address"));
    }
    Ok(())
}

/// Makes the server close the connection after this response, without reading the rest of the request.
pub(super) fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
