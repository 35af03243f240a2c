//! Everything that can go wrong on the way: told apart, survived where it passes, never taken for a backup.

use std::time::Duration;

use patina::clock::Clock;
use patina::config::{D1Method, Secret, SecretOrigin};
use patina::source::d1::{ApiError, D1Source, OnChange};
use patina::source::{Source, SourceError};
use patina::types::EvidenceClass;
use tokio_util::sync::CancellationToken;

use super::Bench;
use super::engine::{Engine, TOKEN};
use super::proxy::{Fate, Proxy, Seen};

/// An engine with a database of two small tables.
fn small() -> (Bench, Engine, String) {
    let (bench, engine) = (Bench::new(), Engine::start());
    let id = engine.create("small");
    engine.execute(
        &id,
        "CREATE TABLE a(id INTEGER PRIMARY KEY, t TEXT); CREATE TABLE b(v);
         INSERT INTO a(t) VALUES ('one'), ('two'), ('three'); INSERT INTO b VALUES (1), (2.5), (X'00')",
    );
    (bench, engine, id)
}

/// What a dump through `rule` gives, page by page.
fn dump_through(
    rule: impl FnMut(&Seen) -> Fate + Send + 'static,
) -> (Result<EvidenceClass, SourceError>, Duration) {
    let (bench, engine, id) = small();
    let proxy = Proxy::start(engine.port, rule);
    let client = bench
        .client(&engine.account(proxy.url()))
        .with_request_timeout(Duration::from_millis(500));
    let source = bench.source_of(client, &engine, &id).with_snapshot_up_to(0);
    let outcome = bench.dump(&source).map(|dumped| dumped.class);
    (outcome, bench.clock.elapsed())
}

/// The requests of a dump are spoiled by `fate`, one time each; the dump must come through.
#[track_caller]
fn survives(fate: Fate) -> Duration {
    let mut tries = std::collections::HashMap::<String, u32>::new();
    let (outcome, waited) = dump_through(move |seen| {
        let tries = tries
            .entry(seen.line.clone() + seen.body.as_str())
            .or_default();
        *tries += 1;
        if *tries == 1 {
            fate.clone()
        } else {
            Fate::Pass
        }
    });
    assert_eq!(outcome.unwrap(), EvidenceClass::A);
    waited
}

