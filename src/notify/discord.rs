//! Sends to a Discord webhook: an embed, as in the spec. Invariant: a message mentions no one.

use async_trait::async_trait;
use serde_json::{Value, json};

use super::alert::{Alert, JobFacts, size, timestamp};
use super::fit::Form;
use super::post::{Address, Answer, NotifyError, Request};
use super::text::{clean, cut, discord as escaped, units};
use super::{Body, Digest, Message, Notifier};
use crate::config::{AlertLevel, Sink};
use crate::types::EventKind;

// Discord's limits: https://discord.com/developers/docs/resources/message#embed-object-embed-limits
const MOST_TITLE: usize = 256;
const MOST_DESCRIPTION: usize = 4096;
const MOST_VALUE: usize = 1024;
const MOST_FOOTER: usize = 512;
const MOST_CONTENT: usize = 2000;

const DESCRIPTION: Form = Form {
    escape: escaped,
    measure: units,
    most: MOST_DESCRIPTION,
    bullet: "",
};
const LIST: Form = Form {
    bullet: "• ",
    ..DESCRIPTION
};

const GREEN: u32 = 0x22_C5_5E;
const RED: u32 = 0xEF_44_44;
const AMBER: u32 = 0xF5_9E_0B;
const BLUE: u32 = 0x3B_82_F6;

/// A Discord webhook.
pub struct Discord {
    name: String,
    address: Address,
}

impl Discord {
    /// Creates the sink that `sink` describes.
    pub fn new(sink: &Sink) -> Self {
        Self {
            name: sink.name.clone(),
            address: Address::of(sink),
        }
    }
}

#[async_trait]
impl Notifier for Discord {
    fn name(&self) -> &str {
        &self.name
    }

    async fn send(&self, message: &Message) -> Result<Answer, NotifyError> {
        let body = match message {
            Message::Alert(alert) => of_alert(alert),
            Message::Digest(digest) => of_digest(digest),
            Message::Scripted { body, .. } => scripted(body),
            Message::Pulse { .. } => json!({ "content": "Patina is alive" }),
        };
        let request = Request::json(self.address.url()?, &quiet(body));
        self.address.send(request).await
    }
}

/// Disables all mentions, regardless of the content.
fn quiet(mut body: Value) -> Value {
    if let Value::Object(fields) = &mut body {
        fields.insert("allowed_mentions".to_owned(), json!({ "parse": [] }));
    }
    body
}

fn scripted(body: &Body) -> Value {
    match body {
        Body::Json(document) => document.clone(),
        Body::Text(text) => json!({ "content": cut(text, MOST_CONTENT) }),
    }
}

fn of_alert(alert: &Alert) -> Value {
    let embed = match &alert.job {
        Some(job) => of_job(alert, job),
        None => of_event(alert),
    };
    json!({ "embeds": [embed] })
}

/// Builds the embed of the spec; for a failure, the failed databases are listed above its fields.
fn of_job(alert: &Alert, job: &JobFacts) -> Value {
    let is_success = job.failed == 0 && alert.kind != EventKind::BackupFailed;
    let title = match (is_success, job.successful) {
        (true, _) => "✅ Patina Backup Completed",
        (false, 0) => "❌ Patina Backup Failed",
        (false, _) => "⚠️ Patina Backup Partially Failed",
    };
    let mut fields = vec![field(
        "Databases",
        &format!("{}/{} successful", job.successful, job.total),
    )];
    fields.extend(
        job.size_bytes
            .map(|bytes| field("Total Size", &size(bytes))),
    );
    let seconds = job.duration_ms as f64 / 1000.0;
    fields.push(field("Duration", &format!("{seconds:.1}s")));
    let mut embed = json!({
        "title": title,
        "color": if is_success { GREEN } else { RED },
        "fields": fields,
        "footer": { "text": format!("Job ID: {}", job.id) },
        "timestamp": timestamp(alert.at),
    });
    if !is_success {
        embed["description"] = DESCRIPTION.text(&alert.parts()).into();
    }
    embed
}

fn of_event(alert: &Alert) -> Value {
    let (mark, color) = match (alert.kind, alert.severity) {
        (EventKind::Resolved, _) => ("✅", GREEN),
        (_, AlertLevel::Info) => ("ℹ️", BLUE),
        (_, AlertLevel::Warning) => ("⚠️", AMBER),
        (_, AlertLevel::Critical) => ("🚨", RED),
    };
    let title = format!("{mark} {}", alert.title());
    let database = alert.database.as_ref();
    let fields: Vec<Value> = database
        .map(|name| field("Database", &escaped(name.as_str())))
        .into_iter()
        .collect();
    json!({
        "title": cut(&title, MOST_TITLE),
        "description": DESCRIPTION.text(&alert.parts()),
        "color": color,
        "fields": fields,
        "footer": { "text": footer(&alert.agent) },
        "timestamp": timestamp(alert.at),
    })
}

fn of_digest(digest: &Digest) -> Value {
    let color = match digest.severity() {
        AlertLevel::Info => BLUE,
        AlertLevel::Warning => AMBER,
        AlertLevel::Critical => RED,
    };
    json!({ "embeds": [{
        "title": format!("🗂️ {}", digest.title()),
        "description": LIST.text(&digest.parts()),
        "color": color,
        "footer": { "text": footer(&digest.agent) },
        "timestamp": timestamp(digest.at),
    }] })
}

fn field(name: &str, value: &str) -> Value {
    json!({ "name": name, "value": cut(value, MOST_VALUE), "inline": true })
}

fn footer(agent: &str) -> String {
    cut(&format!("Patina · {}", clean(agent)), MOST_FOOTER)
}
