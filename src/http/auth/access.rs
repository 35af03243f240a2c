//! Verifies Cloudflare Access JWTs. Invariant: a token is valid only if it was signed by a key of the configured team,
//! for this application, and the current time lies within its validity.
//!
//! Format of the token and location of the keys:
//! <https://developers.cloudflare.com/cloudflare-one/identity/authorization-cookie/validating-json/>

use std::collections::HashMap;
use std::time::Duration;

use axum::http::header::HeaderMap;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use serde::Deserialize;
use serde_json::{Number, Value};
use tokio::sync::Mutex;

use super::{only, ring_provider};
use crate::clock::Clock;
use crate::config::Access;
use crate::excerpt::ERROR_CHARS;
use crate::net;
use crate::quote::foreign;

const HEADER: &str = "cf-access-jwt-assertion";

/// Time for which fetched keys count as fresh. Access rotates its keys every six weeks and announces a new one well
/// before.
const FRESH: Duration = Duration::from_secs(3600);

/// Shortest time between two fetches, regardless of how many tokens name an unknown key.
const FETCH_PAUSE: Duration = Duration::from_secs(60);

/// Time for which the last keys stay usable while new ones cannot be fetched; after that, no token is accepted.
const USABLE: Duration = Duration::from_secs(24 * 3600);

const FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Upper bound for the key set's size. A set has two keys of about 2 KB.
const MOST_CERTS_BYTES: usize = 1024 * 1024;

/// Tolerated difference between the two clocks.
const LEEWAY_SECONDS: f64 = 30.0;

/// Public keys of the team, fetched on demand.
pub struct AccessKeys {
    base: Option<String>,
    client: reqwest::Client,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    team: String,
    keys: HashMap<String, DecodingKey>,
    fetched_at: Option<Duration>,
    tried_at: Option<Duration>,
}

impl AccessKeys {
    /// Fetches keys from the team's own address, or from `base` if given.
    pub fn new(base: Option<String>) -> Self {
        ring_provider::install();
        let client = net::client().timeout(FETCH_TIMEOUT).build();
        Self {
            base,
            client: client.expect("the TLS provider was installed before"),
            known: Mutex::default(),
        }
    }

    /// Returns the user that the request's token names; `None` if the token is missing or invalid.
    pub(super) async fn user(
        &self,
        access: &Access,
        headers: &HeaderMap,
        clock: &dyn Clock,
    ) -> Option<String> {
        let token = only(headers, HEADER)?;
        let header = decode_header(token).ok()?;
        if header.alg != Algorithm::RS256 || header.crit.is_some() {
            return None;
        }
        let key = self.key(access, &header.kid?, clock).await?;
        let issuer = issuer(access);
        let mut validation = Validation::new(Algorithm::RS256);
        validation.set_audience(&[&access.aud]);
        validation.set_issuer(&[&issuer]);
        validation.set_required_spec_claims(&["iss", "aud"]);
        // The times are checked against our own clock, below.
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        let claims = decode::<Claims>(token, &key, &validation).ok()?.claims;
        claims.user(&issuer, clock.now().timestamp() as f64)
    }

    /// Returns the key with this id. The lock is held during a fetch, so that one fetch serves all waiting requests.
    async fn key(&self, access: &Access, id: &str, clock: &dyn Clock) -> Option<DecodingKey> {
        let mut known = self.known.lock().await;
        if known.team != access.team {
            *known = Known {
                team: access.team.clone(),
                ..Known::default()
            };
        }
        let now = clock.elapsed();
        let is_within = |at: Option<Duration>, span| at.is_some_and(|at| now < at + span);
        let is_fresh = is_within(known.fetched_at, FRESH);
        let may_fetch = !is_within(known.tried_at, FETCH_PAUSE);
        if may_fetch && !(is_fresh && known.keys.contains_key(id)) {
            known.tried_at = Some(now);
            match self.fetch(access).await {
                Ok(keys) => (known.keys, known.fetched_at) = (keys, Some(now)),
                Err(error) => {
                    let error = foreign(&error.to_string(), ERROR_CHARS);
                    tracing::warn!("the keys of Cloudflare Access were not fetched: {error}");
                }
            }
        }
        match is_within(known.fetched_at, USABLE) {
            true => known.keys.get(id).cloned(),
            false => None,
        }
    }

    async fn fetch(&self, access: &Access) -> Result<HashMap<String, DecodingKey>, FetchError> {
        let base = self.base.clone().unwrap_or_else(|| issuer(access));
        let url = format!("{base}/cdn-cgi/access/certs");
        let mut answer = self.client.get(url).send().await?.error_for_status()?;
        let mut text = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            text.extend_from_slice(&chunk);
            if text.len() > MOST_CERTS_BYTES {
                return Err(FetchError::TooLong);
            }
        }
        let set: KeySet = serde_json::from_slice(&text)?;
        let keys = set.keys.into_iter().filter_map(|key| {
            let is_rsa = key.kty == "RSA" && key.alg.is_none_or(|alg| alg == "RS256");
            let decoded = DecodingKey::from_rsa_components(&key.n, &key.e).ok()?;
            is_rsa.then_some((key.kid, decoded))
        });
        let keys: HashMap<String, DecodingKey> = keys.collect();
        match keys.is_empty() {
            true => Err(FetchError::Empty),
            false => Ok(keys),
        }
    }
}

fn issuer(access: &Access) -> String {
    format!("https://{}.cloudflareaccess.com", access.team)
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Http(#[from] reqwest::Error),
    #[error("the answer is no key set: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the answer is too long")]
    TooLong,
    #[error("the answer has no RSA key")]
    Empty,
}

#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    kid: String,
    kty: String,
    alg: Option<String>,
    #[serde(default)]
    n: String,
    #[serde(default)]
    e: String,
}

/// Claims of an Access token. The times are required and must be numbers.
#[derive(Deserialize)]
struct Claims {
    exp: Number,
    nbf: Number,
    iat: Number,
    iss: String,
    /// One audience or a list of them; checked by `jsonwebtoken`.
    #[serde(rename = "aud")]
    _aud: Value,
    email: Option<String>,
    /// Set in the token of a service token.
    common_name: Option<String>,
    sub: Option<String>,
}

impl Claims {
    fn user(self, issuer: &str, now: f64) -> Option<String> {
        let (exp, nbf, iat) = (self.exp.as_f64()?, self.nbf.as_f64()?, self.iat.as_f64()?);
        let is_now = now < exp + LEEWAY_SECONDS
            && nbf <= now + LEEWAY_SECONDS
            && iat <= now + LEEWAY_SECONDS;
        let names = [self.email, self.common_name, self.sub];
        let mut names = names.into_iter().flatten().filter(|name| !name.is_empty());
        let user = names.next().unwrap_or_else(|| "unnamed".to_owned());
        (is_now && self.iss == issuer).then_some(user)
    }
}
