//! `patina list`: shows the inventory, the newest copy first.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

use super::address::unknown;
use super::args::ListArgs;
use super::context::Context;
use super::exit::{Exit, Refusal};
use super::table::{Side, Table};
use crate::catalog::{Catalog, CopyFilter, CopyState, Placement, StoredArchive, StoredCopy};
use crate::clock::{Clock, SystemClock};
use crate::engine::samples_read_back;
use crate::types::{ByteCount, EvidenceClass, Manifest, ObjectKey, counted, grouped};

/// Runs `patina list`.
pub(super) fn run(context: &Context, args: &ListArgs) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    let copies = catalog.copies(&CopyFilter {
        database: args.database.clone(),
        date: args.date,
        limit: args.limit,
        ours: false,
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
    let archives = archives(args, &catalog)?;
    let now = SystemClock::new().now();
    let doubts = Doubts {
        ahead: catalog.dated_ahead(now)?,
        unconfirmed: catalog.unconfirmed()?,
        own: catalog.known_instance()?,
    };
    if context.json {
        context.print_json(&Listing {
            archives: Documents(&archives, &archive_document),
            copies: Documents(&copies, &|copy| doubts.document(copy)),
        })?;
        return Ok(Exit::Ok);
    }
    match (copies.is_empty(), archives.is_empty()) {
        (true, true) => return Err(nothing(args).into()),
        (false, true) => {
            context.print(shown(&copies, &doubts, now))?;
        }
        (true, false) => context.print(archive_table(&archives, now))?,
        (false, false) => context.print(format_args!(
            "{}\n\n{}",
            shown(&copies, &doubts, now),
            archive_table(&archives, now)
        ))?,
    }
    Ok(Exit::Ok)
}

/// Returns the text about these copies.
pub(super) fn shown(copies: &[StoredCopy], doubts: &Doubts, now: DateTime<Utc>) -> String {
    let (suspects, doubtful) = (about_suspects(copies), doubts.about(copies));
    format!("{}{suspects}{doubtful}", table(copies, doubts, now))
}

/// Reasons why a restore would not choose a copy.
#[derive(Default)]
pub(super) struct Doubts {
    /// Copies with a date later than they can have been made.
    ahead: BTreeSet<ObjectKey>,
    /// Copies that were found in a storage and never stored by this catalog.
    unconfirmed: BTreeSet<ObjectKey>,
    /// This installation's id.
    own: Option<String>,
}

impl Doubts {
    fn is_ahead(&self, copy: &StoredCopy) -> bool {
        self.ahead.contains(copy.key())
    }

    fn is_unconfirmed(&self, copy: &StoredCopy) -> bool {
        self.unconfirmed.contains(copy.key())
    }

    /// True if another installation wrote it.
    fn is_foreign(&self, copy: &StoredCopy) -> bool {
        let own = self.own.as_ref();
        own.is_some_and(|own| *own != copy.manifest.instance)
    }

    /// Returns the day, with a mark if it is doubtful.
    fn date(&self, copy: &StoredCopy) -> String {
        let date = copy.manifest.date;
        match () {
            () if self.is_ahead(copy) => format!("{date} AHEAD"),
            () if self.is_foreign(copy) => format!("{date} OTHER"),
            () if self.is_unconfirmed(copy) => format!("{date} UNCONFIRMED"),
            () => date.to_string(),
        }
    }

    /// Returns the explanations below the table.
    fn about(&self, copies: &[StoredCopy]) -> String {
        let mut text = String::new();
        if copies.iter().any(|copy| self.is_ahead(copy)) {
            text.push_str(
                "\n\nAHEAD: dated later than it can have been made: a clock was ahead, or somebody put it there; it makes \
                 nothing fresh",
            );
        }
        if copies.iter().any(|copy| self.is_unconfirmed(copy)) {
            text.push_str(
                "\n\nUNCONFIRMED: found in a storage and never stored by this catalog; it makes nothing fresh, and is taken \
                 where there is no other copy or its own key is given; `patina rebuild` confirms all of them",
            );
        }
        if copies.iter().any(|copy| self.is_foreign(copy)) {
            text.push_str(
                "\n\nOTHER: a copy of another installation; nothing takes it but its own key, as in `patina restore KEY`",
            );
        }
        text
    }

    fn document(&self, copy: &StoredCopy) -> Value {
        let mut document = document(copy);
        document["dated_ahead"] = self.is_ahead(copy).into();
        document["unconfirmed"] = self.is_unconfirmed(copy).into();
        document["instance"] = copy.manifest.instance.as_str().into();
        document
    }
}

/// Returns the weekly archives that contain the requested copies.
fn archives(args: &ListArgs, catalog: &Catalog) -> anyhow::Result<Vec<StoredArchive>> {
    let mut archives = catalog.archives()?;
    let is_asked = |manifest: &Manifest| {
        args.database
            .as_ref()
            .is_none_or(|name| *name == manifest.database)
            && args.date.is_none_or(|date| date == manifest.date)
    };
    archives.retain(|archive| {
        let mut members = archive.manifest.members.iter();
        members.any(|member| is_asked(&member.manifest))
    });
    archives.truncate(args.limit.unwrap_or(usize::MAX));
    Ok(archives)
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

fn table(copies: &[StoredCopy], doubts: &Doubts, now: DateTime<Utc>) -> Table<9> {
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
            doubts.date(copy),
            ByteCount(manifest.stored.size_bytes).to_string(),
            grouped(manifest.evidence.tables.len() as u64),
            grouped(manifest.evidence.total_rows()),
            proof(manifest),
            storages.join(", "),
            verified(copy.live(), manifest.stored.size_bytes, now),
            manifest.key.to_string(),
        ]);
    }
    table
}

