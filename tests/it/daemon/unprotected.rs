//! The daily look through the account, against the real D1 engine: what nothing backs up is told, and not too often.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use patina::app;
use patina::catalog::{Event, EventKind};
use patina::clock::{Clock, ManualClock};
use patina::config::{AlertLevel, Config};
use patina::engine::discover::{self, DiscoverError};
use patina::engine::state::StateDir;
use tokio_util::sync::CancellationToken;

use super::Home;
use crate::d1::engine::{ACCOUNT, Engine, TOKEN};
use crate::d1::proxy::{Fate, Proxy};

/// What `[cloudflare]` and one database of the account say.
fn account(url: &str, token: &str, id: &str) -> String {
    format!(
        "[cloudflare]\naccount_id = \"{ACCOUNT}\"\napi_token = \"{token}\"\napi_url = \"{url}\"\n\
         [[database]]\nname = \"auth\"\nd1 = \"{id}\"\n"
    )
}

fn unprotected(home: &Home) -> Vec<Event> {
    let events = home.catalog().map(|catalog| catalog.events(100).unwrap());
    let mut events = events.unwrap_or_default();
    events.retain(|event| event.kind == EventKind::UnprotectedDatabase);
    events
}

#[test]
fn the_daemon_tells_of_a_database_that_no_entry_names() {
    let engine = Engine::start();
    let id = engine.create("groveauth");
    let other = engine.create("My Shop");
    let home = Home::new();
    // The day's look is always missed and never older than a day; nothing else is.
    let far = (Utc::now() + TimeDelta::days(180)).format("0 0 %-d %-m *");
    let schedule = format!("nightly = \"{far}\"\nweekly = \"{far}\"\ncatch_up = \"24h\"");
    home.write_config(&schedule, &account(&engine.url(), "env:D1_TOKEN", &id));
    let mut command = home.command(&["run"]);
    command.env("D1_TOKEN", TOKEN);
    let daemon = super::Daemon::start(command, home.path("log"));
    daemon.wait_for_log("task discover ended badly");
    let log = daemon.stop();
    assert!(
        log.contains("1 database of the account is not backed up"),
        "{log}"
    );
    assert!(!log.contains(TOKEN), "{log}");
    let events = unprotected(&home);
    assert_eq!(events.len(), 1, "{events:?}");
    let Event {
        severity, message, ..
    } = &events[0];
    assert_eq!(*severity, AlertLevel::Warning);
    let told = format!("the account's D1 database `My Shop` ({other}) is not backed up");
    assert!(message.starts_with(&told), "{message}");
    assert!(message.contains("hint: patina discover --add"), "{message}");
}

#[test]
fn what_stays_unprotected_is_told_again_after_a_week_and_a_listing_that_fails_tells_nothing() {
    let engine = Engine::start();
    let id = engine.create("groveauth");
    engine.create("shop");
    let is_refused = Arc::new(AtomicBool::new(true));
    let proxy = Proxy::start(engine.port, {
        let is_refused = Arc::clone(&is_refused);
        move |_| match is_refused.load(Ordering::SeqCst) {
            true => Fate::refuse(403, 10000, "Authentication error"),
            false => Fate::Pass,
        }
    });
    let home = Home::new();
    home.write_config("", &account(&proxy.url(), TOKEN, &id));
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(home.path("patina.toml"), mode).unwrap();
    let config = Config::load(&home.path("patina.toml")).unwrap().config;
    let state = StateDir::lock(&home.path("state")).unwrap();
    let clock = Arc::new(ManualClock::at(Utc::now()));
    let stop = CancellationToken::new();
    engine.runtime().block_on(async {
        let mut wiring = app::wiring(Arc::new(config), &state).await.unwrap();
        wiring.clock = Arc::clone(&clock) as Arc<dyn Clock>;
        let refused = discover::run(&wiring, &stop).await;
        assert!(matches!(refused, Err(DiscoverError::Api(_))), "{refused:?}");
        is_refused.store(false, Ordering::SeqCst);
        let mut told = vec![unprotected(&home).len()];
        for days in [0, 6, 2, 1] {
            clock.advance(Duration::from_secs(days * 86_400));
            assert_eq!(discover::run(&wiring, &stop).await.unwrap(), 1);
            told.push(unprotected(&home).len());
        }
        assert_eq!(told, [0, 1, 1, 2, 2]);
    });
}
