//! Reads a small database in one request, which is one transaction: nothing can change within it.

use std::collections::{BTreeSet, HashMap};
use std::time::Instant;

use super::check::{Check, texts, to_api_error};
use super::error::ApiError;
use super::reading::{Reading, values};
use super::schema::{Described, Pulse, Rows, Schema, misshapen};
use super::select::{Begin, Limit, Reader};
use crate::crosscheck::{CloudError, CloudPlan};
use crate::dump::{Content, ContentHasher, DumpWriter, Sink};
use crate::quote;
use crate::source::describe::evidence_of;
use crate::source::{Dumped, SourceError};
use crate::types::{EvidenceClass, counted};

/// The complete content of a database.
pub(super) struct Snapshot {
    schema: Schema,
    described: Described,
    /// One entry per table of the description; empty if none are written.
    rows: Vec<Rows>,
    check: Check,
    started: Instant,
}

/// The results of one transaction.
struct Answers {
    schema: Schema,
    described: Described,
    rows: Vec<Rows>,
    /// `None` if the schema differs from the one that the plan was made for.
    check: Option<Check>,
}

impl Reading<'_> {
    /// Reads everything at once, again if the schema changed between reading it and reading the rows.
    pub(super) fn snapshot(&mut self, tries: u32) -> Result<Snapshot, ApiError> {
        let started = Instant::now();
        self.skills.sizes = false;
        let mut as_hex: HashMap<String, BTreeSet<usize>> = HashMap::new();
        let (mut schema, _, mut plan) = self.schema_and_plan()?;
        let mut tries_left = tries;
        loop {
            let found = match self.read_all(&schema, &plan, &as_hex) {
                Err(error) if self.skills.learn(&error) => continue,
                // The error may come from a table that no longer exists.
                Err(ApiError::Refused { .. }) if tries_left > 0 => {
                    tries_left -= 1;
                    (schema, _, plan) = self.schema_and_plan()?;
                    continue;
                }
                other => other?,
            };
            let Answers {
                schema: found,
                described,
                rows,
                check,
            } = found;
            let is_same = found.entries == schema.entries;
            let (true, Some(check)) = (is_same, check) else {
                if tries_left == 0 {
                    let text = "its schema changes all the time".to_owned();
                    return Err(ApiError::Overloaded(text));
                }
                tries_left -= 1;
                (schema, _, plan) = self.schema_and_plan()?;
                continue;
            };
            let mut is_doubtful = false;
            for (table, rows) in described.database.tables.iter().zip(&rows) {
                let doubtful = Reader::new(table, schema.key(table), false).doubtful(rows);
                if !doubtful.is_empty() {
                    is_doubtful = true;
                    as_hex
                        .entry(table.name.clone())
                        .or_default()
                        .extend(doubtful);
                }
            }
            if !is_doubtful {
                return Ok(Snapshot {
                    schema,
                    described,
                    rows,
                    check,
                    started,
                });
            }
        }
    }

    /// Reads the schema, and the change counter at that moment.
    pub(super) fn schema(&mut self) -> Result<(Schema, Pulse), ApiError> {
        let (schema, pulse, _) = self.ask_schema(&[])?;
        Ok((schema, pulse))
    }

    /// Also returns the answers to `others`, from the same transaction.
    pub(super) fn ask_schema(
        &mut self,
        others: &[&str],
    ) -> Result<(Schema, Pulse, Vec<Rows>), ApiError> {
        let end = 1 + Schema::SQL.len();
        loop {
            let mut statements = vec![Pulse::SQL.to_owned()];
            statements.extend(Schema::SQL.map(str::to_owned));
            statements.extend(others.iter().map(|sql| (*sql).to_owned()));
            if self.skills.atan2 {
                statements.push("SELECT quote(atan2(0.0,-1))".to_owned());
            }
            match self.batch(&statements) {
                Err(error) if self.skills.learn(&error) => {}
                Err(error) => return Err(error),
                Ok(mut answers) => {
                    let tables = answers.get(1..end).ok_or_else(misshapen)?;
                    let (schema, pulse) = (Schema::read(tables)?, Pulse::read(&answers[0])?);
                    answers.truncate(end + others.len());
                    return Ok((schema, pulse, answers.split_off(end)));
                }
            }
        }
    }

    /// Reads in one transaction: the schema again, the data that the dump needs first, and every row.
    fn read_all(
        &self,
        schema: &Schema,
        plan: &CloudPlan,
        as_hex: &HashMap<String, BTreeSet<usize>>,
    ) -> Result<Answers, ApiError> {
        let mut statements: Vec<String> = Schema::SQL.map(str::to_owned).to_vec();
        let facts = schema.facts_sql(self.skills);
        let facts_end = statements.len() + facts.len();
        statements.extend(facts);
        // Row queries do not depend on counts, so a description without them suffices.
        let shapes = schema.shapes(self.request.skip_data);
        let readers: Vec<Reader<'_>> = shapes
            .iter()
            .map(|table| Reader {
                as_hex: as_hex.get(&table.name).cloned().unwrap_or_default(),
                ..Reader::new(table, schema.key(table), self.skills.atan2)
            })
            .collect();
        let mut parts = Vec::with_capacity(readers.len());
        for reader in &readers {
            let page = match reader.has_rows() {
                true => reader.page(&Begin::Start, Limit::All),
                false => Vec::new(),
            };
            parts.push(page.len());
            statements.extend(page);
        }
        let check_begin = statements.len();
        statements.extend(plan.statements(self.skills.atan2));
        let mut answers = self.batch(&statements)?;
        let check = self.read_check(plan, answers.split_off(check_begin))?;
        let found = Schema::read(&answers[..Schema::SQL.len()])?;
        let mut pages = answers.split_off(facts_end).into_iter();
        let facts = answers.split_off(Schema::SQL.len());
        let described = schema.describe(facts, self.skills, self.request.skip_data)?;
        let mut rows = Vec::with_capacity(readers.len());
        for (reader, count) in readers.iter().zip(parts) {
            let parts: Vec<Rows> = pages.by_ref().take(count).collect();
            rows.push(match parts.is_empty() {
                true => Rows::new(),
                false => reader.join(parts).ok_or_else(misshapen)?,
            });
        }
        Ok(Answers {
            schema: found,
            described,
            rows,
            check,
        })
    }

    /// Reads the answers of the check; `None` if the schema was a different one.
    fn read_check(&self, plan: &CloudPlan, answers: Vec<Rows>) -> Result<Option<Check>, ApiError> {
        let answers: Vec<_> = answers.into_iter().map(texts).collect::<Result<_, _>>()?;
        match plan.read(self.skills.atan2, &answers) {
            Ok(inventory) => Ok(Some(Check::Seen(Box::new(inventory)))),
            Err(CloudError::Changed) => Ok(None),
            Err(error) => Err(to_api_error(error)),
        }
    }

    pub(super) fn write_snapshot(
        &self,
        snapshot: Snapshot,
        before: Option<String>,
        sink: &mut dyn Sink,
    ) -> Result<Dumped, SourceError> {
        let Snapshot {
            schema,
            described,
            rows,
            check,
            started,
        } = snapshot;
        let after = self.bookmark().map_err(|error| self.source.told(error))?;
        let database = &described.database;
        self.request.progress.expect_rows(database.total_rows());
        let mut writer = DumpWriter::start(sink, self.request.header, database)?;
        let mut tables = Vec::with_capacity(database.tables.len());
        for (table, rows) in database.tables.iter().zip(rows) {
            if self.request.stop.is_cancelled() {
                return Err(SourceError::Stopped);
            }
            let reader = Reader::new(table, schema.key(table), false);
            writer.begin_table(database, table)?;
            let mut hasher = ContentHasher::default();
            let count = rows.len() as u64;
            for row in &rows {
                let values = values(reader.written(row, table.rowid));
                values.iter().for_each(|value| hasher.value(*value));
                hasher.end_row();
                writer.row(&values)?;
            }
            writer.end_table();
            let has_rows = table.content == Content::Rows;
            if has_rows && count != table.rows {
                let text = format!(
                    "table `{}` counts {} but gave {count}",
                    quote::name(&table.name),
                    counted(table.rows, "row")
                );
                return Err(self.source.told(ApiError::Malformed(text)));
            }
            self.request.progress.add_rows(count);
            tables.push(evidence_of(table, has_rows.then(|| hasher.finish())));
        }
        let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        writer.finish(database, duration_ms)?;
        // Only a bookmark that did not change identifies this state.
        let bookmark = before.filter(|before| after.as_ref() == Some(before));
        Ok(self.dumped(
            described,
            &schema,
            tables,
            bookmark,
            EvidenceClass::A,
            check,
        ))
    }
}
