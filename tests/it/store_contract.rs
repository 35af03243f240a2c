//! Asks of any store what every store promises.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;

use patina::store::{Body, Digest, Prune, Store, StoreErrorKind, digest, read_small};
use patina::types::{ObjectKey, Sha256};
use tokio::io::AsyncReadExt;

const KEYS: [&str; 5] = [
    "daily/2026-11-22/orders.sql",
    "daily/2026-11-22/orders~031500Z.sql",
    "daily/2026-11-23/a_b-c.sql.zst",
    "manifests/daily/2026-11-22/orders.sql.json",
    "weekly/2026-W47.tar.gz",
];

/// Runs the whole suite; `make` gives a new and empty store each time.
pub(crate) async fn contract<S, F>(make: impl Fn() -> F)
where
    S: Prune + 'static,
    F: Future<Output = Arc<S>>,
{
    what_was_created_is_read_back(&*make().await).await;
    a_taken_key_is_refused_and_keeps_its_bytes(&*make().await).await;
    of_many_creators_exactly_one_wins(make().await).await;
    an_absent_object_is_none(&*make().await).await;
    a_range_is_what_lies_within_the_object(&*make().await).await;
    a_large_spool_file_is_stored_whole(&*make().await).await;
    a_spool_file_that_changed_is_refused(&*make().await).await;
    every_key_is_listed_with_its_size(&*make().await).await;
    a_removed_key_is_gone_and_free(&*make().await).await;
}

pub(crate) fn key(text: &str) -> ObjectKey {
    text.parse().unwrap()
}

pub(crate) async fn content(store: &dyn Store, key: &ObjectKey) -> Option<Vec<u8>> {
    read_small(store, key, 1 << 30).await.unwrap()
}

async fn what_was_created_is_read_back(store: &dyn Store) {
    for text in KEYS {
        let (key, bytes) = (key(text), text.as_bytes());
        store.create(&key, Body::Bytes(bytes)).await.unwrap();
        assert_eq!(content(store, &key).await.unwrap(), bytes);
        assert_eq!(digest(store, &key).await.unwrap(), Some(Digest::of(bytes)));
    }
    let key = key("daily/2026-11-24/empty.sql");
    store.create(&key, Body::Bytes(b"")).await.unwrap();
    assert_eq!(content(store, &key).await.unwrap(), b"");
}

async fn a_taken_key_is_refused_and_keeps_its_bytes(store: &dyn Store) {
    let key = key(KEYS[0]);
    store.create(&key, Body::Bytes(b"first")).await.unwrap();
    for bytes in [b"other".as_slice(), b"first"] {
        let error = store.create(&key, Body::Bytes(bytes)).await.unwrap_err();
        assert!(error.is_exists() && !error.is_retryable(), "{error}");
        assert!(error.to_string().contains(KEYS[0]), "{error}");
        assert!(error.to_string().contains(store.name()), "{error}");
    }
    assert_eq!(content(store, &key).await.unwrap(), b"first");
}

async fn of_many_creators_exactly_one_wins<S: Prune + 'static>(store: Arc<S>) {
    let key = key(KEYS[0]);
    let creators: Vec<_> = (0..8u8)
        .map(|number| {
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                let bytes = vec![number; 100_000];
                store.create(&key, Body::Bytes(&bytes)).await
            })
        })
        .collect();
    let mut winners = Vec::new();
    for (number, creator) in (0..8u8).zip(creators) {
        match creator.await.unwrap() {
            Ok(()) => winners.push(number),
            Err(error) => assert!(error.is_exists(), "{error}"),
        }
    }
    assert_eq!(winners.len(), 1, "{winners:?}");
    assert_eq!(
        content(&*store, &key).await.unwrap(),
        vec![winners[0]; 100_000]
    );
}

async fn an_absent_object_is_none(store: &dyn Store) {
    store
        .create(&key(KEYS[0]), Body::Bytes(b"x"))
        .await
        .unwrap();
    for text in [KEYS[1], KEYS[2], KEYS[4]] {
        assert!(store.open(&key(text), None).await.unwrap().is_none());
        assert_eq!(store.stat(&key(text)).await.unwrap(), None);
        assert_eq!(digest(store, &key(text)).await.unwrap(), None);
    }
}