/// From the fifth request on, all are spoiled by `fate`; the error must say `words`, and whether trying helps.
#[track_caller]
fn fails(fate: Fate, is_retryable: bool, words: &str) {
    let (outcome, _) = dump_through(move |seen| {
        if seen.index < 4 {
            Fate::Pass
        } else {
            fate.clone()
        }
    });
    let error = outcome.unwrap_err();
    assert_eq!(error.is_retryable(), is_retryable, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    assert!(!format!("{error} {error:?}").contains(TOKEN), "{error}");
}

fn html(status: u16) -> Fate {
    Fate::Answer {
        status,
        headers: "content-type: text/html\r\n",
        body: format!("<html><body>Bearer {TOKEN}: Bad gateway</body></html>"),
    }
}

#[test]
fn a_rate_limit_is_obeyed_for_as_long_as_it_asks() {
    let body = Fate::refuse(
        429,
        971,
        "Please wait and consider throttling your request speed",
    );
    let Fate::Answer { status, body, .. } = body else {
        unreachable!()
    };
    let limited = Fate::Answer {
        status,
        headers: "retry-after: 77\r\n",
        body,
    };
    assert!(survives(limited.clone()) >= Duration::from_secs(77));
    fails(limited, true, "slow down");
}

#[test]
fn server_errors_pass_or_are_told() {
    survives(Fate::refuse(503, 7500, "x"));
    fails(
        Fate::refuse(500, 7500, "Network connection lost."),
        true,
        "Network connection lost",
    );
    fails(
        Fate::refuse(
            429,
            7500,
            "D1 DB is overloaded. Requests queued for too long.",
        ),
        true,
        "overloaded",
    );
    fails(html(502), true, "502");
}

#[test]
fn html_in_place_of_json_is_no_answer() {
    survives(html(200));
    fails(html(200), true, "HTML");
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    for percent in [10, 50, 99] {
        survives(Fate::Cut(percent));
        let (outcome, _) = dump_through(move |seen| {
            if seen.index < 4 {
                Fate::Pass
            } else {
                Fate::Cut(percent)
            }
        });
        assert!(outcome.unwrap_err().is_retryable());
    }
}

#[test]
fn a_server_that_never_answers_does_not_hold_the_dump_for_ever() {
    fails(Fate::Stall, true, "did not answer");
}

#[test]
fn one_page_that_stalls_is_asked_for_again() {
    let mut stalled = false;
    let (outcome, _) = dump_through(move |seen| {
        if !stalled && seen.reads_rows_of("a") {
            stalled = true;
            return Fate::Stall;
        }
        Fate::Pass
    });
    assert_eq!(outcome.unwrap(), EvidenceClass::A);
}

#[test]
fn a_token_revoked_midway_ends_the_dump_at_once() {
    fails(
        Fate::refuse(401, 10000, "Authentication error"),
        false,
        "does not accept the API token",
    );
    fails(
        Fate::refuse(403, 10000, "Authentication error"),
        false,
        "Account > D1 > Read",
    );
}

#[test]
fn an_answer_without_success_is_told_with_its_code_and_words() {
    let body = Fate::refuse(200, 7500, "no such table: gone");
    fails(body, false, "code 7500: no such table: gone");
    let bare = Fate::Answer {
        status: 200,
        headers: "",
        body: r#"{"success":true,"errors":[],"messages":[],"result":null}"#.to_owned(),
    };
    fails(bare, true, "success without a result");
}

#[test]
fn a_number_where_text_was_asked_for_is_refused() {
    let row =
        r#"{"results":{"columns":["a"],"rows":[[9007199254740993]]},"success":true,"meta":{}}"#;
    let (outcome, _) = dump_through(move |seen| match seen.reads_rows_of("a") {
        false => Fate::Pass,
        true => Fate::Answer {
            status: 200,
            headers: "",
            body: format!(r#"{{"success":true,"errors":[],"messages":[],"result":[{row},{row}]}}"#),
        },
    });
    assert!(outcome.unwrap_err().to_string().contains("cannot be read"));
}

#[test]
fn a_page_that_needs_too_much_memory_is_asked_for_in_halves() {
    let (bench, engine, id) = small();
    let memory = "D1 DB's isolate exceeded its memory limit and was reset.";
    let proxy = Proxy::start(engine.port, move |seen| {
        // Pages of more than one row are too much for this engine.
        match seen.reads_rows_of("a") && !seen.body.contains("LIMIT 1\"") {
            true => Fate::refuse(500, 7500, memory),
            false => Fate::Pass,
        }
    });
    let client = bench.client(&engine.account(proxy.url()));
    let source = bench.source_of(client, &engine, &id).with_snapshot_up_to(0);
    let dumped = bench.dump(&source).unwrap();
    assert_eq!(dumped.class, EvidenceClass::A);
    let pages = proxy
        .bodies()
        .iter()
        .filter(|body| body.contains("LIMIT 1\""))
        .count();
    assert!(pages >= 4, "{pages}");
}

#[test]
fn a_database_too_large_for_one_request_is_read_in_pages() {
    let (bench, engine, id) = small();
    let proxy = Proxy::start(engine.port, move |seen| {
        match seen.reads_rows_of("a") && seen.reads_rows_of("b") {
            true => Fate::refuse(
                500,
                7500,
                "D1 DB's isolate exceeded its memory limit and was reset.",
            ),
            false => Fate::Pass,
        }
    });
    let client = bench.client(&engine.account(proxy.url()));
    let dumped = bench.dump(&bench.source_of(client, &engine, &id)).unwrap();
    assert_eq!(
        (dumped.class, dumped.evidence.total_rows()),
        (EvidenceClass::A, 6)
    );
}

#[test]
fn wrong_token_account_and_database_are_told_apart() {
    let (bench, engine, id) = small();
    let stop = CancellationToken::new();
    let ask = |token: &str, account: &str, id: &str| {
        let mut cloudflare = engine.account(engine.url());
        cloudflare.api_token = Secret::new(token.to_owned(), SecretOrigin::Inline);
        cloudflare.account_id = account.to_owned();
        let client = bench.client(&cloudflare);
        engine.runtime().block_on(client.info(id, &stop))
    };
    let account = super::engine::ACCOUNT;
    assert!(ask(TOKEN, account, &id).unwrap().file_size.is_some());
    assert!(matches!(
        ask("other", account, &id),
        Err(ApiError::WrongToken(_))
    ));
    assert!(matches!(
        ask(TOKEN, "0", &id),
        Err(ApiError::WrongAccount(_))
    ));
    assert!(matches!(
        ask(TOKEN, account, "gone"),
        Err(ApiError::UnknownDatabase(_))
    ));
    let source: D1Source = bench.source(&engine, "gone").on_change(OnChange::Accept);
    let error = bench.dump(&source).unwrap_err();
    assert!(
        !error.is_retryable() && error.to_string().contains("no such D1 database"),
        "{error}"
    );
}

#[test]
fn a_token_that_may_only_read_is_enough() {
    let (bench, engine, id) = small();
    let mut account = engine.account(engine.url());
    account.api_token = Secret::new("read-token".to_owned(), SecretOrigin::Inline);
    for snapshot_bytes in [0, u64::MAX] {
        let source = bench.source_of(bench.client(&account), &engine, &id);
        bench
            .dump(&source.with_snapshot_up_to(snapshot_bytes))
            .unwrap();
    }
}

#[test]
fn a_stopped_dump_ends_soon() {
    let (bench, engine, id) = small();
    let proxy = Proxy::start(engine.port, |_| Fate::Stall);
    let client = bench.client(&engine.account(proxy.url()));
    let stop = CancellationToken::new();
    let asked = stop.clone();
    std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(100));
        asked.cancel();
    });
    let outcome = engine.runtime().block_on(client.info(&id, &stop));
    assert_eq!(outcome, Err(ApiError::Stopped));
}

