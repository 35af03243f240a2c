//! Stores refused requests, the addresses of clients, the age of keys and access alerts already sent. Invariant: each
//! table has a bound that no client and no clock can lift, and none of them takes room from the audit of granted
//! downloads.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::events::insert_event;
use super::record::Event;
use super::row::{integer, misfit, number, parsed, time};
use crate::types::Sha256;

/// Upper bound for stored refusals; the newest are kept. 10,000 rows of at most half a kilobyte are 5 MB.
pub const MOST_REFUSALS: u64 = 10_000;

/// Upper bound for addresses stored per client; the last used are kept. A phone has a few a week.
const MOST_ADDRESSES: u64 = 100;

/// Upper bound for stored pairs of client and address.
const MOST_CLIENTS: u64 = 5_000;

/// Upper bound for access alerts in any hour, so that a noisy client does not flood the sinks.
pub const MOST_TOLD_AN_HOUR: u64 = 10;

/// Upper bound for stored access alerts.
const MOST_TOLD: u64 = 1_000;

/// Refused requests of the same kind, counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Time of the first one, to the millisecond.
    pub at: DateTime<Utc>,
    /// Request id of the first one.
    pub request: String,
    /// HTTP status of the response.
    pub status: u16,
    /// Reason for the refusal, as one word.
    pub why: String,
    /// HTTP method of the first one.
    pub method: String,
    /// Path of the first one, truncated and without control characters.
    pub path: String,
    /// Client, if it was authenticated: `key:<id>`, `access:<user>`, `address:<ip>`.
    pub client: Option<String>,
    /// Address of the first one.
    pub address: IpAddr,
    /// Number of such requests.
    pub times: u64,
}

/// Known facts about a client when it connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Visit {
    /// True if the client was never seen before.
    pub is_new_client: bool,
    /// True if the client was never seen at this address before.
    pub is_new_address: bool,
    /// Number of other clients of its kind that were seen before.
    pub others: u64,
}

/// Last use of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastUse {
    /// Time of that use.
    pub at: DateTime<Utc>,
    /// Address of that use: an IPv4 address, or the /64 of an IPv6 one.
    pub address: String,
    /// Number of known addresses of the client.
    pub addresses: u64,
}

impl Catalog {
    /// Stores refusals in one transaction, and deletes the oldest rows beyond [`MOST_REFUSALS`].
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn note_refused(&self, refused: &[Refused]) -> Result<(), CatalogError> {
        self.write(|transaction| {
            for one in refused {
                insert_refused(transaction, one)?;
            }
            let sql = "DELETE FROM refusals WHERE id <= (SELECT max(id) FROM refusals) - ?";
            transaction.execute(sql, [integer(MOST_REFUSALS)])?;
            Ok(())
        })
    }

