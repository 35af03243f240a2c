//! Posts JSON to a URL, signed if a key is configured.
//!
//! Headers: `Idempotency-Key` and `X-Patina-Delivery` hold the message's id, `X-Patina-Event` its kind, and
//! `X-Patina-Signature` is `sha256=` and the HMAC-SHA256 of the body in hexadecimal.

use async_trait::async_trait;
use ring::hmac;

use super::post::{Address, Answer, NotifyError, Request};
use super::{Body, Message, Notifier};
use crate::config::{Secret, Sink};

/// Name of the signature header.
pub const SIGNATURE_HEADER: &str = "X-Patina-Signature";

/// A URL that accepts JSON.
pub struct Webhook {
    name: String,
    address: Address,
    key: Option<Secret>,
}

impl Webhook {
    /// Creates the sink that `sink` describes.
    pub fn new(sink: &Sink) -> Self {
        Self {
            name: sink.name.clone(),
            address: Address::of(sink),
            key: sink.secret.clone(),
        }
    }
}

#[async_trait]
impl Notifier for Webhook {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<Answer, NotifyError> {
        let url = self.address.url()?;
        let mut request = match message {
            Message::Alert(alert) => Request::json(url, &alert.payload()),
            Message::Digest(digest) => Request::json(url, &digest.payload()),
            Message::Scripted { body, .. } => match body {
                Body::Json(document) => Request::json(url, document),
                Body::Text(text) => {
                    Request::post(url, "text/plain; charset=utf-8", text.clone().into_bytes())
                }
            },
            Message::Pulse { .. } => Request::json(url, &serde_json::json!({ "type": "pulse" })),
        };
        let headers = &mut request.headers;
        headers.push(("Idempotency-Key", message.id().to_owned()));
        headers.push(("X-Patina-Delivery", message.id().to_owned()));
        headers.push(("X-Patina-Event", message.word().to_owned()));
        if let Some(key) = &self.key {
            headers.push((SIGNATURE_HEADER, signature(key, &request.body)));
        }
        self.address.send(request).await
    }
}

fn signature(key: &Secret, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes());
    format!("sha256={}", hex::encode(hmac::sign(&key, body)))
}
