//! `patina backup`: takes the copies of a night now.

mod report;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::alert::PATIENCE;
use super::args::BackupArgs;
use super::context::{Context, tell};
use super::exit::{Exit, Refusal};
use super::meter::Meter;
use super::names::unknown_database;
use super::signals::overdue;
use crate::app;
use crate::config::Config;
use crate::engine::backup::{Report, Request, select};
use crate::engine::recover::Recovery;
use crate::engine::state::StateDir;
use crate::engine::{backup, deliver, recover, stale};
use crate::progress::Board;
use crate::types::Trigger;
use crate::wiring::Wiring;

/// What was done, before it is shown.
pub(super) struct Night {
    pub(super) recovery: Recovery,
    pub(super) report: Report,
}

/// Runs `patina backup`.
pub(super) async fn run(context: &Context, args: &BackupArgs) -> anyhow::Result<Exit> {
    let loaded = context.load_or_tell().await?;
    for warning in &loaded.warnings {
        tell(warning);
    }
    let request = Request {
        databases: args.databases.clone(),
        trigger: Trigger::Manual,
        reason: args.reason.clone(),
    };
    let night = take(context, loaded.config, &request).await?;
    Ok(show(context, &night))
}

/// Shows what `patina backup` shows at its end, and says how it ends.
pub(super) fn show(context: &Context, night: &Night) -> Exit {
    report::show(context, night)
}

/// Locks the state, brings it in order, and runs the job; a signal ends it early.
pub(super) async fn take(
    context: &Context,
    config: Config,
    request: &Request,
) -> anyhow::Result<Night> {
    let names = config.databases().iter().map(|known| known.name.as_str());
    for name in &request.databases {
        if config.database(name).is_none() {
            return Err(Refusal::usage(unknown_database(name, names)).into());
        }
    }
    let config = Arc::new(config);
    let state = StateDir::lock(&config.agent().state)?;
    let wiring = app::wiring(config, &state).await?;
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    tokio::select! {
        night = work(context, &wiring, &state, request, &stop) => night,
        () = overdue => {
            // The lock is ours, so every running job is.
            wiring.catalog.interrupt_running(wiring.clock.now())?;
            Err(Refusal::failed("the backup did not end in time after a signal and was given up").into())
        }
    }
}

async fn work(
    context: &Context,
    wiring: &Wiring,
    state: &StateDir,
    request: &Request,
    stop: &CancellationToken,
) -> anyhow::Result<Night> {
    let recovery = recover::run(wiring, state).await?;
    let selected = select(wiring, request)?;
    let names = selected.iter().map(|database| &database.config.name);
    let board = Arc::new(Board::new(names));
    let meter = Meter::start(context, Arc::clone(&board));
    let report = backup::run(wiring, state, request, &board, stop).await;
    meter.stop().await;
    if let Err(error) = stale::run(wiring) {
        tell(format_args!(
            "warning: the age of the copies is not known: {error}"
        ));
    }
    if !stop.is_cancelled() {
        deliver::to_all(wiring, PATIENCE).await;
    }
    Ok(Night {
        recovery,
        report: report?,
    })
}
