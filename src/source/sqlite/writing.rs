//! Writes the dump of rows that another thread reads: reading and writing each keep a core busy.

use std::io;
use std::sync::mpsc::Receiver;
use std::time::Instant;

use crate::dump::{Content, ContentHasher, Database, DumpWriter, Header, RowBlock, Sink};
use crate::source::describe::evidence_of;
use crate::types::TableEvidence;

/// Progress of the reading thread.
pub(super) enum Step {
    /// It begins the table of this index.
    Begin(usize),
    /// It read these rows.
    Rows(RowBlock),
    /// It read the table to its end.
    End,
    /// It read all tables to their end.
    Finish,
}

/// One dump to write.
pub(super) struct Job<'a> {
    pub(super) sink: &'a mut dyn Sink,
    pub(super) header: &'a Header,
    pub(super) database: &'a Database,
    pub(super) started: Instant,
}

impl Job<'_> {
    /// Writes the dump; returns the evidence of each table, with a digest of the rows as they were read.
    pub(super) fn run(self, batches: &Receiver<Vec<Step>>) -> io::Result<Vec<TableEvidence>> {
        let database = self.database;
        let mut writer = DumpWriter::start(self.sink, self.header, database)?;
        let mut evidence = Vec::with_capacity(database.tables.len());
        let mut hasher = ContentHasher::default();
        for step in batches.iter().flatten() {
            match step {
                Step::Begin(index) => writer.begin_table(database, &database.tables[index])?,
                Step::Rows(block) => {
                    hasher.block(&block);
                    block.each_row(|values| writer.row(values))?;
                }
                Step::End => {
                    writer.end_table();
                    let table = &database.tables[evidence.len()];
                    let hash = std::mem::take(&mut hasher).finish();
                    let has_rows = table.content == Content::Rows;
                    evidence.push(evidence_of(table, has_rows.then_some(hash)));
                }
                Step::Finish => {
                    let duration_ms = self.started.elapsed().as_millis();
                    let duration_ms = u64::try_from(duration_ms).unwrap_or(u64::MAX);
                    writer.finish(database, duration_ms)?;
                    return Ok(evidence);
                }
            }
        }
        // Never shown: the reading thread failed and reports the reason.
        Err(io::Error::other("the reading thread ended early"))
    }
}
