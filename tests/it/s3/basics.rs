//! The store on a server that works.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use patina::clock::{Clock, SystemClock};
use patina::store::{Body, PART_BYTES, Store, StoreErrorKind, digest};
use patina::types::Sha256;
use tokio::io::AsyncReadExt;

use super::server::{BUCKET, Server};
use super::{Bench, KEY, LARGE_BYTES, body, spool, store};
use crate::store_contract::{content, contract, key};

/// What a large object is sent in.
const PARTS: usize = LARGE_BYTES.div_ceil(PART_BYTES as usize);

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_keeps_the_contract() {
    let server = Server::start().await;
    let count = AtomicU32::new(0);
    contract(|| async {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Arc::new(store(&server.settings(&format!("deep/{number}/"))))
    })
    .await;
    assert!(count.load(Ordering::SeqCst) >= 9, "has the suite moved?");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_objects_are_sent_in_parts_and_stored_whole() {
    let bench = Bench::start().await;
    let store = bench.store("large/").await;
    let large = spool(LARGE_BYTES);
    let orders = key(KEY);
    store.create(&orders, body(&large)).await.unwrap();
    assert_eq!(digest(&store, &orders).await.unwrap(), Some(large.1));
    assert_eq!(bench.plan.seen(super::proxy::Op::Part), PARTS);

    // Across the border of two parts.
    let border = PART_BYTES;
    let mut reader = store
        .open(&orders, Some(border - 2..border + 2))
        .await
        .unwrap()
        .unwrap();
    let mut found = Vec::new();
    reader.read_to_end(&mut found).await.unwrap();
    let bytes = std::fs::read(large.0.path()).unwrap();
    assert_eq!(found, bytes[border as usize - 2..border as usize + 2]);

    // A taken key is told before a part is sent.
    let error = store.create(&orders, body(&large)).await.unwrap_err();
    assert!(error.is_exists(), "{error}");
    assert_eq!(bench.plan.seen(super::proxy::Op::Part), PARTS);

    // Of two at the same time, one wins, and the other leaves no parts.
    let other = spool(LARGE_BYTES + 1);
    let twice = key("weekly/2026-W47.tar.gz");
    let (one, two) = tokio::join!(
        store.create(&twice, body(&large)),
        store.create(&twice, body(&other))
    );
    let (won, error) = match (one, two) {
        (Ok(()), Err(error)) => (large.1, error),
        (Err(error), Ok(())) => (other.1, error),
        results => panic!("{results:?}"),
    };
    assert!(error.is_exists(), "{error}");
    assert_eq!(digest(&store, &twice).await.unwrap(), Some(won));
    let names = vec![KEY.to_owned(), twice.to_string()];
    assert_eq!(bench.left("large/").await, (names, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_processes_exactly_one_wins() {
    const ROUNDS: u8 = 25;
    let server = Server::start().await;
    // Two stores know as little of one another as two processes.
    let stores = [0, 1].map(|_| store(&server.settings("processes/")));
    for store in &stores {
        store.conditional_writes().await.unwrap();
    }
    let mut wins = [0, 0];
    for round in 0..ROUNDS {
        let key = key(&format!("daily/2026-11-22/db{round}.sql"));
        let (one, two) = tokio::join!(
            stores[0].create(&key, Body::Bytes(b"one")),
            stores[1].create(&key, Body::Bytes(b"two"))
        );
        let (winner, bytes, loser) = match (one, two) {
            (Ok(()), Err(error)) => (0, b"one", error),
            (Err(error), Ok(())) => (1, b"two", error),
            results => panic!("{results:?}"),
        };
        wins[winner] += 1;
        assert!(loser.is_exists(), "{loser}");
        assert_eq!(content(&stores[0], &key).await.unwrap(), bytes);
    }
    assert_eq!(wins[0] + wins[1], ROUNDS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_spool_that_is_not_what_was_promised_leaves_nothing() {
    let bench = Bench::start().await;
    let store = bench.store("changed/").await;
    let (file, right) = spool(LARGE_BYTES);
    let mut promised = Vec::new();
    for size_bytes in [right.size_bytes - 1, right.size_bytes + 1] {
        promised.push((size_bytes, right.sha256));
    }
    promised.push((right.size_bytes, Sha256::of(b"else")));
    for (size_bytes, sha256) in promised {
        let path = file.path();
        let changed = Body::File {
            path,
            size_bytes,
            sha256,
        };
        let error = store.create(&key(KEY), changed).await.unwrap_err();
        let StoreErrorKind::Mismatch { found, .. } = error.kind else {
            panic!("{error}");
        };
        assert_eq!(found, right);
        assert_eq!(bench.left("changed/").await, (vec![], 0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_prefix_is_the_world_and_foreign_names_are_counted() {
    let server = Server::start().await;
    let client = server.client();
    let inner = store(&server.settings("world/"));
    for name in [
        "world/daily/2026-11-22/orders.sql.bak",
        "world/notes.txt",
        "worldwide.txt",
        "daily/2026-11-22/outside.sql",
    ] {
        let put = client.put_object().bucket(BUCKET).key(name);
        put.send().await.unwrap();
    }
    inner.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    let listing = inner.list().await.unwrap();
    assert_eq!((listing.objects.len(), listing.foreign), (1, 2));
    let (listed, stat) = &listing.objects[0];
    assert_eq!((listed, stat.size_bytes), (&key(KEY), 1));
    let age = SystemClock::new().now() - stat.modified;
    assert!(age.num_seconds().abs() < 300, "{age}");

    // Without a prefix: the whole bucket.
    let whole = store(&server.settings(""));
    let listing = whole.list().await.unwrap();
    assert_eq!((listing.objects.len(), listing.foreign), (1, 4));
}