#[test]
fn the_list_of_databases_is_whole_or_an_error() {
    let (bench, engine, _) = small();
    engine.create("another");
    let stop = CancellationToken::new();
    let client = bench.client(&engine.account(engine.url()));
    let listed = engine.runtime().block_on(client.databases(&stop)).unwrap();
    let names: Vec<&str> = listed
        .iter()
        .map(|database| database.name.as_str())
        .collect();
    assert_eq!(names, ["another", "small"]);
    let short = r#"{"success":true,"errors":[],"result":[],"result_info":{"total_count":2}}"#;
    let proxy = Proxy::start(engine.port, move |_| Fate::Answer {
        status: 200,
        headers: "",
        body: short.to_owned(),
    });
    let client = bench.client(&engine.account(proxy.url()));
    let listed = engine.runtime().block_on(client.databases(&stop));
    assert!(matches!(listed, Err(ApiError::Malformed(_))));
}

#[test]
fn a_list_of_several_pages_is_read_to_its_end_and_a_page_that_comes_twice_is_an_error() {
    let (bench, engine, _) = small();
    for number in 0..22 {
        engine.create(&format!("d{number:02}"));
    }
    let stop = CancellationToken::new();
    let list = |url| {
        let client = bench.client(&engine.account(url)).with_per_page(10);
        engine.runtime().block_on(client.databases(&stop))
    };
    assert_eq!(list(engine.url()).unwrap().len(), 23);
    let first: serde_json::Value = {
        let rows: Vec<_> = (0..10)
            .map(|number| serde_json::json!({ "uuid": format!("u{number}"), "name": "n" }))
            .collect();
        serde_json::json!({ "success": true, "errors": [], "result": rows, "result_info": { "total_count": 23 } })
    };
    let proxy = Proxy::start(engine.port, move |_| Fate::Answer {
        status: 200,
        headers: "",
        body: first.to_string(),
    });
    let error = list(proxy.url()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("page 2 of the list names a database again"),
        "{error}"
    );
    // An account that always has one more never ends.
    let endless = Proxy::start(engine.port, |seen| {
        let rows: Vec<_> = (0..10)
            .map(|number| serde_json::json!({ "uuid": format!("{}-{number}", seen.index), "name": "n" }))
            .collect();
        let body = serde_json::json!({ "success": true, "errors": [], "result": rows, "result_info": { "total_count": 99_999 } });
        Fate::Answer {
            status: 200,
            headers: "",
            body: body.to_string(),
        }
    });
    let error = list(endless.url()).unwrap_err();
    assert!(error.to_string().contains("more than 100 pages"), "{error}");
}

