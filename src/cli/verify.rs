//! `patina verify`: reads stored copies again and compares every byte with what was stored.

use std::sync::Arc;

use indicatif::ProgressBar;
use serde_json::{Value, json};

use super::address::resolve;
use super::args::VerifyArgs;
use super::context::{Context, in_spite_of, tell};
use super::exit::{Exit, Refusal};
use super::meter::byte_bar;
use super::reading::{ReadingError, check_manifest, read_copy};
use super::table::{Side, Table};
use crate::app;
use crate::catalog::{Catalog, CopyFilter, Damage, StoredCopy};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::store::Store;
use crate::types::{ByteCount, ObjectKey};

/// What was found of one copy in one storage.
struct Finding {
    key: ObjectKey,
    storage: String,
    size_bytes: u64,
    found: Result<(), ReadingError>,
}

impl Finding {
    fn word(&self) -> &'static str {
        match &self.found {
            Ok(()) => "right",
            Err(ReadingError::Missing(_)) => "missing",
            Err(ReadingError::Damaged(_)) => "damaged",
            Err(ReadingError::Unread(_) | ReadingError::Sink(_)) => "not read",
        }
    }
}

/// Runs `patina verify`.
pub(super) async fn run(context: &Context, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    // Only one that exists is opened for writing.
    let known = context.catalog(&config)?;
    let copies = chosen(args, &known, &config)?;
    let catalog = Catalog::open(known.path())?;
    let stores = app::stores_to_read(&config, &catalog).await?;
    let placed = |copy: &StoredCopy| copy.manifest.stored.size_bytes * copy.placements.len() as u64;
    let bar = byte_bar(context, copies.iter().map(placed).sum());
    let mut findings = Vec::new();
    for copy in &copies {
        for placement in &copy.placements {
            bar.set_message(copy.key().to_string());
            let found = look(copy, &placement.storage, &stores, &bar).await;
            let finding = Finding {
                key: copy.key().clone(),
                storage: placement.storage.clone(),
                size_bytes: copy.manifest.stored.size_bytes,
                found,
            };
            note(&catalog, &finding)?;
            findings.push(finding);
        }
    }
    bar.finish_and_clear();
    Ok(show(context, &findings))
}

/// The copies that were asked for, each once.
fn chosen(
    args: &VerifyArgs,
    catalog: &Catalog,
    config: &Config,
) -> anyhow::Result<Vec<StoredCopy>> {
    if !args.copies.is_empty() {
        let mut copies: Vec<StoredCopy> = Vec::new();
        for address in &args.copies {
            let copy = resolve(address, catalog, config)?;
            if copies.iter().all(|known| known.key() != copy.key()) {
                copies.push(copy);
            }
        }
        return Ok(copies);
    }
    let mut copies = catalog.copies(&CopyFilter::default())?;
    if copies.is_empty() {
        return Err(Refusal::failed("there is no copy yet\nhint: patina backup").into());
    }
    if !args.all {
        let mut seen = Vec::new();
        copies.retain(|copy| {
            let name = &copy.manifest.database;
            let is_newest = !seen.contains(name);
            seen.push(name.clone());
            is_newest
        });
    }
    Ok(copies)
}

async fn look(
    copy: &StoredCopy,
    storage: &str,
    stores: &[Arc<dyn Store>],
    bar: &ProgressBar,
) -> Result<(), ReadingError> {
    let Some(store) = stores.iter().find(|store| store.name() == storage) else {
        let text = format!("storage `{storage}` is not in the configuration any more");
        return Err(ReadingError::Unread(text));
    };
    check_manifest(store.as_ref(), &copy.manifest).await?;
    read_copy(store.as_ref(), &copy.manifest, bar, |_| Ok(())).await
}

/// Writes it to the catalog; what could not be read stays as it is.
fn note(catalog: &Catalog, finding: &Finding) -> anyhow::Result<()> {
    let (key, storage) = (&finding.key, finding.storage.as_str());
    let now = SystemClock::new().now();
    match &finding.found {
        Ok(()) => catalog.mark_verified(key, storage, now)?,
        Err(ReadingError::Missing(text)) => {
            catalog.mark_damaged(key, storage, Damage::Missing, text, now)?;
        }
        Err(ReadingError::Damaged(text)) => {
            catalog.mark_damaged(key, storage, Damage::Corrupt, text, now)?;
        }
        Err(ReadingError::Unread(_) | ReadingError::Sink(_)) => {}
    }
    Ok(())
}

fn exit(findings: &[Finding]) -> Exit {
    let count = |word| {
        let findings = findings.iter();
        findings.filter(|finding| finding.word() == word).count()
    };
    match (count("damaged") + count("missing"), count("not read")) {
        (0, 0) => Exit::Ok,
        (0, unread) if unread == findings.len() => Exit::Failed,
        (0, _) => Exit::Partly,
        _ => Exit::Damage,
    }
}

fn show(context: &Context, findings: &[Finding]) -> Exit {
    let exit = exit(findings);
    if context.json {
        let all: Vec<Value> = findings.iter().map(document).collect();
        return in_spite_of(context.print_json(&json!({ "findings": all })), exit);
    }
    let right = findings.iter().filter(|finding| finding.found.is_ok());
    let bytes = ByteCount(right.clone().map(|finding| finding.size_bytes).sum());
    let (right, all) = (right.count(), findings.len());
    let shown = context.print(format_args!(
        "{}\n\n{right} of {all} right: {bytes} read, every size, hash and trailer compared",
        table(findings)
    ));
    for finding in findings {
        if let Err(error) = &finding.found {
            tell(format_args!("error: {error}"));
        }
    }
    if exit == Exit::Damage {
        tell(
            "hint: look at the storage; `patina backup` makes a new copy, and other copies are untouched",
        );
    }
    in_spite_of(shown, exit)
}

fn table(findings: &[Finding]) -> Table<4> {
    let mut table = Table::new([
        ("RESULT", Side::Left),
        ("STORAGE", Side::Left),
        ("SIZE", Side::Right),
        ("KEY", Side::Left),
    ]);
    for finding in findings {
        table.row([
            finding.word().to_owned(),
            finding.storage.clone(),
            ByteCount(finding.size_bytes).to_string(),
            finding.key.to_string(),
        ]);
    }
    table
}

fn document(finding: &Finding) -> Value {
    json!({
        "key": finding.key,
        "storage": finding.storage,
        "size_bytes": finding.size_bytes,
        "result": finding.word(),
        "message": finding.found.as_ref().err().map(ToString::to_string),
    })
}
