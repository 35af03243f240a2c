//! Makes one dump of one database: reads its schema, then its rows, then checks that it did not change.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::D1Source;
use super::answer::Cell;
use super::budget::WAITS;
use super::check::Check;
use super::error::ApiError;
use super::schema::{Described, Rows, Schema, Skills};
use crate::dump::{Sink, Value};
use crate::source::{DumpRequest, Dumped, SourceError};
use crate::types::{EvidenceClass, SourceEvidence, TableEvidence};

/// Number of times that the schema may change between two requests before that is an error.
const SCHEMA_TRIES: u32 = 4;

/// One dump in progress.
pub(super) struct Reading<'a> {
    pub(super) source: &'a D1Source,
    pub(super) request: &'a DumpRequest<'a>,
    pub(super) skills: Skills,
}

impl<'a> Reading<'a> {
    pub(super) fn new(source: &'a D1Source, request: &'a DumpRequest<'a>) -> Self {
        Self {
            source,
            request,
            skills: Skills::default(),
        }
    }

    pub(super) fn dump(mut self, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        let size = self.size_bytes()?;
        let before = self.bookmark().map_err(|error| self.source.told(error))?;
        if size.is_none_or(|bytes| bytes <= self.source.snapshot_bytes) {
            match self.snapshot(SCHEMA_TRIES) {
                Ok(snapshot) => return self.write_snapshot(snapshot, before, sink),
                Err(error) if is_about_size(&error) => {
                    tracing::debug!("one request is too little for the whole database: {error}");
                }
                Err(error) => return Err(self.source.told(error)),
            }
        }
        self.copy_pages(before, sink)
    }

    /// Waits for a request. The time spent on the budget that all databases share is counted separately.
    pub(super) fn answer<T>(&self, request: impl Future<Output = T>) -> T {
        let waits = Arc::clone(self.request.progress.waits());
        self.source.runtime.block_on(WAITS.scope(waits, request))
    }

    /// Returns the size of the database's file in bytes, and remembers it for the next dump; `None` if the API does not
    /// state it.
    pub(super) fn size_bytes(&self) -> Result<Option<u64>, SourceError> {
        let source = self.source;
        let info = source.client.info(&source.id, self.request.stop);
        let info = self.answer(info);
        let size = info.map_err(|error| source.told(error))?.file_size;
        source
            .size_bytes
            .store(size.unwrap_or(0), Ordering::Relaxed);
        Ok(size)
    }

    /// Returns the bookmark of the present state; `None` if the API gives none.
    pub(super) fn bookmark(&self) -> Result<Option<String>, ApiError> {
        let client = &self.source.client;
        let bookmark = client.bookmark(&self.source.id, self.request.stop);
        match self.answer(bookmark) {
            Err(
                ApiError::Refused { .. }
                | ApiError::MissingPermission(_)
                | ApiError::UnknownDatabase(_),
            ) => Ok(None),
            other => other,
        }
    }

    /// Runs `statements` in one transaction.
    pub(super) fn batch(&self, statements: &[String]) -> Result<Vec<Rows>, ApiError> {
        let client = &self.source.client;
        let batch = client.batch(&self.source.id, statements, self.request.stop);
        let batch = self.answer(batch)?;
        Ok(batch
            .answers
            .into_iter()
            .map(|answer| answer.results.rows)
            .collect())
    }

    pub(super) fn evidence(
        &self,
        described: &Described,
        tables: Vec<TableEvidence>,
    ) -> SourceEvidence {
        SourceEvidence {
            tables,
            schema: described.digest,
            user_version: 0,
            application_id: 0,
            foreign_key_violations: described.violations,
        }
    }

    pub(super) fn dumped(
        &self,
        described: Described,
        schema: &Schema,
        tables: Vec<TableEvidence>,
        bookmark: Option<String>,
        mut class: EvidenceClass,
        check: Check,
    ) -> Dumped {
        let mut warnings = described.warnings.clone();
        let witness = check.witness(&mut class, &mut warnings);
        Dumped {
            evidence: self.evidence(&described, tables),
            class,
            bookmark,
            incomplete: !schema.missing.is_empty(),
            warnings,
            exceptions: described.exceptions,
            witness,
        }
    }
}

/// True if smaller requests may succeed where one large one failed. The limits of a batch are not documented.
fn is_about_size(error: &ApiError) -> bool {
    error.wants_less() || matches!(error, ApiError::Refused { .. })
}

pub(super) fn values(cells: &[Cell]) -> Vec<Value<'_>> {
    cells.iter().map(Cell::value).collect()
}
