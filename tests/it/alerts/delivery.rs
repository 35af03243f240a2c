//! From what was written down to what arrives: each event once, whatever a sink does, and nothing that waits for it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use patina::catalog::{Event, EventKind, News, Raised};
use patina::config::AlertLevel;
use patina::engine::deliver;
use tokio_util::sync::CancellationToken;

use super::server::{DOWN, FINE, Got, Manner};
use super::world::{World, days};

/// One sink that hears everything, good news too.
fn one(kind: &str, more: &str) -> String {
    format!(
        "[alerts]\non_success = true\n\
         [[alerts.sink]]\nname = \"ops\"\n{kind} = \"URL/ops\"\nallow_private = true\n{more}\n"
    )
}

fn event(number: usize) -> Event {
    Event {
        kind: EventKind::VerifyFailed,
        severity: AlertLevel::Critical,
        database: None,
        message: format!("event {number}\nhint: look"),
        at: "2026-11-22T03:00:00Z".parse().unwrap(),
    }
}

/// The ids of everything that arrived, those inside digests too; none may be there twice.
fn ids(got: &[Got]) -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for got in got {
        let body = got.json();
        let found = match body["type"].as_str() {
            Some("digest") => {
                let events = body["events"].as_array().unwrap().iter();
                events
                    .map(|event| event["id"].as_str().unwrap().to_owned())
                    .collect()
            }
            _ => vec![got.headers["idempotency-key"].clone()],
        };
        for id in found {
            assert!(ids.insert(id.clone()), "{id} arrived twice");
        }
    }
    ids
}

#[tokio::test]
async fn a_night_that_fails_in_part_is_told_in_the_words_of_the_spec() {
    let world = World::new(&["blog", "shop"], &one("webhook", "")).await;
    world.lose("shop");
    world.night().await;
    let told = world.told("ops").await;
    assert_eq!(told.len(), 1, "{told:?}");
    let body = told[0].json();
    assert_eq!(body["type"], "backup_failed");
    assert_eq!(body["status"], "partial_failure");
    assert_eq!(body["summary"]["successful"], 1);
    assert_eq!(body["failures"][0]["database"], "shop");
    assert!(
        body["failures"][0]["error"]
            .as_str()
            .unwrap()
            .contains("shop.db")
    );
    assert!(world.told("ops").await.is_empty(), "it is told once");
    // Shop is there again: the night is good, and the trouble is over.
    world.find("shop");
    world.pass(days(1));
    world.night().await;
    let told = world.told("ops").await;
    let kinds: Vec<_> = told.iter().map(|got| got.json()["type"].clone()).collect();
    assert_eq!(kinds, ["resolved", "backup_completed"]);
    assert_eq!(told[0].json()["resolves"], "backup_failed");
    assert_eq!(told[0].json()["database"], "shop");
}

#[tokio::test]
async fn a_sink_that_is_down_for_an_hour_gets_each_event_once_and_delays_no_backup() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    world.server.behave(DOWN);
    let mut expected = 0;
    for minute in 0..60 {
        if minute % 20 == 0 {
            let report = world.night().await;
            assert_eq!(report.job.successful, 1);
            expected += 1;
        }
        world.deliver().await;
        world.pass(TimeDelta::minutes(1));
    }
    let tries = world.server.got("ops").len();
    assert!((4..20).contains(&tries), "{tries} tries in an hour");
    world.server.forget();
    world.server.behave(FINE);
    let mut got = Vec::new();
    for _ in 0..120 {
        world.pass(TimeDelta::minutes(1));
        got.extend(world.told("ops").await);
    }
    assert_eq!(ids(&got).len(), expected, "{got:?}");
    let queue = world.wiring.catalog.outbox().unwrap().remove(0);
    assert_eq!((queue.waiting, queue.given_up), (0, 0));
}

