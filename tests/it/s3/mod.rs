//! Holds the S3 store to the contract on a real server, and breaks the line, the server and the process under it.

mod basics;
mod fault;
mod kill;
mod listing;
pub(crate) mod proxy;
mod r2;
mod refusal;
pub(crate) mod server;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use patina::clock::SystemClock;
use patina::config::S3;
use patina::store::{Body, Digest, S3Patience, S3Store};
use tempfile::NamedTempFile;

use proxy::{Plan, Proxy};
use server::{BUCKET, Server};

const KEY: &str = "daily/2026-11-22/orders.sql";

/// Three parts: two whole ones and a rest.
const LARGE_BYTES: usize = 17_000_003;

/// Short, so that a hanging server does not hold up the tests.
const PATIENCE: S3Patience = S3Patience {
    connect: Duration::from_secs(2),
    attempt: Duration::from_secs(20),
    idle: Duration::from_secs(2),
    attempts: 3,
    resumes: 5,
    first_delay: Duration::from_millis(20),
};

fn store_with(settings: &S3, patience: S3Patience) -> S3Store {
    let clock = Arc::new(SystemClock::new());
    S3Store::connect_with("r2", settings, "one", clock, patience).unwrap()
}

fn store(settings: &S3) -> S3Store {
    store_with(settings, PATIENCE)
}

/// A server with a proxy before it.
struct Bench {
    server: Server,
    plan: Arc<Plan>,
    proxy: Proxy,
}

impl Bench {
    async fn start() -> Self {
        let server = Server::start().await;
        let plan = Arc::new(Plan::default());
        let proxy = Proxy::start(server.port(), Arc::clone(&plan) as _).await;
        Self {
            server,
            plan,
            proxy,
        }
    }

    /// A store in a folder of its own, behind the proxy, that has been probed already.
    async fn store(&self, prefix: &str) -> S3Store {
        let store = store(&self.settings(prefix));
        assert!(store.conditional_writes().await.unwrap());
        store
    }

    fn settings(&self, prefix: &str) -> S3 {
        S3 {
            endpoint: self.proxy.endpoint.clone(),
            ..self.server.settings(prefix)
        }
    }

    /// The names of everything that lies below `prefix`, and how many uploads are unfinished there.
    async fn left(&self, prefix: &str) -> (Vec<String>, usize) {
        let client = self.server.client();
        let objects = client.list_objects_v2().bucket(BUCKET).prefix(prefix);
        let objects = objects.send().await.unwrap();
        let names = objects.contents().iter();
        let names = names.map(|object| object.key().unwrap()[prefix.len()..].to_owned());
        let uploads = client
            .list_multipart_uploads()
            .bucket(BUCKET)
            .prefix(prefix);
        let uploads = uploads.send().await.unwrap().uploads().len();
        (names.collect(), uploads)
    }
}

/// A spool file of `length` bytes in which no two blocks are equal.
fn spool(length: usize) -> (NamedTempFile, Digest) {
    let mut bytes = vec![0; length];
    for (number, block) in bytes.chunks_mut(4096).enumerate() {
        let word = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        block.fill(number as u8);
        let start = block.len().min(8);
        block[..start].copy_from_slice(&word.to_le_bytes()[..start]);
    }
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(&bytes).unwrap();
    (file, Digest::of(&bytes))
}

fn body<'a>((file, digest): &'a (NamedTempFile, Digest)) -> Body<'a> {
    Body::File {
        path: file.path(),
        size_bytes: digest.size_bytes,
        sha256: digest.sha256,
    }
}