#[test]
fn a_small_database_is_read_in_one_transaction() {
    let (bench, engine, id) = small();
    let proxy = Proxy::start(engine.port, |_| Fate::Pass);
    let source = bench.source_of(bench.client(&engine.account(proxy.url())), &engine, &id);
    bench.dump(&source).unwrap();
    // Size, bookmark, schema, everything, bookmark.
    assert_eq!(proxy.bodies().len(), 5);
    assert!(source.size_hint_bytes().is_some());
    // Text that is not UTF-8 shows only in the answer: everything again, these columns as hex.
    engine.execute(
        &id,
        "INSERT INTO a(t) VALUES (CAST(X'ff' AS TEXT)), (char(65533))",
    );
    bench.dump(&source).unwrap();
    assert_eq!(proxy.bodies().len(), 5 + 6);
}

/// Refuses every request that holds `word`, with this message.
fn dump_without(word: &'static str, message: &'static str, class: EvidenceClass) -> Vec<String> {
    let (bench, engine, id) = small();
    engine.execute(
        &id,
        "CREATE VIRTUAL TABLE f USING fts5(t); INSERT INTO f(f, rank) VALUES ('pgsz', 64)",
    );
    let proxy = Proxy::start(engine.port, move |seen| match seen.body.contains(word) {
        true => Fate::refuse(400, 7500, message),
        false => Fate::Pass,
    });
    let client = std::sync::Arc::new(bench.client(&engine.account(proxy.url())));
    let mut warnings = Vec::new();
    for snapshot_bytes in [0, u64::MAX] {
        let runtime = engine.runtime().handle().clone();
        let scratch = bench.folder.path().to_owned();
        let source = D1Source::new(client.clone(), id.clone(), D1Method::Raw, scratch, runtime);
        let dumped = bench
            .dump(&source.with_snapshot_up_to(snapshot_bytes))
            .unwrap();
        assert_eq!(dumped.class, class);
        warnings = dumped.warnings;
    }
    warnings
}

#[test]
fn what_this_engine_does_not_allow_is_done_without() {
    assert_eq!(
        dump_without(
            "atan2",
            "no such function: atan2: SQLITE_ERROR",
            EvidenceClass::A
        ),
        [""; 0]
    );
    // What the check cannot read either is not proven.
    let message = "not authorized: SQLITE_AUTH";
    let warnings = dump_without("f_config", message, EvidenceClass::B);
    assert!(warnings[0].contains("settings"), "{warnings:?}");
    assert!(warnings[1].contains("independent check"), "{warnings:?}");
}

#[test]
fn a_key_that_cannot_be_checked_is_no_reason_to_fail() {
    let (bench, engine, id) = small();
    engine.execute(
        &id,
        "CREATE TABLE parent(x); CREATE TABLE child(p REFERENCES parent(x))",
    );
    for snapshot_bytes in [0, u64::MAX] {
        let source = bench
            .source(&engine, &id)
            .with_snapshot_up_to(snapshot_bytes);
        assert_eq!(
            bench.dump(&source).unwrap().evidence.foreign_key_violations,
            0
        );
    }
}

#[test]
fn tables_whose_rows_are_not_wanted_are_not_read() {
    let (bench, engine, id) = small();
    for snapshot_bytes in [0, u64::MAX] {
        let proxy = Proxy::start(engine.port, |_| Fate::Pass);
        let client = bench.client(&engine.account(proxy.url()));
        let source = bench
            .source_of(client, &engine, &id)
            .with_snapshot_up_to(snapshot_bytes);
        let dumped = bench.dump_without(&source, &["A".to_owned()]).unwrap();
        assert_eq!(dumped.evidence.total_rows(), 3);
        let reads = |column: &str| {
            let term = format!("'t'||\\\"{column}\\\"");
            proxy.bodies().iter().any(|body| body.contains(&term))
        };
        assert!(reads("v") && !reads("t"));
    }
}
