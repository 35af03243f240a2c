//! Makes a private database of an image: its bytes, and nothing of it executed. Invariant: its pages are those that were
//! backed up, or it is an error.

use std::io::Read;
use std::path::Path;

use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::origin::Feed;
use crate::crosscheck::page_digest;
use crate::dump::decoder;
use crate::engine::drill::{DrillError, load_image, open_image};
use crate::types::{EvidenceClass, Manifest};

/// Writes the image of `feed` to `path` and holds it against its manifest.
pub(super) fn unpack(
    feed: Feed,
    path: &Path,
    manifest: &Manifest,
    stop: &CancellationToken,
) -> Result<(), RestoreError> {
    let image =
        decoder(feed.compression, feed.text).map_err(|error| RestoreError::target(path, &error))?;
    // One byte more shows an image that is too long; a few bytes can become any number.
    let image = image.take(manifest.plain.size_bytes.saturating_add(1));
    let found = load_image(image, path, stop)?;
    let differs = |what: &str| {
        let text = format!("`{}` has {what} than its manifest says", manifest.key);
        RestoreError::Dump(DrillError::Spool(text))
    };
    if found != manifest.plain {
        return Err(differs("another SHA-256"));
    }
    let Some(check) = &manifest.check else {
        return Ok(());
    };
    let digest = open_image(path, stop).and_then(|connection| page_digest(&connection));
    let digest = digest.map_err(|error| RestoreError::sqlite(path, &error))?;
    match digest.digest == check.digest {
        true => Ok(()),
        false => Err(differs("other pages")),
    }
}

/// What a person should know of a database that came back as an image.
pub(super) fn warnings(manifest: &Manifest) -> Vec<String> {
    let exceptions = manifest.exceptions.iter();
    let mut warnings: Vec<String> = exceptions
        .map(|exception| format!("as in the source, {exception}"))
        .collect();
    if manifest.class == EvidenceClass::S {
        let text = "the copy is suspect: its source was damaged when it was taken; `sqlite3 FILE .recover` saves what can \
                    be read";
        warnings.push(text.to_owned());
    }
    warnings
}
