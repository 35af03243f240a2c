//! Stores the audit log of downloads. Invariant: a row that was changed, removed or inserted breaks the hash chain;
//! rows are deleted only from the oldest end, beyond [`AuditLimit`], and the hash of the last deleted row is kept.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::types::{Sha256, counted};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::row::{AuditActionWord, AuditOutcomeWord, integer, misfit, number, parsed, time};

/// Hash that precedes the first row.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Retention of the audit log; the oldest rows are deleted first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditLimit {
    /// Upper bound for the number of rows.
    pub most_rows: u64,
    /// Upper bound for the age: older rows are deleted, too.
    pub most_age: TimeDelta,
    /// Number of newest rows that age alone never deletes: a clock that jumps ahead ages all of them at once.
    pub least_rows: u64,
}

impl AuditLimit {
    /// 100,000 rows of some 400 bytes are 40 MB; 400 days let a yearly review find the year before it.
    pub const USUAL: Self = Self {
        most_rows: 100_000,
        most_age: TimeDelta::days(400),
        least_rows: 10_000,
    };

    /// Upper bound for the rows of one deletion step, so that not every insert costs a deletion.
    const STEP: u64 = 100;
}

/// Start of the audit log after its oldest rows were deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBegin {
    /// Number of the last deleted row.
    pub after_row: u64,
    /// Its hash, to which the next row is chained.
    pub hash: Sha256,
    /// Time of the last deletion.
    pub at: DateTime<Utc>,
}

/// Granted download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Time, by the wall clock of that moment.
    pub at: DateTime<Utc>,
    /// Client.
    pub client: String,
    /// Address of the client.
    pub address: IpAddr,
}

/// Action of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// Requested a copy's text, or a part of it.
    Download,
    /// Requested the headers of a download (HEAD).
    Head,
    /// Read the restore guide of a database.
    RestoreGuide,
}

impl AuditAction {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Head => "head",
            Self::RestoreGuide => "restore_guide",
        }
    }
}

/// Outcome of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// Access was granted; written before the first byte is sent.
    Granted,
    /// The complete response was sent.
    Complete,
    /// The client or this process ended before the response did.
    Aborted,
    /// The storage did not return what was stored; the end was withheld.
    Damaged,
}

impl AuditOutcome {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Damaged => "damaged",
        }
    }
}

/// Audit entry to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Time, to the millisecond.
    pub at: DateTime<Utc>,
    /// Id of the request; the rows of one request share it.
    pub request: String,
    /// Action of the client.
    pub action: AuditAction,
    /// Outcome of the action.
    pub outcome: AuditOutcome,
    /// Client: `key:<id>`, `access:<user>` or `address:<ip>`.
    pub client: String,
    /// Address of the client.
    pub address: IpAddr,
    /// Key of the copy, or name of the database.
    pub subject: String,
    /// Number of bytes sent.
    pub size_bytes: u64,
}

/// Row of the audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Row number, from 1 without a gap.
    pub id: u64,
    /// Contents.
    pub audit: Audit,
    /// Hash that chains the row to all rows before it.
    pub hash: Sha256,
}

/// Result of verifying the whole audit log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row is unchanged.
    Whole {
        /// Number of rows ever written, deleted ones included.
        rows: u64,
        /// Start of the log after deletions by count or age. `None`: nothing was deleted.
        begin: Option<AuditBegin>,
        /// Hash of the last row: noted elsewhere, it proves later that nothing before it changed. `None`: no row was
        /// ever written.
        head: Option<Sha256>,
    },
    /// A row was changed, removed or inserted.
    Broken {
        /// Number of the first row that does not fit.
        row: u64,
        /// Reason that it does not fit.
        what: String,
    },
}

impl Catalog {
    /// Writes one audit entry; durable on return.
    ///
    /// # Errors
    /// If the row cannot be written; the audited action must not happen then.
    pub fn audit(&self, audit: &Audit) -> Result<(), CatalogError> {
        self.audit_within(audit, AuditLimit::USUAL)
    }

