//! Scripts that attack whatever runs them: each ends in time, and the process that called it is as it was.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use patina::hook::{HookErrorKind, HookName, Hooks};
use serde_json::json;

use super::Desk;
use crate::alerts::server::{Manner, Server};

/// What a script may take before it is told to end.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The deadline, the second until the kill, and one for a busy machine.
const ENDS_WITHIN: Duration = Duration::from_secs(4);

/// What a call may leave behind in its caller; its output is capped far below.
const GROWTH_MAX_BYTES: u64 = 24 << 20;

/// A name, a script and what its error says; an empty text: it returns.
const SCRIPTS: &[(&str, &str, &str)] = &[
    (
        "an endless loop",
        "fn before_job(j) { loop {} }",
        "more than 5000000 operations",
    ),
    (
        "a long loop",
        "fn before_job(j) { let n = 0; while n < 10000000000 { n += 1; } }",
        "operations",
    ),
    (
        "a long sleep",
        "fn before_job(j) { sleep(3600); }",
        "took longer than 2s",
    ),
    (
        "many sleeps",
        "fn before_job(j) { loop { sleep(1); } }",
        "took longer than 2s",
    ),
    (
        "a sleep of a float",
        "fn before_job(j) { sleep(1e300); loop { sleep(0.5); } }",
        "took longer than 2s",
    ),
    (
        "a sleep at the top",
        "sleep(3600); fn before_job(j) { }",
        "took longer than 2s",
    ),
    (
        "a loop at the top",
        "loop {} fn before_job(j) { }",
        "operations",
    ),
    (
        "a map that grows without an end",
        "fn before_job(j) { let m = #{}; let s = \"x\"; s.pad(200000, 'x'); let i = 0; \
         loop { m[i.to_string()] = s + i; i += 1; } }",
        "its process died; it may have needed more than 512 MiB",
    ),
    (
        "recursion",
        "fn before_job(j) { f(1) } private fn f(n) { f(n + 1) }",
        "more than 32 deep",
    ),
    (
        "recursion through a deep expression",
        "fn before_job(j) { f(1) } private fn f(n) { (((((f(n + 1)+1)+1)+1)+1)+1) }",
        "more than 32 deep",
    ),
    (
        "a closure that calls itself",
        "fn before_job(j) { let f = |g| g.call(g); f.call(f) }",
        "deep",
    ),
    (
        "a text that doubles",
        "fn before_job(j) { let s = \"x\"; loop { s += s; } }",
        "too large",
    ),
    (
        "a padded text",
        "fn before_job(j) { let s = \"\"; s.pad(1000000000, 'x'); }",
        "too large",
    ),
    (
        "a huge blob",
        "fn before_job(j) { blob(2000000000) }",
        "too large",
    ),
    (
        "an array that doubles",
        "fn before_job(j) { let a = [1]; loop { a += a; } }",
        "too large",
    ),
    (
        "nested arrays",
        "fn before_job(j) { let a = [1]; loop { a = [a, a]; } }",
        "too large",
    ),
    (
        "a log without an end",
        "fn before_job(j) { loop { log_info(\"spam spam spam spam\"); } }",
        "",
    ),
    (
        "a gigabyte of log",
        "fn before_job(j) { let s = \"x\"; s.pad(200000, 'x'); for i in 0..5000 { log_info(s); } }",
        "",
    ),
    (
        "a long verdict",
        "fn before_job(j) { let s = \"x\"; s.pad(200000, 'x'); #{ action: \"skip\", reason: s } }",
        "longer than 64 KiB",
    ),
    ("a throw", "fn before_job(j) { throw \"no\" }", "no"),
    (
        "a throw of a map",
        "fn before_job(j) { throw #{ a: 1 } }",
        "a",
    ),
    (
        "exit",
        "fn before_job(j) { exit(7) }",
        "it returns a map or `()`, found a number",
    ),
    (
        "a parent's folder",
        "import \"../outside\" as o; fn before_job(j) { }",
        "is not a module's name",
    ),
    (
        "an absolute import",
        "import \"/etc/passwd\" as o; fn before_job(j) { }",
        "is not a module's name",
    ),
    (
        "a link out of the folder",
        "import \"link\" as o; fn before_job(j) { }",
        "is a link out of the scripts' folder",
    ),
    (
        "an import of itself",
        "import \"it\" as o; fn before_job(j) { }",
        "imports itself",
    ),
    (
        "a host that is not listed",
        "fn before_job(j) { http_get(\"https://example.org/\") }",
        "the host `example.org` may not be called",
    ),
    (
        "a private address",
        "fn before_job(j) { http_get(\"http://169.254.169.254/latest\") }",
        "may not be called",
    ),
    (
        "a name with a private address",
        "fn before_job(j) { http_get(\"https://localhost/\") }",
        "`localhost`: its address is one of this host",
    ),
    (
        "a file as a URL",
        "fn before_job(j) { http_get(\"file:///etc/passwd\") }",
        "may not be called",
    ),
    (
        "a program that is not listed",
        "fn before_job(j) { exec(\"/bin/cat\", [\"/etc/passwd\"]) }",
        "the program `/bin/cat` may not be started",
    ),
    (
        "a program by its name alone",
        "fn before_job(j) { exec(\"sh\") }",
        "may not be started",
    ),
    (
        "a program that never ends",
        "fn before_job(j) { exec(\"/bin/sleep\", [\"3600\"]) }",
        "did not end in the time the hook has",
    ),
    (
        "a program that prints without an end",
        "fn before_job(j) { exec(\"/usr/bin/yes\") }",
        "did not end in the time the hook has",
    ),
    (
        "a program that hears no signal",
        "fn before_job(j) { exec(\"/bin/sh\", [\"-c\", \"trap '' TERM INT HUP QUIT; while :; do :; done\"]) }",
        "did not end in the time the hook has",
    ),
    (
        "a program with many children",
        "fn before_job(j) { exec(\"/bin/sh\", [\"-c\", \"for i in 1 2 3 4 5 6 7 8; do \
         (for j in 1 2 3 4 5 6 7 8; do /bin/sleep 3600 & done; wait) & done; wait\"]) }",
        "did not end in the time the hook has",
    ),
    (
        "a program that kills the process above it",
        "fn before_job(j) { exec(\"/bin/sh\", [\"-c\", \"kill -9 $PPID; /bin/sleep 3600\"]) }",
        "was ended by signal 9",
    ),
    (
        "a variable that is not listed",
        "fn before_job(j) { env(\"HOME\") }",
        "the variable `HOME` may not be read",
    ),
    (
        "a result that is a function",
        "fn before_job(j) { |x| x }",
        "it returns a map or `()`",
    ),
    (
        "a division by zero",
        "fn before_job(j) { 1 / (j.len() - j.len()) }",
        "zero",
    ),
    (
        "an index far out",
        "fn before_job(j) { [1][9223372036854775807] }",
        "bounds",
    ),
    (
        "a caught error in a loop",
        "fn before_job(j) { loop { try { throw 1 } catch { } } }",
        "operations",
    ),
];

