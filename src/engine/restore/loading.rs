//! Loads a copy, or the rows of some of its tables, into a private database without proving the result: for a look.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use super::error::RestoreError;
use super::image;
use super::making::{Job, UNKNOWN_TEXT_BYTES};
use super::origin::Feed;
use super::papers::Papers;
use super::sieve::Sieve;
use crate::engine::drill::{Place, Statements};
use crate::progress::Progress;

/// Loads the copy of `job` at `path`; only the rows of `wanted`, where that is given. The text is proven whole.
pub(super) async fn load(
    job: &Job<'_>,
    path: PathBuf,
    wanted: Option<Vec<String>>,
) -> Result<(), RestoreError> {
    let papers = Papers::of(job.origin);
    let text_bytes = job.origin.text_bytes().unwrap_or(UNKNOWN_TEXT_BYTES);
    let database_bytes = job.origin.database_bytes();
    let stop = job.stop.clone();
    let work = move |feed: Feed| {
        // A way that was given up may have left one.
        let _ = fs::remove_file(&path);
        if let Some(manifest) = papers.image() {
            return image::unpack(feed, &path, manifest, &stop);
        }
        let unseen = Arc::<Progress>::default();
        let mut statements = Statements::over(feed.text, feed.compression, &unseen)?;
        let mut sieve = Sieve::new(wanted.as_deref());
        let place = Place {
            path: &path,
            text_bytes,
            database_bytes,
            stop: &stop,
        };
        drop(place.load(&mut statements, |_, statement| Ok(sieve.step(statement)))?);
        let summary = papers.summary(statements, sieve.is_ours())?;
        papers.manifest_of(summary.as_ref()).map(drop)
    };
    let mut troubles = Vec::new();
    job.origin.read(job.progress, &mut troubles, work).await?;
    for trouble in troubles {
        tracing::warn!("{trouble}");
    }
    Ok(())
}
