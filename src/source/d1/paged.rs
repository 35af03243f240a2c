//! Reads a database page by page, and judges at the end whether it stood still meanwhile.

use std::time::Instant;

use super::OnChange;
use super::answer::Cell;
use super::error::ApiError;
use super::reading::{Reading, is_kept, values};
use super::schema::{Described, Pulse, Rows, Schema};
use super::select::{Begin, Limit, Reader};
use crate::dump::{Content, ContentHasher, Database, DumpWriter, Rowid, Sink, Table};
use crate::source::describe::{Extent, RowKey, evidence_of};
use crate::source::{Dumped, SourceError};
use crate::types::{ContentHash, EvidenceClass};

use std::sync::atomic::Ordering;

/// What the values of a page may hold; as JSON they are up to twice as long.
const PAGE_BYTES: u64 = 1024 * 1024;

/// Where the largest values would make a page longer than this, D1 itself counts how many rows fit.
const WORST_PAGE_BYTES: u64 = 8 * 1024 * 1024;

/// The most rows of a page.
const PAGE_ROWS: u64 = 20_000;
/// The same, where nobody knows how large the values are.
const BLIND_PAGE_ROWS: u64 = 1_000;

/// What a cell takes beside its value.
const CELL_BYTES: u64 = 8;

/// A slice of a large value, and how many are read at once.
const SLICE_BYTES: u64 = 250_000;
const SLICES_PER_BATCH: usize = 4;

/// So many statements of the preflight go into one request.
const FACTS_PER_BATCH: usize = 60;

/// A page that fails so often in a row will not be read.
const PAGE_TRIES: u32 = 12;
/// A page whose answer does not come so often in a row: the database is not there.
const TIMEOUT_TRIES: u32 = 3;

/// Moved rows make a page's rows come twice or not at all; then only another dump helps.
const ROWS_MOVED: &str = "lost or gained rows";
const WAS_WRITTEN: &str = "was written to";
const SCHEMA_CHANGED: &str = "changed its schema";

/// How the database's content compares to what it was at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stillness {
    Still,
    Moved,
}

/// What one table's rows were.
struct Copied {
    hash: ContentHash,
    rows: u64,
}

