//! Keeps what is wrong now. Invariant: what goes on is told once, and its end is told where its begin was.

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

/// Something that is wrong until it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// What to tell, where it is new.
    pub event: Event,
    /// What it is about: a database, a storage, a copy. Kind and scope name it.
    pub scope: String,
    /// The parts of it; empty where there are none. It is told again where one comes that was not there.
    pub details: Vec<String>,
    /// It is told again after this; `None`: once.
    pub again: Option<TimeDelta>,
}

impl Raised {
    /// Told once, about `scope`.
    pub fn once(event: Event, scope: impl Into<String>) -> Self {
        Self {
            event,
            scope: scope.into(),
            details: Vec::new(),
            again: None,
        }
    }
}

/// The end of what was wrong with something; nothing where nothing was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What is over.
    pub kinds: Vec<EventKind>,
    /// What it was about.
    pub scope: String,
    /// The database it was about; `None` where it was not about one.
    pub database: Option<DatabaseName>,
    /// How it is now, in a person's words.
    pub message: String,
    /// When that was seen.
    pub at: DateTime<Utc>,
}

/// Something that is wrong and was told with something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noted {
    /// What is wrong.
    pub kind: EventKind,
    /// How grave it is.
    pub severity: AlertLevel,
    /// What it is about.
    pub scope: String,
    /// Since when.
    pub at: DateTime<Utc>,
}

/// What a fact brings with it; written in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct News {
    /// Told in any case.
    pub told: Vec<Event>,
    /// What is wrong.
    pub raised: Vec<Raised>,
    /// What is no longer.
    pub ended: Vec<Ended>,
    /// What is wrong and told with something else: only its end is an event of its own.
    pub noted: Vec<Noted>,
}

/// Something that is wrong now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// What.
    pub kind: EventKind,
    /// What it is about.
    pub scope: String,
    /// The part of it; often empty.
    pub detail: String,
    /// How grave it is.
    pub severity: AlertLevel,
    /// Since when.
    pub since: DateTime<Utc>,
}

impl Catalog {
    /// Writes down what is wrong and what is no longer, where nothing else is written with it. True: something is to
    /// be told.
    ///
    /// # Errors
    /// Where the rows cannot be written.
    pub fn announce(&self, news: &News) -> Result<bool, CatalogError> {
        self.write(|transaction| announce(transaction, news))
    }

    /// What is wrong now, in the order of kinds.
    ///
    /// # Errors
    /// Where the file cannot be read.
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

    /// Since when a database is looked at; the first call says that it is `now`.
    ///
    /// # Errors
    /// Where the row cannot be written.
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

    /// Forgets what was wrong of this kind with anything but `scopes`: nobody looks at the rest any more.
    ///
    /// # Errors
    /// Where the rows cannot be removed.
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

/// Writes news inside a transaction. True: an event is among them.
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

/// Lets nothing of a database expire that lost rows: the older copies may be the only ones that have them. It ends with a
/// person's word alone, as nobody else knows whether the rows should be there.
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

/// Notes what is wrong. True: it is told.
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
    // A moment that lies ahead was noted under a clock that was set back since: it silences nothing.
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

/// Ends what was wrong, and tells so in one event. False: nothing was.
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
