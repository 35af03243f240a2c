//! Sends one HTTP request to a sink. Invariant: it ends in time, follows no redirect, and reaches no private network
//! unless that is allowed: connections go only to addresses that were checked.

use std::error::Error;
use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::{Method, Url};

use crate::config::{Secret, Sink};
use crate::net::{self, HostError, Reach, SpecialPurpose};
use crate::quote::foreign;

/// A sink that needs longer for a few kilobytes is down.
const TIMEOUT: Duration = Duration::from_secs(10);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Number of bytes of an answer that are read: enough for the reason.
const MOST_ANSWER_BYTES: usize = 4096;
const MOST_ANSWER_SHOWN: usize = 200;

/// Shortest part of an address that is hidden from errors: shorter ones are common words, not secrets.
const LEAST_SECRET_CHARS: usize = 6;

/// Answer of a sink that accepted a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
}

/// Reason that a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// The address is not a URL.
    #[error("its address is not a URL")]
    BadAddress,
    /// The host has no public internet address; the purpose of the one that it has.
    #[error("its address {0}\nhint: {hint}", hint = way_out(*.0))]
    Special(SpecialPurpose),
    /// The sink was not reached, or did not answer in time.
    #[error("it was not reached: {0}")]
    Unreachable(String),
    /// The sink is rate-limiting.
    #[error("it takes no more for now (status {status})")]
    Limited {
        /// The HTTP status.
        status: u16,
        /// `Retry-After`; `None` if the sink sent none.
        after: Option<Delay>,
    },
    /// The sink failed or denied access.
    #[error("it answered with status {status}{said}")]
    Unwilling {
        /// The HTTP status.
        status: u16,
        /// The sink's text; begins with a colon, or is empty.
        said: String,
    },
    /// The sink rejected this message; another one may be accepted.
    #[error("it refused the message with status {status}{said}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The sink's text; begins with a colon, or is empty.
        said: String,
    },
}

impl NotifyError {
    /// True if the next message would fail in the same way: then all messages wait, not only this one.
    pub fn is_about_the_sink(&self) -> bool {
        !matches!(self, Self::Refused { .. })
    }
}

impl From<HostError> for NotifyError {
    fn from(error: HostError) -> Self {
        match error {
            HostError::None => Self::BadAddress,
            HostError::Special(purpose) => Self::Special(purpose),
            HostError::Unknown => Self::Unreachable(error.to_string()),
        }
    }
}

/// Returns the hosts that a sink may reach, according to `allow_private`.
pub fn reach_of(sink: &Sink) -> Reach {
    match sink.allow_private {
        true => Reach::Anywhere,
        false => Reach::Internet,
    }
}

/// Hint for a sink whose address has this special purpose.
pub fn way_out(purpose: SpecialPurpose) -> &'static str {
    match purpose.is_near() {
        true => "`allow_private = true` allows that",
        false => {
            "correct the address: no sink on the internet has such a one; `allow_private = true` allows it all the same"
        }
    }
}

/// Time of the next attempt, as the sink requested it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delay {
    /// After this time.
    For(Duration),
    /// At this time.
    Until(DateTime<Utc>),
}

/// Address of a sink.
pub(super) struct Address {
    url: Secret,
    reach: Reach,
}

/// A request to a sink.
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

impl Request {
    pub(super) fn post(url: Url, content_type: &str, body: Vec<u8>) -> Self {
        Self {
            method: Method::POST,
            url,
            headers: vec![("Content-Type", content_type.to_owned())],
            body,
        }
    }

    pub(super) fn json(url: Url, document: &serde_json::Value) -> Self {
        Self::post(url, "application/json", document.to_string().into_bytes())
    }
}

impl Address {
    pub(super) fn of(sink: &Sink) -> Self {
        Self {
            url: sink.url.clone(),
            reach: reach_of(sink),
        }
    }

    pub(super) fn url(&self) -> Result<Url, NotifyError> {
        Url::parse(self.url.expose()).map_err(|_| NotifyError::BadAddress)
    }

