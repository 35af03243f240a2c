//! Converts columns to values and back. Invariant: a column that does not fit is an error, never a default.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Display;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, Type, ValueRef};
use rusqlite::{Row, RowIndex};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::config::AlertLevel;
use crate::types::{Compression, Trigger};

use super::audit::{AuditAction, AuditOutcome};
use super::record::{CopyState, EventKind, JobStatus, ResultStatus};
use super::rehearsals::RehearsalOutcome;
use super::reloads::{Cause, ReloadOutcome};

/// Name of a column, or its index from 0: with many rows, looking up names is slow.
pub(super) trait Column: RowIndex + Copy + Display {}

impl<T: RowIndex + Copy + Display> Column for T {}

/// Converts to SQLite's integer, which ends at 2^63: beyond any size or count.
pub(super) fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: impl Column) -> rusqlite::Result<u64> {
    optional_number(row, column).map(Option::unwrap_or_default)
}

pub(super) fn optional_number(row: &Row<'_>, column: impl Column) -> rusqlite::Result<Option<u64>> {
    let found: Option<i64> = row.get(column)?;
    found
        .map(|found| u64::try_from(found).map_err(|error| misfit(column, error)))
        .transpose()
}

/// Parses a text column.
pub(super) fn parsed<T>(row: &Row<'_>, column: impl Column) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| misfit(column, error))
}

/// Same as [`parsed`], for a column that may be null.
pub(super) fn optional_parsed<T>(row: &Row<'_>, column: impl Column) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: Error + Send + Sync + 'static,
{
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => parsed(row, column).map(Some),
    }
}

pub(super) fn time(row: &Row<'_>, column: impl Column) -> rusqlite::Result<DateTime<Utc>> {
    let seconds = row.get(column)?;
    DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| misfit(column, FromSqlError::OutOfRange(seconds)))
}

pub(super) fn optional_time(
    row: &Row<'_>,
    column: impl Column,
) -> rusqlite::Result<Option<DateTime<Utc>>> {
    match row.get_ref(column)? {
        ValueRef::Null => Ok(None),
        _ => time(row, column).map(Some),
    }
}

/// Parses a commit record, of a copy or of an archive.
pub(super) fn manifest<T: DeserializeOwned>(row: &Row<'_>) -> rusqlite::Result<T> {
    json(row, "manifest")
}

pub(super) fn manifest_text(manifest: &impl Serialize) -> String {
    json_text(manifest)
}

/// Parses a value that was stored as JSON.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &str) -> rusqlite::Result<T> {
    let text = row.get_ref(column)?.as_str()?;
    serde_json::from_str(text).map_err(|error| misfit(column, error))
}

pub(super) fn json_text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("what the catalog stores has only text keys")
}

/// Reads a path from its bytes.
pub(super) fn path(row: &Row<'_>) -> rusqlite::Result<PathBuf> {
    let bytes = row.get_ref("path")?.as_bytes()?.to_vec();
    Ok(OsString::from_vec(bytes).into())
}

/// Word stored for a severity.
pub(super) fn severity_word(severity: AlertLevel) -> &'static str {
    match severity {
        AlertLevel::Info => "info",
        AlertLevel::Warning => "warning",
        AlertLevel::Critical => "critical",
    }
}

pub(super) fn severity(row: &Row<'_>) -> rusqlite::Result<AlertLevel> {
    parse_severity(row, "severity")
}

pub(super) fn parse_severity(row: &Row<'_>, column: &str) -> rusqlite::Result<AlertLevel> {
    let word = row.get_ref(column)?.as_str()?;
    let mut all = [AlertLevel::Info, AlertLevel::Warning, AlertLevel::Critical].into_iter();
    all.find(|severity| severity_word(*severity) == word)
        .ok_or_else(|| misfit(column, FromSqlError::InvalidType))
}

/// Word stored for a compression, as the manifest spells it.
pub(super) fn compression_word(compression: Compression) -> &'static str {
    match compression {
        Compression::None => "none",
        Compression::Gzip => "gzip",
        Compression::Zstd => "zstd",
    }
}

/// Implements [`FromSql`] for the words of an enum.
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
words!(
    AuditActionWord,
    AuditAction,
    [
        AuditAction::Download,
        AuditAction::Head,
        AuditAction::RestoreGuide
    ]
);
words!(
    AuditOutcomeWord,
    AuditOutcome,
    [
        AuditOutcome::Granted,
        AuditOutcome::Complete,
        AuditOutcome::Aborted,
        AuditOutcome::Damaged
    ]
);
words!(EventKindWord, EventKind, EventKind::ALL);
words!(CauseWord, Cause, [Cause::Asked, Cause::Noticed]);
words!(
    ReloadOutcomeWord,
    ReloadOutcome,
    [
        ReloadOutcome::Applied,
        ReloadOutcome::Rejected,
        ReloadOutcome::Restored
    ]
);
words!(
    RehearsalOutcomeWord,
    RehearsalOutcome,
    RehearsalOutcome::ALL
);
words!(TriggerWord, Trigger, [Trigger::Scheduled, Trigger::Manual]);

pub(super) fn misfit(
    column: impl Column,
    error: impl Error + Send + Sync + 'static,
) -> rusqlite::Error {
    let text = format!("column `{column}`: {error}");
    rusqlite::Error::FromSqlConversionFailure(0, Type::Text, text.into())
}
