//! Tells how everything stands: as status, as page, as numbers. Invariant: what the catalog says is added up once for each
//! change of it, and told anew once a second at most, as ages are told to the second.

use std::sync::Arc;

use axum::body::Bytes;

use super::Api;
use super::call::Call;
use super::kept::Kept;
use crate::catalog::{Catalog, CatalogError, Standing};
use crate::overview::{self, Overview};
use crate::types::BackupDate;
use crate::wiring::Wiring;

/// What is kept of how everything stands.
#[derive(Default)]
pub(super) struct Standings {
    sums: Kept<(Version, BackupDate), Arc<Standing>>,
    overviews: Kept<(Version, i64), Arc<Overview>>,
    texts: Kept<(Version, i64, Told), Bytes>,
}

/// An unchanged catalog and configuration. It keeps the latter, so that no other one gets its place in memory.
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

/// What is made of an overview.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// `GET /status`.
    Status,
    /// The dashboard.
    Page,
}

impl Api {
    /// How everything stands now.
    pub(super) async fn overview(&self, call: &Call) -> Result<Arc<Overview>, CatalogError> {
        let (api, wiring) = (self.clone(), call.wiring.clone());
        self.ask(move |catalog| {
            let version = Version::of(catalog, wiring)?;
            api.0.standings.overview(catalog, &version)
        })
        .await
    }

    /// What `text` makes of how everything stands now.
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
        let sums = || overview::standing(catalog, config, day).map(Arc::new);
        let key = (version.clone(), now.timestamp());
        self.overviews.get_or(
            key,
            |_| false,
            || {
                let sums = self.sums.get_or((version.clone(), day), |_| false, sums)?;
                Overview::from_standing(&sums, catalog, config, now).map(Arc::new)
            },
        )
    }
}
