//! Runs D1's own export and downloads the file. Invariant: it respects the deadline, needs bounded memory, and treats a
//! truncated file as an error.
//!
//! <https://developers.cloudflare.com/api/resources/d1/subresources/database/methods/export/>

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use tokio_util::sync::CancellationToken;

use crate::source::d1::answer::Envelope;
use crate::source::d1::client::{Client, result_of};
use crate::source::d1::error::ApiError;
use crate::types::share;

/// Polling interval. An export that is not polled for 15 seconds cancels itself.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Number of times that a file is downloaded if the connection breaks.
const DOWNLOADS: u32 = 3;

/// Number of exports: one more is made if the link to the first was refused.
const EXPORTS: u32 = 2;

/// Response of `/export`.
#[derive(Deserialize)]
struct State {
    success: Option<bool>,
    status: Option<String>,
    at_bookmark: Option<String>,
    error: Option<String>,
    result: Option<Link>,
}

#[derive(Deserialize)]
struct Link {
    signed_url: String,
}

/// One export of one database.
pub(super) struct Job<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a str,
    /// Time from the first request to the last byte.
    pub(super) deadline: Duration,
    pub(super) stop: &'a CancellationToken,
}

impl Job<'_> {
    /// Writes the export to `file`; returns the bookmark of the exported state.
    pub(super) async fn run(&self, file: &Path) -> Result<Option<String>, ApiError> {
        let ends_at = self.client.clock().elapsed() + self.deadline;
        let mut exports_left = EXPORTS;
        loop {
            exports_left -= 1;
            let (link, bookmark) = self.wait_for_link(ends_at).await?;
            match self.fetch(&link, file, ends_at).await {
                Err(error @ ApiError::LinkExpired(_)) if exports_left > 0 => {
                    tracing::warn!(database = %self.id, "{error}; exported again");
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(bookmark),
            }
        }
    }

    async fn wait_for_link(&self, ends_at: Duration) -> Result<(Link, Option<String>), ApiError> {
        let mut bookmark = None;
        loop {
            let state = self.ask(bookmark.as_deref()).await?;
            if state.success == Some(false) {
                let why = state.error.as_deref().unwrap_or("it gives no reason");
                return Err(ApiError::of_export(&self.client.said(why)));
            }
            bookmark = state.at_bookmark.or(bookmark);
            match (state.status.as_deref(), state.result) {
                (Some("complete"), Some(link)) => return Ok((link, bookmark)),
                (Some("active"), _) if bookmark.is_some() => {}
                (Some("error"), _) => {
                    let why = state.error.as_deref().unwrap_or("it gives no reason");
                    return Err(ApiError::of_export(&self.client.said(why)));
                }
                (status, _) => {
                    let status = self.client.said(status.unwrap_or("none"));
                    let text = format!("an export with status `{status}` and no file or bookmark");
                    return Err(ApiError::Malformed(text));
                }
            }
            self.check_time(ends_at)?;
            tokio::select! {
                () = self.client.clock().sleep(POLL_EVERY) => {}
                () = self.stop.cancelled() => return Err(ApiError::Stopped),
            }
        }
    }

    async fn ask(&self, bookmark: Option<&str>) -> Result<State, ApiError> {
        let mut body = serde_json::json!({
            "output_format": "polling",
            "dump_options": { "no_data": false, "no_schema": false, "tables": [] },
        });
        if let Some(bookmark) = bookmark {
            body["current_bookmark"] = bookmark.into();
        }
        let url = self.client.database_url(&format!("/{}/export", self.id));
        let body = Some(body.to_string());
        let envelope: Envelope<State> = self
            .client
            .call(Method::POST, &url, body, self.stop)
            .await?;
        result_of(envelope.result)
    }

    /// Downloads from the beginning, again if the connection breaks.
    async fn fetch(&self, link: &Link, file: &Path, ends_at: Duration) -> Result<(), ApiError> {
        let mut downloads_left = DOWNLOADS;
        loop {
            downloads_left -= 1;
            let outcome = tokio::select! {
                outcome = self.download(link, file, ends_at) => outcome,
                () = self.stop.cancelled() => return Err(ApiError::Stopped),
            };
            match outcome {
                Err(error @ (ApiError::Connection(_) | ApiError::Overloaded(_)))
                    if downloads_left > 0 =>
                {
                    tracing::debug!("downloading the export again: {error}");
                    self.client.clock().sleep(POLL_EVERY).await;
                }
                done => return done,
            }
        }
    }

    async fn download(&self, link: &Link, file: &Path, ends_at: Duration) -> Result<(), ApiError> {
        let patience = self.client.request_timeout();
        let broken = |error| self.client.told(error);
        let request = self.client.link(&link.signed_url)?.send();
        let answer = tokio::time::timeout(patience, request).await;
        let mut response = answer.map_err(|_| stalled(patience))?.map_err(broken)?;
        match response.status().as_u16() {
            200 => {}
            status @ (401 | 403 | 404 | 410) => return Err(ApiError::LinkExpired(status)),
            status => {
                return Err(ApiError::Overloaded(format!(
                    "the file's status is {status}"
                )));
            }
        }
        let length = response.content_length();
        let unwritable = |error: std::io::Error| ApiError::Scratch(error.to_string());
        let mut out = BufWriter::new(File::create(file).map_err(unwritable)?);
        let mut written = 0;
        loop {
            self.check_time(ends_at)?;
            let chunk = tokio::time::timeout(patience, response.chunk()).await;
            let Some(chunk) = chunk.map_err(|_| stalled(patience))?.map_err(broken)? else {
                break;
            };
            out.write_all(&chunk).map_err(unwritable)?;
            written += chunk.len() as u64;
        }
        out.flush().map_err(unwritable)?;
        match length {
            Some(length) if length != written => {
                let text = format!("{} came", share(written, length, "byte"));
                Err(ApiError::Connection(text))
            }
            _ => Ok(()),
        }
    }

    fn check_time(&self, ends_at: Duration) -> Result<(), ApiError> {
        match self.client.clock().elapsed() < ends_at {
            true => Ok(()),
            false => Err(ApiError::ExportTimeout(self.deadline)),
        }
    }
}

fn stalled(patience: Duration) -> ApiError {
    ApiError::Connection(format!("nothing came for {} s", patience.as_secs_f32()))
}
