//! Keeps objects from expiry while they are read. Invariant: a lease of a process that died ends within minutes.

use std::time::Duration;

use chrono::TimeDelta;

use crate::catalog::CatalogError;
use crate::types::ObjectKey;
use crate::wiring::Wiring;

/// After this time expiry does not wait any more for a reader that does not renew.
const LEASE: TimeDelta = TimeDelta::minutes(15);

/// Between two renewals; several may fail, as the catalog may be in use.
const RENEW_EVERY: Duration = Duration::from_secs(3 * 60);

/// Does `work`, in which the objects are read, while expiry leaves them alone.
///
/// # Errors
/// Where the lease cannot be written; nothing was done then.
pub(super) async fn while_leased<T>(
    wiring: &Wiring,
    keys: &[ObjectKey],
    holder: &str,
    work: impl Future<Output = T>,
) -> Result<T, CatalogError> {
    let (catalog, clock) = (&wiring.catalog, &wiring.clock);
    let lease = catalog.lease(keys, holder, clock.now() + LEASE)?;
    let mut work = std::pin::pin!(work);
    let done = loop {
        tokio::select! {
            biased;
            done = &mut work => break done,
            () = clock.sleep(RENEW_EVERY) => {
                if let Err(error) = catalog.prolong(&lease, clock.now() + LEASE) {
                    tracing::warn!("a lease is not renewed: {error}");
                }
            }
        }
    };
    catalog.release(lease, clock.now())?;
    Ok(done)
}
