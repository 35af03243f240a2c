//! Accepts requests of commands and has them carried out. Invariant: an accepted request is carried out even if its
//! command no longer waits, and never beside a job that works on the same.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::Daemon;
use super::night::Limit;
use super::turns::{Kind, Turn};
use super::wish::{self, CarryOut, Means, Note, Outcome, VERSION, Verb, Watched, Wish};
use crate::engine::state::StateDir;
use crate::progress::Reading;
use crate::types::DatabaseName;

/// Time within which a command must send its request.
const LONGEST_SILENCE: Duration = Duration::from_secs(10);

/// Upper bound for a request, in bytes: the keys of 100,000 objects fit.
const MOST_WISH_BYTES: u64 = 16 << 20;

/// Interval of reading the counters.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Time after which a waiting request is reported as waiting.
const SOON: Duration = Duration::from_millis(200);

/// Time after which a command that does not read its lines receives no more.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// Upper bound for waiting until a changed configuration is loaded.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Exit code of a command that the daemon cannot understand.
const USAGE: u8 = 2;

/// Requests a check of the configuration's files; answered with the reason that they are not loaded, `None` if they
/// are.
pub(super) type Refresh = mpsc::Sender<oneshot::Sender<Option<String>>>;

/// The socket, from now on.
pub(super) struct Wishes {
    listener: Option<UnixListener>,
    hands: Arc<dyn CarryOut>,
}

impl Wishes {
    /// Listens in the state folder. If that fails, commands report that they must wait or that the daemon must be
    /// stopped.
    pub(super) fn listen(state: &StateDir, hands: Arc<dyn CarryOut>) -> Self {
        let listener = wish::listen(state)
            .inspect_err(|error| tracing::warn!("commands cannot hand anything over: {error}"))
            .ok();
        Self { listener, hands }
    }

    /// Accepts requests until the daemon is asked to stop, then waits for those that were begun.
    pub(super) async fn serve(self, daemon: &Daemon, refresh: Refresh) {
        let Some(listener) = self.listener else {
            return daemon.stop.cancelled().await;
        };
        let at_work = TaskTracker::new();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = daemon.stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, _)) if wish::is_heard(&stream) => {
                    let hearing = Hearing {
                        daemon: daemon.clone(),
                        hands: Arc::clone(&self.hands),
                        refresh: refresh.clone(),
                    };
                    at_work.spawn(hearing.answer(stream));
                }
                Ok(_) => tracing::warn!("another user's command was not heard"),
                Err(error) => {
                    tracing::warn!("a command could not be heard: {error}");
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            }
        }
        at_work.close();
        at_work.wait().await;
    }
}

/// One connection.
struct Hearing {
    daemon: Daemon,
    hands: Arc<dyn CarryOut>,
    refresh: Refresh,
}

impl Hearing {
    async fn answer(self, stream: UnixStream) {
        let (read, write) = stream.into_split();
        let mut line = String::new();
        let mut read = BufReader::new(read.take(MOST_WISH_BYTES));
        let read = tokio::time::timeout(LONGEST_SILENCE, read.read_line(&mut line)).await;
        let mut told = Told(Some(write));
        if !matches!(read, Ok(Ok(1..))) {
            return;
        }
        let outcome = match understood(&line) {
            Err(error) => refusal(error),
            Ok(wish) => match self.refused(&wish) {
                Some(why) => refusal(why),
                None => {
                    told.note(&Note::Heard).await;
                    self.carry_out(wish, &mut told).await
                }
            },
        };
        told.note(&Note::Ended(outcome)).await;
        self.daemon.read_sampled_soon();
    }

    /// Returns the reason that an understood request is not for this daemon.
    fn refused(&self, wish: &Wish) -> Option<String> {
        let built = self.daemon.built();
        let own = built.wiring.config.path();
        let own = std::fs::canonicalize(own).unwrap_or_else(|_| own.to_owned());
        let (own, theirs) = (own.display(), wish.config.display());
        let verb = wish.verb.name();
        (own.to_string() != theirs.to_string()).then(|| {
            format!(
                "the daemon that works in this state folder was started with `{own}`, this command with `{theirs}`\n\
                 hint: `patina --config {own} {verb}`; or give `{theirs}` an `[agent] state` of its own"
            )
        })
    }

