//! Turns columns into values and back. Invariant: a column that does not fit is an error, never a default.

use std::error::Error;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rusqlite::Row;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};

use crate::types::{Compression, Manifest, Trigger};

use super::record::{CopyState, JobStatus, ResultStatus};

/// A number that does not go below zero. SQLite's integers end at 2^63, beyond any size or count.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    optional_number(row, column).map(Option::unwrap_or_default)
}

pub(super) fn optional_number(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<u64>> {
    let found: Option<i64> = row.get(column)?;
    found
        .map(|found| u64::try_from(found).map_err(|error| misfit(column, error)))
        .transpose()
}

/// A column of text that a type of ours reads.
pub(super) fn parsed<T>(row: &Row<'_>, column: &str) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| misfit(column, error))
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<DateTime<Utc>> {
    let seconds = row.get(column)?;
    DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| misfit(column, FromSqlError::OutOfRange(seconds)))
}

pub(super) fn optional_time(
    row: &Row<'_>,
    column: &str,
) -> rusqlite::Result<Option<DateTime<Utc>>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => time(row, column).map(Some),
    }
}

pub(super) fn manifest(row: &Row<'_>) -> rusqlite::Result<Manifest> {
    let text = row.get_ref("manifest")?.as_str()?;
    serde_json::from_str(text).map_err(|error| misfit("manifest", error))
}

pub(super) fn manifest_text(manifest: &Manifest) -> String {
    serde_json::to_string(manifest).expect("a manifest has only text keys")
}

/// The word for a compression, as the manifest spells it.
pub(super) fn compression_word(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

/// Reads the words of one enum.
macro_rules! words {
    ($wrapper:ident, $type:ty, $values:expr) => {
        pub(super) struct $wrapper(pub(super) $type);

        impl FromSql for $wrapper {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                let word = value.as_str()?;
                let mut values = $values.into_iter();
                let found = values.find(|value| value.as_str() == word);
                found.map(Self).ok_or_else(|| {
                    FromSqlError::Other(format!("`{word}` is not a word for this column").into())
                })
            }
        }
    };
}

words!(
    JobStatusWord,
    JobStatus,
    [
        JobStatus::Running,
        JobStatus::Completed,
        JobStatus::Failed,
        JobStatus::Interrupted
    ]
);
words!(
    ResultStatusWord,
    ResultStatus,
    [
        ResultStatus::Success,
        ResultStatus::Failed,
        ResultStatus::Skipped,
        ResultStatus::Interrupted
    ]
);
words!(
    CopyStateWord,
    CopyState,
    [CopyState::Live, CopyState::Missing, CopyState::Corrupt]
);
words!(TriggerWord, Trigger, [Trigger::Scheduled, Trigger::Manual]);

fn misfit(column: &str, error: impl Error + Send + Sync + 'static) -> rusqlite::Error {
    let text = format!("column `{column}`: {error}");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, text.into())
}
