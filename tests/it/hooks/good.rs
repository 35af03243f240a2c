//! What scripts have and what comes back.

use patina::hook::{HookErrorKind, HookName, Hooks};
use serde_json::{Value, json};

use super::{Desk, before_job, text_of};

#[tokio::test]
async fn each_function_gives_what_its_name_says() {
    for (expression, expected) in [
        (
            r#"json_encode(#{ a: [1, "x", ()] })"#,
            json!(r#"{"a":[1,"x",null]}"#),
        ),
        (
            r#"json_parse("{\"a\": [1, null]}")"#,
            json!({ "a": [1, null] }),
        ),
        (r#"base64_encode("hi?")"#, json!("aGk/")),
        (r#"base64_url_encode("hi?")"#, json!("aGk_")),
        (r#"base64_decode("aGk/")"#, json!("hi?")),
        (r#"url_encode("a b/ü")"#, json!("a%20b%2F%C3%BC")),
        (r#"hex("az")"#, json!("617a")),
        (
            r#"sha256("abc")"#,
            json!("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ),
        (
            r#"hmac_sha256("key", "The quick brown fox jumps over the lazy dog")"#,
            json!("f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8"),
        ),
        ("human_size(1048576)", json!("1.0 MB")),
        ("human_duration(90000)", json!("1m 30s")),
        (
            r#"format_time(0, "%Y-%m-%d %H:%M")"#,
            json!("1970-01-01 00:00"),
        ),
        (r#"format_time(0, "%H:%M", "Asia/Tokyo")"#, json!("09:00")),
        (
            r#"if now() > 1700000000 { "later" } else { "earlier" }"#,
            json!("later"),
        ),
        (r#"env("NOT_SET") ?? "absent""#, json!("absent")),
        (
            r#"try { http_get("https://a.example/"); } catch (e) { return "caught"; }"#,
            json!("caught"),
        ),
    ] {
        let returned = text_of(expression, "env_allow = [\"NOT_SET\"]").await;
        assert_eq!(returned, Ok(Some(expected)), "{expression}");
    }
}

#[tokio::test]
async fn unit_and_an_absent_hook_are_none() {
    assert_eq!(before_job("()", "").await, Ok(None));
    assert_eq!(before_job("log_info(1);", "").await, Ok(None));
    let desk = Desk::new("fn after_job(job, result) { }", "");
    assert_eq!(
        desk.call(HookName::BeforeJob, vec![json!({})]).await,
        Ok(None)
    );
    assert!(!desk.hooks().attached(HookName::BeforeJob, None));
    assert!(desk.hooks().attached(HookName::AfterJob, None));
}

#[tokio::test]
async fn null_arrives_as_unit_and_large_numbers_as_they_are() {
    let body = "#{ action: if job.a == () && job.b == 9007199254740993 { \"skip\" } else { \"continue\" } }";
    let desk = Desk::new(&format!("fn before_job(job) {{ {body} }}"), "");
    let about = json!({ "a": Value::Null, "b": 9_007_199_254_740_993_i64 });
    let returned = desk.call(HookName::BeforeJob, vec![about]).await;
    assert_eq!(returned, Ok(Some(json!({ "action": "skip" }))));
}

#[tokio::test]
async fn a_database_s_own_script_answers_before_the_common_ones() {
    let desk = Desk::new(
        "fn before_backup(db) { #{ action: \"continue\", reason: \"common\" } }",
        "",
    );
    desk.write(
        "scripts/own.rhai",
        "fn before_backup(db) { #{ action: \"skip\", reason: \"own\" } }",
    );
    let config = std::fs::read_to_string(desk.path("patina.toml")).unwrap();
    let config = config.replace(
        "[hooks]",
        "script = \"scripts/own.rhai\"\n[[database]]\nname = \"blog\"\nsqlite = \"b.db\"\n[hooks]",
    );
    desk.write("patina.toml", &config);
    let hooks = desk.hooks();
    for (name, expected) in [("orders", "own"), ("blog", "common")] {
        let database = name.parse().unwrap();
        let returned = hooks
            .call(HookName::BeforeBackup, Some(&database), vec![json!({})])
            .await;
        assert_eq!(returned.unwrap().unwrap()["reason"], expected);
    }
}

#[tokio::test]
async fn a_script_imports_from_its_own_folder_and_sees_its_own_constants() {
    let desk = Desk::new(
        "import \"lib\" as lib;\nconst MOST = 3;\n\
         fn before_job(job) { #{ action: \"skip\", reason: `${lib::double(21)} ${global::MOST}` } }",
        "",
    );
    desk.write("scripts/lib.rhai", "fn double(n) { n * 2 }");
    let returned = desk.call(HookName::BeforeJob, vec![json!({})]).await;
    assert_eq!(returned.unwrap().unwrap()["reason"], "42 3");
}

#[tokio::test]
async fn a_throw_is_told_from_a_mistake() {
    for (body, kind) in [
        ("throw \"no\"", HookErrorKind::Thrown),
        ("nothing_of_that_name(1)", HookErrorKind::Failed),
        ("http_get(\"https://a.example/\")", HookErrorKind::Failed),
        ("#{ acton: \"skip\" }", HookErrorKind::Misfit),
        ("#{ action: \"skpi\" }", HookErrorKind::Misfit),
        ("7", HookErrorKind::Misfit),
    ] {
        let error = before_job(body, "").await.unwrap_err();
        assert_eq!(error.kind, kind, "{body}: {error}");
    }
}

#[tokio::test]
async fn a_script_changed_on_disk_answers_as_it_was_loaded() {
    let desk = Desk::new("fn before_job(job) { #{ action: \"skip\" } }", "");
    let hooks = desk.hooks();
    desk.write("scripts/it.rhai", "fn before_job(job) { throw \"new\" }");
    let returned = hooks.call(HookName::BeforeJob, None, vec![json!({})]).await;
    assert_eq!(returned.unwrap().unwrap()["action"], "skip");
}
