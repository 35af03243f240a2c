//! Stores events that wait for delivery to sinks. Invariant: an event is delivered to a sink, given up with its reason,
//! or still retried; none is lost.

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::{OptionalExtension, Row, params};

use super::Catalog;
use super::error::CatalogError;
use super::events::event_of;
use super::record::{Event, EventKind};
use super::row::{EventKindWord, integer, number, optional_parsed, optional_time, parse_severity};
use crate::config::AlertLevel;
use crate::types::JobId;

/// Upper bound for events read at once.
const MOST_EVENTS: u32 = 500;

/// Upper bound for a delay, longer than the day that a sink may ask for.
const LONGEST_WAIT: TimeDelta = TimeDelta::hours(25);

/// Event in the outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// Number in this catalog.
    pub number: i64,
    /// Unique id of the event.
    pub id: String,
    /// Contents.
    pub event: Event,
    /// Job that it is about; `None`: not about one.
    pub job: Option<JobId>,
    /// Kind and severity of the resolved condition; `None` unless the event is `resolved`.
    pub resolves: Option<(EventKind, AlertLevel)>,
}

/// Event that is due for delivery to a sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// The event.
    pub posted: Posted,
    /// Number of attempts so far.
    pub attempts: u32,
}

/// Messages sent to a sink recently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Number of messages.
    pub messages: u64,
    /// Time of the last one.
    pub last: Option<DateTime<Utc>>,
}

/// State of one sink's outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// The sink.
    pub sink: String,
    /// Number of events that wait.
    pub waiting: u64,
    /// Time of the oldest of them; `None`: none waits.
    pub oldest: Option<DateTime<Utc>>,
    /// Time of the last successful delivery; `None`: never.
    pub delivered_at: Option<DateTime<Utc>>,
    /// Number of events given up.
    pub given_up: u64,
}

impl Catalog {
    /// Returns the events that are not yet routed, the oldest first.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn unrouted(&self) -> Result<Vec<Posted>, CatalogError> {
        let sql = "SELECT * FROM events WHERE routed = 0 ORDER BY id LIMIT ?";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let rows = statement.query_map([MOST_EVENTS], posted_of)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Routes events: each gets deliveries to the sinks named with it, due at `now`. Routed events are left alone.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn route(
        &self,
        routes: &[(i64, Vec<String>)],
        now: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let take = "UPDATE events SET routed = 1 WHERE id = ? AND routed = 0";
        let insert = "INSERT OR IGNORE INTO deliveries (event_id, sink, next_at) VALUES (?, ?, ?)";
        self.write(|transaction| {
            for (number, sinks) in routes {
                if transaction.execute(take, [number])? == 0 {
                    continue;
                }
                for sink in sinks {
                    transaction.execute(insert, params![number, sink, now.timestamp()])?;
                }
            }
            Ok(())
        })
    }

