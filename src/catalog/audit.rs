//! Writes down who was given what. Invariant: rows are only added, and a row that was changed, taken out or put in
//! breaks the chain of hashes.

use std::net::IpAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::types::Sha256;

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::row::{AuditActionWord, AuditOutcomeWord, integer, misfit, number, parsed};

/// What stands before the first row.
const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a client did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditAction {
    /// It asked for a copy's text, or a part of it.
    Download,
    /// It asked what a download would give.
    Head,
    /// It read how to restore a database.
    RestoreGuide,
}

impl AuditAction {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Download => "download",
            Self::Head => "head",
            Self::RestoreGuide => "restore_guide",
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AuditOutcome {
    /// It was let in; written before the first byte left.
    Granted,
    /// It was handed everything.
    Complete,
    /// The client or this process went away before the end.
    Aborted,
    /// The storage did not give what was stored; the end was withheld.
    Damaged,
}

impl AuditOutcome {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Damaged => "damaged",
        }
    }
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// When; kept to the millisecond.
    pub at: DateTime<Utc>,
    /// The request's id: the rows of one request share it.
    pub request: String,
    /// What the client did.
    pub action: AuditAction,
    /// What came of it.
    pub outcome: AuditOutcome,
    /// Who it is: `key:<id>`, `access:<user>` or `address:<ip>`.
    pub client: String,
    /// Its address.
    pub address: IpAddr,
    /// The copy's key, or the database's name.
    pub subject: String,
    /// How many bytes were handed out.
    pub size_bytes: u64,
}

/// A row of the audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, from 1 without a gap.
    pub id: u64,
    /// What it says.
    pub audit: Audit,
    /// What binds it to all rows before it.
    pub hash: Sha256,
}

/// How many downloads may be granted in any stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DownloadLimit {
    /// To one client.
    pub per_client: u64,
    /// To one address.
    pub per_address: u64,
    /// The stretch.
    pub window: Duration,
}

/// Whether a download was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It was, and that is written down.
    Granted,
    /// Its client has had its share; after this time it has room again.
    ClientFull(Duration),
    /// Its address has.
    AddressFull(Duration),
}

/// What a look at the whole audit found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditVerdict {
    /// Every row is as it was written.
    Whole {
        /// How many there are.
        rows: u64,
        /// The hash of the last one: whoever notes it elsewhere can tell later that nothing before it changed.
        head: Option<Sha256>,
    },
    /// A row was changed, taken out or put in.
    Broken {
        /// The first row that does not fit.
        row: u64,
        /// What does not fit.
        what: String,
    },
}

impl Catalog {
    /// Writes down one event; durable on return.
    ///
    /// # Errors
    /// Where the row cannot be written; what it is about must not happen then.
    pub fn audit(&self, audit: &Audit) -> Result<(), CatalogError> {
        self.write(|transaction| append(transaction, audit))
    }

    /// Writes down that a download is granted, unless `limit` is reached: both in one transaction, so that no two
    /// requests share the last place. Grants that are known from before a restart count.
    ///
    /// # Errors
    /// Where the row cannot be written; no byte may leave then.
    pub fn admit_download(
        &self,
        audit: &Audit,
        limit: &DownloadLimit,
    ) -> Result<Admission, CatalogError> {
        self.write(|transaction| {
            let by_client = ("client", audit.client.as_str(), limit.per_client);
            let address = audit.address.to_string();
            let by_address = ("address", address.as_str(), limit.per_address);
            if let Some(pause) = pause(transaction, by_client, audit.at, limit.window)? {
                return Ok(Admission::ClientFull(pause));
            }
            if let Some(pause) = pause(transaction, by_address, audit.at, limit.window)? {
                return Ok(Admission::AddressFull(pause));
            }
            append(transaction, audit)?;
            Ok(Admission::Granted)
        })
    }

    /// The last `limit` rows, the newest first.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn audits(&self, limit: usize) -> Result<Vec<AuditRow>, CatalogError> {
        let sql = "SELECT * FROM audit ORDER BY id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([integer(limit as u64)], row_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Computes every hash anew.
    ///
    /// # Errors
    /// Where the file cannot be read.
    pub fn verify_audit(&self) -> Result<AuditVerdict, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare("SELECT * FROM audit ORDER BY id")?;
            let mut rows = statement.query([])?;
            let (mut last, mut previous) = (0, BEGINNING.to_owned());
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
                head: previous.parse().ok().filter(|_| last > 0),
            })
        })
    }
}

/// How long it takes until one more download fits the window; `None`: it fits now.
fn pause(
    connection: &Connection,
    (column, who, most): (&str, &str, u64),
    now: DateTime<Utc>,
    window: Duration,
) -> Result<Option<Duration>, Stop> {
    // A clock that was set back leaves rows in the future; further off than a window they are none of ours.
    let sql = format!(
        "SELECT at_ms FROM audit WHERE outcome = 'granted' AND action = 'download'
            AND at_ms > ?1 AND at_ms < ?2 AND {column} = ?3
         ORDER BY at_ms DESC LIMIT 1 OFFSET ?4"
    );
    let window_ms = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
    let now_ms = now.timestamp_millis();
    let row = params![
        now_ms.saturating_sub(window_ms),
        now_ms.saturating_add(window_ms),
        who,
        integer(most.saturating_sub(1))
    ];
    // The oldest of those that fill the window: when it leaves, there is room.
    let oldest: Option<i64> = connection
        .query_row(&sql, row, |row| row.get(0))
        .optional()?;
    Ok(oldest.map(|at_ms| {
        let left = at_ms.saturating_add(window_ms).saturating_sub(now_ms);
        Duration::from_millis(u64::try_from(left).unwrap_or_default()).min(window)
    }))
}

fn append(connection: &Connection, audit: &Audit) -> Result<(), Stop> {
    let last = "SELECT hash FROM audit ORDER BY id DESC LIMIT 1";
    let previous: Option<String> = connection
        .query_row(last, [], |row| row.get(0))
        .optional()?;
    let previous = previous.unwrap_or_else(|| BEGINNING.to_owned());
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

/// The highest number ever given, also to a row that is gone.
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
