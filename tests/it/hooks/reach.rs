//! What a script reaches outside itself, with real servers and real programs: what is listed, and nothing else.

use serde_json::{Value, json};

use super::text_of;
use crate::alerts::server::{Manner, Server};

/// Long enough for a machine with much to do; no test here waits for it.
const UNHURRIED: &str = "timeout = \"60s\"\n";

/// `[hooks]` with these servers listed, by their addresses.
fn allowing(servers: &[&Server]) -> String {
    let urls = servers
        .iter()
        .map(|server| format!("\"http://{}\"", server.address));
    let urls: Vec<String> = urls.collect();
    format!("{UNHURRIED}http_allow = [{}]", urls.join(", "))
}

async fn answered(expression: &str, settings: &str) -> Value {
    let returned = text_of(expression, settings).await;
    returned
        .unwrap_or_else(|error| panic!("{expression}: {error}"))
        .unwrap()
}

async fn refused(expression: &str, settings: &str) -> String {
    let returned = text_of(expression, settings).await;
    let error = returned.expect_err(expression);
    let (_, line_and_column) = error.place.split_once("it.rhai:").unwrap();
    assert!(line_and_column.starts_with("1:"), "{error}");
    error.message
}

#[tokio::test]
async fn a_listed_host_is_asked_and_its_answer_comes_back() {
    let server = Server::start().await;
    let settings = allowing(&[&server]);
    let url = server.url("hello?a=b");
    let got = answered(
        &format!("http_get(\"{url}\", #{{ \"x-token\": \"t1\" }})"),
        &settings,
    )
    .await;
    assert_eq!(got, json!({ "status": 200, "body": "ok" }));
    server.behave(Manner::Status(503, &[], "later"));
    let body = "#{ name: \"orders\", rows: 3 }";
    let got = answered(&format!("http_post(\"{url}\", {body})"), &settings).await;
    assert_eq!(got, json!({ "status": 503, "body": "later" }));
    let got = answered(&format!("http_post(\"{url}\", \"plain\")"), &settings).await;
    assert_eq!(got["status"], 503);

    let requests = server.got("hello");
    let methods: Vec<&str> = requests.iter().map(|got| got.method.as_str()).collect();
    assert_eq!(methods, ["GET", "POST", "POST"]);
    assert_eq!(requests[0].path, "/hello?a=b");
    assert_eq!(requests[0].headers["x-token"], "t1");
    assert_eq!(requests[1].json(), json!({ "name": "orders", "rows": 3 }));
    assert_eq!(requests[1].headers["content-type"], "application/json");
    assert_eq!(requests[2].text(), "plain");
}

#[tokio::test]
async fn a_redirect_is_followed_to_no_other_host() {
    let (server, other) = (Server::start().await, Server::start().await);
    let settings = allowing(&[&server]);
    let get = format!("http_get(\"{}\")", server.url("begin"));
    for (to, named) in [
        ("https://example.org/x".to_owned(), "https://example.org"),
        (
            "http://169.254.169.254/latest".to_owned(),
            "http://169.254.169.254",
        ),
        ("//[::1]/x".to_owned(), "http://[::1]"),
        (other.url("caught"), "http://127.0.0.1"),
    ] {
        server.behave(Manner::Redirects(to.clone()));
        let message = refused(&get, &settings).await;
        let expected = format!("it redirects to another host, `{named}");
        assert!(message.starts_with(&expected), "{to}: {message}");
        assert!(message.contains("\nhint: "), "{to}: {message}");
    }
    // What is no web address is not even tried.
    server.behave(Manner::Redirects("file:///etc/passwd".to_owned()));
    let settings = allowing(&[&server]);
    assert_eq!(
        answered(&get, &settings).await,
        json!({ "status": 302, "body": "" })
    );
    // Whoever may be called is called by the script, not by a server.
    server.behave(Manner::Redirects(other.url("caught")));
    let message = refused(&get, &allowing(&[&server, &other])).await;
    assert!(message.contains("redirects to another host"), "{message}");
    assert!(other.got("").is_empty());
}

#[tokio::test]
async fn a_redirect_in_a_circle_ends() {
    let server = Server::start().await;
    server.behave(Manner::Redirects(server.url("again")));
    let get = format!("http_get(\"{}\")", server.url("begin"));
    let message = refused(&get, &allowing(&[&server])).await;
    assert!(message.contains("redirects too often"), "{message}");
    assert_eq!(server.got("").len(), 4);
}

