//! Long and foreign text at every sink: no name is lost, none is changed, and no message is longer than its sink takes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use patina::notify::{Alert, DatabaseFacts, Digest, Message};

use super::golden::{event, job, sent};
use super::server::Got;
use super::world::{World, days};

/// The kinds of sinks that people read.
const KINDS: [&str; 4] = ["discord", "slack", "ntfy", "webhook"];

/// What a person reads of a message, and how much of the sink's limit it takes: `(text, size, limit)`.
fn read(kind: &str, got: &Got) -> (String, usize, usize) {
    match kind {
        "discord" => {
            let text = got.json()["embeds"][0]["description"]
                .as_str()
                .unwrap()
                .to_owned();
            let size = text.encode_utf16().count();
            (without_backslashes(&text), size, 4096)
        }
        "slack" => {
            let document = got.json();
            assert_eq!(document["mrkdwn"], false, "its markup would change names");
            let text = document["text"].as_str().unwrap().to_owned();
            let size = text.encode_utf16().count();
            let text = text.replace("&lt;", "<").replace("&gt;", ">");
            (text.replace("&amp;", "&"), size, 8000)
        }
        "ntfy" => (got.text(), got.body.len(), 4096),
        _ => (got.text(), 0, 0),
    }
}

/// Discord shows a sign after a backslash as it is.
fn without_backslashes(text: &str) -> String {
    let mut read = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, chars.peek()) {
            ('\\', Some(next)) if next.is_ascii_punctuation() => read.extend(chars.next()),
            _ => read.push(c),
        }
    }
    read
}

/// A job of which so many databases failed, for reasons of this length.
fn failed(count: usize, reason: &str) -> Alert {
    let mut alert = job(true);
    let facts = alert.job.as_mut().unwrap();
    facts.databases = (0..count)
        .map(|n| DatabaseFacts {
            database: format!("m{n:02}").parse().unwrap(),
            status: "failed",
            size_bytes: None,
            error: Some(format!("reason {n}: {reason}")),
        })
        .collect();
    alert
}

#[tokio::test]
async fn ten_failures_are_named_in_one_message_of_every_sink_whatever_length_their_reasons_have() {
    for reason in [
        "short".to_owned(),
        "x".repeat(390),
        "🍋 <*注文*> ".repeat(5_000),
        "\n".repeat(9_000),
    ] {
        for kind in KINDS {
            let got = sent(kind, Message::Alert(Box::new(failed(10, &reason)))).await;
            let (text, size, limit) = read(kind, &got);
            assert!(size <= limit, "{kind}: {size}");
            for n in 0..10 {
                assert!(text.contains(&format!("m{n:02}")), "{kind}: {n}: {text}");
                assert!(
                    text.contains(&format!("reason {n}: ")),
                    "{kind}: {n}: {text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_digest_names_every_failed_database_and_counts_what_has_no_room() {
    let long = "y".repeat(5_000);
    let mut alerts: Vec<Alert> = (0..10)
        .map(|n| {
            let mut alert = event(&format!("`d{n}` failed 3 times in a row: {long}"));
            alert.database = Some(format!("d{n}").parse().unwrap());
            alert
        })
        .collect();
    alerts.push(failed(10, &long));
    let digest = |alerts: Vec<Alert>| Digest {
        id: "digest".to_owned(),
        at: job(true).at,
        agent: "grove".to_owned(),
        alerts,
    };
    for kind in KINDS {
        let got = sent(kind, Message::Digest(digest(alerts.clone()))).await;
        let (text, size, limit) = read(kind, &got);
        assert!(size <= limit, "{kind}: {size}");
        for n in 0..10 {
            assert!(
                text.contains(&format!("`d{n}` failed 3 times")),
                "{kind}: {text}"
            );
            assert!(text.contains(&format!("m{n:02}")), "{kind}: {text}");
        }
    }
    let many: Vec<Alert> = (0..2_000)
        .map(|n| event(&format!("`blog`: thing {n}")))
        .collect();
    for kind in &KINDS[..3] {
        let got = sent(kind, Message::Digest(digest(many.clone()))).await;
        let (text, size, limit) = read(kind, &got);
        assert!(size <= limit && size > limit / 2, "{kind}: {size}");
        assert!(text.contains("more\nhint: "), "{kind}: {text}");
    }
}

#[tokio::test]
async fn names_in_any_script_arrive_at_every_sink_as_they_are() {
    let names = [
        "الطلبات",
        "הזמנות\u{200F} (2)",
        "注文_明細",
        "คำสั่งซื้อ",
        "क्षत्रिय",
        "cafe\u{301}",
        "👩‍👩‍👧‍👦 🇩🇪",
        "a\u{200D}b\u{200C}c",
        "*bold* _it_ ~~no~~ `code` ||s|| # > <b> &amp; :x: \\ [a](b) @everyone",
        "- 1. item",
        "a\"b'c",
    ];
    for kind in KINDS {
        for name in names {
            let alert = event(&format!("`blog`: table `{name}` has 1 row"));
            let got = sent(kind, Message::Alert(Box::new(alert))).await;
            let text = match kind {
                "webhook" => got.json()["text"].as_str().unwrap().to_owned(),
                kind => read(kind, &got).0,
            };
            assert!(
                text.contains(&format!("table `{name}` has")),
                "{kind} {name}: {text}"
            );
        }
    }
}

#[tokio::test]
async fn the_title_at_ntfy_keeps_an_agents_name_in_any_script() {
    let alert = Alert {
        agent: "größe 備份 🍋".to_owned(),
        ..event("`blog`: small")
    };
    let got = sent("ntfy", Message::Alert(Box::new(alert))).await;
    let mut title = Vec::new();
    for word in got.headers["title"].split(' ') {
        let word = word.strip_prefix("=?UTF-8?B?").unwrap();
        title.extend(STANDARD.decode(word.strip_suffix("?=").unwrap()).unwrap());
    }
    assert_eq!(
        String::from_utf8(title).unwrap(),
        "Patina größe 備份 🍋: Copy much smaller than usual"
    );
}

#[tokio::test]
async fn ten_databases_that_fail_for_real_are_in_one_alert_and_in_the_digest_of_the_third_night() {
    let names: Vec<String> = (0..10).map(|n| format!("m{n:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let sinks = KINDS.map(|kind| {
        format!(
            "[[alerts.sink]]\nname = \"{kind}\"\n{kind} = \"URL/{kind}\"\nallow_private = true\n\
             only = [\"backup_failed\", \"consecutive_failures\"]\n"
        )
    });
    let world = World::new(&names, &sinks.concat()).await;
    names.iter().for_each(|name| world.lose(name));
    for night in 1..=3 {
        world.pass(days(1));
        let report = world.night().await;
        assert_eq!(report.job.failed, 10);
        world.deliver().await;
        for kind in KINDS {
            let got = world.server.got(kind);
            assert_eq!(got.len(), 1, "{kind}, night {night}");
            let text = match kind {
                "webhook" => got[0].text(),
                kind => read(kind, &got[0]).0,
            };
            for name in &names {
                assert!(text.contains(name), "{kind}, night {night}: {name}: {text}");
            }
            assert!(!text.contains("hint: correct its path; "), "{text}");
        }
        world.server.forget();
    }
}
