//! `patina backup`: backs up databases now.

mod report;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::alert::PATIENCE;
use super::args::BackupArgs;
use super::context::{Context, tell};
use super::exit::{Exit, Refusal};
use super::handover::{Without, offer};
use super::meter::Screen;
use super::names::unknown_database;
use super::shown::Shown;
use super::signals::overdue;
use crate::app;
use crate::config::Config;
use crate::daemon::wish::{Verb, Watched};
use crate::engine::backup::{Report, Request, select};
use crate::engine::recover::Recovery;
use crate::engine::state::StateDir;
use crate::engine::{backup, deliver, recover, stale};
use crate::progress::Board;
use crate::types::Trigger;
use crate::wiring::Wiring;

/// Result of a backup, before it is shown.
pub(super) struct Night {
    pub(super) recovery: Recovery,
    pub(super) report: Report,
}

/// Runs `patina backup`.
pub(super) async fn run(context: &Context, args: &BackupArgs) -> anyhow::Result<Exit> {
    let verb = Verb::Backup {
        databases: args.databases.clone(),
        reason: args.reason.clone(),
    };
    if let Some(exit) = offer(context, verb, Without::Refused).await? {
        return Ok(exit);
    }
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
    Ok(shown(context.json, &night).print(context))
}

/// Returns the output and the exit code of `patina backup`.
pub(super) fn shown(json: bool, night: &Night) -> Shown {
    report::shown(json, night)
}

/// Locks the state, recovers it, and runs the job; a signal ends it early.
pub(super) async fn take(
    context: &Context,
    config: Config,
    request: &Request,
) -> anyhow::Result<Night> {
    refuse_unknown(&config, request)?;
    let config = Arc::new(config);
    let state = StateDir::lock(&config.agent().state)?;
    let wiring = app::wiring(config, &state).await?;
    let stop = CancellationToken::new();
    let overdue = overdue(stop.clone())?;
    tokio::select! {
        night = work(context, &wiring, &state, request, &stop) => night,
        () = overdue => {
            // This process holds the lock, so every running job is its own.
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
    let screen = Screen::new(context);
    let made = make(
        wiring,
        state,
        request,
        &|watched| screen.show(watched),
        stop,
    )
    .await;
    screen.stop().await;
    if let Err(error) = stale::run(wiring) {
        tell(format_args!(
            "warning: the age of the copies is not known: {error}"
        ));
    }
    if !stop.is_cancelled() {
        deliver::to_all(wiring, PATIENCE).await;
    }
    let made = made?;
    Ok(Night { recovery, ..made })
}

/// Runs the job in a recovered state; `watch` receives its counters.
pub(super) async fn make(
    wiring: &Wiring,
    state: &StateDir,
    request: &Request,
    watch: &(dyn Fn(Watched) + Send + Sync),
    stop: &CancellationToken,
) -> anyhow::Result<Night> {
    refuse_unknown(&wiring.config, request)?;
    let selected = select(wiring, request)?;
    let names = selected.iter().map(|database| &database.config.name);
    let board = Arc::new(Board::new(names));
    watch(Watched::Board(Arc::clone(&board)));
    let report = backup::run(wiring, state, request, &board, stop).await?;
    Ok(Night {
        recovery: Recovery::default(),
        report,
    })
}

fn refuse_unknown(config: &Config, request: &Request) -> Result<(), Refusal> {
    let names = config.databases().iter().map(|known| known.name.as_str());
    let mut asked = request.databases.iter();
    match asked.find(|name| config.database(name).is_none()) {
        Some(name) => Err(Refusal::usage(unknown_database(name, names))),
        None => Ok(()),
    }
}