impl Reading<'_> {
    pub(super) fn copy_pages(
        mut self,
        before: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<Dumped, SourceError> {
        let started = Instant::now();
        let accepts = self.source.on_change == OnChange::Accept
            || self.source.changed_before.load(Ordering::Relaxed);
        self.skills.sizes = true;
        let (schema, pulse) = self.schema().map_err(|error| self.source.told(error))?;
        let mut described = self
            .facts(&schema)
            .map_err(|error| self.source.told(error))?;
        if accepts {
            keep_all_rowids(&schema, &mut described.database);
        }
        let mut watch = Watch {
            first: pulse,
            accepts,
            moved: false,
        };
        self.request
            .progress
            .expect_rows(described.database.total_rows());
        let mut writer = DumpWriter::start(sink, self.request.header, &described.database)?;
        let mut tables = Vec::with_capacity(described.database.tables.len());
        for at in 0..described.database.tables.len() {
            let table = &described.database.tables[at];
            writer.begin_table(&described.database, table)?;
            if table.content != Content::Rows {
                writer.end_table();
                tables.push(evidence_of(table, None));
                continue;
            }
            let copied = self.copy_table(&schema, &described, table, &mut writer, &mut watch)?;
            writer.end_table();
            if copied.rows != table.rows {
                if !accepts {
                    return Err(self.source.changed(ROWS_MOVED));
                }
                watch.moved = true;
            }
            let table = &mut described.database.tables[at];
            table.rows = copied.rows;
            tables.push(evidence_of(table, Some(copied.hash)));
        }
        let stillness = self.judge(&schema, &described, &watch, before.as_deref())?;
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        writer.finish(&described.database, duration_ms)?;
        let (class, bookmark) = match stillness {
            Stillness::Still => (EvidenceClass::A, before),
            Stillness::Moved => {
                described.warnings.push(
                    "not a point in time: the database was written to while it was read, twice in a row; rows of \
                     different tables may not belong together"
                        .to_owned(),
                );
                (EvidenceClass::B, None)
            }
        };
        Ok(self.dumped(described, &schema, tables, bookmark, class))
    }

    /// Counts and sizes, in as few requests as there is time for.
    fn facts(&mut self, schema: &Schema) -> Result<Described, ApiError> {
        'again: loop {
            let statements = schema.facts_sql(self.skills);
            let mut answers = Vec::with_capacity(statements.len());
            for chunk in statements.chunks(FACTS_PER_BATCH) {
                match self.batch(chunk) {
                    Ok(more) => answers.extend(more),
                    Err(error) if self.skills.learn(&error) => continue 'again,
                    Err(error) => return Err(error),
                }
            }
            return schema.describe(answers, self.skills, self.request.skip_data);
        }
    }

    fn copy_table(
        &self,
        schema: &Schema,
        described: &Described,
        table: &Table,
        writer: &mut DumpWriter<'_, dyn Sink + '_>,
        watch: &mut Watch,
    ) -> Result<Copied, SourceError> {
        let sizes = described.sizes.get(&table.name);
        let mut reader = Reader::new(table, schema.key(table), self.skills.atan2);
        reader.largest = sizes.map(|sizes| &*sizes.largest);
        reader.last = described
            .extents
            .get(&table.name)
            .and_then(|extent| extent.last);
        let mut size = PageSize::new(sizes.map(|sizes| (&*sizes.largest, sizes.total)), table);
        let mut tally = Tally::default();
        let mut begin = Begin::Start;
        loop {
            let limit = size.limit();
            let (rows, pulse) = self.page(&mut reader, &begin, &mut size)?;
            self.heed(watch, &pulse)?;
            let count = rows.len();
            let mut from = begin;
            for mut row in rows {
                self.fetch_large(&reader, &from, &mut row)?;
                from = reader.after(&row, tally.extent.rows + 1);
                tally.add(&reader, &row);
                writer.row(&values(reader.written(&row, table.rowid)))?;
            }
            begin = from;
            self.request.progress.add_rows(count as u64);
            let is_last = match limit {
                Limit::Rows(most) if size.limit() == limit => (count as u64) < most,
                _ => count == 0,
            };
            if is_last {
                break;
            }
        }
        self.finish_table(schema, table, tally)
    }

    /// The evidence of a table: with rowids where a copy of just these rows would keep them.
    fn finish_table(
        &self,
        schema: &Schema,
        table: &Table,
        tally: Tally,
    ) -> Result<Copied, SourceError> {
        let is_kept_in_copy = match schema.key(table) {
            RowKey::Rowid(_) if !table.is_virtual => !tally.extent.is_gapless(),
            _ => is_kept(table.rowid),
        };
        if is_kept_in_copy && !is_kept(table.rowid) {
            // They would be written without their rowids, which do not come back by themselves.
            return Err(self.source.changed(ROWS_MOVED));
        }
        let hasher = match is_kept_in_copy {
            true => tally.with_rowid,
            false => tally.without_rowid,
        };
        Ok(Copied {
            hash: hasher.finish(),
            rows: tally.extent.rows,
        })
    }

    /// One page, smaller where D1 cannot manage it.
    fn page(
        &self,
        reader: &mut Reader<'_>,
        begin: &Begin,
        size: &mut PageSize,
    ) -> Result<(Rows, Pulse), SourceError> {
        let (mut tries, mut timeouts) = (0, 0);
        loop {
            if self.request.stop.is_cancelled() {
                return Err(SourceError::Stopped);
            }
            let mut statements = vec![Pulse::SQL.to_owned()];
            statements.extend(reader.page(begin, size.limit()));
            let error = match self.batch(&statements) {
                Ok(mut answers) => {
                    let pulse =
                        Pulse::read(&answers.remove(0)).map_err(|error| self.source.told(error))?;
                    let rows = reader.join(answers).ok_or_else(super::schema::misshapen);
                    let rows = rows.map_err(|error| self.source.told(error))?;
                    let doubtful = reader.doubtful(&rows);
                    if doubtful.is_empty() {
                        return Ok((rows, pulse));
                    }
                    reader.as_hex.extend(doubtful);
                    continue;
                }
                Err(error) => error,
            };
            tries += 1;
            timeouts += u32::from(matches!(error, ApiError::Timeout(_)));
            let is_hopeless = tries > PAGE_TRIES || timeouts >= TIMEOUT_TRIES;
            if !error.wants_less() || is_hopeless || !size.shrink() {
                return Err(self.source.told(error));
            }
            tracing::debug!("a page of {:?} is too large: {error}", size.limit());
        }
    }

    /// Reads what was too large for the page, slice by slice.
    fn fetch_large(
        &self,
        reader: &Reader<'_>,
        begin: &Begin,
        row: &mut [Cell],
    ) -> Result<(), SourceError> {
        for (at, cell) in row.iter_mut().enumerate() {
            let Cell::Large { is_text, bytes } = *cell else {
                continue;
            };
            let column = at - reader.first_column();
            let starts: Vec<u64> = (0..bytes).step_by(SLICE_BYTES as usize).collect();
            let mut value: Vec<u8> = Vec::with_capacity(usize::try_from(bytes).unwrap_or(0));
            for starts in starts.chunks(SLICES_PER_BATCH) {
                let slice = |start: &u64| reader.slice(begin, column, *start, SLICE_BYTES);
                let statements: Vec<String> = starts.iter().map(slice).collect();
                let answers = self
                    .batch(&statements)
                    .map_err(|error| self.source.told(error))?;
                for rows in answers {
                    match rows.into_iter().next().as_deref() {
                        Some([same, Cell::Text(slice)]) if same == cell => {
                            value.extend_from_slice(slice)
                        }
                        _ => return Err(self.source.changed(WAS_WRITTEN)),
                    }
                }
            }
            if value.len() as u64 != bytes {
                return Err(self.source.changed(WAS_WRITTEN));
            }
            *cell = match is_text {
                true => Cell::Text(value),
                false => Cell::Blob(value),
            };
        }
        Ok(())
    }

    /// Ends a dump early where it is known to be in vain.
    fn heed(&self, watch: &mut Watch, pulse: &Pulse) -> Result<(), SourceError> {
        if pulse.has_other_schema(&watch.first) {
            return Err(self.source.changed(SCHEMA_CHANGED));
        }
        if pulse.changes > watch.first.changes {
            watch.moved = true;
            if !watch.accepts {
                return Err(self.source.changed(WAS_WRITTEN));
            }
        }
        Ok(())
    }

    /// The bookmark decides; without one, the count of changes and the number of rows.
    fn judge(
        &mut self,
        schema: &Schema,
        described: &Described,
        watch: &Watch,
        before: Option<&str>,
    ) -> Result<Stillness, SourceError> {
        let (found, pulse) = self.schema().map_err(|error| self.source.told(error))?;
        if found.entries != schema.entries {
            return Err(self.source.changed(SCHEMA_CHANGED));
        }
        let is_still = match before {
            Some(before) => {
                let after = self.bookmark().map_err(|error| self.source.told(error))?;
                after.as_deref() == Some(before)
            }
            None => {
                // A count that starts again from 0 hides what came before.
                let again = self
                    .facts(schema)
                    .map_err(|error| self.source.told(error))?;
                pulse == watch.first
                    && pulse.changes > 0
                    && !watch.moved
                    && again.extents == described.extents
                    && again.digest == described.digest
            }
        };
        match is_still {
            true => Ok(Stillness::Still),
            false if watch.accepts => Ok(Stillness::Moved),
            false => Err(self.source.changed(WAS_WRITTEN)),
        }
    }
}

