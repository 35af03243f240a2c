//! Packs the week: every good copy that no archive holds yet goes into one. Invariant: an archive counts only after it
//! was opened again, and every member in it was right.

mod members;

use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Datelike, SecondsFormat, TimeDelta, Utc};
use tokio_util::sync::CancellationToken;

use self::members::{Draft, Source, Written, leave_out, write};
use super::commit::{Proven, commit, is_read_whole};
use super::spool::hash_file;
use super::state::StateDir;
use crate::archive::{self, ArchiveError};
use crate::catalog::{
    CatalogError, CommittedArchive, Event, EventKind, JobStatus, News, Packed, Raised, StoredCopy,
    WEEKLY,
};
use crate::config::AlertLevel;
use crate::excerpt;
use crate::guide::Runbook;
use crate::progress::{Progress, Stage};
use crate::types::{
    ArchiveManifest, BackupDate, ByteCount, IsoWeek, JobId, LeftOut, ObjectKey, counted, either,
};
use crate::wiring::Wiring;

/// A backup that runs for longer hangs, and does not hold the archive up. Spec, "Timing Dependencies".
pub const LONGEST_NIGHT: TimeDelta = TimeDelta::hours(2);

/// So many of the last jobs are looked at for one that still runs.
const JOBS_LOOKED_AT: usize = 100;

/// No archive takes longer; where a process dies over one, expiry waits for its members no longer than this.
const LEASE: TimeDelta = TimeDelta::hours(12);

/// Who leases an archive's members. Packing is done under the state's lock alone.
pub(super) const HOLDER: &str = "pack";

/// How much is read from and written to a file at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// What a run did.
#[derive(Debug)]
pub enum Outcome {
    /// An archive is stored.
    Packed {
        /// Its commit record.
        manifest: Box<ArchiveManifest>,
        /// What went wrong with single storages, although others hold it.
        degraded: Vec<String>,
    },
    /// Nothing was packed, and nothing is lost by it.
    Skipped(Skip),
}

/// Why nothing was packed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Skip {
    /// A backup is running; the next archive takes this week, too.
    #[error("a backup is running since {since}: the next archive takes this week, too")]
    Running {
        /// When it started.
        since: String,
    },
    /// No good copy up to the Sunday is outside of an archive.
    #[error("no good copy of {sunday} or before waits for an archive")]
    NothingNew {
        /// The last day that was looked at.
        sunday: BackupDate,
    },
    /// The week has its archive; what came later goes into the next one.
    #[error("{week} has its archive; {left} later copies go into the next one")]
    AlreadyPacked {
        /// The week.
        week: IsoWeek,
        /// How many copies wait.
        left: usize,
    },
}

/// Why a week is not packed.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    /// The catalog cannot be read or written.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The archive could not be written or is not right.
    #[error(
        "the archive of {week}: {cause}\nhint: nothing was stored; the daily copies are untouched"
    )]
    Archive {
        /// The week.
        week: IsoWeek,
        /// What happened.
        cause: ArchiveError,
    },
    /// None of the copies can be read.
    #[error(
        "of {} of {week}, none can be read: {first}\nhint: they are untouched; `patina verify` looks at each",
        counted(*count, "copy")
    )]
    NothingReadable {
        /// The week.
        week: IsoWeek,
        /// How many there are.
        count: usize,
        /// What is wrong with the first.
        first: String,
    },
    /// No storage took it.
    #[error(
        "no storage holds the archive of {week}: {why}\nhint: the daily copies are untouched; `patina archive` tries again"
    )]
    NotStored {
        /// The week.
        week: IsoWeek,
        /// What each said.
        why: String,
    },
    /// Something else has that week's key.
    #[error(
        "the archive of {week} is not stored: something else lies under its key, such as that of another installation\n\
         hint: the daily copies are untouched; give this installation a second `[[storage]]` of its own, with another \
         `prefix`, `bucket` or `directory`, beside this one: then `patina archive`"
    )]
    Taken {
        /// The week.
        week: IsoWeek,
    },
    /// The process was told to end.
    #[error("the process was asked to stop")]
    Stopped,
    /// A thread panicked.
    #[error("a worker thread panicked: {0}")]
    Panicked(String),
}

