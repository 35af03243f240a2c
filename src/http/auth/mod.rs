//! Lets clients in. Invariant: what no rule lets in is refused, and a refusal does not say how near it was.

mod access;
mod address;
mod key;
mod ring_provider;

use axum::extract::{Request, State};
use axum::http::header::{HOST, HeaderMap, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Api;
use super::answer::Refusal;
use super::call::Call;
use crate::config::{Http, Scope};

pub use self::access::AccessKeys;
pub(super) use self::address::client_address;
pub use self::key::digest as key_digest;

/// Who was let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Caller {
    /// Its name in the audit and the limits: `key:<id>`, `access:<user>` or `address:<ip>`.
    pub(super) name: String,
}

/// What a route asks of whoever calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing.
    Nothing,
    /// This scope.
    Scope(Scope),
}

/// Lets a request through to its handler where it may.
pub(super) async fn require(
    State((api, needs)): State<(Api, Needs)>,
    mut request: Request,
    next: Next,
) -> Response {
    let Needs::Scope(scope) = needs else {
        return next.run(request).await;
    };
    let Some(call) = request.extensions().get::<Call>().cloned() else {
        return Refusal::bad("the request has no address").into_response();
    };
    let way = match way_in(&api, &call, request.headers(), scope).await {
        Ok(way) => way,
        Err(refusal) => return refusal.into_response(),
    };
    let headers = request.headers();
    let is_harmless = matches!(*request.method(), Method::GET | Method::HEAD);
    // A browser sends its address and its cookies along for any page; only a key was meant for this request.
    if !is_harmless && !matches!(way, Way::Key(_)) && is_from_elsewhere(headers, &call) {
        let message = "the request comes from a page of another site";
        return Refusal::new(StatusCode::FORBIDDEN, "forbidden", message).into_response();
    }
    let name = match way {
        Way::Key(id) => format!("key:{id}"),
        Way::Access(user) => format!("access:{user}"),
        Way::Address | Way::Local => format!("address:{}", call.address),
    };
    request.extensions_mut().insert(Caller { name });
    next.run(request).await
}

/// How a client came in.
enum Way {
    Key(String),
    Access(String),
    Address,
    /// Nothing is configured, and it is on this host.
    Local,
}

async fn way_in(api: &Api, call: &Call, headers: &HeaderMap, scope: Scope) -> Result<Way, Refusal> {
    let (http, clock) = (call.wiring.config.http(), &call.wiring.clock);
    let mut lacks_scope = false;
    match key::holder(http, headers, call.address, clock.now()) {
        Some(key) if key.scopes.contains(&scope) => return Ok(Way::Key(key.id.clone())),
        Some(_) => lacks_scope = true,
        None => {}
    }
    if let Some(access) = &http.access
        && let Some(user) = api
            .0
            .sources
            .access
            .user(access, headers, clock.as_ref())
            .await
    {
        return Ok(Way::Access(user));
    }
    if http
        .allow_ips
        .iter()
        .any(|network| network.contains(call.address))
    {
        return Ok(Way::Address);
    }
    let is_open = !http.has_auth() && api.0.is_local && call.is_peer_local;
    if is_open && call.address.to_canonical().is_loopback() && scope != Scope::Download {
        return match is_for_us(headers, http) {
            true => Ok(Way::Local),
            false => Err(Refusal::new(
                StatusCode::MISDIRECTED_REQUEST,
                "wrong_host",
                "the request is for another host",
            )),
        };
    }
    if lacks_scope {
        let scope = word(scope);
        let message = format!("this key lacks the scope `{scope}`");
        return Err(Refusal::new(StatusCode::FORBIDDEN, "forbidden", message));
    }
    match api.0.limits.fail(call.address, clock.elapsed()) {
        Some(pause) => Err(Refusal::too_many("too many wrong credentials", pause)),
        None => Err(unauthorized(scope, is_open)),
    }
}

fn unauthorized(scope: Scope, is_open: bool) -> Refusal {
    let message = match scope {
        Scope::Download => "Valid authentication required to download backups",
        Scope::Read | Scope::Trigger | Scope::Metrics => "Valid authentication required",
    };
    let refusal = Refusal::new(StatusCode::UNAUTHORIZED, "unauthorized", message);
    match is_open {
        true => refusal.with("hint", "downloads need a key: run `patina key new`"),
        false => refusal,
    }
}

fn word(scope: Scope) -> &'static str {
    match scope {
        Scope::Read => "read",
        Scope::Download => "download",
        Scope::Trigger => "trigger",
        Scope::Metrics => "metrics",
    }
}

/// A page of another site can have its name lead here; its requests still carry that name.
fn is_for_us(headers: &HeaderMap, http: &Http) -> bool {
    let Some(host) = authority(headers.get(HOST)) else {
        return false;
    };
    let name = host.host().trim_start_matches('[').trim_end_matches(']');
    let is_loopback = name
        .parse::<std::net::IpAddr>()
        .is_ok_and(|ip| ip.to_canonical().is_loopback());
    is_loopback || name == "localhost" || public_authority(http).is_some_and(|ours| ours == host)
}

fn is_from_elsewhere(headers: &HeaderMap, call: &Call) -> bool {
    if let Some(site) = headers.get("sec-fetch-site") {
        return site != "same-origin" && site != "none";
    }
    let Some(origin) = headers.get(ORIGIN) else {
        return false;
    };
    let origin = origin.to_str().ok().and_then(|origin| {
        let (_, authority) = origin.split_once("://")?;
        authority.parse::<Authority>().ok()
    });
    let host = authority(headers.get(HOST));
    let public = public_authority(call.wiring.config.http());
    origin.is_none_or(|origin| {
        let is_ours = [host, public]
            .into_iter()
            .flatten()
            .any(|ours| ours == origin);
        !is_ours
    })
}

fn authority(value: Option<&axum::http::HeaderValue>) -> Option<Authority> {
    value?.to_str().ok()?.parse().ok()
}

fn public_authority(http: &Http) -> Option<Authority> {
    let uri: axum::http::Uri = http.public_url.parse().ok()?;
    uri.authority().cloned()
}

/// The one value of a header; `None` where it is absent, or there are several.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}
