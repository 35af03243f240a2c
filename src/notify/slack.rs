//! Speaks to a Slack webhook, and to what understands the same, such as Mattermost.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::post::{Address, Answer, NotifyError, Request};
use super::text::{cut, slack as escaped};
use super::{Body, Message, Notifier};
use crate::config::{AlertLevel, Sink};
use crate::types::EventKind;

/// Slack cuts beyond 40,000; nobody reads so much: https://docs.slack.dev/changelog/2018-truncating-really-long-messages
const MOST_TEXT: usize = 8_000;

/// A Slack webhook.
pub struct Slack {
    name: String,
    address: Address,
}

impl Slack {
    /// The sink that `sink` describes.
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
                plain(mark, &alert.title(), &alert.agent, &alert.text())
            }
            Message::Digest(digest) => {
                let mark = mark(EventKind::Test, digest.severity());
                let lines: Vec<String> = digest.lines();
                let lines: Vec<String> = lines.iter().map(|line| format!("• {line}")).collect();
                plain(mark, &digest.title(), &digest.agent, &lines.join("\n"))
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
        (EventKind::BackupCompleted | EventKind::Resolved, _) => ":white_check_mark:",
        (_, AlertLevel::Info) => ":information_source:",
        (_, AlertLevel::Warning) => ":warning:",
        (_, AlertLevel::Critical) => ":rotating_light:",
    }
}

fn plain(mark: &str, title: &str, agent: &str, text: &str) -> Value {
    let (title, agent, text) = (escaped(title), escaped(agent), escaped(text));
    let text = cut(
        &format!("{mark} *{title}* · Patina · {agent}\n{text}"),
        MOST_TEXT,
    );
    json!({ "text": text, "unfurl_links": false, "unfurl_media": false })
}
