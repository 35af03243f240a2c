//! `patina verify`: reads stored copies again and compares every byte with what was stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::address::resolve;
use super::args::VerifyArgs;
use super::context::Context;
use super::exit::{Exit, Refusal};
use super::handover::{Without, offer};
use super::list::add_proof;
use super::meter::Screen;
use super::shown::Shown;
use super::table::{Side, Table};
use crate::catalog::{Catalog, CatalogError, CopyFilter, StoredCopy};
use crate::config::Config;
use crate::copy::ReadingError;
use crate::daemon::wish::{Verb, Watched};
use crate::engine::verify::{self, Finding, Scope};
use crate::progress::Progress;
use crate::types::{ByteCount, EvidenceClass, Manifest, ObjectKey, counted};
use crate::wiring::Wiring;

/// Runs `patina verify`.
pub(super) async fn run(context: &Context, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    let chosen = chosen(args, &catalog, &config)?;
    let keys = (!args.all).then_some(chosen);
    let verb = Verb::Verify { keys: keys.clone() };
    if let Some(exit) = offer(context, verb, Without::Alone).await? {
        return Ok(exit);
    }
    let wiring = context.wiring().await?;
    let screen = Screen::new(context);
    let (watch, never) = (|watched| screen.show(watched), CancellationToken::new());
    let shown = read(context.json, &wiring, keys.as_deref(), &watch, &never).await;
    screen.stop().await;
    Ok(shown?.print(context))
}

/// Reads these objects, or every one; returns the output.
pub(super) async fn read(
    json: bool,
    wiring: &Wiring,
    keys: Option<&[ObjectKey]>,
    watch: &(dyn Fn(Watched) + Send + Sync),
    stop: &CancellationToken,
) -> anyhow::Result<Shown> {
    let targets = verify::select(wiring, keys.map_or(Scope::All, Scope::Keys))?;
    let sizes = targets.iter().map(|target| target.size_bytes);
    let all_bytes = sizes.fold(0, u64::saturating_add);
    let progress = Arc::<Progress>::default();
    watch(Watched::Bytes(Arc::clone(&progress), all_bytes));
    let findings = verify::run(wiring, targets, &progress, stop).await?;
    if stop.is_cancelled() {
        let read = counted(findings.len(), "object");
        let text = format!("told to end after {read}; the rest was not read");
        return Err(Refusal::failed(text).into());
    }
    let manifests = manifests(&findings, &wiring.catalog)?;
    Ok(shown(json, &findings, &manifests))
}

/// Returns the manifests of the copies that were read; an archive contains those of its members.
fn manifests(
    findings: &[Finding],
    catalog: &Catalog,
) -> Result<BTreeMap<ObjectKey, Manifest>, CatalogError> {
    let mut manifests = BTreeMap::new();
    for finding in findings {
        if let Some(copy) = catalog.copy(&finding.target.key)? {
            manifests.insert(finding.target.key.clone(), copy.manifest);
        }
    }
    Ok(manifests)
}

/// Returns the requested objects, or the newest copy of each database.
fn chosen(args: &VerifyArgs, catalog: &Catalog, config: &Config) -> anyhow::Result<Vec<ObjectKey>> {
    if !args.copies.is_empty() {
        let resolved = args.copies.iter().map(|address| {
            let copy = resolve(address, catalog, config)?;
            Ok(copy.object().clone())
        });
        return resolved.collect();
    }
    let copies = catalog.copies(&CopyFilter {
        ours: true,
        ..CopyFilter::default()
    })?;
    if copies.is_empty() {
        return Err(Refusal::failed("there is no copy yet\nhint: patina backup").into());
    }
    Ok(newest(&copies))
}

/// Returns the newest copy of each database; if that one is suspect, also the newest that is not.
fn newest(copies: &[StoredCopy]) -> Vec<ObjectKey> {
    let (mut seen, mut sound) = (BTreeSet::new(), BTreeSet::new());
    let mut newest = Vec::new();
    for copy in copies {
        let name = &copy.manifest.database;
        let is_first = seen.insert(name);
        let is_first_sound = copy.manifest.class != EvidenceClass::S && sound.insert(name);
        if is_first || is_first_sound {
            newest.push(copy.key().clone());
        }
    }
    newest
}

fn word(finding: &Finding) -> &'static str {
    match &finding.found {
        Ok(()) => "right",
        Err(ReadingError::Missing(_)) => "missing",
        Err(ReadingError::Damaged(_)) => "damaged",
        Err(ReadingError::Unread(_) | ReadingError::Sink(_)) => "not read",
    }
}

fn exit(findings: &[Finding]) -> Exit {
    let count = |wanted| {
        let findings = findings.iter();
        findings.filter(|finding| word(finding) == wanted).count()
    };
    match (count("damaged") + count("missing"), count("not read")) {
        (0, 0) => Exit::Ok,
        (0, unread) if unread == findings.len() => Exit::Failed,
        (0, _) => Exit::Partly,
        _ => Exit::Damage,
    }
}

fn shown(json: bool, findings: &[Finding], manifests: &BTreeMap<ObjectKey, Manifest>) -> Shown {
    let exit = exit(findings);
    if json {
        let all: Vec<Value> = findings
            .iter()
            .map(|finding| document(finding, manifests.get(&finding.target.key)))
            .collect();
        return Shown::document(exit, &json!({ "findings": all }));
    }
    let right = findings.iter().filter(|finding| finding.found.is_ok());
    let sizes = right.clone().map(|finding| finding.target.size_bytes);
    let bytes = ByteCount(sizes.fold(0, u64::saturating_add));
    let (right, all) = (right.count(), findings.len());
    let mut shown = Shown::text(
        exit,
        format_args!(
            "{}\n\n{right} of {all} right: {bytes} read, every size, hash and trailer compared",
            table(findings)
        ),
    );
    for finding in findings {
        if let Err(error) = &finding.found {
            shown.line(format_args!("error: {error}"));
        }
    }
    let is_suspect = |manifest: &&Manifest| manifest.class == EvidenceClass::S;
    for manifest in manifests.values().filter(is_suspect) {
        shown.line(format_args!(
            "warning: {} is SUSPECT: its bytes were compared, and its source was damaged when it was made; it does not \
             count as a backup",
            manifest.key
        ));
    }
    if exit == Exit::Damage {
        shown.line(
            "hint: look at the storage; `patina backup` makes a new copy, and other copies are untouched",
        );
    }
    shown
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
            word(finding).to_owned(),
            finding.target.storage.clone(),
            ByteCount(finding.target.size_bytes).to_string(),
            finding.target.key.to_string(),
        ]);
    }
    table
}

fn document(finding: &Finding, manifest: Option<&Manifest>) -> Value {
    let mut document = json!({
        "key": finding.target.key,
        "storage": finding.target.storage,
        "size_bytes": finding.target.size_bytes,
        "result": word(finding),
        "message": finding.found.as_ref().err().map(ToString::to_string),
    });
    if let Some(manifest) = manifest {
        document["class"] = json!(manifest.class);
        add_proof(&mut document, manifest);
    }
    document
}
