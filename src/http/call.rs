//! Looks at a request before anything else does. Invariant: whatever answers it knows the client's address, has one
//! configuration throughout, and says nothing that a cache may keep.

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

/// No request needs to say more.
pub(super) const MOST_BODY_BYTES: usize = 64 * 1024;

/// Whatever is answered at once is answered within this time; the catalog may be waited for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Peer {
    /// Who called.
    pub(super) from: SocketAddr,
    /// What it called; `None`: the system does not say.
    pub(super) to: Option<SocketAddr>,
}

/// One request, as every layer and handler sees it.
#[derive(Clone)]
pub(super) struct Call {
    /// A random UUID: in the answer's head, the log and the audit.
    pub(super) id: String,
    /// The client's address, not that of a proxy that is trusted.
    pub(super) address: IpAddr,
    /// Whether the connection comes from this host.
    pub(super) is_peer_local: bool,
    /// Whether the connection comes from a proxy that is trusted.
    pub(super) is_proxy_trusted: bool,
    /// The address of this host that the connection came to.
    pub(super) here: Option<IpAddr>,
    /// What it works on from beginning to end.
    pub(super) wiring: Arc<Wiring>,
}

/// The outermost layer.
pub(super) async fn look(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let id = uuid::Uuid::new_v4().to_string();
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let wiring = (api.0.sources.current)();
    let from = address_of(&wiring, &request);
    let mut response = match call(&api, &id, &request) {
        Ok(call) => {
            let address = call.address;
            request.extensions_mut().insert(call);
            // A download begins when its storage gave the first bytes; what it then takes is the client's affair.
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

/// The client's address, or the peer's where a proxy does not give one.
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

/// Addresses are kept in logs and histories, so a key there is no secret any more.
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

/// Marks an answer after which the rest of the request is not read.
pub(super) fn closing(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
