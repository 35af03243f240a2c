//! Services that can less than SeaweedFS: R2, and those without conditional writes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use patina::store::{Body, PART_BYTES, Store, digest};

use super::proxy::{Fault, Op, Proxy, Request, Rules};
use super::server::Server;
use super::{KEY, LARGE_BYTES, body, spool, store};
use crate::store_contract::{contract, key};

/// R2 lets a key be written once a second.
const BETWEEN_WRITES: Duration = Duration::from_secs(1);

/// Refuses what R2 refuses and SeaweedFS does not.
#[derive(Default)]
struct LikeR2 {
    written: Mutex<BTreeMap<String, Instant>>,
    /// The length of each part, by upload and number.
    parts: Mutex<BTreeMap<String, BTreeMap<u32, usize>>>,
    too_fast: AtomicU32,
}

impl LikeR2 {
    fn path(request: &Request) -> String {
        let target = request.target();
        target.split('?').next().unwrap_or(target).to_owned()
    }

    fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
        let (_, query) = request.target().split_once('?')?;
        let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs
            .into_iter()
            .find(|(found, _)| *found == name)
            .map(|(_, value)| value)
    }

    fn unknown(request: &Request) -> bool {
        let streamed = request.header("x-amz-content-sha256");
        let streamed = streamed.is_some_and(|value| value.starts_with("STREAMING"));
        let headers = ["x-amz-tagging", "x-amz-acl", "x-amz-object-lock-mode"];
        let queries = ["tagging", "acl", "versioning", "versionId", "object-lock"];
        streamed
            || headers.iter().any(|name| request.header(name).is_some())
            || queries.iter().any(|name| {
                let query = request
                    .target()
                    .split_once('?')
                    .map_or("", |(_, query)| query);
                query.split(['&', '=']).any(|found| found == *name)
            })
    }

    fn unequal(&self, request: &Request) -> bool {
        let parts = self.parts.lock().unwrap();
        let id = Self::query(request, "uploadId").unwrap_or_default();
        let lengths: Vec<_> = parts.get(id).into_iter().flatten().collect();
        let Some(((_, last), rest)) = lengths.split_last() else {
            return true;
        };
        let unequal = rest.iter().any(|(_, length)| *length != rest[0].1);
        unequal || rest.first().is_some_and(|first| *last > first.1)
    }
}

impl Rules for LikeR2 {
    fn before(&self, request: &Request) -> Option<Fault> {
        if Self::unknown(request) {
            return Some(Fault::refuse(501, "NotImplemented"));
        }
        if request.op == Op::Complete && self.unequal(request) {
            return Some(Fault::refuse(400, "InvalidPart"));
        }
        let writes = matches!(request.op, Op::Put | Op::Complete);
        let written = self.written.lock().unwrap();
        let last = written.get(&Self::path(request)).filter(|_| writes);
        if last.is_some_and(|last| last.elapsed() < BETWEEN_WRITES) {
            self.too_fast.fetch_add(1, Ordering::SeqCst);
            return Some(Fault::refuse(429, "TooManyRequests"));
        }
        None
    }

    fn after(&self, request: &Request, status: u16) {
        if status != 200 {
            return;
        }
        if matches!(request.op, Op::Put | Op::Complete) {
            let mut written = self.written.lock().unwrap();
            written.insert(Self::path(request), Instant::now());
        }
        if let (Op::Part, Some(id)) = (request.op, Self::query(request, "uploadId")) {
            let number = Self::query(request, "partNumber").unwrap().parse().unwrap();
            let mut parts = self.parts.lock().unwrap();
            let lengths = parts.entry(id.to_owned()).or_default();
            lengths.insert(number, request.body.len());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_under_r2s_rules() {
    let server = Server::start().await;
    let rules = Arc::new(LikeR2::default());
    let proxy = Proxy::start(server.port(), Arc::clone(&rules) as _).await;
    let settings = |prefix: &str| {
        let mut settings = server.settings(prefix);
        settings.endpoint.clone_from(&proxy.endpoint);
        settings
    };
    let count = AtomicU32::new(0);
    contract(|| async {
        let number = count.fetch_add(1, Ordering::SeqCst);
        Arc::new(store(&settings(&format!("r2-{number}/"))))
    })
    .await;
    assert!(rules.too_fast.load(Ordering::SeqCst) > 0, "never too fast?");

    let store = store(&settings("r2-large/"));
    let large = spool(LARGE_BYTES);
    store.create(&key(KEY), body(&large)).await.unwrap();
    assert_eq!(digest(&store, &key(KEY)).await.unwrap(), Some(large.1));
    let parts = rules.parts.lock().unwrap();
    let lengths: Vec<_> = parts.values().flat_map(BTreeMap::values).copied().collect();
    let part = PART_BYTES as usize;
    assert_eq!(lengths, [part, part, LARGE_BYTES - 2 * part]);
}

/// A service that lets every write through: it does not look at `If-None-Match`.
struct Unconditional(u16);

impl Rules for Unconditional {
    fn before(&self, request: &Request) -> Option<Fault> {
        let conditional = request.header("if-none-match").is_some();
        let status = self.0;
        let body = String::new();
        conditional.then_some(Fault::Answer { status, body })
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_conditional_writes_a_key_is_looked_at_first() {
    let server = Server::start().await;
    for (status, prefix) in [(200, "ignored"), (501, "unknown")] {
        // What is answered here never reaches the server: only plain writes can have worked.
        let proxy = Proxy::start(server.port(), Arc::new(Unconditional(status))).await;
        let settings = |prefix: &str| {
            let mut settings = server.settings(prefix);
            settings.endpoint.clone_from(&proxy.endpoint);
            settings
        };
        let first = store(&settings(&format!("{prefix}/")));
        assert!(!first.conditional_writes().await.unwrap());
        first
            .create(&key(KEY), Body::Bytes(b"first"))
            .await
            .unwrap();
        let error = first
            .create(&key(KEY), Body::Bytes(b"first"))
            .await
            .unwrap_err();
        assert!(error.is_exists(), "{error}");

        let count = AtomicU32::new(0);
        contract(|| async {
            let number = count.fetch_add(1, Ordering::SeqCst);
            Arc::new(store(&settings(&format!("{prefix}-{number}/"))))
        })
        .await;
        let large = spool(LARGE_BYTES);
        let second = store(&settings(&format!("{prefix}-large/")));
        second.create(&key(KEY), body(&large)).await.unwrap();
        assert_eq!(digest(&second, &key(KEY)).await.unwrap(), Some(large.1));
    }
}
