//! Combines many events into one message, so that a storm is one alert.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::alert::{ALERT_VERSION, Alert, JobFacts, timestamp};
use super::fit::{Item, Parts};
use crate::config::AlertLevel;
use crate::types::counted;

/// A database named after more than this many bytes of text is also named in front of it.
const MOST_BEFORE_NAME: usize = 120;

/// Many events in one message.
#[derive(Debug, Clone, PartialEq)]
pub struct Digest {
    /// Unique id of the message.
    pub id: String,
    /// Time when it was composed.
    pub at: DateTime<Utc>,
    /// Name of the installation.
    pub agent: String,
    /// The events, oldest first; at least two.
    pub alerts: Vec<Alert>,
}

impl Digest {
    /// Returns the number of alerts, in words.
    pub fn title(&self) -> String {
        counted(self.alerts.len(), "alert")
    }

    /// Returns the highest severity.
    pub fn severity(&self) -> AlertLevel {
        let severities = self.alerts.iter().map(|alert| alert.severity);
        severities.max().unwrap_or_default()
    }

    /// Returns the first line of each event, most severe first: if space runs out, the least important ones are cut.
    pub(super) fn parts(&self) -> Parts {
        let mut alerts: Vec<&Alert> = self.alerts.iter().collect();
        alerts.sort_by_key(|alert| std::cmp::Reverse(alert.severity));
        Parts {
            items: alerts.into_iter().map(item).collect(),
            ..Parts::default()
        }
    }

    /// Returns the webhook payload: each event as its own payload, with its id.
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

/// Formats an event as one of several: its subject goes into the head, which is shortened last.
fn item(alert: &Alert) -> Item {
    let title = alert.title();
    let line = alert.message.lines().next().unwrap_or_default();
    if line.is_empty() || line == title {
        return Item {
            head: title,
            ..Item::default()
        };
    }
    let failed: Vec<String> = alert
        .job
        .iter()
        .flat_map(JobFacts::failed_databases)
        .map(|(database, _)| format!("`{database}`"))
        .collect();
    if !failed.is_empty() {
        let head = format!("{title}: {line}: {}", failed.join(", "));
        return Item {
            head,
            ..Item::default()
        };
    }
    let name = alert.database.as_ref().map(|name| format!("`{name}`"));
    let end = name
        .as_ref()
        .and_then(|name| Some(line.find(name)? + name.len()));
    match (end, name) {
        (Some(end), _) if end <= MOST_BEFORE_NAME => {
            let (before, after) = line.split_at(end);
            let (joint, reason) = match (after.strip_prefix(": "), after.strip_prefix(' ')) {
                (Some(reason), _) => (": ", reason),
                (_, Some(reason)) => (" ", reason),
                (None, None) => ("", after),
            };
            Item {
                head: format!("{title}: {before}"),
                joint,
                reason: reason.to_owned(),
            }
        }
        (_, Some(name)) => Item {
            head: format!("{title}: {name}"),
            joint: ": ",
            reason: line.to_owned(),
        },
        (_, None) => Item {
            head: title,
            joint: ": ",
            reason: line.to_owned(),
        },
    }
}
