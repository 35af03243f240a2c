//! Says what went well or wrong, as JSON. Invariant: the text of a refusal tells a client what to do and nothing of what
//! is inside.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::catalog::CatalogError;
use crate::quote;

/// A JSON answer in which nothing is hidden: safe to show in a terminal, and the same document.
pub(super) struct Json<T>(pub(super) T);

impl<T: serde::Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        let json = HeaderValue::from_static("application/json");
        match serde_json::to_string(&self.0) {
            Ok(text) => ([(CONTENT_TYPE, json)], quote::json(&text).into_owned()).into_response(),
            Err(error) => {
                tracing::error!("an answer cannot be written as JSON: {error}");
                StatusCode::INTERNAL_SERVER_ERROR.into_response()
            }
        }
    }
}

/// Why a request is not answered as it was meant: `{"error": …, "message": …}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: String,
    more: Map<String, Value>,
    retry_after: Option<Duration>,
    /// For the audit alone.
    why: Box<Why>,
}

/// Why a client was kept out, in the answer's extensions: for the audit, and never for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why {
    /// A word; empty where the refusal has nothing to do with who asks.
    pub(super) word: &'static str,
    /// Who it is, where it proved that.
    pub(super) client: Option<String>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            error,
            message: message.into(),
            more: Map::new(),
            retry_after: None,
            why: Box::new(Why {
                word: match status {
                    StatusCode::UNAUTHORIZED
                    | StatusCode::FORBIDDEN
                    | StatusCode::MISDIRECTED_REQUEST
                    | StatusCode::TOO_MANY_REQUESTS => error,
                    _ => "",
                },
                client: None,
            }),
        }
    }

    /// The request cannot be understood.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// There is nothing of that name.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// It works again later, and nothing was done.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// The client has had its share.
    pub(super) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
        }
    }

    /// The same, with another word for the audit.
    pub(super) fn because(mut self, word: &'static str) -> Self {
        self.why.word = word;
        self
    }

    /// The same, of a client that proved who it is.
    pub(super) fn of(mut self, client: Option<String>) -> Self {
        self.why.client = client;
        self
    }

    /// The same, with one more field.
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }
}

impl From<CatalogError> for Refusal {
    /// What exactly is wrong with the catalog is for the log.
    fn from(error: CatalogError) -> Self {
        tracing::error!("a request was not answered: {error}");
        Self::unavailable("the catalog does not answer; try again")
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        body.insert("error".to_owned(), self.error.into());
        body.insert("message".to_owned(), self.message.into());
        body.extend(self.more);
        let mut response = (self.status, Json(Value::Object(body))).into_response();
        if !self.why.word.is_empty() {
            response.extensions_mut().insert(*self.why);
        }
        let headers = response.headers_mut();
        if let Some(pause) = self.retry_after {
            // A second too late is right, a second too early is not.
            let seconds = pause.as_secs() + u64::from(pause.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(
                WWW_AUTHENTICATE,
                HeaderValue::from_static("Patina-Key header=\"X-Patina-Key\""),
            );
        }
        response
    }
}