fn desk(script: &str) -> Desk {
    let desk = Desk::new(
        script,
        "timeout = \"2s\"\nexec_allow = [\"/bin/sleep\", \"/bin/sh\", \"/usr/bin/yes\"]\n\
         http_allow = [\"localhost\"]",
    );
    desk.write("outside.rhai", "fn x() {}");
    std::os::unix::fs::symlink(desk.path("outside.rhai"), desk.path("scripts/link.rhai")).unwrap();
    desk
}

/// The memory of this process.
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmRSS:"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[tokio::test]
async fn a_hostile_script_ends_in_time_and_leaves_its_caller_as_it_was() {
    assert!(SCRIPTS.len() >= 30, "{}", SCRIPTS.len());
    let pid = std::process::id();
    for (what, script, expected) in SCRIPTS {
        endure(&desk(script), what, expected).await;
    }
    assert_eq!(std::process::id(), pid);
    assert!(TIMEOUT < ENDS_WITHIN);
}

#[tokio::test]
async fn a_hostile_server_harms_nobody_through_a_script() {
    let server = Server::start().await;
    let script = format!("fn before_job(j) {{ http_get(\"{}\") }}", server.url("x"));
    let listed = format!(
        "timeout = \"2s\"\nhttp_allow = [\"http://{}\"]",
        server.address
    );
    let away = |url: &str| Manner::Redirects(url.to_owned());
    for (what, manner, expected) in [
        (
            "a redirect to a host that is not listed",
            away("https://example.org/x"),
            "it redirects to another host, `https://example.org`",
        ),
        (
            "a redirect to a private address",
            away("http://169.254.169.254/latest"),
            "it redirects to another host, `http://169.254.169.254`",
        ),
        (
            "a redirect in a circle",
            away("/x"),
            "it redirects too often",
        ),
        (
            "two hundred megabytes",
            Manner::Says(200_000_000),
            "the answer is longer than 1 MiB",
        ),
        (
            "no answer",
            Manner::Hangs,
            "the host did not answer in the time the hook has",
        ),
    ] {
        server.behave(manner);
        endure(&Desk::new(&script, &listed), what, expected).await;
    }
}

