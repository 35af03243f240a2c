//! Checks tasks and runs those that have work. Invariant: a task takes no input and never runs twice at the same time;
//! timer, reload and "run now" only cause another check.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;

/// Longest time between two readings of the wall clock: nothing reports that the machine slept or that its clock was
/// set.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Shortest pause: a task that always wants to be checked would keep a core busy.
const SHORTEST_PAUSE: Duration = Duration::from_millis(50);

/// Work that a task found to do.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Recurring task.
pub trait Task: Send + Sync {
    /// Name of the task, unique: for logs, and to tell if it is at work.
    fn name(&self) -> &str;

    /// Decides what to do now. It must be quick: no other task is checked meanwhile.
    fn activate(&self, now: DateTime<Utc>) -> Next;
}

/// Decision of a task.
pub enum Next {
    /// Nothing to do until this time; `None`: nothing until somebody activates it.
    Rest(Option<DateTime<Utc>>),
    /// Work to run. The task is checked again when it ends, well or not.
    Work(Work),
}

/// Handle that causes a check of every task. Clones act on the same tasks.
#[derive(Debug, Clone, Default)]
pub struct Activator(Arc<Notify>);

impl Activator {
    /// Causes a soon check of every task; several calls before that are one. A task at work is checked when its work
    /// ends.
    pub fn activate(&self) {
        self.0.notify_one();
    }
}

/// State of the driver, for status lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Names of the tasks at work.
    pub at_work: Vec<String>,
    /// Next task to be checked, with the time; `None`: no task has a time.
    pub next: Option<(String, DateTime<Utc>)>,
}

/// Driver that checks tasks at their time, on activation, and when the clock goes back.
pub struct Driver {
    entries: Vec<Entry>,
    working: JoinSet<()>,
    names: HashMap<Id, String>,
    clock: Arc<dyn Clock>,
    activator: Activator,
    longest_pause: Duration,
}

struct Entry {
    task: Arc<dyn Task>,
    state: State,
}

#[derive(Clone, Copy)]
enum State {
    /// Needs a check.
    Fresh,
    /// Checked, with nothing to do until a time.
    Resting {
        looked_at: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
    },
    AtWork,
}

impl State {
    /// True if the task needs a check; a clock that was set back invalidates every earlier decision.
    fn wants_a_look(self, now: DateTime<Utc>) -> bool {
        match self {
            Self::Fresh => true,
            Self::Resting { looked_at, until } => {
                now < looked_at || until.is_some_and(|until| until <= now)
            }
            Self::AtWork => false,
        }
    }
}

impl Driver {
    /// Creates a driver of these tasks that reads the clock at least every `longest_pause`.
    pub fn new(
        tasks: Vec<Arc<dyn Task>>,
        clock: Arc<dyn Clock>,
        activator: Activator,
        longest_pause: Duration,
    ) -> Self {
        let mut driver = Self {
            entries: Vec::new(),
            working: JoinSet::new(),
            names: HashMap::new(),
            clock,
            activator,
            longest_pause: longest_pause.max(SHORTEST_PAUSE),
        };
        driver.replace(tasks);
        driver
    }

    /// Replaces all tasks and checks the new ones. Running work continues; a task of the same name starts no other work
    /// before it ends.
    pub fn replace(&mut self, tasks: Vec<Arc<dyn Task>>) {
        let entries = tasks.into_iter().map(|task| {
            let is_at_work = self.names.values().any(|name| name == task.name());
            let state = match is_at_work {
                true => State::AtWork,
                false => State::Fresh,
            };
            Entry { task, state }
        });
        self.entries = entries.collect();
    }

    /// Runs until `stop`, then waits for running work. `beat` is called in each round: if it is no longer called, the
    /// loop hangs. Tasks that arrive through `replacements` replace all others.
    pub async fn run(
        &mut self,
        stop: &CancellationToken,
        mut replacements: tokio::sync::mpsc::Receiver<Vec<Arc<dyn Task>>>,
        mut beat: impl FnMut(&Standing),
    ) {
        loop {
            let now = self.clock.now();
            if !stop.is_cancelled() {
                self.look(now);
            } else if self.working.is_empty() {
                return;
            }
            let standing = self.standing();
            beat(&standing);
            let pause = self.pause(now, &standing);
            tokio::select! {
                biased;
                Some(ended) = self.working.join_next_with_id() => self.ended(ended),
                () = stop.cancelled(), if !stop.is_cancelled() => {}
                Some(tasks) = replacements.recv() => self.replace(tasks),
                () = self.activator.0.notified() => self.wake(),
                () = self.clock.sleep(pause) => {}
            }
        }
    }

    fn look(&mut self, now: DateTime<Utc>) {
        for entry in &mut self.entries {
            if !entry.state.wants_a_look(now) {
                continue;
            }
            entry.state = match entry.task.activate(now) {
                Next::Rest(until) => State::Resting {
                    looked_at: now,
                    until,
                },
                Next::Work(work) => {
                    let id = self.working.spawn(work).id();
                    self.names.insert(id, entry.task.name().to_owned());
                    State::AtWork
                }
            };
        }
    }

    fn ended(&mut self, ended: Result<(Id, ()), JoinError>) {
        let id = match &ended {
            Ok((id, ())) => *id,
            Err(error) => error.id(),
        };
        let name = self.names.remove(&id).unwrap_or_default();
        if let Err(error) = ended {
            tracing::error!(task = %name, "task {name} ended in a bug: {error}");
        }
        for entry in &mut self.entries {
            if entry.task.name() == name {
                entry.state = State::Fresh;
            }
        }
    }

    fn wake(&mut self) {
        for entry in &mut self.entries {
            if let State::Resting { .. } = entry.state {
                entry.state = State::Fresh;
            }
        }
    }

    fn standing(&self) -> Standing {
        let mut at_work: Vec<String> = self.names.values().cloned().collect();
        at_work.sort();
        let next = self.entries.iter().filter_map(|entry| match entry.state {
            State::Resting { until, .. } => Some((entry.task.name().to_owned(), until?)),
            State::Fresh | State::AtWork => None,
        });
        let next = next.min_by_key(|(_, until)| *until);
        Standing { at_work, next }
    }

    fn pause(&self, now: DateTime<Utc>, standing: &Standing) -> Duration {
        let until = standing.next.as_ref().map(|(_, until)| *until - now);
        let until = until.map_or(self.longest_pause, |until| {
            until.to_std().unwrap_or_default()
        });
        until.clamp(SHORTEST_PAUSE, self.longest_pause)
    }
}

#[cfg(test)]
mod tests;
