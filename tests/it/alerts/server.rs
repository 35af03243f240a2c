//! An HTTP server that keeps what it is sent and answers as the test wants.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(90);

/// One request, every byte of it.
#[derive(Debug, Clone)]
pub(super) struct Got {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Everything that was sent, as one text.
    pub(super) fn all(&self) -> String {
        format!("{self:?} {}", String::from_utf8_lossy(&self.body))
    }
}

/// What the server answers.
#[derive(Debug, Clone)]
pub(super) enum Manner {
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// It takes the request and never answers.
    Hangs,
}

pub(super) const FINE: Manner = Manner::Status(200, &[], "ok");
pub(super) const DOWN: Manner = Manner::Status(502, &[], "");

#[derive(Clone)]
pub(super) struct Server {
    pub(super) address: SocketAddr,
    shared: Arc<Mutex<(Manner, Vec<Got>)>>,
}

impl Server {
    pub(super) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Mutex::new((FINE, Vec::new()))),
        };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Answers in this manner from now on.
    pub(super) fn behave(&self, manner: Manner) {
        self.shared.lock().unwrap().0 = manner;
    }

    /// What it got so far below this path; the oldest first.
    pub(super) fn got(&self, path: &str) -> Vec<Got> {
        let all = self.shared.lock().unwrap().1.clone();
        let is_below = |got: &Got| got.path.trim_start_matches('/').starts_with(path);
        all.into_iter().filter(is_below).collect()
    }

    pub(super) fn forget(&self) {
        self.shared.lock().unwrap().1.clear();
    }

    /// Waits until it got so many requests below this path.
    pub(super) async fn wait_for(&self, path: &str, count: usize) -> Vec<Got> {
        let began = Instant::now();
        loop {
            let got = self.got(path);
            if got.len() >= count {
                return got;
            }
            assert!(began.elapsed() < PATIENCE, "{count} at {path}, got {got:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn answer(
    State(server): State<Server>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let headers = headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.to_string(), value)
    });
    let manner = {
        let mut shared = server.shared.lock().unwrap();
        shared.1.push(Got {
            method: method.to_string(),
            path: uri.to_string(),
            headers: headers.collect(),
            body: body.to_vec(),
        });
        shared.0.clone()
    };
    match manner {
        Manner::Hangs => std::future::pending().await,
        Manner::Status(status, headers, body) => {
            let mut answer = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        }
    }
}