    /// Sends the request once.
    pub(super) async fn send(&self, request: Request) -> Result<Answer, NotifyError> {
        let sent = tokio::time::timeout(TIMEOUT, self.attempt(request)).await;
        sent.unwrap_or_else(|_| {
            let seconds = TIMEOUT.as_secs();
            Err(NotifyError::Unreachable(format!(
                "no answer within {seconds} s"
            )))
        })
    }

    async fn attempt(&self, request: Request) -> Result<Answer, NotifyError> {
        let host = request.url.host_str().ok_or(NotifyError::BadAddress)?;
        let host = host.to_owned();
        let client = net::client_for(&request.url, self.reach).await?;
        let client = client
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|_| NotifyError::Unreachable("the HTTP client cannot be made".to_owned()))?;
        let mut asked = client.request(request.method, request.url);
        for (name, value) in request.headers {
            asked = asked.header(name, value);
        }
        let asked = asked.body(request.body).send().await;
        let answer = asked.map_err(|error| NotifyError::Unreachable(why(&error, &host)))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        if answer.status().is_success() {
            return Ok(Answer { status });
        }
        let said = self.shown(&read(answer).await);
        Err(match status {
            429 => limited(status, &headers),
            503 if headers.contains_key(RETRY_AFTER) => limited(status, &headers),
            400 | 405..=407 | 409 | 411..=428 | 430..=499 => NotifyError::Refused { status, said },
            _ => NotifyError::Unwilling { status, said },
        })
    }

    /// Shortens a sink's text and removes every part of its address: some sinks repeat the request.
    fn shown(&self, said: &str) -> String {
        let mut said = said.replace(['\n', '\r', '\t'], " ").trim().to_owned();
        if said.is_empty() || said.starts_with('<') {
            // An HTML page.
            return String::new();
        }
        let parts = self.url.expose().split(['/', '?', '&', '=', '@', ':']);
        for part in parts.filter(|part| part.chars().count() >= LEAST_SECRET_CHARS) {
            said = said.replace(part, "…");
        }
        format!(": {}", foreign(&said, MOST_ANSWER_SHOWN))
    }
}

async fn read(mut answer: reqwest::Response) -> String {
    let mut bytes = Vec::new();
    while bytes.len() < MOST_ANSWER_BYTES
        && let Ok(Some(chunk)) = answer.chunk().await
    {
        bytes.extend_from_slice(&chunk);
    }
    bytes.truncate(MOST_ANSWER_BYTES);
    String::from_utf8_lossy(&bytes).into_owned()
}

fn limited(status: u16, headers: &HeaderMap) -> NotifyError {
    let text = headers.get(RETRY_AFTER).and_then(|text| text.to_str().ok());
    NotifyError::Limited {
        status,
        after: text.and_then(|text| delay(text.trim())),
    }
}

/// Parses `Retry-After`: seconds, which some write with fractions, or a date (RFC 9110, 10.2.3).
fn delay(text: &str) -> Option<Delay> {
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok().map(Delay::For);
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Delay::Until(date.to_utc()))
}

fn why(error: &reqwest::Error, host: &str) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut innermost = None;
    let mut cause = error.source();
    while let Some(error) = cause {
        innermost = Some(error.to_string());
        cause = error.source();
    }
    // The outer errors repeat it or name the address.
    let innermost = innermost.unwrap_or_default().replace(host, "…");
    foreign(&innermost, MOST_ANSWER_SHOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let date = "2026-11-24T07:28:00Z".parse().unwrap();
        for (text, expected) in [
            ("30", Some(Delay::For(Duration::from_secs(30)))),
            ("0.5", Some(Delay::For(Duration::from_millis(500)))),
            ("Tue, 24 Nov 2026 07:28:00 GMT", Some(Delay::Until(date))),
            ("soon", None),
            ("-1", None),
            ("NaN", None),
        ] {
            assert_eq!(delay(text), expected, "{text}");
        }
    }
}
