//! Calls Cloudflare's REST API for D1. Invariant: the token is sent only to the API's address and never shown.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use tokio_util::sync::CancellationToken;

use super::answer::{Answer, Envelope};
use super::budget::Budget;
use super::error::{ApiError, shortened};
use super::listing::PER_PAGE;
use crate::clock::Clock;
use crate::config::{Cloudflare, Secret};
use crate::net;
use crate::types::counted;

/// Timeout of one request. D1 itself ends a query after 30 seconds; the rest is for the network.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Number of retries after a passing error.
const RETRIES: u32 = 4;
const FIRST_RETRY_DELAY: Duration = Duration::from_millis(500);

/// Upper bound for `Retry-After`; a longer `X-RateLimit-Reset` is ignored.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// Pause after a rate limit without `Retry-After`. Cloudflare blocks for minutes, so shorter pauses would only prolong
/// it.
const DEFAULT_PAUSE: Duration = Duration::from_secs(30);
/// Remaining requests below which ours pause; the rest of the limit is for everything else that the user runs.
const LEAST_REMAINING: u64 = 100;

/// Upper bound for the length of a response: a database of 8 MB in hexadecimal, with control characters of six bytes
/// each.
const MAX_ANSWER_BYTES: usize = 96 * 1024 * 1024;

/// The API of one account, shared by all of its databases.
pub struct Client {
    http: reqwest::Client,
    pub(super) api_url: String,
    pub(super) account_id: String,
    pub(super) per_page: usize,
    /// Client for links, which are used without the token and without decompression.
    files: reqwest::Client,
    token: Secret,
    budget: Budget,
    clock: Arc<dyn Clock>,
    request_timeout: Duration,
}

/// Metadata of one database. The API may leave out any of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct DatabaseInfo {
    /// Its name.
    pub name: Option<String>,
    /// Size of its file, in bytes.
    pub file_size: Option<u64>,
}

#[derive(Deserialize)]
struct Bookmark {
    bookmark: Option<String>,
}

/// The results of a batch, one per statement.
pub(super) struct Batch {
    pub(super) answers: Vec<Answer>,
}