/// Packs every good copy up to the last Sunday that no verified archive holds.
///
/// # Errors
/// [`PackError`]; nothing counts then, and no copy is touched.
pub async fn run(
    wiring: &Wiring,
    state: &StateDir,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Outcome, PackError> {
    let sunday = last_sunday(wiring);
    let members = wiring.catalog.unarchived(sunday)?;
    if let Some(skip) = skip(wiring, sunday, members.len())? {
        return Ok(Outcome::Skipped(skip));
    }
    let keys: Vec<ObjectKey> = members.iter().map(|copy| copy.key().clone()).collect();
    let until = wiring.clock.now() + LEASE;
    let lease = wiring.catalog.lease(&keys, HOLDER, until)?;
    let packed = pack(wiring, state, sunday.week(), members, progress, stop).await;
    wiring.catalog.release(lease, wiring.clock.now())?;
    packed
}

/// The last day of the week that ends today or ended last.
fn last_sunday(wiring: &Wiring) -> BackupDate {
    let zone = wiring.config.agent().timezone;
    let today = BackupDate(wiring.clock.now().with_timezone(&zone).date_naive());
    today.minus_days(u64::from(today.0.weekday().num_days_from_sunday()))
}

/// W0: why there is nothing to do now.
fn skip(wiring: &Wiring, sunday: BackupDate, found: usize) -> Result<Option<Skip>, CatalogError> {
    let (catalog, now, week) = (&wiring.catalog, wiring.clock.now(), sunday.week());
    let jobs = catalog.jobs(JOBS_LOOKED_AT)?;
    let running = jobs
        .iter()
        .find(|job| job.status == JobStatus::Running && now - job.started_at < LONGEST_NIGHT);
    if let Some(job) = running {
        return skip_running(wiring, job.started_at).map(Some);
    }
    if found == 0 {
        return Ok(Some(Skip::NothingNew { sunday }));
    }
    let has_archive = catalog.archive(&ObjectKey::weekly(week))?.is_some();
    Ok(has_archive.then_some(Skip::AlreadyPacked { week, left: found }))
}

/// Leaves the week out as a backup runs since `since`, and tells so.
///
/// # Errors
/// Where the catalog cannot be written.
pub fn skip_running(wiring: &Wiring, since: DateTime<Utc>) -> Result<Skip, CatalogError> {
    let week = last_sunday(wiring).week();
    let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
    let skip = Skip::Running { since };
    let message = format!("{week} was not packed: {skip}");
    tell_skipped(wiring, week, AlertLevel::Warning, message)?;
    Ok(skip)
}

/// Tells that a week has no archive because of an error; not where the process was told to end, nor where the catalog
/// failed that would take the words.
///
/// # Errors
/// Where the catalog cannot be written.
pub fn tell_failed(wiring: &Wiring, error: &PackError) -> Result<(), CatalogError> {
    if matches!(error, PackError::Stopped | PackError::Catalog(_)) {
        return Ok(());
    }
    let week = last_sunday(wiring).week();
    let message = format!("{week} was not packed: {error}");
    tell_skipped(wiring, week, AlertLevel::Critical, message)
}

fn tell_skipped(
    wiring: &Wiring,
    week: IsoWeek,
    severity: AlertLevel,
    message: String,
) -> Result<(), CatalogError> {
    let event = event(wiring, EventKind::WeeklySkipped, severity, message);
    let raised = Raised {
        details: vec![week.to_string()],
        ..Raised::once(event, WEEKLY)
    };
    let news = News {
        raised: vec![raised],
        ..News::default()
    };
    wiring.catalog.announce(&news).map(drop)
}

fn event(wiring: &Wiring, kind: EventKind, severity: AlertLevel, message: String) -> Event {
    Event {
        kind,
        severity,
        database: None,
        message,
        at: wiring.clock.now(),
    }
}

async fn pack(
    wiring: &Wiring,
    state: &StateDir,
    week: IsoWeek,
    copies: Vec<StoredCopy>,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Result<Outcome, PackError> {
    let (job, started_at) = (JobId::random(), now_text(wiring));
    let file = Unproven(state.spool().join(format!("{job}-{week}.partial")));
    let mut sources: Vec<Source> = copies
        .into_iter()
        .map(|copy| Source::of(wiring, copy))
        .collect();
    let mut left_out = Vec::new();
    let instance = wiring.catalog.instance()?;
    let runbook = Runbook::read(&wiring.config, &wiring.catalog, wiring.clock.now())?.markdown();
    loop {
        leave_out(wiring, &mut sources, &mut left_out)?;
        if sources.is_empty() {
            let count = left_out.len();
            let first = left_out
                .first()
                .map(|one: &LeftOut| one.why.clone())
                .unwrap_or_default();
            return Err(PackError::NothingReadable { week, count, first });
        }
        let draft = Draft {
            instance: instance.clone(),
            week,
            zone: wiring.config.agent().timezone.name().to_owned(),
            job,
            started_at: started_at.clone(),
            members: sources.iter().map(Source::member).collect(),
            left_out: left_out.clone(),
            runbook: runbook.clone(),
        };
        match write(
            &file.0,
            &draft,
            &mut sources,
            (progress, &wiring.clock),
            stop,
        )
        .await?
        {
            Written::Whole(stored) => {
                let manifest = draft.manifest(stored, now_text(wiring));
                let ready = prove(file, &manifest, stop).await?;
                return store(wiring, ready, manifest, progress).await;
            }
            // Its other storages, or the archive without it.
            Written::Spoiled => {}
        }
    }
}

fn now_text(wiring: &Wiring) -> String {
    wiring
        .clock
        .now()
        .to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A file that goes when it is dropped.
struct Unproven(PathBuf);

impl Drop for Unproven {
    fn drop(&mut self) {
        // Best effort: what stays is removed at the next start.
        let _ = fs::remove_file(&self.0);
    }
}

/// W3: opens the finished file again, proves every member, and makes it durable under its `.ready` name.
async fn prove(
    file: Unproven,
    manifest: &ArchiveManifest,
    stop: &CancellationToken,
) -> Result<PathBuf, PackError> {
    if stop.is_cancelled() {
        return Err(PackError::Stopped);
    }
    let (week, manifest) = (manifest.week, manifest.clone());
    let work = move || -> Result<PathBuf, ArchiveError> {
        let input = File::open(&file.0).map_err(ArchiveError::Io)?;
        archive::read(BufReader::with_capacity(BUFFER_BYTES, input), &manifest)?;
        let ready = file.0.with_extension("ready");
        fs::rename(&file.0, &ready).map_err(ArchiveError::Io)?;
        let folder = ready.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(ArchiveError::Io)?;
        Ok(ready)
    };
    let proven = tokio::task::spawn_blocking(work).await;
    let proven = proven.map_err(|panic| PackError::Panicked(panic.to_string()))?;
    proven.map_err(|cause| PackError::Archive { week, cause })
}

/// W4 and W5.
async fn store(
    wiring: &Wiring,
    path: PathBuf,
    manifest: ArchiveManifest,
    progress: &Progress,
) -> Result<Outcome, PackError> {
    let packed = Packed { path, manifest };
    wiring.catalog.pack(&packed)?;
    let total_bytes = packed.manifest.stored.size_bytes * wiring.stores.len() as u64;
    progress.enter(Stage::Store, total_bytes);
    let degraded = settle(wiring, &packed, progress).await?;
    Ok(Outcome::Packed {
        manifest: Box::new(packed.manifest),
        degraded,
    })
}

/// Stores a proven archive and lets it count, or gives it up where no storage takes it. Gives what went wrong with
/// single storages.
pub(super) async fn settle(
    wiring: &Wiring,
    packed: &Packed,
    progress: &Progress,
) -> Result<Vec<String>, PackError> {
    let Packed { path, manifest } = packed;
    let (week, key) = (manifest.week, &manifest.key);
    let proven = Proven {
        path,
        stored: manifest.stored,
        key,
        manifest,
    };
    let clock = wiring.clock.as_ref();
    let outcome = commit(&wiring.stores, &proven, progress, clock).await;
    if outcome.good.is_empty() {
        wiring.catalog.discard_packed(key)?;
        let _ = fs::remove_file(path);
        if outcome.is_taken {
            return Err(PackError::Taken { week });
        }
        let why = excerpt::joined(&outcome.failed);
        return Err(PackError::NotStored { week, why });
    }
    let events = [packed_event(wiring, manifest, &outcome.failed)];
    let committed = CommittedArchive {
        manifest,
        storages: &outcome.good,
        is_read_whole: is_read_whole(manifest.stored.size_bytes),
        completed_at: clock.now(),
        expires_at: super::archive_expires_at(week, wiring),
    };
    wiring.catalog.commit_archive(&committed, &events)?;
    tracing::info!(%key, members = manifest.members.len(), left_out = manifest.left_out.len(),
        size_bytes = manifest.stored.size_bytes, "{week} is packed: {}", counted(manifest.members.len(), "copy"));
    // The archive is committed; a file that stays is swept at the next start.
    if let Err(error) = fs::remove_file(path) {
        tracing::warn!(%error, "the archive's file could not be removed from the spool");
    }
    Ok(outcome.failed)
}

fn packed_event(wiring: &Wiring, manifest: &ArchiveManifest, failed: &[String]) -> Event {
    let (week, count) = (manifest.week, manifest.members.len());
    let (copies, are) = (counted(count, "copy"), either(count, "is", "are"));
    let size = ByteCount(manifest.stored.size_bytes);
    let mut message = format!("{week}: {copies} {are} packed, {size}");
    for one in &manifest.left_out {
        message.push_str(&format!("; left out: `{}`: {}", one.key, one.why));
    }
    for why in failed {
        message.push_str(&format!("; not stored everywhere: {why}"));
    }
    let is_clean = manifest.left_out.is_empty() && failed.is_empty();
    let severity = if is_clean {
        AlertLevel::Info
    } else {
        AlertLevel::Warning
    };
    event(wiring, EventKind::WeeklyCompleted, severity, message)
}

/// Whether a file of an earlier process still is what was proven.
pub(super) fn is_proven(packed: &Packed) -> bool {
    let stored = packed.manifest.stored;
    hash_file(&packed.path).is_ok_and(|(sha256, size_bytes)| {
        sha256 == stored.sha256 && size_bytes == stored.size_bytes
    })
}
