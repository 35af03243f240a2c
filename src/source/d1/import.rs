//! Imports SQL text into a D1 database. Invariant: all of the text takes effect, or none of it.
//!
//! <https://developers.cloudflare.com/api/resources/d1/subresources/database/methods/import/>

use std::path::Path;
use std::time::Duration;

use md5::{Digest, Md5};
use reqwest::{Body, Method};
use serde::Deserialize;
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

use super::answer::{Cell, Envelope};
use super::client::{Client, result_of};
use super::error::ApiError;
use crate::dump::Splitter;
use crate::types::counted;

/// Polling interval. An import that is not polled for 15 seconds cancels itself.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// Timeout of the upload, and again of the import after it. Cloudflare documents no limit; an export's link is valid
/// for an hour.
const DEADLINE: Duration = Duration::from_secs(3600);

/// Cloudflare's limit for a file, in bytes.
const MAX_FILE_BYTES: u64 = 5 * 1024 * 1024 * 1024;

/// Size up to which text fits one request, which is one transaction, if the import is not available.
const MAX_BATCH_BYTES: u64 = 4 * 1024 * 1024;

/// D1's limit for a statement, in bytes.
const MAX_STATEMENT_BYTES: usize = 100_000;

/// Method by which the text was imported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// Cloudflare's import.
    Import,
    /// One batch of statements, because the import was not available.
    Batch,
}

/// A user's entry of a database's schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaEntry {
    /// `table`, `view`, `index` or `trigger`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Response of `/import`.
#[derive(Deserialize)]
struct State {
    success: Option<bool>,
    status: Option<String>,
    at_bookmark: Option<String>,
    error: Option<String>,
    upload_url: Option<String>,
    filename: Option<String>,
}

impl Client {
    /// Returns the tables, views, indexes and triggers of the database `id`, in the order in which they were created,
    /// without those of D1 and of SQLite themselves.
    ///
    /// # Errors
    /// Those of the API.
    pub async fn schema(
        &self,
        id: &str,
        stop: &CancellationToken,
    ) -> Result<Vec<SchemaEntry>, ApiError> {
        let sql = "SELECT 't'||type, 't'||name FROM sqlite_schema WHERE name NOT LIKE '\\_cf\\_%' ESCAPE '\\' \
                   AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT IN \
                   (SELECT name FROM pragma_table_list WHERE type = 'shadow') ORDER BY rowid";
        let batch = self.batch(id, &[sql.to_owned()], stop).await?;
        let rows = batch
            .answers
            .into_iter()
            .flat_map(|answer| answer.results.rows);
        let entry = |row: Vec<Cell>| match row.as_slice() {
            [Cell::Text(kind), Cell::Text(name)] => Some(SchemaEntry {
                kind: String::from_utf8_lossy(kind).into_owned(),
                name: String::from_utf8_lossy(name).into_owned(),
            }),
            _ => None,
        };
        let entries = rows.map(entry).collect::<Option<_>>();
        entries.ok_or_else(|| ApiError::Malformed("a schema entry without a name".to_owned()))
    }

    /// Executes the SQL of `file` in the database `id` as one transaction: by the import, or, if the API refuses that
    /// and the file is small, as one batch. Meanwhile the database answers no queries. `stop` cancels the import until
    /// the text is handed over.
    ///
    /// # Errors
    /// [`ApiError::ImportFailed`] if D1 refused the text and is unchanged, and those of the API.
    pub async fn import(
        &self,
        id: &str,
        file: &Path,
        stop: &CancellationToken,
    ) -> Result<Imported, ApiError> {
        let unreadable = |error: std::io::Error| ApiError::Scratch(error.to_string());
        let size_bytes = file.metadata().map_err(unreadable)?.len();
        if size_bytes > MAX_FILE_BYTES {
            let size = counted(size_bytes, "byte");
            let text = format!("{size} of SQL; it takes {MAX_FILE_BYTES} at most");
            return Err(ApiError::ImportFailed(text));
        }
        let etag = md5_of(file).map_err(unreadable)?;
        let init = serde_json::json!({ "action": "init", "etag": etag });
        let state = match self.ask_import(id, &init, stop).await {
            Err(ApiError::Refused { code, message }) if size_bytes <= MAX_BATCH_BYTES => {
                tracing::warn!(
                    "the import is not to be had ({code}: {message}): one batch instead"
                );
                self.import_as_batch(id, file, stop).await?;
                return Ok(Imported::Batch);
            }
            other => other?,
        };
        let state = match (state.upload_url, state.filename) {
            (Some(url), Some(name)) => {
                tokio::select! {
                    sent = self.upload(&url, file, size_bytes, &etag) => sent?,
                    () = stop.cancelled() => return Err(ApiError::Stopped),
                }
                let ingest =
                    serde_json::json!({ "action": "ingest", "etag": etag, "filename": name });
                // From here on D1 may have the text, so the outcome must be awaited.
                self.ask_import(id, &ingest, &CancellationToken::new())
                    .await
                    .map_err(unsure)?
            }
            // D1 has this very file already, and has started.
            (upload_url, filename) => State {
                upload_url,
                filename,
                ..state
            },
        };
        self.wait_for_import(id, state).await?;
        Ok(Imported::Import)
    }