impl Client {
    /// Creates a client for the account in `cloudflare`.
    ///
    /// # Errors
    /// If no TLS provider is installed.
    pub fn new(cloudflare: &Cloudflare, clock: Arc<dyn Clock>) -> Result<Self, ApiError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            let why = "no TLS provider is installed".to_owned();
            return Err(ApiError::Setup(why));
        }
        let builder = || net::client().connect_timeout(CONNECT_TIMEOUT);
        let setup = |error: reqwest::Error| ApiError::Setup(error.to_string());
        let http = builder().build().map_err(setup)?;
        // The length of a file that is compressed in transit would not be known.
        let files = builder().no_gzip().build().map_err(setup)?;
        Ok(Self {
            http,
            api_url: cloudflare.api_url.clone(),
            account_id: cloudflare.account_id.clone(),
            per_page: PER_PAGE,
            files,
            token: cloudflare.api_token.clone(),
            budget: Budget::default(),
            clock,
            request_timeout: REQUEST_TIMEOUT,
        })
    }

    /// Sets the timeout of one request.
    #[must_use]
    pub fn with_request_timeout(self, request_timeout: Duration) -> Self {
        Self {
            request_timeout,
            ..self
        }
    }

    /// Sets the number of databases per page of the listing; the API accepts 10 to 10,000.
    #[must_use]
    pub fn with_per_page(self, per_page: usize) -> Self {
        Self { per_page, ..self }
    }

    /// URL of `path` below the account's databases.
    pub(super) fn database_url(&self, path: &str) -> String {
        let (api, account) = (&self.api_url, &self.account_id);
        format!("{api}/accounts/{account}/d1/database{path}")
    }

    /// Returns the metadata of the database `id`.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn info(&self, id: &str, stop: &CancellationToken) -> Result<DatabaseInfo, ApiError> {
        let envelope = self
            .call(
                Method::GET,
                &self.database_url(&format!("/{id}")),
                None,
                stop,
            )
            .await?;
        result_of(envelope.result)
    }

    /// Returns the Time Travel bookmark of the database's present state; `None` if it has none.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn bookmark(
        &self,
        id: &str,
        stop: &CancellationToken,
    ) -> Result<Option<String>, ApiError> {
        let url = self.database_url(&format!("/{id}/time_travel/bookmark"));
        let envelope: Envelope<Bookmark> = self.call(Method::GET, &url, None, stop).await?;
        Ok(envelope.result.and_then(|result| result.bookmark))
    }

    /// The clock used for waiting.
    pub(super) fn clock(&self) -> &dyn Clock {
        self.clock.as_ref()
    }

    /// Timeout of one response, or of the next part of a file.
    pub(super) fn request_timeout(&self) -> Duration {
        self.request_timeout
    }

    /// Builds a request for the file behind a link.
    pub(super) fn link(&self, url: &str) -> Result<reqwest::RequestBuilder, ApiError> {
        self.link_to(Method::GET, url)
    }

    /// Builds a request to a link: without the token, and never unencrypted if the API is encrypted.
    pub(super) fn link_to(
        &self,
        method: Method,
        url: &str,
    ) -> Result<reqwest::RequestBuilder, ApiError> {
        let is_encrypted = |url: &str| url.starts_with("https://");
        if is_encrypted(&self.api_url) && !is_encrypted(url) {
            let text = "the link to a file is not encrypted".to_owned();
            return Err(ApiError::Malformed(text));
        }
        Ok(self.files.request(method, url))
    }

    /// Runs `statements` in one transaction.
    pub(super) async fn batch(
        &self,
        id: &str,
        statements: &[String],
        stop: &CancellationToken,
    ) -> Result<Batch, ApiError> {
        let batch: Vec<_> = statements
            .iter()
            .map(|sql| serde_json::json!({ "sql": sql }))
            .collect();
        let body = serde_json::json!({ "batch": batch }).to_string();
        let envelope: Envelope<Vec<Answer>> = self
            .call(
                Method::POST,
                &self.database_url(&format!("/{id}/raw")),
                Some(body),
                stop,
            )
            .await?;
        let answers = result_of(envelope.result)?;
        if answers.len() != statements.len() {
            let (got, asked) = (answers.len(), statements.len());
            let (got, asked) = (counted(got, "result"), counted(asked, "statement"));
            let text = format!("{got} for {asked}");
            return Err(ApiError::Malformed(text));
        }
        if answers.iter().any(|answer| !answer.success) {
            let text = "a statement has no success, and no error".to_owned();
            return Err(ApiError::Malformed(text));
        }
        let is_replica = |answer: &Answer| answer.meta.served_by_primary == Some(false);
        if answers.iter().any(is_replica) {
            let text = "a replica answered, which may be behind".to_owned();
            return Err(ApiError::Overloaded(text));
        }
        Ok(Batch { answers })
    }

    /// Sends a request to `url`, which must be below the API's address, with retries after passing errors.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
        stop: &CancellationToken,
    ) -> Result<Envelope<T>, ApiError> {
        let mut delay = FIRST_RETRY_DELAY;
        let mut retry = 0;
        loop {
            let outcome = tokio::select! {
                outcome = self.call_once(method.clone(), url, body.clone()) => outcome,
                () = stop.cancelled() => return Err(ApiError::Stopped),
            };
            let error = match outcome {
                // If a smaller request may succeed, the caller makes it.
                Err(error) if error.is_retryable() && !error.wants_less() => error,
                // Cloudflare also returns these for a passing fault: one retry.
                Err(error @ (ApiError::WrongAccount(_) | ApiError::MissingPermission(_)))
                    if retry == 0 =>
                {
                    error
                }
                done => return done,
            };
            if retry == RETRIES {
                return Err(error);
            }
            retry += 1;
            if let ApiError::RateLimited { retry_after, .. } = &error {
                let pause = retry_after.unwrap_or(DEFAULT_PAUSE).min(LONGEST_PAUSE);
                self.budget.rest(self.clock.elapsed(), pause);
            } else {
                tokio::select! {
                    () = self.clock.sleep(delay) => {}
                    () = stop.cancelled() => return Err(ApiError::Stopped),
                }
                delay *= 2;
            }
            tracing::debug!(retry, "asking D1 again: {error}");
        }
    }

    /// Sends a request once.
    pub(super) async fn call_once<T: DeserializeOwned>(
        &self,
        method: Method,
        url: &str,
        body: Option<String>,
    ) -> Result<Envelope<T>, ApiError> {
        self.budget.wait(&*self.clock).await;
        let mut request = self
            .http
            .request(method, url)
            .timeout(self.request_timeout)
            .bearer_auth(self.token.expose());
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let mut response = request.send().await.map_err(|error| self.told(error))?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        self.rest_where_little_remains(&headers);
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.told(error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                let text = format!("the answer is longer than {MAX_ANSWER_BYTES} bytes");
                return Err(ApiError::TooMuch(text));
            }
            bytes.extend_from_slice(&chunk);
        }
        let is_good = (200..300).contains(&status);
        if is_good {
            match serde_json::from_slice::<Envelope<T>>(&bytes) {
                Ok(envelope) if envelope.success => return Ok(envelope),
                Ok(_) => {}
                Err(error) => {
                    // The result of a response without success may have any type.
                    let refusal = serde_json::from_slice::<Envelope<IgnoredAny>>(&bytes);
                    if refusal.is_ok_and(|envelope| !envelope.success) {
                        return Err(self.refused(status, &bytes, &headers));
                    }
                    return Err(self.malformed(status, &bytes, &error));
                }
            }
        }
        Err(self.refused(status, &bytes, &headers))
    }

    fn refused(&self, status: u16, bytes: &[u8], headers: &HeaderMap) -> ApiError {
        let faults = match serde_json::from_slice::<Envelope<IgnoredAny>>(bytes) {
            Ok(envelope) => envelope.errors,
            Err(_) if status >= 500 || status == 429 => Vec::new(),
            Err(error) => return self.malformed(status, bytes, &error),
        };
        let retry_after = seconds_of(headers, "retry-after").map(Duration::from_secs);
        ApiError::of_answer(status, &faults, retry_after, |text| self.redacted(text))
    }

    fn malformed(&self, status: u16, bytes: &[u8], error: &serde_json::Error) -> ApiError {
        let start = String::from_utf8_lossy(&bytes[..bytes.len().min(400)]);
        let what = match start.trim_start().starts_with('<') {
            true => "HTML in place of JSON".to_owned(),
            false if bytes.is_empty() => "an empty body".to_owned(),
            // Never the body: it may contain the user's rows.
            false => format!(
                "line {} column {}: {}",
                error.line(),
                error.column(),
                kind_of(error)
            ),
        };
        ApiError::Malformed(format!("status {status}, {what}"))
    }

    /// Converts the error without its URL, which may be a secret.
    pub(super) fn told(&self, error: reqwest::Error) -> ApiError {
        if error.is_timeout() {
            return ApiError::Timeout(self.request_timeout);
        }
        let error = error.without_url();
        let mut text = error.to_string();
        let mut cause = std::error::Error::source(&error);
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        ApiError::Connection(self.said(&text))
    }

    fn rest_where_little_remains(&self, headers: &HeaderMap) {
        let remaining = seconds_of(headers, "x-ratelimit-remaining");
        let reset = seconds_of(headers, "x-ratelimit-reset").map(Duration::from_secs);
        if let (Some(..LEAST_REMAINING), Some(pause)) = (remaining, reset)
            && pause <= LONGEST_PAUSE
        {
            self.budget.rest(self.clock.elapsed(), pause);
        }
    }

    /// Shortens a message of the API to one line, without the token and without characters that act where it is shown.
    pub(super) fn said(&self, text: &str) -> String {
        shortened(&self.redacted(text))
    }

    fn redacted(&self, text: &str) -> String {
        match self.token.expose() {
            "" => text.to_owned(),
            token => text.replace(token, "…"),
        }
    }
}

pub(super) fn result_of<T>(result: Option<T>) -> Result<T, ApiError> {
    result.ok_or_else(|| ApiError::Malformed("success without a result".to_owned()))
}

fn seconds_of(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn kind_of(error: &serde_json::Error) -> &'static str {
    match error.classify() {
        serde_json::error::Category::Eof => "it ends early",
        serde_json::error::Category::Syntax => "it is not JSON",
        _ => "it has another form than the API's",
    }
}
