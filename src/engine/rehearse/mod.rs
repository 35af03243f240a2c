//! Rehearses the worst day: fetches the newest copy of each database from storage, restores it in private and proves
//! it. Invariant: nothing stored and no target is touched, and proven is only what equals its manifest, table by table.

mod news;
mod plan;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

pub use self::plan::{Plan, StorageFinding};

use self::plan::Candidate;
use super::lease::while_leased;
use super::restore::{self, Job, Origin, Proof, RestoreError, Tried, Workshop};
use super::verify::freeze;
use crate::catalog::{CatalogError, Damage, Rehearsal, RehearsalOutcome, Rehearsed};
use crate::copy::{ReadingError, Way};
use crate::progress::{Board, Progress, Stage};
use crate::types::{DatabaseName, Manifest, ObjectKey, Trigger, share};
use crate::wiring::Wiring;

/// What is to be rehearsed.
#[derive(Debug, Clone)]
pub struct Ask {
    /// These databases; all, where empty: those of the configuration and those of which only copies are left.
    pub databases: Vec<DatabaseName>,
    /// Read from this storage alone.
    pub storage: Option<String>,
    /// What may be known before.
    pub knowledge: Knowledge,
    /// Who wants it.
    pub trigger: Trigger,
}

/// What a rehearsal may know before it looks at the storages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// The catalog names the newest copies and the ways to them.
    Catalog,
    /// Nothing: the manifests in the storages do, as for somebody who has the bucket alone.
    Manifests,
}

impl Knowledge {
    /// What `--cold` says.
    pub fn of_cold(is_cold: bool) -> Self {
        match is_cold {
            true => Self::Manifests,
            false => Self::Catalog,
        }
    }
}

/// Why a rehearsal could not be held.
#[derive(Debug, thiserror::Error)]
pub enum RehearseError {
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// There is no place to restore in.
    #[error(
        "no private folder can be made in `{place}`: {cause}\nhint: look for free space and rights"
    )]
    Folder {
        /// Where.
        place: String,
        /// Why not.
        cause: io::Error,
    },
    /// It was asked to end.
    #[error("stopped; nothing was changed")]
    Stopped,
}

/// How a rehearsal ended.
#[derive(Debug)]
pub struct Report {
    /// As the catalog keeps it.
    pub rehearsal: Rehearsal,
    /// Of each database what else there is to say, in the same order.
    pub details: Vec<Details>,
    /// What each storage showed; empty where the catalog named the copies.
    pub storages: Vec<StorageFinding>,
}

/// What is to be said of one database and not kept.
#[derive(Debug, Default)]
pub struct Details {
    /// Table by table; `None` where nothing was restored.
    pub proof: Option<Proof>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// How large the restored database was; 0 where nothing was.
    pub size_bytes: u64,
    /// Whether something stored is damaged or missing, also where another way brought the copy back.
    pub is_damage: bool,
}

impl Report {
    /// Whether something stored is damaged or missing.
    pub fn is_damage(&self) -> bool {
        self.details.iter().any(|details| details.is_damage)
            || self
                .storages
                .iter()
                .any(|storage| !storage.wrong.is_empty())
    }
}

/// A private folder in `parent` for what is restored in a rehearsal; removed with everything in it when dropped.
///
/// # Errors
/// [`RehearseError::Folder`].
pub fn folder(parent: &Path) -> Result<Workshop, RehearseError> {
    Workshop::open(parent, "drill-").map_err(|cause| RehearseError::Folder {
        place: parent.display().to_string(),
        cause,
    })
}

/// Looks for what there is to restore; see [`Plan`].
///
/// # Errors
/// [`RehearseError`]; a storage that does not answer is part of the plan.
pub async fn plan(
    wiring: &Wiring,
    ask: &Ask,
    workshop: &Workshop,
    stop: &CancellationToken,
) -> Result<Plan, RehearseError> {
    let plan = stop.run_until_cancelled(Plan::make(wiring, ask, workshop, stop));
    plan.await.ok_or(RehearseError::Stopped)?
}

