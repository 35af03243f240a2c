//! Detects DNS rebinding and cross-site requests. Invariant: a client that is admitted without a secret of its own
//! addressed this server by one of its names, and the request was not sent by a page of another site.
//!
//! A page can point its own host name at this server (DNS rebinding). Its browser then treats the server as the page's
//! own origin, lets the page read every response, and sends no `Origin`. Only the host name reveals it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use axum::http::header::{FORWARDED, HOST, HeaderMap, ORIGIN};
use axum::http::{HeaderName, Method, Uri};

use crate::config::{Http, Scope};
use crate::http::call::Call;

const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const FETCH_SITE: &str = "sec-fetch-site";
const FETCH_MODE: &str = "sec-fetch-mode";
const FETCH_DEST: &str = "sec-fetch-dest";

/// Longest DNS name and longest label, in bytes.
const MOST_NAME_BYTES: usize = 253;
const MOST_LABEL_BYTES: usize = 63;

/// Host that a request names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    /// In lower case, without a trailing dot.
    Name(String),
}

/// A host with its port, if one is given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: Host,
    port: Option<u16>,
}

/// True if every host that the request names is ours: its single `Host`, the authority of its request line, and the
/// hosts that a trusted proxy forwarded. Ports are ignored: a forwarded port differs.
pub(super) fn is_for_us(call: &Call, headers: &HeaderMap, uri: &Uri) -> bool {
    let http = call.wiring.config.http();
    let Some(named) = named(call, headers, uri) else {
        return false;
    };
    named
        .iter()
        .all(|place| is_ours(&place.host, http, call.here))
}

/// True if a page of another site had a browser send this request. Following a link to one of our pages is cross-site,
/// too, and is allowed if it gives no copy away and changes nothing.
pub(super) fn is_from_elsewhere(
    call: &Call,
    scope: Scope,
    (method, headers, uri): (&Method, &HeaderMap, &Uri),
) -> bool {
    let says = |name: &str, word: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().is_some_and(|value| value == word) && values.next().is_none()
    };
    let is_harmless = matches!(*method, Method::GET | Method::HEAD) && scope != Scope::Download;
    let is_visit = is_harmless && says(FETCH_MODE, "navigate") && says(FETCH_DEST, "document");
    let is_own = |value: &axum::http::HeaderValue| value == "same-origin" || value == "none";
    if !is_visit && !headers.get_all(FETCH_SITE).iter().all(is_own) {
        return true;
    }
    let ours = named(call, headers, uri).unwrap_or_default();
    let public = public(call.wiring.config.http());
    let mut origins = headers.get_all(ORIGIN).iter();
    !origins.all(|origin| {
        let origin = origin.to_str().ok().and_then(origin_of);
        origin.is_some_and(|(usual, origin)| {
            let port = origin.port.or(usual);
            let is_same = |ours: &Place| ours.host == origin.host && ours.port.or(usual) == port;
            ours.iter().any(is_same) || public.as_ref().is_some_and(is_same)
        })
    })
}

/// Returns the hosts that the request names; `None` if `Host` is absent or repeated, or a host cannot be parsed.
fn named(call: &Call, headers: &HeaderMap, uri: &Uri) -> Option<Vec<Place>> {
    let mut hosts = headers.get_all(HOST).iter();
    let mut named = vec![place(hosts.next()?.to_str().ok()?)?];
    if hosts.next().is_some() {
        return None;
    }
    if let Some(authority) = uri.authority() {
        named.push(place(authority.as_str())?);
    }
    if !call.is_proxy_trusted {
        return Some(named);
    }
    for value in headers.get_all(FORWARDED_HOST) {
        for part in value.to_str().ok()?.split(',') {
            named.push(place(part.trim())?);
        }
    }
    for value in headers.get_all(FORWARDED) {
        for part in value.to_str().ok()?.split([',', ';']) {
            if let Some((name, host)) = part.split_once('=')
                && name.trim().eq_ignore_ascii_case("host")
            {
                named.push(place(host.trim().trim_matches('"'))?);
            }
        }
    }
    Some(named)
}

