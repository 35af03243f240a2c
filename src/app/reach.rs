//! Tries whether a sink can be reached. Invariant: no alert is posted, only the host's root is asked for, and neither
//! URL nor host is in any text: both may be secrets.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::{Url, redirect};

use super::online::Outcome;
use crate::config::Sink;
use crate::notify::is_private;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Resolves the sink's host, connects, and asks for `/` with HEAD. Any answer is good: what the sink says to an alert
/// only an alert can tell.
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
    let (host, port) = (origin.host_str(), origin.port_or_known_default());
    let (host, port) = (host.unwrap_or_default(), port.unwrap_or_default());
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((bare, port)).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(found) => found.collect(),
        Err(_) => {
            return Err(
                "its host name is not known\nhint: correct the host; does DNS work here?"
                    .to_owned(),
            );
        }
    };
    if !sink.allow_private && addresses.iter().any(|address| is_private(address.ip())) {
        return Err(
            "its address lies in a private network\nhint: `allow_private = true` allows that"
                .to_owned(),
        );
    }
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(redirect::Policy::none())
        .resolve_to_addrs(bare, &addresses)
        .build()
        .map_err(|_| "the HTTP client cannot be made".to_owned())?;
    let asked = client.head(origin.clone()).send().await;
    asked.map(drop).map_err(|error| told(&error, bare))
}

/// Scheme, host and port alone.
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
    // The innermost says it; the others repeat it or name the URL.
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
