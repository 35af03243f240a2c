//! `patina archive`, `plan` and `expire`: make the weekly archive, show expired copies, and delete them.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::alert::PATIENCE;
use super::args::ExpireArgs;
use super::context::Context;
use super::exit::{Exit, Refusal};
use super::handover::{Without, offer};
use super::meter::Screen;
use super::shown::Shown;
use super::signals::overdue;
use super::table::{Side, Table};
use crate::app::{self, Built};
use crate::daemon::wish::{Verb, Watched};
use crate::engine::pack::{self, Outcome};
use crate::engine::state::StateDir;
use crate::engine::{deliver, expire, recover};
use crate::progress::Progress;
use crate::retention::{Fate, Guards, Plan, Verdict};
use crate::types::{ByteCount, counted, share};
use crate::wiring::Wiring;

/// Runs `patina archive`.
pub(super) async fn archive(context: &Context) -> anyhow::Result<Exit> {
    if let Some(exit) = offer(context, Verb::Archive, Without::Refused).await? {
        return Ok(exit);
    }
    let config = Arc::new(context.load_or_tell().await?.config);
    let state = StateDir::lock(&config.agent().state)?;
    let wiring = app::wiring(config, &state).await?;
    recover::run(&wiring, &state).await?;
    let screen = Screen::new(context);
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    let watch = |watched| screen.show(watched);
    let packed = tokio::select! {
        packed = pack(context.json, &wiring, &state, &watch, &stop) => packed,
        () = overdue => Err(pack::PackError::Stopped.into()),
    };
    screen.stop().await;
    deliver::to_all(&wiring, PATIENCE).await;
    Ok(packed?.print(context))
}

/// Makes the archive; returns the output.
pub(super) async fn pack(
    json: bool,
    wiring: &Wiring,
    state: &StateDir,
    watch: &(dyn Fn(Watched) + Send + Sync),
    stop: &CancellationToken,
) -> anyhow::Result<Shown> {
    let progress = Arc::<Progress>::default();
    watch(Watched::Bytes(Arc::clone(&progress), 0));
    let packed = pack::run(wiring, state, &progress, stop).await;
    if let Err(error) = &packed {
        pack::tell_failed(wiring, error)?;
    }
    let packed = packed?;
    let exit = packed_exit(&packed);
    if json {
        return Ok(Shown::document(exit, &packed_document(&packed)));
    }
    Ok(match packed {
        Outcome::Skipped(skip) => Shown::text(exit, format_args!("nothing was packed: {skip}")),
        Outcome::Packed { manifest, degraded } => {
            let (copies, key) = (counted(manifest.members.len(), "copy"), &manifest.key);
            let size = ByteCount(manifest.stored.size_bytes);
            let mut shown = Shown::text(
                exit,
                format_args!(
                    "packed {copies} into {key}, {size}; every member was read back\n\
                     hint: `patina plan` shows which daily copies may go now"
                ),
            );
            for one in &manifest.left_out {
                shown.line(format_args!("error: left out: {}: {}", one.key, one.why));
            }
            if !manifest.left_out.is_empty() {
                shown.line(
                    "hint: `patina verify --all` reads every copy; nothing of these databases expires until \
                     `patina ack DB`",
                );
            }
            for why in &degraded {
                shown.line(format_args!("warning: {why}"));
            }
            shown
        }
    })
}

/// Returns the exit code: an archive from which a damaged copy is left out is made, but counts as damage found.
fn packed_exit(packed: &Outcome) -> Exit {
    match packed {
        Outcome::Packed { manifest, .. } if !manifest.left_out.is_empty() => Exit::Damage,
        Outcome::Packed { .. } | Outcome::Skipped(_) => Exit::Ok,
    }
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
    let config = Arc::new(context.load()?.config);
    let catalog = context.catalog(&config)?;
    let wiring = app::wiring_to_read(config, catalog).await?;
    let plan = expire::plan(&wiring, Guards::all()).await?;
    show_plan(context, &plan)?;
    Ok(Exit::Ok)
}

/// Runs `patina expire`.
pub(super) async fn expire(context: &Context, args: &ExpireArgs) -> anyhow::Result<Exit> {
    if args.dry_run {
        return plan(context).await;
    }
    if let Some(exit) = offer(context, Verb::Expire, Without::Refused).await? {
        return Ok(exit);
    }
    let config = Arc::new(context.load()?.with_databases()?.config);
    let state = StateDir::lock(&config.agent().state)?;
    let built = app::build(config, &state).await?;
    recover::run(&built.wiring, &state).await?;
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    let shown = tokio::select! {
        shown = let_go(context.json, &built, &stop) => shown,
        () = overdue => Err(Refusal::failed(
            "expiry did not end in time after a signal and was given up\nhint: the next run goes on",
        ).into()),
    };
    deliver::to_all(&built.wiring, PATIENCE).await;
    Ok(shown?.print(context))
}

/// Deletes expired copies; returns the output.
pub(super) async fn let_go(
    json: bool,
    built: &Built,
    stop: &CancellationToken,
) -> anyhow::Result<Shown> {
    let Built { wiring, pruners } = built;
    let report = expire::run(wiring, pruners, Guards::all(), stop).await?;
    let exit = match () {
        () if report.failed.is_empty() => Exit::Ok,
        () if report.deleted.is_empty() => Exit::Failed,
        () => Exit::Partly,
    };
    let mut shown = if json {
        Shown::document(exit, &expired_document(&report))
    } else {
        Shown::text(
            exit,
            format_args!(
                "{} expired, {} deleted, {} failed, {} freed",
                report.marked.len(),
                report.deleted.len(),
                report.failed.len(),
                ByteCount(report.freed_bytes)
            ),
        )
    };
    for (database, why) in &report.plan.refused {
        shown.line(format_args!(
            "warning: nothing of `{database}` expires: {why}\nhint: look at it, then `patina ack {database}`"
        ));
    }
    for (key, why) in &report.failed {
        shown.line(format_args!(
            "error: {key} was not deleted: {why}\nhint: the next run tries again"
        ));
    }
    Ok(shown)
}

fn expired_document(report: &expire::Report) -> Value {
    let failed = report.failed.iter();
    json!({
        "expired": report.marked,
        "waiting": report.waiting,
        "deleted": report.deleted,
        "freed_bytes": report.freed_bytes,
        "failed": failed
            .map(|(key, why)| json!({ "key": key, "why": why }))
            .collect::<Vec<_>>(),
        "refused": report.plan.refused,
    })
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
