//! `patina list`: the inventory, the newest copy first.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::address::unknown;
use super::args::ListArgs;
use super::context::Context;
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::catalog::{CopyFilter, CopyState, Placement, StoredCopy};
use crate::clock::{Clock, SystemClock};
use crate::types::{ByteCount, grouped};

/// Runs `patina list`.
pub(super) fn run(context: &Context, args: &ListArgs) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    let copies = catalog.copies(&CopyFilter {
        database: args.database.clone(),
        date: args.date,
        limit: args.limit,
    })?;
    if let Some(name) = args.database.as_ref().filter(|_| copies.is_empty())
        && config.database(name).is_none()
    {
        let filter = CopyFilter {
            database: Some(name.clone()),
            limit: Some(1),
            ..CopyFilter::default()
        };
        if catalog.copies(&filter)?.is_empty() {
            return Err(unknown(name, &catalog, &config)?.into());
        }
    }
    if context.json {
        let copies: Vec<Value> = copies.iter().map(document).collect();
        context.print_json(&json!({ "copies": copies }))?;
        return Ok(Exit::Ok);
    }
    if copies.is_empty() {
        return Err(nothing(args).into());
    }
    context.print(table(&copies, SystemClock::new().now()))?;
    Ok(Exit::Ok)
}

fn nothing(args: &ListArgs) -> Refusal {
    let of = args
        .database
        .as_ref()
        .map_or(String::new(), |name| format!(" of `{name}`"));
    Refusal::failed(match args.date {
        Some(date) => {
            format!("there is no copy{of} of {date}\nhint: `patina list` shows all there are")
        }
        None => format!("there is no copy{of} yet\nhint: patina backup"),
    })
}

fn table(copies: &[StoredCopy], now: DateTime<Utc>) -> Table<9> {
    let mut table = Table::new([
        ("DATABASE", Side::Left),
        ("DATE", Side::Left),
        ("SIZE", Side::Right),
        ("TABLES", Side::Right),
        ("ROWS", Side::Right),
        ("PROOF", Side::Left),
        ("STORAGES", Side::Left),
        ("VERIFIED", Side::Left),
        ("KEY", Side::Left),
    ]);
    for copy in copies {
        let manifest = &copy.manifest;
        let storages: Vec<String> = copy.placements.iter().map(storage).collect();
        table.row([
            manifest.database.to_string(),
            manifest.date.to_string(),
            ByteCount(manifest.stored.size_bytes).to_string(),
            grouped(manifest.evidence.tables.len() as u64),
            grouped(manifest.evidence.total_rows()),
            format!("{:?}", manifest.class),
            storages.join(", "),
            verified(copy, now),
            manifest.key.to_string(),
        ]);
    }
    table
}

/// A storage's name, and its trouble where it has any.
pub(super) fn storage(placement: &Placement) -> String {
    match placement.state {
        CopyState::Live => placement.storage.clone(),
        other => format!("{} ({})", placement.storage, other.as_str()),
    }
}

/// When every byte was last read, by the storage where that is longest ago.
fn verified(copy: &StoredCopy, now: DateTime<Utc>) -> String {
    let times: Vec<_> = copy.live().map(|placement| placement.verified_at).collect();
    match times.iter().min() {
        None => "-".to_owned(),
        Some(None) => "never".to_owned(),
        Some(Some(time)) => age(now - *time),
    }
}

/// An age in its largest unit.
pub(super) fn age(passed: TimeDelta) -> String {
    let seconds = passed.num_seconds().max(0);
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// A copy for `--json`.
pub(super) fn document(copy: &StoredCopy) -> Value {
    let manifest = &copy.manifest;
    json!({
        "database": manifest.database,
        "date": manifest.date,
        "key": manifest.key,
        "created_at": copy.created_at,
        "stored_bytes": manifest.stored.size_bytes,
        "plain_bytes": manifest.plain.size_bytes,
        "compression": manifest.stored.compression,
        "sha256": manifest.stored.sha256,
        "tables": manifest.evidence.tables.len(),
        "rows": manifest.evidence.total_rows(),
        "class": manifest.class,
        "incomplete": manifest.incomplete,
        "storages": placements(copy),
    })
}

/// Where a copy lies, for `--json`.
pub(super) fn placements(copy: &StoredCopy) -> Vec<Value> {
    let placements = copy.placements.iter();
    placements
        .map(|placement| {
            json!({
                "storage": placement.storage,
                "state": placement.state,
                "damage": placement.damage,
                "verified_at": placement.verified_at,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_told_in_its_largest_unit() {
        for (seconds, text) in [
            (-5, "just now"),
            (59, "just now"),
            (61, "1 min ago"),
            (7200, "2 h ago"),
            (172_800, "2 days ago"),
        ] {
            assert_eq!(age(TimeDelta::seconds(seconds)), text);
        }
    }
}
