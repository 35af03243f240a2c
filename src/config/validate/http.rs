//! Checks `[http]`, its keys and networks.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::Range;
use std::time::Duration;

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};

use super::Checker;
use crate::config::model::{Access, ApiKey, Http, Opening};
use crate::config::network::Network;
use crate::config::raw::{At, RawAccess, RawHttp, RawKey};

/// Rotation period of the specification: every 90 days, or at once if compromised.
const ROTATE_AFTER: Duration = Duration::from_secs(90 * 24 * 3600);

/// Shortest rotation period.
const DAY: Duration = Duration::from_secs(24 * 3600);

const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8787);

impl Checker<'_> {
    /// Checks `[http]`. `None`: the address to listen on is wrong.
    pub(super) fn http(&mut self, raw: &RawHttp) -> Option<Http> {
        let listen = match &raw.listen {
            None => Some(LISTEN),
            Some(listen) => self.listen(listen),
        };
        let public_url = match &raw.public_url {
            Some(url) => self.url("public_url", url),
            None => format!("http://{}", listen.unwrap_or(LISTEN)),
        };
        let hosts = raw.hosts.iter().filter_map(|at| self.host(at)).collect();
        let open = raw.open.iter().filter_map(|at| self.opening(at)).collect();
        let rotate_after = self.duration("rotate_after", &raw.rotate_after, ROTATE_AFTER, DAY);
        let access = raw.access.as_ref().map(|raw| self.access(raw));
        let allow_ips = self.networks("allow_ips", &raw.allow_ips);
        let trusted_proxies = self.networks("trusted_proxies", &raw.trusted_proxies);
        let mut seen = HashMap::new();
        let keys: Vec<ApiKey> = raw
            .key
            .iter()
            .filter_map(|key| self.key(key, &mut seen))
            .collect();
        self.open_to_all(raw, listen?);
        Some(Http {
            listen: listen?,
            public_url,
            trusted_proxies,
            client_ip_header: raw
                .client_ip_header
                .as_ref()
                .map_or("X-Forwarded-For".to_owned(), |raw| self.header(raw)),
            hosts,
            allow_ips,
            open,
            rotate_after,
            access: access.flatten(),
            keys,
        })
    }

    /// Host name as browsers send it, without the port, which does not distinguish sites here.
    fn host(&mut self, raw: &At<String>) -> Option<String> {
        let text = raw.value.trim().to_ascii_lowercase();
        let bare = text.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(address.to_canonical().to_string());
        }
        let name = text.strip_suffix('.').unwrap_or(&text);
        let is_label = |label: &str| {
            let mut bytes = label.bytes();
            !label.is_empty() && bytes.all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if name.split('.').all(is_label) {
            return Some(name.to_owned());
        }
        self.error(
            &raw.span,
            format!("`{}` in `hosts` is not a host name", raw.value),
        )
        .hint("write the name alone, without scheme, port or `*`: `patina.grove.place`");
        None
    }

    /// Endpoint that is readable without authentication.
    fn opening(&mut self, raw: &At<String>) -> Option<Opening> {
        let text = raw.value.trim().trim_start_matches('/');
        let known = Opening::ALL.into_iter();
        let found = known.clone().find(|opening| opening.as_str() == text);
        if found.is_none() {
            let words: Vec<String> = known.map(|known| format!("`{}`", known.as_str())).collect();
            let hint = match text {
                "download" | "trigger" | "restore-guide" | "runbook" => {
                    "copies, guides and starting a backup always need a key (`patina key new`), Cloudflare \
                     Access or an address in `allow_ips`"
                        .to_owned()
                }
                _ => format!("use {}", words.join(", ")),
            };
            self.error(
                &raw.span,
                format!("`{}` cannot be open to everybody", raw.value),
            )
            .hint(hint);
        }
        found
    }

    fn listen(&mut self, raw: &At<String>) -> Option<SocketAddr> {
        let parsed = raw.value.parse().ok();
        if parsed.is_none() {
            let hint = match raw.value.trim_start_matches(':').parse::<u16>() {
                Ok(port) => format!("write the address too: `127.0.0.1:{port}`"),
                Err(_) if raw.value.parse::<IpAddr>().is_ok() => {
                    format!("write the port too: `{}:8787`", raw.value)
                }
                Err(_) => "write an address and a port: `127.0.0.1:8787`".to_owned(),
            };
            let message = format!("`listen` is not an address: `{}`", raw.value);
            self.error(&raw.span, message).hint(hint);
        }
        parsed
    }

    /// Rejects a public address without authentication: anybody could read every status and trigger jobs.
    fn open_to_all(&mut self, raw: &RawHttp, listen: SocketAddr) {
        let has_auth = raw.access.is_some() || !raw.key.is_empty() || !raw.allow_ips.is_empty();
        let Some(at) = &raw.listen else { return };
        if !has_auth && !listen.ip().to_canonical().is_loopback() {
            self.findings.absent(
                at.span.clone(),
                format!("`listen` on `{listen}` lets everybody in"),
                "add `[[http.key]]` (see `patina key new`), `[http.access]` or `allow_ips`, or listen on `127.0.0.1`",
            );
        }
    }

    fn header(&mut self, raw: &At<String>) -> String {
        let valid = !raw.value.is_empty()
            && raw
                .value
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if !valid {
            let message = format!("`client_ip_header` cannot be `{}`", raw.value);
            self.error(&raw.span, message)
                .hint("use a header's name, such as `CF-Connecting-IP`");
        }
        raw.value.clone()
    }

    fn access(&mut self, raw: &At<RawAccess>) -> Option<Access> {
        let (table, raw) = (&raw.span, &raw.value);
        let hint = "the team is the first part of `<team>.cloudflareaccess.com`";
        let team = self.required(table, "team", &raw.team, hint);
        let hint = "copy the application audience tag from the Zero Trust dashboard";
        let aud = self.required(table, "aud", &raw.aud, hint);
        let team = team?;
        let plain = team.value.trim_end_matches(".cloudflareaccess.com");
        if !plain
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-')
        {
            self.error(&team.span, format!("`team` cannot be `{}`", team.value))
                .hint("write the first part of `<team>.cloudflareaccess.com`");
        }
        Some(Access {
            team: plain.to_owned(),
            aud: aud?.value,
        })
    }

    fn networks(&mut self, key: &str, raw: &[At<String>]) -> Vec<Network> {
        raw.iter()
            .filter_map(|raw| match raw.value.parse::<Network>() {
                Ok(network) => Some(network),
                Err(hint) => {
                    let message = format!("`{}` in `{key}` is not a network", raw.value);
                    self.error(&raw.span, message).hint(hint);
                    None
                }
            })
            .collect()
    }

    fn key(
        &mut self,
        raw: &At<RawKey>,
        seen: &mut HashMap<String, Range<usize>>,
    ) -> Option<ApiKey> {
        let table = &raw.span;
        let raw = &raw.value;
        let id = self.name(table, "id", &raw.id, seen);
        if let Some(at) = raw.id.as_ref().filter(|id| id.value.contains('_')) {
            self.error(&at.span, format!("`id` cannot be `{}`", at.value))
                .hint("use a-z, 0-9 and `-`: a `_` ends the id in `ptk_<id>_<secret>`");
        }
        let hint = "`patina key new` prints the lines to paste";
        let sha256 = self
            .required(table, "sha256", &raw.sha256, hint)
            .and_then(|at| {
                let parsed = at.value.parse().ok();
                if parsed.is_none() {
                    self.error(&at.span, "`sha256` is not a SHA-256").hint(hint);
                }
                parsed
            });
        if raw.scopes.is_empty() {
            let hint = "give one or more of `read`, `download`, `trigger`, `metrics`";
            self.findings
                .absent(table.clone(), "`scopes` is missing", hint);
        }
        let created = raw.created.as_ref();
        let created = created.and_then(|at| self.moment("created", at));
        let expires = raw.expires.as_ref();
        let expires = expires.and_then(|at| self.moment("expires", at));
        let allow_ips = self.networks("allow_ips", &raw.allow_ips);
        Some(ApiKey {
            id: id?,
            sha256: sha256?,
            scopes: raw.scopes.iter().map(|scope| scope.value).collect(),
            created,
            expires,
            allow_ips,
        })
    }

    fn moment(&mut self, key: &str, raw: &At<String>) -> Option<DateTime<Utc>> {
        let text = raw.value.trim();
        let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok();
        let found = match day {
            Some(day) => Some(day.and_time(NaiveTime::MIN).and_utc()),
            None => DateTime::parse_from_rfc3339(text).ok().map(Into::into),
        };
        if found.is_none() {
            self.error(&raw.span, format!("`{key}` is not a date: `{text}`"))
                .hint("write `2027-01-31` or `2027-01-31T12:00:00Z`");
        }
        found
    }
}
