//! Sends one message to one sink. Invariant: text from outside stays text in every format, and no error contains a
//! sink's address or key.
//!
//! A notifier tries once and returns the result; the sender decides about retries.

mod alert;
mod digest;
mod discord;
mod fit;
mod heartbeat;
mod ntfy;
mod post;
mod slack;
mod text;
mod webhook;

pub use alert::{ALERT_VERSION, Alert, DatabaseFacts, JobFacts};
pub use digest::Digest;
pub use discord::Discord;
pub use heartbeat::Heartbeat;
pub use ntfy::Ntfy;
pub use post::{Answer, Delay, NotifyError, reach_of, way_out};
pub use slack::Slack;
pub use webhook::{SIGNATURE_HEADER, Webhook};

use async_trait::async_trait;

/// A receiver of messages.
#[async_trait]
pub trait Notifier: Send + Sync {
    /// Name in the configuration.
    fn name(&self) -> &str;

    /// Sends a message once and returns the sink's answer.
    ///
    /// # Errors
    /// If the sink was not reached or did not accept the message.
    async fn send(&self, message: &Message) -> Result<Answer, NotifyError>;
}

/// A message to a sink.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// One event.
    Alert(Box<Alert>),
    /// Many events combined.
    Digest(Digest),
    /// One event as a script composed it.
    Scripted {
        /// The event.
        alert: Box<Alert>,
        /// The content to send instead of the built-in one.
        body: Body,
    },
    /// A heartbeat.
    Pulse {
        /// Unique id of the message.
        id: String,
        /// Kind of the heartbeat.
        beat: Beat,
    },
}

impl Message {
    /// Returns the unique id of the message; the same for each attempt to send it.
    pub fn id(&self) -> &str {
        match self {
            Self::Alert(alert) | Self::Scripted { alert, .. } => &alert.id,
            Self::Digest(digest) => &digest.id,
            Self::Pulse { id, .. } => id,
        }
    }

    /// Returns the kind of the message: an event's kind, `digest` or `pulse`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Alert(alert) | Self::Scripted { alert, .. } => alert.kind.as_str(),
            Self::Digest(_) => "digest",
            Self::Pulse { .. } => "pulse",
        }
    }
}

/// Content that a script asks to send.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Sent unchanged.
    Json(serde_json::Value),
    /// Sent as the sink sends text.
    Text(String),
}

/// Kind of a heartbeat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// A job begins.
    Start,
    /// Every database has a copy.
    Good,
    /// At least one database has none.
    Bad,
    /// Neutral: only its arrival matters.
    Nothing,
}
