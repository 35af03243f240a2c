//! A mistake is shown where it is.

use patina::hook::check;

use super::Desk;

/// The findings of one script, without the folder.
fn found(script: &str, is_pretty: bool) -> String {
    let desk = Desk::new(script, "");
    let problems = check(&desk.config());
    let text = match is_pretty {
        true => problems.pretty(false),
        false => problems.short(),
    };
    text.replace(&format!("{}/", desk.folder.path().display()), "")
}

#[test]
fn each_mistake_has_its_line_its_column_and_a_hint() {
    for (script, expected) in [
        (
            "fn check_size(current) { }",
            "scripts/it.rhai:1:4: `check_size` takes 2 arguments (current, history), yours takes 1\n\
             hint: write `fn check_size(current, history)`",
        ),
        (
            "\n  fn check_sizes(current, history) { }",
            "scripts/it.rhai:2:6: `check_sizes` is not a hook\n\
             hint: did you mean `check_size`? A helper is a `private fn`",
        ),
        (
            "private fn after_job(a, b) { }",
            "scripts/it.rhai:1:12: `after_job` is private and would never be called\nhint: remove `private`",
        ),
        (
            "fn check_size(current, history) {\n  #{ verdit: \"ok\" }\n}",
            "scripts/it.rhai:2:6: warning: the result of `check_size` has no key `verdit`\n\
             hint: did you mean `verdict`?",
        ),
        (
            "fn before_job(job) {\n  let a = 1\n  let b = 2;\n}",
            "scripts/it.rhai:2:11: `;` is missing",
        ),
        (
            "fn before_job(job) {\n  eval(\"1\")\n}",
            "scripts/it.rhai:2:3: ",
        ),
        (
            "fn before_job(job) {\n  jbo.trigger\n}",
            "scripts/it.rhai:2:3: no variable is called `jbo`",
        ),
    ] {
        let found = found(script, false);
        assert!(found.starts_with(expected), "{script}\n{found}");
    }
}

#[test]
fn the_place_is_drawn_with_a_caret() {
    let text = found("/// Sizes.\nfn check_size(current) {\n}\n", true);
    for part in [
        "takes 2 arguments",
        "scripts/it.rhai:2:4",
        "fn check_size(current)",
        "help: write",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(
        text.contains("──") || text.contains('^') || text.contains('▲'),
        "{text}"
    );
}

#[tokio::test]
async fn an_error_deep_inside_is_told_at_the_innermost_place() {
    let script = "fn before_job(job) {\n  outer()\n}\nprivate fn outer() {\n  inner()\n}\nprivate fn inner() {\n  throw \"deep\"\n}";
    let desk = Desk::new(script, "");
    let error = desk
        .call(
            patina::hook::HookName::BeforeJob,
            vec![serde_json::json!({})],
        )
        .await
        .unwrap_err();
    assert!(error.place.ends_with("it.rhai:8:3"), "{error:?}");
    assert_eq!(error.message, "deep");
}

#[tokio::test]
async fn a_misspelt_key_of_a_result_is_told_at_the_key() {
    let desk = Desk::new("fn before_job(job) {\n  #{ acton: \"skip\" }\n}", "");
    let error = desk
        .call(
            patina::hook::HookName::BeforeJob,
            vec![serde_json::json!({})],
        )
        .await
        .unwrap_err();
    assert!(error.place.ends_with("it.rhai:2:6"), "{error:?}");
    assert_eq!(
        error.message,
        "its result has no key `acton`\nhint: did you mean `action`?"
    );
}
