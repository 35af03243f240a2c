//! The bytes of the built-in forms, beside the spec's.

use patina::app;
use patina::config::{AlertLevel, Config, System};
use patina::notify::{Alert, DatabaseFacts, Digest, JobFacts, Message, Notifier};
use patina::types::EventKind;
use serde_json::{Value, json};

use super::server::Server;

pub(super) fn job(failed: bool) -> Alert {
    let kb = 1024;
    let facts = |name: &str, size_bytes: Option<u64>, error: Option<&str>| DatabaseFacts {
        database: name.parse().unwrap(),
        status: if error.is_some() { "failed" } else { "success" },
        size_bytes,
        error: error.map(str::to_owned),
    };
    let (databases, good, bad, size_bytes, duration_ms) = match failed {
        false => (
            vec![
                facts("groveauth", Some(212 * kb), None),
                facts("scout-db", Some(40 * kb), None),
            ],
            6,
            0,
            2_202_010,
            45_000,
        ),
        true => (
            vec![
                facts("groveauth", Some(212 * kb), None),
                facts("scout-db", None, Some("Timeout after 30s")),
                facts("grovemusic-db", None, Some("Connection refused")),
            ],
            7,
            2,
            1_887_437,
            52_000,
        ),
    };
    Alert {
        id: "11111111-2222-4333-8444-555555555555".to_owned(),
        kind: if failed {
            EventKind::BackupFailed
        } else {
            EventKind::BackupCompleted
        },
        severity: if failed {
            AlertLevel::Warning
        } else {
            AlertLevel::Info
        },
        at: "2024-12-08T03:01:30Z".parse().unwrap(),
        agent: "grove".to_owned(),
        url: None,
        database: None,
        message: "2 of 9 databases failed".to_owned(),
        hint: None,
        resolves: None,
        job: Some(JobFacts {
            id: "550e8400-e29b-41d4-a716-446655440000".parse().unwrap(),
            successful: good,
            failed: bad,
            skipped: 0,
            total: good + bad,
            size_bytes: Some(size_bytes),
            duration_ms,
            databases,
        }),
    }
}

pub(super) fn event(message: &str) -> Alert {
    Alert {
        kind: EventKind::SizeDecrease,
        severity: AlertLevel::Warning,
        database: Some("blog".parse().unwrap()),
        message: message.to_owned(),
        hint: Some("look".to_owned()),
        job: None,
        ..job(true)
    }
}

/// One sink of this kind at the server.
pub(super) fn sink(kind: &str, url: &str, more: &str) -> std::sync::Arc<dyn Notifier> {
    let text = format!(
        "[[database]]\nname = \"a\"\nsqlite = \"a.db\"\n\
         [[alerts.sink]]\nname = \"{kind}\"\n{kind} = \"{url}\"\n{more}\n"
    );
    let folder = std::path::Path::new("/nowhere");
    let loaded = Config::from_text(&text, "patina.toml", folder, &System);
    let loaded = loaded.unwrap_or_else(|problems| panic!("{}", problems.short()));
    app::sinks(&loaded.config).remove(0)
}

pub(super) async fn sent(kind: &str, message: Message) -> super::server::Got {
    let server = Server::start().await;
    let sink = sink(kind, &server.url("hook"), "allow_private = true");
    sink.send(&message).await.unwrap();
    server.got("hook").remove(0)
}

async fn body(kind: &str, alert: Alert) -> Value {
    sent(kind, Message::Alert(Box::new(alert))).await.json()
}

#[tokio::test]
async fn the_payload_of_a_completed_backup_is_the_specs_field_for_field() {
    let expected = json!({
        "type": "backup_completed",
        "jobId": "550e8400-e29b-41d4-a716-446655440000",
        "status": "success",
        "timestamp": "2024-12-08T03:01:30Z",
        "summary": { "successful": 6, "failed": 0, "totalSize": "2.1 MB", "duration": "45s" },
        "details": [
            { "database": "groveauth", "status": "success", "size": "212 KB" },
            { "database": "scout-db", "status": "success", "size": "40 KB" },
        ],
    });
    assert_eq!(body("webhook", job(false)).await, expected);
}

#[tokio::test]
async fn the_payload_of_a_failed_backup_is_the_specs_field_for_field() {
    let expected = json!({
        "type": "backup_failed",
        "jobId": "550e8400-e29b-41d4-a716-446655440000",
        "status": "partial_failure",
        "timestamp": "2024-12-08T03:01:30Z",
        "summary": { "successful": 7, "failed": 2, "totalSize": "1.8 MB", "duration": "52s" },
        "failures": [
            { "database": "scout-db", "error": "Timeout after 30s" },
            { "database": "grovemusic-db", "error": "Connection refused" },
        ],
    });
    assert_eq!(body("webhook", job(true)).await, expected);
}

