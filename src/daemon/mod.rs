//! Runs tasks by schedule until it is told to end. Invariant: one process, one lock; what it began it ends or leaves
//! for the next start to bring in order.

mod asked;
mod deliver;
mod jobs;
mod rejected;
mod reload;
mod sampled;
mod scheduled;
mod signals;
mod systemd;
mod turns;
mod watch;
pub mod wish;
mod wishes;

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::asked::Asked;
use self::jobs::Errand;
use self::reload::Reloads;
use self::scheduled::{Begun, Scheduled};
use self::systemd::Manager;
use self::turns::Turns;
use self::wish::CarryOut;
use self::wishes::Wishes;
use crate::app::{self, AppError, Built};
use crate::catalog::{CatalogError, ReloadOutcome};
use crate::config::Config;
use crate::engine::recover::{self, RecoverError};
use crate::engine::state::{StateDir, StateError};
use crate::http::metrics::Vitals;
use crate::http::{AccessKeys, ServeError, Server, Sources};
use crate::progress::Live;
use crate::task::{Activator, Driver, LONGEST_PAUSE, Standing, Task};
use crate::wiring::Wiring;

pub use self::jobs::{Job, table};
pub use self::signals::{Ending, Notice, Signals};

/// Enough for every client that is answered at once, and for backups beside them.
const WANTED_FILES: u64 = 4096;

/// Why the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state directory cannot be had, mostly as another process has it.
    #[error(transparent)]
    State(#[from] StateError),
    /// Nothing can be built from the configuration.
    #[error(transparent)]
    App(#[from] AppError),
    /// What the last process left cannot be brought in order.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The catalog cannot be written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// Nobody would be answered.
    #[error(transparent)]
    Http(#[from] ServeError),
    /// No signal would ever end it.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// Runs everything that `config` schedules, until SIGTERM or SIGINT. `listens` hears where requests are taken from then
/// on; `hands` carry out what commands wish for.
///
/// # Errors
/// Where another process holds the state, and where it cannot start.
pub async fn run(
    config: Config,
    listens: impl FnOnce(SocketAddr),
    hands: Arc<dyn CarryOut>,
) -> Result<Ending, DaemonError> {
    raise_open_files();
    let signals = Signals::listen().map_err(DaemonError::Signals)?;
    let reloads = Reloads::listen(&config).map_err(DaemonError::Signals)?;
    let state = Arc::new(StateDir::lock(&config.agent().state)?);
    let server = Server::bind(config.http()).await?;
    listens(server.address());
    let wishes = Wishes::listen(&state, hands);
    state.hear_hangups()?;
    let stop = CancellationToken::new();
    let mut overdue = std::pin::pin!(signals.overdue(stop.clone(), tell));
    let built = tokio::select! {
        built = stop.run_until_cancelled(app::build(Arc::new(config), &state)) => built,
        // A damaged catalog is made anew from the storages.
        () = Manager::ask_for_time() => return Ok(Ending::Orderly),
        ending = &mut overdue => return Ok(ending),
    };
    let Some(built) = built.transpose()? else {
        return Ok(Ending::Orderly);
    };
    let (catalog, clock) = (
        built.wiring.catalog.clone(),
        Arc::clone(&built.wiring.clock),
    );
    let daemon = Daemon::new(built, state, stop);
    tokio::select! {
        worked = daemon.work(reloads, server, wishes) => worked.map(|()| Ending::Orderly),
        ending = overdue => {
            // The lock is ours, so every running job is.
            catalog.interrupt_running(clock.now())?;
            Ok(ending)
        }
    }
}

/// Lets the process have more files open, as far as the system allows: clients and backups share them. Where it allows no
/// more, the server takes fewer clients.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(WANTED_FILES).min(WANTED_FILES);
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            maximum: limit.maximum,
        };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!("the limit of open files stays: {error}");
        }
    }
}

/// Logs the way to the end, and tells systemd of it.
fn tell(notice: Notice) {
    match notice {
        Notice::Stopping(name) => {
            tracing::info!(
                "{name}: stopping; unfinished copies are dropped, finished ones are kept"
            );
            Manager::stopping();
        }
        Notice::Again(name) => tracing::warn!("{name} again: ending at once"),
        Notice::Overdue(after) => {
            tracing::warn!(
                "not everything ended in {} s; it is given up",
                after.as_secs()
            );
        }
    }
}

/// What all tasks share. Clones are the same daemon.
#[derive(Clone)]
struct Daemon {
    /// What a job that begins now works on; one that runs keeps what it began with.
    built: Arc<RwLock<Arc<Built>>>,
    state: Arc<StateDir>,
    turns: Arc<Turns>,
    begun: Begun,
    live: Live,
    activator: Activator,
    stop: CancellationToken,
}

impl Daemon {
    fn new(built: Built, state: Arc<StateDir>, stop: CancellationToken) -> Self {
        Self {
            built: Arc::new(RwLock::new(Arc::new(built))),
            state,
            turns: Arc::default(),
            begun: Begun::default(),
            live: Live::default(),
            activator: Activator::default(),
            stop,
        }
    }

