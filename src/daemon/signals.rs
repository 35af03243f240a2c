//! Ends a process on a signal. Invariant: from the first one on the end is near: work stops, or is given up.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// From the first signal to the end, whatever hangs: systemd and people wait 10 s, and the process itself needs a moment.
const STOP_DEADLINE: Duration = Duration::from_secs(8);

/// How the daemon ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It was told to; everything that ran came to an end.
    Orderly,
    /// It was told to, and what did not end in time was given up. The next start brings that in order.
    GivenUp,
    /// It was told twice.
    AtOnce,
}

/// What there is to say on the way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// The first signal came, of this name.
    Stopping(&'static str),
    /// Another one came: everything ends now.
    Again(&'static str),
    /// The deadline is over, so long after the first signal.
    Overdue(Duration),
}

/// SIGINT and SIGTERM, from now on.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes them from here on, instead of dying of them.
    ///
    /// # Errors
    /// Where the system gives none.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Cancels `stop` at the first signal; returns at the second one, or when the deadline is over. `tell` hears of each.
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

    /// The name of the next one.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}
