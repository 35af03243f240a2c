//! Publishes to an ntfy topic.

use async_trait::async_trait;

use super::fit::Form;
use super::post::{Address, Answer, NotifyError, Request};
use super::text::{clean, header};
use super::{Body, Message, Notifier};
use crate::config::{AlertLevel, Sink};
use crate::excerpt;
use crate::types::EventKind;

/// Longest message; ntfy turns a longer one into an attachment: https://docs.ntfy.sh/publish/#limitations
const MOST_BYTES: usize = 4096;

/// Longest title: a longer one does not fit a notification, and headers have limits of their own.
const MOST_TITLE_CHARS: usize = 200;

const MESSAGE: Form = Form {
    escape: clean,
    measure: str::len,
    most: MOST_BYTES,
    bullet: "",
};

/// An ntfy topic.
pub struct Ntfy {
    name: String,
    address: Address,
}

impl Ntfy {
    /// Creates the sink that `sink` describes.
    pub fn new(sink: &Sink) -> Self {
        Self {
            name: sink.name.clone(),
            address: Address::of(sink),
        }
    }
}

#[async_trait]
impl Notifier for Ntfy {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<Answer, NotifyError> {
        let url = self.address.url()?;
        let request = match message {
            Message::Alert(alert) => {
                let title = format!("Patina {}: {}", alert.agent, alert.title());
                let tag = tag(alert.kind, alert.severity);
                let text = MESSAGE.text(&alert.parts());
                with_headers(post(url, text), &title, alert.severity, tag)
            }
            Message::Digest(digest) => {
                let title = format!("Patina {}: {}", digest.agent, digest.title());
                let (text, severity) = (MESSAGE.text(&digest.parts()), digest.severity());
                let tag = tag(EventKind::Test, severity);
                with_headers(post(url, text), &title, severity, tag)
            }
            Message::Scripted { body, .. } => match body {
                Body::Json(document) => Request::json(url, document),
                Body::Text(text) => post(url, bounded(text)),
            },
            Message::Pulse { .. } => post(url, "Patina is alive".to_owned()),
        };
        self.address.send(request).await
    }
}

fn bounded(text: &str) -> String {
    excerpt::cut(&clean(text), MOST_BYTES, str::len).into_owned()
}

fn post(url: reqwest::Url, text: String) -> Request {
    Request::post(url, "text/plain; charset=utf-8", text.into_bytes())
}

fn with_headers(mut request: Request, title: &str, severity: AlertLevel, tag: &str) -> Request {
    let priority = match severity {
        AlertLevel::Info => "3",
        AlertLevel::Warning => "4",
        AlertLevel::Critical => "5",
    };
    let title = excerpt::excerpt(title, MOST_TITLE_CHARS);
    request.headers.push(("Title", header(&title)));
    request.headers.push(("Priority", priority.to_owned()));
    request.headers.push(("Tags", tag.to_owned()));
    request
}

fn tag(kind: EventKind, severity: AlertLevel) -> &'static str {
    match (kind, severity) {
        (EventKind::BackupCompleted | EventKind::Resolved, _) => "white_check_mark",
        (_, AlertLevel::Info) => "information_source",
        (_, AlertLevel::Warning) => "warning",
        (_, AlertLevel::Critical) => "rotating_light",
    }
}
