//! Stores alert conditions. Invariant: a condition that lasts is alerted once, and its end goes to where its begin
//! went.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{Connection, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use super::events::{Besides, insert, insert_event};
use super::record::{Event, EventKind};
use super::row::{EventKindWord, severity, severity_word, time};
use super::suspect::ROWS_MISSING;
use crate::config::AlertLevel;
use crate::types::DatabaseName;

/// Condition that holds until it is resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// Event to write if the condition is new.
    pub event: Event,
    /// Scope of the condition: a database, a storage, a copy. Kind and scope identify it.
    pub scope: String,
    /// Parts of the condition; empty if it has none. A new part causes another event.
    pub details: Vec<String>,
    /// Interval after which the event is repeated; `None`: never.
    pub again: Option<TimeDelta>,
}

impl Raised {
    /// Condition about `scope` that is alerted once.
    pub fn once(event: Event, scope: impl Into<String>) -> Self {
        Self {
            event,
            scope: scope.into(),
            details: Vec::new(),
            again: None,
        }
    }
}

/// Resolution of conditions; without effect if none is active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Kinds of conditions that are resolved.
    pub kinds: Vec<EventKind>,
    /// Their scope.
    pub scope: String,
    /// Database that they are about; `None`: not about one database.
    pub database: Option<DatabaseName>,
    /// Message about the present state.
    pub message: String,
    /// Time at which that was seen.
    pub at: DateTime<Utc>,
}

/// Condition that another event already reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// Kind of the condition.
    pub kind: EventKind,
    /// Severity.
    pub severity: AlertLevel,
    /// Scope.
    pub scope: String,
    /// Time since when it holds.
    pub at: DateTime<Utc>,
}

/// Alert changes that belong to a fact; written in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Events written unconditionally.
    pub told: Vec<Event>,
    /// Conditions raised.
    pub raised: Vec<Raised>,
    /// Conditions resolved.
    pub ended: Vec<Ended>,
    /// Conditions that another event reports: only their end is an event of its own.
    pub noted: Vec<Noted>,
}

/// Active condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Kind.
    pub kind: EventKind,
    /// Scope.
    pub scope: String,
    /// Part within the scope; often empty.
    pub detail: String,
    /// Severity.
    pub severity: AlertLevel,
    /// Time since when it holds.
    pub since: DateTime<Utc>,
}