/// Restores what was planned, one after the other; [`record`] writes down what came of it. A damage is written to the
/// wiring's catalog at once.
///
/// # Errors
/// [`RehearseError`]; a copy that does not come back is part of the report.
pub async fn run(
    wiring: &Wiring,
    plan: Plan,
    workshop: &Workshop,
    board: &Board,
    stop: &CancellationToken,
) -> Result<Report, RehearseError> {
    let (mut results, mut details) = (Vec::new(), Vec::new());
    for candidate in &plan.candidates {
        let progress = board.of(&candidate.database);
        let attempt = Attempt {
            wiring,
            candidate,
            workshop,
            progress: &progress,
            stop,
        };
        let tried = attempt.run().await;
        progress.enter(Stage::Ended, 0);
        let (result, more) = tried?;
        results.push(result);
        details.push(more);
    }
    let rehearsal = Rehearsal {
        started_at: plan.began.wall,
        duration_ms: millis(wiring.clock.elapsed().saturating_sub(plan.began.elapsed)),
        trigger: plan.ask.trigger,
        is_cold: plan.ask.knowledge == Knowledge::Manifests,
        storage: plan.ask.storage,
        results,
    };
    let report = Report {
        rehearsal,
        details,
        storages: plan.storages,
    };
    tell(&report);
    Ok(report)
}

/// Writes a rehearsal down, and what there is to tell of it.
///
/// # Errors
/// Where the rows cannot be written.
pub fn record(wiring: &Wiring, report: &Report) -> Result<(), CatalogError> {
    let news = news::of(report, wiring.clock.now());
    wiring.catalog.note_rehearsal(&report.rehearsal, &news)
}

fn tell(report: &Report) {
    let rehearsal = &report.rehearsal;
    let (proven, all) = (rehearsal.proven(), rehearsal.results.len());
    let duration_ms = rehearsal.duration_ms;
    tracing::info!(
        databases = all,
        proven,
        duration_ms,
        "rehearsal: {} restored from storage and proven",
        share(proven, all, "database")
    );
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One database's turn.
struct Attempt<'a> {
    wiring: &'a Wiring,
    candidate: &'a Candidate,
    workshop: &'a Workshop,
    progress: &'a Arc<Progress>,
    stop: &'a CancellationToken,
}

/// A way that did not bring the copy back.
struct Failure {
    text: String,
    is_damage: bool,
}

