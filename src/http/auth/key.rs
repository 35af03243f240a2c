//! Knows a key by its digest. Invariant: a wrong secret and an unknown id take the same path.

use std::hint::black_box;
use std::net::IpAddr;

use axum::http::header::HeaderMap;
use chrono::{DateTime, Utc};

use super::only;
use crate::config::{ApiKey, Http};
use crate::types::Sha256;

const HEADER: &str = "x-patina-key";

/// A key is 72 characters and its id; nothing longer is looked at.
const MOST_KEY_BYTES: usize = 256;

/// What the configuration keeps of a key's secret, the part behind `ptk_<id>_`.
pub fn digest(secret: &str) -> Sha256 {
    Sha256::of(secret.as_bytes())
}

/// Why a key with the right secret does not count. The client is not told; the audit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Its time is over.
    Expired,
    /// It is not to be used from there: who sends it may have found it.
    Elsewhere,
}

/// The key a request carries with the right secret, and whether it is still valid and used where it may be.
pub(super) fn holder<'a>(
    http: &'a Http,
    headers: &HeaderMap,
    address: IpAddr,
    now: DateTime<Utc>,
) -> Option<(&'a ApiKey, Option<Unfit>)> {
    let text = only(headers, HEADER).filter(|text| text.len() <= MOST_KEY_BYTES)?;
    let (id, secret) = text.strip_prefix("ptk_")?.split_once('_')?;
    let known = http.keys.iter().find(|key| key.id == id);
    // No secret has the digest of this text.
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

/// Compares every digit, wherever the first difference is.
fn same(one: &Sha256, other: &Sha256) -> bool {
    let (one, other) = (one.to_string(), other.to_string());
    let pairs = one.bytes().zip(other.bytes());
    let difference = pairs.fold(0, |sum, (one, other)| black_box(sum | (one ^ other)));
    difference == 0
}
