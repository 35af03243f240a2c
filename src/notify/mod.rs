//! Sends one message to one sink. Invariant: text from outside stays text, whatever the sink makes of text, and neither
//! address nor key of a sink is in any error.
//!
//! A notifier tries once and says what came of it; when to try again, and whether, is decided by who sends.

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
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// Sends a message once and gives the sink's answer.
    ///
    /// # Errors
    /// Where the sink was not reached or did not take it.
    async fn send(&self, message: &Message) -> Result<Answer, NotifyError>;
}

/// What a sink is sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// One event.
    Alert(Box<Alert>),
    /// Many events in one.
    Digest(Digest),
    /// One event in the words of a script.
    Scripted {
        /// The event.
        alert: Box<Alert>,
        /// What to send instead of the built-in form.
        body: Body,
    },
    /// A sign of life.
    Pulse {
        /// Tells it from every other message.
        id: String,
        /// What it says.
        beat: Beat,
    },
}

impl Message {
    /// Tells the message from every other; the same for each attempt to send it.
    pub fn id(&self) -> &str {
        match self {
            Self::Alert(alert) | Self::Scripted { alert, .. } => &alert.id,
            Self::Digest(digest) => &digest.id,
            Self::Pulse { id, .. } => id,
        }
    }

    /// The word for what it is: an event's kind, `digest` or `pulse`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Alert(alert) | Self::Scripted { alert, .. } => alert.kind.as_str(),
            Self::Digest(_) => "digest",
            Self::Pulse { .. } => "pulse",
        }
    }
}

/// What a script wants to be sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// As it is.
    Json(serde_json::Value),
    /// As the sink sends text.
    Text(String),
}

/// What a sign of life says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beat {
    /// A job begins.
    Start,
    /// Every database has its copy.
    Good,
    /// One has not.
    Bad,
    /// Nothing: only whether it arrives matters.
    Nothing,
}
