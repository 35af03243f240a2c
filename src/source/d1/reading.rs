//! Takes one dump of one database: what it looks like, then its rows, then whether it stood still.

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

/// So often a schema may change between two requests before it counts as trouble.
const SCHEMA_TRIES: u32 = 4;

/// One dump in the making.
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

    /// Waits for the API. What of it is waiting for the budget that all databases share is counted as such.
    pub(super) fn answer<T>(&self, request: impl Future<Output = T>) -> T {
        let waits = Arc::clone(self.request.progress.waits());
        self.source.runtime.block_on(WAITS.scope(waits, request))
    }

    /// The size of the database's file, remembered for the next time; `None` where the API does not tell.
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

    /// The state's bookmark; `None` where the API gives none.
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

/// Whether smaller requests may do what one large one could not. Nobody documents how much a batch may hold.
fn is_about_size(error: &ApiError) -> bool {
    error.wants_less() || matches!(error, ApiError::Refused { .. })
}

pub(super) fn values(cells: &[Cell]) -> Vec<Value<'_>> {
    cells.iter().map(Cell::value).collect()
}
