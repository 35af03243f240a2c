//! `patina drill`: rehearses the worst case, and shows which databases were restored, from which storage and in which
//! time.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::DrillArgs;
use super::context::{Context, printable, tell};
use super::exit::{Exit, Refusal};
use super::handover::{Without, offer};
use super::meter::Screen;
use super::names::{hint_for, unknown_database};
use super::shown::Shown;
use super::signals::overdue;
use super::table::{Side, Table};
use crate::app;
use crate::catalog::{Catalog, RehearsalOutcome, Rehearsed};
use crate::config::Config;
use crate::daemon::wish::{Verb, Watched};
use crate::engine::rehearse::{self, Ask, Details, Knowledge, Plan, RehearseError, Report};
use crate::engine::restore::Workshop;
use crate::overview;
use crate::progress::Board;
use crate::types::{ByteCount, Trigger, grouped, share};
use crate::wiring::Wiring;

/// Runs `patina drill`.
pub(super) async fn run(context: &Context, args: &DrillArgs) -> anyhow::Result<Exit> {
    let verb = Verb::Drill {
        databases: args.databases.clone(),
        storage: args.storage.clone(),
        cold: args.cold,
    };
    if let Some(exit) = offer(context, verb, Without::Alone).await? {
        return Ok(exit);
    }
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    tokio::select! {
        ended = hold(context, args, &stop) => ended,
        () = overdue => Err(Refusal::failed("the rehearsal did not end in time after a signal and was given up").into()),
    }
}

async fn hold(
    context: &Context,
    args: &DrillArgs,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let ask = Ask {
        databases: args.databases.clone(),
        storage: args.storage.clone(),
        knowledge: Knowledge::of_cold(args.cold),
        trigger: Trigger::Manual,
    };
    refuse_unknown_storage(&ask, &context.load()?.config)?;
    let workshop = folder(&std::env::temp_dir())?;
    let wiring = match ask.knowledge {
        Knowledge::Catalog => context.wiring().await?,
        Knowledge::Manifests => from_nothing(context, &workshop).await?,
    };
    let screen = Screen::new(context);
    let watch = |watched| screen.show(watched);
    let shown = restore(context.json, &wiring, &ask, &workshop, &watch, stop).await;
    screen.stop().await;
    Ok(shown?.print(context))
}

/// Creates a private folder for restored databases.
pub(super) fn folder(parent: &Path) -> anyhow::Result<Workshop> {
    rehearse::folder(parent).map_err(failed)
}

/// Restores the databases in `ask`; returns the output.
pub(super) async fn restore(
    json: bool,
    wiring: &Wiring,
    ask: &Ask,
    workshop: &Workshop,
    watch: &(dyn Fn(Watched) + Send + Sync),
    stop: &CancellationToken,
) -> anyhow::Result<Shown> {
    refuse_unknown_storage(ask, &wiring.config)?;
    let plan = rehearse::plan(wiring, ask, workshop, stop).await;
    let plan = plan.map_err(failed)?;
    refuse_unknown_databases(ask, &plan, &wiring.config)?;
    let board = Arc::new(Board::new(plan.databases()));
    watch(Watched::Board(Arc::clone(&board)));
    let report = rehearse::run(wiring, plan, workshop, &board, stop).await;
    let report = report.map_err(failed)?;
    let written = rehearse::record(wiring, &report);
    let mut shown = shown(json, &report);
    if let Err(error) = written {
        shown.line(format_args!(
            "warning: the result is not written down: {error}"
        ));
    }
    Ok(shown)
}

fn failed(error: RehearseError) -> anyhow::Error {
    Refusal::failed(error.to_string()).into()
}

/// Builds a wiring from the storages and a catalog that only receives the result: the installation's if there is one,
/// else a temporary one. Nothing is read from it.
async fn from_nothing(context: &Context, workshop: &Workshop) -> anyhow::Result<Wiring> {
    let config = Arc::new(context.load()?.config);
    let diary = match diary(&config) {
        Ok(Some(catalog)) => catalog,
        Ok(None) => Catalog::open(&workshop.path("diary.db"))?,
        Err(error) => {
            tell(format_args!(
                "warning: the result is not written down: {error:#}"
            ));
            Catalog::open(&workshop.path("diary.db"))?
        }
    };
    Ok(app::wiring_to_read(config, diary).await?)
}

