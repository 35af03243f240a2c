//! Loads a changed configuration. Invariant: files with a mistake change nothing, a loaded configuration was read
//! completely in one pass, and running jobs finish on what they began with.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, oneshot};

use super::systemd::Manager;
use super::watch::{self, Fingerprint, Reading, Watch};
use super::{Daemon, rejected};
use crate::app;
use crate::catalog::{Cause, ReloadOutcome};
use crate::config::{self, Config, Loaded, NotRead, Problems};
use crate::engine::foresee;
use crate::task::Task;
use crate::wiring::Wiring;

/// Time for which files must be unchanged if there are no events: without them it is not known when a file is being
/// written.
const SETTLE: Duration = Duration::from_millis(250);

/// Number of reads if the files keep changing; after that, the next check tries again.
const MOST_READS: u32 = 8;

/// Requests to load the files; each is answered with the reason that they are not loaded.
pub(super) type Asked = mpsc::Receiver<oneshot::Sender<Option<String>>>;

/// Receives the tasks of a new configuration.
pub(super) type Replace = mpsc::Sender<Vec<Arc<dyn Task>>>;

/// SIGHUP and changes of the configuration's files, from now on.
pub(super) struct Reloads {
    hangups: Signal,
    watch: Watch,
    path: PathBuf,
    /// Fingerprint of the files of the present configuration. `None` if they could not be read again since.
    accepted: Option<Fingerprint>,
    /// A read that a file system did not answer; while it is pending, no other one begins.
    late: Option<NotRead>,
    /// Fingerprint of the files that were last rejected, until they are valid again.
    rejected: Option<Fingerprint>,
    /// The last message about files that cannot be used, so that it is reported once.
    told: Option<String>,
    /// The settings that only a restart can change, as they were at the start.
    started: Fixed,
}

/// Settings that are fixed when the process starts.
#[derive(PartialEq)]
struct Fixed {
    state: PathBuf,
    listen: std::net::SocketAddr,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            state: config.agent().state.clone(),
            listen: config.http().listen,
        }
    }
}

impl Reloads {
    /// Starts with the files from which `config` was read.
    pub(super) fn listen(config: &Config) -> io::Result<Self> {
        let hangups = signal(SignalKind::hangup())?;
        let path = config.path().to_owned();
        let mut watch = Watch::new();
        // Files that cannot be read now count as changed when they can.
        let (accepted, late) = match watch::read(&path) {
            Ok(reading) => {
                watch.aim(&reading.places);
                (Some(reading.fingerprint), None)
            }
            Err(late) => (None, Some(late)),
        };
        Ok(Self {
            hangups,
            watch,
            path,
            accepted,
            late,
            rejected: None,
            told: None,
            started: Fixed::of(config),
        })
    }

    /// Checks the files whenever there is a reason to; never returns.
    pub(super) async fn serve(mut self, daemon: &Daemon, replace: Replace, mut asked: Asked) {
        let mut answers = Vec::new();
        // Starting may have taken long, and files changed meanwhile may be half written.
        let mut cause = tokio::select! {
            Some(()) = self.hangups.recv() => Cause::Asked,
            () = self.watch.settled() => Cause::Noticed,
            Some(answer) = asked.recv() => noticed_for(answer, &mut answers),
        };
        loop {
            self.look(cause, daemon, &replace).await;
            for answer in answers.drain(..) {
                // The receiver may be gone.
                let _ = answer.send(self.told.clone());
            }
            cause = tokio::select! {
                Some(()) = self.hangups.recv() => Cause::Asked,
                () = self.watch.changed() => Cause::Noticed,
                Some(answer) = asked.recv() => noticed_for(answer, &mut answers),
            };
        }
    }

    /// Reads everything once and loads it if it is new and valid.
    async fn look(&mut self, cause: Cause, daemon: &Daemon, replace: &Replace) {
        if cause == Cause::Asked {
            Manager::reloading();
        }
        match self.read(cause).await {
            Err(problems) => self.refuse(&problems, cause, daemon),
            Ok(reading) => self.weigh(reading, cause, daemon, replace).await,
        }
        if cause == Cause::Asked {
            Manager::ready();
        }
    }

    /// Loads what was read if it is new or was requested.
    async fn weigh(
        &mut self,
        reading: Option<Reading>,
        cause: Cause,
        daemon: &Daemon,
        replace: &Replace,
    ) {
        match reading {
            Some(reading) if cause == Cause::Asked || self.is_news(&reading) => {
                self.take(reading, cause, daemon, replace).await;
            }
            Some(reading) if self.accepted == Some(reading.fingerprint) && self.told.is_some() => {
                self.forget_rejection();
                rejected::tell_accepted(&daemon.built().wiring);
                tracing::info!("the configuration is good again, and as it was before");
                daemon.note(cause, ReloadOutcome::Restored, &[]);
            }
            _ => {}
        }
    }

    fn is_news(&self, reading: &Reading) -> bool {
        let now = reading.fingerprint;
        self.accepted != Some(now) && self.rejected != Some(now)
    }

    /// Reads until everything that was read is watched and, if nothing can be watched, until it no longer changes. If
    /// it keeps changing, returns `None`, or on request the last state.
    ///
    /// # Errors
    /// If a file system does not answer in time, or did not the last time and still does not.
    async fn read(&mut self, cause: Cause) -> Result<Option<Reading>, Problems> {
        let mut last: Option<Reading> = None;
        for _ in 0..MOST_READS {
            let reading = self.read_once().await?;
            let is_seen = !self.watch.aim(&reading.places);
            let is_settled = cause == Cause::Asked
                || !self.watch.is_blind()
                || !self.is_news(&reading)
                || last.is_some_and(|last| last.fingerprint == reading.fingerprint);
            if is_seen && is_settled {
                return Ok(Some(reading));
            }
            last = Some(reading);
            if !is_settled {
                tokio::time::sleep(SETTLE).await;
            }
        }
        Ok(last.filter(|_| cause == Cause::Asked))
    }