#[tokio::test]
async fn the_discord_embeds_are_the_specs() {
    let fields = |count: &str, size: &str, duration: &str| {
        json!([
            { "name": "Databases", "value": count, "inline": true },
            { "name": "Total Size", "value": size, "inline": true },
            { "name": "Duration", "value": duration, "inline": true },
        ])
    };
    let footer = json!({ "text": "Job ID: 550e8400-e29b-41d4-a716-446655440000" });
    let expected = json!({
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": "✅ Patina Backup Completed",
            "color": 0x22c55e,
            "fields": fields("6/6 successful", "2.1 MB", "45.0s"),
            "footer": footer,
            "timestamp": "2024-12-08T03:01:30Z",
        }],
    });
    assert_eq!(body("discord", job(false)).await, expected);
    let expected = json!({
        "allowed_mentions": { "parse": [] },
        "embeds": [{
            "title": "⚠️ Patina Backup Partially Failed",
            "description": "2 of 9 databases failed\n\\`scout-db\\`: Timeout after 30s\n\
                            \\`grovemusic-db\\`: Connection refused",
            "color": 0xef4444,
            "fields": fields("7/9 successful", "1.8 MB", "52.0s"),
            "footer": footer,
            "timestamp": "2024-12-08T03:01:30Z",
        }],
    });
    assert_eq!(body("discord", job(true)).await, expected);
}

#[tokio::test]
async fn every_other_event_has_one_shape_in_which_every_key_is_always_there() {
    let shape = body("webhook", event("`blog`: small")).await;
    let expected = json!({
        "version": 1,
        "id": "11111111-2222-4333-8444-555555555555",
        "type": "size_decrease",
        "event": "size_decrease",
        "severity": "warning",
        "time": "2024-12-08T03:01:30Z",
        "time_unix": 1_733_626_890,
        "agent": "grove",
        "url": null,
        "database": "blog",
        "title": "Copy much smaller than usual",
        "text": "`blog`: small",
        "hint": "look",
        "resolves": null,
        "job": null,
        "status": null,
        "successful": null,
        "failed": null,
        "skipped": null,
        "total": null,
        "size_bytes": null,
        "size": null,
        "duration_ms": null,
        "duration": null,
        "error": null,
        "details": [],
        "failures": [],
    });
    assert_eq!(shape, expected);
    let of_a_job = job(true).shape();
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let mut all = keys(&expected);
    all.retain(|key| key != "type");
    assert_eq!(keys(&of_a_job), all);
    assert_eq!(of_a_job["duration_ms"], 52_000);
    assert_eq!(of_a_job["error"], "Timeout after 30s");
}

#[test]
fn the_sample_that_scripts_are_tried_with_has_the_shape_of_a_real_alert() {
    let keys =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    for event in ["backup_failed", "backup_completed"] {
        let (sample, real) = (patina::hook::sample::alert(event), job(true).shape());
        assert_eq!(keys(&sample), keys(&real));
        assert_eq!(keys(&sample["details"][0]), keys(&real["details"][0]));
    }
}

#[tokio::test]
async fn text_from_outside_mentions_nobody_and_is_cut_to_each_sinks_limit() {
    let nasty = format!(
        "@everyone <!channel> [x](http://evil) {}",
        "long ".repeat(20_000)
    );
    let discord = body("discord", event(&nasty)).await;
    let description = discord["embeds"][0]["description"].as_str().unwrap();
    assert!(description.starts_with("\\@everyone \\<!channel\\> \\[x\\]\\("));
    assert!(description.encode_utf16().count() <= 4096);
    assert_eq!(discord["allowed_mentions"], json!({ "parse": [] }));
    let slack = body("slack", event(&nasty)).await;
    let text = slack["text"].as_str().unwrap();
    assert!(text.contains("&lt;!channel&gt;") && !text.contains("<!") && text.len() < 9_000);
    let ntfy = sent("ntfy", Message::Alert(Box::new(event(&nasty)))).await;
    assert!(ntfy.body.len() <= 4096);
    assert_eq!(ntfy.headers["priority"], "4");
    assert_eq!(
        ntfy.headers["title"],
        "Patina grove: Copy much smaller than usual"
    );
}

#[tokio::test]
async fn a_digest_holds_every_event_and_the_gravest_stands_first() {
    let mut grave = event("`blog`: worst");
    grave.severity = AlertLevel::Critical;
    let digest = Digest {
        id: "digest-1".to_owned(),
        at: job(true).at,
        agent: "grove".to_owned(),
        alerts: vec![event("`shop`: small"), job(true), grave],
    };
    let webhook = sent("webhook", Message::Digest(digest.clone()))
        .await
        .json();
    assert_eq!(
        (&webhook["type"], &webhook["count"]),
        (&json!("digest"), &json!(3))
    );
    assert_eq!(webhook["severity"], "critical");
    assert_eq!(webhook["events"][1]["event"]["type"], "backup_failed");
    let discord = sent("discord", Message::Digest(digest)).await.json();
    let text = discord["embeds"][0]["description"].as_str().unwrap();
    assert!(
        text.starts_with("• Copy much smaller than usual: \\`blog\\`: worst\n"),
        "{text}"
    );
    assert_eq!(text.lines().count(), 3);
}