/// Opens the installation's catalog; `None` if it does not exist.
fn diary(config: &Config) -> anyhow::Result<Option<Catalog>> {
    match app::known(config)? {
        Some(known) => Ok(Some(Catalog::open(known.path())?)),
        None => Ok(None),
    }
}

fn refuse_unknown_storage(ask: &Ask, config: &Config) -> Result<(), Refusal> {
    let Some(asked) = &ask.storage else {
        return Ok(());
    };
    if config.storage(asked).is_some() {
        return Ok(());
    }
    let known = config
        .storages()
        .iter()
        .map(|storage| storage.name.as_str());
    Err(Refusal::usage(format!(
        "no storage is called `{asked}`\nhint: {}",
        hint_for(asked, known)
    )))
}

fn refuse_unknown_databases(ask: &Ask, plan: &Plan, config: &Config) -> Result<(), Refusal> {
    let mut asked = ask.databases.iter();
    let unknown = asked.find(|name| config.database(name).is_none() && !plan.has_copy(name));
    let Some(unknown) = unknown else {
        return Ok(());
    };
    let known = config.databases().iter().map(|known| known.name.as_str());
    Err(Refusal::usage(unknown_database(unknown, known)))
}

fn exit(report: &Report) -> Exit {
    let (proven, all) = (report.rehearsal.proven(), report.rehearsal.results.len());
    match proven {
        _ if report.is_damage() => Exit::Damage,
        0 => Exit::Failed,
        _ if proven < all => Exit::Partly,
        _ => Exit::Ok,
    }
}

fn shown(json: bool, report: &Report) -> Shown {
    let exit = exit(report);
    if json {
        return Shown::document(exit, &document(report));
    }
    let mut shown = match report.rehearsal.results.is_empty() {
        true => Shown::text(exit, ""),
        false => Shown::text(exit, format_args!("{}\n\n{}", table(report), sum(report))),
    };
    for storage in &report.storages {
        let word = if storage.wrong.is_empty() {
            "warning"
        } else {
            "error"
        };
        for trouble in storage.unread.iter().chain(&storage.wrong) {
            shown.line(format_args!("{word}: {trouble}"));
        }
    }
    for (result, details) in results(report) {
        about(result, details, &mut shown);
    }
    if report.rehearsal.results.is_empty() {
        let is_unread = report
            .storages
            .iter()
            .any(|storage| storage.unread.is_some());
        shown.line(match is_unread {
            true => "error: nothing came back: no storage with a copy could be looked through",
            false => "error: the storages hold no copy, and the configuration names no database",
        });
    }
    shown
}

fn about(result: &Rehearsed, details: &Details, shown: &mut Shown) {
    let name = &result.database;
    for warning in &details.warnings {
        shown.line(format_args!("warning: {name}: {}", printable(warning)));
    }
    if let Some(message) = &result.message {
        let word = match result.outcome {
            RehearsalOutcome::Proven if !details.is_damage => "warning",
            _ => "error",
        };
        shown.line(format_args!("{word}: {name}: {message}"));
    }
    let key = result.key.as_ref();
    if let (RehearsalOutcome::Damaged, Some(key)) = (result.outcome, key) {
        shown.line(format_args!(
            "hint: `patina verify {key}` reads it again, `patina list` shows older copies; `patina backup {name}` makes \
             a new one"
        ));
    }
}

fn results(report: &Report) -> impl Iterator<Item = (&Rehearsed, &Details)> {
    report.rehearsal.results.iter().zip(&report.details)
}

