//! An HTTP server that keeps what it is sent and answers as the test wants.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use serde_json::Value;

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(90);

/// One request, every byte of it.
#[derive(Debug, Clone)]
pub(crate) struct Got {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Got {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).unwrap()
    }

    /// Everything that was sent, as one text.
    pub(crate) fn all(&self) -> String {
        format!("{self:?} {}", String::from_utf8_lossy(&self.body))
    }
}

/// What the server answers.
#[derive(Debug, Clone)]
pub(crate) enum Manner {
    Status(u16, &'static [(&'static str, &'static str)], &'static str),
    /// It sends whoever asks to another URL.
    Redirects(String),
    /// It answers with so many bytes.
    Says(usize),
    /// It takes the request and never answers.
    Hangs,
}

pub(crate) const FINE: Manner = Manner::Status(200, &[], "ok");
pub(crate) const DOWN: Manner = Manner::Status(502, &[], "");

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    shared: Arc<Mutex<(Manner, Vec<Got>)>>,
}

impl Server {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            shared: Arc::new(Mutex::new((FINE, Vec::new()))),
        };
        let router = Router::new().fallback(answer).with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    /// Answers in this manner from now on.
    pub(crate) fn behave(&self, manner: Manner) {
        self.shared.lock().unwrap().0 = manner;
    }

    /// What it got so far below this path; the oldest first.
    pub(crate) fn got(&self, path: &str) -> Vec<Got> {
        let all = self.shared.lock().unwrap().1.clone();
        let is_below = |got: &Got| got.path.trim_start_matches('/').starts_with(path);
        all.into_iter().filter(is_below).collect()
    }

    pub(crate) fn forget(&self) {
        self.shared.lock().unwrap().1.clear();
    }

    /// Waits until it got so many requests below this path.
    pub(crate) async fn wait_for(&self, path: &str, count: usize) -> Vec<Got> {
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
        Manner::Redirects(to) => (StatusCode::FOUND, [("location", to)]).into_response(),
        Manner::Says(bytes) => {
            // A piece at a time, so that it is not this process that holds them all.
            let piece = Bytes::from_static(&[b'x'; 1 << 10]);
            let pieces = (0..bytes.div_ceil(piece.len())).map(move |at| {
                let left = bytes - at * piece.len();
                Ok::<_, Infallible>(piece.slice(..left.min(piece.len())))
            });
            Body::from_stream(stream::iter(pieces)).into_response()
        }
        Manner::Status(status, headers, body) => {
            let mut answer = (StatusCode::from_u16(status).unwrap(), body).into_response();
            for (name, value) in headers {
                answer.headers_mut().insert(*name, value.parse().unwrap());
            }
            answer
        }
    }
}
