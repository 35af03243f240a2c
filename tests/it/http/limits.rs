//! How much is too much, and what the audit has to do with it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use patina::catalog::{AuditOutcome, AuditVerdict};
use reqwest::StatusCode;
use rusqlite::Connection;

use super::{ALL, World, from_anywhere, full_key, key, key_text, retry_after};

const SHOP: &str = "/download/2026-11-30/shop";
const BLOG: &str = "/download/2026-11-30/blog";

async fn status(world: &World, id: &str, from: &str) -> reqwest::Response {
    let request = world.get(SHOP).header("X-Patina-Key", key_text(id));
    let response = request.header("X-Forwarded-For", from).send().await;
    response.unwrap()
}

/// One download to its end; the place it had is free again.
async fn take(world: &World, id: &str, from: &str) {
    let before = world.audit().len();
    let response = status(world, id, from).await;
    assert_eq!(response.status(), StatusCode::OK);
    response.bytes().await.unwrap();
    world.audit_of(before + 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_downloads_pass_and_the_eleventh_is_told_when_the_first_one_is_an_hour_old() {
    let world = World::new(&from_anywhere(&full_key())).await;
    for number in 0..10 {
        take(&world, "all", &format!("192.0.2.{number}")).await;
        world.clock.0.advance(Duration::from_secs(60));
    }
    let refused = status(&world, "all", "192.0.2.99").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(retry_after(&refused), 3600 - 600);
    world.clock.0.advance(Duration::from_secs(3000 - 1));
    let refused = status(&world, "all", "192.0.2.99").await;
    assert_eq!(retry_after(&refused), 1);
    world.clock.0.advance(Duration::from_secs(1));
    take(&world, "all", "192.0.2.99").await;
    // The second one is still within the hour: a sliding log, not a bucket that refills at once.
    let refused = status(&world, "all", "192.0.2.99").await;
    assert_eq!(retry_after(&refused), 60);
    // What was refused is not in the way of anything: nothing was noted for it.
    assert_eq!(world.audit().len(), 22);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_has_thirty_an_hour_whoever_comes_from_it() {
    let ids = ["a", "b", "c", "d"];
    let keys: String = ids.iter().map(|id| key(id, r#""download""#, "")).collect();
    let world = World::new(&from_anywhere(&keys)).await;
    for id in &ids[..3] {
        for _ in 0..10 {
            take(&world, id, "203.0.113.7").await;
        }
    }
    let refused = status(&world, "d", "203.0.113.7").await;
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(retry_after(&refused), 3600);
    take(&world, "d", "203.0.113.8").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_at_once_get_no_more_than_ten() {
    let world = World::new(&full_key()).await;
    // Two at a time, as nobody waits for a place.
    let (mut granted, mut refused) = (0, 0);
    for _ in 0..10 {
        let (one, other) = tokio::join!(world.download(SHOP), world.download(SHOP));
        for response in [one, other] {
            match response.status() {
                StatusCode::OK => granted += 1,
                status => {
                    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
                    refused += 1;
                }
            }
            let _ = response.bytes().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((granted, refused), (10, 10));
}

/// Asks for a download and reads its head and nothing more.
fn hang(world: &World) -> TcpStream {
    let mut stream = TcpStream::connect(world.address).unwrap();
    let key = key_text(ALL.0);
    write!(
        stream,
        "GET {BLOG} HTTP/1.1\r\nHost: localhost\r\nX-Patina-Key: {key}\r\n\r\n"
    )
    .unwrap();
    let mut start = [0; 15];
    stream.read_exact(&mut start).unwrap();
    assert_eq!(&start, b"HTTP/1.1 200 OK");
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn two_run_at_once_the_third_waits_for_none_and_a_vanished_client_frees_its_place() {
    let world = World::empty(&full_key(), "timeout = \"5m\"", None).await;
    // More than the buffers of a connection take.
    super::database(&world.path("blog2.db"), 40_000);
    std::fs::rename(world.path("blog2.db"), world.path("blog.db")).unwrap();
    world.night().await;
    let (first, second) = (hang(&world), hang(&world));
    let asked = Instant::now();
    let third = world.download(SHOP).await;
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(retry_after(&third) >= 1);
    assert!(asked.elapsed() < Duration::from_secs(1));
    drop(first);
    let vanished = Instant::now();
    loop {
        let again = world.download(SHOP).await;
        if again.status() == StatusCode::OK {
            again.bytes().await.unwrap();
            break;
        }
        assert!(
            vanished.elapsed() < Duration::from_secs(5),
            "its place is not free"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let rows = world.audit_of(4).await;
    let aborted = rows
        .iter()
        .filter(|row| row.audit.outcome == AuditOutcome::Aborted);
    assert_eq!(aborted.count(), 1, "{rows:?}");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_catalog_is_locked_no_byte_leaves_and_the_rest_answers() {
    let world = World::new(&full_key()).await;
    let lock = Connection::open(world.catalog().path()).unwrap();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let download = tokio::spawn(world.with_key(SHOP).send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    // Who only reads does not wait for the lock.
    let asked = Instant::now();
    let (status, _) = super::json(world.with_key("/status")).await;
    assert_eq!(status, StatusCode::OK);
    assert!(asked.elapsed() < Duration::from_secs(2));
    let refused = download.await.unwrap().unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    let body = refused.text().await.unwrap();
    assert!(
        !body.contains("--") && !body.contains("catalog.db"),
        "{body}"
    );
    let head = world.request(reqwest::Method::HEAD, SHOP);
    let head = head.header("X-Patina-Key", key_text(ALL.0)).send().await;
    assert_eq!(head.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    lock.execute_batch("ROLLBACK").unwrap();
    assert_eq!(world.audit(), []);
    assert_eq!(world.download(SHOP).await.status(), StatusCode::OK);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_the_audit_that_is_changed_taken_out_or_put_in_is_found() {
    for (change, row) in [
        ("UPDATE audit SET client = 'key:eve' WHERE id = 3", 3),
        ("UPDATE audit SET at_ms = at_ms + 1 WHERE id = 1", 1),
        ("UPDATE audit SET hash = upper(hash) WHERE id = 2", 2),
        ("DELETE FROM audit WHERE id = 2", 3),
        ("DELETE FROM audit WHERE id = 6", 6),
        ("DELETE FROM audit", 1),
        ("INSERT INTO audit SELECT 7, at_ms, request_id, action, outcome, client, address, subject,
              size_bytes, hash FROM audit WHERE id = 6", 7),
    ] {
        let world = World::new(&full_key()).await;
        for _ in 0..3 {
            take(&world, "all", "127.0.0.1").await;
        }
        let catalog = world.catalog();
        let whole = catalog.verify_audit().unwrap();
        let AuditVerdict::Whole { rows: 6, head: Some(_), begin: None } = whole else {
            panic!("{whole:?}");
        };
        let db = Connection::open(catalog.path()).unwrap();
        db.execute_batch(change).unwrap();
        match catalog.verify_audit().unwrap() {
            AuditVerdict::Broken { row: found, .. } => assert_eq!(found, row, "{change}"),
            whole => panic!("{change}: {whole:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_of_a_gigabyte_is_refused_before_it_is_sent() {
    let world = World::new(&full_key()).await;
    let key = key_text(ALL.0);
    for (how, is_chunked) in [
        ("Content-Length: 1073741824", false),
        ("Transfer-Encoding: chunked", true),
    ] {
        let mut stream = TcpStream::connect(world.address).unwrap();
        stream
            .set_write_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(5)))
            .unwrap();
        let head = "POST /trigger HTTP/1.1\r\nHost: localhost\r\n";
        write!(stream, "{head}X-Patina-Key: {key}\r\n{how}\r\n\r\n").unwrap();
        let chunk = match is_chunked {
            true => [b"4000\r\n".as_slice(), &[b' '; 0x4000], b"\r\n"].concat(),
            false => vec![b' '; 0x4000],
        };
        let mut sent = 0;
        while sent < 1 << 30 && stream.write_all(&chunk).is_ok() {
            sent += chunk.len();
        }
        // What the two kernels keep on the way comes on top of what was read.
        assert!(sent < 16 << 20, "{how}: it took {sent} bytes");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        // Where the answer was overtaken by the end of the connection there is none to read.
        assert!(answer.is_empty() || answer.contains("413"), "{answer}");
    }
    let long = world
        .request(reqwest::Method::POST, "/trigger")
        .body(vec![b' '; 70_000]);
    let long = long.header("X-Patina-Key", key).send().await.unwrap();
    assert_eq!(long.status(), StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_half_open_connections_do_not_slow_a_status() {
    let world = World::new("").await;
    let mut held = Vec::new();
    for _ in 0..500 {
        let mut stream = TcpStream::connect(world.address).unwrap();
        stream.write_all(b"GET /status HTT").unwrap();
        held.push(stream);
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        let asked = Instant::now();
        let response = reqwest::get(format!("http://{}/status", world.address)).await;
        assert_eq!(response.unwrap().status(), StatusCode::OK);
        slowest = slowest.max(asked.elapsed());
    }
    println!("the slowest status beside 500 half-open connections took {slowest:?}");
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // And none is held for longer than a head may take.
    let mut last = held.pop().unwrap();
    last.set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let mut end = Vec::new();
    last.read_to_end(&mut end).unwrap();
    world.end().await;
}
