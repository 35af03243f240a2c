//! Ends the daemon on a signal. Invariant: from the first one on the end is near: work stops, or is given up.

use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::systemd::Manager;

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

/// SIGINT and SIGTERM, from now on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn listen() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Cancels `stop` at the first signal; returns at the second one, or when the deadline is over.
    pub(super) async fn overdue(mut self, stop: CancellationToken) -> Ending {
        let name = self.next().await;
        tracing::info!("{name}: stopping; unfinished copies are dropped, finished ones are kept");
        Manager::stopping();
        stop.cancel();
        tokio::select! {
            name = self.next() => {
                tracing::warn!("{name} again: ending at once");
                Ending::AtOnce
            }
            () = tokio::time::sleep(STOP_DEADLINE) => {
                tracing::warn!("not everything ended in {} s; it is given up", STOP_DEADLINE.as_secs());
                Ending::GivenUp
            }
        }
    }
}
