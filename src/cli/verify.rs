//! `patina verify`: reads stored copies again and compares every byte with what was stored.

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::address::resolve;
use super::args::VerifyArgs;
use super::context::{Context, in_spite_of, tell};
use super::exit::{Exit, Refusal};
use super::meter::ByteMeter;
use super::table::{Side, Table};
use crate::catalog::{Catalog, CopyFilter};
use crate::config::Config;
use crate::copy::ReadingError;
use crate::engine::verify::{self, Finding, Scope};
use crate::types::{ByteCount, ObjectKey};

/// Runs `patina verify`.
pub(super) async fn run(context: &Context, args: &VerifyArgs) -> anyhow::Result<Exit> {
    let wiring = context.wiring().await?;
    let keys = chosen(args, &wiring.catalog, &wiring.config)?;
    let scope = match args.all {
        true => Scope::All,
        false => Scope::Keys(&keys),
    };
    let targets = verify::select(&wiring, scope)?;
    let all_bytes = targets.iter().map(|target| target.size_bytes).sum();
    let meter = ByteMeter::start(context, all_bytes);
    let never = CancellationToken::new();
    let findings = verify::run(&wiring, targets, &meter.progress, &never).await;
    meter.stop().await;
    Ok(show(context, &findings?))
}

/// The objects that were asked for by their addresses, or the newest copy of each database.
fn chosen(args: &VerifyArgs, catalog: &Catalog, config: &Config) -> anyhow::Result<Vec<ObjectKey>> {
    if !args.copies.is_empty() {
        let resolved = args.copies.iter().map(|address| {
            let copy = resolve(address, catalog, config)?;
            Ok(copy.object().clone())
        });
        return resolved.collect();
    }
    let copies = catalog.copies(&CopyFilter::default())?;
    if copies.is_empty() {
        return Err(Refusal::failed("there is no copy yet\nhint: patina backup").into());
    }
    let mut seen = Vec::new();
    let mut newest = Vec::new();
    for copy in copies {
        let name = &copy.manifest.database;
        if !seen.contains(name) {
            seen.push(name.clone());
            newest.push(copy.manifest.key);
        }
    }
    Ok(newest)
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

fn show(context: &Context, findings: &[Finding]) -> Exit {
    let exit = exit(findings);
    if context.json {
        let all: Vec<Value> = findings.iter().map(document).collect();
        return in_spite_of(context.print_json(&json!({ "findings": all })), exit);
    }
    let right = findings.iter().filter(|finding| finding.found.is_ok());
    let bytes = ByteCount(right.clone().map(|finding| finding.target.size_bytes).sum());
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
            word(finding).to_owned(),
            finding.target.storage.clone(),
            ByteCount(finding.target.size_bytes).to_string(),
            finding.target.key.to_string(),
        ]);
    }
    table
}

fn document(finding: &Finding) -> Value {
    json!({
        "key": finding.target.key,
        "storage": finding.target.storage,
        "size_bytes": finding.target.size_bytes,
        "result": word(finding),
        "message": finding.found.as_ref().err().map(ToString::to_string),
    })
}