    /// Brings the state in order, then drives the tasks until it is told to end and they have.
    async fn work(
        &self,
        reloads: Reloads,
        server: Server,
        wishes: Wishes,
    ) -> Result<(), DaemonError> {
        let built = self.built();
        let wiring = &built.wiring;
        let recovered = tokio::select! {
            recovered = recover::run(wiring, &self.state) => recovered,
            () = Manager::ask_for_time() => return Ok(()),
            () = self.stop.cancelled() => return Ok(()),
        };
        recovered?;
        rejected::tell_started(wiring, &self.state);
        let tasks = self.tasks();
        let (name, count) = (&wiring.config.agent().name, tasks.len());
        tracing::info!(tasks = count, "patina works as `{name}`: {count} tasks");
        let pause = Manager::beat_every().map_or(LONGEST_PAUSE, |every| every.min(LONGEST_PAUSE));
        let clock = Arc::clone(&wiring.clock);
        let mut driver = Driver::new(tasks, clock, self.activator.clone(), pause);
        let (replace, replacements) = mpsc::channel(1);
        let (refresh, asked) = mpsc::channel(1);
        let mut manager = Manager::default();
        drop(built);
        let beat = |standing: &Standing| {
            manager.beat(standing, self.built().wiring.config.agent().timezone);
        };
        tracing::info!("listening on http://{}", server.address());
        let served = server.serve(self.sources());
        Manager::ready();
        let driven = async {
            tokio::select! {
                () = driver.run(&self.stop, replacements, beat) => {}
                () = reloads.serve(self, replace, asked) => {}
                () = self.wake_on_events(self.activator.clone()) => {}
            }
            Ok::<_, ServeError>(())
        };
        let carried_out = async {
            wishes.serve(self, refresh).await;
            Ok(())
        };
        // All end when they are told to; a server that cannot begin ends the driver, too.
        tokio::try_join!(driven, served, carried_out)?;
        Ok(())
    }

    /// What requests are answered from.
    fn sources(&self) -> Sources {
        let (daemon, known) = (self.clone(), self.clone());
        Sources {
            current: Arc::new(move || Arc::clone(&daemon.built().wiring)),
            live: self.live.clone(),
            activator: self.activator.clone(),
            access: AccessKeys::new(None),
            vitals: Arc::new(move || vitals(&known.built().wiring)),
            stop: self.stop.clone(),
        }
    }

    fn built(&self) -> Arc<Built> {
        let built = self.built.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&built)
    }

    /// The tasks of the present configuration.
    fn tasks(&self) -> Vec<Arc<dyn Task>> {
        let wiring = &self.built().wiring;
        let jobs = table(&wiring.config).into_iter();
        let jobs = jobs.map(|job| self.scheduled(wiring, job));
        let mut tasks: Vec<_> = jobs.chain(self.deliveries()).collect();
        tasks.push(Arc::new(Asked::new(self.clone())));
        tasks
    }

    /// Has large new copies read whole.
    fn read_sampled_soon(&self) {
        sampled::read_soon(self.built(), Arc::clone(&self.turns), self.stop.clone());
    }

    fn scheduled(&self, wiring: &Wiring, job: Job) -> Arc<dyn Task> {
        let (daemon, config) = (self.clone(), &wiring.config);
        Arc::new(Scheduled {
            name: job.name.clone(),
            schedule: job.schedule.clone(),
            zone: config.agent().timezone,
            catch_up: config.schedule().catch_up,
            catalog: wiring.catalog.clone(),
            clock: Arc::clone(&wiring.clock),
            begun: self.begun.clone(),
            told: Arc::default(),
            job: Arc::new(move |slot, because| {
                let errand = Errand {
                    built: daemon.built(),
                    state: Arc::clone(&daemon.state),
                    turns: Arc::clone(&daemon.turns),
                    live: daemon.live.clone(),
                    stop: daemon.stop.clone(),
                    slot,
                    because,
                    database: None,
                };
                let job = job.clone();
                Box::pin(async move { job.run(errand).await })
            }),
        })
    }
}

/// What the process knows of itself, for the metrics. A catalog that cannot be read shows in every other number.
fn vitals(wiring: &Wiring) -> Vitals {
    let started = wiring.built_at.wall;
    let mut looks = wiring.catalog.reloads_after(0).unwrap_or_default();
    // Those of an earlier process say nothing about this one; both times are whole seconds or more.
    looks.retain(|look| look.at.timestamp() >= started.timestamp());
    let applied = looks
        .iter()
        .rfind(|look| look.outcome == ReloadOutcome::Applied);
    let queues = wiring.catalog.outbox().unwrap_or_default();
    let tally = wiring.hooks.tally();
    Vitals {
        is_config_current: looks
            .last()
            .is_none_or(|look| look.outcome != ReloadOutcome::Rejected),
        config_loaded_at: Some(applied.map_or(started, |look| look.at)),
        outbox_depth: queues.iter().map(|queue| queue.waiting).sum(),
        hook_failures: tally.failures(),
        hook_seconds: tally.took().as_secs_f64(),
    }
}
