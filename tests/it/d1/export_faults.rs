//! Cloudflare's own export going wrong: it ends in time, is told apart, and nothing partial is ever dumped.

use std::sync::Arc;
use std::time::Duration;

use patina::clock::Clock;
use patina::source::d1::OnChange;
use patina::source::{Dumped, SourceError};
use patina::types::EvidenceClass;

use super::Bench;
use super::engine::{Engine, TOKEN};
use super::export::engine_with_what_is_kept;
use super::proxy::{Fate, Proxy, Seen};

fn is_export(seen: &Seen) -> bool {
    seen.line.contains("/export ")
}

fn is_download(seen: &Seen) -> bool {
    seen.line.contains("/signed/")
}

/// What a dump through `rule` gives, and how long it took by the clock.
fn export_through(
    rule: impl FnMut(&Seen) -> Fate + Send + 'static,
) -> (Result<Dumped, SourceError>, Duration) {
    let bench = Bench::new();
    let (engine, id) = engine_with_what_is_kept();
    let proxy = Proxy::start(engine.port, rule);
    let client = bench.client(&engine.account(proxy.url()));
    let client = client.with_request_timeout(Duration::from_millis(800));
    let source = bench.export_of(client, &engine, &id);
    let outcome = bench.dump(&source.with_export_deadline(Duration::from_secs(60)));
    assert_eq!(bench.scratch_left(), [""; 0], "{outcome:?}");
    (outcome, bench.clock.elapsed())
}

#[track_caller]
fn fails(rule: impl FnMut(&Seen) -> Fate + Send + 'static, is_retryable: bool, words: &str) {
    let (outcome, _) = export_through(rule);
    let error = outcome.unwrap_err();
    assert_eq!(error.is_retryable(), is_retryable, "{error}");
    assert!(error.to_string().contains(words), "{error}");
    for secret in [TOKEN, "/signed/"] {
        assert!(!format!("{error} {error:?}").contains(secret), "{error}");
    }
}

fn answer(result: serde_json::Value) -> Fate {
    let body =
        serde_json::json!({ "success": true, "errors": [], "messages": [], "result": result });
    Fate::Answer {
        status: 200,
        headers: "",
        body: body.to_string(),
    }
}

/// This in place of each answer to a poll.
fn on_poll(result: serde_json::Value) -> impl FnMut(&Seen) -> Fate + Send + 'static {
    move |seen| match is_export(seen) {
        true => answer(result.clone()),
        false => Fate::Pass,
    }
}

#[test]
fn an_export_that_never_completes_ends_at_its_deadline() {
    let active = serde_json::json!({ "success": true, "status": "active", "at_bookmark": "1", "messages": [] });
    let (outcome, waited) = export_through(on_poll(active.clone()));
    assert!(
        (Duration::from_secs(60)..Duration::from_secs(70)).contains(&waited),
        "{waited:?}"
    );
    assert!(!outcome.unwrap_err().is_retryable());
    fails(on_poll(active), false, "did not complete within 60 s");
}

#[test]
fn an_export_that_fails_is_told_in_cloudflares_words() {
    let error = serde_json::json!({ "success": true, "status": "error", "at_bookmark": "1", "error": "disk on fire" });
    fails(on_poll(error), false, "export failed: disk on fire");
    let passing = serde_json::json!({ "success": false, "error": "Network connection lost." });
    fails(on_poll(passing), true, "Network connection lost");
    let gone =
        serde_json::json!({ "success": false, "error": "Not currently exporting anything." });
    fails(on_poll(gone), false, "Not currently exporting");
    let odd = serde_json::json!({ "success": true, "status": "complete", "at_bookmark": "1" });
    fails(on_poll(odd), true, "no file or bookmark");
}

