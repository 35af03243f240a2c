//! Looks how old the API's keys are. Invariant: a key that is replaced, removed or young again ends what was told of it.

use chrono::{DateTime, TimeDelta, Utc};

use crate::catalog::{Catalog, CatalogError, Ended, Event, EventKind, News, Raised};
use crate::config::{AlertLevel, ApiKey, Http, duration_text};
use crate::wiring::Wiring;

/// An old key is told of weekly; less than a week, or the hourly look would slip a little each time.
const AGAIN: TimeDelta = TimeDelta::minutes(7 * 24 * 60 - 30);

/// A key and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyAge {
    /// Its id.
    pub id: String,
    /// When it was made, by the configuration, or else first seen. `None`: nobody knows yet.
    pub since: Option<DateTime<Utc>>,
    /// Whether `since` is what the configuration says.
    pub is_stated: bool,
    /// Whether it is older than `rotate_after`.
    pub is_due: bool,
    /// Whether it is no longer valid.
    pub is_expired: bool,
}

impl KeyAge {
    /// Whole days since then; a moment that lies ahead is none ago.
    pub fn days(&self, now: DateTime<Utc>) -> Option<i64> {
        self.since.map(|since| (now - since).num_days().max(0))
    }
}

/// How old each key is, in file order. Without a catalog, by the configuration alone.
///
/// # Errors
/// Where the catalog cannot be read.
pub fn ages(
    http: &Http,
    catalog: Option<&Catalog>,
    now: DateTime<Utc>,
) -> Result<Vec<KeyAge>, CatalogError> {
    let age = |key: &ApiKey| {
        let seen = match catalog {
            Some(catalog) => catalog.key_seen(&key.id, &key.sha256)?,
            None => None,
        };
        let since = key.created.or(seen);
        let most = TimeDelta::from_std(http.rotate_after).unwrap_or(TimeDelta::MAX);
        Ok(KeyAge {
            id: key.id.clone(),
            since,
            is_stated: key.created.is_some(),
            is_due: since.is_some_and(|since| now - since >= most),
            is_expired: key.expires.is_some_and(|expires| expires <= now),
        })
    };
    http.keys.iter().map(age).collect()
}

/// One sentence about a key that is due, with the way out.
pub fn advice(key: &KeyAge, http: &Http, now: DateTime<Utc>) -> String {
    let id = &key.id;
    let days = crate::types::counted(key.days(now).unwrap_or_default(), "day");
    let most = duration_text(http.rotate_after);
    format!(
        "the key `{id}` is {days} old, and `rotate_after` is {most}\n\
         hint: `patina key new` makes another; add it beside the old one, give it to the clients, and remove the old \
         one when `patina key list` shows it unused"
    )
}

/// Notes the keys of the configuration, tells of those that are older than `rotate_after`, and gives how many there are.
///
/// # Errors
/// Where the catalog cannot be read or written.
pub fn run(wiring: &Wiring) -> Result<usize, CatalogError> {
    let (http, now) = (wiring.config.http(), wiring.clock.now());
    let catalog = &wiring.catalog;
    let keys = http.keys.iter();
    let keys: Vec<_> = keys.map(|key| (key.id.clone(), key.sha256)).collect();
    catalog.note_keys(&keys, now)?;
    let ages = ages(http, Some(catalog), now)?;
    let due: Vec<&KeyAge> = ages
        .iter()
        .filter(|key| key.is_due && !key.is_expired)
        .collect();
    let mut news = News::default();
    for key in &due {
        let digest = keys.iter().find(|(id, _)| *id == key.id);
        let event = Event {
            kind: EventKind::KeyIsOld,
            severity: AlertLevel::Warning,
            database: None,
            message: advice(key, http, now),
            at: now,
        };
        news.raised.push(Raised {
            details: digest
                .map(|(_, digest)| digest.to_string())
                .into_iter()
                .collect(),
            again: Some(AGAIN),
            ..Raised::once(event, key.id.as_str())
        });
    }
    for known in catalog.conditions()? {
        let is_over = !due.iter().any(|key| key.id == known.scope);
        if known.kind == EventKind::KeyIsOld && is_over {
            news.ended.push(Ended {
                kinds: vec![EventKind::KeyIsOld],
                message: format!("the key `{}` is replaced, or in time again", known.scope),
                scope: known.scope,
                database: None,
                at: now,
            });
        }
    }
    catalog.announce(&news)?;
    Ok(due.len())
}