#[tokio::test]
async fn a_sink_that_never_answers_delays_neither_a_backup_nor_another_sink() {
    let alerts = one("webhook", "")
        + "[[alerts.sink]]\nname = \"other\"\nwebhook = \"URL/other\"\nallow_private = true\n";
    let world = World::new(&["blog"], &alerts).await;
    world.server.behave(Manner::Hangs);
    world.night().await;
    let stop = CancellationToken::new();
    let began = Instant::now();
    let hung = tokio::join!(deliver::to_sink(&world.wiring, "ops", &stop), async {
        world.server.wait_for("ops", 1).await;
        world.server.behave(FINE);
        deliver::to_sink(&world.wiring, "other", &stop)
            .await
            .unwrap();
        assert_eq!(world.server.got("other").len(), 1);
        let report = world.night().await;
        assert_eq!(report.job.successful, 1);
        assert!(
            began.elapsed() < Duration::from_secs(8),
            "{:?}",
            began.elapsed()
        );
        stop.cancel();
    });
    hung.0.unwrap();
    // What was cut off is sent again, under the same id.
    world.deliver().await;
    let got = world.server.got("ops");
    assert_eq!(got.len(), 3);
    assert_eq!(
        got[0].headers["idempotency-key"],
        got[1].headers["idempotency-key"]
    );
    ids(&got[1..]);
}

#[tokio::test]
async fn a_sink_that_says_when_to_come_again_is_left_alone_until_then() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    world
        .server
        .behave(Manner::Status(429, &[("retry-after", "600")], ""));
    world.wiring.catalog.tell(&[event(1), event(2)]).unwrap();
    assert_eq!(
        world.told("ops").await.len(),
        1,
        "the second event waits, too"
    );
    world.server.behave(FINE);
    world.wiring.catalog.tell(&[event(3)]).unwrap();
    world.pass(TimeDelta::seconds(600));
    let early = world.told("ops").await;
    assert_eq!(early.len(), 1, "only what was not held: {early:?}");
    world.pass(TimeDelta::seconds(1));
    let late = world.told("ops").await;
    assert_eq!(ids(&[early, late].concat()).len(), 3);
}

#[tokio::test]
async fn one_message_that_is_refused_holds_up_no_other() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    world.server.behave(Manner::Status(400, &[], "no"));
    world.wiring.catalog.tell(&[event(1), event(2)]).unwrap();
    assert_eq!(world.told("ops").await.len(), 2);
    world.pass(TimeDelta::seconds(30));
    world.server.behave(FINE);
    assert_eq!(ids(&world.told("ops").await).len(), 2);
}

#[tokio::test]
async fn what_no_sink_took_for_three_days_is_given_up_and_said_so() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    world.server.behave(DOWN);
    world.wiring.catalog.tell(&[event(1)]).unwrap();
    for _ in 0..73 {
        world.deliver().await;
        world.pass(TimeDelta::hours(1));
    }
    world.server.forget();
    world.server.behave(FINE);
    world.deliver().await;
    assert!(world.server.got("ops").is_empty());
    let queue = world.wiring.catalog.outbox().unwrap().remove(0);
    assert_eq!((queue.waiting, queue.given_up), (0, 1));
}

#[tokio::test]
async fn a_storm_becomes_one_digest_and_a_slow_one_waits_five_minutes_at_most() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    let storm: Vec<Event> = (0..40).map(event).collect();
    world.wiring.catalog.tell(&storm).unwrap();
    let mut got = world.told("ops").await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].json()["count"], 40);
    // Within the same five minutes some more leave one by one, and then none.
    for number in 40..50 {
        world.wiring.catalog.tell(&[event(number)]).unwrap();
        world.pass(TimeDelta::seconds(1));
        got.extend(world.told("ops").await);
    }
    assert_eq!(got.len(), 5);
    world.pass(TimeDelta::minutes(5));
    let rest = world.told("ops").await;
    assert_eq!(rest.len(), 1);
    assert_eq!(rest[0].json()["count"], 6);
    got.extend(rest);
    assert_eq!(ids(&got).len(), 50);
}