#[test]
fn an_envelope_without_success_is_no_export() {
    let refuse = |seen: &Seen| match is_export(seen) {
        true => Fate::refuse(403, 10000, "Authentication error"),
        false => Fate::Pass,
    };
    fails(refuse, false, "may not do this");
    let refuse = |seen: &Seen| match is_export(seen) {
        true => Fate::refuse(400, 7500, "Currently processing a long-running export."),
        false => Fate::Pass,
    };
    fails(refuse, true, "Currently processing");
}

#[test]
fn an_expired_link_is_asked_for_once_more_and_then_told() {
    let expired = || Fate::Answer {
        status: 403,
        headers: "content-type: application/xml\r\n",
        body: "<Error><Code>ExpiredRequest</Code></Error>".to_owned(),
    };
    let mut downloads = 0;
    let (outcome, _) = export_through(move |seen| {
        downloads += u32::from(is_download(seen));
        match is_download(seen) && downloads == 1 {
            true => expired(),
            false => Fate::Pass,
        }
    });
    assert_eq!(outcome.unwrap().class, EvidenceClass::B);
    let rule = move |seen: &Seen| match is_download(seen) {
        true => expired(),
        false => Fate::Pass,
    };
    fails(rule, true, "refused with status 403");
}

#[test]
fn a_download_that_breaks_off_is_fetched_again_and_never_taken_for_the_whole() {
    for percent in [10, 50, 99] {
        let mut downloads = 0;
        let (outcome, _) = export_through(move |seen| {
            downloads += u32::from(is_download(seen));
            match is_download(seen) && downloads < 3 {
                true => Fate::Cut(percent),
                false => Fate::Pass,
            }
        });
        assert_eq!(outcome.unwrap().class, EvidenceClass::B, "{percent}");
        let rule = move |seen: &Seen| match is_download(seen) {
            true => Fate::Cut(percent),
            false => Fate::Pass,
        };
        fails(rule, true, "connection to Cloudflare failed");
    }
}

#[test]
fn a_download_that_stalls_does_not_hold_the_dump_for_ever() {
    let rule = |seen: &Seen| match is_download(seen) {
        true => Fate::Stall,
        false => Fate::Pass,
    };
    fails(rule, true, "nothing came for");
}

/// A server that says the length of the cut file, as one would whose own upload was cut.
fn with_file(file: impl Fn(&str) -> String + Send + 'static) -> impl FnMut(&Seen) -> Fate + Send {
    let (engine, id) = engine_with_what_is_kept();
    let whole = super::export::exported(&engine, &id);
    move |seen| match is_download(seen) {
        true => Fate::Answer {
            status: 200,
            headers: "",
            body: file(&whole),
        },
        false => Fate::Pass,
    }
}

#[test]
fn a_file_that_is_short_but_well_formed_is_refused() {
    fails(
        with_file(|whole| whole[..whole.len() - 20].to_owned()),
        true,
        "ends inside the statement",
    );
    fails(with_file(|_| String::new()), false, "no such table");
    // Cut behind a statement, all of its kind gone, one changed, one twice.
    let without = |start: &'static str| {
        with_file(move |whole| {
            let lines = whole.lines().filter(|line| !line.starts_with(start));
            lines.collect::<Vec<_>>().join("\n")
        })
    };
    fails(
        without("INSERT INTO \"children\""),
        false,
        "table `children` has 3 rows, the export 0",
    );
    fails(
        without("CREATE INDEX"),
        false,
        "its schema or sqlite_sequence",
    );
    fails(
        without("INSERT INTO \"sqlite_sequence\""),
        false,
        "its schema or sqlite_sequence",
    );
    fails(
        with_file(|whole| whole.replace("it''s", "it''z!")),
        false,
        "column `name` of table `parents`",
    );
    fails(
        with_file(|whole| whole.replace("-0.1", "-0.10001")),
        false,
        "column `score` of table `parents`",
    );
    fails(
        with_file(|whole| whole.replace("X'00ff0a'", "X'00ff'")),
        false,
        "column `data` of table `children`",
    );
    fails(
        with_file(|whole| format!("{whole}\nATTACH 'elsewhere.db' AS e;")),
        false,
        "not authorized",
    );
}