    /// Same as [`Catalog::audit`], with another limit.
    ///
    /// # Errors
    /// Same as [`Catalog::audit`].
    pub fn audit_within(&self, audit: &Audit, limit: AuditLimit) -> Result<(), CatalogError> {
        self.write(|transaction| {
            append(transaction, audit)?;
            let gone = let_go(transaction, audit.at, limit)?;
            if gone > 0 {
                tracing::info!(
                    "the audit let {} go, the oldest: it keeps {}, and {} beyond the newest {}",
                    counted(gone, "row"),
                    counted(limit.most_rows, "row"),
                    counted(limit.most_age.num_days(), "day"),
                    limit.least_rows
                );
            }
            Ok(())
        })
    }

    /// Returns the last granted downloads, the newest first in the order of writing.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn taken(&self, limit: usize) -> Result<Vec<Taken>, CatalogError> {
        let sql = "SELECT * FROM audit WHERE outcome = 'granted' AND action = 'download'
                   ORDER BY id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([integer(limit as u64)], |row| {
                let audit = row_of(row)?.audit;
                Ok(Taken {
                    at: audit.at,
                    client: audit.client,
                    address: audit.address,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the distinct subjects (keys of copies, or names of databases) that a client was given by `action` since
    /// then.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn given(
        &self,
        client: &str,
        action: AuditAction,
        since: DateTime<Utc>,
    ) -> Result<BTreeSet<String>, CatalogError> {
        // The newest rows are enough, and the limit bounds the work.
        let sql = "SELECT subject FROM (SELECT * FROM audit ORDER BY id DESC LIMIT 2000)
                   WHERE client = ?1 AND action = ?2 AND outcome IN ('granted', 'complete')
                      AND at_ms >= ?3";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let row = params![client, action.as_str(), since.timestamp_millis()];
            let rows = statement.query_map(row, |row| row.get(0))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns actions and times at which a client was granted something, the newest first, within the newest 2,000
    /// rows.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn given_times(
        &self,
        client: &str,
    ) -> Result<Vec<(AuditAction, DateTime<Utc>)>, CatalogError> {
        // Same number of rows as in `given`.
        let sql = "SELECT * FROM (SELECT * FROM audit ORDER BY id DESC LIMIT 2000)
                   WHERE client = ?1 AND outcome IN ('granted', 'complete') ORDER BY id DESC";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([client], |row| {
                let audit = row_of(row)?.audit;
                Ok((audit.action, audit.at))
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the last `limit` rows, the newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn audits(&self, limit: usize) -> Result<Vec<AuditRow>, CatalogError> {
        let sql = "SELECT * FROM audit ORDER BY id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([integer(limit as u64)], row_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Recomputes every hash of the chain.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn verify_audit(&self) -> Result<AuditVerdict, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT * FROM audit ORDER BY id")?;
            let mut rows = statement.query([])?;
            let begin = begin(connection)?;
            let (mut last, mut previous) = match &begin {
                Some(begin) => (begin.after_row, begin.hash.to_string()),
                None => (0, BEGINNING.to_owned()),
            };
            while let Some(row) = rows.next()? {
                let id = number(row, "id")?;
                let broken = |what: String| Ok(AuditVerdict::Broken { row: id, what });
                if id != last + 1 {
                    return broken(format!("row {} should follow row {last}", last + 1));
                }
                let Ok(found) = row_of(row) else {
                    return broken("it holds what was never written".to_owned());
                };
                let hash = link(&previous, id, &found.audit).to_string();
                if row.get_ref("hash")?.as_str() != Ok(hash.as_str()) {
                    return broken("it, or one before it, is not as it was written".to_owned());
                }
                (last, previous) = (id, hash);
            }
            let given = newest_id(connection)?;
            if given != last {
                let what = format!("rows up to {given} were written and are gone");
                return Ok(AuditVerdict::Broken {
                    row: last + 1,
                    what,
                });
            }
            Ok(AuditVerdict::Whole {
                rows: last,
                begin,
                head: previous.parse().ok().filter(|_| last > 0),
            })
        })
    }
}

/// Deletes the oldest rows if there are too many or they are too old. Returns the number of deleted rows.
fn let_go(connection: &Connection, now: DateTime<Utc>, limit: AuditLimit) -> Result<u64, Stop> {
    let newest = newest_id(connection)?;
    let first: Option<(i64, i64)> = connection
        .query_row(
            "SELECT id, at_ms FROM audit ORDER BY id LIMIT 1",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .optional()?;
    let Some((first, first_ms)) = first else {
        return Ok(0);
    };
    let first = u64::try_from(first).unwrap_or_default();
    let oldest_ms = (now - limit.most_age).timestamp_millis();
    let kept = newest.saturating_sub(first) + 1;
    let step = (limit.most_rows / 10).clamp(1, AuditLimit::STEP);
    let mut last = match kept > limit.most_rows {
        true => first - 1 + (kept - limit.most_rows).max(step),
        false => first - 1,
    };
    if first_ms < oldest_ms && kept > limit.least_rows {
        let most = (first - 1 + step).min(newest - limit.least_rows);
        let sql = "SELECT coalesce(max(id), 0) AS id FROM audit WHERE id <= ? AND at_ms < ?";
        let row = params![integer(most), oldest_ms];
        last = last.max(connection.query_row(sql, row, |row| number(row, "id"))?);
    }
    if last < first {
        return Ok(0);
    }
    let sql = "INSERT INTO audit_begins SELECT 1, id, hash, ?2 FROM audit WHERE id = ?1
               ON CONFLICT DO UPDATE SET after_row = excluded.after_row, hash = excluded.hash,
                  at = excluded.at";
    let noted = connection.execute(sql, params![integer(last), now.timestamp()])?;
    if noted == 0 {
        // A row was removed there: keep the gap, so that verification reports it.
        return Ok(0);
    }
    let gone = connection.execute("DELETE FROM audit WHERE id <= ?", [integer(last)])?;
    Ok(gone as u64)
}

fn begin(connection: &Connection) -> Result<Option<AuditBegin>, Stop> {
    let begin = connection.query_row("SELECT * FROM audit_begins", [], |row| {
        Ok(AuditBegin {
            after_row: number(row, "after_row")?,
            hash: parsed(row, "hash")?,
            at: time(row, "at")?,
        })
    });
    Ok(begin.optional()?)
}

fn append(connection: &Connection, audit: &Audit) -> Result<(), Stop> {
    let last = "SELECT hash FROM audit ORDER BY id DESC LIMIT 1";
    let previous: Option<String> = connection
        .query_row(last, [], |row| row.get(0))
        .optional()?;
    let previous = match previous {
        Some(hash) => hash,
        None => {
            begin(connection)?.map_or_else(|| BEGINNING.to_owned(), |begin| begin.hash.to_string())
        }
    };
    let id = newest_id(connection)? + 1;
    let sql = "INSERT INTO audit (id, at_ms, request_id, action, outcome, client, address, subject,
                  size_bytes, hash)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    connection.execute(
        sql,
        params![
            integer(id),
            audit.at.timestamp_millis(),
            audit.request,
            audit.action.as_str(),
            audit.outcome.as_str(),
            audit.client,
            audit.address.to_string(),
            audit.subject,
            integer(audit.size_bytes),
            link(&previous, id, audit).to_string(),
        ],
    )?;
    Ok(())
}

/// Highest row number ever assigned, also to a deleted row.
fn newest_id(connection: &Connection) -> Result<u64, Stop> {
    let sql = "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0) AS seq";
    Ok(connection.query_row(sql, [], |row| number(row, "seq"))?)
}

fn link(previous: &str, id: u64, audit: &Audit) -> Sha256 {
    let row = (
        previous,
        id,
        audit.at.timestamp_millis(),
        &audit.request,
        audit.action.as_str(),
        audit.outcome.as_str(),
        &audit.client,
        audit.address,
        &audit.subject,
        audit.size_bytes,
    );
    let text = serde_json::to_vec(&row).expect("text and numbers become JSON");
    Sha256::of(&text)
}

fn row_of(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let at_ms = row.get("at_ms")?;
    let at = DateTime::from_timestamp_millis(at_ms);
    Ok(AuditRow {
        id: number(row, "id")?,
        audit: Audit {
            at: at
                .ok_or_else(|| misfit("at_ms", rusqlite::types::FromSqlError::OutOfRange(at_ms)))?,
            request: row.get("request_id")?,
            action: row.get::<_, AuditActionWord>("action")?.0,
            outcome: row.get::<_, AuditOutcomeWord>("outcome")?.0,
            client: row.get("client")?,
            address: parsed(row, "address")?,
            subject: row.get("subject")?,
            size_bytes: number(row, "size_bytes")?,
        },
        hash: parsed(row, "hash")?,
    })
}