#[tokio::test]
async fn with_redact_no_byte_tells_a_name_a_size_a_key_or_an_error() {
    for kind in ["discord", "slack", "ntfy", "webhook"] {
        let alerts = one(kind, "").replace("[alerts]\n", "[alerts]\nredact = true\n");
        let names = ["secretive", "clandestine"];
        let world = World::new(&names, &alerts).await;
        for name in names {
            world.fill(name, 1_000);
        }
        for day in 0..5 {
            world.pass(days(1));
            if day == 3 {
                world.fill("secretive", 10);
            }
            if day == 4 {
                world.lose("clandestine");
            }
            world.night().await;
        }
        let catalog = &world.wiring.catalog;
        let key = "daily/2026-11-23/secretive.sql".parse().unwrap();
        let damage = patina::catalog::Damage::Corrupt;
        let why = "it reads back as nonsense";
        let now = patina::clock::Clock::now(world.clock.as_ref());
        catalog
            .mark_damaged(&key, "memory", damage, why, now)
            .unwrap();
        let kinds = world.kinds();
        assert!(
            kinds.contains(&"size_decrease") && kinds.contains(&"rows_dropped"),
            "{kinds:?}"
        );
        let mut got = world.told("ops").await;
        world.pass(TimeDelta::minutes(6));
        got.extend(world.told("ops").await);
        catalog.tell(&[event(1)]).unwrap();
        got.extend(world.told("ops").await);
        assert!(!got.is_empty());
        for got in got {
            let all = got.all().replace("\\\\", "").to_lowercase();
            for told in [
                "secretive",
                "clandestine",
                " kb",
                " mb",
                ".sql",
                ".db",
                "posts",
                "nonsense",
                "daily/",
                "total size",
                "hint",
            ] {
                let is_key = told == "hint" && kind == "webhook";
                assert!(is_key || !all.contains(told), "{kind}: `{told}` in {all}");
            }
        }
    }
}

#[tokio::test]
async fn a_redacted_failure_still_says_how_many_failed() {
    let alerts = one("slack", "").replace("[alerts]\n", "[alerts]\nredact = true\n");
    let world = World::new(&["a", "b", "c", "d", "e", "f"], &alerts).await;
    world.lose("c");
    world.night().await;
    let told = world.told("ops").await;
    assert!(
        told[0].text().contains("1 of 6 databases failed"),
        "{told:?}"
    );
}

#[tokio::test]
async fn each_sink_hears_what_its_filters_let_through() {
    let sink = |name: &str, more: &str| {
        format!(
            "[[alerts.sink]]\nname = \"{name}\"\nwebhook = \"URL/{name}\"\nallow_private = true\n{more}\n"
        )
    };
    let alerts = [
        sink("plain", ""),
        sink("named", "only = [\"backup_completed\"]"),
        sink("grave", "min_severity = \"critical\""),
        sink("shops", "databases = [\"shop\"]"),
        sink("blogs", "databases = [\"blog\"]"),
    ]
    .concat();
    let world = World::new(&["blog", "shop"], &alerts).await;
    world.night().await;
    world.deliver().await;
    let counts = |expected: [usize; 5]| {
        let names = ["plain", "named", "grave", "shops", "blogs"];
        let found = names.map(|name| world.server.got(name).len());
        assert_eq!(found, expected, "{names:?}");
        world.server.forget();
    };
    // Good news is off but where it is asked for by name.
    counts([0, 1, 0, 0, 0]);
    world.lose("shop");
    world.pass(days(1));
    world.night().await;
    world.deliver().await;
    let shop = world.server.got("shops");
    assert!(!shop[0].all().contains("blog"), "{shop:?}");
    counts([1, 0, 0, 1, 0]);
    for _ in 0..2 {
        world.pass(days(1));
        world.night().await;
    }
    world.deliver().await;
    // Two failed nights, and the third in a row.
    counts([3, 0, 1, 3, 0]);
    world.find("shop");
    world.pass(days(1));
    world.night().await;
    world.deliver().await;
    // The end goes where the begin went.
    counts([1, 1, 1, 1, 0]);
}

#[tokio::test]
async fn a_new_sink_hears_nothing_of_the_past() {
    let world = World::new(&["blog"], "").await;
    world.wiring.catalog.tell(&[event(1)]).unwrap();
    deliver::route(&world.wiring).unwrap();
    assert!(!world.wiring.catalog.has_unrouted().unwrap());
    assert!(world.wiring.catalog.outbox().unwrap().is_empty());
}

const HEARTBEAT: &str =
    "[[alerts.sink]]\nname = \"ops\"\nheartbeat = \"URL/ops\"\nallow_private = true\n";

