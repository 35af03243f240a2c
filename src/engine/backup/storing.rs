//! Stores a proven dump: N6 to N10. Invariant: the copy counts as soon as one storage has it, and no storage that is late
//! keeps it, or the next database, waiting.

use std::sync::{Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::SizeFinding;
use super::one::{Attempt, Failure};
use crate::anomaly::Changes;
use crate::catalog::{AddedStorages, CatalogError, Committed};
use crate::engine::commit::{NotPlaced, Placed, in_each, is_read_whole, place};
use crate::engine::daily_key::{KeyRequest, MOST_LOST_KEYS};
use crate::engine::judge;
use crate::engine::spool::Ready;
use crate::excerpt;
use crate::progress::Stage;
use crate::types::{Compression, CopyForm, Manifest, ObjectKey};

/// In which storages a copy is so far.
#[derive(Default)]
struct Placements {
    /// Whether one has it.
    is_good: bool,
    /// What went wrong with others.
    failed: Vec<String>,
    /// Whether one of those holds another object under that key.
    is_taken: bool,
}

impl Attempt<'_> {
    /// A key for this copy that nothing has.
    pub(super) async fn choose_key(
        &self,
        form: CopyForm,
        compression: Compression,
    ) -> Result<ObjectKey, CatalogError> {
        let request = KeyRequest {
            database: &self.database.config.name,
            date: self.date(),
            started_at: self.started_at,
            form,
            compression,
        };
        request.choose(self.wiring, self.silent).await
    }

    /// N6 to N10. The copy counts as soon as one storage has it. Gives what went wrong with the others. Another
    /// installation may take the key between the look at it and the storing; then the next free one is tried.
    pub(super) async fn store(
        &self,
        ready: Ready,
        manifest: &mut Manifest,
        size: &SizeFinding,
        changes: &Changes,
    ) -> Result<Vec<String>, Failure> {
        let catalog = &self.wiring.catalog;
        let mut tries_left = MOST_LOST_KEYS;
        loop {
            let (placed, is_whole) = self.place(&ready, manifest, (size, changes)).await?;
            if placed.is_good || !placed.is_taken || tries_left == 0 {
                return self.settle(ready, placed, is_whole);
            }
            tries_left -= 1;
            let (form, compression) = (manifest.key.form(), manifest.stored.compression);
            manifest.key = self.choose_key(form, compression).await?;
            catalog.respool(self.run.id(), &self.spooled(&ready, manifest))?;
        }
    }

    /// Stores the copy in every storage at once. Gives where it is, and whether every storage was waited for.
    async fn place(
        &self,
        ready: &Ready,
        manifest: &Manifest,
        findings: (&SizeFinding, &Changes),
    ) -> Result<(Placements, bool), Failure> {
        let (stores, clock) = (&self.wiring.stores, self.wiring.clock.as_ref());
        let size_bytes = ready.stored.size_bytes;
        let total_bytes = size_bytes * stores.len() as u64;
        self.progress.enter(Stage::Store, total_bytes);
        let proven = ready.as_proven(manifest);
        let placing = place(stores, &proven, self.silent, clock);
        let placed = Mutex::new(Placements::default());
        let is_good = CancellationToken::new();
        let work = in_each(placing, self.progress, size_bytes, |what| {
            let mut placed = placed.lock().unwrap_or_else(PoisonError::into_inner);
            self.note_placed(what, manifest, findings, &mut placed)?;
            if placed.is_good {
                is_good.cancel();
                self.place.give_back();
            }
            Ok::<_, Failure>(())
        });
        let is_whole = tokio::select! {
            done = work => done.map(|()| true)?,
            _ = async { tokio::join!(is_good.cancelled(), self.stop.cancelled()) } => false,
        };
        let placed = placed.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok((placed, is_whole))
    }

    /// Ends with what is known of all storages.
    fn settle(
        &self,
        ready: Ready,
        placed: Placements,
        is_whole: bool,
    ) -> Result<Vec<String>, Failure> {
        let name = &self.database.config.name;
        let mut failed = placed.failed;
        match (placed.is_good, is_whole) {
            (false, _) => {
                self.wiring.catalog.discard_spooled(self.run.id(), name)?;
                ready.remove()?;
                return Err(Failure::NotStored(excerpt::joined(&failed)));
            }
            (true, true) => {
                self.wiring.catalog.end_spooled(self.run.id(), name)?;
                // The copy is committed; a spool that stays is swept at the next start.
                if let Err(error) = ready.remove() {
                    tracing::warn!(%error, "a spool could not be removed");
                }
            }
            (true, false) => failed.push(
                "the process was asked to stop before every storage had the copy; the next start goes on with it".to_owned(),
            ),
        }
        Ok(failed)
    }

    /// Lets the copy count in the first storage that has it, and notes what becomes of it in the others.
    fn note_placed(
        &self,
        placed: Placed,
        manifest: &Manifest,
        (size, changes): (&SizeFinding, &Changes),
        so_far: &mut Placements,
    ) -> Result<(), Failure> {
        let (catalog, now) = (&self.wiring.catalog, self.wiring.clock.now());
        let is_read_whole = is_read_whole(manifest.stored.size_bytes);
        let (storages, degraded) = match placed {
            Ok(storage) if !so_far.is_good => {
                let news = judge::of_copy(self.wiring, manifest, size, changes)?;
                let committed = Committed {
                    database_id: self.database.source.facts().id,
                    manifest,
                    is_read_whole,
                    storages: vec![storage],
                    degraded: so_far.failed.clone(),
                    started_at: self.started_at,
                    completed_at: now,
                    expires_at: crate::engine::expires_at(manifest.date, self.wiring),
                };
                self.run.succeed_first(&committed, &news)?;
                so_far.is_good = true;
                return Ok(());
            }
            Ok(storage) => (vec![storage], Vec::new()),
            Err(NotPlaced { why, is_taken }) => {
                so_far.is_taken |= is_taken;
                so_far.failed.push(why.clone());
                (Vec::new(), vec![why])
            }
        };
        if so_far.is_good {
            let added = AddedStorages {
                manifest,
                storages: &storages,
                degraded: &degraded,
                is_read_whole,
                at: now,
            };
            catalog.add_storages(self.run.id(), &added)?;
        }
        Ok(())
    }
}