fn table(report: &Report) -> Table<8> {
    let mut table = Table::new([
        ("RESULT", Side::Left),
        ("DATABASE", Side::Left),
        ("ROWS", Side::Right),
        ("FETCHED", Side::Right),
        ("PLAIN", Side::Right),
        ("TIME", Side::Right),
        ("RATE", Side::Right),
        ("COPY", Side::Left),
    ]);
    for (result, details) in results(report) {
        let copy = match (&result.key, &result.storage) {
            (Some(key), Some(storage)) => format!("{key} in {storage}"),
            (Some(key), None) => key.to_string(),
            (None, _) => "-".to_owned(),
        };
        table.row([
            word(result, details).to_owned(),
            result.database.to_string(),
            grouped(result.rows),
            ByteCount(result.read_bytes).to_string(),
            ByteCount(result.plain_bytes).to_string(),
            overview::duration(result.duration_ms),
            rate(result.plain_bytes, result.duration_ms),
            copy,
        ]);
    }
    table
}

fn word(result: &Rehearsed, details: &Details) -> &'static str {
    match result.outcome {
        RehearsalOutcome::Proven if details.is_damage => "proven elsewhere",
        outcome => outcome.as_str(),
    }
}

/// Returns the uncompressed bytes that were restored and proven per second.
fn bytes_per_second(bytes: u64, duration_ms: u64) -> u64 {
    let duration = Duration::from_millis(duration_ms.max(1));
    (bytes as f64 / duration.as_secs_f64()) as u64
}

fn rate(bytes: u64, duration_ms: u64) -> String {
    format!("{}/s", ByteCount(bytes_per_second(bytes, duration_ms)))
}

/// Returns the total bytes of all proven databases: fetched, and uncompressed.
fn totals(report: &Report) -> (u64, u64) {
    let all = report.rehearsal.results.iter();
    let proven = all.filter(|one| one.outcome == RehearsalOutcome::Proven);
    proven.fold((0, 0), |(read, plain), one| {
        (read + one.read_bytes, plain + one.plain_bytes)
    })
}

fn sum(report: &Report) -> String {
    let rehearsal = &report.rehearsal;
    let (proven, all) = (rehearsal.proven(), rehearsal.results.len());
    let (read, plain) = totals(report);
    let known = match rehearsal.is_cold {
        true => "from the manifests in storage alone",
        false => "from the copies that the catalog names",
    };
    format!(
        "{} came back in {}: {} fetched, {} restored and compared, {}; {known}",
        share(proven, all, "database"),
        overview::duration(rehearsal.duration_ms),
        ByteCount(read),
        ByteCount(plain),
        rate(plain, rehearsal.duration_ms),
    )
}

fn document(report: &Report) -> Value {
    let rehearsal = &report.rehearsal;
    let (read, plain) = totals(report);
    json!({
        "started_at": rehearsal.started_at,
        "duration_ms": rehearsal.duration_ms,
        "cold": rehearsal.is_cold,
        "storage": rehearsal.storage,
        "total": rehearsal.results.len(),
        "proven": rehearsal.proven(),
        "damage": report.is_damage(),
        "read_bytes": read,
        "plain_bytes": plain,
        "plain_bytes_per_second": bytes_per_second(plain, rehearsal.duration_ms),
        "databases": results(report).map(database).collect::<Vec<_>>(),
        "storages": report.storages.iter().map(|found| json!({
            "storage": found.storage,
            "unread": found.unread,
            "wrong": found.wrong,
        })).collect::<Vec<_>>(),
    })
}

fn database((result, details): (&Rehearsed, &Details)) -> Value {
    let tables = details.proof.as_ref().map(|proof| {
        let tables = proof.tables.iter();
        let table = |table: &crate::engine::restore::TableProof| {
            json!({ "name": table.name, "rows": table.rows, "result": table.verdict.word() })
        };
        tables.map(table).collect::<Vec<_>>()
    });
    json!({
        "database": result.database,
        "result": result.outcome,
        "key": result.key,
        "storage": result.storage,
        "rows": result.rows,
        "read_bytes": result.read_bytes,
        "plain_bytes": result.plain_bytes,
        "plain_bytes_per_second": bytes_per_second(result.plain_bytes, result.duration_ms),
        "database_bytes": details.size_bytes,
        "duration_ms": result.duration_ms,
        "damage": details.is_damage,
        "message": result.message,
        "warnings": details.warnings,
        "tables": tables,
    })
}
