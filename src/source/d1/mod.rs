//! Reads a Cloudflare D1 database over its REST API, by queries that block nothing or, if a database is configured so,
//! by Cloudflare's own export. Invariant: a copy that may not be one state of the database is never declared as one.

mod answer;
mod budget;
mod check;
mod client;
mod discover;
mod error;
mod export;
mod import;
mod listing;
mod paged;
mod reading;
mod rights;
mod row_store;
mod schema;
mod schema_rows;
mod select;
mod snapshot;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;

use self::reading::Reading;
use super::{DumpRequest, Dumped, Source, SourceError};
use crate::config::D1Method;
use crate::dump::Sink;
use crate::types::SourceFacts;

pub use client::{Client, DatabaseInfo};
pub use discover::{Discovered, Standing, compare, name_for};
pub use error::ApiError;
pub use import::{Imported, SchemaEntry};
pub use listing::ListedDatabase;

/// Parses one value of a response, for `fuzz/`, and converts it.
#[cfg(fuzzing)]
pub fn fuzz_cell(text: &str) {
    if let Some(cell) = answer::Cell::parse(text) {
        let _ = cell.value();
    }
}

/// Size up to which a database is read in one request, which is one transaction.
const SNAPSHOT_BYTES: u64 = 8 * 1024 * 1024;

/// Upper bound for the values of a page, in bytes; as JSON they are up to twice as long.
const PAGE_BYTES: u64 = 1024 * 1024;

/// Deadline of an export. The link to it is valid for an hour; until the export is made the database answers no
/// queries.
const EXPORT_DEADLINE: Duration = Duration::from_secs(3600);

/// Treatment of a database that is written to while its pages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// The first attempt fails with a retryable error; the next one is accepted as with [`OnChange::Accept`].
    ReadAgain,
    /// The copy is kept as class B, with a warning that it is not one point in time.
    Accept,
}

/// A Cloudflare D1 database.
pub struct D1Source {
    client: Arc<Client>,
    id: String,
    method: D1Method,
    on_change: OnChange,
    /// Folder for rows that cannot be written before all are read, and for exports.
    scratch: PathBuf,
    runtime: Handle,
    snapshot_bytes: u64,
    page_bytes: u64,
    export_deadline: Duration,
    /// True if the last dump ended because the database was written to.
    changed_before: AtomicBool,
    /// Size of its file when it was last read, in bytes; 0 if unknown.
    size_bytes: AtomicU64,
}

impl D1Source {
    /// Creates a source for the database `id` of the client's account. Rows that must wait are kept in the folder
    /// `scratch`. Requests run on `runtime`, a multi-threaded one; never dump on one of its own threads but in
    /// `spawn_blocking`.
    pub fn new(
        client: Arc<Client>,
        id: String,
        method: D1Method,
        scratch: PathBuf,
        runtime: Handle,
    ) -> Self {
        Self {
            client,
            id,
            method,
            on_change: OnChange::ReadAgain,
            scratch,
            runtime,
            snapshot_bytes: SNAPSHOT_BYTES,
            page_bytes: PAGE_BYTES,
            export_deadline: EXPORT_DEADLINE,
            changed_before: AtomicBool::new(false),
            size_bytes: AtomicU64::new(0),
        }
    }

    /// Sets the treatment of changes; if no retry follows, a change must be accepted at once.
    #[must_use]
    pub fn on_change(self, on_change: OnChange) -> Self {
        Self { on_change, ..self }
    }

    /// Sets the size above which databases are read page by page.
    #[must_use]
    pub fn with_snapshot_up_to(self, snapshot_bytes: u64) -> Self {
        Self {
            snapshot_bytes,
            ..self
        }
    }

    /// Sets the approximate size of a page, in bytes.
    #[must_use]
    pub fn with_page_bytes(self, page_bytes: u64) -> Self {
        Self { page_bytes, ..self }
    }

    /// Sets the deadline of Cloudflare's own export, from the request to the last byte.
    #[must_use]
    pub fn with_export_deadline(self, export_deadline: Duration) -> Self {
        Self {
            export_deadline,
            ..self
        }
    }

    fn what(&self) -> String {
        format!("the D1 database `{}`", self.id)
    }

    /// Converts an error of the API to one of a source.
    fn told(&self, error: ApiError) -> SourceError {
        match error {
            ApiError::Stopped => SourceError::Stopped,
            error => SourceError::Unavailable {
                what: self.what(),
                retryable: error.is_retryable(),
                why: error.to_string(),
            },
        }
    }

    fn changed(&self, how: &'static str) -> SourceError {
        self.changed_before.store(true, Ordering::Relaxed);
        let what = self.what();
        SourceError::Changed { what, how }
    }
}

impl Source for D1Source {
    fn facts(&self) -> SourceFacts {
        SourceFacts {
            kind: "d1".to_owned(),
            id: self.id.clone(),
            bookmark: None,
            method: match self.method {
                D1Method::Raw => None,
                D1Method::Export => Some("export".to_owned()),
            },
            method_reason: None,
        }
    }

    fn size_hint_bytes(&self) -> Option<u64> {
        match self.size_bytes.load(Ordering::Relaxed) {
            0 => None,
            bytes => Some(bytes),
        }
    }

    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        let reading = Reading::new(self, request);
        let dumped = match self.method {
            D1Method::Raw => reading.dump(sink)?,
            D1Method::Export => reading.export(sink)?,
        };
        self.changed_before.store(false, Ordering::Relaxed);
        Ok(dumped)
    }
}
