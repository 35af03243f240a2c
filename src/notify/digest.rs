//! Puts many events into one message, so that a storm is one alert.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::alert::{ALERT_VERSION, Alert, timestamp};
use crate::config::AlertLevel;

/// Many events in one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Digest {
    /// Tells it from every other message.
    pub id: String,
    /// When it was put together.
    pub at: DateTime<Utc>,
    /// The installation.
    pub agent: String,
    /// The events, the oldest first; at least two.
    pub alerts: Vec<Alert>,
}

impl Digest {
    /// How many there are, for people.
    pub fn title(&self) -> String {
        format!("{} alerts", self.alerts.len())
    }

    /// How grave the gravest is.
    pub fn severity(&self) -> AlertLevel {
        let severities = self.alerts.iter().map(|alert| alert.severity);
        severities.max().unwrap_or_default()
    }

    /// The first line of each event, the gravest first: what is cut off at the end matters least.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut alerts: Vec<&Alert> = self.alerts.iter().collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
        let lines = alerts.into_iter().map(|alert| {
            let title = alert.title();
            match alert.message.lines().next() {
                Some(first) if first != title => format!("{title}: {first}"),
                _ => title,
            }
        });
        lines.collect()
    }

    /// What a webhook gets: each event as it would have got it alone, with its id.
    pub fn payload(&self) -> Value {
        let events = self.alerts.iter();
        let events = events.map(|alert| json!({ "id": alert.id, "event": alert.payload() }));
        json!({
            "version": ALERT_VERSION,
            "id": self.id,
            "type": "digest",
            "severity": self.severity(),
            "timestamp": timestamp(self.at),
            "agent": self.agent,
            "count": self.alerts.len(),
            "events": events.collect::<Value>(),
        })
    }
}
