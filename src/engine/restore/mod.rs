//! Brings a copy back: into a file, into D1, or for a look at it. Invariant: a target is touched only after the copy
//! was made a database in private and held against its manifest there.

mod cloud;
pub mod diff;
mod error;
mod image;
mod loading;
mod making;
mod merge;
mod origin;
mod papers;
mod proof;
pub mod query;
mod rows;
mod sieve;
mod target;
mod workshop;

use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};

pub use cloud::{Cloud, to_d1};
pub use error::RestoreError;
pub use making::Job;
pub use origin::Origin;
pub use proof::{Basis, Proof, TableProof, Verdict};
pub use rows::{Changes, KeyKind, TableDifference};
pub use target::{Overwrite, Target};
pub use workshop::Workshop;

use self::making::{Made, make, size_of};
use self::merge::merge;
use self::origin::on_thread;

/// What was restored.
#[derive(Debug)]
pub struct Restored {
    /// Table by table.
    pub proof: Proof,
    /// Where what was there before is kept.
    pub safety_copy: Option<PathBuf>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// How large the restored database is.
    pub size_bytes: u64,
}

/// A copy that was restored in private.
#[derive(Debug)]
pub struct Tried {
    /// Table by table.
    pub proof: Proof,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// How large the restored database was.
    pub size_bytes: u64,
}

/// Restores at `path`, where nothing of value may be, proves what came out, and removes it again: a trial without a
/// target.
///
/// # Errors
/// [`RestoreError`].
pub async fn in_private(job: &Job<'_>, path: PathBuf) -> Result<Tried, RestoreError> {
    let made = make(job, path.clone()).await;
    let size_bytes = size_of(&path);
    // The next one would remove it, too.
    let _ = std::fs::remove_file(&path);
    made.map(|made| Tried {
        proof: made.proof,
        warnings: made.warnings,
        size_bytes,
    })
}

/// Restores into the file `target`: a new database, or one that takes the place of what is there. With tables named
/// and a database there, they are put into that one and the rest of it stays.
///
/// # Errors
/// [`RestoreError`]; the target is then as it was.
pub async fn to_file(
    job: &Job<'_>,
    target: &Path,
    overwrite: Overwrite,
    now: DateTime<Utc>,
) -> Result<Restored, RestoreError> {
    let target = Target::claim(target)?;
    let is_merge = !job.tables.is_empty() && target.held().is_some();
    match is_merge {
        true => merge::permit(&target, job.tables, overwrite)?,
        false => target.permit(overwrite)?,
    }
    let workshop = target.workshop()?;
    let made = make(job, workshop.path("new.db")).await?;
    let stop = job.stop.clone();
    on_thread(move || {
        let Made {
            mut path,
            mut proof,
            warnings,
            ..
        } = made;
        if is_merge {
            (path, proof) = merge(&path, proof, &target, &workshop, &stop)?;
        }
        if stop.is_cancelled() {
            return Err(RestoreError::Stopped);
        }
        let size_bytes = size_of(&path);
        let safety_copy = target.keep(&workshop, now)?;
        target.put(&path)?;
        Ok(Restored {
            proof,
            safety_copy,
            warnings,
            size_bytes,
        })
    })
    .await
}