    /// Returns the events due for a sink, the oldest first. One that waits longer than any delay was delayed before the
    /// clock was set back, and is due.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn due(
        &self,
        sink: &str,
        now: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Due>, CatalogError> {
        let sql = "SELECT events.*, attempts FROM deliveries JOIN events ON events.id = event_id
                   WHERE sink = ?1 AND delivered_at IS NULL AND given_up_at IS NULL
                      AND (next_at <= ?2 OR next_at > ?2 + ?3)
                   ORDER BY event_id LIMIT ?4";
        self.read(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            let (now, longest) = (now.timestamp(), LONGEST_WAIT.num_seconds());
            let row = params![sink, now, longest, integer(limit as u64)];
            let rows = statement.query_map(row, |row| {
                Ok(Due {
                    posted: posted_of(row)?,
                    attempts: number(row, "attempts")?.try_into().unwrap_or(u32::MAX),
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the next time at which something is due for a sink, by the rule of [`Catalog::due`]. `None`: nothing
    /// waits for it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_due(
        &self,
        sink: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>, CatalogError> {
        let sql = "SELECT min(iif(next_at > ?2 + ?3, ?2, next_at)) AS next_at FROM deliveries
                   WHERE sink = ?1 AND delivered_at IS NULL AND given_up_at IS NULL";
        let row = params![sink, now.timestamp(), LONGEST_WAIT.num_seconds()];
        self.read(|connection| {
            Ok(connection.query_row(sql, row, |row| optional_time(row, "next_at"))?)
        })
    }

    /// True if an event waits to be routed.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn has_unrouted(&self) -> Result<bool, CatalogError> {
        self.read(|connection| super::events::are_waiting(connection))
    }

    /// Returns the messages sent to a sink within `window` before `now`; deliveries dated later (before the clock was
    /// set back) do not count.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn sent(
        &self,
        sink: &str,
        window: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Sent, CatalogError> {
        let sql = "SELECT count(*) AS messages, max(at) AS last
                   FROM (SELECT max(delivered_at) AS at FROM deliveries
                         WHERE sink = ?1 AND delivered_at > ?2 AND delivered_at <= ?3
                            AND message_id IS NOT NULL
                         GROUP BY message_id)";
        self.read(|connection| {
            let row = params![sink, (now - window).timestamp(), now.timestamp()];
            Ok(connection.query_row(sql, row, |row| {
                Ok(Sent {
                    messages: number(row, "messages")?,
                    last: optional_time(row, "last")?,
                })
            })?)
        })
    }

    /// Records that a sink accepted events, all in the message with this id.
    ///
    /// # Errors
    /// If the rows cannot be written; the events are sent again then.
    pub fn delivered(
        &self,
        sink: &str,
        numbers: &[i64],
        message_id: &str,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let sql = "UPDATE deliveries SET delivered_at = ?3, message_id = ?4, last_error = NULL,
                      attempts = attempts + 1
                   WHERE event_id = ?1 AND sink = ?2";
        self.write(|transaction| {
            for number in numbers {
                transaction.execute(sql, params![number, sink, at.timestamp(), message_id])?;
            }
            Ok(())
        })
    }

    /// Records that a script rejected an event for a sink: it counts as delivered, without a message.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn pass_over(
        &self,
        sink: &str,
        number: i64,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let sql = "UPDATE deliveries SET delivered_at = ? WHERE event_id = ? AND sink = ?";
        self.write(|transaction| {
            transaction.execute(sql, params![at.timestamp(), number, sink])?;
            Ok(())
        })
    }

    /// Records that a sink did not accept events, and the error. They are retried at `until`; with `holds_all`, so is
    /// everything else that waits for the sink, so that an unresponsive sink is not tried for each event.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn put_off(
        &self,
        sink: &str,
        numbers: &[i64],
        until: DateTime<Utc>,
        holds_all: bool,
        error: &str,
    ) -> Result<(), CatalogError> {
        let sql = "UPDATE deliveries SET attempts = attempts + 1, next_at = ?3, last_error = ?4
                   WHERE event_id = ?1 AND sink = ?2";
        let hold = "UPDATE deliveries
                    SET next_at = iif(next_at > ?2 + ?3, ?2, max(next_at, ?2))
                    WHERE sink = ?1 AND delivered_at IS NULL AND given_up_at IS NULL";
        self.write(|transaction| {
            for number in numbers {
                transaction.execute(sql, params![number, sink, until.timestamp(), error])?;
            }
            if holds_all {
                let longest = LONGEST_WAIT.num_seconds();
                transaction.execute(hold, params![sink, until.timestamp(), longest])?;
            }
            Ok(())
        })
    }

    /// Delays everything that waits for a sink until `until`; it does not count as an attempt.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn hold(&self, sink: &str, until: DateTime<Utc>) -> Result<(), CatalogError> {
        self.put_off(sink, &[], until, true, "")
    }

    /// Gives up events from before `before` that a sink has not accepted. Returns their number.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn give_up(
        &self,
        sink: &str,
        before: DateTime<Utc>,
        at: DateTime<Utc>,
    ) -> Result<usize, CatalogError> {
        let sql = "UPDATE deliveries SET given_up_at = ?3
                   WHERE sink = ?1 AND delivered_at IS NULL AND given_up_at IS NULL
                      AND event_id IN (SELECT id FROM events WHERE at < ?2)";
        self.write(|transaction| {
            let row = params![sink, before.timestamp(), at.timestamp()];
            Ok(transaction.execute(sql, row)?)
        })
    }

    /// Deletes deliveries finished before `before` and deliveries to sinks not in `sinks`; then routed events from
    /// before `before` without deliveries.
    ///
    /// # Errors
    /// If the rows cannot be removed.
    pub fn tidy_outbox(&self, sinks: &[String], before: DateTime<Utc>) -> Result<(), CatalogError> {
        let sinks = serde_json::to_string(sinks).expect("it is a list of texts");
        let old = "DELETE FROM deliveries WHERE coalesce(delivered_at, given_up_at) < ?";
        let gone = "DELETE FROM deliveries WHERE sink NOT IN (SELECT value FROM json_each(?))";
        let events = "DELETE FROM events WHERE at < ? AND routed = 1
                         AND NOT EXISTS (SELECT 1 FROM deliveries WHERE event_id = events.id)";
        self.write(|transaction| {
            transaction.execute(old, [before.timestamp()])?;
            transaction.execute(gone, [&sinks])?;
            transaction.execute(events, [before.timestamp()])?;
            Ok(())
        })
    }

    /// Returns the outbox of each sink that ever had a delivery, by name.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn outbox(&self) -> Result<Vec<Queue>, CatalogError> {
        let sql = "SELECT sink, max(delivered_at) AS delivered_at,
                      sum(delivered_at IS NULL AND given_up_at IS NULL) AS waiting,
                      sum(given_up_at IS NOT NULL) AS given_up,
                      min(iif(delivered_at IS NULL AND given_up_at IS NULL, at, NULL)) AS oldest
                   FROM deliveries JOIN events ON events.id = event_id GROUP BY sink ORDER BY sink";
        self.read(|connection| {
            let mut statement = connection.prepare(sql)?;
            let rows = statement.query_map([], |row| {
                Ok(Queue {
                    sink: row.get("sink")?,
                    waiting: number(row, "waiting")?,
                    oldest: optional_time(row, "oldest")?,
                    delivered_at: optional_time(row, "delivered_at")?,
                    given_up: number(row, "given_up")?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Returns the last error of a sink for an event it has not accepted. `None`: none exists.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last_error(&self, sink: &str) -> Result<Option<String>, CatalogError> {
        let sql = "SELECT last_error FROM deliveries
                   WHERE sink = ? AND last_error IS NOT NULL AND delivered_at IS NULL
                   ORDER BY event_id DESC LIMIT 1";
        self.read(|connection| {
            Ok(connection
                .query_row(sql, [sink], |row| row.get(0))
                .optional()?)
        })
    }
}

fn posted_of(row: &Row<'_>) -> rusqlite::Result<Posted> {
    let resolves: Option<String> = row.get("resolves")?;
    let resolves = match resolves {
        None => None,
        Some(_) => Some((
            row.get::<_, EventKindWord>("resolves")?.0,
            parse_severity(row, "resolves_severity")?,
        )),
    };
    Ok(Posted {
        number: row.get("id")?,
        id: row.get("uid")?,
        event: event_of(row)?,
        job: optional_parsed(row, "job_id")?,
        resolves,
    })
}
