//! Wishes for a backup: one at a time, none lost, all told.

use patina::catalog::JobStatus;
use patina::progress::{Board, Stage};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{World, json};

async fn trigger(world: &World, body: &str) -> (StatusCode, Value) {
    let request = world.request(Method::POST, "/trigger");
    json(request.body(body.to_owned())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_wishes_at_once_become_one_job_and_the_others_hear_its_id() {
    let world = World::empty("", "", None).await;
    let wishes = (0..20).map(|_| trigger(&world, ""));
    let answers = futures_util::future::join_all(wishes).await;
    let accepted: Vec<&Value> = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::ACCEPTED)
        .map(|(_, body)| body)
        .collect();
    let [started] = accepted[..] else {
        panic!("{answers:?}");
    };
    assert_eq!(started["status"], "started");
    assert_eq!(started["databases"], 2);
    assert_eq!(
        started["message"],
        "Backup job started. Check /status for progress."
    );
    for (status, body) in &answers {
        assert_eq!(body["jobId"], started["jobId"], "{status}");
    }
    let conflicts = answers
        .iter()
        .filter(|(status, _)| *status == StatusCode::CONFLICT);
    assert_eq!(conflicts.count(), 19);
    let request = world.catalog().open_request().unwrap().unwrap();
    assert_eq!(started["jobId"], request.job.to_string());
    let path = format!("/jobs/{}", request.job);
    let (_, job) = json(world.get(&path)).await;
    assert_eq!(job["status"], "queued");
    assert_eq!(
        json(world.get("/status")).await.1["currentStatus"],
        "running"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_names_its_databases_and_one_that_is_unknown_starts_nothing() {
    let world = World::empty("", "", None).await;
    for (body, status, told) in [
        (
            r#"{"databases": ["blog", "nope"]}"#,
            404,
            "no database is called `nope`",
        ),
        (r#"{"databases": ["Not A Name"]}"#, 404, "`Not A Name`"),
        (r#"{"databases": []}"#, 400, "`databases` is empty"),
        (r#"{"databases": "blog"}"#, 400, "line 1 column"),
        (r#"{"database": ["blog"]}"#, 400, "unknown field `database`"),
        ("{1, 2", 400, "line 1 column"),
        ("[1, 2", 400, "no JSON object"),
        ("\u{0}", 400, "no JSON object"),
        // A list would be taken for the fields of a wish, and all databases backed up.
        ("[null, null]", 400, "no JSON object"),
        (r#"[["blog"], "why"]"#, 400, "no JSON object"),
        ("[]", 400, "no JSON object"),
    ] {
        let (found, answer) = trigger(&world, body).await;
        assert_eq!(found.as_u16(), status, "{body}: {answer}");
        assert!(
            answer["message"].as_str().unwrap().contains(told),
            "{answer}"
        );
    }
    let long = json!({ "reason": "x".repeat(501) }).to_string();
    assert_eq!(trigger(&world, &long).await.0, StatusCode::BAD_REQUEST);
    assert_eq!(world.catalog().open_request().unwrap(), None);
    let body = r#"{"databases": ["blog", "blog"], "reason": "Pre-deployment backup"}"#;
    let (status, answer) = trigger(&world, body).await;
    assert_eq!(
        (status, &answer["databases"]),
        (StatusCode::ACCEPTED, &json!(1))
    );
    let request = world.catalog().open_request().unwrap().unwrap();
    assert_eq!(request.reason.as_deref(), Some("Pre-deployment backup"));
    assert_eq!(request.client, "address:127.0.0.1");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_a_job_s_progress_and_its_end_and_end_with_the_server() {
    let world = World::new("").await;
    let mut events = world.get("/events").send().await.unwrap();
    assert_eq!(events.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let mut until = async |wanted: &str| {
        while !text.contains(wanted) {
            let chunk = events.chunk().await.unwrap().expect("it goes on");
            text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
        std::mem::take(&mut text)
    };
    until("event: idle").await;
    let job = world.catalog().jobs(1).unwrap().remove(0);
    assert_eq!(job.status, JobStatus::Completed);
    let names = ["blog".parse().unwrap(), "shop".parse().unwrap()];
    let board = std::sync::Arc::new(Board::of_job(job.id, &names));
    let shown = world.live.show(&board);
    let progress = board.of(&names[0]);
    progress.enter(Stage::Export, 0);
    progress.expect_rows(200);
    progress.add_rows(50);
    let told = until("\"fraction\":0.25").await;
    assert!(told.contains("event: progress"), "{told}");
    assert!(told.contains("\"stage\":\"exporting\""), "{told}");
    drop(shown);
    let told = until("event: idle").await;
    assert!(told.contains("event: job"), "{told}");
    assert!(told.contains("\"status\":\"completed\""), "{told}");
    let ended = std::time::Instant::now();
    world.end().await;
    assert!(ended.elapsed() < std::time::Duration::from_secs(2));
    while events.chunk().await.unwrap().is_some() {}
}
