//! Ends a process on a signal. Invariant: after the first one, work stops or is given up within a deadline.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Time from the first signal to the end, even if something hangs: systemd and people wait 10 s, and the process itself
/// needs a moment.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

/// The way in which the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All running work came to an end.
    Orderly,
    /// Work that did not end in time was given up. The next start recovers it.
    GivenUp,
    /// A second signal came.
    AtOnce,
}

/// A step of stopping to report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The first signal came, with this name.
    Stopping(&'static str),
    /// Another one came: the process ends now.
    Again(&'static str),
    /// The deadline passed, this long after the first signal.
    Overdue(Duration),
}

/// SIGINT and SIGTERM, from now on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Handles the signals from here on, instead of dying of them.
    ///
    /// # Errors
    /// If the system does not allow it.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancels `stop` at the first signal; returns at the second one, or when the deadline passes. `tell` is called for
    /// each.
    pub async fn overdue(mut self, stop: CancellationToken, tell: impl Fn(Notice)) -> Ending {
        let name = self.next().await;
        tell(Notice::Stopping(name));
        stop.cancel();
        tokio::select! {
            name = self.next() => {
                tell(Notice::Again(name));
                Ending::AtOnce
            }
            () = tokio::time::sleep(STOP_DEADLINE) => {
                tell(Notice::Overdue(STOP_DEADLINE));
                Ending::GivenUp
            }
        }
    }

    /// Returns the name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