fn is_ours(host: &Host, http: &Http, here: Option<IpAddr>) -> bool {
    let is_here = match host {
        Host::Address(address) => {
            let bound = [Some(http.listen.ip()), here].into_iter().flatten();
            let mut bound = bound.map(|ip| ip.to_canonical());
            address.is_loopback() || bound.any(|ours| ours == *address)
        }
        Host::Name(name) => name == "localhost",
    };
    let is_known = || {
        let text = match host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        };
        http.hosts.contains(&text) || public(http).is_some_and(|public| public.host == *host)
    };
    // Some systems route the unspecified address to this host, for any client.
    *host != Host::Address(Ipv4Addr::UNSPECIFIED.into())
        && *host != Host::Address(Ipv6Addr::UNSPECIFIED.into())
        && (is_here || is_known())
}

/// Host of `public_url`, with the port that its scheme implies.
fn public(http: &Http) -> Option<Place> {
    let (usual, place) = origin_of(&http.public_url)?;
    Some(Place {
        port: place.port.or(usual),
        ..place
    })
}

/// Default port of the scheme, and the host; everything after the next slash is ignored.
fn origin_of(text: &str) -> Option<(Option<u16>, Place)> {
    let (scheme, rest) = text.split_once("://")?;
    let usual = match scheme.to_ascii_lowercase().as_str() {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let authority = rest.split('/').next().unwrap_or_default();
    Some((Some(usual), place(authority)?))
}

/// Parses a host with an optional port, as in a `Host` header.
fn place(text: &str) -> Option<Place> {
    let (host, after) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let address: Ipv6Addr = address.parse().ok()?;
            (Host::Address(IpAddr::V6(address).to_canonical()), after)
        }
        None => {
            let (name, after) = text.split_at(text.find(':').unwrap_or(text.len()));
            (host(name)?, after)
        }
    };
    let port = match after.strip_prefix(':') {
        None if after.is_empty() => None,
        None => return None,
        Some("") => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
        Some(_) => return None,
    };
    Some(Place { host, port })
}

fn host(text: &str) -> Option<Host> {
    if let Ok(address) = text.parse::<Ipv4Addr>() {
        return Some(Host::Address(address.into()));
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        (1..=MOST_LABEL_BYTES).contains(&label.len())
            && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A name that ends in a number is an IPv4 address in an older notation, or invalid.
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|b| b.is_ascii_digit()) || last.starts_with("0x");
    let is_name = name.len() <= MOST_NAME_BYTES && name.split('.').all(is_label) && !is_number;
    is_name.then(|| Host::Name(name.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_read_as_browsers_write_it_and_nothing_else_is_one() {
        let shown = |text: &str| {
            place(text).map(|place| match place.host {
                Host::Address(address) => format!("{address} {:?}", place.port),
                Host::Name(name) => format!("{name} {:?}", place.port),
            })
        };
        for (text, expected) in [
            ("localhost", Some("localhost None")),
            ("LOCALHOST:8787", Some("localhost Some(8787)")),
            ("localhost.", Some("localhost None")),
            ("localhost:", Some("localhost None")),
            ("127.0.0.1:8787", Some("127.0.0.1 Some(8787)")),
            ("[::1]:8787", Some("::1 Some(8787)")),
            ("[::ffff:127.0.0.1]", Some("127.0.0.1 None")),
            ("a_b-c.example", Some("a_b-c.example None")),
            ("", None),
            (".", None),
            (":8787", None),
            ("localhost..", None),
            ("localhost:8787:1", None),
            ("localhost:65536", None),
            ("localhost:-1", None),
            ("localhost:x", None),
            ("user@localhost", None),
            ("localhost evil.example", None),
            ("localhost,evil.example", None),
            ("localhost/", None),
            ("127.0.0.1.", None),
            ("127.1", None),
            ("2130706433", None),
            ("0x7f.0x1", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[fe80::1%eth0]", None),
            ("[localhost]", None),
        ] {
            assert_eq!(shown(text).as_deref(), expected, "{text}");
        }
    }
}
