//! Reads the data of the independent check from D1.
//!
//! Invariant: it passes on statements and results of [`CloudPlan`] and interprets neither.

use super::answer::Cell;
use super::error::ApiError;
use super::reading::Reading;
use super::schema::{Pulse, Rows, Schema, misshapen};
use crate::crosscheck::{CloudError, CloudInventory, CloudPlan, CloudTable, Texts};
use crate::source::{Testimony, Witness};
use crate::types::EvidenceClass;

/// Number of rows added up in one query, which may take 30 seconds; halved if that is too many.
const PART_ROWS: u64 = 100_000;

/// Number of statements in one request.
const STATEMENTS_PER_BATCH: usize = 30;

/// Upper bound for the storage of a search index that is fetched beside the rows, in bytes; above it the copy has an
/// exception.
const MOST_INDEX_BYTES: i64 = 8 * 1024 * 1024;

/// Outcome of the check.
pub(super) enum Check {
    /// Inventory of the database.
    Seen(Box<CloudInventory>),
    /// The database does not allow the check, for this reason.
    Refused(String),
    /// The database changed, so that nothing can be compared.
    Moved,
}

/// The reason that there is nothing to compare.
pub(super) enum LookError {
    Api(ApiError),
    Check(CloudError),
}

impl From<ApiError> for LookError {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

impl From<CloudError> for LookError {
    fn from(error: CloudError) -> Self {
        Self::Check(error)
    }
}

impl Check {
    /// Returns the witness for the proof. If the check was refused, lowers `class` to B and adds a warning instead; if
    /// the database changed, only returns `None`.
    pub(super) fn witness(
        self,
        class: &mut EvidenceClass,
        warnings: &mut Vec<String>,
    ) -> Option<Witness> {
        match self {
            Self::Seen(cloud) => Some(Witness::with(Testimony {
                cloud: Some(cloud),
                ..Testimony::default()
            })),
            Self::Moved => None,
            Self::Refused(why) => {
                *class = EvidenceClass::B;
                warnings.push(format!("the independent check could not be made: {why}"));
                None
            }
        }
    }
}

impl Reading<'_> {
    /// Reads the schema and the change counter at that moment, and creates the plan of the check from them.
    pub(super) fn schema_and_plan(&mut self) -> Result<(Schema, Pulse, CloudPlan), ApiError> {
        let (schema, pulse, answers) = self.ask_schema(&CloudPlan::SCHEMA)?;
        Ok((schema, pulse, self.plan(answers)?))
    }

    /// Creates a plan from the answers to [`CloudPlan::SCHEMA`].
    pub(super) fn plan(&self, answers: Vec<Rows>) -> Result<CloudPlan, ApiError> {
        let answers: Vec<Texts> = answers.into_iter().map(texts).collect::<Result<_, _>>()?;
        CloudPlan::new(&answers, self.request.skip_data).map_err(to_api_error)
    }

    /// Runs the whole check, in as many requests as needed.
    pub(super) fn look(&self, plan: &CloudPlan) -> Result<Check, LookError> {
        match self.take_stock(plan) {
            Ok(inventory) => Ok(Check::Seen(Box::new(inventory))),
            Err(LookError::Api(error)) if error.wants_less() || is_final(&error) => {
                Ok(Check::Refused(error.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    fn take_stock(&self, plan: &CloudPlan) -> Result<CloudInventory, LookError> {
        let mut inventory = plan.begin(self.skills.atan2, &self.ask_texts(&plan.head())?)?;
        let mut tables = plan.tables().to_vec();
        self.first_parts(&mut tables)?;
        for mut table in tables {
            let is_whole = !table.has_parts() || table.rows() < PART_ROWS;
            if !is_whole {
                self.other_parts(&mut table, PART_ROWS)?;
            }
            inventory.put(table);
        }
        for index in plan.indexes() {
            let size = self.ask_texts(&[index.size_statement()])?;
            let size = size
                .first()
                .and_then(|rows| rows.first()?.first()?.parse().ok());
            let is_small = size.is_some_and(|bytes: i64| bytes <= MOST_INDEX_BYTES);
            let storage = is_small
                .then(|| self.ask_texts(&index.statements()))
                .transpose();
            let vocabulary = match storage {
                Ok(Some(answers)) => index.vocabulary(&answers)?,
                Ok(None) => None,
                Err(error) if error.wants_less() => None,
                Err(error) => return Err(error.into()),
            };
            inventory.put_index(index.name(), vocabulary);
        }
        Ok(inventory)
    }

    /// Adds up the first rows of each table, several tables per request.
    fn first_parts(&self, tables: &mut [CloudTable]) -> Result<(), LookError> {
        let mut rest = tables;
        while !rest.is_empty() {
            let mut statements = 0;
            let mut count = 0;
            for table in rest.iter() {
                statements += table
                    .statements(None, Some(PART_ROWS), self.skills.atan2)
                    .len();
                if count > 0 && statements > STATEMENTS_PER_BATCH {
                    break;
                }
                count += 1;
            }
            let (now, later) = rest.split_at_mut(count);
            self.first_part(now)?;
            rest = later;
        }
        Ok(())
    }

    fn first_part(&self, tables: &mut [CloudTable]) -> Result<(), LookError> {
        let statements: Vec<Vec<String>> = tables
            .iter()
            .map(|table| table.statements(None, Some(PART_ROWS), self.skills.atan2))
            .collect();
        match self.ask_texts(&statements.concat()) {
            Ok(answers) => {
                let mut answers = &answers[..];
                for (table, statements) in tables.iter_mut().zip(&statements) {
                    let (own, others) = answers.split_at(statements.len());
                    table.add(own)?;
                    answers = others;
                }
                Ok(())
            }
            Err(error) if error.wants_less() => match tables {
                [table] => self.other_parts(table, PART_ROWS / 2),
                tables => {
                    let (a, b) = tables.split_at_mut(tables.len() / 2);
                    self.first_part(a)?;
                    self.first_part(b)
                }
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Adds up the remaining rows of a table.
    fn other_parts(&self, table: &mut CloudTable, mut rows: u64) -> Result<(), LookError> {
        loop {
            let before = table.rows();
            let after = table.last().filter(|_| before > 0);
            let statements = table.statements(after, Some(rows), self.skills.atan2);
            match self.ask_texts(&statements) {
                Err(error) if error.wants_less() && table.has_parts() && rows > 1 => {
                    rows /= 2;
                    continue;
                }
                answers => table.add(&answers?)?,
            }
            if !table.has_parts() || table.rows() - before < rows {
                return Ok(());
            }
        }
    }

    fn ask_texts(&self, statements: &[String]) -> Result<Vec<Texts>, ApiError> {
        self.batch(statements)?.into_iter().map(texts).collect()
    }
}

/// True if the same request would fail again in the same way.
fn is_final(error: &ApiError) -> bool {
    matches!(error, ApiError::Refused { .. })
}

/// Converts rows in which every cell is plain text.
pub(super) fn texts(rows: Rows) -> Result<Texts, ApiError> {
    let text = |cell| match cell {
        Cell::Text(bytes) => String::from_utf8(bytes).map_err(|_| misshapen()),
        _ => Err(misshapen()),
    };
    let row = |row: Vec<Cell>| row.into_iter().map(text).collect();
    rows.into_iter().map(row).collect()
}

pub(super) fn to_api_error(error: CloudError) -> ApiError {
    ApiError::Malformed(error.to_string())
}
