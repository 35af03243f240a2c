//! An alert is never lost to a script.

use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use patina::catalog::{Event, EventKind};
use patina::config::AlertLevel;
use patina::hook::{HookError, HookErrorKind, HookName, Hooks};
use patina::types::DatabaseName;
use serde_json::{Value, json};

use super::server::{FINE, Manner};
use super::world::World;

type Verdict = Result<Option<Value>, HookError>;

/// Scripts that give what the test says, and keep what they were given.
struct Told {
    filter: Verdict,
    format: Verdict,
    given: Mutex<Vec<Vec<Value>>>,
}

#[async_trait]
impl Hooks for Told {
    async fn call(&self, hook: HookName, _: Option<&DatabaseName>, given: Vec<Value>) -> Verdict {
        assert_eq!(hook, HookName::FilterAlert);
        self.given.lock().unwrap().push(given);
        self.filter.clone()
    }

    async fn call_in(&self, script: &Path, hook: HookName, given: Vec<Value>) -> Verdict {
        assert_eq!(hook, HookName::FormatAlert);
        assert!(script.ends_with("pager.rhai"));
        self.given.lock().unwrap().push(given);
        self.format.clone()
    }

    fn attached(&self, hook: HookName, _: Option<&DatabaseName>) -> bool {
        hook == HookName::FilterAlert
    }
}

fn broken(hook: HookName) -> Verdict {
    Err(HookError {
        hook,
        kind: HookErrorKind::Thrown,
        place: "pager.rhai:3:1".to_owned(),
        message: "no such key".to_owned(),
    })
}

async fn world(filter: Verdict, format: Verdict) -> (World, Arc<Told>) {
    let script = tempfile::Builder::new().prefix("hooks").tempdir().unwrap();
    let path = script.path().join("pager.rhai");
    std::fs::write(&path, "").unwrap();
    let alerts = format!(
        "[hooks]\nscripts = [\"{}\"]\n[[alerts.sink]]\nname = \"ops\"\nwebhook = \"URL/ops\"\n\
         allow_private = true\nformat = \"pager\"\n",
        path.display()
    );
    let mut world = World::new(&["blog"], &alerts).await;
    let given = Mutex::default();
    let told = Arc::new(Told {
        filter,
        format,
        given,
    });
    world.wiring.hooks = told.clone();
    let event = Event {
        kind: EventKind::VerifyFailed,
        severity: AlertLevel::Critical,
        database: Some("blog".parse().unwrap()),
        message: "damaged".to_owned(),
        at: patina::clock::Clock::now(world.clock.as_ref()),
    };
    world.wiring.catalog.tell(&[event]).unwrap();
    (world, told)
}

#[tokio::test]
async fn a_script_says_what_is_sent_and_is_given_the_versioned_shape() {
    let body = json!({ "routing_key": "x", "payload": { "summary": "damaged" } });
    let (world, told) = world(Ok(None), Ok(Some(body.clone()))).await;
    let got = world.told("ops").await;
    assert_eq!((got.len(), got[0].json()), (1, body));
    let given = told.given.lock().unwrap();
    let (alert, sink) = (&given[1][0], &given[1][1]);
    assert_eq!(
        (&alert["version"], &alert["event"]),
        (&json!(1), &json!("verify_failed"))
    );
    assert_eq!(sink, &json!({ "name": "ops", "kind": "webhook" }));
}

#[tokio::test]
async fn a_script_that_returns_text_is_sent_as_text() {
    let (world, _) = world(Ok(None), Ok(Some("oh dear".into()))).await;
    let got = world.told("ops").await;
    assert_eq!(got[0].text(), "oh dear");
    assert!(got[0].headers["content-type"].starts_with("text/plain"));
}

#[tokio::test]
async fn where_the_script_fails_or_returns_nonsense_the_built_in_form_is_sent_with_a_note() {
    for (format, note) in [
        (
            broken(HookName::FormatAlert),
            "pager.rhai:3:1: `format_alert`: no such key",
        ),
        (Ok(Some(json!(7))), "returned neither map, array nor string"),
    ] {
        let (world, _) = world(Ok(None), format).await;
        let got = world.told("ops").await;
        assert_eq!(got[0].json()["type"], "verify_failed");
        let hint = got[0].json()["hint"].as_str().unwrap().to_owned();
        assert!(hint.contains(note), "{hint}");
    }
}

#[tokio::test]
async fn what_a_sink_refuses_twice_in_the_scripts_words_it_gets_in_ours() {
    let (world, _) = world(Ok(None), Ok(Some(json!({ "wrong": 1 })))).await;
    world.server.behave(Manner::Status(400, &[], "no"));
    for _ in 0..2 {
        assert_eq!(world.told("ops").await[0].json()["wrong"], 1);
        world.pass(chrono::TimeDelta::minutes(2));
    }
    world.server.behave(FINE);
    assert_eq!(world.told("ops").await[0].json()["type"], "verify_failed");
}

#[tokio::test]
async fn a_filter_that_says_no_is_obeyed_and_one_that_fails_is_not() {
    let (refused, _) = world(Ok(Some(json!(false))), Ok(None)).await;
    assert!(refused.told("ops").await.is_empty());
    assert_eq!(refused.wiring.catalog.outbox().unwrap()[0].waiting, 0);
    for filter in [
        Ok(Some(json!(true))),
        Ok(None),
        broken(HookName::FilterAlert),
    ] {
        let (world, _) = world(filter, Ok(None)).await;
        assert_eq!(world.told("ops").await.len(), 1);
    }
}
