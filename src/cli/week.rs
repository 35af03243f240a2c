//! `patina archive`, `plan` and `expire`: packs the week, says what may go, and lets it go.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::alert::PATIENCE;
use super::args::ExpireArgs;
use super::context::{Context, in_spite_of, tell};
use super::exit::Exit;
use super::meter::ByteMeter;
use super::signals::overdue;
use super::table::{Side, Table};
use crate::app::{self, Built};
use crate::engine::pack::{self, Outcome};
use crate::engine::state::StateDir;
use crate::engine::{deliver, expire, recover};
use crate::retention::{Fate, Guards, Plan, Verdict};
use crate::types::{ByteCount, counted, share};

/// Runs `patina archive`.
pub(super) async fn archive(context: &Context) -> anyhow::Result<Exit> {
    let config = Arc::new(context.load_or_tell().await?.config);
    let state = StateDir::lock(&config.agent().state)?;
    let wiring = app::wiring(config, &state).await?;
    recover::run(&wiring, &state).await?;
    let meter = ByteMeter::start(context, 0);
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    let packed = tokio::select! {
        packed = pack::run(&wiring, &state, &meter.progress, &stop) => packed,
        () = overdue => Err(pack::PackError::Stopped),
    };
    meter.stop().await;
    if let Err(error) = &packed {
        pack::tell_failed(&wiring, error)?;
    }
    deliver::to_all(&wiring, PATIENCE).await;
    let packed = packed?;
    if context.json {
        context.print_json(&packed_document(&packed))?;
        return Ok(Exit::Ok);
    }
    match packed {
        Outcome::Skipped(skip) => context.print(format_args!("nothing was packed: {skip}"))?,
        Outcome::Packed { manifest, degraded } => {
            let (copies, key) = (counted(manifest.members.len(), "copy"), &manifest.key);
            let size = ByteCount(manifest.stored.size_bytes);
            for one in &manifest.left_out {
                tell(format_args!("warning: left out: {}: {}", one.key, one.why));
            }
            for why in &degraded {
                tell(format_args!("warning: {why}"));
            }
            context.print(format_args!(
                "packed {copies} into {key}, {size}; every member was read back\n\
                 hint: `patina plan` shows which daily copies may go now"
            ))?;
        }
    }
    Ok(Exit::Ok)
}

fn packed_document(packed: &Outcome) -> Value {
    match packed {
        Outcome::Skipped(skip) => json!({ "packed": null, "skipped": skip.to_string() }),
        Outcome::Packed { manifest, degraded } => {
            json!({ "packed": manifest, "degraded": degraded, "skipped": null })
        }
    }
}

/// Runs `patina plan`.
pub(super) async fn plan(context: &Context) -> anyhow::Result<Exit> {
    let wiring = context.wiring().await?;
    let plan = expire::plan(&wiring, Guards::all()).await?;
    show_plan(context, &plan)?;
    Ok(Exit::Ok)
}

/// Runs `patina expire`.
pub(super) async fn expire(context: &Context, args: &ExpireArgs) -> anyhow::Result<Exit> {
    if args.dry_run {
        return plan(context).await;
    }
    let config = Arc::new(context.load()?.with_databases()?.config);
    let state = StateDir::lock(&config.agent().state)?;
    let Built { wiring, pruners } = app::build(config, &state).await?;
    recover::run(&wiring, &state).await?;
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    let run = expire::run(&wiring, &pruners, Guards::all(), &stop);
    let report = tokio::select! {
        report = run => report?,
        () = overdue => expire::Report::default(),
    };
    deliver::to_all(&wiring, PATIENCE).await;
    let exit = match () {
        () if report.failed.is_empty() => Exit::Ok,
        () if report.deleted.is_empty() => Exit::Failed,
        () => Exit::Partly,
    };
    for (database, why) in &report.plan.refused {
        tell(format_args!(
            "warning: nothing of `{database}` expires: {why}\nhint: look at it, then `patina ack {database}`"
        ));
    }
    for (key, why) in &report.failed {
        tell(format_args!(
            "error: {key} was not deleted: {why}\nhint: the next run tries again"
        ));
    }
    let shown = if context.json {
        context.print_json(&json!({
            "expired": report.marked,
            "waiting": report.waiting,
            "deleted": report.deleted,
            "freed_bytes": report.freed_bytes,
            "failed": report.failed.iter()
                .map(|(key, why)| json!({ "key": key, "why": why }))
                .collect::<Vec<_>>(),
            "refused": report.plan.refused,
        }))
    } else {
        context.print(format_args!(
            "{} expired, {} deleted, {} failed, {} freed",
            report.marked.len(),
            report.deleted.len(),
            report.failed.len(),
            ByteCount(report.freed_bytes)
        ))
    };
    Ok(in_spite_of(shown, exit))
}

fn show_plan(context: &Context, plan: &Plan) -> anyhow::Result<()> {
    if context.json {
        let verdicts: Vec<Value> = plan.verdicts.iter().map(document).collect();
        context.print_json(&json!({ "objects": verdicts, "refused": plan.refused }))?;
        return Ok(());
    }
    let mut table = Table::new([
        ("FATE", Side::Left),
        ("RULE", Side::Left),
        ("KEY", Side::Left),
        ("WHY", Side::Left),
    ]);
    for verdict in &plan.verdicts {
        let (fate, rule, why) = words(verdict);
        table.row([
            fate.to_owned(),
            rule.to_owned(),
            verdict.key.to_string(),
            why,
        ]);
    }
    let (all, gone) = (plan.verdicts.len(), plan.deleted().count());
    let refused: Vec<String> = plan
        .refused
        .iter()
        .map(|(database, why)| {
            let why = why.lines().next().unwrap_or_default();
            format!("\nnothing of `{database}` expires: {why}")
        })
        .collect();
    let refused = refused.concat();
    context.print(format_args!(
        "{table}\n\n{} may go{refused}",
        share(gone, all, "object")
    ))?;
    Ok(())
}

fn words(verdict: &Verdict) -> (&'static str, &'static str, String) {
    match &verdict.fate {
        Fate::Keep(kept) => ("keep", kept.word(), kept.to_string()),
        Fate::Delete(because) => ("delete", "age", because.to_string()),
    }
}

fn document(verdict: &Verdict) -> Value {
    let (fate, rule, why) = words(verdict);
    json!({ "key": verdict.key, "fate": fate, "rule": rule, "why": why })
}
