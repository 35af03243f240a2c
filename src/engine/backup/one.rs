//! Takes one database through steps N1 to N10 of the protocol.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use tokio_util::sync::CancellationToken;

use super::hooks::{self, Decision};
use super::places::Place;
use super::{Outcome, SizeFinding};
use crate::anomaly::Changes;
use crate::catalog::{CatalogError, Run, Spooled};
use crate::config::{CopyMethod, VerifyMode};
use crate::dump::Header;
use crate::engine::commit::Silent;
use crate::engine::drill::{self, DrillError, Trial, Verdict};
use crate::engine::judge;
use crate::engine::spool::{Partial, Ready, Writing};
use crate::engine::state::StateDir;
use crate::excerpt;
use crate::progress::{Progress, Stage};
use crate::source::{DumpForm, DumpRequest, Dumped, Look, SourceError};
use crate::store::StoreError;
use crate::types::{
    BackupDate, ByteCount, CopyForm, MANIFEST_FORMAT, Manifest, ObjectKey, SourceFacts, counted,
};
use crate::wiring::{WiredDatabase, Wiring};

/// The wait before the first retry of an export; it doubles for each next one.
const FIRST_RETRY_DELAY: Duration = Duration::from_secs(1);

/// A drill takes about as long as the export; one that takes this long is stuck.
const DRILL_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// One database's backup in one job.
pub(super) struct Attempt<'a> {
    pub(super) wiring: &'a Wiring,
    pub(super) state: &'a StateDir,
    pub(super) run: &'a Run,
    pub(super) database: &'a WiredDatabase,
    pub(super) progress: &'a Arc<Progress>,
    pub(super) stop: &'a CancellationToken,
    /// The storages that do not answer, as far as this job found out.
    pub(super) silent: &'a Silent,
    /// Its place among the databases that are worked on at once; given back when the copy is in a first storage.
    pub(super) place: &'a Place<'a>,
    pub(super) started_at: DateTime<Utc>,
}

/// Why a database has no new copy.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(
        "the export took longer than {timeout}; it had read {rows}\nhint: raise `timeout` of this database"
    )]
    Timeout { timeout: String, rows: String },
    #[error(transparent)]
    Drill(#[from] DrillError),
    #[error("the drill took longer than {0:?}")]
    DrillTimeout(Duration),
    #[error("the spool cannot be used: {0}")]
    Spool(#[from] std::io::Error),
    #[error(
        "the spool in `{place}` has {free} free, the database has {needed}\nhint: free space, or move `[agent] state`"
    )]
    NoSpace {
        place: String,
        free: ByteCount,
        needed: ByteCount,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{0}\nhint: an image could carry it, and would hold the rows that `skip_data` leaves out: remove `skip_data` of this \
         database, and its copy is an image"
    )]
    NoWay(String),
    #[error("{0}")]
    Aborted(String),
    #[error(
        "`check_size` refuses the copy: {0}\nhint: nothing was stored; the earlier copies are as they were"
    )]
    Size(String),
    #[error("no storage holds the copy: {0}")]
    NotStored(String),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error("the process was asked to stop")]
    Stopped,
    #[error("a worker thread panicked: {0}")]
    Panicked(String),
}

impl Failure {
    /// What keeps SQL text from being a whole copy, where that is what failed.
    fn not_as_sql(&self) -> Option<String> {
        match self {
            Self::Source(error) => error.not_as_sql(),
            Self::Drill(error) => error.not_as_sql(),
            _ => None,
        }
    }
}

/// A copy that the drill proved.
pub(super) struct Made {
    pub(super) ready: Ready,
    dumped: Dumped,
    verdict: Verdict,
    pub(super) form: CopyForm,
    /// Why it has this form, where the configuration left the choice.
    reason: Option<String>,
}

/// What became of it where nothing failed.
enum Done {
    Stored(Box<Manifest>, Vec<String>, SizeFinding, Changes),
    /// A hook left it out, for this reason.
    Skipped(String),
}

