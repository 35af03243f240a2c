//! Derives events of unusual access from the records. Invariant: an event names the client and the address, and
//! contains no other text that a client chose.

use std::collections::BTreeSet;
use std::net::IpAddr;

use chrono::{DateTime, NaiveDate, TimeDelta, Timelike, Utc};

use crate::catalog::{AuditAction, Catalog, CatalogError, Event, EventKind, Refused, Visit};
use crate::config::{AlertLevel, Config};
use crate::http::limits::DOWNLOADS;
use crate::quote::foreign;
use crate::types::{KeyKind, ObjectKey, counted, share};

/// An event that is reported at most once within a time.
pub(super) struct Unusual {
    /// Key that distinguishes it from others.
    pub(super) what: String,
    pub(super) event: Event,
    /// Time within which the same key is not reported again.
    pub(super) quiet: TimeDelta,
}

const DAY: TimeDelta = TimeDelta::days(1);
const WEEK: TimeDelta = TimeDelta::days(7);

/// Window for fetching everything: that of the download limits.
const SHORT: TimeDelta = TimeDelta::hours(1);

/// A client that fetches copies of all databases, and of at least this many, fetched everything. With one database that
/// is normal.
const LEAST_COPIES: usize = 2;

/// The same bound for guides, which are read in passing: two of two mean nothing.
const LEAST_GUIDES: usize = 3;

/// Number of days on which a client must have received something before its usual hours count as known.
const LEAST_DAYS: usize = 10;

/// A guide is read out of hours if the hour is farther than this from every hour at which its reader ever received
/// anything: staying late, coming early or daylight saving time is not reported.
const HOURS_AROUND: u32 = 3;

/// Activity within this time before a request belongs to the same visit.
const VISIT: TimeDelta = TimeDelta::hours(12);

/// Upper bound for a user's name, in characters.
const MOST_NAME_CHARS: usize = 100;

const LOOK: &str = "\nhint: `patina audit list` shows what it asked for";
const LEAKED: &str = "\nhint: where none of your people or programs did that, the key has leaked: the README says what to do (\"A key has leaked\")";

/// Derives the events from refused requests.
pub(super) fn refused(refused: &[Refused], storm: Option<u64>, now: DateTime<Utc>) -> Vec<Unusual> {
    let mut found: Vec<Unusual> = refused.iter().filter_map(|one| of_one(one, now)).collect();
    if let Some(count) = storm {
        let count = counted(count, "request");
        let text = format!("{count} with wrong credentials, or none, within five minutes{LOOK}");
        found.push(unusual("storm", AlertLevel::Warning, text, (DAY, now)));
    }
    found
}

fn of_one(refused: &Refused, now: DateTime<Utc>) -> Option<Unusual> {
    let address = refused.address;
    let client = refused.client.as_deref().unwrap_or("somebody");
    let client = foreign(client, MOST_NAME_CHARS);
    let (who, severity, text, quiet) = match refused.why.as_str() {
        "too_many_wrong" => {
            let text = format!(
                "a client at {address} tries credentials: more than 20 wrong ones within five minutes{LOOK}"
            );
            (address.to_string(), AlertLevel::Warning, text, DAY)
        }
        "key_elsewhere" => {
            let text = format!(
                "`{client}` came with the right secret from {address}, where `allow_ips` does not let it be used{LEAKED}"
            );
            (client, AlertLevel::Critical, text, DAY)
        }
        "expired_key" => {
            let text = format!(
                "`{client}` is still used at {address} and has expired\nhint: give that client a new key: `patina key new`"
            );
            (client, AlertLevel::Warning, text, WEEK)
        }
        "wrong_host" | "other_site" => {
            let text = format!(
                "a page of another site, or a name that does not lead here, came by way of {address} and was refused\n\
                 hint: where the name is yours, add it to `hosts` in [http]; else a browser there opened a page that \
                 tried to read this API"
            );
            (address.to_string(), AlertLevel::Warning, text, DAY)
        }
        "download_limit" => {
            let text = format!(
                "`{client}` at {address} had all downloads of the hour and asked for more{LEAKED}"
            );
            (client, AlertLevel::Warning, text, DAY)
        }
        "key_in_address" => {
            let text = format!(
                "a key came in an address, where logs and histories keep it, from {address}\nhint: replace that key: `patina key new`"
            );
            (address.to_string(), AlertLevel::Warning, text, DAY)
        }
        _ => return None,
    };
    let what = format!("{} {who}", refused.why);
    Some(unusual(&what, severity, text, (quiet, now)))
}

