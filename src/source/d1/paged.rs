//! Reads a database page by page, and decides at the end whether it changed meanwhile.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::OnChange;
use super::answer::Cell;
use super::check::{Check, LookError, to_api_error};
use super::error::ApiError;
use super::reading::{Reading, values};
use super::row_store::RowStore;
use super::schema::{Described, Pulse, Rows, Schema, Sizes, misshapen};
use super::select::{Begin, Limit, Reader};
use crate::crosscheck::{CloudError, CloudPlan};
use crate::dump::{Content, ContentHasher, DumpWriter, Rowid, Sink, Table};
use crate::source::describe::{Extent, RowKey, evidence_of};
use crate::source::{Dumped, SourceError};
use crate::types::EvidenceClass;

/// If the largest values could make a page this many times longer than it should be, D1 counts the rows that fit.
const WORST_PAGE_FACTOR: u64 = 8;

/// Upper bound for the rows of a page.
const PAGE_ROWS: u64 = 20_000;
/// Upper bound for the rows of a page if the sizes of the values are unknown.
const BLIND_PAGE_ROWS: u64 = 1_000;

/// Bytes that a cell takes beside its value.
const CELL_BYTES: u64 = 8;

/// Size of a slice of a large value in bytes, and number of slices per request.
const SLICE_BYTES: u64 = 250_000;
const SLICES_PER_BATCH: usize = 4;

/// Number of preflight statements per request.
const FACTS_PER_BATCH: usize = 60;

/// Number of consecutive failures after which a page is given up.
const PAGE_TRIES: u32 = 20;
/// Number of timeouts after which a page is given up: the database is not reachable.
const TIMEOUT_TRIES: u32 = 3;

/// Moved rows are returned twice or not at all; only another dump helps.
const ROWS_MOVED: &str = "lost or gained rows";
const WAS_WRITTEN: &str = "was written to";
const SCHEMA_CHANGED: &str = "changed its schema";

const NOT_A_POINT_IN_TIME: &str = "not a point in time: the database was written to while it was read; rows of \
    different tables may not belong together";

/// State of the database's content compared with the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stillness {
    Still,
    Moved,
}

/// Data that is known before the rows are read.
pub(super) struct Plan {
    pub(super) schema: Schema,
    pub(super) described: Described,
    pub(super) check: CloudPlan,
    pub(super) started: Instant,
}

