//! The only file of these tests that touches Patina: copies one database, proves the copy, and restores it.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patina::engine::drill::{self, DumpFile, Trial};
use patina::engine::spool::Writing;
use patina::progress::Progress;
use patina::source::{DumpRequest, Source, SqliteSource};
use patina::types::Compression;
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

/// Copies the database at `source`, proves the copy, and restores it; everything made lies in the folder `work`.
pub(super) fn protect(source: &Path, work: &Path) -> Outcome {
    match copy_and_restore(source, work) {
        Ok(copied) => Outcome::Copied(copied),
        Err(message) => Outcome::Refused(message),
    }
}

fn copy_and_restore(source: &Path, work: &Path) -> Result<Copied, String> {
    let stop = CancellationToken::new();
    let (scratch, spool) = (work.join("scratch"), work.join("spool.sql"));
    fs::create_dir_all(&scratch).map_err(text)?;
    let mut writing = Writing::create(&spool, Compression::None).map_err(text)?;
    let source = SqliteSource::new(source.to_owned(), scratch);
    let request = DumpRequest {
        header: &header(),
        skip_data: &[],
        progress: &Progress::default(),
        stop: &stop,
    };
    let dumped = source.dump(&request, &mut writing).map_err(text)?;
    let partial = writing.finish().map_err(text)?;
    let (plain, stored) = (partial.plain, partial.stored);
    let trial = Trial {
        evidence: &dumped.evidence,
        class: dumped.class,
        skip_data: &[],
        scratch: &work.join("drill.db"),
        progress: &Arc::default(),
        stop: &stop,
    };
    let ready = drill::prove(partial, &trial).map_err(text)?;
    let restored = work.join("restored.db");
    let dump = DumpFile {
        path: ready.path(),
        plain,
        stored,
    };
    drill::restore(&dump, &restored, &Arc::default(), &stop).map_err(text)?;
    let sql = work.join("copy.sql");
    keep(ready.path(), &sql).map_err(text)?;
    Ok(Copied {
        restored,
        class: format!("{:?}", dumped.class),
        exceptions: Vec::new(),
        is_image: false,
        sql: Some(sql),
    })
}

fn keep(from: &Path, to: &Path) -> io::Result<()> {
    io::copy(&mut File::open(from)?, &mut File::create(to)?).map(drop)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}