impl Attempt<'_> {
    async fn run(&self) -> Result<(Rehearsed, Details), RehearseError> {
        let began = self.wiring.clock.elapsed();
        let mut result = Rehearsed {
            database: self.candidate.database.clone(),
            outcome: RehearsalOutcome::Absent,
            key: None,
            storage: None,
            read_bytes: 0,
            plain_bytes: 0,
            rows: 0,
            duration_ms: 0,
            message: self.candidate.absence.clone().map(|absence| absence.why),
        };
        let mut details = Details::default();
        match (&self.candidate.copy, &self.candidate.absence) {
            (Some(copy), _) => {
                result.key = Some(copy.manifest.key.clone());
                result.plain_bytes = copy.manifest.plain.size_bytes;
                self.by_any_way(&copy.manifest, &copy.ways, &mut result, &mut details)
                    .await?;
            }
            (None, Some(absence)) => result.outcome = absence.outcome,
            (None, None) => {}
        }
        result.duration_ms = millis(self.wiring.clock.elapsed().saturating_sub(began));
        Ok((result, details))
    }

    /// Tries one way after the other until one brings the copy back.
    async fn by_any_way(
        &self,
        manifest: &Manifest,
        ways: &[Way],
        result: &mut Rehearsed,
        details: &mut Details,
    ) -> Result<(), RehearseError> {
        let mut failures: Vec<Failure> = Vec::new();
        let mut came_back = None;
        for way in ways {
            let tried = self.by(way, manifest).await?;
            result.read_bytes += self.progress.read().bytes;
            match tried {
                Ok(tried) => {
                    came_back = Some((way.store.name().to_owned(), tried));
                    break;
                }
                Err(failure) => failures.push(failure),
            }
        }
        let texts: Vec<&str> = failures.iter().map(|failure| &*failure.text).collect();
        result.message = (!texts.is_empty()).then(|| texts.join("\n"));
        details.is_damage = failures.iter().any(|failure| failure.is_damage);
        result.outcome = match (&came_back, details.is_damage) {
            (Some(_), _) => RehearsalOutcome::Proven,
            (None, true) => RehearsalOutcome::Damaged,
            (None, false) => RehearsalOutcome::Failed,
        };
        if let Some((storage, tried)) = came_back {
            result.storage = Some(storage);
            result.rows = tried.proof.total_rows();
            self.progress.add_rows(result.rows);
            details.warnings = tried.warnings;
            details.size_bytes = tried.size_bytes;
            details.proof = Some(tried.proof);
        }
        Ok(())
    }

    /// Restores by one way. The object is leased meanwhile, so that expiry waits.
    async fn by(
        &self,
        way: &Way,
        manifest: &Manifest,
    ) -> Result<Result<Tried, Failure>, RehearseError> {
        let archive = way.archive.as_ref();
        let object = archive.map_or(&manifest.key, |archive| archive.key());
        let origin = Origin::Stored {
            manifest: Box::new(manifest.clone()),
            ways: vec![way.clone()],
        };
        self.progress.enter(Stage::Drill, origin.stored_bytes());
        let job = Job {
            origin: &origin,
            tables: &[],
            progress: self.progress,
            stop: self.stop,
        };
        let path = self.workshop.path(&format!("{}.db", manifest.database));
        let tried = restore::in_private(&job, path);
        let tried = self.stop.run_until_cancelled(tried);
        let tried = while_leased(self.wiring, std::slice::from_ref(object), "drill", tried).await?;
        Ok(match tried {
            Some(Ok(tried)) => Ok(tried),
            None | Some(Err(RestoreError::Stopped)) => return Err(RehearseError::Stopped),
            Some(Err(error)) => {
                self.note_damage(&error, object, way.store.name())?;
                Err(Failure {
                    is_damage: error.is_damage(),
                    text: error.to_string(),
                })
            }
        })
    }

    /// What is wrong with stored bytes is known from now on, as if `verify` had found it; nothing of the database
    /// expires until a person looked.
    fn note_damage(
        &self,
        error: &RestoreError,
        object: &ObjectKey,
        storage: &str,
    ) -> Result<(), CatalogError> {
        let RestoreError::Unreadable(troubles) = error else {
            return Ok(());
        };
        let (catalog, now) = (&self.wiring.catalog, self.wiring.clock.now());
        if catalog.is_read_only() {
            return Ok(());
        }
        for trouble in troubles {
            let (damage, text) = match trouble {
                ReadingError::Missing(text) => (Damage::Missing, text),
                ReadingError::Damaged(text) => (Damage::Corrupt, text),
                ReadingError::Unread(_) | ReadingError::Sink(_) => continue,
            };
            if is_known(self.wiring, object, storage)? {
                catalog.mark_damaged(object, storage, damage, text, now)?;
                freeze(self.wiring, object, text, now)?;
            }
        }
        Ok(())
    }
}

/// Whether the catalog knows this object in this storage.
fn is_known(wiring: &Wiring, object: &ObjectKey, storage: &str) -> Result<bool, CatalogError> {
    let copy = wiring.catalog.copy(object)?;
    let placements = match copy {
        Some(copy) => copy.placements,
        None => match wiring.catalog.archive(object)? {
            Some(archive) => archive.placements,
            None => return Ok(false),
        },
    };
    Ok(placements.iter().any(|place| place.storage == storage))
}
