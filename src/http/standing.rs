//! Caches the overview and the responses made from it. Invariant: the inventory is summed up once for each change of
//! the catalog; a large inventory is summed up less often, so that it does not slow a backup, which changes the catalog
//! again and again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;

use super::Api;
use super::call::Call;
use super::kept::Kept;
use crate::catalog::{Catalog, CatalogError, Standing};
use crate::overview::{self, Overview};
use crate::types::BackupDate;
use crate::wiring::Wiring;

/// An inventory summed up within this time is summed up after every change.
const QUICK: Duration = Duration::from_millis(50);

/// Factor of the pause after a slower sum: summing up takes at most a twentieth of a core.
const REST: u32 = 20;

/// Longest pause, so that the sums over storages and copies are never older. Jobs are always read anew.
const MOST_REST: Duration = Duration::from_secs(10);

/// Cached sums, overviews and responses.
#[derive(Default)]
pub(super) struct Standings {
    sums: Mutex<Option<Sums>>,
    overviews: Kept<(Version, i64), Arc<Overview>>,
    texts: Kept<(Version, i64, Told), Bytes>,
}

/// An unchanged catalog and configuration. It holds the wiring, so that its address in memory is not reused.
#[derive(Clone)]
struct Version {
    changes: i64,
    wiring: Arc<Wiring>,
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.changes == other.changes && Arc::ptr_eq(&self.wiring, &other.wiring)
    }
}

/// The latest sums.
struct Sums {
    version: Version,
    day: BackupDate,
    standing: Arc<Standing>,
    /// Monotonic time until which changes may wait.
    rests_until: Duration,
}

impl Sums {
    fn serve(&self, version: &Version, day: BackupDate, now: Duration) -> bool {
        let is_same = Arc::ptr_eq(&self.version.wiring, &version.wiring) && self.day == day;
        let is_unchanged = self.version.changes == version.changes;
        is_same && (is_unchanged || now < self.rests_until)
    }
}

/// Response made from an overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// `GET /status`.
    Status,
    /// The dashboard.
    Page,
}

impl Api {
    /// Returns the current overview.
    pub(super) async fn overview(&self, call: &Call) -> Result<Arc<Overview>, CatalogError> {
        let (api, wiring) = (self.clone(), call.wiring.clone());
        self.ask(move |catalog| {
            let version = Version::of(catalog, wiring)?;
            api.0.standings.overview(catalog, &version)
        })
        .await
    }

    /// Returns the response that `text` makes from the current overview.
    pub(super) async fn tell(
        &self,
        call: &Call,
        told: Told,
        text: impl FnOnce(&Overview, &Catalog) -> Result<String, CatalogError> + Send + 'static,
    ) -> Result<Bytes, CatalogError> {
        let (api, wiring) = (self.clone(), call.wiring.clone());
        self.ask(move |catalog| {
            let (standings, version) = (&api.0.standings, Version::of(catalog, wiring)?);
            let second = version.wiring.clock.now().timestamp();
            let is_current =
                |known: &(Version, i64, Told)| (&known.0, known.1) == (&version, second);
            let key = (version.clone(), second, told);
            standings.texts.get_or(key, is_current, || {
                let overview = standings.overview(catalog, &version)?;
                text(&overview, catalog).map(Bytes::from)
            })
        })
        .await
    }
}

impl Version {
    fn of(catalog: &Catalog, wiring: Arc<Wiring>) -> Result<Self, CatalogError> {
        Ok(Self {
            changes: catalog.changes()?,
            wiring,
        })
    }
}

impl Standings {
    fn overview(
        &self,
        catalog: &Catalog,
        version: &Version,
    ) -> Result<Arc<Overview>, CatalogError> {
        let (config, now) = (&version.wiring.config, version.wiring.clock.now());
        let day = overview::day_of(config, now);
        let key = (version.clone(), now.timestamp());
        self.overviews.get_or(
            key,
            |_| false,
            || {
                let standing = self.standing(catalog, version, day)?;
                Overview::from_standing(&standing, catalog, config, now).map(Arc::new)
            },
        )
    }

    fn standing(
        &self,
        catalog: &Catalog,
        version: &Version,
        day: BackupDate,
    ) -> Result<Arc<Standing>, CatalogError> {
        let (clock, config) = (&version.wiring.clock, &version.wiring.config);
        let begun = clock.elapsed();
        let mut kept = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        let served = kept.as_ref().filter(|sums| sums.serve(version, day, begun));
        if let Some(sums) = served {
            return Ok(Arc::clone(&sums.standing));
        }
        let standing = Arc::new(overview::standing(catalog, config, day)?);
        let ended = clock.elapsed();
        *kept = Some(Sums {
            version: version.clone(),
            day,
            standing: Arc::clone(&standing),
            rests_until: ended + rest_after(ended.saturating_sub(begun)),
        });
        Ok(standing)
    }
}

/// Time that changes may wait after a sum that took this long.
fn rest_after(took: Duration) -> Duration {
    match took <= QUICK {
        true => Duration::ZERO,
        false => (took * REST).min(MOST_REST),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_inventory_is_always_fresh_and_a_large_one_takes_a_twentieth_of_a_core() {
        for (took_ms, rest_ms) in [(0, 0), (50, 0), (51, 1_020), (400, 8_000), (3_000, 10_000)] {
            let rest = rest_after(Duration::from_millis(took_ms));
            assert_eq!(rest, Duration::from_millis(rest_ms), "{took_ms} ms");
        }
    }
}
