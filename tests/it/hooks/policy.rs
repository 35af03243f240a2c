//! What a backup does when its hooks say or do something, from the command line to the stored copy.

use std::path::Path;

use assert_cmd::Command;
use patina::catalog::{Catalog, CopyFilter};
use rusqlite::Connection;

use super::Desk;

/// What `patina backup` did.
struct Night {
    code: Option<i32>,
    text: String,
    copies: usize,
    degraded: Vec<String>,
    labels: Vec<(String, String)>,
}

fn night(script: &str, settings: &str) -> Night {
    let desk = Desk::new(script, settings);
    let db = Connection::open(desk.path("orders.db")).unwrap();
    db.execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (1), (2);")
        .unwrap();
    drop(db);
    back_up(&desk)
}

fn back_up(desk: &Desk) -> Night {
    let folder: &Path = desk.folder.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
    command.env_remove("RUST_LOG").env_remove("PATINA_CONFIG");
    let output = command.current_dir(folder).arg("backup").output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    text += &String::from_utf8(output.stderr).unwrap();
    let catalog = Catalog::open(&desk.config().agent().state.join("catalog.db"));
    let (mut copies, mut degraded, mut labels) = (0, Vec::new(), Vec::new());
    if let Ok(catalog) = catalog {
        copies = catalog.copies(&CopyFilter::default()).unwrap().len();
        let job = catalog.jobs(1).unwrap().pop();
        if let Some(job) = job {
            let name = "orders".parse().unwrap();
            labels = catalog.labels(job.id, &name).unwrap().into_iter().collect();
            degraded = job.degraded;
        }
    }
    Night {
        code: output.status.code(),
        text,
        copies,
        degraded,
        labels,
    }
}

fn check(script: &str, settings: &str, code: i32, copies: usize, says: &str) {
    let night = night(script, settings);
    assert_eq!(
        (night.code, night.copies),
        (Some(code), copies),
        "{script}: {}",
        night.text
    );
    assert!(night.text.contains(says), "{script}: {}", night.text);
}

#[test]
fn a_skipped_job_ends_with_75_and_stores_nothing() {
    check(
        "fn before_job(job) { #{ action: \"skip\", reason: \"holiday\" } }",
        "",
        75,
        0,
        "holiday",
    );
}

#[test]
fn a_skipped_database_is_no_failure() {
    check(
        "fn before_backup(db) { #{ action: \"skip\", reason: \"moving\" } }",
        "",
        0,
        0,
        "moving",
    );
}

#[test]
fn a_throw_aborts_the_database_whatever_on_error_says() {
    for settings in ["", "on_error = \"continue\""] {
        check(
            "fn before_backup(db) { throw \"not today\" }",
            settings,
            1,
            0,
            "not today",
        );
    }
}

#[test]
fn a_before_hook_that_fails_aborts_or_is_told_and_passed_over() {
    for script in [
        "fn before_backup(db) { loop {} }",
        "fn before_job(job) { sleep(60) }",
    ] {
        check(script, "timeout = \"1s\"", 1, 0, "it.rhai");
        check(
            script,
            "timeout = \"1s\"\non_error = \"continue\"",
            0,
            1,
            "it.rhai",
        );
    }
}

#[test]
fn an_after_hook_that_fails_marks_the_job_and_leaves_the_copy_good() {
    let night = night(
        "fn after_backup(db, result) { throw \"no disk for reports\" }",
        "",
    );
    assert_eq!((night.code, night.copies), (Some(0), 1), "{}", night.text);
    assert_eq!(night.degraded.len(), 1, "{:?}", night.degraded);
    assert!(
        night.degraded[0].contains("no disk for reports"),
        "{:?}",
        night.degraded
    );
}

#[test]
fn labels_of_after_backup_are_kept_with_the_result() {
    let script = "fn after_backup(db, result) { #{ labels: #{ team: \"web\", rows: result.rows, good: result.verified } } }";
    let night = night(script, "");
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        night.labels,
        [pair("good", "true"), pair("rows", "2"), pair("team", "web")],
        "{}",
        night.text
    );
}

#[test]
fn check_size_fails_a_copy_and_one_that_fails_itself_does_not() {
    let fail = "fn check_size(current, history) { #{ verdict: \"fail\", reason: `${current.rows} rows` } }";
    check(fail, "", 1, 0, "`check_size` refuses the copy: 2 rows");
    check(
        "fn check_size(current, history) { loop {} }",
        "",
        0,
        1,
        "check_size",
    );
    check(
        "fn check_size(current, history) { #{ verdict: \"warn\", reason: \"small\" } }",
        "",
        0,
        1,
        "size: small",
    );
}

#[test]
fn a_script_with_a_mistake_is_refused_before_anything_is_done() {
    check(
        "fn before_job(a, b) { }",
        "",
        2,
        0,
        "`before_job` takes 1 argument (job), yours takes 2",
    );
}
