//! Runs scheduled tasks until it is asked to stop. Invariant: one process holds one lock; it ends the work that it
//! began, or leaves it for the next start to recover.

mod asked;
mod deliver;
mod jobs;
mod night;
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
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::asked::Asked;
use self::jobs::{Ended, Errand, JobError};
use self::night::{Night, Waited};
use self::reload::Reloads;
use self::scheduled::{Begun, Scheduled, Slots};
use self::systemd::Manager;
use self::turns::Turns;
use self::wish::CarryOut;
use self::wishes::Wishes;
use crate::app::{self, AppError, Built};
use crate::catalog::{CatalogError, ReloadOutcome};
use crate::config::Config;
use crate::engine::pack::LONGEST_NIGHT;
use crate::engine::recover::{self, Left, RecoverError};
use crate::engine::state::{StateDir, StateError};
use crate::http::metrics::Vitals;
use crate::http::{AccessKeys, ServeError, Server, Sources};
use crate::progress::Live;
use crate::schedule::Because;
use crate::task::{Activator, Driver, LONGEST_PAUSE, Standing, Task};
use crate::wiring::Wiring;

pub use self::jobs::{Job, table};
pub use self::signals::{Ending, Notice, Signals};

/// Number of open files that suffices for every client that is served at once, and for backups beside them.
const WANTED_FILES: u64 = 4096;

/// The reason that the daemon cannot run.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The state directory is not available, mostly because another process has it.
    #[error(transparent)]
    State(#[from] StateError),
    /// The configuration cannot be built.
    #[error(transparent)]
    App(#[from] AppError),
    /// The unfinished work of the last process cannot be recovered.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// The catalog cannot be written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The server cannot answer requests.
    #[error(transparent)]
    Http(#[from] ServeError),
    /// No signal could ever stop it.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
}

/// Runs everything that `config` schedules, until SIGTERM or SIGINT. `listens` is called with the address from which
/// requests are accepted from then on; `hands` carries out the requests of commands.
///
/// # Errors
/// If another process holds the state, or the daemon cannot start.
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
        // A damaged catalog is rebuilt from the storages.
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
            // This process holds the lock, so every running job is its own.
            catalog.interrupt_running(clock.now())?;
            Ok(ending)
        }
    }
}

/// Raises the process's limit of open files, as far as the system allows: clients and backups share them. If it allows
/// no more, the server accepts fewer clients.
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

/// Logs the steps of stopping, and notifies systemd of the first.
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

/// State shared by all tasks. Clones are the same daemon.
#[derive(Clone)]
struct Daemon {
    /// Configuration and wiring for jobs that begin now; a running job keeps those that it began with.
    built: Arc<RwLock<Arc<Built>>>,
    state: Arc<StateDir>,
    turns: Arc<Turns>,
    begun: Begun,
    live: Live,
    activator: Activator,
    /// True while copies that the last process left are still being stored.
    recovering: Arc<AtomicBool>,
    stop: CancellationToken,
}

/// Time for which tasks wait until the copies that the last process left are stored. A storage that does not answer
/// delays them no longer.
const RECOVERY_FIRST: Duration = Duration::from_secs(10);

impl Daemon {
    fn new(built: Built, state: Arc<StateDir>, stop: CancellationToken) -> Self {
        Self {
            built: Arc::new(RwLock::new(Arc::new(built))),
            state,
            turns: Arc::default(),
            begun: Begun::default(),
            live: Live::default(),
            activator: Activator::default(),
            recovering: Arc::default(),
            stop,
        }
    }

