//! What each route answers, from real state, and to what it should not be asked.

use std::collections::BTreeSet;

use patina::http::{OPENAPI, endpoints};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::{TODAY, World, from_anywhere, full_key, json};

fn keys(value: &Value) -> BTreeSet<&str> {
    let object = value.as_object().unwrap_or_else(|| panic!("{value}"));
    object.keys().map(String::as_str).collect()
}

#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    let there = keys(value);
    for field in fields {
        assert!(there.contains(field), "`{field}` is not in {value}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_answers_with_the_fields_of_the_specification() {
    let world = World::new("").await;
    let (status, about) = json(world.get("/")).await;
    assert_eq!(status, StatusCode::OK);
    has(
        &about,
        &[
            "name",
            "version",
            "description",
            "schedule",
            "retention",
            "databases",
        ],
    );
    assert_eq!(about["name"], "Patina");
    assert_eq!(about["schedule"], "Every day at 3:00 AM UTC");
    assert_eq!(about["retention"], "12 weeks");
    assert_eq!(about["databases"], 2);
    for route in [
        "GET /",
        "GET /status",
        "GET /list",
        "POST /trigger",
        "GET /download/:date/:db",
    ] {
        assert!(about["endpoints"][route].is_string(), "{about}");
    }

    let (_, status) = json(world.get("/status")).await;
    assert_eq!(status["currentStatus"], "idle");
    let last = &status["lastBackup"];
    has(
        last,
        &[
            "jobId",
            "date",
            "status",
            "successful",
            "failed",
            "totalSize",
            "duration",
        ],
    );
    assert_eq!(
        (&last["successful"], &last["failed"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(last["date"], TODAY);
    assert_eq!(status["nextScheduled"], "2026-12-01T03:00:00Z");
    let recent = &status["recentJobs"][0];
    assert_eq!(
        keys(recent),
        BTreeSet::from(["databases", "date", "jobId", "status"])
    );
    assert_eq!(recent["databases"], json!({ "successful": 2, "failed": 0 }));
    let storage = &status["storage"];
    has(
        storage,
        &["totalBackups", "totalSize", "oldestBackup", "newestBackup"],
    );
    assert_eq!(storage["totalBackups"], 2);
    assert_eq!(storage["newestBackup"], TODAY);
    let blog = &status["databases"][0];
    assert_eq!(
        (&blog["database"], &blog["staleness"]),
        (&json!("blog"), &json!("ok"))
    );
    assert_eq!(blog["lastGood"]["evidence"], "A");
    assert!(blog["verifiedAgeSeconds"].is_u64(), "{blog}");

    let (_, list) = json(world.get("/list?database=blog")).await;
    assert_eq!((&list["total"], &list["filtered"]), (&json!(2), &json!(1)));
    let copy = &list["backups"][0];
    assert_eq!(copy["r2Key"], format!("daily/{TODAY}/blog.sql"));
    assert_eq!((&copy["tables"], &copy["rows"]), (&json!(1), &json!(3000)));
    assert_eq!(copy["createdAt"], format!("{TODAY}T03:00:00Z"));
    assert_eq!(copy["expiresAt"], "2026-12-08T00:00:00Z");
    assert!(copy["size"].as_str().unwrap().ends_with(" MB"), "{copy}");

    let id = last["jobId"].as_str().unwrap();
    let (_, job) = json(world.get(&format!("/jobs/{id}"))).await;
    assert_eq!(job["status"], "completed");
    assert_eq!(job["results"].as_array().unwrap().len(), 2);
    let (status, health) = json(world.get("/healthz")).await;
    assert_eq!(
        (status, health),
        (StatusCode::OK, json!({ "status": "ok" }))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_goes_on_page_by_page_and_reaches_into_archives() {
    let world = World::with_archive().await;
    let (mut seen, mut after) = (Vec::new(), String::new());
    for _ in 0..4 {
        let (_, page) = json(world.with_key(&format!("/list?limit=1{after}"))).await;
        assert_eq!((&page["total"], &page["filtered"]), (&json!(4), &json!(4)));
        let copy = page["backups"][0].clone();
        assert!(copy["rows"].as_u64().unwrap() > 0, "{copy}");
        after = format!("&after={}", page["next"].as_str().unwrap());
        seen.push((copy["date"].to_string(), copy["archive"].is_string()));
    }
    let (_, end) = json(world.with_key(&format!("/list?limit=1{after}"))).await;
    assert_eq!((&end["backups"], &end["next"]), (&json!([]), &Value::Null));
    let day = |date: &str, is_archived| (format!("\"{date}\""), is_archived);
    let (new, old) = (day(TODAY, false), day("2026-11-10", true));
    assert_eq!(seen, [new.clone(), new, old.clone(), old]);
    let (_, page) = json(world.with_key("/list?date=2026-11-10&database=shop")).await;
    assert_eq!((&page["total"], &page["filtered"]), (&json!(4), &json!(1)));
    assert_eq!(page["backups"][0]["rows"], 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_refused_in_json_that_says_why() {
    let world = World::new(&full_key()).await;
    for (path, status, told) in [
        ("/list?database=nope", 404, "no database is called `nope`"),
        ("/list?database=Not+A+Name", 400, "`database`"),
        (
            "/list?date=2026-02-30",
            400,
            "`date` cannot be `2026-02-30`",
        ),
        ("/list?limit=0", 400, "from 1 to 1000"),
        ("/list?limit=x", 400, "from 1 to 1000"),
        ("/list?limit=1&limit=2", 400, "twice"),
        ("/list?databse=x", 400, "no parameter `databse`"),
        ("/list?after=../../etc", 400, "`after`"),
        ("/jobs/none", 404, "no job `none`"),
        ("/jobs/550e8400-e29b-41d4-a716-446655440000", 404, "no job"),
        (
            "/download/2026-02-30/blog",
            400,
            "`2026-02-30` is not a day",
        ),
        (
            "/download/2026-11-30/nope",
            404,
            "no database is called `nope`",
        ),
        (
            "/download/2026-11-30/..%2Fetc",
            404,
            "no database is called `../etc`",
        ),
        (
            "/download/2026-11-29/blog",
            404,
            "no copy of `blog` of 2026-11-29",
        ),
        (
            "/download/2026-11-30/blog?storage=x",
            404,
            "no storage is called `x`",
        ),
        ("/nothing/here", 404, "no such path"),
        ("/trigger", 405, "does not answer GET"),
    ] {
        let (found, body) = json(world.with_key(path)).await;
        assert_eq!(found.as_u16(), status, "{path}: {body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(told), "{path}: {body}");
        assert!(body["error"].is_string(), "{body}");
        let inside = world.folder.path().display().to_string();
        assert!(!body.to_string().contains(&inside), "{body}");
    }
    let near = json(world.with_key("/list?database=blo")).await.1;
    assert_eq!(near["hint"], "did you mean `blog`?");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_are_kept_by_no_cache_and_carry_an_id_that_no_client_sets() {
    let world = World::new(&from_anywhere(&full_key())).await;
    let mut ids = BTreeSet::new();
    for path in ["/status", "/list", "/nothing", "/download/2026-11-30/shop"] {
        let request = world.with_key(path).header("X-Request-Id", "mine");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["cache-control"], "no-store", "{path}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff");
        ids.insert(
            response.headers()["x-request-id"]
                .to_str()
                .unwrap()
                .to_owned(),
        );
    }
    assert_eq!(ids.len(), 4);
    assert!(!ids.contains("mine"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_describes_every_route_and_no_other() {
    let world = World::new(&full_key()).await;
    let (_, served) = json(world.get("/openapi.json")).await;
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    assert_eq!(served, document);
    let mut described = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            described.insert((method.to_uppercase(), path.clone()));
            let plain = path
                .replace("{id}", "none")
                .replace("{date}", "x")
                .replace("{db}", "x");
            let wanted: Method = method.to_uppercase().parse().unwrap();
            let known = world.request(wanted.clone(), &plain).send().await.unwrap();
            assert_ne!(known.status(), StatusCode::METHOD_NOT_ALLOWED, "{path}");
            let is_open = known.status() != StatusCode::UNAUTHORIZED;
            assert_eq!(
                is_open,
                operation["security"] == json!([]),
                "{method} {path}"
            );
            assert!(
                !operation["responses"].as_object().unwrap().is_empty(),
                "{path}"
            );
        }
    }
    let routes = endpoints().into_iter();
    let routes: BTreeSet<_> = routes
        .map(|route| (route.method.to_owned(), route.path.to_owned()))
        .collect();
    assert!(routes.len() >= 9, "routes moved?");
    assert_eq!(described, routes);
    // A reference that leads nowhere would break every reader.
    let mut references = 0;
    for part in OPENAPI.split("\"$ref\": \"#").skip(1) {
        let pointer = part.split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
        references += 1;
    }
    assert!(references > 20, "{references}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_is_what_the_document_says() {
    let world = World::with_archive().await;
    world.rehearse().await;
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let schema = |name: &str| document["components"]["schemas"][name].clone();
    let id = json(world.with_key("/status")).await.1["lastBackup"]["jobId"].clone();
    let job = format!("/jobs/{}", id.as_str().unwrap());
    for (path, name) in [
        ("/", "About"),
        ("/status", "Status"),
        ("/list", "List"),
        (&job, "Job"),
    ] {
        let (_, answer) = json(world.with_key(path)).await;
        let schema = schema(name);
        check(&document, &schema, &answer, name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answer_to_another_hosts_name_is_described_wherever_it_is_given() {
    let world = World::new("allow_ips = [\"127.0.0.1\"]").await;
    let document: Value = serde_json::from_str(OPENAPI).unwrap();
    let (mut refused, mut open) = (0, 0);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let plain = path
                .replace("{id}", "550e8400-e29b-41d4-a716-446655440000")
                .replace("{date}", "2026-11-30")
                .replace("{db}", "blog");
            let wanted: Method = method.to_uppercase().parse().unwrap();
            let request = world.request(wanted, &plain).header("Host", "evil.example");
            let response = request.send().await.unwrap();
            let status = response.status();
            let described = &operation["responses"][status.as_str()];
            assert!(described.is_object(), "{method} {path}: {status}");
            if status != StatusCode::MISDIRECTED_REQUEST {
                assert_eq!(operation["security"], json!([]), "{method} {path}");
                open += 1;
                continue;
            }
            let pointer = &described["$ref"].as_str().unwrap()[1..];
            let described = document.pointer(pointer).unwrap();
            let schema = &described["content"]["application/json"]["schema"];
            let answer: Value = response.json().await.unwrap();
            check(&document, schema, &answer, path);
            refused += 1;
        }
    }
    assert!(
        refused >= 10 && open >= 2,
        "{refused} {open}: routes moved?"
    );
}

/// Every required field is there and no field is there that is not described, all the way down.
fn check(document: &Value, schema: &Value, answer: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        let schema = document.pointer(&reference[1..]).unwrap();
        return check(document, schema, answer, at);
    }
    if let Some(ways) = schema["oneOf"].as_array() {
        return match answer.is_null() {
            true => assert!(ways.contains(&json!({ "type": "null" })), "{at}"),
            false => check(document, &ways[0], answer, at),
        };
    }
    if let (Some(fields), Some(object)) = (schema["properties"].as_object(), answer.as_object()) {
        for name in schema["required"].as_array().unwrap() {
            assert!(object.contains_key(name.as_str().unwrap()), "{at}.{name}");
        }
        for (name, value) in object {
            let field = fields.get(name);
            let field = field.unwrap_or_else(|| panic!("{at}.{name} is not described"));
            check(document, field, value, &format!("{at}.{name}"));
        }
    }
    for (number, item) in answer.as_array().into_iter().flatten().enumerate() {
        check(document, &schema["items"], item, &format!("{at}[{number}]"));
    }
    let kind = match answer {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    match &schema["type"] {
        Value::String(wanted) => assert_eq!(kind, wanted, "{at}"),
        Value::Array(kinds) => {
            let is_number = kind == "integer" && kinds.contains(&json!("number"));
            assert!(is_number || kinds.contains(&json!(kind)), "{at}: {answer}");
        }
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_rehearsal_is_told_with_its_age() {
    let world = World::new("").await;
    let (_, before) = json(world.get("/status")).await;
    assert!(before["lastDrill"].is_null() && before["databases"][0]["drilledAgeSeconds"].is_null());
    world.rehearse().await;
    world.clock.0.advance(std::time::Duration::from_secs(3600));
    let (_, status) = json(world.get("/status")).await;
    let last = &status["lastDrill"];
    assert_eq!((&last["good"], &last["cold"]), (&json!(true), &json!(true)));
    assert_eq!(last["databases"], json!({ "successful": 2, "failed": 0 }));
    assert!(last["ageSeconds"].as_u64().unwrap() >= 3_590, "{last}");
    assert!(
        status["databases"][0]["drilledAgeSeconds"]
            .as_u64()
            .unwrap()
            >= 3_600
    );
    let tasks = status["nextRuns"].as_array().unwrap();
    assert!(tasks.iter().any(|run| run["task"] == "drill"), "{tasks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_between_two_requests_is_never_old() {
    let world = World::new("").await;
    let total = async || json(world.get("/list")).await.1["total"].clone();
    let last = async || json(world.get("/status")).await.1["lastBackup"]["jobId"].clone();
    let (before, first) = (total().await, last().await);
    assert_eq!((&before, &first), (&total().await, &last().await));
    world.night().await;
    assert_eq!((before, total().await), (json!(2), json!(4)));
    assert_ne!(first, last().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guide_and_the_runbook_are_documents_or_markdown_and_reading_one_is_written_down() {
    let world = World::new("").await;
    let (status, guide) = json(world.get("/restore-guide/blog")).await;
    assert_eq!(status, StatusCode::OK);
    let fields = [
        "database",
        "databaseId",
        "description",
        "priority",
        "availableBackups",
        "restoreInstructions",
    ];
    has(&guide, &fields);
    let way = &guide["restoreInstructions"]["method3_patina"];
    has(way, &["name", "steps", "warning"]);
    let page = world
        .get("/restore-guide/blog")
        .header("accept", "text/markdown");
    let page = page.send().await.unwrap().text().await.unwrap();
    assert!(page.starts_with("# Get `blog` back"), "{page}");
    let (_, runbook) = json(world.get("/runbook")).await;
    assert_eq!(
        runbook["databases"][0]["database"], "blog",
        "critical first"
    );
    assert_eq!(runbook["databases"][1]["order"], 2);
    let (status, refused) = json(world.get("/restore-guide/blag")).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(
        refused["message"].as_str().unwrap().contains("blag"),
        "{refused}"
    );
    let rows = world.audit();
    let read: Vec<&str> = rows.iter().map(|row| row.audit.subject.as_str()).collect();
    assert_eq!(read, ["blog", "blog", "runbook"]);
}