/// Receives the rows of a page, each with its rowid if the table has one beside its columns.
pub(super) type Take<'t> = dyn FnMut(&Reader<'_>, &Rows) -> io::Result<()> + 't;

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
        let (schema, pulse, check) = self
            .schema_and_plan()
            .map_err(|error| self.source.told(error))?;
        let described = self
            .facts(&schema)
            .map_err(|error| self.source.told(error))?;
        self.request
            .progress
            .expect_rows(described.database.total_rows());
        let watch = Watch {
            first: pulse,
            accepts,
            before,
        };
        let plan = Plan {
            schema,
            described,
            check,
            started,
        };
        match accepts {
            true => self.gather(plan, watch, sink),
            false => self.stream(plan, watch, sink),
        }
    }

    /// Writes the rows as they arrive, and fails if the database changes.
    fn stream(
        &mut self,
        plan: Plan,
        watch: Watch,
        sink: &mut dyn Sink,
    ) -> Result<Dumped, SourceError> {
        let Plan {
            schema,
            described,
            check,
            started,
        } = plan;
        let database = &described.database;
        let mut writer = DumpWriter::start(sink, self.request.header, database)?;
        let mut tables = Vec::with_capacity(database.tables.len());
        for table in &database.tables {
            writer.begin_table(database, table)?;
            let mut hash = None;
            if table.content == Content::Rows {
                let mut hasher = ContentHasher::default();
                let mut take = |reader: &Reader<'_>, rows: &Rows| {
                    for row in rows {
                        let values = values(reader.written(row, table.rowid));
                        values.iter().for_each(|value| hasher.value(*value));
                        hasher.end_row();
                        writer.row(&values)?;
                    }
                    Ok(())
                };
                let extent = self.copy_table(&schema, &described, table, &watch, &mut take)?;
                let is_numbered =
                    matches!(schema.key(table), RowKey::Rowid(_)) && !table.is_virtual;
                let counted = described.extents.get(&table.name);
                let is_same = |counted: &Extent| match is_numbered {
                    true => *counted == extent,
                    false => counted.rows == extent.rows,
                };
                if !counted.is_some_and(is_same) {
                    return Err(self.source.changed(ROWS_MOVED));
                }
                hash = Some(hasher.finish());
            }
            writer.end_table();
            tables.push(evidence_of(table, hash));
        }
        let check = self.look_again(&check)?;
        // An error if the database changed.
        self.judge(&schema, &described, &watch)?;
        writer.finish(database, milliseconds(started))?;
        Ok(self.dumped(
            described,
            &schema,
            tables,
            watch.before,
            EvidenceClass::A,
            check,
        ))
    }

    /// Writes nothing before all rows are read: the row counts are not known until then.
    fn gather(
        &mut self,
        plan: Plan,
        watch: Watch,
        sink: &mut dyn Sink,
    ) -> Result<Dumped, SourceError> {
        let Plan {
            schema,
            mut described,
            check,
            started,
        } = plan;
        let mut store = RowStore::create(&self.source.scratch)?;
        let mut extents = Vec::new();
        for table in &described.database.tables {
            let mut extent = Extent::default();
            if table.content == Content::Rows {
                let mut take = |_: &Reader<'_>, rows: &Rows| store.push(rows);
                extent = self.copy_table(&schema, &described, table, &watch, &mut take)?;
            }
            store.end_table()?;
            extents.push(extent);
        }
        let check = self.look_again(&check)?;
        let stillness = self.judge(&schema, &described, &watch)?;
        for (table, extent) in described.database.tables.iter_mut().zip(extents) {
            table.rows = extent.rows;
            if let (RowKey::Rowid(name), false) = (schema.key(table), table.is_virtual) {
                table.rowid = match extent.is_gapless() {
                    true => Rowid::Implied,
                    false => Rowid::Kept(name),
                };
            }
        }
        let database = &described.database;
        let mut stored = store.read()?;
        let mut writer = DumpWriter::start(sink, self.request.header, database)?;
        let mut tables = Vec::with_capacity(database.tables.len());
        for table in &database.tables {
            writer.begin_table(database, table)?;
            let reader = Reader::new(table, schema.key(table), false);
            let skipped = match table.rowid {
                Rowid::Kept(_) => 0,
                Rowid::Implied => reader.first_column(),
            };
            let mut hasher = ContentHasher::default();
            while let Some(block) = stored.next_block()? {
                block.each_row(|values| {
                    let values = &values[skipped..];
                    values.iter().for_each(|value| hasher.value(*value));
                    hasher.end_row();
                    writer.row(values)
                })?;
            }
            writer.end_table();
            let has_rows = table.content == Content::Rows;
            tables.push(evidence_of(table, has_rows.then(|| hasher.finish())));
        }
        writer.finish(database, milliseconds(started))?;
        let (class, bookmark, check) = match stillness {
            Stillness::Still => (EvidenceClass::A, watch.before, check),
            Stillness::Moved => {
                described.warnings.push(NOT_A_POINT_IN_TIME.to_owned());
                (EvidenceClass::B, None, Check::Moved)
            }
        };
        Ok(self.dumped(described, &schema, tables, bookmark, class, check))
    }

    /// Runs the independent check at the end: [`Self::judge`] decides whether it saw the state that was read.
    pub(super) fn look_again(&self, plan: &CloudPlan) -> Result<Check, SourceError> {
        self.look(plan).map_err(|error| match error {
            LookError::Api(error) => self.source.told(error),
            LookError::Check(CloudError::Changed) => self.source.changed(SCHEMA_CHANGED),
            LookError::Check(error) => self.source.told(to_api_error(error)),
        })
    }

    /// Reads counts and sizes in few requests; leaves out what D1 has no time for.
    pub(super) fn facts(&mut self, schema: &Schema) -> Result<Described, ApiError> {
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

    /// Passes each page of a table to `take`; returns the extent of what was read.
    fn copy_table(
        &self,
        schema: &Schema,
        described: &Described,
        table: &Table,
        watch: &Watch,
        take: &mut Take<'_>,
    ) -> Result<Extent, SourceError> {
        let sizes = described.sizes.get(&table.name);
        let mut reader = Reader::new(table, schema.key(table), self.skills.atan2);
        reader.largest = sizes.map(|sizes| &*sizes.largest);
        reader.last = described
            .extents
            .get(&table.name)
            .and_then(|extent| extent.last);
        let mut size = PageSize::new(self.source.page_bytes, sizes, table);
        let mut extent = Extent::default();
        let mut begin = Begin::Start;
        loop {
            let limit = size.limit();
            let (mut rows, pulse) = self.page(&mut reader, &begin, &mut size)?;
            self.heed(watch, &pulse)?;
            for row in &mut rows {
                self.fetch_large(&reader, &begin, row)?;
                let rowid = reader.rowid(row);
                extent.rows += 1;
                extent.first = extent.first.or(rowid);
                extent.last = rowid;
                begin = reader.after(row, extent.rows);
            }
            take(&reader, &rows)?;
            let count = rows.len() as u64;
            self.request.progress.add_rows(count);
            let is_last = match limit {
                Limit::Rows(most) if size.limit() == limit => count < most,
                _ => count == 0,
            };
            if is_last {
                return Ok(extent);
            }
        }
    }

    /// Reads one page, a smaller one if it is too large for D1.
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
                    let rows = reader.join(answers).ok_or_else(misshapen);
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

    /// Reads values that were too large for the page, slice by slice.
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

    /// Ends a dump early if it is certain to be rejected.
    fn heed(&self, watch: &Watch, pulse: &Pulse) -> Result<(), SourceError> {
        if pulse.has_other_schema(&watch.first) {
            return Err(self.source.changed(SCHEMA_CHANGED));
        }
        match pulse.changes > watch.first.changes && !watch.accepts {
            true => Err(self.source.changed(WAS_WRITTEN)),
            false => Ok(()),
        }
    }

    /// Decides whether the database changed: by the bookmark; without one, by the change counter, the row counts and
    /// the schema's digest.
    fn judge(
        &mut self,
        schema: &Schema,
        described: &Described,
        watch: &Watch,
    ) -> Result<Stillness, SourceError> {
        let (found, pulse) = self.schema().map_err(|error| self.source.told(error))?;
        if found.entries != schema.entries {
            return Err(self.source.changed(SCHEMA_CHANGED));
        }
        let is_still = match &watch.before {
            Some(_) => {
                let after = self.bookmark().map_err(|error| self.source.told(error))?;
                after == watch.before
            }
            None => {
                let again = self
                    .facts(schema)
                    .map_err(|error| self.source.told(error))?;
                // A counter that starts again from 0 hides earlier changes, so 0 proves nothing.
                pulse == watch.first
                    && pulse.changes > 0
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

/// Data by which writes during a dump are detected.
struct Watch {
    first: Pulse,
    /// True if a dump of a database that changes is accepted.
    accepts: bool,
    /// Bookmark from before the first row.
    before: Option<String>,
}

/// Size of the pages to request.
#[derive(Debug)]
struct PageSize {
    /// Bytes of an average row, and of the largest possible one.
    row: Option<(u64, u64)>,
    page_bytes: u64,
    worst_page_bytes: u64,
    most_rows: u64,
}

impl PageSize {
    fn new(page_bytes: u64, sizes: Option<&Sizes>, table: &Table) -> Self {
        let beside = CELL_BYTES * (table.columns.len() as u64 + 1);
        Self {
            row: sizes.map(|sizes| {
                let usual = sizes.total / table.rows.max(1) + beside;
                (usual, sizes.largest.iter().sum::<u64>() + beside)
            }),
            page_bytes,
            worst_page_bytes: page_bytes.saturating_mul(WORST_PAGE_FACTOR),
            // One more than counted: a page that is not full is the last.
            most_rows: PAGE_ROWS.min(table.rows + 1),
        }
    }

    fn limit(&self) -> Limit {
        let Some((usual, worst)) = self.row else {
            return Limit::RowsAndBytes(self.most_rows.min(BLIND_PAGE_ROWS), self.page_bytes);
        };
        let rows = (self.page_bytes / usual).clamp(1, self.most_rows);
        match rows.saturating_mul(worst) <= self.worst_page_bytes || rows == 1 {
            true => Limit::Rows(rows),
            false => Limit::RowsAndBytes(rows, self.page_bytes),
        }
    }

    /// Halves the page; returns false if it has one row already.
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

fn milliseconds(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}