#[tokio::test]
async fn an_answer_may_have_a_mebibyte_and_no_more() {
    let server = Server::start().await;
    let settings = allowing(&[&server]);
    let url = server.url("long");
    for bytes in [300_000, 1 << 20] {
        server.behave(Manner::Says(bytes));
        let text = format!("http_get(\"{url}\").body.len.to_string()");
        assert_eq!(answered(&text, &settings).await, json!(bytes.to_string()));
    }
    for bytes in [(1 << 20) + 1, 50 << 20] {
        server.behave(Manner::Says(bytes));
        let message = refused(&format!("http_get(\"{url}\")"), &settings).await;
        assert!(
            message.starts_with("the answer is longer than 1 MiB"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_host_that_does_not_answer_takes_the_time_of_the_hook() {
    let server = Server::start().await;
    server.behave(Manner::Hangs);
    let settings = allowing(&[&server]).replace("60s", "1s");
    let message = refused(&format!("http_get(\"{}\")", server.url("x")), &settings).await;
    assert_eq!(message, "the host did not answer in the time the hook has");
}

#[tokio::test]
async fn a_listed_program_gives_its_output_and_its_code() {
    let settings = format!("{UNHURRIED}exec_allow = [\"/bin/sh\"]");
    let script = "exec(\"/bin/sh\", [\"-c\", \"echo out; echo err >&2; exit 3\"])";
    let expected = json!({ "code": 3, "stdout": "out\n", "stderr": "err\n" });
    assert_eq!(answered(script, &settings).await, expected);
    // No shell looks at an argument.
    let script = "exec(\"/bin/sh\", [\"-c\", \"echo \\\"$1\\\"\", \"sh\", \"a; $(id) *\"]).stdout";
    assert_eq!(answered(script, &settings).await, json!("a; $(id) *\n"));
}

#[tokio::test]
async fn a_program_gets_a_clean_environment() {
    let settings =
        format!("{UNHURRIED}exec_allow = [\"/usr/bin/env\", \"/bin/pwd\"]\nenv_allow = [\"PATH\"]");
    assert_eq!(
        answered("exec(\"/usr/bin/env\").stdout", &settings).await,
        json!("")
    );
    assert_eq!(
        answered("exec(\"/bin/pwd\").stdout", &settings).await,
        json!("/\n")
    );
}

#[tokio::test]
async fn a_gigabyte_of_output_is_cut() {
    let settings = format!("{UNHURRIED}exec_allow = [\"/usr/bin/head\"]");
    // Bytes that are no text become longer ones, and are cut as well.
    let script =
        "exec(\"/usr/bin/head\", [\"-c\", \"1000000\", \"/dev/urandom\"]).stdout.bytes <= 524288";
    assert_eq!(
        answered(&format!("if {script} {{ \"cut\" }}"), &settings).await,
        json!("cut")
    );
    let script = "let r = exec(\"/usr/bin/head\", [\"-c\", \"1000000000\", \"/dev/zero\"]); \
                  `${r.stdout.len} ${r.code}`";
    assert_eq!(answered(script, &settings).await, json!("524288 0"));
}

#[tokio::test]
async fn a_program_is_named_as_it_is_listed() {
    let settings = format!("{UNHURRIED}exec_allow = [\"/bin/sh\"]");
    for program in [
        "sh",
        "bin/sh",
        "./sh",
        "/bin/../bin/sh",
        "/bin/sh -c",
        "/bin/cat",
        "",
    ] {
        let message = refused(&format!("exec(\"{program}\", [\"-c\", \"id\"])"), &settings).await;
        let expected = format!("the program `{program}` may not be started\nhint: ");
        assert!(message.starts_with(&expected), "{message}");
    }
}

#[tokio::test]
async fn a_listed_program_that_is_not_there_is_an_error() {
    let settings = format!("{UNHURRIED}exec_allow = [\"/nowhere/at/all\"]");
    let message = refused("exec(\"/nowhere/at/all\")", &settings).await;
    assert!(
        message.starts_with("`/nowhere/at/all` cannot be run: "),
        "{message}"
    );
}