#[tokio::test]
async fn a_heartbeat_says_good_only_of_what_a_storage_shows() {
    let mut world = World::new(&["blog", "shop"], HEARTBEAT).await;
    let paths = |got: Vec<Got>| -> Vec<String> { got.into_iter().map(|got| got.path).collect() };
    world.night().await;
    assert_eq!(
        paths(world.told("ops").await),
        ["/ops"],
        "of two beats the newer one"
    );
    world.lose("shop");
    world.pass(days(1));
    world.night().await;
    assert_eq!(paths(world.told("ops").await), ["/ops/fail"]);
    world.find("shop");
    world.pass(days(1));
    world.night().await;
    // The process believes that all is well; the storage does not have the copies any more.
    let empty = patina::store::MemoryStore::new("memory", world.clock.clone());
    world.wiring.stores = vec![std::sync::Arc::new(empty)];
    assert_eq!(paths(world.told("ops").await), ["/ops/fail"]);
    // A beat that could not be sent in time says nothing true any more.
    world.night().await;
    world.pass(TimeDelta::hours(2));
    assert!(world.told("ops").await.is_empty());
}

#[tokio::test]
async fn a_heartbeat_says_good_only_while_every_database_has_a_fresh_copy() {
    let world = World::new(&["blog", "shop"], HEARTBEAT).await;
    let paths = |got: Vec<Got>| -> Vec<String> { got.into_iter().map(|got| got.path).collect() };
    world.night().await;
    assert_eq!(paths(world.told("ops").await), ["/ops"]);
    // The job is good; it is about one of both, and the other one's copy has become old.
    world.pass(days(3));
    world.night_of("blog").await;
    assert_eq!(paths(world.told("ops").await), ["/ops/fail"]);
    world.pass(TimeDelta::minutes(1));
    world.night_of("shop").await;
    assert_eq!(paths(world.told("ops").await), ["/ops"]);
}

#[tokio::test]
async fn a_heartbeat_takes_no_copy_that_is_dated_ahead_for_a_fresh_one() {
    let world = World::new(&["blog", "shop"], HEARTBEAT).await;
    let paths = |got: Vec<Got>| -> Vec<String> { got.into_iter().map(|got| got.path).collect() };
    world.pass(days(365));
    world.night().await;
    assert_eq!(paths(world.told("ops").await), ["/ops"]);
    world.pass(-days(365));
    world.night_of("blog").await;
    assert_eq!(paths(world.told("ops").await), ["/ops/fail"]);
    world.pass(TimeDelta::minutes(1));
    world.night_of("shop").await;
    assert_eq!(paths(world.told("ops").await), ["/ops"]);
}

#[tokio::test]
async fn a_clock_that_was_ahead_and_is_set_back_holds_no_alert_back() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    // A year ahead: six are sent, which is a storm, and one waits for a sink that is down.
    world.pass(days(365));
    let ahead = |number| Event {
        at: "2027-11-22T03:00:00Z".parse().unwrap(),
        ..event(number)
    };
    for number in 0..5 {
        world.wiring.catalog.tell(&[ahead(number)]).unwrap();
    }
    assert_eq!(world.told("ops").await.len(), 5);
    world.server.behave(DOWN);
    world.wiring.catalog.tell(&[ahead(5)]).unwrap();
    world.deliver().await;
    world.server.behave(FINE);
    world.pass(-days(365));
    world.server.forget();
    assert_eq!(world.told("ops").await.len(), 1, "what was put off is due");
    world.wiring.catalog.tell(&[event(6)]).unwrap();
    assert_eq!(
        world.told("ops").await.len(),
        1,
        "what was sent in the future is no storm"
    );
}

#[tokio::test]
async fn what_was_told_in_the_future_does_not_keep_the_same_from_being_told() {
    let world = World::new(&["blog"], &one("webhook", "")).await;
    let catalog = &world.wiring.catalog;
    let ahead = Event {
        at: "2027-11-22T03:00:00Z".parse().unwrap(),
        ..event(1)
    };
    let raised = |event: &Event| News {
        raised: vec![Raised {
            again: Some(TimeDelta::hours(24)),
            ..Raised::once(event.clone(), "blog")
        }],
        ..News::default()
    };
    assert!(catalog.announce(&raised(&ahead)).unwrap());
    assert!(catalog.announce(&raised(&event(1))).unwrap());
    assert!(!catalog.announce(&raised(&event(1))).unwrap());
    let other = Event {
        message: "other".to_owned(),
        ..event(2)
    };
    let later = Event {
        at: ahead.at,
        ..other.clone()
    };
    let since = other.at - TimeDelta::hours(1);
    assert!(catalog.tell_unless_told(&later, later.at).unwrap());
    assert!(catalog.tell_unless_told(&other, since).unwrap());
    assert!(!catalog.tell_unless_told(&other, since).unwrap());
}