impl Attempt<'_> {
    /// Runs all steps; only a catalog that fails is an error, everything else an outcome.
    pub(super) async fn run(&self) -> Result<Outcome, CatalogError> {
        match self.back_up().await {
            Ok(Done::Stored(manifest, degraded, size, changes)) => Ok(Outcome::Stored {
                manifest,
                degraded,
                size,
                changes,
            }),
            Ok(Done::Skipped(reason)) => Ok(Outcome::Skipped { reason }),
            Err(Failure::Catalog(error)) => Err(error),
            Err(_) if self.stop.is_cancelled() => Ok(Outcome::Interrupted),
            Err(failure) => Ok(Outcome::failed(&failure.to_string())),
        }
    }

    async fn back_up(&self) -> Result<Done, Failure> {
        if let Some(reason) = self.ask_before().await? {
            return Ok(Done::Skipped(reason));
        }
        self.check_space()?;
        let made = self.make().await?;
        let key = self
            .choose_key(made.form, made.ready.stored.compression)
            .await?;
        let (ready, mut manifest) = self.manifest(key, made)?;
        let size = match self.check_size(&manifest).await {
            Ok(size) => size,
            Err(failure) => {
                ready.remove()?;
                return Err(failure);
            }
        };
        self.note_spooled(&ready, &manifest)?;
        let changes = judge::changes(self.wiring, &manifest)?;
        let degraded = self.store(ready, &mut manifest, &size, &changes).await?;
        Ok(Done::Stored(Box::new(manifest), degraded, size, changes))
    }

    /// N5: a restart goes on with it.
    fn note_spooled(&self, ready: &Ready, manifest: &Manifest) -> Result<(), CatalogError> {
        self.run.spooled(&self.spooled(ready, manifest))
    }

    pub(super) fn spooled(&self, ready: &Ready, manifest: &Manifest) -> Spooled {
        Spooled {
            database: self.database.config.name.clone(),
            path: ready.path().to_owned(),
            manifest: manifest.clone(),
            created_at: self.wiring.clock.now(),
        }
    }

    /// Asks `before_backup`. `Some`: it leaves the database out, and why.
    async fn ask_before(&self) -> Result<Option<String>, Failure> {
        let decision = tokio::select! {
            decision = hooks::before_backup(self.wiring, self.database) => decision?,
            () = self.stop.cancelled() => return Err(Failure::Stopped),
        };
        match decision {
            Decision::Continue(trouble) => {
                let name = &self.database.config.name;
                hooks::tell(self.run, Some(name), trouble)?;
                Ok(None)
            }
            Decision::Skip(reason) => Ok(Some(reason)),
            Decision::Abort(message) => Err(Failure::Aborted(message)),
        }
    }

    /// Asks `check_size`. What it answers goes with the outcome; the built-in rule is asked where it says so.
    async fn check_size(&self, manifest: &Manifest) -> Result<SizeFinding, Failure> {
        let checked = tokio::select! {
            checked = hooks::check_size(self.wiring, self.database, manifest) => checked?,
            () = self.stop.cancelled() => return Err(Failure::Stopped),
        };
        let (finding, trouble) = checked.map_err(Failure::Size)?;
        hooks::tell(self.run, Some(&self.database.config.name), trouble)?;
        Ok(finding)
    }

    /// N1: refuses early what the disk cannot hold.
    fn check_space(&self) -> Result<(), Failure> {
        let Some(needed) = self.database.source.size_hint_bytes() else {
            return Ok(());
        };
        let free = self.state.free_bytes()?;
        if free < needed {
            return Err(Failure::NoSpace {
                place: self.state.spool().display().to_string(),
                free: ByteCount(free),
                needed: ByteCount(needed),
            });
        }
        Ok(())
    }

    /// N2 to N4, in the form that the configuration wants, or in one that carries everything.
    async fn make(&self) -> Result<Made, Failure> {
        let wanted = match self.database.source.has_image() {
            true => self.database.config.form,
            false => CopyMethod::Sql,
        };
        match wanted {
            CopyMethod::Sql => self.make_as(DumpForm::Sql).await,
            CopyMethod::Image => self.make_as(DumpForm::Image).await,
            CopyMethod::Auto => match self.make_as(DumpForm::WholeSql).await {
                Err(failure) => match failure.not_as_sql() {
                    Some(why) => self.make_otherwise(why, failure).await,
                    None => Err(failure),
                },
                made => made,
            },
        }
    }

    /// What SQL text cannot carry goes into an image; or is an exception, where an image would hold rows that the
    /// configuration leaves out.
    async fn make_otherwise(&self, why: String, failure: Failure) -> Result<Made, Failure> {
        let name = &self.database.config.name;
        if self.stop.is_cancelled() {
            return Err(failure);
        }
        if !self.database.config.skip_data.is_empty() {
            tracing::debug!(database = %name, "{name}: an image would hold what `skip_data` names: {why}");
            let made = self.make_as(DumpForm::Sql).await;
            return made.map_err(|failure| match failure.not_as_sql() {
                Some(why) => Failure::NoWay(excerpt::split_hint(&why).0.to_owned()),
                None => failure,
            });
        }
        tracing::debug!(database = %name, "{name}: an image is taken: {why}");
        let made = self.make_as(DumpForm::Image).await?;
        Ok(Made {
            reason: Some(excerpt::split_hint(&why).0.to_owned()),
            ..made
        })
    }

    async fn make_as(&self, form: DumpForm) -> Result<Made, Failure> {
        let (partial, mut dumped) = self.export_with_retries(form).await?;
        let (ready, verdict) = self.prove(partial, &mut dumped, form).await?;
        Ok(Made {
            ready,
            dumped,
            verdict,
            form: match form {
                DumpForm::Image => CopyForm::Image,
                DumpForm::WholeSql | DumpForm::Sql => CopyForm::Sql,
            },
            reason: None,
        })
    }

    /// N2 and N3, again where the source says that another try may help.
    async fn export_with_retries(&self, form: DumpForm) -> Result<(Partial, Dumped), Failure> {
        let mut delay = FIRST_RETRY_DELAY;
        let mut retries_left = self.database.config.export.retries;
        loop {
            match self.export(form).await {
                Err(Failure::Source(error)) if error.is_retryable() && retries_left > 0 => {
                    let name = &self.database.config.name;
                    tracing::warn!(database = %name, retries_left, "{name}: {error}; tried again soon");
                    retries_left -= 1;
                    tokio::select! {
                        () = self.wiring.clock.sleep(delay) => {}
                        () = self.stop.cancelled() => return Err(Failure::Stopped),
                    }
                    delay *= 2;
                }
                other => return other,
            }
        }
    }

    async fn export(&self, form: DumpForm) -> Result<(Partial, Dumped), Failure> {
        self.progress.enter(Stage::Export, 0);
        let path = self.file("partial");
        let compression = self.database.config.export.compression;
        let header = self.header();
        let source = Arc::clone(&self.database.source);
        let skip_data = self.database.config.skip_data.clone();
        let look = match self.database.config.export.verify {
            VerifyMode::Restore => Look::ContentAndHealth,
            // Nothing is restored that it could be held against.
            VerifyMode::Checksum => Look::Nothing,
        };
        let progress = Arc::clone(self.progress);
        let stop = self.stop.child_token();
        let work = tokio::task::spawn_blocking({
            let stop = stop.clone();
            move || -> Result<(Partial, Dumped), Failure> {
                let mut writing = Writing::create(&path, compression)?.counting(progress.clone());
                let request = DumpRequest {
                    header: &header,
                    skip_data: &skip_data,
                    form,
                    look,
                    progress: &progress,
                    stop: &stop,
                };
                let dumped = source.dump(&request, &mut writing)?;
                Ok((writing.finish()?, dumped))
            }
        });
        let timeout = self.database.config.export.timeout;
        self.within(timeout, &stop, work).await?.unwrap_or_else(|| {
            Err(Failure::Timeout {
                timeout: humantime::format_duration(timeout).to_string(),
                rows: counted(self.progress.read().rows, "row"),
            })
        })
    }

    /// N4: the drill.
    async fn prove(
        &self,
        partial: Partial,
        dumped: &mut Dumped,
        form: DumpForm,
    ) -> Result<(Ready, Verdict), Failure> {
        self.progress.enter(Stage::Drill, partial.plain.size_bytes);
        let mode = self.database.config.export.verify;
        let scratch = self.file("scratch");
        let (evidence, class) = (dumped.evidence.clone(), dumped.class);
        let (exceptions, witness) = (dumped.exceptions.clone(), dumped.witness.take());
        let skip_data = self.database.config.skip_data.clone();
        let partial = partial.of_source(self.database.source.database_bytes());
        let progress = Arc::clone(self.progress);
        let stop = self.stop.child_token();
        let work = tokio::task::spawn_blocking({
            let stop = stop.clone();
            move || {
                let trial = Trial {
                    evidence: &evidence,
                    class,
                    form,
                    exceptions: &exceptions,
                    skip_data: &skip_data,
                    scratch: &scratch,
                    progress: &progress,
                    stop: &stop,
                };
                match mode {
                    VerifyMode::Restore => drill::prove(partial, &trial, witness),
                    VerifyMode::Checksum => {
                        let ready = drill::check_only(partial, &trial)?;
                        Ok((ready, Verdict::unchecked(exceptions)))
                    }
                }
            }
        });
        // What may be read for longer may be restored for as long.
        let timeout = DRILL_TIMEOUT.max(self.database.config.export.timeout);
        let proven = self.within(timeout, &stop, work).await?;
        let proven = proven.ok_or(Failure::DrillTimeout(timeout))?;
        Ok(proven?)
    }

    /// Waits for blocking work; past `timeout` it is asked to stop, waited for, and gives `None`. Waiting for what all
    /// databases share is not counted.
    async fn within<T>(
        &self,
        timeout: Duration,
        stop: &CancellationToken,
        mut work: tokio::task::JoinHandle<T>,
    ) -> Result<Option<T>, Failure> {
        let clock = &self.wiring.clock;
        let began = clock.elapsed();
        let waited_before = self.progress.waits().until(began);
        let mut left = timeout;
        while !left.is_zero() {
            tokio::select! {
                done = &mut work => {
                    return done.map(Some).map_err(|error| Failure::Panicked(error.to_string()));
                }
                () = clock.sleep(left) => {}
            }
            let now = clock.elapsed();
            let waited = self
                .progress
                .waits()
                .until(now)
                .saturating_sub(waited_before);
            left = (timeout + waited).saturating_sub(now.saturating_sub(began));
        }
        stop.cancel();
        // It may have ended just now; what it made is then dropped, and with it its files.
        let _ = work.await;
        Ok(None)
    }

    fn manifest(&self, key: ObjectKey, made: Made) -> Result<(Ready, Manifest), Failure> {
        let Made {
            ready,
            dumped,
            verdict,
            form,
            reason,
        } = made;
        let facts = self.database.source.facts();
        let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Millis, true);
        let manifest = Manifest {
            format: MANIFEST_FORMAT,
            instance: self.wiring.catalog.instance()?,
            key,
            database: self.database.config.name.clone(),
            date: self.date(),
            zone: self.wiring.config.agent().timezone.name().to_owned(),
            job: self.run.id(),
            source: SourceFacts {
                bookmark: dumped.bookmark,
                method: match form {
                    CopyForm::Image => Some("image".to_owned()),
                    CopyForm::Sql => facts.method.clone(),
                },
                method_reason: reason,
                ..facts
            },
            started_at: text(self.started_at),
            completed_at: text(self.wiring.clock.now()),
            plain: ready.plain,
            stored: ready.stored,
            database_bytes: ready.database_bytes,
            evidence: dumped.evidence,
            class: verdict.class,
            check: verdict.check,
            exceptions: verdict.exceptions,
            incomplete: dumped.incomplete,
            warnings: [dumped.warnings, ready.warnings.clone()].concat(),
            sqlite_version: drill::sqlite_version().to_owned(),
            patina_version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok((ready, manifest))
    }

    fn header(&self) -> Header {
        let facts = self.database.source.facts();
        Header {
            agent: self.wiring.config.agent().name.clone(),
            database: self.database.config.name.clone(),
            generated: self.started_at,
            job: self.run.id(),
            source: format!("{} {}", facts.kind, facts.id),
        }
    }

    /// The day this copy stands for.
    pub(super) fn date(&self) -> BackupDate {
        let zone = self.wiring.config.agent().timezone;
        BackupDate(self.started_at.with_timezone(&zone).date_naive())
    }

    fn file(&self, extension: &str) -> std::path::PathBuf {
        let name = &self.database.config.name;
        self.state
            .spool()
            .join(format!("{}-{name}.{extension}", self.run.id()))
    }
}
