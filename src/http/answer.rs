//! Builds JSON responses and error responses. Invariant: an error message tells the client what to do and reveals
//! nothing about the server's internals.

use std::time::Duration;

use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

use crate::catalog::CatalogError;
use crate::quote;

/// A JSON response body in which every hidden character is escaped: the same document, safe to show in a terminal.
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

/// An error response: `{"error": …, "message": …}`.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    message: String,
    more: Map<String, Value>,
    retry_after: Option<Duration>,
    /// Used only for the audit.
    why: Box<Why>,
}

/// The reason a client was refused, carried in the response extensions: for the audit, never for the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Why {
    /// Short reason code; empty if the refusal is unrelated to the client's identity or limits.
    pub(super) word: &'static str,
    /// The client's name, if it proved its identity.
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

    /// 400: the request cannot be understood.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    /// 404: no resource with that name exists.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 503: nothing was done, and the request may succeed later.
    pub(super) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
    }

    /// 429: the client has used up a limit.
    pub(super) fn too_many(message: impl Into<String>, retry_after: Duration) -> Self {
        Self {
            retry_after: Some(retry_after),
            ..Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message)
        }
    }

    /// Replaces the reason code for the audit.
    pub(super) fn because(mut self, word: &'static str) -> Self {
        self.why.word = word;
        self
    }

    /// Sets the client's proven name for the audit.
    pub(super) fn of(mut self, client: Option<String>) -> Self {
        self.why.client = client;
        self
    }

    /// Adds a field to the response body.
    pub(super) fn with(mut self, field: &str, value: impl Into<Value>) -> Self {
        self.more.insert(field.to_owned(), value.into());
        self
    }
}

impl From<CatalogError> for Refusal {
    /// Logs the catalog error; the client only learns that the catalog does not answer.
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
            // Rounds up: a retry may come late, but not too early.
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
