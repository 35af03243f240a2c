//! What is refused, and what is not usual: in the audit, and told.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{
    Audit, AuditAction, AuditLimit, AuditOutcome, AuditVerdict, Event, EventKind, MOST_REFUSALS,
    MOST_TOLD_AN_HOUR, Refused,
};
use patina::config::AlertLevel;
use patina::engine::keys;
use reqwest::{Method, StatusCode};

use super::{World, eventually, from_anywhere, full_key, key, key_text};

const SHOP: &str = "/download/2026-11-30/shop";
const BLOG: &str = "/download/2026-11-30/blog";

async fn ask(world: &World, path: &str, from: &str, key: &str) -> u16 {
    let request = world.get(path).header("X-Forwarded-For", from);
    let response = request.header("X-Patina-Key", key).send().await.unwrap();
    let status = response.status().as_u16();
    let _ = response.bytes().await;
    status
}

fn told(world: &World) -> Vec<String> {
    let events = world.catalog().events(1000).unwrap();
    let unusual = events
        .into_iter()
        .filter(|event| event.kind == EventKind::UnusualAccess);
    unusual.map(|event| event.message).collect()
}

async fn is_told(world: &World, words: &[&str]) {
    eventually(&format!("an event with {words:?}"), || {
        let told = told(world);
        told.iter()
            .any(|text| words.iter().all(|word| text.contains(word)))
    })
    .await;
}

