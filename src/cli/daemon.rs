//! `patina run`: runs scheduled tasks until it is asked to stop.

use std::sync::Arc;

use super::context::Context;
use super::exit::Exit;
use super::hands::Hands;
use crate::app::startup;
use crate::daemon::{self, DaemonError, Ending};
use crate::engine::state::StateError;

/// Runs `patina run`.
pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let loaded = context.load_or_tell().await?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let config = loaded.config.clone();
    let ending = match daemon::run(loaded.config, |_| (), Arc::new(Hands)).await {
        Err(error) => {
            // A second process that was started by mistake needs no alert.
            if !matches!(error, DaemonError::State(StateError::Held { .. })) {
                startup::tell_not_started(&config, &error.to_string()).await;
            }
            return Err(error.into());
        }
        Ok(ending) => ending,
    };
    Ok(exit(ending))
}

/// Returns the exit code for an ending.
pub(super) fn exit(ending: Ending) -> Exit {
    match ending {
        Ending::Orderly | Ending::GivenUp => Exit::Ok,
        Ending::AtOnce => Exit::Failed,
    }
}
