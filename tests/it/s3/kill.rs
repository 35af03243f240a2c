//! Kills the server and the uploading process in the middle of an upload, and measures what an upload costs.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use patina::store::{Body, Digest, Store, digest};
use tempfile::NamedTempFile;

use super::proxy::{Fault, Op};
use super::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server, secret};
use super::{Bench, KEY, PATIENCE, body, spool, store, store_with};
use crate::store_contract::key;

const ENDPOINT: &str = "PATINA_TEST_S3_ENDPOINT";
const PREFIX: &str = "PATINA_TEST_S3_PREFIX";
const SPOOL: &str = "PATINA_TEST_S3_SPOOL";
const DIGEST: &str = "PATINA_TEST_S3_DIGEST";

/// What the design allows for the whole agent.
const MOST_MEMORY_KIB: u64 = 64 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn a_server_killed_in_mid_upload_shows_nothing_and_a_sweep_leaves_nothing() {
    let mut bench = Bench::start().await;
    let patience = patina::store::S3Patience {
        attempts: 2,
        ..PATIENCE
    };
    let large = spool(60_000_000);
    for round in 0..3 {
        let prefix = format!("server{round}/");
        let store = store_with(&bench.settings(&prefix), patience);
        store.conditional_writes().await.unwrap();
        store
            .create(&key("weekly/2026-W46.tar.gz"), Body::Bytes(b"before"))
            .await
            .unwrap();
        let slow = Fault::Delay(Duration::from_millis(100));
        bench.plan.always(Op::Part, slow);
        let before = bench.plan.seen(Op::Part);
        let plan = std::sync::Arc::clone(&bench.plan);
        let killing = async {
            while plan.seen(Op::Part) < before + 3 + round {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            bench.server.kill();
        };
        let orders = key(KEY);
        let (created, ()) = tokio::join!(store.create(&orders, body(&large)), killing);
        let error = created.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        bench.plan.heal();
        bench.server.restart().await;

        assert_eq!(store.stat(&orders).await.unwrap(), None);
        let (names, unfinished) = bench.left(&prefix).await;
        assert_eq!(names, ["weekly/2026-W46.tar.gz"]);
        assert_eq!(store.sweep().await.unwrap(), unfinished as u64);
        assert_eq!(bench.left(&prefix).await.1, 0);
        store.create(&orders, body(&large)).await.unwrap();
        assert_eq!(digest(&store, &orders).await.unwrap(), Some(large.1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_takes_what_the_dead_began_and_nothing_else() {
    let bench = Bench::start().await;
    let client = bench.server.client();
    let begin = |path: &'static str| {
        client
            .create_multipart_upload()
            .bucket(BUCKET)
            .key(path)
            .send()
    };
    for path in [
        "swept/daily/2026-11-22/dead.sql",
        "swept/weekly/2026-W47.tar.gz",
        "swept/foreign.iso",
        "other/daily/2026-11-22/other.sql",
    ] {
        begin(path).await.unwrap();
    }
    let store = std::sync::Arc::new(bench.store("swept/").await);
    // One that this process has under way.
    let large = spool(20_000_003);
    bench
        .plan
        .always(Op::Part, Fault::Delay(Duration::from_millis(500)));
    let creating = {
        let store = std::sync::Arc::clone(&store);
        tokio::spawn(async move { store.create(&key(KEY), body(&large)).await })
    };
    while bench.plan.seen(Op::Part) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(store.sweep().await.unwrap(), 2);
    creating.await.unwrap().unwrap();
    assert_eq!(store.sweep().await.unwrap(), 0);
    assert_eq!(bench.left("swept/").await, (vec![KEY.to_owned()], 1));
    assert_eq!(bench.left("other/").await.1, 1);
}

fn child(endpoint: &str, prefix: &str, (file, digest): &(NamedTempFile, Digest)) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "s3::kill::store_one", "--nocapture"]);
    command.env(ENDPOINT, endpoint).env(PREFIX, prefix);
    command.env(SPOOL, file.path());
    command.env(DIGEST, format!("{} {}", digest.size_bytes, digest.sha256));
    command.stdout(Stdio::piped());
    command
}

/// Not a test of its own: what the killed and the measured process does, told by its environment.
#[tokio::test]
async fn store_one() {
    let Ok(endpoint) = std::env::var(ENDPOINT) else {
        return;
    };
    let settings = patina::config::S3 {
        endpoint,
        bucket: BUCKET.to_owned(),
        region: "auto".to_owned(),
        prefix: std::env::var(PREFIX).unwrap(),
        access_key_id: secret(ACCESS_KEY_ID),
        secret_access_key: secret(SECRET_ACCESS_KEY),
    };
    let digest = std::env::var(DIGEST).unwrap();
    let (size, sha256) = digest.split_once(' ').unwrap();
    let path = std::env::var(SPOOL).unwrap();
    let body = Body::File {
        path: path.as_ref(),
        size_bytes: size.parse().unwrap(),
        sha256: sha256.parse().unwrap(),
    };
    println!("baseline {}", memory());
    store(&settings).create(&key(KEY), body).await.unwrap();
    println!("peak {}", memory());
}

/// The most memory this process has held, in KiB.
fn memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_killed_in_mid_upload_shows_nothing_and_the_next_one_sweeps() {
    let bench = Bench::start().await;
    let large = spool(60_000_000);
    bench
        .plan
        .always(Op::Part, Fault::Delay(Duration::from_millis(60)));
    for parts in [0, 1, 3, 6] {
        let prefix = format!("process{parts}/");
        let seen = bench.plan.seen(Op::Part);
        let mut child = child(&bench.proxy.endpoint, &prefix, &large)
            .spawn()
            .unwrap();
        while bench.plan.seen(Op::Part) <= seen + parts {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "it ended by itself: {ended:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let next = store(&bench.settings(&prefix));
        assert_eq!(next.stat(&key(KEY)).await.unwrap(), None);
        assert!(next.list().await.unwrap().objects.is_empty());
        assert_eq!(next.sweep().await.unwrap(), 1);
        assert_eq!(bench.left(&prefix).await, (vec![], 0));
        next.create(&key(KEY), body(&large)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_300_megabytes_stays_within_64_mebibytes() {
    let server = Server::start().await;
    let large = spool(300_000_000);
    let mut child = child(&server.endpoint(), "memory/", &large)
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let mut said = Vec::new();
    for line in output.lines() {
        said.push(line.unwrap());
    }
    assert!(child.wait().unwrap().success(), "{said:?}");
    let number = |name: &str| {
        let line = said.iter().find_map(|line| line.strip_prefix(name));
        line.unwrap().trim().parse::<u64>().unwrap()
    };
    let (baseline, peak) = (number("baseline "), number("peak "));
    println!("baseline {baseline} KiB, peak {peak} KiB");
    assert!(peak > baseline && peak < MOST_MEMORY_KIB, "{peak} KiB");
    let found = digest(&store(&server.settings("memory/")), &key(KEY)).await;
    assert_eq!(found.unwrap(), Some(large.1));
}