async fn refused(world: &World, why: &str) -> Refused {
    eventually(&format!("a row `{why}`"), || {
        let rows = world.catalog().refused(1000).unwrap();
        rows.iter().any(|row| row.why == why)
    })
    .await;
    let rows = world.catalog().refused(1000).unwrap();
    rows.into_iter().find(|row| row.why == why).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_stands_in_the_audit_with_the_reason_that_the_client_is_not_told() {
    let keys = [
        key("reader", r#""read""#, ""),
        key("old", r#""read""#, "expires = \"2026-11-30\""),
        key("office", r#""read""#, "allow_ips = [\"203.0.113.0/24\"]"),
    ];
    let world = World::new(&from_anywhere(&keys.concat())).await;
    assert_eq!(
        ask(&world, "/status?x=1", "192.0.2.1", "ptk_nobody_x").await,
        401
    );
    assert_eq!(
        ask(&world, SHOP, "192.0.2.2", &key_text("reader")).await,
        403
    );
    assert_eq!(
        ask(&world, "/list", "192.0.2.3", &key_text("old")).await,
        401
    );
    assert_eq!(
        ask(&world, "/list", "192.0.2.4", &key_text("office")).await,
        401
    );
    let in_address = format!("/list?key={}", key_text("reader"));
    assert_eq!(ask(&world, &in_address, "192.0.2.5", "").await, 400);
    let found = refused(&world, "unauthorized").await;
    assert_eq!((found.status, found.client.as_deref()), (401, None));
    assert_eq!(
        (found.path.as_str(), found.address.to_string()),
        ("/status", "192.0.2.1".to_owned())
    );
    for (why, status, client) in [
        ("lacks_scope", 403, Some("key:reader")),
        ("expired_key", 401, Some("key:old")),
        ("key_elsewhere", 401, Some("key:office")),
        ("key_in_address", 400, None),
    ] {
        let found = refused(&world, why).await;
        assert_eq!(
            (found.status, found.client.as_deref()),
            (status, client),
            "{why}"
        );
        assert!(!format!("{found:?}").contains("secret-of"), "{found:?}");
    }
    is_told(&world, &["key:office", "192.0.2.4", "leaked"]).await;
    is_told(&world, &["key:old", "expired"]).await;
    // What was given stands alone in its chain.
    assert!(world.audit().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_wrong_credentials_are_told_once_and_a_flood_takes_few_rows() {
    let world = World::new(&from_anywhere(&full_key())).await;
    for _ in 0..60 {
        ask(&world, "/status", "203.0.113.7", "ptk_all_wrong").await;
    }
    is_told(&world, &["203.0.113.7", "tries credentials"]).await;
    let limited = refused(&world, "too_many_wrong").await;
    assert_eq!(limited.status, 429);
    let rows = world.catalog().refused(1000).unwrap();
    // One row at once for each reason; the rest waits for its minute.
    assert!(rows.len() <= 3, "{rows:?}");
    world.clock.0.advance(Duration::from_secs(61));
    ask(&world, "/status", "203.0.113.7", "ptk_all_wrong").await;
    eventually("the rest", || {
        let rows = world.catalog().refused(1000).unwrap();
        rows.iter().map(|row| row.times).sum::<u64>() == 61
    })
    .await;
    assert!(world.catalog().refused(1000).unwrap().len() <= 5);
    let told = told(&world);
    assert_eq!(
        told.iter().filter(|text| text.contains("tries")).count(),
        1,
        "{told:?}"
    );
    // What was refused last is written down when the server ends.
    ask(&world, "/status", "203.0.113.8", "ptk_all_wrong").await;
    ask(&world, "/status", "203.0.113.8", "ptk_all_wrong").await;
    let catalog = world.catalog();
    world.end().await;
    let rows = catalog.refused(1000).unwrap();
    assert_eq!(rows.iter().map(|row| row.times).sum::<u64>(), 63);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_at_an_address_that_is_new_for_it_is_told_and_its_first_one_is_not() {
    let world = World::new(&from_anywhere(&full_key())).await;
    let all = key_text("all");
    assert_eq!(ask(&world, "/status", "198.51.100.1", &all).await, 200);
    eventually("its first use", || {
        world.catalog().last_use("key:all").unwrap().is_some()
    })
    .await;
    assert_eq!(told(&world), Vec::<String>::new());
    assert_eq!(ask(&world, "/status", "198.51.100.2", &all).await, 200);
    is_told(&world, &["key:all", "198.51.100.2", "first time"]).await;
    let used = world.catalog().last_use("key:all").unwrap().unwrap();
    assert_eq!(used.addresses, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_everything_within_an_hour_are_told() {
    let world = World::new(&from_anywhere(&full_key())).await;
    let all = key_text("all");
    assert_eq!(ask(&world, SHOP, "198.51.100.1", &all).await, 200);
    // The server may still be counting it; the clock waits for that.
    world.audit_of(2).await;
    world.clock.0.advance(Duration::from_secs(2 * 3600));
    assert_eq!(ask(&world, BLOG, "198.51.100.1", &all).await, 200);
    world.audit_of(4).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(told(&world), Vec::<String>::new(), "two hours apart");
    assert_eq!(ask(&world, SHOP, "198.51.100.1", &all).await, 200);
    is_told(&world, &["key:all", "fetched copies of 2 of 2 databases"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_without_credentials_are_told_where_they_are_a_storm_and_not_before() {
    let world = World::new(&from_anywhere(&full_key())).await;
    let storm = async |net: u32, count: u32| {
        for number in 0..count {
            let from = format!("198.18.{net}.{number}");
            let request = world.get("/status").header("X-Forwarded-For", from);
            assert_eq!(request.send().await.unwrap().status().as_u16(), 401);
        }
    };
    let written = async |count: u64| {
        eventually(&format!("{count} refusals"), || {
            let rows = world.catalog().refused(1000).unwrap();
            rows.iter().map(|row| row.times).sum::<u64>() == count
        })
        .await;
    };
    // Fewer than a storm, twice, and not within the same five minutes.
    for net in 0..2 {
        storm(net, 199).await;
        written(u64::from(net + 1) * 199).await;
        world.clock.0.advance(Duration::from_secs(301));
    }
    assert_eq!(told(&world), Vec::<String>::new());
    storm(2, 210).await;
    written(608).await;
    is_told(&world, &["requests with wrong credentials, or none"]).await;
    assert_eq!(told(&world).len(), 1, "{:?}", told(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn guides_of_every_database_within_an_hour_are_told() {
    let more = format!(
        "{}\n[[database]]\nname = \"wiki\"\nsqlite = \"wiki.db\"",
        from_anywhere(&full_key())
    );
    let world = World::new(&full_key()).await;
    world.reconfigure(&more);
    let all = key_text("all");
    let mut rows = 0;
    let mut guide = async |name: &str| {
        let path = format!("/restore-guide/{name}");
        assert_eq!(ask(&world, &path, "127.0.0.1", &all).await, 200, "{name}");
        rows += 1;
        world.audit_of(rows).await;
    };
    guide("blog").await;
    guide("shop").await;
    world.clock.0.advance(Duration::from_secs(2 * 3600));
    guide("wiki").await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(told(&world), Vec::<String>::new(), "two hours apart");
    guide("blog").await;
    guide("shop").await;
    let words = ["key:all", "read the restore guides of 3 of 3 databases"];
    is_told(&world, &words).await;
    assert_eq!(told(&world).len(), 1, "{:?}", told(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guide_is_told_that_is_read_at_an_hour_near_which_its_reader_never_came() {
    let world = World::new(&full_key()).await;
    let (all, catalog) = (key_text("all"), world.catalog());
    let first: chrono::DateTime<chrono::Utc> = "2026-12-01T00:00:00Z".parse().unwrap();
    let at = |days: i64, hour: i64| first + TimeDelta::days(days) + TimeDelta::hours(hour);
    let mut rows = 0;
    for day in 0..8 {
        rows += 1;
        let read = guide_read(at(day, 9 + day % 4), &day.to_string());
        catalog.audit(&read).unwrap();
    }
    let mut read_at = async |days: i64, hour: i64| {
        world.clock.0.set(at(days, hour));
        let from = "127.0.0.1";
        assert_eq!(ask(&world, "/restore-guide/blog", from, &all).await, 200);
        rows += 1;
        world.audit_of(rows).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
    };
    // Too little is known after eight days, whatever the hour.
    read_at(8, 23).await;
    assert_eq!(told(&world), Vec::<String>::new());
    read_at(9, 10).await;
    read_at(10, 11).await;
    // Near a known hour, across midnight as well, and twice in one visit.
    read_at(11, 15).await;
    read_at(12, 26).await;
    assert_eq!(told(&world), Vec::<String>::new());
    read_at(14, 19).await;
    is_told(
        &world,
        &["key:all", "restore guide at 19:00 UTC", "13 days"],
    )
    .await;
    assert_eq!(told(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_was_kept_out_and_a_client_that_wants_more_than_its_share_are_told() {
    let world = World::new("allow_ips = [\"127.0.0.1\"]").await;
    let rebound = world.get("/list").header("Host", "evil.example");
    assert_eq!(
        rebound.send().await.unwrap().status(),
        StatusCode::MISDIRECTED_REQUEST
    );
    is_told(&world, &["page of another site", "127.0.0.1"]).await;
    for number in 0..11 {
        let response = world.get(SHOP).send().await.unwrap();
        let wanted = if number < 10 { 200 } else { 429 };
        assert_eq!(response.status().as_u16(), wanted, "{number}");
        let _ = response.bytes().await;
        if number < 10 {
            world.audit_of(2 * number + 2).await;
        }
    }
    is_told(&world, &["address:127.0.0.1", "asked for more"]).await;
    assert_eq!(refused(&world, "download_limit").await.status, 429);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_refills_no_downloads() {
    let world = World::new(&full_key()).await;
    for number in 0..10 {
        let response = world.download(SHOP).await;
        assert_eq!(response.status(), StatusCode::OK);
        let _ = response.bytes().await;
        world.audit_of(2 * number + 2).await;
    }
    for hours in [-3, 5, -24 * 300] {
        let now = world.wiring().clock.now() + TimeDelta::hours(hours);
        world.clock.0.set(now);
        let refused = world.download(SHOP).await;
        assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS, "{hours}");
        assert_eq!(super::retry_after(&refused), 3600);
    }
    world.clock.0.advance(Duration::from_secs(3600));
    assert_eq!(world.download(SHOP).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_flood_and_no_clock_makes_the_record_longer_than_its_bound_or_pushes_downloads_out() {
    let world = World::new(&full_key()).await;
    let catalog = world.catalog();
    let now = world.wiring().clock.now();
    let audit = |number: i64| guide_read(now + TimeDelta::seconds(number), &number.to_string());
    let limit = AuditLimit {
        most_rows: 20,
        most_age: TimeDelta::days(400),
        least_rows: 10,
    };
    for number in 0..100 {
        catalog.audit_within(&audit(number), limit).unwrap();
    }
    assert!(catalog.audits(1000).unwrap().len() <= 20);
    let AuditVerdict::Whole {
        rows: 100,
        begin: Some(begin),
        ..
    } = catalog.verify_audit().unwrap()
    else {
        panic!("{:?}", catalog.verify_audit());
    };
    assert!(begin.after_row >= 80, "{begin:?}");
    // Ten years ahead, all are old: the newest stay.
    let jumped = Audit {
        at: now + TimeDelta::days(3650),
        ..audit(100)
    };
    for _ in 0..20 {
        catalog.audit_within(&jumped, limit).unwrap();
    }
    assert!((10..=20).contains(&catalog.audits(1000).unwrap().len()));
    assert!(matches!(
        catalog.verify_audit().unwrap(),
        AuditVerdict::Whole { .. }
    ));
    // A row that was let go cannot be told from one that somebody took out, unless it stands in the chain.
    let db = rusqlite::Connection::open(catalog.path()).unwrap();
    db.execute_batch("UPDATE audit_begins SET after_row = after_row + 1")
        .unwrap();
    assert!(matches!(
        catalog.verify_audit().unwrap(),
        AuditVerdict::Broken { .. }
    ));
    let before = catalog.audits(1000).unwrap().len();
    let refused = |number: u64| Refused {
        at: now,
        request: number.to_string(),
        status: 401,
        why: "unauthorized".to_owned(),
        method: "GET".to_owned(),
        path: "/status".to_owned(),
        client: None,
        address: "192.0.2.1".parse().unwrap(),
        times: 1,
    };
    let flood: Vec<Refused> = (0..MOST_REFUSALS + 500).map(refused).collect();
    catalog.note_refused(&flood).unwrap();
    let kept = catalog.refused(usize::MAX).unwrap();
    assert_eq!(kept.len() as u64, MOST_REFUSALS);
    assert_eq!(kept[0].request, (MOST_REFUSALS + 499).to_string());
    assert_eq!(catalog.audits(1000).unwrap().len(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_is_told_once_in_its_time_ten_in_an_hour_and_a_clock_set_back_silences_nothing() {
    let world = World::new("").await;
    let catalog = world.catalog();
    let now = world.wiring().clock.now();
    let tell = |what: &str, at| {
        let event = Event {
            kind: EventKind::UnusualAccess,
            severity: AlertLevel::Warning,
            database: None,
            message: format!("{what}\nhint: look"),
            at,
        };
        catalog
            .tell_access(what, &event, TimeDelta::days(1))
            .unwrap()
    };
    assert!(tell("a", now));
    assert!(!tell("a", now + TimeDelta::hours(23)));
    assert!(tell("a", now + TimeDelta::days(300)));
    assert!(
        tell("a", now + TimeDelta::days(2)),
        "the clock was set back"
    );
    let later = now + TimeDelta::days(4);
    let told = (0..100)
        .filter(|number| tell(&number.to_string(), later))
        .count();
    assert_eq!(told as u64, MOST_TOLD_AN_HOUR);
    let last = &catalog.events(1).unwrap()[0].message;
    assert!(
        last.contains("told again in an hour") && last.ends_with("\nhint: look"),
        "{last}"
    );
    assert!(tell("another", later + TimeDelta::hours(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_older_than_ninety_days_is_told_until_it_is_replaced() {
    let old = key("old", r#""read""#, "created = \"2026-08-01\"");
    let unknown = key("unknown", r#""read""#, "");
    let world = World::new(&format!("{old}{unknown}")).await;
    let due = |world: &World| keys::run(&world.wiring()).unwrap();
    let events = |world: &World, kind| {
        let events = world.catalog().events(1000).unwrap();
        events.iter().filter(|event| event.kind == kind).count()
    };
    assert_eq!(due(&world), 1);
    assert_eq!(due(&world), 1);
    assert_eq!(events(&world, EventKind::KeyIsOld), 1);
    let told = world.catalog().events(1).unwrap();
    assert!(
        told[0].message.contains("`old` is 121 days old") && told[0].message.contains("hint: "),
        "{told:?}"
    );
    // One whose day of making nobody wrote down counts from when it was first seen.
    world.clock.0.advance(Duration::from_secs(90 * 24 * 3600));
    assert_eq!(due(&world), 2);
    assert_eq!(
        events(&world, EventKind::KeyIsOld),
        3,
        "weekly, and the other one"
    );
    // A clock that was years ahead when a key was first seen does not make it young for years.
    world.reconfigure(&key("old", r#""read""#, "created = \"2027-02-01\""));
    assert_eq!(due(&world), 0);
    assert_eq!(events(&world, EventKind::Resolved), 2);
    let http = world.wiring().config.http().clone();
    let ages = keys::ages(&http, Some(&world.catalog()), world.wiring().clock.now()).unwrap();
    assert_eq!((ages.len(), ages[0].is_due), (1, false));
    assert_eq!(
        world
            .request(Method::GET, "/healthz")
            .send()
            .await
            .unwrap()
            .status(),
        200
    );
}

/// The key `all` reads the guide of `blog`.
fn guide_read(at: DateTime<Utc>, request: &str) -> Audit {
    Audit {
        at,
        request: request.to_owned(),
        action: AuditAction::RestoreGuide,
        outcome: AuditOutcome::Complete,
        client: "key:all".to_owned(),
        address: "192.0.2.1".parse().unwrap(),
        subject: "blog".to_owned(),
        size_bytes: 0,
    }
}