    /// Returns the last `limit` refusals, the newest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn refused(&self, limit: usize) -> Result<Vec<Refused>, CatalogError> {
        let sql = "SELECT * FROM refusals ORDER BY id DESC LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([integer(limit as u64)], refused_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Records that a client came from `address`, and returns the facts known about it before.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn visit(
        &self,
        client: &str,
        address: &str,
        now: DateTime<Utc>,
    ) -> Result<Visit, CatalogError> {
        self.write(|transaction| {
            let known = addresses_of(transaction, client)?;
            let kind = client.split_once(':').map_or(client, |(kind, _)| kind);
            let sql = "SELECT count(DISTINCT client) FROM clients
                       WHERE client <> ?1 AND substr(client, 1, length(?2) + 1) = ?2 || ':'";
            let others = transaction.query_row(sql, [client, kind], |row| number(row, 0))?;
            let sql = "INSERT INTO clients VALUES (?1, ?2, ?3, ?3)
                       ON CONFLICT DO UPDATE SET last_at = excluded.last_at";
            transaction.execute(sql, params![client, address, now.timestamp()])?;
            forget_clients(transaction, client)?;
            Ok(Visit {
                is_new_client: known.is_empty(),
                is_new_address: !known.contains(address),
                others,
            })
        })
    }

    /// Returns time and address of a client's last use. `None`: it was never used, as far as known.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last_use(&self, client: &str) -> Result<Option<LastUse>, CatalogError> {
        let sql = "SELECT address, last_at, count(*) OVER () AS addresses FROM clients
                   WHERE client = ? ORDER BY last_at DESC LIMIT 1";
        self.read(|connection| {
            let found = connection.query_row(sql, [client], |row| {
                Ok(LastUse {
                    at: time(row, "last_at")?,
                    address: row.get("address")?,
                    addresses: number(row, "addresses")?,
                })
            });
            Ok(found.optional()?)
        })
    }

    /// Records the keys that the configuration names. A key that is already known keeps its first time; if that lies in
    /// the future (written under a wrong clock), it becomes `now`. Keys that are no longer configured are removed.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn note_keys(
        &self,
        keys: &[(String, Sha256)],
        now: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let known = serde_json::to_string(
            &keys
                .iter()
                .map(|(id, digest)| format!("{id} {digest}"))
                .collect::<Vec<_>>(),
        );
        let known = known.expect("it is a list of texts");
        self.write(|transaction| {
            let gone = "DELETE FROM key_ages
                        WHERE key_id || ' ' || sha256 NOT IN (SELECT value FROM json_each(?))";
            transaction.execute(gone, [known])?;
            for (id, digest) in keys {
                let sql = "INSERT INTO key_ages VALUES (?1, ?2, ?3)
                           ON CONFLICT DO UPDATE SET first_at = min(first_at, excluded.first_at)";
                let row = params![id, digest.to_string(), now.timestamp()];
                transaction.execute(sql, row)?;
            }
            Ok(())
        })
    }

    /// Returns the time at which a key was first seen in the configuration. `None`: no daemon has seen it yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn key_seen(
        &self,
        id: &str,
        digest: &Sha256,
    ) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let sql = "SELECT first_at FROM key_ages WHERE key_id = ? AND sha256 = ?";
        self.read(|connection| {
            let row = [id, &digest.to_string()];
            let found = connection.query_row(sql, row, |row| time(row, "first_at"));
            Ok(found.optional()?)
        })
    }

    /// Writes an event about unusual access, unless the same was written within `quiet`, or [`MOST_TOLD_AN_HOUR`] were
    /// written in the last hour. A record in the future (written under a wrong clock) suppresses nothing. Returns true
    /// if the event was written.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn tell_access(
        &self,
        what: &str,
        event: &Event,
        quiet: TimeDelta,
    ) -> Result<bool, CatalogError> {
        let now = event.at.timestamp();
        self.write(|transaction| {
            let sql = "SELECT at FROM access_told WHERE what = ?";
            let told = transaction.query_row(sql, [what], |row| row.get::<_, i64>(0));
            let told = told.optional()?;
            let is_quiet = told.is_some_and(|at| at <= now && now - at < quiet.num_seconds());
            let sql = "SELECT count(*) FROM access_told WHERE at <= ?1 AND at > ?1 - 3600";
            let within = transaction.query_row(sql, [now], |row| number(row, 0))?;
            if is_quiet || within >= MOST_TOLD_AN_HOUR {
                return Ok(false);
            }
            let sql = "INSERT INTO access_told VALUES (?1, ?2)
                       ON CONFLICT DO UPDATE SET at = excluded.at";
            transaction.execute(sql, params![what, now])?;
            let sql = "DELETE FROM access_told WHERE what NOT IN
                          (SELECT what FROM access_told ORDER BY at DESC LIMIT ?)";
            transaction.execute(sql, [integer(MOST_TOLD)])?;
            let mut event = event.clone();
            if within + 1 == MOST_TOLD_AN_HOUR {
                let more = "; more of the kind is told again in an hour, and stands in the audit until then";
                let (message, hint) = crate::excerpt::split_hint(&event.message);
                let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                event.message = format!("{message}{more}{hint}");
            }
            insert_event(transaction, &event)?;
            Ok(true)
        })
    }
}

fn insert_refused(connection: &Connection, refused: &Refused) -> Result<(), Stop> {
    let sql = "INSERT INTO refusals (at_ms, request_id, status, why, method, path, client, address, times)
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
    connection.execute(
        sql,
        params![
            refused.at.timestamp_millis(),
            refused.request,
            refused.status,
            refused.why,
            refused.method,
            refused.path,
            refused.client,
            refused.address.to_string(),
            integer(refused.times),
        ],
    )?;
    Ok(())
}

fn refused_of(row: &Row<'_>) -> rusqlite::Result<Refused> {
    let at_ms = row.get("at_ms")?;
    let at = DateTime::from_timestamp_millis(at_ms);
    Ok(Refused {
        at: at.ok_or_else(|| misfit("at_ms", rusqlite::types::FromSqlError::OutOfRange(at_ms)))?,
        request: row.get("request_id")?,
        status: row.get("status")?,
        why: row.get("why")?,
        method: row.get("method")?,
        path: row.get("path")?,
        client: row.get("client")?,
        address: parsed(row, "address")?,
        times: number(row, "times")?,
    })
}

fn addresses_of(connection: &Connection, client: &str) -> Result<BTreeSet<String>, Stop> {
    let mut statement =
        connection.prepare_cached("SELECT address FROM clients WHERE client = ?")?;
    let rows = statement.query_map([client], |row| row.get(0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Removes the least recently used addresses beyond the limits, first of `client`, then of all clients.
fn forget_clients(connection: &Connection, client: &str) -> Result<(), Stop> {
    let sql = "DELETE FROM clients WHERE client = ?1 AND address NOT IN
                  (SELECT address FROM clients WHERE client = ?1 ORDER BY last_at DESC LIMIT ?2)";
    connection.execute(sql, params![client, integer(MOST_ADDRESSES)])?;
    let all = connection.query_row("SELECT count(*) FROM clients", [], |row| number(row, 0))?;
    if all > MOST_CLIENTS {
        let sql = "DELETE FROM clients WHERE (client, address) IN
                      (SELECT client, address FROM clients ORDER BY last_at LIMIT ?)";
        connection.execute(sql, [integer(all - MOST_CLIENTS)])?;
    }
    Ok(())
}
