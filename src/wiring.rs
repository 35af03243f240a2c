//! Holds everything that one job or request works on: an immutable snapshot of the configuration and what was built
//! from it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::catalog::Catalog;
use crate::clock::Clock;
use crate::config::{Config, Database};
use crate::hook::Hooks;
use crate::notify::Notifier;
use crate::source::{Source, d1};
use crate::store::Store;
use crate::types::DatabaseName;

/// The configuration and everything built from it.
pub struct Wiring {
    /// The configuration.
    pub config: Arc<Config>,
    /// Every configured database, by priority, with its source.
    pub databases: Vec<WiredDatabase>,
    /// Every configured storage, in file order; the first is the primary.
    pub stores: Vec<Arc<dyn Store>>,
    /// Every configured alert sink, in file order.
    pub sinks: Vec<Arc<dyn Notifier>>,
    /// The catalog of jobs and copies.
    pub catalog: Catalog,
    /// The client of the configured Cloudflare account.
    pub account: Option<Arc<d1::Client>>,
    /// The user's scripts.
    pub hooks: Arc<dyn Hooks>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Clock reading when this was built; a wall time that deviates from the time elapsed since then is not trusted.
    pub built_at: Moment,
}

/// One reading of both times of a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The wall time.
    pub wall: DateTime<Utc>,
    /// The time since the clock's start.
    pub elapsed: Duration,
}

impl Moment {
    /// Reads `clock` now.
    pub fn of(clock: &dyn Clock) -> Self {
        Self {
            wall: clock.now(),
            elapsed: clock.elapsed(),
        }
    }
}

/// A database and its source.
#[derive(Clone)]
pub struct WiredDatabase {
    /// Its configuration.
    pub config: Database,
    /// Its source.
    pub source: Arc<dyn Source>,
}

impl Wiring {
    /// Returns the database of this name; `None` if none is configured.
    pub fn database(&self, name: &DatabaseName) -> Option<&WiredDatabase> {
        self.databases
            .iter()
            .find(|database| database.config.name == *name)
    }

    /// Returns the store of this name; `None` if none is configured.
    pub fn store(&self, name: &str) -> Option<&Arc<dyn Store>> {
        self.stores.iter().find(|store| store.name() == name)
    }
}