fn archive_table(archives: &[StoredArchive], now: DateTime<Utc>) -> Table<7> {
    let mut table = Table::new([
        ("WEEK", Side::Left),
        ("SIZE", Side::Right),
        ("COPIES", Side::Right),
        ("DATABASES", Side::Right),
        ("STORAGES", Side::Left),
        ("VERIFIED", Side::Left),
        ("KEY", Side::Left),
    ]);
    for archive in archives {
        let manifest = &archive.manifest;
        let databases: BTreeSet<_> = manifest
            .members
            .iter()
            .map(|member| &member.manifest.database)
            .collect();
        let storages: Vec<String> = archive.placements.iter().map(storage).collect();
        table.row([
            manifest.week.to_string(),
            ByteCount(manifest.stored.size_bytes).to_string(),
            manifest.members.len().to_string(),
            databases.len().to_string(),
            storages.join(", "),
            verified(archive.live(), manifest.stored.size_bytes, now),
            manifest.key.to_string(),
        ]);
    }
    table
}

/// Returns the class of a copy, with the number of its exceptions.
pub(super) fn proof(manifest: &Manifest) -> String {
    let class = format!("{:?}", manifest.class);
    match (manifest.class, manifest.exceptions.len()) {
        (EvidenceClass::S, _) => format!("{class} SUSPECT"),
        (_, 0) => class,
        (_, count) => format!("{class}, {}", counted(count as u64, "exception")),
    }
}

/// Returns the explanation below a table with suspect copies.
fn about_suspects(copies: &[StoredCopy]) -> String {
    let mut suspect: Vec<&str> = copies
        .iter()
        .filter(|copy| copy.manifest.class == EvidenceClass::S)
        .map(|copy| copy.manifest.database.as_str())
        .collect();
    suspect.sort_unstable();
    suspect.dedup();
    match suspect.is_empty() {
        true => String::new(),
        false => format!(
            "\n\nSUSPECT: copies of a damaged source; they do not count as backups: {}",
            suspect.join(", ")
        ),
    }
}

/// Returns a storage's name, and the copy's state there if it is not live.
pub(super) fn storage(placement: &Placement) -> String {
    match placement.state {
        CopyState::Live => placement.storage.clone(),
        other => format!("{} ({})", placement.storage, other.as_str()),
    }
}

/// Age of the last reading of every byte, in the storage where that is longest ago.
fn verified<'a>(
    live: impl Iterator<Item = &'a Placement>,
    size_bytes: u64,
    now: DateTime<Utc>,
) -> String {
    let times: Vec<_> = live.map(|placement| placement.verified_at).collect();
    match times.iter().min() {
        None => "-".to_owned(),
        Some(None) => match samples_read_back(size_bytes) {
            Some(samples) => format!("{samples} samples"),
            None => "never".to_owned(),
        },
        Some(Some(time)) => age(now - *time),
    }
}

/// Formats an age in its largest unit.
pub(super) fn age(passed: TimeDelta) -> String {
    let seconds = passed.num_seconds().max(0);
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} ago", counted(seconds / 86_400, "day")),
    }
}

/// The document for `--json`.
#[derive(Serialize)]
struct Listing<'a> {
    archives: Documents<'a, StoredArchive>,
    copies: Documents<'a, StoredCopy>,
}

/// Documents that are created while they are written: there may be a hundred thousand.
struct Documents<'a, T>(&'a [T], &'a dyn Fn(&T) -> Value);

impl<T> Serialize for Documents<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(self.1))
    }
}

/// A copy for `--json`.
pub(super) fn document(copy: &StoredCopy) -> Value {
    let manifest = &copy.manifest;
    let mut document = json!({
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
        "storages": placements(&copy.placements),
    });
    add_proof(&mut document, manifest);
    document
}

/// Adds the form and the proof of a copy, for `--json`.
pub(super) fn add_proof(document: &mut Value, manifest: &Manifest) {
    document["form"] = manifest.key.form().as_str().into();
    document["form_reason"] = json!(manifest.source.method_reason);
    document["proof"] = manifest.proof().into();
    document["check"] = json!(manifest.check);
    document["exceptions"] = json!(manifest.exceptions);
}

/// A weekly archive for `--json`.
fn archive_document(archive: &StoredArchive) -> Value {
    let manifest = &archive.manifest;
    let members = manifest.members.iter().map(|member| {
        let mut document = json!({
            "database": member.manifest.database,
            "date": member.manifest.date,
            "key": member.manifest.key,
            "plain_bytes": member.manifest.plain.size_bytes,
            "rows": member.manifest.evidence.total_rows(),
            "class": member.manifest.class,
        });
        add_proof(&mut document, &member.manifest);
        document
    });
    json!({
        "week": manifest.week,
        "key": manifest.key,
        "created_at": archive.created_at,
        "stored_bytes": manifest.stored.size_bytes,
        "sha256": manifest.stored.sha256,
        "members": members.collect::<Vec<_>>(),
        "left_out": manifest.left_out,
        "storages": placements(&archive.placements),
    })
}

/// Returns the placements of an object, for `--json`, without the data that only this catalog has.
pub(super) fn placements(placements: &[Placement]) -> Vec<Value> {
    placements
        .iter()
        .map(|placement| {
            json!({
                "storage": placement.storage,
                "state": placement.state,
                "damage": placement.damage,
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