/// What is known of writes during a dump.
struct Watch {
    first: Pulse,
    /// Whether a dump of a database that moves is better than none.
    accepts: bool,
    moved: bool,
}

/// The rows of a table as they come.
#[derive(Default)]
struct Tally {
    extent: Extent,
    with_rowid: ContentHasher,
    without_rowid: ContentHasher,
}

impl Tally {
    fn add(&mut self, reader: &Reader<'_>, row: &[Cell]) {
        let rowid = reader.rowid(row);
        self.extent.rows += 1;
        self.extent.first = self.extent.first.or(rowid);
        self.extent.last = rowid;
        let both = [
            (&mut self.with_rowid, row),
            (&mut self.without_rowid, &row[reader.first_column()..]),
        ];
        for (hasher, cells) in both {
            cells.iter().for_each(|cell| hasher.value(cell.value()));
            hasher.end_row();
        }
    }
}

/// How much to ask for at once.
#[derive(Debug)]
struct PageSize {
    /// The bytes of a usual row, and of the largest one that there could be.
    row: Option<(u64, u64)>,
    page_bytes: u64,
    most_rows: u64,
}

impl PageSize {
    fn new(sizes: Option<(&[u64], u64)>, table: &Table) -> Self {
        let beside = CELL_BYTES * (table.columns.len() as u64 + 1);
        Self {
            row: sizes.map(|(largest, total)| {
                let usual = total / table.rows.max(1) + beside;
                (usual, largest.iter().sum::<u64>() + beside)
            }),
            page_bytes: PAGE_BYTES,
            most_rows: PAGE_ROWS,
        }
    }

    fn limit(&self) -> Limit {
        let Some((usual, worst)) = self.row else {
            return Limit::RowsAndBytes(self.most_rows.min(BLIND_PAGE_ROWS), self.page_bytes);
        };
        let rows = (self.page_bytes / usual).clamp(1, self.most_rows);
        match rows.saturating_mul(worst) <= WORST_PAGE_BYTES || rows == 1 {
            true => Limit::Rows(rows),
            false => Limit::RowsAndBytes(rows, self.page_bytes),
        }
    }

    /// Halves the page; false where it has one row already.
    fn shrink(&mut self) -> bool {
        let rows = match self.limit() {
            Limit::All => return false,
            Limit::Rows(rows) | Limit::RowsAndBytes(rows, _) => rows,
        };
        self.page_bytes = (self.page_bytes / 2).max(1);
        self.most_rows = (rows / 2).max(1);
        rows > 1
    }
}

/// A dump of rows that come and go must not renumber them.
fn keep_all_rowids(schema: &Schema, database: &mut Database) {
    for table in &mut database.tables {
        if let (RowKey::Rowid(name), false) = (schema.key(table), table.is_virtual) {
            table.rowid = Rowid::Kept(name);
        }
    }
}
