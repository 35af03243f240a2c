//! Reads a Cloudflare D1 database over its REST API, by queries that block nothing or, where a database asks for it, by
//! Cloudflare's own export. Invariant: what may not be one state of the
//! database is never called one.

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

/// Reads one value of an answer, for `fuzz/`: what was read is handed on as a value.
#[cfg(fuzzing)]
pub fn fuzz_cell(text: &str) {
    if let Some(cell) = answer::Cell::parse(text) {
        let _ = cell.value();
    }
}

/// A database up to this size is read in one request, which is one transaction.
const SNAPSHOT_BYTES: u64 = 8 * 1024 * 1024;

/// What the values of a page may hold; as JSON they are up to twice as long.
const PAGE_BYTES: u64 = 1024 * 1024;

/// The link to an export is valid for an hour; the database answers nobody until the export is made.
const EXPORT_DEADLINE: Duration = Duration::from_secs(3600);

/// What to do about a database that is written to while its pages are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnChange {
    /// The first time fails, retryably; the next one is accepted as [`OnChange::Accept`] does.
    ReadAgain,
    /// Kept as class B, with a warning that it is not one point in time.
    Accept,
}

/// A Cloudflare D1 database.
pub struct D1Source {
    client: Arc<Client>,
    id: String,
    method: D1Method,
    on_change: OnChange,
    /// Where rows wait that cannot be written before all are read.
    scratch: PathBuf,
    runtime: Handle,
    snapshot_bytes: u64,
    page_bytes: u64,
    export_deadline: Duration,
    /// The last dump ended because the database was written to.
    changed_before: AtomicBool,
    /// The size of its file when it was last read; 0 where nobody knows.
    size_bytes: AtomicU64,
}

impl D1Source {
    /// The database `id` of the client's account. Rows that must wait do so in the folder `scratch`. Requests run on
    /// `runtime`, a multi-threaded one; never dump on one of its own threads but in `spawn_blocking`.
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

    /// The same source; with no retry to come, a change must be accepted at once.
    #[must_use]
    pub fn on_change(self, on_change: OnChange) -> Self {
        Self { on_change, ..self }
    }

    /// The same source, reading larger databases than this page by page.
    #[must_use]
    pub fn with_snapshot_up_to(self, snapshot_bytes: u64) -> Self {
        Self {
            snapshot_bytes,
            ..self
        }
    }

    /// The same source, asking for pages of about so many bytes.
    #[must_use]
    pub fn with_page_bytes(self, page_bytes: u64) -> Self {
        Self { page_bytes, ..self }
    }

    /// The same source, giving Cloudflare's own export so long from the request to the last byte.
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

    /// The API's error in the words of a source.
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
