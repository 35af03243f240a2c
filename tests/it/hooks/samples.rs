//! The shipped scripts do what their comments promise.

use std::path::Path;

use assert_cmd::Command;
use patina::hook::{HookName, Hooks, sample};
use serde_json::json;

use super::Desk;

/// A desk with one of the shipped scripts.
fn desk(name: &str, settings: &str) -> Desk {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scripts/{name}.rhai"));
    Desk::new(&std::fs::read_to_string(path).unwrap(), settings)
}

#[tokio::test]
async fn pagerduty_gets_its_own_form_with_the_routing_key() {
    let desk = desk(
        "pagerduty",
        "env_allow = [\"PATH\", \"PAGERDUTY_ROUTING_KEY\"]",
    );
    let script = desk.path("scripts/it.rhai");
    let arguments = vec![sample::alert("backup_failed"), sample::sink()];
    let hooks = desk.hooks();
    let body = hooks
        .call_in(&script, HookName::FormatAlert, arguments)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(body["event_action"], "trigger");
    assert_eq!(body["dedup_key"], "patina/grove/orders/backup_failed");
    assert_eq!(body["payload"]["severity"], "critical");
    let arguments = vec![sample::alert("resolved"), sample::sink()];
    let body = hooks
        .call_in(&script, HookName::FormatAlert, arguments)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(body["event_action"], "resolve");
}

#[tokio::test]
async fn size_is_strict_for_a_critical_database() {
    let desk = desk("size", "");
    let history: serde_json::Value = [100, 100, 100].map(sample::size).into_iter().collect();
    let called = desk
        .call(HookName::CheckSize, vec![sample::size(40), history])
        .await;
    assert_eq!(
        called.unwrap().unwrap(),
        json!({ "verdict": "fail", "reason": "40 B, usually 100 B" })
    );
}

#[test]
fn the_shipped_tests_of_the_shipped_scripts_pass() {
    let desk = desk("size", "");
    for name in ["size", "maintenance"] {
        for file in [
            format!("scripts/{name}.rhai"),
            format!("scripts/tests/{name}.rhai"),
        ] {
            let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(&file));
            std::fs::create_dir_all(desk.path("scripts/tests")).unwrap();
            desk.write(&file, &text.unwrap());
        }
    }
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
        let output = command
            .current_dir(desk.folder.path())
            .args(args)
            .output()
            .unwrap();
        let out = String::from_utf8(output.stdout).unwrap();
        (
            output.status.code(),
            out,
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, out, err) = run(&["hook", "test"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("6 passed, 0 failed"), "{out}{err}");
    desk.write(
        "scripts/tests/bad.rhai",
        "fn test_no() {\n  assert_eq(1, 2);\n}",
    );
    let (code, out, err) = run(&["hook", "test"]);
    assert_eq!(code, Some(1), "{out}{err}");
    assert!(err.contains("bad.rhai:2:3: found 1, expected 2"), "{err}");
    let (code, out, err) = run(&[
        "hook",
        "run",
        "check_size",
        "--current",
        "2MiB",
        "--history",
        "10MiB,11MiB,12MiB",
    ]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(
        out.contains("\"verdict\": \"fail\"") && out.contains("check_size took"),
        "{out}"
    );
    let (code, out, _) = run(&["hook", "list"]);
    assert!(
        code == Some(0) && out.contains("check_size") && out.contains("strictly for critical"),
        "{out}"
    );
    let (code, out, err) = run(&["hook", "new", "slack"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(desk.path("scripts/slack.rhai").is_file());
}
