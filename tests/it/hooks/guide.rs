//! The examples of `scripts/README.md` are taken out of its text and run.

use patina::hook::{HookName, Hooks, sample};
use serde_json::{Value, json};

use super::Desk;

const GUIDE: &str = include_str!("../../../scripts/README.md");

fn examples() -> Vec<&'static str> {
    let blocks = GUIDE.split("```rhai\n").skip(1);
    blocks
        .map(|block| block.split("```").next().unwrap())
        .collect()
}

async fn check(example: usize, hook: HookName, arguments: Vec<Value>, expected: Option<Value>) {
    let desk = Desk::new(examples()[example], "");
    let returned = desk.call(hook, arguments).await;
    assert_eq!(returned, Ok(expected), "{}", examples()[example]);
}

#[tokio::test]
async fn each_example_does_what_the_sentence_before_it_says() {
    assert_eq!(examples().len(), 5);
    let go_on = || Some(json!({ "action": "continue" }));
    check(0, HookName::BeforeJob, vec![sample::job()], go_on()).await;
    let mut job = sample::job();
    job["started_at_unix"] = 0.into();
    let skipped = json!({ "action": "skip", "reason": "New Year" });
    check(0, HookName::BeforeJob, vec![job], Some(skipped)).await;
    let mut database = sample::database();
    database["last_good"]["created_at_unix"] = 0.into();
    check(1, HookName::BeforeBackup, vec![database.clone()], go_on()).await;
    database["last_good"] = Value::Null;
    check(1, HookName::BeforeBackup, vec![database], go_on()).await;
    check(
        2,
        HookName::CheckSize,
        vec![sample::size(1), json!([])],
        None,
    )
    .await;
    let mut empty = sample::size(1);
    empty["rows"] = 0.into();
    let refused = json!({ "verdict": "fail", "reason": "no rows at all" });
    check(
        2,
        HookName::CheckSize,
        vec![empty, json!([])],
        Some(refused),
    )
    .await;
    let labels = json!({ "labels": { "kind": "sqlite", "size": "1.0 MB" } });
    let arguments = vec![sample::database(), sample::result()];
    check(3, HookName::AfterBackup, arguments, Some(labels)).await;
    let alert = || vec![sample::alert("backup_failed"), sample::sink()];
    check(4, HookName::FilterAlert, alert(), Some(json!(true))).await;
    let text = "[critical] Backup failed: the export took longer than 30s";
    check(4, HookName::FormatAlert, alert(), Some(json!(text))).await;
    let desk = Desk::new(examples()[4], "");
    assert!(desk.hooks().attached(HookName::FilterAlert, None));
}
