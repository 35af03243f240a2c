//! A database that is written to while it is read: noticed always, and never called one point in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use patina::source::SourceError;
use patina::source::d1::OnChange;
use patina::types::EvidenceClass;

use super::Bench;
use super::engine::Engine;
use super::proxy::{Fate, Proxy, Seen};

/// An engine with a database of `rows` rows in the table `log`.
fn filled(rows: u32) -> (Bench, Arc<Engine>, String) {
    let (bench, engine) = (Bench::new(), Engine::start());
    let id = engine.create("filled");
    engine.execute(
        &id,
        &format!(
            "CREATE TABLE log(t TEXT, n); CREATE TABLE other(id INTEGER PRIMARY KEY, v); INSERT INTO other VALUES (1, 'x');
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO log SELECT 'line ' || i || ' of a log that is long enough to need pages', i FROM n"
        ),
    );
    (bench, Arc::new(engine), id)
}

fn is_changed(outcome: &Result<patina::source::Dumped, SourceError>) -> bool {
    matches!(outcome, Err(error @ SourceError::Changed { .. }) if error.is_retryable())
}

/// Runs `sql` once, before the third page of `log`.
fn meddling(engine: &Arc<Engine>, id: &str, sql: &'static str) -> Proxy {
    let (inner, id) = (engine.clone(), id.to_owned());
    let mut pages = 0;
    Proxy::start(engine.port, move |seen: &Seen| {
        pages += u32::from(seen.reads_rows_of("log"));
        if pages == 3 {
            pages += 1;
            inner.execute(&id, sql);
        }
        Fate::Pass
    })
}

#[test]
fn a_table_changed_between_its_pages_is_noticed_and_read_again() {
    for sql in [
        "UPDATE log SET n = -n WHERE rowid = 1",
        "DELETE FROM log WHERE rowid = 4000",
        "INSERT INTO other(v) VALUES ('a row of another table')",
        "CREATE TABLE later(a)",
        "ALTER TABLE other RENAME COLUMN v TO w",
        "DROP TABLE other",
    ] {
        let (bench, engine, id) = filled(5_000);
        let proxy = meddling(&engine, &id, sql);
        let client = bench.client(&engine.account(proxy.url()));
        let source = bench.source_of(client, &engine, &id);
        let source = source.with_snapshot_up_to(0).with_page_bytes(50_000);
        let outcome = bench.dump(&source);
        assert!(is_changed(&outcome), "{sql}: {outcome:?}");
        let dumped = bench.dump(&source).unwrap();
        assert_eq!(dumped.class, EvidenceClass::A, "{sql}");
        assert!(dumped.bookmark.is_some());
    }
}

#[test]
fn without_a_bookmark_the_count_of_changes_decides() {
    let (bench, engine, id) = filled(2_000);
    let proxy = Proxy::start(engine.port, |seen: &Seen| {
        match seen.line.contains("time_travel") {
            true => Fate::refuse(400, 7500, "time travel is not available for this database"),
            false => Fate::Pass,
        }
    });
    let client = bench.client(&engine.account(proxy.url()));
    let source = bench.source_of(client, &engine, &id).with_snapshot_up_to(0);
    let dumped = bench.dump(&source).unwrap();
    assert_eq!((dumped.class, dumped.bookmark), (EvidenceClass::A, None));
}

#[test]
fn a_bookmark_that_moves_alone_is_enough_to_doubt() {
    let (bench, engine, id) = filled(2_000);
    let mut asked = 0;
    let proxy = Proxy::start(engine.port, move |seen: &Seen| {
        if !seen.line.contains("time_travel") {
            return Fate::Pass;
        }
        asked += 1;
        Fate::Answer {
            status: 200,
            headers: "",
            body: format!(r#"{{"success":true,"errors":[],"result":{{"bookmark":"0-{asked}"}}}}"#),
        }
    });
    let client = bench.client(&engine.account(proxy.url()));
    let source = bench.source_of(client, &engine, &id).with_snapshot_up_to(0);
    assert!(is_changed(&bench.dump(&source)));
    let dumped = bench.dump(&source).unwrap();
    assert_eq!((dumped.class, dumped.bookmark), (EvidenceClass::B, None));
    assert!(
        dumped
            .warnings
            .iter()
            .any(|warning| warning.starts_with("not a point in time"))
    );
    // One request is one transaction, whatever the bookmark does.
    let dumped = bench.dump(&source.with_snapshot_up_to(u64::MAX)).unwrap();
    assert_eq!((dumped.class, dumped.bookmark), (EvidenceClass::A, None));
}

#[test]
fn two_hundred_thousand_rows_under_constant_writes_are_kept_as_class_b() {
    let (bench, engine, id) = filled(200_000);
    let done = Arc::new(AtomicBool::new(false));
    let writer = {
        let (engine, id, done) = (engine.clone(), id.clone(), done.clone());
        std::thread::spawn(move || {
            let mut writes = 0;
            while !done.load(Ordering::Relaxed) {
                engine.execute(
                    &id,
                    "INSERT INTO log VALUES ('written meanwhile', 0); UPDATE log SET n = n + 1 WHERE rowid % 1000 = 7;
                     INSERT INTO other(v) VALUES (1)",
                );
                writes += 1;
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            writes
        })
    };
    let source = bench.source(&engine, &id).on_change(OnChange::ReadAgain);
    let first = bench.dump(&source);
    let second = bench.dump(&source);
    let third = bench.dump(&source);
    let accepting = bench.source(&engine, &id).on_change(OnChange::Accept);
    let at_once = bench.dump(&accepting);
    done.store(true, Ordering::Relaxed);
    let writes = writer.join().unwrap();
    assert!(writes > 10, "{writes}");
    assert!(is_changed(&first), "{first:?}");
    // After one that was accepted, the next is strict again.
    assert!(is_changed(&third), "{third:?}");
    for dumped in [second.unwrap(), at_once.unwrap()] {
        assert_eq!((dumped.class, dumped.bookmark), (EvidenceClass::B, None));
        assert!(dumped.evidence.total_rows() >= 200_001);
        assert!(
            dumped
                .warnings
                .iter()
                .any(|warning| warning.starts_with("not a point in time"))
        );
    }
    // And once it is quiet:
    let quiet = bench.dump(&bench.source(&engine, &id)).unwrap();
    assert_eq!(quiet.class, EvidenceClass::A);
}

#[test]
fn rows_that_come_and_go_are_never_renumbered() {
    let (bench, engine, id) = filled(5_000);
    let proxy = meddling(&engine, &id, "DELETE FROM log WHERE rowid IN (2, 4999)");
    let client = bench.client(&engine.account(proxy.url()));
    let source = bench
        .source_of(client, &engine, &id)
        .on_change(OnChange::Accept);
    let source = source.with_snapshot_up_to(0).with_page_bytes(50_000);
    let dumped = bench.dump(&source).unwrap();
    assert_eq!(dumped.class, EvidenceClass::B);
    let log = dumped
        .evidence
        .tables
        .iter()
        .find(|table| table.name == "log")
        .unwrap();
    assert_eq!(
        log.rows, 4_999,
        "row 2 was read before it went, row 4999 not"
    );
}
