//! `patina run`: works by schedule until it is told to end.

use super::context::Context;
use super::exit::Exit;
use crate::daemon::{self, Ending};

/// Runs `patina run`.
pub(super) async fn run(context: &Context) -> anyhow::Result<Exit> {
    let loaded = context.load_with_scripts()?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let ending = daemon::run(loaded.config).await?;
    Ok(match ending {
        Ending::Orderly | Ending::GivenUp => Exit::Ok,
        Ending::AtOnce => Exit::Failed,
    })
}
