//! Starts a real S3 server, SeaweedFS, on loopback for one test. Invariant: it ends with the test, however that
//! ends.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region, RequestChecksumCalculation};
use patina::config::{S3, Secret, SecretOrigin};
use tempfile::TempDir;

pub(crate) const BUCKET: &str = "patina-test";
pub(crate) const ACCESS_KEY_ID: &str = "PATINATESTKEY";
pub(crate) const SECRET_ACCESS_KEY: &str = "patina-test-secret";
pub(crate) const READER_KEY_ID: &str = "PATINAREADERKEY";
pub(crate) const READER_SECRET: &str = "patina-reader-secret";

const READY_WITHIN: Duration = Duration::from_secs(20);

/// A port that was free may be taken before the server has it.
const STARTS: usize = 3;

/// A server that runs until it is dropped.
pub(crate) struct Server {
    folder: TempDir,
    ports: Vec<u16>,
    child: Option<Child>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        patina::net::install_tls();
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("s3.json"), identities()).unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        let (ports, child) = (free_ports(), None);
        let mut server = Self {
            folder,
            ports,
            child,
        };
        for _ in 1..STARTS {
            if server.serves().await.is_ok() {
                return server;
            }
            server.kill();
            server.ports = free_ports();
        }
        server.restart().await;
        server
    }

    /// kill -9.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // `setpriv` became the server: the id is the server's own.
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts it anew on what it has stored, and waits until it serves.
    pub(crate) async fn restart(&mut self) {
        let served = self.serves().await;
        assert!(served.is_ok(), "{}\n{}", served.unwrap_err(), self.log());
    }

    async fn serves(&mut self) -> Result<(), String> {
        assert!(self.child.is_none(), "it runs already");
        let mut child = self.command().spawn().unwrap();
        let (started, client) = (Instant::now(), self.client());
        let result = loop {
            let asked = client.head_bucket().bucket(BUCKET).send();
            match tokio::time::timeout(READY_WITHIN, asked).await {
                Ok(Ok(_)) => break Ok(()),
                _ if started.elapsed() > READY_WITHIN => {
                    break Err(format!("not ready after {READY_WITHIN:?}"));
                }
                _ => {}
            }
            if let Some(status) = child.try_wait().unwrap() {
                break Err(format!("it ended: {status}"));
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        self.child = Some(child);
        result
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.ports[0]
    }

    /// What a configuration would say, with a prefix of its own per test.
    pub(crate) fn settings(&self, prefix: &str) -> S3 {
        S3 {
            endpoint: self.endpoint(),
            bucket: BUCKET.to_owned(),
            region: "auto".to_owned(),
            prefix: prefix.to_owned(),
            access_key_id: secret(ACCESS_KEY_ID),
            secret_access_key: secret(SECRET_ACCESS_KEY),
        }
    }

    /// A client that knows nothing of patina.
    pub(crate) fn client(&self) -> Client {
        client(&self.endpoint())
    }

    /// Removes objects behind everybody's back.
    pub(crate) async fn lose(&self, keys: &[&str]) {
        for key in keys {
            let remove = self.client().delete_object().bucket(BUCKET).key(*key);
            remove.send().await.unwrap();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn command(&self) -> Command {
        let folder = self.folder.path();
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(folder.join("log"))
            .unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(weed());
        command.args(["mini", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.args(["-master.telemetry=false", "-admin.ui=false"]);
        command.args(["-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
        command.args(["-master.volumeSizeLimitMB=64", "-volume.max=2000"]);
        // It would create the bucket that a wrong setting names.
        command.arg("-s3.autoCreateBucket=false");
        command.arg(format!("-bucket={BUCKET}"));
        command.arg(format!("-dir={}", folder.join("data").display()));
        command.arg(format!("-s3.config={}", folder.join("s3.json").display()));
        for (option, port) in PORTS.iter().zip(&self.ports) {
            command.arg(format!("-{option}={port}"));
        }
        command
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

pub(crate) fn client(endpoint: &str) -> Client {
    let http = aws_smithy_http_client::Builder::new().tls_provider(
        aws_smithy_http_client::tls::Provider::Rustls(
            aws_smithy_http_client::tls::rustls_provider::CryptoMode::Ring,
        ),
    );
    let config = aws_sdk_s3::Config::builder()
        .endpoint_url(endpoint)
        .force_path_style(true)
        .region(Region::new("auto"))
        .credentials_provider(Credentials::new(
            ACCESS_KEY_ID,
            SECRET_ACCESS_KEY,
            None,
            None,
            "test",
        ))
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .http_client(http.build_https());
    Client::from_conf(config.build())
}

pub(crate) fn secret(value: &str) -> Secret {
    Secret::new(value.to_owned(), SecretOrigin::Inline)
}

/// The first is where S3 is spoken.
const PORTS: [&str; 10] = [
    "s3.port",
    "s3.port.grpc",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

fn free_ports() -> Vec<u16> {
    // Below 32768, where the system takes the ports of outgoing connections from.
    let free = std::iter::repeat_with(|| rand::random_range(12_000..32_000));
    let held = free.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    // All are held until all are known, so that they differ.
    let held: Vec<TcpListener> = held.take(PORTS.len()).collect();
    let ports = held.iter().map(|held| held.local_addr().unwrap().port());
    ports.collect()
}

/// Where `scripts/seaweedfs.sh` installs it: in the target directory, beside `debug/deps/it-…`.
fn weed() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let places = this
        .ancestors()
        .map(|place| place.join("seaweedfs/bin/weed"));
    let found = places
        .into_iter()
        .find(|place: &PathBuf| Path::exists(place));
    found.expect("SeaweedFS is not installed: run scripts/test-deps.sh")
}

fn identities() -> String {
    let identity = |name: &str, id: &str, secret: &str, actions: &[&str]| {
        serde_json::json!({
            "name": name,
            "credentials": [{ "accessKey": id, "secretKey": secret }],
            "actions": actions,
        })
    };
    let all = ["Admin", "Read", "Write", "List", "Tagging"];
    let owner = identity("owner", ACCESS_KEY_ID, SECRET_ACCESS_KEY, &all);
    let reader = identity("reader", READER_KEY_ID, READER_SECRET, &["Read", "List"]);
    serde_json::json!({ "identities": [owner, reader] }).to_string()
}