    async fn wait_for_import(&self, id: &str, mut state: State) -> Result<(), ApiError> {
        let ends_at = self.clock().elapsed() + DEADLINE;
        let (never, mut bookmark) = (CancellationToken::new(), None);
        loop {
            bookmark = state.at_bookmark.take().or(bookmark);
            let why = || {
                let why = state.error.as_deref();
                self.said(why.unwrap_or("it gives no reason"))
            };
            match state.status.as_deref() {
                Some("complete") if state.success != Some(false) => return Ok(()),
                _ if state.success == Some(false) => return Err(ApiError::ImportFailed(why())),
                Some("error") => return Err(ApiError::ImportFailed(why())),
                _ if bookmark.is_none() => {
                    let text = "its answer has no status and no bookmark".to_owned();
                    return Err(ApiError::ImportUnsure(text));
                }
                _ => {}
            }
            if self.clock().elapsed() > ends_at {
                let text = format!("it did not end within {} s", DEADLINE.as_secs());
                return Err(ApiError::ImportUnsure(text));
            }
            self.clock().sleep(POLL_EVERY).await;
            let poll = serde_json::json!({ "action": "poll", "current_bookmark": bookmark });
            let asked = self.ask_import(id, &poll, &never);
            state = asked.await.map_err(unsure)?;
        }
    }

    async fn ask_import(
        &self,
        id: &str,
        body: &serde_json::Value,
        stop: &CancellationToken,
    ) -> Result<State, ApiError> {
        let url = self.database_url(&format!("/{id}/import"));
        let body = Some(body.to_string());
        let envelope: Envelope<State> = self.call(Method::POST, &url, body, stop).await?;
        result_of(envelope.result)
    }

    /// Uploads the file to a signed link, which is used without the token.
    async fn upload(
        &self,
        url: &str,
        file: &Path,
        size_bytes: u64,
        etag: &str,
    ) -> Result<(), ApiError> {
        let unreadable = |error: std::io::Error| ApiError::Scratch(error.to_string());
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let request = self
            .link_to(Method::PUT, url)?
            .header("content-length", size_bytes)
            .timeout(DEADLINE)
            .body(Body::wrap_stream(ReaderStream::new(opened)));
        let response = request.send().await.map_err(|error| self.told(error))?;
        let status = response.status();
        if !status.is_success() {
            let text = format!("the upload was refused with status {}", status.as_u16());
            return Err(ApiError::Overloaded(text));
        }
        let kept = response
            .headers()
            .get("etag")
            .and_then(|etag| etag.to_str().ok());
        match kept.map(|kept| kept.trim_matches('"')) {
            Some(kept) if kept != etag => Err(ApiError::Connection(format!(
                "the upload has the MD5 {kept}, the file {etag}"
            ))),
            _ => Ok(()),
        }
    }

    async fn import_as_batch(
        &self,
        id: &str,
        file: &Path,
        stop: &CancellationToken,
    ) -> Result<(), ApiError> {
        let failed = |error: &dyn std::fmt::Display| ApiError::ImportFailed(error.to_string());
        let opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
        let mut splitter = Splitter::new(opened, MAX_STATEMENT_BYTES);
        let mut statements = Vec::new();
        while let Some((_, statement)) =
            splitter.next_statement().map_err(|error| failed(&error))?
        {
            let sql = std::str::from_utf8(statement).map_err(|error| failed(&error))?;
            statements.push(sql.to_owned());
        }
        if stop.is_cancelled() {
            return Err(ApiError::Stopped);
        }
        // From here on D1 may execute the text, so the outcome must be awaited.
        let batch = self.batch(id, &statements, &CancellationToken::new()).await;
        batch.map(drop).map_err(unsure)
    }
}

/// Converts an error after which D1 may still execute the text.
fn unsure(error: ApiError) -> ApiError {
    match error {
        // D1 refused, so the text has no effect.
        ApiError::Refused { message, .. } => ApiError::ImportFailed(message),
        other => ApiError::ImportUnsure(other.to_string()),
    }
}

fn md5_of(path: &Path) -> std::io::Result<String> {
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Md5::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = std::io::Read::read(&mut file, &mut buffer)?;
        if count == 0 {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(&buffer[..count]);
    }
}
