//! Tables whose names are commands, colours, mentions and pages: databases that fail and shrink for real, through every
//! sink that people read.

use patina::config::CopyMethod;
use serde_json::Value;

use super::server::Got;
use super::world::{World, days};
use crate::cli::hostile::{assert_harmless, names};

const KINDS: [&str; 4] = ["discord", "slack", "ntfy", "webhook"];

/// Names that mean something to a chat service alone.
const MENTIONS: [&str; 10] = [
    "@everyone",
    "@here",
    "<@123456789012345678>",
    "<@&123456789012345678>",
    "<#123456789012345678>",
    "<!channel>",
    "<!here|x>",
    "<https://evil.example|the runbook>",
    ":rotating_light: ||spoiler||",
    "\n-# small\n>>> quote",
];

fn hostile() -> Vec<String> {
    let mentions = MENTIONS.iter().map(|name| (*name).to_owned());
    mentions.chain(names()).collect()
}

/// Every text in a document, keys included.
fn texts(document: &Value, found: &mut Vec<String>) {
    match document {
        Value::String(text) => found.push(text.clone()),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.push(name.clone());
            texts(value, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// The signs that Discord's Markdown reads and no backslash stands before.
fn active_in_discord(text: &str) -> String {
    let mut active = String::new();
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => drop(chars.next()),
            c if "*_~`|>#[]<@".contains(c) => active.push(c),
            _ => {}
        }
    }
    active
}

fn check_discord(got: &Got) {
    let document = got.json();
    assert_eq!(document["allowed_mentions"]["parse"], serde_json::json!([]));
    assert!(document.get("content").is_none(), "{document}");
    for embed in document["embeds"].as_array().unwrap() {
        let fields = embed["fields"].as_array();
        let values = fields.into_iter().flatten().map(|field| &field["value"]);
        let mut shown: Vec<&str> = values.filter_map(Value::as_str).collect();
        shown.extend(embed["description"].as_str());
        assert!(!shown.is_empty(), "{embed}");
        for text in shown {
            assert_eq!(active_in_discord(text), "", "{text}");
        }
        assert!(embed.get("url").is_none(), "{embed}");
    }
}

fn check_slack(got: &Got) {
    let document = got.json();
    assert_eq!(document["mrkdwn"], false);
    for name in ["link_names", "parse", "blocks"] {
        assert!(document.get(name).is_none(), "{name}: {document}");
    }
    let text = document["text"].as_str().unwrap();
    assert!(!text.contains(['<', '>']), "{text}");
    let rest = ["&lt;", "&gt;", "&amp;"]
        .iter()
        .fold(text.to_owned(), |text, entity| text.replace(entity, ""));
    assert!(!rest.contains('&'), "{text}");
}

fn check_ntfy(got: &Got) {
    // Headers may say that the text is Markdown, that a tap opens a page, or what buttons do.
    for name in ["markdown", "click", "actions", "attach", "icon"] {
        for name in [name.to_owned(), format!("x-{name}")] {
            assert!(!got.headers.contains_key(&name), "{got:?}");
        }
    }
    let headers: Vec<String> = got.headers.values().cloned().collect();
    assert_harmless("ntfy's headers", &headers.join("\n"));
    assert_harmless("ntfy", &got.text());
}

/// Holds what arrived at a sink against what that sink reads.
fn check(kind: &str, got: &Got) {
    match kind {
        "discord" => check_discord(got),
        "slack" => check_slack(got),
        "ntfy" => return check_ntfy(got),
        _ => {}
    }
    let mut found = Vec::new();
    texts(&got.json(), &mut found);
    assert!(found.len() > 3, "{found:?}");
    for text in found {
        assert_harmless(kind, &text);
    }
}

/// One database per name, with a table of that name.
async fn world(names: &[String]) -> World {
    let databases: Vec<String> = (0..names.len()).map(|n| format!("d{n:02}")).collect();
    let sinks = KINDS.map(|kind| {
        format!("[[alerts.sink]]\nname = \"{kind}\"\n{kind} = \"URL/{kind}\"\nallow_private = true\nmin_severity = \"info\"\n")
    });
    let databases: Vec<&str> = databases.iter().map(String::as_str).collect();
    let mut world = World::new(&databases, &sinks.concat()).await;
    // An image carries every table; text does not.
    for database in &mut world.wiring.databases {
        database.config.form = CopyMethod::Sql;
    }
    for (database, name) in databases.iter().zip(names) {
        let table = quoted(name);
        world.sql(
            database,
            &format!(
                "CREATE TABLE {table}(a INTEGER PRIMARY KEY, b COLLATE NOCASE);
                 WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 400)
                 INSERT INTO {table} SELECT i, i FROM n"
            ),
        );
    }
    world
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// So few share a night that their names are not cut to nothing.
const TOGETHER: usize = 3;

#[tokio::test]
async fn a_name_acts_at_no_sink_when_its_table_shrinks_and_when_its_database_fails() {
    let names = hostile();
    let mut told = 0;
    for names in names.chunks(TOGETHER) {
        told += shrink_and_fail(names).await;
    }
    assert!(told > names.len() * KINDS.len(), "{told} messages");
}

/// Lets the tables lose their rows and then be unreadable. Gives how many messages told of it.
async fn shrink_and_fail(names: &[String]) -> usize {
    let world = world(names).await;
    assert_eq!(world.night().await.job.failed, 0);
    alerts(&world).await;

    world.pass(days(1));
    for (n, name) in names.iter().enumerate() {
        let text = format!("DELETE FROM {} WHERE a > 1", quoted(name));
        world.sql(&format!("d{n:02}"), &text);
    }
    assert_eq!(world.night().await.job.failed, 0);
    let shrunk = alerts(&world).await;

    // A collation that no SQLite has: a dump with this table cannot be restored.
    for n in 0..names.len() {
        world.sql(
            &format!("d{n:02}"),
            "PRAGMA writable_schema = ON;
             UPDATE sqlite_schema SET sql = replace(sql, 'NOCASE', 'nope'); PRAGMA writable_schema = OFF",
        );
    }
    let mut failed = Vec::new();
    for _ in 0..3 {
        world.pass(days(1));
        let job = world.night().await.job;
        assert_eq!(job.failed, names.len() as u64, "{names:?}");
        failed.extend(alerts(&world).await);
    }
    for (what, got) in [
        ("it had 400 in the copy before", &shrunk),
        ("no such collation", &failed),
    ] {
        for kind in KINDS {
            let of_kind: Vec<&Got> = got
                .iter()
                .filter(|(at, _)| *at == kind)
                .map(|(_, got)| got)
                .collect();
            let is_told = |got: &&&Got| String::from_utf8_lossy(&got.body).contains(what);
            let told = of_kind.iter().filter(is_told).count();
            assert!(told > 0, "{kind}: {what}: {names:?}: {of_kind:?}");
            of_kind.iter().for_each(|got| check(kind, got));
        }
    }
    shrunk.len() + failed.len()
}

/// What arrives at every sink until nothing is left to send.
async fn alerts(world: &World) -> Vec<(&'static str, Got)> {
    let mut all = Vec::new();
    for _ in 0..100 {
        world.deliver().await;
        let before = all.len();
        for kind in KINDS {
            all.extend(world.server.got(kind).into_iter().map(|got| (kind, got)));
        }
        world.server.forget();
        if all.len() == before {
            break;
        }
        world.pass(chrono::TimeDelta::minutes(2));
    }
    all
}