/// Derives the event from the arrival of a client, given what was known of it before.
pub(super) fn came(
    client: &str,
    address: IpAddr,
    visit: Visit,
    now: DateTime<Utc>,
) -> Option<Unusual> {
    let (name, from) = (foreign(client, MOST_NAME_CHARS), text(address));
    let is_key = client.starts_with("key:");
    let text = match visit {
        Visit {
            is_new_client: false,
            is_new_address: true,
            ..
        } if is_key => format!("`{name}` was used from {from} for the first time{LEAKED}"),
        Visit {
            is_new_client: true,
            others: 1..,
            ..
        } if !is_key => {
            format!("`{name}` came in for the first time, from {from}{LOOK}")
        }
        _ => return None,
    };
    let what = format!("came {name} {from}");
    Some(unusual(&what, AlertLevel::Warning, text, (DAY, now)))
}

/// Derives the events from everything that a client received within a short time.
pub(super) fn gave(
    catalog: &Catalog,
    client: &str,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Vec<Unusual>, CatalogError> {
    let databases = config.databases();
    let all = databases.len();
    let mut found = Vec::new();
    for (action, least, did) in [
        (AuditAction::Download, LEAST_COPIES, "fetched copies of"),
        (
            AuditAction::RestoreGuide,
            LEAST_GUIDES,
            "read the restore guides of",
        ),
    ] {
        let given = catalog.given(client, action, now - SHORT)?;
        let is_given = |name: &str| {
            given.iter().any(|subject| match action {
                AuditAction::Download => is_copy_of(subject, name),
                AuditAction::Head | AuditAction::RestoreGuide => subject == name,
            })
        };
        let count = databases
            .iter()
            .filter(|database| is_given(database.name.as_str()))
            .count();
        if count >= least && count >= all.min(DOWNLOADS.per_client) {
            let name = foreign(client, MOST_NAME_CHARS);
            let databases = share(count, all, "database");
            let text = format!("`{name}` {did} {databases} within an hour{LEAKED}");
            let what = format!("everything {} {name}", action.as_str());
            found.push(unusual(&what, AlertLevel::Warning, text, (WEEK, now)));
        }
    }
    found.extend(out_of_hours(catalog, client, config, now)?);
    Ok(found)
}

/// Derives the event from a guide that a key or user just read, given the hours at which it received anything before.
/// An address alone may stand for several people.
fn out_of_hours(
    catalog: &Catalog,
    client: &str,
    config: &Config,
    now: DateTime<Utc>,
) -> Result<Option<Unusual>, CatalogError> {
    if client.starts_with("address:") {
        return Ok(None);
    }
    let given = catalog.given_times(client)?;
    let newest = given.first();
    let Some((AuditAction::RestoreGuide, read)) = newest else {
        return Ok(None);
    };
    let zone = config.agent().timezone;
    let before = given.iter().filter(|(_, at)| *at < *read - VISIT);
    let before: Vec<_> = before.map(|(_, at)| at.with_timezone(&zone)).collect();
    let days: BTreeSet<NaiveDate> = before.iter().map(|at| at.date_naive()).collect();
    let read = read.with_timezone(&zone);
    let is_near = |hour: u32| {
        let apart = hour.abs_diff(read.hour());
        apart.min(24 - apart) <= HOURS_AROUND
    };
    if days.len() < LEAST_DAYS || before.iter().any(|at| is_near(at.hour())) {
        return Ok(None);
    }
    let name = foreign(client, MOST_NAME_CHARS);
    let (at, days) = (read.format("%H:%M %Z"), counted(days.len(), "day"));
    let text = format!(
        "`{name}` read a restore guide at {at}; on the {days} known of it, it never came near that hour{LEAKED}"
    );
    let what = format!("hours {name}");
    Ok(Some(unusual(&what, AlertLevel::Warning, text, (DAY, now))))
}

fn is_copy_of(key: &str, name: &str) -> bool {
    let key = key.parse::<ObjectKey>();
    key.is_ok_and(|key| match key.kind() {
        KeyKind::Daily { database, .. } => database.as_str() == name,
        KeyKind::Weekly { .. } | KeyKind::Manifest { .. } | KeyKind::Claim { .. } => false,
    })
}

fn unusual(
    what: &str,
    severity: AlertLevel,
    message: String,
    (quiet, at): (TimeDelta, DateTime<Utc>),
) -> Unusual {
    Unusual {
        what: what.to_owned(),
        event: Event {
            kind: EventKind::UnusualAccess,
            severity,
            database: None,
            message,
            at,
        },
        quiet,
    }
}

/// Formats an address in the form in which it is remembered: an IPv6 address as its /64.
pub(super) fn text(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("{address}/64"),
    }
}