/// Calls the hook and holds it to its time, and this process to its memory.
async fn endure(desk: &Desk, what: &str, expected: &str) {
    let hooks = desk.hooks();
    let (before, begun) = (resident_bytes(), Instant::now());
    let called = hooks.call(HookName::BeforeJob, None, vec![json!({})]).await;
    let took = begun.elapsed();
    assert!(took < ENDS_WITHIN, "{what}: {took:?}");
    let grown = resident_bytes().saturating_sub(before);
    assert!(grown < GROWTH_MAX_BYTES, "{what}: {grown} bytes");
    match called {
        Ok(_) => assert_eq!(expected, "", "{what}"),
        Err(error) if expected.is_empty() => {
            let fits = [HookErrorKind::Failed, HookErrorKind::Timeout];
            assert!(fits.contains(&error.kind), "{what}: {error:?}");
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(expected), "{what}: {text}");
            assert!(text.contains("it.rhai:1:"), "{what}: {text}");
        }
    }
}

#[tokio::test]
async fn what_a_program_of_a_script_left_running_dies_with_the_call() {
    let desk = desk(
        "fn before_job(j) { exec(\"/bin/sh\", [\"-c\", \"/bin/sleep 3600 >/dev/null 2>&1 & echo $!\"]).stdout }",
    );
    // What it returns is no decision; the number is in the error of the second, which logs it.
    desk.write(
        "scripts/it.rhai",
        "fn format_alert(a, s) { exec(\"/bin/sh\", [\"-c\", \"/bin/sleep 3600 >/dev/null 2>&1 & echo $!\"]).stdout }",
    );
    let returned = desk
        .call(HookName::FormatAlert, vec![json!({}), json!({})])
        .await;
    let returned = returned.unwrap().unwrap();
    let pid: u32 = returned.as_str().unwrap().trim().parse().unwrap();
    let begun = Instant::now();
    while std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z"))
    {
        assert!(begun.elapsed() < Duration::from_secs(2), "{pid} lives");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_child_that_says_nonsense_is_an_error_and_no_more() {
    for (what, body, expected) in [
        (
            "no JSON",
            "echo hello",
            "gave no verdict and ended with code 0",
        ),
        ("no UTF-8", "printf '\\377\\376'", "gave no verdict"),
        ("nothing", "exit 3", "ended with code 3"),
        ("a signal", "kill -9 $$", "was ended by signal 9"),
        ("far too much", "yes", "took longer than 2s"),
        (
            "too much and an end",
            "yes | head -c 1000000",
            "said more than 64 KiB",
        ),
        (
            "another shape",
            "echo '{\"Returned\": 1, \"x\": 2}'",
            "gave no verdict",
        ),
        ("a hang", "sleep 3600", "took longer than 2s"),
        ("noise on stderr", "yes >&2", "took longer than 2s"),
    ] {
        let desk = desk("fn before_job(j) { }");
        let program = desk.path("child");
        std::fs::write(&program, format!("#!/bin/sh\nPATH=/bin:/usr/bin\n{body}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (before, begun) = (resident_bytes(), Instant::now());
        let hooks = desk.hooks_by(&program);
        let called = hooks.call(HookName::BeforeJob, None, vec![json!({})]).await;
        let error = called.unwrap_err();
        assert!(error.message.contains(expected), "{what}: {error}");
        assert!(
            begun.elapsed() < ENDS_WITHIN,
            "{what}: {:?}",
            begun.elapsed()
        );
        let grown = resident_bytes().saturating_sub(before);
        assert!(grown < GROWTH_MAX_BYTES, "{what}: {grown}");
    }
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_of_the_call() {
    let desk = desk("fn before_job(j) { }");
    let hooks = desk.hooks_by(&desk.path("nowhere"));
    let error = hooks
        .call(HookName::BeforeJob, None, vec![json!({})])
        .await
        .unwrap_err();
    assert_eq!(error.kind, HookErrorKind::Died);
    assert!(error.message.contains("cannot be used"), "{error}");
}