async fn a_range_is_what_lies_within_the_object(store: &dyn Store) {
    let key = key(KEYS[0]);
    store
        .create(&key, Body::Bytes(b"0123456789"))
        .await
        .unwrap();
    let cases: [(Range<u64>, &[u8]); 6] = [
        (0..10, b"0123456789"),
        (2..5, b"234"),
        (9..10, b"9"),
        (8..100, b"89"),
        (5..5, b""),
        (20..30, b""),
    ];
    for (range, expected) in cases {
        let mut reader = store
            .open(&key, Some(range.clone()))
            .await
            .unwrap()
            .unwrap();
        let mut found = Vec::new();
        reader.read_to_end(&mut found).await.unwrap();
        assert_eq!(found, expected, "{range:?}");
    }
}

async fn a_large_spool_file_is_stored_whole(store: &dyn Store) {
    let bytes: Vec<u8> = (0..5_000_011u32).map(|n| (n % 251) as u8).collect();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bytes).unwrap();
    let body = Body::File {
        path: file.path(),
        size_bytes: bytes.len() as u64,
        sha256: Sha256::of(&bytes),
    };
    store.create(&key(KEYS[0]), body).await.unwrap();
    assert_eq!(
        digest(store, &key(KEYS[0])).await.unwrap(),
        Some(body.digest())
    );
    let stat = store.stat(&key(KEYS[0])).await.unwrap().unwrap();
    assert_eq!(stat.size_bytes, bytes.len() as u64);
}

async fn a_spool_file_that_changed_is_refused(store: &dyn Store) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), b"what was proven").unwrap();
    let path = file.path();
    let promised = [
        (15, Sha256::of(b"something else!")),
        (14, Sha256::of(b"what was proven")),
        (16, Sha256::of(b"what was proven")),
    ];
    for (size_bytes, sha256) in promised {
        let body = Body::File {
            path,
            size_bytes,
            sha256,
        };
        let error = store.create(&key(KEYS[0]), body).await.unwrap_err();
        let mismatch = matches!(error.kind, StoreErrorKind::Mismatch { .. });
        assert!(mismatch && !error.is_retryable(), "{error}");
    }
    let path = &path.with_extension("absent");
    let body = Body::File {
        path,
        size_bytes: 0,
        sha256: Sha256::of(b""),
    };
    store.create(&key(KEYS[0]), body).await.unwrap_err();
    assert_eq!(store.stat(&key(KEYS[0])).await.unwrap(), None);
    assert!(store.list().await.unwrap().objects.is_empty());
}

async fn every_key_is_listed_with_its_size(store: &dyn Store) {
    assert!(store.list().await.unwrap().objects.is_empty());
    for text in KEYS {
        let body = Body::Bytes(text.as_bytes());
        store.create(&key(text), body).await.unwrap();
    }
    let listing = store.list().await.unwrap();
    let mut expected = KEYS.map(key);
    expected.sort();
    let keys: Vec<_> = listing.objects.iter().map(|(key, _)| key.clone()).collect();
    assert_eq!(keys, expected);
    assert_eq!(listing.foreign, 0);
    for (key, stat) in &listing.objects {
        assert_eq!(stat.size_bytes, key.as_str().len() as u64);
        assert_eq!(store.stat(key).await.unwrap().as_ref(), Some(stat));
    }
}

async fn a_removed_key_is_gone_and_free(store: &dyn Prune) {
    let (gone, stays) = (key(KEYS[0]), key(KEYS[1]));
    for key in [&gone, &stays] {
        store.create(key, Body::Bytes(b"x")).await.unwrap();
    }
    store.remove(&gone).await.unwrap();
    store.remove(&gone).await.unwrap();
    store.remove(&key(KEYS[4])).await.unwrap();
    assert_eq!(store.stat(&gone).await.unwrap(), None);
    assert!(store.stat(&stays).await.unwrap().is_some());
    store.create(&gone, Body::Bytes(b"again")).await.unwrap();
    store.remove(&stays).await.unwrap();
    assert_eq!(store.list().await.unwrap().objects.len(), 1);
}