/// Writes before the export begins, and after the preflight.
fn meddling(engine: &Arc<Engine>, id: &str, sql: &'static str) -> Proxy {
    let (inner, id) = (engine.clone(), id.to_owned());
    let mut done = false;
    Proxy::start(engine.port, move |seen| {
        if is_export(seen) && !done {
            done = true;
            inner.execute(&id, sql);
        }
        Fate::Pass
    })
}

#[test]
fn a_write_between_preflight_and_export_is_compared_with_the_state_after_it() {
    let bench = Bench::new();
    let (engine, id) = engine_with_what_is_kept();
    let engine = Arc::new(engine);
    let proxy = meddling(
        &engine,
        &id,
        "UPDATE children SET note = 'written meanwhile' WHERE id = 'y'",
    );
    let client = bench.client(&engine.account(proxy.url()));
    let dumped = bench.dump(&bench.export_of(client, &engine, &id)).unwrap();
    assert_eq!((dumped.class, dumped.bookmark), (EvidenceClass::B, None));
    let text = std::fs::read_to_string(bench.path("dump.sql")).unwrap();
    assert!(text.contains("written meanwhile"));
}

#[test]
fn a_schema_that_changes_between_preflight_and_export_is_read_again() {
    for sql in [
        "DROP TABLE empty",
        "CREATE TABLE later(x)",
        "ALTER TABLE empty RENAME COLUMN x TO renamed",
    ] {
        let bench = Bench::new();
        let (engine, id) = engine_with_what_is_kept();
        let engine = Arc::new(engine);
        let proxy = meddling(&engine, &id, sql);
        let client = bench.client(&engine.account(proxy.url()));
        let source = bench.export_of(client, &engine, &id);
        let error = bench.dump(&source).unwrap_err();
        assert!(
            matches!(error, SourceError::Changed { .. }),
            "{sql}: {error}"
        );
        let dumped = bench.dump(&source).unwrap();
        assert!(dumped.bookmark.is_some(), "{sql}");
    }
}

#[test]
fn a_hazard_that_was_written_meanwhile_is_found() {
    let bench = Bench::new();
    let (engine, id) = engine_with_what_is_kept();
    let engine = Arc::new(engine);
    let proxy = meddling(
        &engine,
        &id,
        "UPDATE parents SET born = 9007199254740995 WHERE id = 1",
    );
    let client = bench.client(&engine.account(proxy.url()));
    let error = bench
        .dump(&bench.export_of(client, &engine, &id))
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("column `born` of table `parents`"),
        "{error}"
    );
}

#[test]
fn writes_on_both_sides_of_the_export_are_read_again_and_then_told() {
    let bench = Bench::new();
    let (engine, id) = engine_with_what_is_kept();
    let engine = Arc::new(engine);
    let (inner, meddled) = (engine.clone(), id.clone());
    let mut last = "none";
    let proxy = Proxy::start(engine.port, move |seen| {
        let now = match (is_export(seen), is_download(seen)) {
            (true, _) => "export",
            (_, true) => "download",
            _ => "none",
        };
        // Once before the first request for an export, and once after the last.
        if (now, last) == ("export", "none") || (now, last) == ("none", "download") {
            inner.execute(
                &meddled,
                "INSERT INTO empty VALUES ('one more'), ('and one')",
            );
        }
        last = now;
        Fate::Pass
    });
    let client = bench.client(&engine.account(proxy.url()));
    let source = bench
        .export_of(client, &engine, &id)
        .on_change(OnChange::ReadAgain);
    let error = bench.dump(&source).unwrap_err();
    assert!(matches!(error, SourceError::Changed { .. }), "{error}");
    let dumped = bench.dump(&source).unwrap();
    assert_eq!((dumped.class, dumped.bookmark), (EvidenceClass::B, None));
    let is_told = |warning: &String| warning.contains("table `empty` was written to");
    assert!(dumped.warnings.iter().any(is_told), "{:?}", dumped.warnings);
}
