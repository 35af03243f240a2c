//! Checks if a sink can be reached. Invariant: no alert is posted, only the host's root is requested, and no text
//! contains URL or host: both may be secrets.

use std::error::Error;
use std::time::Duration;

use reqwest::Url;

use super::online::Outcome;
use crate::config::Sink;
use crate::net::{self, HostError};
use crate::notify::{reach_of, way_out};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves the sink's host, connects, and requests `/` with HEAD. Any response is good: only an alert can show how the
/// sink responds to one.
pub(super) async fn reach(sink: &Sink) -> Outcome {
    match tokio::time::timeout(TIMEOUT, attempt(sink)).await {
        Ok(Ok(())) => Outcome::Good,
        Ok(Err(why)) => Outcome::Failed(why),
        Err(_) => Outcome::Failed(format!(
            "no answer within {} s\nhint: is a firewall in between?",
            TIMEOUT.as_secs()
        )),
    }
}

async fn attempt(sink: &Sink) -> Result<(), String> {
    let origin = origin(sink).ok_or_else(|| {
        let kind = sink.kind.as_str();
        format!("its address is not a URL\nhint: correct `{kind}`")
    })?;
    let client = net::client_for(&origin, reach_of(sink)).await;
    let client = client.map_err(|error| {
        let hint = match error {
            HostError::Special(purpose) => way_out(purpose),
            HostError::None | HostError::Unknown => "correct the host; does DNS work here?",
        };
        format!("{error}\nhint: {hint}")
    })?;
    let client = client
        .timeout(TIMEOUT)
        .build()
        .map_err(|_| "the HTTP client cannot be made".to_owned())?;
    let asked = client.head(origin.clone()).send().await;
    let host = origin.host_str().unwrap_or_default();
    asked.map(drop).map_err(|error| told(&error, host))
}

/// Returns only scheme, host and port.
fn origin(sink: &Sink) -> Option<Url> {
    let mut url = Url::parse(sink.url.expose()).ok()?;
    url.set_path("/");
    url.set_query(None);
    url.set_fragment(None);
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    Some(url)
}

fn told(error: &reqwest::Error, host: &str) -> String {
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    // The innermost cause is the informative one; the others repeat it or contain the URL.
    let why = causes.pop().unwrap_or_default().replace(host, "…");
    if why.contains("certificate") {
        return format!(
            "it cannot be trusted: {why}\nhint: check its address, this machine's clock, and its CA certificates"
        );
    }
    match error.is_connect() {
        true => format!(
            "it cannot be reached: {why}\nhint: is it running, and is a firewall in between?"
        ),
        false => format!("it does not speak HTTP: {why}\nhint: check its scheme and port"),
    }
}
