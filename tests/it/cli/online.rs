//! `patina check --online` against the real D1 engine and a real S3 server: what works, and each way to fail.

use std::net::TcpListener;
use std::sync::Arc;

use patina::types::Sha256;
use serde_json::Value;

use super::discover::account;
use super::{Place, Ran};
use crate::d1::engine::{ACCOUNT, Engine, TOKEN};
use crate::s3::proxy::{Fault, Op, Plan, Proxy};
use crate::s3::server::{
    ACCESS_KEY_ID, BUCKET, READER_KEY_ID, READER_SECRET, SECRET_ACCESS_KEY, Server,
};

const UNKNOWN: &str = "45eae4c7-8ae7-4078-9218-8e1677a4360f";

fn bucket(endpoint: &str, id: &str, secret: &str) -> String {
    format!(
        "[[storage]]\nname = \"r2\"\n[storage.s3]\nendpoint = \"{endpoint}\"\nbucket = \"{BUCKET}\"\nprefix = \"p\"\n\
         access_key_id = \"{id}\"\nsecret_access_key = \"{secret}\"\n"
    )
}

fn sink(name: &str, url: &str, is_private: bool) -> String {
    format!(
        "[[alerts.sink]]\nname = \"{name}\"\nwebhook = \"{url}\"\nallow_private = {is_private}\n"
    )
}

fn place(config: &str) -> Place {
    let place = Place::with(&["blog"], "");
    let config = format!(
        "{}[agent]\nname = \"one\"\n{config}",
        place.read("patina.toml")
    );
    place.write_private("patina.toml", &config);
    place
}

/// The trial of this name, from `--json`.
#[track_caller]
fn trial(place: &Place, code: i32, name: &str) -> (String, String) {
    let ran = place.ends(code, &["--json", "check", "--online"]);
    let document: Value = serde_json::from_str(&ran.out).unwrap();
    let trials = document["online"].as_array().unwrap();
    let found = trials.iter().find(|trial| trial["name"] == name);
    let found = found.unwrap_or_else(|| panic!("no trial of `{name}`: {trials:?}"));
    let text = |key: &str| found[key].as_str().unwrap_or_default().to_owned();
    (text("result"), text("message"))
}

/// The names of all objects in the bucket.
fn left(engine: &Engine, server: &Server) -> Vec<String> {
    let client = server.client();
    let listed = client.list_objects_v2().bucket(BUCKET).send();
    let listed = engine.runtime().block_on(listed).unwrap();
    let names = listed.contents().iter().filter_map(|object| object.key());
    names.map(str::to_owned).collect()
}

#[test]
fn what_works_is_told_and_leaves_nothing_behind() {
    let engine = Engine::start();
    let server = engine.runtime().block_on(Server::start());
    let id = engine.create("groveauth");
    let config = [
        account(&engine.url(), ACCOUNT, "read-token"),
        format!("[[database]]\nname = \"auth\"\nd1 = \"{id}\"\n"),
        "[[storage]]\nname = \"local\"\ndirectory = \"backups\"\n".to_owned(),
        bucket(&server.endpoint(), ACCESS_KEY_ID, SECRET_ACCESS_KEY),
        sink("ops", &format!("{}/hooks/very-secret", engine.url()), true),
    ];
    let place = place(&config.concat());
    let (result, message) = trial(&place, 0, "local");
    assert_eq!(result, "remark");
    assert!(
        message.contains("is not there yet; the first backup makes it"),
        "{message}"
    );
    assert!(!place.path("backups").exists() && !place.path("state").exists());
    std::fs::create_dir(place.path("backups")).unwrap();
    // What killed trials left is swept; what only looks like it is not.
    let mark = Sha256::of(b"one").to_string();
    let dead = format!(".patina-probe-{}-1000-dead", &mark[..16]);
    place.write(&format!("backups/{dead}"), "");
    place.write("backups/.patina-probe-other-1000-dead", "");
    let put = server
        .client()
        .put_object()
        .bucket(BUCKET)
        .key(format!("p/{dead}"));
    engine.runtime().block_on(put.send()).unwrap();
    let ran: Ran = place.ok(&["check", "--online"]);
    for line in [
        "database  auth",
        "database  blog",
        "storage   local",
        "storage   r2",
        "sink      ops",
        "token     cloudflare",
    ] {
        ran.says(&format!("ok      {line}"));
    }
    for secret in ["very-secret", "read-token", SECRET_ACCESS_KEY] {
        assert!(!format!("{ran:?}").contains(secret), "{secret}: {ran:?}");
    }
    assert_eq!(
        place.files("backups"),
        [place.path("backups/.patina-probe-other-1000-dead")]
    );
    assert_eq!(left(&engine, &server), Vec::<String>::new());
}

