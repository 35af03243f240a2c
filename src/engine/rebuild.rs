//! Makes the catalog anew from the manifests in the storages. Invariant: nothing is deleted, not for a day after
//! either, and what was found counts for nothing until its bytes were read.

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::adopt::Whose;
use super::reconcile::{Patience, StorageReport, run_for};
use crate::catalog::CatalogError;
use crate::wiring::Wiring;

/// How long nothing is deleted afterwards: long enough for a person to look.
pub const QUIET: TimeDelta = TimeDelta::hours(24);

/// What was found.
#[derive(Debug)]
pub struct Report {
    /// One report per storage.
    pub storages: Vec<StorageReport>,
    /// The installations that wrote what was found. Only what this one wrote is ever expired.
    pub instances: Vec<String>,
    /// This installation's id afterwards: that of the copies, where they have one and this one had stored nothing.
    pub instance: String,
}

/// Takes in every copy and archive that has a valid manifest, and the id of the installation that wrote them.
///
/// # Errors
/// Where the catalog fails; what a storage does is part of the report.
pub async fn run(wiring: &Wiring, stop: &CancellationToken) -> Result<Report, CatalogError> {
    // First: were it to end early, nothing is deleted all the same.
    wiring.catalog.keep_quiet(wiring.clock.now() + QUIET)?;
    // Another host may have worked with a copy of this catalog: from now on this one does.
    wiring.catalog.forget_claims()?;
    let storages = run_for(Whose::Everyones, wiring, Patience::Leave, stop).await?;
    wiring.catalog.confirm_found()?;
    let instances = wiring.catalog.instances()?;
    if let [only] = instances.as_slice() {
        wiring.catalog.take_over(only)?;
    }
    Ok(Report {
        storages,
        instances,
        instance: wiring.catalog.instance()?,
    })
}
