//! Ends a command's work when the process is told to end. Invariant: within the deadline, whatever hangs.

use std::future::Future;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::context::tell;

/// From a signal to the end, whatever hangs; systemd and people wait 10 s.
const STOP_DEADLINE: Duration = Duration::from_secs(9);

/// Cancels `stop` at the first SIGINT or SIGTERM; ends at the second one, or when the deadline is over.
pub(super) fn overdue(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let told = "signals cannot be received";
    let mut interrupt = signal(SignalKind::interrupt()).context(told)?;
    let mut terminate = signal(SignalKind::terminate()).context(told)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tell("stopping: unfinished copies are dropped, finished ones are kept");
        stop.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            () = tokio::time::sleep(STOP_DEADLINE) => {}
        }
    })
}
