//! Authenticates an API key by its digest. Invariant: a wrong secret and an unknown id take the same code path.

use std::hint::black_box;
use std::net::IpAddr;

use axum::http::header::HeaderMap;
use chrono::{DateTime, Utc};

use super::only;
use crate::config::{ApiKey, Http};
use crate::types::Sha256;

const HEADER: &str = "x-patina-key";

/// Longest header value that is examined. A generated key has 69 characters plus its id.
const MOST_KEY_BYTES: usize = 256;

/// Digest of a key's secret (the part after `ptk_<id>_`), as the configuration stores it.
pub fn digest(secret: &str) -> Sha256 {
    Sha256::of(secret.as_bytes())
}

/// Reason that a key with the right secret is rejected. Recorded in the audit, not sent to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// The key has expired.
    Expired,
    /// The key may not be used from this address: the sender may have stolen it.
    Elsewhere,
}

/// Returns the key whose secret the request carries, and the reason if it is expired or not allowed from `address`.
pub(super) fn holder<'a>(
    http: &'a Http,
    headers: &HeaderMap,
    address: IpAddr,
    now: DateTime<Utc>,
) -> Option<(&'a ApiKey, Option<Unfit>)> {
    let text = only(headers, HEADER).filter(|text| text.len() <= MOST_KEY_BYTES)?;
    let (id, secret) = text.strip_prefix("ptk_")?.split_once('_')?;
    let known = http.keys.iter().find(|key| key.id == id);
    // No accepted secret has this digest: an empty secret is rejected below.
    let nobody = Sha256::of(b"");
    let wanted = known.map_or(nobody, |key| key.sha256);
    let is_right = same(&digest(secret), &wanted) & !secret.is_empty();
    known.filter(|_| is_right).map(|key| {
        let is_valid = key.expires.is_none_or(|expires| now < expires);
        let mut networks = key.allow_ips.iter();
        let is_allowed = key.allow_ips.is_empty() || networks.any(|net| net.contains(address));
        let unfit = match (is_valid, is_allowed) {
            (_, false) => Some(Unfit::Elsewhere),
            (false, true) => Some(Unfit::Expired),
            (true, true) => None,
        };
        (key, unfit)
    })
}

/// Compares every digit, so that the time does not depend on the position of the first difference.
fn same(one: &Sha256, other: &Sha256) -> bool {
    let (one, other) = (one.to_string(), other.to_string());
    let pairs = one.bytes().zip(other.bytes());
    let difference = pairs.fold(0, |sum, (one, other)| black_box(sum | (one ^ other)));
    difference == 0
}
