//! The whole way: from the real D1 engine by the real binary into the real S3 server, and from there into D1 again.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use patina::types::Sha256;
use serde_json::Value;

use super::engine::{ACCOUNT, Engine, TOKEN, wrangler_restore};
use super::proxy::{Fate, Proxy};
use super::torture::torture;
use super::{Bench, same};
use crate::s3::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};
use crate::torture::Shell;

/// A limit that no slow machine meets.
const PATIENT: &str = "timeout = \"5m\"\n";

const PREFIX: &str = "grove/";

/// Runs `patina --json backup` in `folder` for one database, with `more` about it; gives what it reports.
fn back_up(folder: &Path, url: &str, server: &Server, id: &str, more: &str) -> Value {
    let config = format!(
        "[agent]\nstate = \"state\"\n\
         [cloudflare]\naccount_id = \"{ACCOUNT}\"\napi_token = \"env:D1_TOKEN\"\napi_url = \"{}\"\n\
         [[storage]]\nname = \"bucket\"\n[storage.s3]\nendpoint = \"{}\"\nbucket = \"{BUCKET}\"\nregion = \"auto\"\n\
         prefix = \"{PREFIX}\"\naccess_key_id = \"env:S3_ID\"\nsecret_access_key = \"env:S3_SECRET\"\n\
         [[database]]\nname = \"torture\"\nd1 = \"{id}\"\n{more}",
        url,
        server.endpoint(),
    );
    std::fs::write(folder.join("patina.toml"), config).unwrap();
    let output = patina(folder);
    let told = String::from_utf8_lossy(&output.stderr);
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}{out}");
    for secret in [TOKEN, SECRET_ACCESS_KEY] {
        assert!(!told.contains(secret), "{told}");
    }
    serde_json::from_slice(&output.stdout).unwrap()
}

fn patina(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_patina"))
        .args(["--json", "backup"])
        .current_dir(folder)
        .env_remove("PATINA_CONFIG")
        .env_remove("RUST_LOG")
        .env("D1_TOKEN", TOKEN)
        .env("S3_ID", ACCESS_KEY_ID)
        .env("S3_SECRET", SECRET_ACCESS_KEY)
        .output()
        .unwrap()
}

/// An object, fetched by a client that knows nothing of patina.
fn fetch(engine: &Engine, server: &Server, key: &str) -> Vec<u8> {
    let object = async {
        let client = server.client();
        let object = client
            .get_object()
            .bucket(BUCKET)
            .key(format!("{PREFIX}{key}"));
        let object = object.send().await.unwrap();
        object.body.collect().await.unwrap().to_vec()
    };
    engine.runtime().block_on(object)
}

#[test]
fn the_torture_database_goes_from_d1_into_the_bucket_and_from_there_into_d1_and_the_shell() {
    let bench = Bench::new();
    let engine = Engine::start();
    let server = engine.runtime().block_on(Server::start());
    let id = torture(&bench, &engine, true);
    let report = back_up(bench.folder.path(), &engine.url(), &server, &id, PATIENT);
    let database = &report["databases"][0];
    assert_eq!(
        (&database["outcome"], &database["class"]),
        (&"stored".into(), &"A".into()),
        "{report}"
    );
    let key = database["key"].as_str().unwrap();
    let stored = fetch(&engine, &server, key);
    let manifest = fetch(&engine, &server, &format!("manifests/{key}.json"));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["source"]["id"], id.as_str());
    assert_eq!(
        manifest["stored"]["sha256"],
        Sha256::of(&stored).to_string()
    );
    let (dump, original) = (bench.path("fetched.sql"), bench.path("original.db"));
    std::fs::write(&dump, stored).unwrap();
    // Into a fresh D1 by wrangler, and by the import that the API has.
    wrangler_restore(&dump, &bench.path("wrangler.db")).unwrap();
    same(&original, &bench.path("wrangler.db"));
    let again = engine.create("again");
    engine.import(&again, &dump);
    engine.copy_file(&again, &bench.path("again.db"));
    same(&original, &bench.path("again.db"));
    // Into the stock shell. Keys in a cycle hold only at the end of a transaction.
    let shell = Shell {
        safe: true,
        wrapped: true,
        foreign_keys: true,
    };
    shell.restore(&dump, &bench.path("shell.db")).unwrap();
    same(&original, &bench.path("shell.db"));
    // The state holds the catalog and nothing of the copy.
    let left = std::fs::read_dir(bench.path("state/spool")).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, [".patina-spool"]);
}

#[test]
fn a_copy_by_cloudflares_own_export_says_so_in_the_bucket() {
    let bench = Bench::new();
    let (engine, id) = super::export::engine_with_what_is_kept();
    let server = engine.runtime().block_on(Server::start());
    engine.copy_file(&id, &bench.path("original.db"));
    let method = "timeout = \"5m\"\nmethod = \"export\"\n";
    let report = back_up(bench.folder.path(), &engine.url(), &server, &id, method);
    let key = report["databases"][0]["key"].as_str().unwrap();
    let manifest = fetch(&engine, &server, &format!("manifests/{key}.json"));
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(manifest["source"]["method"], "export");
    assert_eq!(manifest["class"], "B");
    let dump = bench.path("fetched.sql");
    std::fs::write(&dump, fetch(&engine, &server, key)).unwrap();
    wrangler_restore(&dump, &bench.path("wrangler.db")).unwrap();
    same(&bench.path("original.db"), &bench.path("wrangler.db"));
    // A value that it would change is written: there is no second copy, and the message says why.
    engine.execute(
        &id,
        "UPDATE parents SET born = 9007199254740993 WHERE id = 1",
    );
    let objects = || {
        let list = server.client().list_objects_v2().bucket(BUCKET).send();
        engine.runtime().block_on(list).unwrap().key_count()
    };
    let before = objects();
    let output = patina(bench.folder.path());
    assert_eq!(output.status.code(), Some(1));
    let out = String::from_utf8_lossy(&output.stdout);
    assert!(
        out.contains("column `born` of table `parents` has integers beyond 2^53"),
        "{out}"
    );
    assert_eq!(
        (objects(), before.is_some_and(|count| count >= 2)),
        (before, true)
    );
}

#[test]
fn waiting_for_the_budget_of_all_databases_is_nobodys_own_time() {
    const PAUSE: Duration = Duration::from_secs(4);
    let bench = Bench::new();
    let engine = Engine::start();
    let server = engine.runtime().block_on(Server::start());
    let id = engine.create("small");
    for sql in ["CREATE TABLE t(x)", "INSERT INTO t VALUES (1), (2)"] {
        engine.execute(&id, sql);
    }
    // Cloudflare asks everybody for silence, for longer than any of them may take.
    let proxy = Proxy::start(engine.port, |seen| match seen.index {
        1 => Fate::Answer {
            status: 429,
            headers: "retry-after: 4\r\n",
            body: "{}".to_owned(),
        },
        _ => Fate::Pass,
    });
    let began = Instant::now();
    let more = "timeout = \"3s\"\nretries = 0\n";
    let report = back_up(bench.folder.path(), &proxy.url(), &server, &id, more);
    assert_eq!(report["databases"][0]["class"], "A", "{report}");
    assert!(began.elapsed() >= PAUSE, "nobody waited");
}
