//! The only file of these tests that touches Patina: copies one database, proves the copy, and restores it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patina::engine::drill::{self, DumpFile, Trial};
use patina::engine::spool::Writing;
use patina::progress::Progress;
use patina::source::{DumpForm, DumpRequest, Look, Source, SqliteSource};
use patina::types::{self, Compression};
use tokio_util::sync::CancellationToken;

use crate::dumping::header;

/// What became of one database.
pub(super) enum Outcome {
    Copied(Copied),
    /// The whole message, with its hint.
    Refused(String),
}

/// A copy that was proven and restored.
pub(super) struct Copied {
    pub(super) restored: PathBuf,
    /// The letter of its evidence class.
    pub(super) class: String,
    pub(super) exceptions: Vec<Exception>,
    pub(super) is_image: bool,
    /// The dump's text; `None` for an image.
    pub(super) sql: Option<PathBuf>,
}

/// Something that the copy is declared not to carry, or not to carry equal.
#[derive(Debug, Clone)]
pub(super) struct Exception {
    pub(super) object: String,
    pub(super) kind: String,
    pub(super) reason: String,
}

/// Copies the database at `source`, proves the copy, and restores it; everything made lies in the folder `work`. SQL text
/// where that carries everything, else an image, as `method = "auto"` does.
pub(super) fn protect(source: &Path, work: &Path) -> Outcome {
    let trial = match copy_and_restore(source, work, DumpForm::WholeSql) {
        Err((_, true)) => copy_and_restore(source, work, DumpForm::Image),
        other => other,
    };
    match trial {
        Ok(copied) => Outcome::Copied(copied),
        Err((message, _)) => Outcome::Refused(message),
    }
}

/// The error comes with whether an image may do what SQL text cannot.
fn copy_and_restore(source: &Path, work: &Path, form: DumpForm) -> Result<Copied, (String, bool)> {
    let stop = CancellationToken::new();
    let (scratch, spool) = (work.join("scratch"), work.join("spool.partial"));
    fs::create_dir_all(&scratch).map_err(text)?;
    let mut writing = Writing::create(&spool, Compression::None).map_err(text)?;
    let source = SqliteSource::new(source.to_owned(), scratch);
    let request = DumpRequest {
        header: &header(),
        skip_data: &[],
        form,
        look: Look::ContentAndHealth,
        progress: &Progress::default(),
        stop: &stop,
    };
    let dumped = source.dump(&request, &mut writing);
    let mut dumped = dumped.map_err(|error| (error.to_string(), error.not_as_sql().is_some()))?;
    let partial = writing.finish().map_err(text)?;
    let (plain, stored) = (partial.plain, partial.stored);
    let witness = dumped.witness.take();
    let trial = Trial {
        evidence: &dumped.evidence,
        class: dumped.class,
        form,
        exceptions: &dumped.exceptions,
        skip_data: &[],
        scratch: &work.join("drill.db"),
        progress: &Arc::default(),
        stop: &stop,
    };
    let proven = drill::prove(partial, &trial, witness);
    let (ready, verdict) =
        proven.map_err(|error| (error.to_string(), error.not_as_sql().is_some()))?;
    let restored = work.join("restored.db");
    let dump = DumpFile {
        path: ready.path(),
        plain,
        stored,
    };
    let is_image = form == DumpForm::Image;
    match is_image {
        true => drill::restore_image(&dump, &restored, &stop).map_err(text)?,
        false => drill::restore(&dump, &restored, &Arc::default(), &stop).map_err(text)?,
    }
    let copy = work.join("copy.sql");
    keep(ready.path(), &copy).map_err(text)?;
    ready.remove().map_err(text)?;
    let exception = |exception: &types::Exception| Exception {
        object: exception.object.clone(),
        kind: format!("{:?}", exception.kind),
        reason: exception.reason.clone(),
    };
    Ok(Copied {
        restored,
        class: format!("{:?}", verdict.class),
        exceptions: verdict.exceptions.iter().map(exception).collect(),
        is_image,
        sql: (!is_image).then_some(copy),
    })
}

fn keep(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut File::open(from)?, &mut File::create(to)?).map(drop)
}

fn text(error: impl std::fmt::Display) -> (String, bool) {
    (error.to_string(), false)
}
