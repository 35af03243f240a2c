//! Finds the ways to read a copy: the storages that have it, as a separate object or inside an archive.

use std::path::Path;
use std::sync::Arc;

use super::address::{Address, resolve};
use super::context::Context;
use super::exit::Refusal;
use super::names::hint_for;
use crate::app;
use crate::catalog::{Catalog, CopyState};
use crate::config::Config;
use crate::copy::{Found, Way, by_key, ways};
use crate::engine::restore::{Origin, RestoreError, Workshop};
use crate::types::{Compression, ObjectKey};
use crate::wiring::Wiring;

/// Configuration and wiring for reading stored copies.
pub(super) struct Stored {
    pub(super) config: Arc<Config>,
    pub(super) wiring: Wiring,
}

impl Stored {
    /// Opens the storages of the configuration for reading.
    pub(super) async fn open(context: &Context) -> anyhow::Result<Self> {
        let config = Arc::new(context.load()?.config);
        let catalog = context.catalog(&config)?;
        let wiring = app::wiring_to_read(Arc::clone(&config), catalog).await?;
        Ok(Self { config, wiring })
    }

    pub(super) fn catalog(&self) -> &Catalog {
        &self.wiring.catalog
    }

    /// Returns the copy at `address`, and the ways to read it.
    pub(super) fn origin(
        &self,
        address: &Address,
        storage: Option<&str>,
    ) -> anyhow::Result<(Found, Origin)> {
        let copy = resolve(address, self.catalog(), &self.config)?;
        let ways = ways_to(&copy, &self.wiring, storage)?;
        let manifest = Box::new(copy.manifest().clone());
        Ok((copy, Origin::Stored { manifest, ways }))
    }

    /// Converts the error, with a hint: if this copy is damaged, an older one.
    pub(super) fn told(&self, error: RestoreError, copy: &Found) -> anyhow::Error {
        if !error.is_damage() {
            return Refusal::failed(error.to_string()).into();
        }
        let hint = match self.older(copy) {
            Ok(Some(key)) => format!("the next older good copy is `{key}`"),
            _ => "`patina list` shows other copies".to_owned(),
        };
        Refusal::damage(format!("{error}\nhint: nothing was changed; {hint}")).into()
    }

    /// Returns the newest older copy that is stored without known damage.
    fn older(&self, copy: &Found) -> anyhow::Result<Option<ObjectKey>> {
        let manifest = copy.manifest();
        let held = self.catalog().held(&manifest.database, None, None)?;
        let older = held
            .iter()
            .skip_while(|held| held.key != manifest.key)
            .skip(1);
        for held in older {
            if let Some(found) = by_key(&held.key, self.catalog())?
                && found
                    .placements()
                    .iter()
                    .any(|place| place.state == CopyState::Live)
            {
                return Ok(Some(held.key.clone()));
            }
        }
        Ok(None)
    }
}

/// Creates a private folder for temporary databases: in the state directory, if that can be written.
pub(super) fn private_folder(config: &Config) -> anyhow::Result<Workshop> {
    let state = &config.agent().state;
    let in_state = Workshop::open(state, "look-");
    let opened = in_state.or_else(|_| Workshop::open(&std::env::temp_dir(), "patina-look-"));
    opened.map_err(|error| {
        let text = format!(
            "no private folder can be made in `{}`: {error}",
            state.display()
        );
        Refusal::failed(text).into()
    })
}

/// Returns the compression that the file's name indicates.
pub(super) fn compression_of(path: &Path) -> Compression {
    let name = path.to_string_lossy();
    [Compression::Gzip, Compression::Zstd]
        .into_iter()
        .find(|compression| name.ends_with(compression.suffix()))
        .unwrap_or_default()
}

/// Returns the ways to the copy through configured storages, or through the requested one.
pub(super) fn ways_to(
    copy: &Found,
    wiring: &Wiring,
    asked: Option<&str>,
) -> anyhow::Result<Vec<Way>> {
    if let Some(asked) = asked.filter(|asked| wiring.store(asked).is_none()) {
        let hint = hint_for(asked, wiring.stores.iter().map(|store| store.name()));
        let text = format!("no storage is called `{asked}`\nhint: {hint}");
        return Err(Refusal::usage(text).into());
    }
    let ways = ways(copy, wiring, &wiring.catalog, asked)?;
    if !ways.is_empty() {
        return Ok(ways);
    }
    let archives = wiring.catalog.archives_of(&copy.manifest().key)?;
    let own = match copy {
        Found::Daily(copy) => copy.placements.as_slice(),
        Found::Archived { .. } => &[],
    };
    let inside = archives.iter().flat_map(|archive| &archive.placements);
    let places = own.iter().chain(inside);
    let mut places: Vec<&str> = places.map(|placement| placement.storage.as_str()).collect();
    places.dedup();
    let (key, places) = (copy.object(), places.join(", "));
    let who = asked.map_or("no configured storage holds".to_owned(), |asked| {
        format!("storage `{asked}` does not hold")
    });
    let text = format!("{who} `{key}`\nhint: it lies in {places}");
    Err(Refusal::failed(text).into())
}