    async fn carry_out(&self, wish: Wish, told: &mut Told) -> Outcome {
        if let Some(why) = self.take_in_edits().await {
            let text = format!("the daemon works on with its old configuration: {why}");
            told.note(&Note::Warning(text)).await;
        }
        let daemon = &self.daemon;
        if is_to_wait(daemon, &wish.verb) {
            told.note(&Note::Waiting).await;
        }
        let mut turn = Box::pin(turn(daemon, &wish.verb));
        let soon = tokio::time::timeout(SOON, &mut turn).await;
        let _turn = match soon {
            Ok(turn) => turn,
            Err(_) => {
                told.note(&Note::Waiting).await;
                tokio::select! {
                    turn = turn => turn,
                    () = daemon.stop.cancelled() => return stopped(),
                }
            }
        };
        let verb = wish.verb.name();
        tracing::info!(verb, "`patina {verb}` is carried out for a command");
        let watched = Arc::<Mutex<Option<Watched>>>::default();
        let means = Means {
            built: daemon.built(),
            state: Arc::clone(&daemon.state),
            stop: daemon.stop.clone(),
            watch: {
                let watched = Arc::clone(&watched);
                Box::new(move |new| *lock(&watched) = Some(new))
            },
        };
        let mut work = self.hands.carry_out(&wish, &means);
        let mut view = View::new(daemon, &wish.verb);
        let outcome = loop {
            tokio::select! {
                outcome = &mut work => break outcome,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            let watched = lock(&watched).clone();
            view.look(watched, told).await;
        };
        let exit = outcome.exit;
        tracing::info!(verb, exit, "`patina {verb}` ended with exit code {exit}");
        outcome
    }

    /// Loads changes of the configuration's files first: a database that was just added may be backed up next. Returns
    /// the reason that they are not loaded.
    async fn take_in_edits(&self) -> Option<String> {
        let (answer, answered) = oneshot::channel();
        self.refresh.send(answer).await.ok()?;
        let answered = tokio::time::timeout(RELOAD_TIMEOUT, answered).await;
        answered.ok()?.ok()?
    }
}

/// Parses a request.
///
/// # Errors
/// If the line is not a request of this version.
fn understood(line: &str) -> Result<Wish, String> {
    let version = serde_json::from_str::<serde_json::Value>(line)
        .ok()
        .and_then(|document| document["version"].as_u64());
    match version {
        Some(version) if version == u64::from(VERSION) => {}
        _ => {
            let own = env!("CARGO_PKG_VERSION");
            return Err(format!(
                "the daemon is Patina {own} and does not understand this command, which is of another version\n\
                 hint: restart the daemon, so that both are of one version: `systemctl restart patina`"
            ));
        }
    }
    serde_json::from_str(line).map_err(|error| format!("the daemon does not understand: {error}"))
}

fn refusal(error: String) -> Outcome {
    Outcome {
        error: Some(error),
        exit: USAGE,
        ..Outcome::default()
    }
}

fn stopped() -> Outcome {
    Outcome {
        error: Some(
            "the daemon was asked to stop before its turn came; nothing was done".to_owned(),
        ),
        exit: 1,
        ..Outcome::default()
    }
}

/// True if another job is backing up a requested database: this one comes after it.
fn is_to_wait(daemon: &Daemon, verb: &Verb) -> bool {
    let Verb::Backup { databases, .. } = verb else {
        return false;
    };
    let built = daemon.built();
    let mut configured = built.wiring.databases.iter().map(|one| &one.config.name);
    let is_wished = |name: &DatabaseName| databases.is_empty() || databases.contains(name);
    configured.any(|name| is_wished(name) && daemon.state.is_at_work_on(name))
}

/// Waits until no other work touches the same. Each database of a backup waits for its own lock in the engine.
async fn turn(daemon: &Daemon, verb: &Verb) -> Option<Turn> {
    let kind = match verb {
        Verb::Backup { .. } => return None,
        Verb::Archive | Verb::Expire => {
            let night = daemon.night();
            let over = night.over(verb.name(), Limit::LongestNight, &daemon.stop);
            if let Err(error) = over.await {
                tracing::warn!("whether a backup runs is not known: {error}");
            }
            Kind::Week
        }
        Verb::Verify { .. } => Kind::Verify,
        Verb::Drill { .. } => Kind::Drill,
        Verb::Reconcile { .. } => Kind::Reconcile,
    };
    Some(daemon.turns.take(kind).await)
}

fn lock<T>(value: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    value.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The progress shown to the command and on the dashboard.
struct View<'a> {
    daemon: &'a Daemon,
    is_backup: bool,
    _live: Option<crate::progress::Shown>,
    last: Option<Vec<Reading>>,
}

impl<'a> View<'a> {
    fn new(daemon: &'a Daemon, verb: &Verb) -> Self {
        Self {
            daemon,
            is_backup: matches!(verb, Verb::Backup { .. }),
            _live: None,
            last: None,
        }
    }

    /// Sends what changed since the last call.
    async fn look(&mut self, watched: Option<Watched>, told: &mut Told) {
        let Some(watched) = watched else { return };
        let readings = watched.read();
        let changed: Vec<(usize, Reading)> = match &self.last {
            Some(last) => {
                let pairs = readings.iter().copied().enumerate();
                pairs
                    .filter(|(at, reading)| last.get(*at) != Some(reading))
                    .collect()
            }
            None => {
                self.begin(&watched, told).await;
                readings.iter().copied().enumerate().collect()
            }
        };
        self.last = Some(readings);
        if !changed.is_empty() {
            told.note(&Note::Progress(changed)).await;
        }
    }

    async fn begin(&mut self, watched: &Watched, told: &mut Told) {
        let total_bytes = match watched {
            Watched::Board(board) => {
                self._live = self.is_backup.then(|| self.daemon.live.show(board));
                0
            }
            Watched::Bytes(_, total_bytes) => *total_bytes,
        };
        let databases = watched.databases();
        told.note(&Note::Begun {
            databases,
            total_bytes,
        })
        .await;
    }
}

/// The connection for messages; `None` once the command is gone.
struct Told(Option<OwnedWriteHalf>);

impl Told {
    async fn note(&mut self, note: &Note) {
        let Some(write) = &mut self.0 else { return };
        let mut line = serde_json::to_vec(note).expect("a note becomes JSON");
        line.push(b'\n');
        let written = tokio::time::timeout(WRITE_TIMEOUT, write.write_all(&line));
        let written = written.map(|written| match written {
            Ok(written) => written,
            Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
        });
        if written.await.is_err() {
            self.0 = None;
        }
    }
}