impl Catalog {
    /// Writes alert changes that belong to no other row. Returns true if an event was written.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn announce(&self, news: &News) -> Result<bool, CatalogError> {
        self.write(|transaction| announce(transaction, news))
    }

    /// Returns the active conditions, ordered by kind, scope and detail.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn conditions(&self) -> Result<Vec<Condition>, CatalogError> {
        let sql = "SELECT * FROM conditions ORDER BY kind, scope, detail";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(Condition {
                    kind: row.get::<_, EventKindWord>("kind")?.0,
                    scope: row.get("scope")?,
                    detail: row.get("detail")?,
                    severity: severity(row)?,
                    since: time(row, "since")?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the time since when a database is watched; the first call sets it to `now`.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn watched_since(
        &self,
        database: &DatabaseName,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, CatalogError> {
        self.write(|transaction| {
            let row = params![database.as_str(), now.timestamp()];
            transaction.execute("INSERT OR IGNORE INTO watched VALUES (?, ?)", row)?;
            let sql = "SELECT since FROM watched WHERE database_name = ?";
            Ok(transaction.query_row(sql, [database.as_str()], |row| time(row, "since"))?)
        })
    }

    /// Removes conditions of this kind whose scope is not in `scopes`: those are no longer checked.
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn forget_conditions(
        &self,
        kind: EventKind,
        scopes: &[String],
    ) -> Result<(), CatalogError> {
        let known = serde_json::to_string(scopes).expect("it is a list of texts");
        let sql = "DELETE FROM conditions
                   WHERE kind = ? AND scope NOT IN (SELECT value FROM json_each(?))";
        self.write(|transaction| {
            transaction.execute(sql, params![kind.as_str(), known])?;
            Ok(())
        })
    }
}

/// Writes alert changes inside a transaction. Returns true if an event was written.
pub(super) fn announce(connection: &Connection, news: &News) -> Result<bool, Stop> {
    let mut is_told = !news.told.is_empty();
    for event in &news.told {
        insert_event(connection, event)?;
    }
    for ended in &news.ended {
        is_told |= end(connection, ended)?;
    }
    for raised in &news.raised {
        let is_new = raise(connection, raised)?;
        is_told |= is_new;
        if is_new && raised.event.kind == EventKind::RowsDropped {
            hold_for_rows(connection, &raised.event)?;
        }
    }
    for noted in &news.noted {
        let Noted { kind, scope, .. } = noted;
        let (at, severity) = (noted.at.timestamp(), severity_word(noted.severity));
        connection.execute(
            "INSERT OR IGNORE INTO conditions VALUES (?1, ?2, '', ?3, ?4, ?4)",
            params![kind.as_str(), scope, severity, at],
        )?;
    }
    Ok(is_told)
}

/// Blocks expiry of a database that lost rows: the older copies may be the only ones that contain them. Only an
/// acknowledgement by a person lifts the block, because the program cannot know if the rows should exist.
fn hold_for_rows(connection: &Connection, event: &Event) -> Result<(), Stop> {
    let Some(database) = &event.database else {
        return Ok(());
    };
    let what = event.message.lines().next().unwrap_or_default();
    let what = what
        .strip_prefix(&format!("`{database}`: "))
        .unwrap_or(what);
    let sql = "INSERT INTO freezes (database_name, reason, created_at) VALUES (?, ?, ?)
               ON CONFLICT (database_name) DO NOTHING";
    let reason = format!("{ROWS_MISSING}{what}");
    connection.execute(
        sql,
        params![database.as_str(), reason, event.at.timestamp()],
    )?;
    Ok(())
}

/// Raises or refreshes a condition. Returns true if its event was written.
pub(super) fn raise(connection: &Connection, raised: &Raised) -> Result<bool, Stop> {
    let Raised { event, scope, .. } = raised;
    let kind = event.kind.as_str();
    let known = known(connection, kind, scope)?;
    let details = match raised.details.as_slice() {
        [] => &[String::new()],
        details => details,
    };
    let is_new = details.iter().any(|detail| !known.contains_key(detail));
    let last = known.values().copied().max().unwrap_or(i64::MIN);
    // A time in the future was stored before the clock was set back: it suppresses nothing.
    let is_ahead = last > event.at.timestamp();
    let is_due = raised
        .again
        .is_some_and(|again| last <= (event.at - again).timestamp() || is_ahead);
    let is_told = is_new || is_due;
    for gone in known.keys().filter(|known| !details.contains(known)) {
        let sql = "DELETE FROM conditions WHERE kind = ? AND scope = ? AND detail = ?";
        connection.execute(sql, [kind, scope, gone])?;
    }
    let told_at = if is_told { event.at.timestamp() } else { last };
    for detail in details {
        let at = event.at.timestamp();
        let severity = severity_word(event.severity);
        connection.execute(
            "INSERT INTO conditions VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET severity = excluded.severity, told_at = excluded.told_at",
            params![kind, scope, detail, severity, at, told_at],
        )?;
    }
    if is_told {
        insert_event(connection, event)?;
    }
    Ok(is_told)
}

fn known(connection: &Connection, kind: &str, scope: &str) -> Result<BTreeMap<String, i64>, Stop> {
    let sql = "SELECT detail, told_at FROM conditions WHERE kind = ? AND scope = ?";
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([kind, scope], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Resolves conditions and writes one event about it. Returns false if none was active.
pub(super) fn end(connection: &Connection, ended: &Ended) -> Result<bool, Stop> {
    let sql = "DELETE FROM conditions WHERE kind = ? AND scope = ? RETURNING severity";
    let mut over: Option<(EventKind, AlertLevel)> = None;
    for kind in &ended.kinds {
        let mut statement = connection.prepare_cached(sql)?;
        let rows = statement.query_map([kind.as_str(), &ended.scope], severity)?;
        for severity in rows {
            let severity = severity?;
            if over.is_none_or(|(_, gravest)| gravest < severity) {
                over = Some((*kind, severity));
            }
        }
    }
    let Some(resolves) = over else {
        return Ok(false);
    };
    let event = Event {
        kind: EventKind::Resolved,
        severity: AlertLevel::Info,
        database: ended.database.clone(),
        message: ended.message.clone(),
        at: ended.at,
    };
    let besides = Besides {
        resolves: Some(resolves),
        ..Besides::default()
    };
    insert(connection, &event, besides)?;
    Ok(true)
}
