//! Backs up databases of the real D1 engine, over the REST API, and holds the copies against them.

mod changes;
mod crosscheck;
pub(crate) mod engine;
pub(crate) mod export;
mod export_faults;
mod export_kill;
mod faults;
pub(crate) mod proxy;
mod to_s3;
mod torture;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::DateTime;
use patina::clock::{Clock, ManualClock};
use patina::config::{Cloudflare, D1Method};
use patina::dump::Header;
use patina::engine::{drill, spool};
use patina::progress::Progress;
use patina::source::d1::{Client, D1Source};
use patina::source::{DumpForm, DumpRequest, Dumped, Look, Source, SourceError};
use patina::types::{Compression, JobId};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use engine::Engine;

/// A folder, and what is dumped into it.
struct Bench {
    folder: TempDir,
    clock: Arc<ManualClock>,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            clock: Arc::new(ManualClock::at(DateTime::UNIX_EPOCH)),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, account: &Cloudflare) -> Client {
        let clock: Arc<dyn Clock> = self.clock.clone();
        Client::new(account, clock).unwrap()
    }

    /// The database `id` of `engine`, without anything in between.
    fn source(&self, engine: &Engine, id: &str) -> D1Source {
        let client = self.client(&engine.account(engine.url()));
        self.source_of(client, engine, id)
    }

    /// The same by Cloudflare's own export, through `client`.
    fn export_of(&self, client: Client, engine: &Engine, id: &str) -> D1Source {
        self.source_by(D1Method::Export, client, engine, id)
    }

    fn source_of(&self, client: Client, engine: &Engine, id: &str) -> D1Source {
        self.source_by(D1Method::Raw, client, engine, id)
    }

    fn source_by(&self, method: D1Method, client: Client, engine: &Engine, id: &str) -> D1Source {
        let runtime = engine.runtime().handle().clone();
        let scratch = self.folder.path().to_owned();
        D1Source::new(Arc::new(client), id.to_owned(), method, scratch, runtime)
    }

    /// What dumps and drills left behind.
    fn scratch_left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let is_made_by_a_test = |name: &String| name.ends_with(".sql") || name.ends_with(".db");
        names
            .filter(|name| !is_made_by_a_test(name) || name.starts_with("scratch"))
            .collect()
    }

    /// Dumps into `dump.sql`, proves it by a drill, and gives what was dumped, with the class and the exceptions that the
    /// proof left.
    fn dump(&self, source: &dyn Source) -> Result<Dumped, SourceError> {
        self.dump_without(source, &[])
    }

    fn dump_without(
        &self,
        source: &dyn Source,
        skip_data: &[String],
    ) -> Result<Dumped, SourceError> {
        let header = Header {
            agent: "test".to_owned(),
            database: "d1".parse().unwrap(),
            generated: DateTime::UNIX_EPOCH,
            job: JobId::random(),
            source: "d1".to_owned(),
        };
        let stop = CancellationToken::new();
        let progress = Arc::<Progress>::default();
        let request = DumpRequest {
            header: &header,
            skip_data,
            form: DumpForm::Sql,
            look: Look::ContentAndHealth,
            progress: &progress,
            stop: &stop,
        };
        let spool = self.path("spool.partial");
        let mut writing = spool::Writing::create(&spool, Compression::None).unwrap();
        let mut dumped = source.dump(&request, &mut writing)?;
        let witness = dumped.witness.take();
        let partial = writing.finish().unwrap();
        let trial = drill::Trial {
            evidence: &dumped.evidence,
            class: dumped.class,
            form: DumpForm::Sql,
            exceptions: &dumped.exceptions,
            skip_data,
            scratch: &self.path("scratch.db"),
            progress: &progress,
            stop: &stop,
        };
        fs::copy(&spool, self.path("dump.sql")).unwrap();
        let (ready, verdict) = drill::prove(partial, &trial, witness).unwrap();
        ready.remove().unwrap();
        Ok(Dumped {
            class: verdict.class,
            exceptions: verdict.exceptions,
            ..dumped
        })
    }
}

/// Asserts that two databases hold the same.
#[track_caller]
fn same(a: &Path, b: &Path) {
    let differences = crate::torture::compare(a, b);
    assert!(differences.is_empty(), "{differences:#?}");
}