#[test]
fn a_token_that_may_do_more_than_read_is_told() {
    let engine = Engine::start();
    let id = engine.create("groveauth");
    for (token, words) in [
        (TOKEN, "it can also write to D1"),
        (
            "wide-token",
            "(restoring needs that, backups do not), read zones\nhint: ",
        ),
    ] {
        let database = format!("[[database]]\nname = \"auth\"\nd1 = \"{id}\"\n");
        let place = place(&format!(
            "{}{database}",
            account(&engine.url(), ACCOUNT, token)
        ));
        let (result, message) = trial(&place, 0, "cloudflare");
        assert_eq!(result, "remark", "{message}");
        let words = words.replace("it can", "the API token can");
        assert!(message.contains(&words), "{message}");
    }
}

#[test]
fn each_way_a_bucket_fails_is_told_and_no_probe_is_left() {
    let engine = Engine::start();
    let server = engine.runtime().block_on(Server::start());
    let plan = Arc::new(Plan::default());
    let rules = Arc::clone(&plan);
    let proxy = engine
        .runtime()
        .block_on(Proxy::start(server.port(), rules as _));
    let place = place(&bucket(&proxy.endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    let check = |words: &str| {
        let (result, message) = trial(&place, 3, "r2");
        assert_eq!(result, "failed", "{message}");
        assert!(message.contains(words), "`{words}` is not in: {message}");
    };
    plan.always(Op::Put, Fault::refuse(403, "AccessDenied"));
    place
        .ends(3, &["check", "--online"])
        .complains("error: storage `r2`: cannot write a probe: ");
    check("storage `r2`: cannot write a probe: ");
    plan.heal();
    plan.always(Op::Get, Fault::FlipAnswer { at: 3 });
    check("storage `r2`: cannot read its probe back: it gives back other bytes than were written");
    plan.heal();
    assert_eq!(left(&engine, &server), Vec::<String>::new());
    // No backup lists or removes anything.
    let remark = |words: &str| {
        let (result, message) = trial(&place, 0, "r2");
        assert_eq!(result, "remark", "{message}");
        assert!(message.contains(words), "`{words}` is not in: {message}");
    };
    plan.always(Op::List, Fault::Hang);
    remark("storage `r2`: cannot list its objects: no answer within 9s; copies are stored");
    plan.heal();
    plan.always(Op::Delete, Fault::refuse(403, "AccessDenied"));
    remark("storage `r2`: cannot remove its probe: ");
    plan.heal();
    let stays = left(&engine, &server);
    assert_eq!(stays.len(), 3, "{stays:?}");
    // The second write of a taken name is let through.
    plan.break_at(
        Op::Put,
        [2],
        &Fault::Instead {
            status: 200,
            body: String::new(),
        },
    );
    remark("has no conditional writes");
    let reader = bucket(&server.endpoint(), READER_KEY_ID, READER_SECRET);
    let reader = self::place(&reader);
    let (_, message) = trial(&reader, 3, "r2");
    assert!(
        message.contains("cannot write a probe: ") && message.contains("hint: "),
        "{message}"
    );
    assert_eq!(
        left(&engine, &server),
        stays,
        "only those that could not be removed"
    );
}

#[test]
fn a_bucket_that_hangs_ends_in_time_and_its_probe_is_removed() {
    let engine = Engine::start();
    let server = engine.runtime().block_on(Server::start());
    let plan = Arc::new(Plan::default());
    let rules = Arc::clone(&plan);
    let proxy = engine
        .runtime()
        .block_on(Proxy::start(server.port(), rules as _));
    let place = place(&bucket(&proxy.endpoint, ACCESS_KEY_ID, SECRET_ACCESS_KEY));
    plan.always(Op::Get, Fault::Hang);
    let started = std::time::Instant::now();
    let (result, message) = trial(&place, 3, "r2");
    assert_eq!(result, "failed");
    assert!(message.contains("storage `r2`: cannot"), "{message}");
    assert!(message.contains("no answer within 9s"), "{message}");
    assert!(started.elapsed().as_secs() < 30, "{:?}", started.elapsed());
    assert!(plan.seen(Op::Delete) >= 1);
    assert_eq!(left(&engine, &server), Vec::<String>::new());
}

#[test]
fn each_way_a_source_or_a_folder_fails_is_told() {
    let engine = Engine::start();
    let config = [
        account(&engine.url(), ACCOUNT, "wrong-token"),
        format!("[[database]]\nname = \"auth\"\nd1 = \"{UNKNOWN}\"\n"),
        "[[database]]\nname = \"gone\"\nsqlite = \"gone.db\"\n".to_owned(),
        "[[database]]\nname = \"text\"\nsqlite = \"text.db\"\n".to_owned(),
        "[[database]]\nname = \"busy\"\nsqlite = \"busy.db\"\n".to_owned(),
        "[[storage]]\nname = \"local\"\ndirectory = \"text.db\"\n".to_owned(),
    ];
    let place = place(&config.concat());
    place.write("text.db", "not a database");
    super::small_database(&place.path("busy.db"), 3);
    let busy = rusqlite::Connection::open(place.path("busy.db")).unwrap();
    busy.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let ran = place.ends(3, &["check", "--online"]);
    for words in [
        "error: database `auth`: Cloudflare does not accept the API token: Authentication error\nhint: ",
        "error: token `cloudflare`: Cloudflare does not accept the API token",
        "does not exist\nhint: correct its path",
        "busy.db` is locked by another process; waited 5000 ms\nhint: ",
        "it does not begin with `SQLite format 3`\nhint: ",
        "is not a directory\nhint: ",
    ] {
        ran.complains(words);
    }
    assert!(!format!("{ran:?}").contains("wrong-token"), "{ran:?}");
    let text = place
        .read("patina.toml")
        .replace("wrong-token", "read-token");
    place.write_private("patina.toml", &text);
    let (_, message) = trial(&place, 3, "auth");
    assert!(
        message.contains("the account has no such D1 database")
            && message.contains("hint: `patina discover`"),
        "{message}"
    );
    std::fs::remove_file(place.path("blog.db")).unwrap();
    std::fs::remove_file(place.path("busy.db")).unwrap();
    let text = text.replace("read-token", "wrong-token");
    place.write_private("patina.toml", &text);
    place.ends(1, &["check", "--online"]);
}

#[test]
fn each_way_a_sink_fails_is_told_without_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let closed = listener.local_addr().unwrap().port();
    drop(listener);
    let engine = Engine::start();
    let port = engine.port;
    let config = [
        sink(
            "closed",
            &format!("http://127.0.0.1:{closed}/very-secret"),
            true,
        ),
        sink(
            "private",
            &format!("http://127.0.0.1:{port}/very-secret"),
            false,
        ),
        sink("unknown", "https://very-secret.invalid/x", true),
        sink(
            "plain",
            &format!("https://127.0.0.1:{port}/very-secret"),
            true,
        ),
    ];
    let place = place(&config.concat());
    let ran = place.ends(3, &["check", "--online"]);
    for words in [
        "error: sink `closed`: it cannot be reached: ",
        "error: sink `private`: its address is one of this host\nhint: `allow_private = true`",
        "error: sink `unknown`: its host name is not known\nhint: ",
        "error: sink `plain`: it cannot be reached: ",
    ] {
        ran.complains(words);
    }
    assert!(!format!("{ran:?}").contains("very-secret"), "{ran:?}");
}