    /// Recovers the state, then drives the tasks until it is asked to stop and they have ended. Requests are answered,
    /// and the service manager is notified, before any storage is accessed.
    async fn work(
        &self,
        reloads: Reloads,
        server: Server,
        wishes: Wishes,
    ) -> Result<(), DaemonError> {
        let built = self.built();
        let wiring = &built.wiring;
        let left = recover::begin(wiring, &self.state)?;
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
            let work = async {
                self.recover(left).await;
                driver.run(&self.stop, replacements, beat).await;
            };
            tokio::select! {
                () = work => {}
                () = reloads.serve(self, replace, asked) => {}
                () = self.wake_on_events(self.activator.clone()) => {}
            }
            Ok::<_, ServeError>(())
        };
        let carried_out = async {
            wishes.serve(self, refresh).await;
            Ok(())
        };
        // All end when asked to stop; a server that cannot begin ends the driver, too.
        tokio::try_join!(driven, served, carried_out)?;
        Ok(())
    }

    /// Stores the copies that the last process left. After [`RECOVERY_FIRST`] this continues beside the tasks.
    async fn recover(&self, left: Left) {
        let (built, stop) = (self.built(), self.stop.clone());
        let (recovering, activator) = (Arc::clone(&self.recovering), self.activator.clone());
        let daemon = self.clone();
        recovering.store(true, Ordering::Release);
        let work = tokio::spawn(async move {
            let ended = stop.run_until_cancelled(recover::end(&built.wiring, left));
            if let Some(Err(error)) = ended.await {
                tracing::error!("what the last process left is not brought in order: {error}");
            }
            recovering.store(false, Ordering::Release);
            daemon.read_sampled_soon();
            activator.activate();
        });
        let clock = Arc::clone(&self.built().wiring.clock);
        tokio::select! {
            _ = work => {}
            () = clock.sleep(RECOVERY_FIRST) => {}
        }
    }

    /// Returns the data from which requests are answered.
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

    /// Returns the tasks of the present configuration.
    fn tasks(&self) -> Vec<Arc<dyn Task>> {
        let wiring = &self.built().wiring;
        let jobs = table(&wiring.config).into_iter();
        let jobs = jobs.map(|job| self.scheduled(wiring, job));
        let mut tasks: Vec<_> = jobs.chain(self.deliveries()).collect();
        tasks.push(Arc::new(Asked::new(self.clone())));
        tasks
    }

    /// Starts reading large new copies completely.
    fn read_sampled_soon(&self) {
        sampled::read_soon(self.built(), Arc::clone(&self.turns), self.stop.clone());
    }

    fn scheduled(&self, wiring: &Wiring, job: Job) -> Arc<dyn Task> {
        let daemon = self.clone();
        Arc::new(Scheduled {
            slots: self.slots(wiring, &job),
            clock: Arc::clone(&wiring.clock),
            told: Arc::default(),
            job: Arc::new(move |slot, because| {
                let (daemon, job) = (daemon.clone(), job.clone());
                Box::pin(async move { daemon.run(job, slot, because).await })
            }),
        })
    }

    fn slots(&self, wiring: &Wiring, job: &Job) -> Slots {
        let config = &wiring.config;
        Slots {
            name: job.name.clone(),
            schedule: job.schedule.clone(),
            zone: config.agent().timezone,
            catch_up: config.schedule().catch_up,
            catalog: wiring.catalog.clone(),
            begun: self.begun.clone(),
        }
    }

    /// Runs a job for a slot, after the backups that it waits for.
    async fn run(
        &self,
        job: Job,
        slot: DateTime<Utc>,
        because: Because,
    ) -> Result<Ended, JobError> {
        let waited = match job.waits {
            Some(limit) => self.night().over(&job.name, limit, &self.stop).await?,
            None => Waited::Over,
        };
        let night_since = match waited {
            Waited::Over => None,
            Waited::TooLong(since) => Some(since),
            Waited::Stopped => return Ok(Ended::Early),
        };
        // Taken now, so that a configuration loaded while it waited is used.
        let errand = Errand {
            built: self.built(),
            state: Arc::clone(&self.state),
            turns: Arc::clone(&self.turns),
            live: self.live.clone(),
            stop: self.stop.clone(),
            slot,
            because,
            night_since,
            database: None,
        };
        job.run(errand).await
    }

    /// Returns the backups that others wait for, by the present configuration.
    fn night(&self) -> Night {
        let wiring = &self.built().wiring;
        let jobs = table(&wiring.config).into_iter().filter(Job::is_backup);
        let longest = LONGEST_NIGHT.to_std().unwrap_or_default();
        Night {
            backups: jobs.map(|job| self.slots(wiring, &job)).collect(),
            catalog: wiring.catalog.clone(),
            clock: Arc::clone(&wiring.clock),
            recovering: Arc::clone(&self.recovering),
            longest: wiring.config.schedule().catch_up.max(longest),
        }
    }
}

/// Returns the tasks that a daemon with this wiring would drive, for simulations: no server, no signals, no reload.
#[doc(hidden)]
pub fn tasks(built: Built, state: StateDir, stop: CancellationToken) -> Vec<Arc<dyn Task>> {
    Daemon::new(built, Arc::new(state), stop).tasks()
}

/// Returns statistics of the process for the metrics. A catalog that cannot be read shows in every other number.
fn vitals(wiring: &Wiring) -> Vitals {
    let started = wiring.built_at.wall;
    let mut looks = wiring.catalog.reloads_after(0).unwrap_or_default();
    // Entries of an earlier process do not concern this one; both times are in whole seconds or finer.
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
