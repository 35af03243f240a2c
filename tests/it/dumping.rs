//! Dumps and restores databases for tests, by the ways that a backup and a person take.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use patina::dump::Header;
use patina::engine::drill::{self, DrillError, DumpFile, Trial};
use patina::engine::spool::{Partial, Ready, Writing};
use patina::progress::Progress;
use patina::source::{DumpForm, DumpRequest, Dumped, Look, Source, SourceError, SqliteSource};
use patina::types::{Compression, JobId};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A folder for databases, dumps and scratch files of one test.
pub(crate) struct Workshop {
    folder: TempDir,
}

impl Workshop {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("scratch")).unwrap();
        Self { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The source for the database at `path`, as it is configured.
    pub(crate) fn source(&self, path: &Path) -> SqliteSource {
        SqliteSource::new(path.to_owned(), self.path("scratch"))
    }

    /// Spools a dump of `source` as `name`.
    pub(crate) fn spool(
        &self,
        source: &dyn Source,
        name: &str,
        compression: Compression,
    ) -> Result<(Partial, Dumped), SourceError> {
        let mut writing = Writing::create(&self.path(name), compression).unwrap();
        let request = DumpRequest {
            header: &header(),
            skip_data: &[],
            form: DumpForm::Sql,
            look: Look::ContentAndHealth,
            progress: &Progress::default(),
            stop: &CancellationToken::new(),
        };
        let dumped = source.dump(&request, &mut writing)?;
        Ok((writing.finish()?, dumped))
    }

    /// Dumps the database at `path` as plain text to the file `name`.
    pub(crate) fn dump(&self, path: &Path, name: &str) -> Result<PathBuf, SourceError> {
        let source = self.source(path);
        let (partial, _) = self.spool(&source, &format!("{name}.partial"), Compression::None)?;
        fs::copy(partial.path(), self.path(name)).unwrap();
        Ok(self.path(name))
    }

    /// Takes a spool through the drill.
    pub(crate) fn prove(&self, partial: Partial, dumped: &mut Dumped) -> Result<Ready, DrillError> {
        let witness = dumped.witness.take();
        let trial = Trial {
            evidence: &dumped.evidence,
            class: dumped.class,
            form: DumpForm::Sql,
            exceptions: &dumped.exceptions,
            skip_data: &[],
            scratch: &self.path("drill.db"),
            progress: &Arc::default(),
            stop: &CancellationToken::new(),
        };
        drill::prove(partial, &trial, witness).map(|(ready, _)| ready)
    }

    /// Restores a spool into the new database `name` and keeps that.
    pub(crate) fn restore(&self, partial: &Partial, name: &str) -> Result<PathBuf, DrillError> {
        let into = self.path(name);
        let stop = CancellationToken::new();
        drill::restore(&DumpFile::from(partial), &into, &Arc::default(), &stop)?;
        Ok(into)
    }
}

pub(crate) fn header() -> Header {
    Header {
        agent: "grove".to_owned(),
        database: "torture".parse().unwrap(),
        generated: chrono::Utc::now(),
        job: JobId::random(),
        source: "sqlite torture.db".to_owned(),
    }
}

/// A dump's bytes between header and trailer: all that its content decides.
pub(crate) fn body(dump: &Path) -> Vec<u8> {
    const RULE: &[u8] = b"-- ================================================\n";
    let text = fs::read(dump).unwrap();
    let rules: Vec<usize> = memchr::memmem::find_iter(&text, RULE).collect();
    assert!(rules.len() >= 4, "{}: no header or trailer", dump.display());
    text[rules[1]..rules[rules.len() - 2]].to_vec()
}

/// Where two texts differ first, with what stands there.
#[track_caller]
pub(crate) fn assert_same_text(a: &[u8], b: &[u8], what: &str) {
    let Some(at) = (0..a.len().max(b.len())).find(|&at| a.get(at) != b.get(at)) else {
        return;
    };
    let shown = |text: &[u8]| {
        let from = at.saturating_sub(80).min(text.len());
        text[from..text.len().min(at + 80)]
            .escape_ascii()
            .to_string()
    };
    panic!("{what}: byte {at} differs:\n{}\n{}", shown(a), shown(b));
}
