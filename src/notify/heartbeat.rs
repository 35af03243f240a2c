//! Pings a monitor that raises an alarm if pings stop, such as healthchecks.io. Invariant: only the ping's kind is
//! sent; no name or text.

use async_trait::async_trait;
use reqwest::{Method, Url};

use super::post::{Address, Answer, NotifyError, Request};
use super::{Beat, Message, Notifier};
use crate::config::Sink;

/// Ping address of a monitor.
pub struct Heartbeat {
    name: String,
    address: Address,
}

impl Heartbeat {
    /// Creates the sink that `sink` describes.
    pub fn new(sink: &Sink) -> Self {
        Self {
            name: sink.name.clone(),
            address: Address::of(sink),
        }
    }
}

#[async_trait]
impl Notifier for Heartbeat {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<Answer, NotifyError> {
        let beat = match message {
            Message::Pulse { beat, .. } => *beat,
            // An alert does not say whether the backups are good.
            Message::Alert(_) | Message::Digest(_) | Message::Scripted { .. } => Beat::Nothing,
        };
        let url = below(self.address.url()?, beat);
        let request = Request {
            method: Method::GET,
            url,
            headers: Vec::new(),
            body: Vec::new(),
        };
        match (self.address.send(request).await, beat) {
            // Not every monitor has an endpoint for a neutral ping; it was reached all the same.
            (Err(NotifyError::Unwilling { status: 404, .. }), Beat::Nothing) => {
                Ok(Answer { status: 404 })
            }
            (sent, _) => sent,
        }
    }
}

/// Returns the address for a beat: https://healthchecks.io/docs/http_api/
fn below(mut url: Url, beat: Beat) -> Url {
    let word = match beat {
        Beat::Good => return url,
        Beat::Start => "start",
        Beat::Bad => "fail",
        Beat::Nothing => "log",
    };
    let path = format!("{}/{word}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_comes_before_the_query() {
        let url: Url = "https://hc.example/ping/uuid/?create=1".parse().unwrap();
        for (beat, expected) in [
            (Beat::Good, "https://hc.example/ping/uuid/?create=1"),
            (Beat::Start, "https://hc.example/ping/uuid/start?create=1"),
            (Beat::Bad, "https://hc.example/ping/uuid/fail?create=1"),
            (Beat::Nothing, "https://hc.example/ping/uuid/log?create=1"),
        ] {
            assert_eq!(below(url.clone(), beat).as_str(), expected);
        }
    }
}
