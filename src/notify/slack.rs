//! Sends to a Slack webhook, and to compatible services such as Mattermost.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::fit::{Form, Parts};
use super::post::{Address, Answer, NotifyError, Request};
use super::text::{cut, slack as escaped, units};
use super::{Body, Message, Notifier};
use crate::config::{AlertLevel, Sink};
use crate::types::EventKind;

/// Longest text that is still read; Slack truncates beyond 40,000:
/// https://docs.slack.dev/changelog/2018-truncating-really-long-messages
const MOST_TEXT: usize = 8_000;

/// Longest first line.
const MOST_FIRST_LINE: usize = 200;

/// A Slack webhook.
pub struct Slack {
    name: String,
    address: Address,
}

impl Slack {
    /// Creates the sink that `sink` describes.
    pub fn new(sink: &Sink) -> Self {
        Self {
            name: sink.name.clone(),
            address: Address::of(sink),
        }
    }
}

#[async_trait]
impl Notifier for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<Answer, NotifyError> {
        let body = match message {
            Message::Alert(alert) => {
                let mark = mark(alert.kind, alert.severity);
                plain(mark, &alert.title(), &alert.agent, &alert.parts(), "")
            }
            Message::Digest(digest) => {
                let mark = mark(EventKind::Test, digest.severity());
                plain(mark, &digest.title(), &digest.agent, &digest.parts(), "• ")
            }
            Message::Scripted { body, .. } => match body {
                Body::Json(document) => document.clone(),
                Body::Text(text) => json!({ "text": cut(text, MOST_TEXT) }),
            },
            Message::Pulse { .. } => json!({ "text": "Patina is alive" }),
        };
        let request = Request::json(self.address.url()?, &body);
        self.address.send(request).await
    }
}

fn mark(kind: EventKind, severity: AlertLevel) -> &'static str {
    match (kind, severity) {
        (EventKind::BackupCompleted | EventKind::Resolved, _) => "✅",
        (_, AlertLevel::Info) => "ℹ️",
        (_, AlertLevel::Warning) => "⚠️",
        (_, AlertLevel::Critical) => "🚨",
    }
}

/// Builds a message without markup: Slack knows no escape for `*`, `_`, `~` and the backtick, so a name that contains
/// them would change (https://docs.slack.dev/messaging/formatting-message-text, "Disabling formatting").
fn plain(mark: &str, title: &str, agent: &str, parts: &Parts, bullet: &'static str) -> Value {
    let first = format!("{mark} {title} · Patina · {agent}");
    let first = format!("{}\n", escaped(&cut(&first, MOST_FIRST_LINE)));
    let form = Form {
        escape: escaped,
        measure: units,
        most: MOST_TEXT - units(&first),
        bullet,
    };
    let text = format!("{first}{}", form.text(parts));
    json!({ "text": text, "mrkdwn": false, "unfurl_links": false, "unfurl_media": false })
}