    async fn read_once(&mut self) -> Result<Reading, Problems> {
        if self.late.as_ref().is_none_or(NotRead::is_over) {
            let path = self.path.clone();
            let reading = tokio::task::spawn_blocking(move || watch::read(&path));
            match reading.await.expect("reading does not panic") {
                Ok(reading) => {
                    self.late = None;
                    return Ok(reading);
                }
                Err(late) => self.late = Some(late),
            }
        }
        let late = self.late.as_ref().expect("it was just late");
        Err(late.problems(&self.path))
    }

    async fn take(&mut self, reading: Reading, cause: Cause, daemon: &Daemon, replace: &Replace) {
        if cause == Cause::Noticed {
            Manager::reloading();
        }
        let fingerprint = reading.fingerprint;
        match reading.loaded {
            Err(problems) => {
                self.rejected = Some(fingerprint);
                self.refuse(&problems, cause, daemon);
            }
            Ok(loaded) => match daemon.take(loaded).await {
                // The files are not the cause, so they are tried again at the next check.
                Err(error) => {
                    let why = error.to_string();
                    self.reject(vec![why.clone()], &why, cause, daemon);
                }
                Ok(mut changes) => {
                    self.accepted = Some(fingerprint);
                    self.forget_rejection();
                    self.add_what_waits(&mut changes, &daemon.built().wiring.config);
                    tracing::info!("the configuration is reloaded");
                    for change in &changes {
                        tracing::info!("{change}");
                    }
                    // This fails only if the driver ended, and the daemon ends with it.
                    let _ = replace.send(daemon.tasks()).await;
                    daemon.note(cause, ReloadOutcome::Applied, &changes);
                }
            },
        }
        if cause == Cause::Noticed {
            Manager::ready();
        }
    }

    fn refuse(&mut self, problems: &Problems, cause: Cause, daemon: &Daemon) {
        let why = problems.mistakes(rejected::MOST_MISTAKES);
        let problems = problems.iter().map(ToString::to_string).collect();
        self.reject(problems, &why, cause, daemon);
    }

    /// Reports each distinct mistake once, and again on request.
    fn reject(&mut self, problems: Vec<String>, why: &str, cause: Cause, daemon: &Daemon) {
        let text = problems.join("\n");
        let is_told = self.told.as_ref() == Some(&text);
        if !is_told || cause == Cause::Asked {
            tracing::error!("the configuration is not reloaded, the old one stays: {text}");
            daemon.note(cause, ReloadOutcome::Rejected, &problems);
        }
        if !is_told {
            rejected::tell_rejected(&daemon.built().wiring, why);
        }
        self.told = Some(text);
    }

    fn forget_rejection(&mut self) {
        (self.rejected, self.told) = (None, None);
    }

    /// Names a change that requires a restart, at each reload until then.
    fn add_what_waits(&self, changes: &mut Vec<String>, config: &Config) {
        let now = Fixed::of(config);
        for (name, waits) in [
            ("agent state", now.state != self.started.state),
            ("http listen", now.listen != self.started.listen),
        ] {
            let is_named = changes.iter().any(|change| change.starts_with(name));
            if waits && !is_named {
                changes.push(format!(
                    "{name} is not what this process began with: restart to apply"
                ));
            }
        }
    }
}

fn noticed_for(
    answer: oneshot::Sender<Option<String>>,
    answers: &mut Vec<oneshot::Sender<Option<String>>>,
) -> Cause {
    answers.push(answer);
    Cause::Noticed
}

/// Describes what expiry may delete under `new` but not under the old configuration, before it does.
fn foreseen(old: &Wiring, new: &Config) -> Option<String> {
    let now = old.clock.now();
    match foresee::expirable(&old.catalog, new, Some(&old.config), now) {
        Ok(foreseen) if foreseen.count() == 0 => None,
        Ok(foreseen) => {
            let at = new.next_expiry(now);
            Some(format!(
                "retention: with the next weekly run, {at}, {foreseen}; `patina plan` names each"
            ))
        }
        Err(error) => Some(format!(
            "retention: cannot estimate how many copies would be deleted: {error}"
        )),
    }
}

impl Daemon {
    /// Makes jobs that begin from now on use another configuration. Returns the changes, in sentences.
    async fn take(&self, loaded: Loaded) -> Result<Vec<String>, app::AppError> {
        let built = self.built();
        let old = &built.wiring;
        let mut changes = config::diff(&old.config, &loaded.config);
        changes.extend(loaded.warnings.iter().map(ToString::to_string));
        changes.extend(foreseen(old, &loaded.config));
        let new = app::rebuilt(Arc::new(loaded.config), old, &self.state).await?;
        rejected::tell_accepted(&new.wiring);
        *self.built.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(changes)
    }

    /// Records the result of a check, for those who requested it.
    fn note(&self, cause: Cause, outcome: ReloadOutcome, told: &[String]) {
        let wiring = &self.built().wiring;
        let now = wiring.clock.now();
        if let Err(error) = wiring.catalog.note_reload(now, cause, outcome, told) {
            tracing::error!("how the reload ended is not noted: {error}");
        }
    }
}
