//! `patina show`: shows all data about one copy, from its manifest.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::address::{Address, resolve};
use super::context::{Context, printable};
use super::exit::Exit;
use super::list::{age, placements, storage};
use super::table::{Side, Table};
use crate::catalog::Placement;
use crate::clock::{Clock, SystemClock};
use crate::copy::Found;
use crate::engine::samples_read_back;
use crate::types::{ByteCount, CheckFacts, EvidenceClass, Health, Manifest, counted, grouped};

/// Runs `patina show`.
pub(super) fn run(context: &Context, address: &Address) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    let copy = resolve(address, &catalog, &config)?;
    if context.json {
        context.print_json(&json!({
            "manifest": copy.manifest(),
            "object": copy.object(),
            "created_at": copy.created_at(),
            "proof": copy.manifest().proof(),
            "form": copy.manifest().key.form().as_str(),
            "storages": verified_placements(copy.placements()),
        }))?;
    } else {
        context.print(text(&copy))?;
    }
    Ok(Exit::Ok)
}

/// Returns the placements of the object, with the time of verification, which only this catalog knows.
fn verified_placements(all: &[Placement]) -> Vec<Value> {
    let mut documents = placements(all);
    for (document, placement) in documents.iter_mut().zip(all) {
        document["verified_at"] = json!(placement.verified_at);
    }
    documents
}

/// Describes what was read of an object in a storage since it was stored.
fn read(placement: &Placement, size_bytes: u64, now: DateTime<Utc>) -> String {
    match (placement.verified_at, samples_read_back(size_bytes)) {
        (Some(time), _) => format!("every byte read {}", age(now - time)),
        (None, None) => "every byte read never".to_owned(),
        (None, Some(samples)) => format!(
            "{samples} samples read back when it was stored, every byte not yet: `patina verify` or the next night reads it"
        ),
    }
}

pub(super) fn text(copy: &Found) -> String {
    let manifest = copy.manifest();
    let mut text = String::new();
    for (label, value) in facts(copy) {
        let _ = writeln!(text, "{label:10}  {}", printable(&value));
    }
    let now = SystemClock::new().now();
    for placement in copy.placements() {
        let read = read(placement, copy.object_bytes(), now);
        let _ = writeln!(text, "{:10}  {}, {read}", "storage", storage(placement));
        if let Some(damage) = &placement.damage {
            let _ = writeln!(text, "{:10}  {}", "damage", printable(damage));
        }
    }
    for exception in &manifest.exceptions {
        let exception = printable(&exception.to_string());
        let _ = writeln!(text, "{:10}  {exception}", "exception");
    }
    for warning in &manifest.warnings {
        let _ = writeln!(text, "{:10}  {}", "warning", printable(warning));
    }
    let _ = write!(text, "\n{}", tables(manifest));
    text
}

fn facts(copy: &Found) -> Vec<(&'static str, String)> {
    let manifest = copy.manifest();
    let mut facts = vec![
        ("database", manifest.database.to_string()),
        ("date", format!("{} ({})", manifest.date, manifest.zone)),
        ("key", manifest.key.to_string()),
        (
            "source",
            format!(
                "{} {}",
                manifest.source.kind,
                printable(&manifest.source.id)
            ),
        ),
    ];
    facts.push(("form", form(manifest)));
    if let Some(method) = &manifest.source.method
        && !manifest.is_image()
    {
        facts.push(("method", printable(method)));
    }
    if let Found::Archived { archive, .. } = copy {
        facts.push(("archive", archive.key().to_string()));
    }
    if let Some(bookmark) = &manifest.source.bookmark {
        facts.push(("bookmark", printable(bookmark)));
    }
    let (plain, stored) = (manifest.plain, manifest.stored);
    facts.extend([
        ("started", manifest.started_at.clone()),
        ("completed", manifest.completed_at.clone()),
        ("job", manifest.job.to_string()),
        ("proof", manifest.proof()),
    ]);
    if let Some(check) = &manifest.check {
        facts.push(("check", checked(check)));
    }
    if manifest.class == EvidenceClass::S {
        let text = "SUSPECT: SQLite found the source damaged when this copy was made; it does not count as a backup";
        facts.push(("damage", text.to_owned()));
        let lines = manifest.damage().iter();
        facts.extend(lines.map(|line| ("", printable(line))));
    }
    if manifest.incomplete {
        facts.push((
            "incomplete",
            "a table whose schema cannot be read is missing".to_owned(),
        ));
    }
    facts.extend([
        ("plain", size(plain.size_bytes)),
        ("", format!("sha256 {}", plain.sha256)),
        (
            "stored",
            format!(
                "{}, compression {}",
                size(stored.size_bytes),
                json!(stored.compression).as_str().unwrap_or_default()
            ),
        ),
        ("", format!("sha256 {}", stored.sha256)),
        (
            "written by",
            format!(
                "Patina {}, SQLite {}, instance {}",
                manifest.patina_version, manifest.sqlite_version, manifest.instance
            ),
        ),
    ]);
    facts
}

/// Describes the form of the copy, with the reason if the choice was left to Patina.
fn form(manifest: &Manifest) -> String {
    let form = manifest.key.form().meaning();
    match &manifest.source.method_reason {
        Some(why) => format!("{form}: {}", printable(why)),
        None => form.to_owned(),
    }
}

/// Describes the independent check.
fn checked(check: &CheckFacts) -> String {
    let (tables, rows) = (counted(check.tables, "table"), counted(check.rows, "row"));
    let health = match &check.health {
        Some(Health::Ok) => "SQLite finds the source sound",
        Some(Health::Damaged(_)) => "SQLite finds the source damaged",
        None => "SQLite was not asked whether the source is sound",
    };
    format!("{tables} and {rows} counted on both sides; {health}")
}

fn size(size_bytes: u64) -> String {
    match size_bytes {
        0..1024 => ByteCount(size_bytes).to_string(),
        _ => format!(
            "{} ({})",
            ByteCount(size_bytes),
            counted(size_bytes, "byte")
        ),
    }
}

fn tables(manifest: &Manifest) -> Table<3> {
    let mut table = Table::new([
        ("TABLE", Side::Left),
        ("ROWS", Side::Right),
        ("CONTENT", Side::Left),
    ]);
    for entry in &manifest.evidence.tables {
        let content = match (&entry.hash, &entry.omitted) {
            (Some(hash), _) => hash.to_string(),
            (None, Some(why)) => format!("rows left out: {}", printable(why)),
            (None, None) if manifest.is_image() => "in the image".to_owned(),
            (None, None) => "an index, rebuilt by a restore".to_owned(),
        };
        table.row([printable(&entry.name), grouped(entry.rows), content]);
    }
    table
}
