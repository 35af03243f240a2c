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

/// What `patina hook run` shows of a mistake that only a run finds.
fn run(desk: &Desk, format: &str) -> String {
    let mut command = assert_cmd::Command::new(super::program());
    let output = command
        .current_dir(desk.folder.path())
        .args(["--format", format, "hook", "run", "before_job"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_limit_is_told_where_the_script_ran_into_it() {
    for (script, place, message, hint) in [
        (
            "fn before_job(job) {\n  let a = 1;\n  outer(a)\n}\nprivate fn outer(n) {\n  let b = n;\n  1 + outer(b)\n}",
            "7:7",
            "its calls are nested more than 32 deep",
            "does a function call itself without an end?",
        ),
        (
            "fn before_job(job) {\n  spin();\n}\nprivate fn spin() {\n  let n = 0;\n  loop {\n    n += 1;\n  }\n}",
            "7:7",
            "it did more than 5000000 operations",
            "is there a loop without an end?",
        ),
        (
            "fn before_job(job) {\n  let text = \"x\";\n  loop {\n    text += text;\n  }\n}",
            "4:10",
            "a value is too large: length of string",
            "does it grow in a loop without an end?",
        ),
        (
            "fn before_job(job) {\n  wait();\n}\nprivate fn wait() {\n  sleep(60);\n}",
            "5:3",
            "it took longer than 5s",
            "do less, or raise `[hooks] timeout`",
        ),
        (
            "/// Dies.\nfn before_job(job) {\n  let m = #{};\n  let s = \"x\"; s.pad(200000, 'x');\n  let i = 0;\n  loop { m[i.to_string()] = s + i; i += 1; }\n}",
            "2:4",
            "its process died; it may have needed more than 512 MiB",
            "",
        ),
    ] {
        let desk = Desk::new(script, "timeout = \"5s\"");
        let short = run(&desk, "short");
        assert!(
            short.contains(&format!("scripts/it.rhai:{place}: `before_job`: {message}")),
            "{short}"
        );
        let drawn = run(&desk, "pretty");
        let line = place.split(':').next().unwrap().parse::<usize>().unwrap();
        let line = script.lines().nth(line - 1).unwrap();
        for part in [
            message,
            hint,
            line,
            &format!("scripts/it.rhai:{place}"),
            "──",
        ] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }
}

#[test]
fn a_mistake_in_a_module_is_shown_in_the_module() {
    let desk = Desk::new(
        "import \"lib\" as lib;\nfn before_job(job) {\n  lib::half(0)\n}",
        "",
    );
    desk.write("scripts/lib.rhai", "// Halves.\nfn half(n) {\n  1 / n\n}");
    let drawn = run(&desk, "pretty");
    for part in ["scripts/lib.rhai:3:5", "1 / n", "──"] {
        assert!(drawn.contains(part), "{part}: {drawn}");
    }
}
