//! Mirrors the alert settings in effect into `alert_config`. Invariant: it is a copy for people and tools that read the
//! catalog; no setting is read from it, and it contains no secret.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::Catalog;
use super::error::{CatalogError, Stop};
use crate::config::Alerts;

/// Row of `alert_config` together with its sink: name, kind, URL origin, enabled, notify on success, notify on failure.
type Row = (String, String, Option<String>, bool, bool, bool);

impl Catalog {
    /// Writes the sinks and the kinds of events they get. Rows that are already right keep their times.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn note_alerts(&self, alerts: &Alerts, now: DateTime<Utc>) -> Result<(), CatalogError> {
        let wanted = rows(alerts);
        if self.read(|connection| present(connection))? == wanted {
            return Ok(());
        }
        self.write(|transaction| write(transaction, &wanted, now.timestamp()))
    }
}

/// Rows that the table should hold, by sink name.
fn rows(alerts: &Alerts) -> Vec<Row> {
    let (success, failure) = (alerts.on_success, alerts.on_failure);
    if alerts.sinks.is_empty() {
        return vec![(String::new(), String::new(), None, false, success, failure)];
    }
    let mut rows: Vec<Row> = alerts
        .sinks
        .iter()
        .map(|sink| {
            let kind = sink.kind.as_str().to_owned();
            let origin = Some(sink.url.origin().to_string());
            (sink.name.clone(), kind, origin, true, success, failure)
        })
        .collect();
    rows.sort();
    rows
}

fn present(connection: &Connection) -> Result<Vec<Row>, Stop> {
    let sql = "SELECT sink, kind, webhook_url, enabled, notify_on_success, notify_on_failure
               FROM alert_config JOIN alert_sinks ON config_id = alert_config.id ORDER BY sink";
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map([], |row| {
        Ok((
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn write(connection: &Connection, wanted: &[Row], now: i64) -> Result<(), Stop> {
    let known = present(connection)?;
    let names = serde_json::to_string(&wanted.iter().map(|row| &row.0).collect::<Vec<_>>());
    let names = names.expect("it is a list of texts");
    let gone = "DELETE FROM alert_config WHERE id NOT IN
                   (SELECT config_id FROM alert_sinks WHERE sink IN (SELECT value FROM json_each(?)))";
    connection.execute(gone, [names])?;
    for row in wanted.iter().filter(|row| !known.contains(row)) {
        let (sink, kind, url, is_enabled, success, failure) = row;
        let update =
            "UPDATE alert_config SET webhook_url = ?2, enabled = ?3, notify_on_success = ?4,
                         notify_on_failure = ?5, updated_at = ?6
                      WHERE id = (SELECT config_id FROM alert_sinks WHERE sink = ?1)";
        let values = params![sink, url, is_enabled, success, failure, now];
        if connection.execute(update, values)? > 0 {
            let sql = "UPDATE alert_sinks SET kind = ? WHERE sink = ?";
            connection.execute(sql, [kind, sink])?;
            continue;
        }
        connection.execute(
            "INSERT INTO alert_config
                (webhook_url, enabled, notify_on_success, notify_on_failure, created_at, updated_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?5)",
            params![url, is_enabled, success, failure, now],
        )?;
        let row = params![connection.last_insert_rowid(), sink, kind];
        connection.execute("INSERT INTO alert_sinks VALUES (?, ?, ?)", row)?;
    }
    Ok(())
}
