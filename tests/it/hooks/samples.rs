//! The shipped scripts do what their comments promise.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use assert_cmd::Command;
use patina::hook::{HookName, Hooks, sample};
use rusqlite::Connection;
use serde_json::{Value, json};

use super::Desk;
use crate::alerts::server::Server;

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

/// `patina backup` with this variable; its exit code.
async fn back_up(desk: &Desk, name: &'static str, value: Option<String>) -> i32 {
    let folder = desk.folder.path().to_owned();
    let run = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
        command.env_remove("PATINA_CONFIG").env_remove(name);
        command.envs(value.map(|value| (name, value)));
        let output = command.current_dir(folder).arg("backup").output().unwrap();
        (output.status.code().unwrap(), output)
    });
    let (code, output) = run.await.unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains("it.rhai"), "{text}");
    code
}

fn make_database(desk: &Desk) {
    let database = Connection::open(desk.path("orders.db")).unwrap();
    database
        .execute_batch("CREATE TABLE t(a); INSERT INTO t VALUES (1)")
        .unwrap();
}

#[tokio::test]
async fn maintenance_pings_its_url_after_a_job_and_fail_after_a_bad_one() {
    let server = Server::start().await;
    let settings = format!(
        "env_allow = [\"PING_URL\"]\nhttp_allow = [\"http://{}\"]",
        server.address
    );
    let desk = desk("maintenance", &settings);
    // Its window is not this test's matter, which may run on a Sunday.
    let text = std::fs::read_to_string(desk.path("scripts/it.rhai")).unwrap();
    assert!(text.contains("\"Sun\""), "where is the window?");
    desk.write("scripts/it.rhai", &text.replace("\"Sun\"", "\"never\""));
    let url = || Some(server.url("uuid-1"));
    let pinged = || {
        let got = server.got("").into_iter();
        let got = got.map(|got| format!("{} {}", got.method, got.path));
        let got: Vec<String> = got.collect();
        server.forget();
        got
    };

    assert_eq!(back_up(&desk, "PING_URL", url()).await, 1);
    assert_eq!(pinged(), ["GET /uuid-1/fail"]);
    make_database(&desk);
    assert_eq!(back_up(&desk, "PING_URL", url()).await, 0);
    assert_eq!(pinged(), ["GET /uuid-1"]);
    assert_eq!(back_up(&desk, "PING_URL", None).await, 0);
    assert!(pinged().is_empty());
}

#[tokio::test]
async fn pagerduty_s_incident_is_opened_and_ended_with_the_routing_key() {
    let server = Server::start().await;
    let desk = desk("pagerduty", "env_allow = [\"PAGERDUTY_ROUTING_KEY\"]");
    let config = std::fs::read_to_string(desk.path("patina.toml")).unwrap();
    let sink = format!(
        "[[alerts.sink]]\nname = \"pager\"\nwebhook = \"{}\"\nformat = \"it\"\nallow_private = true\n",
        server.url("v2/enqueue")
    );
    let rule = "[alerts]\nconsecutive_failures = 1\n";
    desk.write("patina.toml", &format!("{config}{rule}{sink}"));
    // The sink's address is a secret.
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(desk.path("patina.toml"), private).unwrap();
    let key = || Some("R0UTING".to_owned());
    let sent = |about: &str| -> Vec<Value> {
        let got = server.got("v2/enqueue").into_iter().map(|got| got.json());
        let kind = format!("patina/patina/orders/{about}");
        got.filter(|body| body["dedup_key"] == kind.as_str())
            .collect()
    };

    assert_eq!(back_up(&desk, "PAGERDUTY_ROUTING_KEY", key()).await, 1);
    let all = server.got("v2/enqueue");
    assert!(!all.is_empty(), "nothing was sent");
    for got in &all {
        assert_eq!(
            (got.method.as_str(), &got.json()["routing_key"]),
            ("POST", &json!("R0UTING"))
        );
    }
    let opened = sent("consecutive_failures");
    assert_eq!(opened.len(), 1, "{all:?}");
    assert_eq!(opened[0]["event_action"], "trigger");
    assert_eq!(opened[0]["payload"]["severity"], "critical");
    assert_eq!(opened[0]["payload"]["component"], "orders");

    server.forget();
    make_database(&desk);
    assert_eq!(back_up(&desk, "PAGERDUTY_ROUTING_KEY", key()).await, 0);
    let ended = sent("consecutive_failures");
    assert_eq!(ended.len(), 1, "{:?}", server.got("v2/enqueue"));
    assert_eq!(ended[0]["event_action"], "resolve");
    assert_eq!(ended[0]["routing_key"], "R0UTING");
}
