//! Determines the client address of a request. Invariant: only a header set by a trusted proxy is used, and of a list
//! only the entries that trusted proxies wrote.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::HeaderMap;

use crate::config::Http;
use crate::http::answer::Refusal;

/// Returns the client address: the peer's, or the one in the configured header if the peer is a trusted proxy. A list
/// is read from the right, as far as trusted proxies wrote it: a client can forge everything to the left of that.
///
/// # Errors
/// If a trusted proxy's header holds no address: using the proxy's own address could let in anyone.
pub(in crate::http) fn client_address(
    http: &Http,
    peer: IpAddr,
    headers: &HeaderMap,
) -> Result<IpAddr, Refusal> {
    let is_trusted = |address: IpAddr| {
        let mut trusted = http.trusted_proxies.iter();
        trusted.any(|network| network.contains(address))
    };
    let peer = peer.to_canonical();
    if !is_trusted(peer) {
        return Ok(peer);
    }
    let name = http.client_ip_header.as_str();
    let is_list = name.eq_ignore_ascii_case("x-forwarded-for");
    let refused = || Refusal::bad(format!("the proxy's header {name} holds no address"));
    let mut hops = Vec::new();
    for value in headers.get_all(name) {
        let value = value.to_str().map_err(|_| refused())?;
        match is_list {
            true => hops.extend(value.split(',').map(str::trim)),
            false => hops.push(value.trim()),
        }
    }
    if !is_list && hops.len() > 1 {
        return Err(refused());
    }
    let mut client = peer;
    for hop in hops.into_iter().rev() {
        client = parsed(hop).ok_or_else(refused)?;
        if !is_trusted(client) {
            break;
        }
    }
    Ok(client)
}

/// Parses an address as proxies write it: alone, in brackets, or with a port.
fn parsed(text: &str) -> Option<IpAddr> {
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    const FORWARDED: &str = "X-Forwarded-For";
    const CLOUDFLARE: &str = "CF-Connecting-IP";

    fn http(trusted: &str, header: &str) -> Http {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("patina.toml");
        let text = format!(
            "[http]\ntrusted_proxies = [{trusted}]\nclient_ip_header = \"{header}\"\n\
             [[database]]\nname = \"a\"\nsqlite = \"a.db\"\n"
        );
        std::fs::write(&path, text).unwrap();
        Config::load(&path).unwrap().config.http().clone()
    }

    fn address(http: &Http, peer: &str, sent: &[(&'static str, &'static str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in sent {
            let name = axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, value.parse().unwrap());
        }
        let found = client_address(http, peer.parse().unwrap(), &headers);
        found.ok().map(|address| address.to_string())
    }

    #[test]
    fn a_stranger_is_who_it_is_whatever_it_sends() {
        let http = http("\"10.0.0.0/8\"", FORWARDED);
        let sent = [(FORWARDED, "203.0.113.9"), (CLOUDFLARE, "203.0.113.9")];
        let found = address(&http, "192.0.2.1", &sent);
        assert_eq!(found.as_deref(), Some("192.0.2.1"));
    }

    #[test]
    fn the_list_is_read_from_the_right_as_far_as_proxies_are_trusted() {
        let http = http("\"10.0.0.0/8\"", FORWARDED);
        for (list, client) in [
            ("203.0.113.9", Some("203.0.113.9")),
            ("1.1.1.1, 203.0.113.9, 10.0.0.2", Some("203.0.113.9")),
            ("10.0.0.3, 10.0.0.2", Some("10.0.0.3")),
            ("10.9.9.9,[2001:db8::1]:443", Some("2001:db8::1")),
            ("x, 203.0.113.9:4711", Some("203.0.113.9")),
            ("203.0.113.9, unknown", None),
            ("", None),
        ] {
            let found = address(&http, "10.0.0.1", &[(FORWARDED, list)]);
            assert_eq!(found.as_deref(), client, "{list}");
        }
        let two = [(FORWARDED, "1.1.1.1"), (FORWARDED, "203.0.113.9")];
        let found = address(&http, "10.0.0.1", &two);
        assert_eq!(found.as_deref(), Some("203.0.113.9"));
        let other = [(CLOUDFLARE, "203.0.113.9")];
        let found = address(&http, "10.0.0.1", &other);
        assert_eq!(found.as_deref(), Some("10.0.0.1"));
    }

    #[test]
    fn another_header_has_one_value_or_none_is_taken() {
        let http = http("\"10.0.0.1\"", CLOUDFLARE);
        let one = [(CLOUDFLARE, "203.0.113.9"), (FORWARDED, "1.1.1.1")];
        let found = address(&http, "10.0.0.1", &one);
        assert_eq!(found.as_deref(), Some("203.0.113.9"));
        let two = [(CLOUDFLARE, "203.0.113.9"), (CLOUDFLARE, "1.1.1.1")];
        assert_eq!(address(&http, "10.0.0.1", &two), None);
        let list = [(CLOUDFLARE, "1.1.1.1, 203.0.113.9")];
        assert_eq!(address(&http, "10.0.0.1", &list), None);
    }
}
