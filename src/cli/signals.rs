//! Ends a command's work when the process is asked to stop.

use std::future::Future;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::context::tell;
use crate::daemon::{Notice, Signals};

/// Cancels `stop` at the first SIGINT or SIGTERM; completes at the second one, or when the deadline passes.
pub(super) fn overdue(stop: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let signals = Signals::listen().context("signals cannot be received")?;
    let told = |notice| {
        if let Notice::Stopping(_) = notice {
            tell("stopping: unfinished copies are dropped, finished ones are kept");
        }
    };
    Ok(async move {
        signals.overdue(stop, told).await;
    })
}
