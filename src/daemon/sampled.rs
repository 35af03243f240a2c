//! Reads copies that were too large to be read back completely when they were stored. Invariant: nothing waits for
//! this, and it ends when the process is asked to stop.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::turns::{Kind, Turns};
use crate::app::Built;
use crate::catalog::CatalogError;
use crate::engine::verify::{self, Scope};
use crate::progress::Progress;

/// Starts reading them now: in the same night, not only when `verify` selects them.
pub(super) fn read_soon(built: Arc<Built>, turns: Arc<Turns>, stop: CancellationToken) {
    tokio::spawn(async move {
        if let Err(error) = read(&built, &turns, &stop).await {
            tracing::warn!("large copies are read when their turn comes: {error}");
        }
    });
}

async fn read(built: &Built, turns: &Turns, stop: &CancellationToken) -> Result<(), CatalogError> {
    let wiring = &built.wiring;
    let Some(_turn) = stop.run_until_cancelled(turns.take(Kind::Verify)).await else {
        return Ok(());
    };
    let targets = verify::select(wiring, Scope::Sampled)?;
    if !targets.is_empty() {
        let progress = Arc::<Progress>::default();
        verify::run(wiring, targets, &progress, stop).await?;
    }
    Ok(())
}
