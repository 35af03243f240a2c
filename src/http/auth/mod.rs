//! Authenticates and authorizes clients. Invariant: a request that no rule admits is refused, and the response to wrong
//! credentials does not reveal how close they came.

mod access;
mod address;
mod key;
mod ring_provider;
mod site;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::HeaderMap;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use self::key::Unfit;
use super::Api;
use super::answer::Refusal;
use super::call::Call;
use crate::config::{Opening, Scope};

pub use self::access::AccessKeys;
pub(super) use self::address::client_address;
pub use self::key::digest as key_digest;

/// A client that was admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// Name in the audit and the limits: `key:<id>`, `access:<user>` or `address:<ip>`.
    pub(super) name: String,
}

/// Authorization that a route requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// None.
    Nothing,
    /// A scope, and the `open` entry of the configuration that makes the route public, if there is one.
    Scope(Scope, Option<Opening>),
}

/// Middleware: passes an authorized request on to its handler.
pub(super) async fn require(
    State((api, needs)): State<(Api, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Needs::Scope(scope, opening) = needs else {
        return next.run(request).await;
    };
    let Some(call) = request.extensions().get::<Call>().cloned() else {
        return Refusal::bad("the request has no address").into_response();
    };
    let found = way_in(&api, &call, request.headers(), (scope, opening)).await;
    let way = match found.and_then(|way| meant_for_us(way, &call, scope, &request)) {
        Ok(way) => way,
        Err(refusal) => return refusal.into_response(),
    };
    let name = match way {
        Way::Key(id) => format!("key:{id}"),
        Way::Access(user) => format!("access:{user}"),
        Way::Address | Way::Open | Way::Local => format!("address:{}", call.address),
    };
    api.0.ledger.came(&name, call.address);
    let caller = Caller { name };
    request.extensions_mut().insert(caller.clone());
    let mut response = next.run(request).await;
    response.extensions_mut().insert(caller);
    response
}

/// Rule that admitted a client.
enum Way {
    Key(String),
    Access(String),
    Address,
    /// The route is public.
    Open,
    /// No authentication is configured, and the client is on this host.
    Local,
}

/// Refuses requests for another host and requests from pages of another site. A browser lends its address, and to some
/// extent its cookies, to any page; only a key proves that the request was intended.
fn meant_for_us(way: Way, call: &Call, scope: Scope, request: &Request) -> Result<Way, Refusal> {
    let (method, headers, uri) = (request.method(), request.headers(), request.uri());
    let is_elsewhere = || site::is_from_elsewhere(call, scope, (method, headers, uri));
    let is_refused = match &way {
        Way::Key(_) => false,
        // Cloudflare vouches for the host name.
        Way::Access(_) => !method.is_safe() && is_elsewhere(),
        Way::Address | Way::Open | Way::Local => {
            if !site::is_for_us(call, headers, uri) {
                let message = "the request is for another host";
                let status = StatusCode::MISDIRECTED_REQUEST;
                return Err(Refusal::new(status, "wrong_host", message).with(
                    "hint",
                    "name the host in `hosts` of [http] in patina.toml if it leads here, or send a key as X-Patina-Key",
                ));
            }
            is_elsewhere()
        }
    };
    match is_refused {
        true => {
            let message = "the request comes from a page of another site";
            let refusal = Refusal::new(StatusCode::FORBIDDEN, "forbidden", message);
            Err(refusal.because("other_site"))
        }
        false => Ok(way),
    }
}

async fn way_in(
    api: &Api,
    call: &Call,
    headers: &HeaderMap,
    (scope, opening): (Scope, Option<Opening>),
) -> Result<Way, Refusal> {
    let (http, clock) = (call.wiring.config.http(), &call.wiring.clock);
    let holder = key::holder(http, headers, call.address, clock.now());
    if let Some((key, None)) = holder
        && key.scopes.contains(&scope)
    {
        return Ok(Way::Key(key.id.clone()));
    }
    if let Some(access) = &http.access {
        let known = &api.0.sources.access;
        if let Some(user) = known.user(access, headers, clock.as_ref()).await {
            return Ok(Way::Access(user));
        }
    }
    let mut allowed = http.allow_ips.iter();
    if allowed.any(|network| network.contains(call.address)) {
        return Ok(Way::Address);
    }
    if opening.is_some_and(|opening| http.open.contains(&opening)) {
        return Ok(Way::Open);
    }
    let is_open = !http.has_auth() && api.0.is_local && call.is_peer_local;
    if is_open && call.address.to_canonical().is_loopback() && scope != Scope::Download {
        return Ok(Way::Local);
    }
    let client = holder.map(|(key, _)| format!("key:{}", key.id));
    if let Some((_, None)) = holder {
        let message = format!("this key lacks the scope `{}`", scope.as_str());
        let refusal = Refusal::new(StatusCode::FORBIDDEN, "forbidden", message);
        return Err(refusal.because("lacks_scope").of(client));
    }
    let refusal = match api.0.limits.fail(call.address, clock.elapsed()) {
        Some(pause) => {
            let refusal = Refusal::too_many("too many wrong credentials", pause);
            refusal.because("too_many_wrong")
        }
        None => unauthorized((scope, opening), is_open),
    };
    Err(match holder.and_then(|(_, unfit)| unfit) {
        Some(Unfit::Expired) => refusal.because("expired_key").of(client),
        Some(Unfit::Elsewhere) => refusal.because("key_elsewhere").of(client),
        None => refusal,
    })
}

/// Builds the 401 response. Its message depends only on the scope, and its hint says what opens the path.
fn unauthorized((scope, opening): (Scope, Option<Opening>), is_open: bool) -> Refusal {
    let message = match scope {
        Scope::Download => "Valid authentication required to download backups",
        Scope::Read | Scope::Trigger | Scope::Metrics => "Valid authentication required",
    };
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    match (is_open, opening) {
        (true, _) => refusal.with("hint", "downloads need a key: run `patina key new`"),
        (false, _) if scope == Scope::Download => refusal,
        (false, opening) => {
            let open = opening.map_or_else(String::new, |opening| {
                let word = opening.as_str();
                format!(", or open this path to everybody: `open = [\"{word}\"]` in [http] of patina.toml")
            });
            refusal.with(
                "hint",
                format!(
                    "once a key, Cloudflare Access or `allow_ips` is configured, nothing is open without it, on this \
                     host neither: send a key with the scope `{}` as X-Patina-Key{open}",
                    scope.as_str()
                ),
            )
        }
    }
}

/// Returns the value of a header; `None` if it is absent or occurs more than once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
