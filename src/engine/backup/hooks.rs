//! Asks the user's scripts before and after, and tells them what happened. Invariant: a script decides whether a backup
//! is made and whether its size is right; it never makes a good copy bad, nor a bad one good.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{DatabaseReport, Outcome, SizeFinding};
use crate::catalog::{CatalogError, CopyFilter, Good, Job, Run, StoredCopy};
use crate::config::{OnError, VerifyMode};
use crate::excerpt;
use crate::hook::verdict::{self, Action, After, Before, Size, Verdict};
use crate::hook::{HookError, HookErrorKind, HookName};
use crate::types::{ByteCount, DatabaseName, EvidenceClass, Manifest};
use crate::wiring::{WiredDatabase, Wiring};

/// The version of every event's shape; it rises when a key changes its meaning or goes.
const VERSION: u32 = 1;

/// How many earlier copies `check_size` sees.
const HISTORY_MAX: usize = 30;

/// More labels than a person would read.
const LABELS_MAX: usize = 20;

/// What to do with a job or a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Back up; what went wrong with the hook, where it may.
    Continue(Option<String>),
    /// A hook left it out, for this reason.
    Skip(String),
    /// A hook said no, or failed where it must not.
    Abort(String),
}

/// Asks `before_job`.
pub(super) async fn before_job(wiring: &Wiring, about: Value) -> Decision {
    let hook = HookName::BeforeJob;
    let called = wiring.hooks.call(hook, None, vec![about]).await;
    decided(wiring, hook, called)
}

/// Asks `before_backup`; its `throw` aborts whatever `on_error` says.
pub(super) async fn before_backup(
    wiring: &Wiring,
    database: &WiredDatabase,
) -> Result<Decision, CatalogError> {
    let (hook, name) = (HookName::BeforeBackup, &database.config.name);
    if !wiring.hooks.attached(hook, Some(name)) {
        return Ok(Decision::Continue(None));
    }
    let about = about_database(wiring, database)?;
    let called = wiring.hooks.call(hook, Some(name), vec![about]).await;
    Ok(match called {
        Err(error) if error.kind == HookErrorKind::Thrown => Decision::Abort(error.to_string()),
        called => decided(wiring, hook, called),
    })
}

fn decided(wiring: &Wiring, hook: HookName, called: Result<Option<Value>, HookError>) -> Decision {
    let read = called.map_err(|error| error.to_string()).and_then(|value| {
        let before = value.map(verdict::read::<Before>).transpose();
        before.map_err(|error| format!("`{hook}`: {error}"))
    });
    match read {
        Ok(Some(before)) if before.action == Action::Skip => Decision::Skip(match before.reason {
            reason if reason.is_empty() => format!("skipped by `{hook}`"),
            reason => format!("skipped by `{hook}`: {reason}"),
        }),
        Ok(_) => Decision::Continue(None),
        Err(message) => match wiring.config.hooks().on_error {
            OnError::Abort => Decision::Abort(message),
            OnError::Continue => Decision::Continue(Some(message)),
        },
    }
}

/// Asks `check_size` about a copy that is proven and not stored yet. `Err`: it does not count, for this reason.
///
/// Where no hook has a say, [`SizeFinding::BuiltIn`]; with it comes what went wrong with one that failed.
pub(super) async fn check_size(
    wiring: &Wiring,
    database: &WiredDatabase,
    manifest: &Manifest,
) -> Result<Result<(SizeFinding, Option<String>), String>, CatalogError> {
    let (hook, name) = (HookName::CheckSize, &database.config.name);
    if !wiring.hooks.attached(hook, Some(name)) {
        return Ok(Ok((SizeFinding::BuiltIn, None)));
    }
    let copies = recent_copies(wiring, database)?;
    let history = copies
        .iter()
        .map(|copy| about_size(&copy.manifest, database));
    let arguments = vec![about_size(manifest, database), history.collect()];
    let called = wiring.hooks.call(hook, Some(name), arguments).await;
    let read = called
        .map_err(|error| error.to_string())
        .and_then(|value| value.map(verdict::read::<Size>).transpose());
    Ok(match read {
        Ok(None) => Ok((SizeFinding::BuiltIn, None)),
        Err(message) => Ok((SizeFinding::BuiltIn, Some(message))),
        Ok(Some(Size { verdict, reason })) => match verdict {
            Verdict::Ok => Ok((SizeFinding::Ok, None)),
            Verdict::Warn => Ok((SizeFinding::Warn(reason), None)),
            Verdict::Alert => Ok((SizeFinding::Alert(reason), None)),
            Verdict::Fail => Err(reason),
        },
    })
}

/// Tells `after_backup` how it went and keeps its labels; where it fails, the job says so and the copy stays good.
pub(super) async fn after_backup(
    wiring: &Wiring,
    run: &Run,
    database: &WiredDatabase,
    report: &DatabaseReport,
    stop: &CancellationToken,
) -> Result<(), CatalogError> {
    let (hook, name) = (HookName::AfterBackup, &database.config.name);
    if stop.is_cancelled() || !wiring.hooks.attached(hook, Some(name)) {
        return Ok(());
    }
    let arguments = vec![
        about_database(wiring, database)?,
        about_result(database, report),
    ];
    let called = tokio::select! {
        called = wiring.hooks.call(hook, Some(name), arguments) => called,
        () = stop.cancelled() => return Ok(()),
    };
    let read = called
        .map_err(|error| error.to_string())
        .and_then(|value| value.map(verdict::read::<After>).transpose());
    match read {
        Ok(after) => run.label(name, &labels(after.unwrap_or_default())),
        Err(message) => {
            let message = excerpt::error(&message);
            tracing::warn!(database = %name, "{name}: {message}");
            run.note(Some(name), &message)
        }
    }
}

/// Tells `after_job` how the job went.
pub(super) async fn after_job(
    wiring: &Wiring,
    job: &Job,
    reports: &[DatabaseReport],
    stop: &CancellationToken,
) {
    let hook = HookName::AfterJob;
    if stop.is_cancelled() || !wiring.hooks.attached(hook, None) {
        return;
    }
    let arguments = vec![
        about_job(wiring, job),
        about_job_result(wiring, job, reports),
    ];
    let called = tokio::select! {
        called = wiring.hooks.call(hook, None, arguments) => called,
        () = stop.cancelled() => return,
    };
    if let Err(error) = called {
        tracing::warn!(job = %job.id, "{error}");
    }
}

/// Notes what went wrong with a hook that may fail.
pub(super) fn tell(
    run: &Run,
    database: Option<&DatabaseName>,
    trouble: Option<String>,
) -> Result<(), CatalogError> {
    match trouble {
        Some(message) => {
            let message = excerpt::error(&message);
            tracing::warn!(job = %run.id(), "{message}");
            run.note(database, &message)
        }
        None => Ok(()),
    }
}

/// What `before_job` and `after_job` are told of a job.
pub(super) fn about_job(wiring: &Wiring, job: &Job) -> Value {
    let databases = wiring
        .databases
        .iter()
        .map(|database| database.config.name.as_str());
    event(
        json!({
            "id": job.id,
            "agent": wiring.config.agent().name,
            "trigger": job.trigger,
            "reason": job.reason,
            "databases": databases.collect::<Vec<_>>(),
        }),
        "started_at",
        Some(job.started_at),
    )
}

fn about_job_result(wiring: &Wiring, job: &Job, reports: &[DatabaseReport]) -> Value {
    let results = reports.iter().filter_map(|report| {
        let database = wiring.database(&report.database)?;
        let mut result = about_result(database, report);
        result["database"] = json!(report.database);
        Some(result)
    });
    event(
        json!({
            "status": job.status,
            "total": job.total,
            "successful": job.successful,
            "failed": job.failed,
            "skipped": job.skipped,
            "warnings": job.degraded,
            "total_size_bytes": job.total_size_bytes,
            "total_size": ByteCount(job.total_size_bytes).to_string(),
            "duration_ms": job.duration_ms,
            "error": job.error_message,
            "results": results.collect::<Vec<_>>(),
        }),
        "completed_at",
        job.completed_at,
    )
}

fn about_database(wiring: &Wiring, database: &WiredDatabase) -> Result<Value, CatalogError> {
    let config = &database.config;
    let now = wiring.clock.now();
    let last = wiring.catalog.freshness_copy(&config.name, now)?;
    let last = last.map(|copy| about_last_good(&copy, database));
    Ok(json!({
        "version": VERSION,
        "name": config.name,
        "priority": config.priority,
        "kind": config.source.kind(),
        "description": config.description,
        "last_good": last,
    }))
}

/// The last good copy, by the rule of the stale alert: as an object of its own or inside an archive.
fn about_last_good(copy: &Good, database: &WiredDatabase) -> Value {
    let config = &database.config;
    event(
        json!({
            "key": copy.key,
            "database": config.name,
            "priority": config.priority,
            "date": copy.date,
            "size_bytes": copy.plain_bytes,
            "size": ByteCount(copy.plain_bytes).to_string(),
            "rows": copy.rows,
            "tables": copy.tables,
            "verified": config.export.verify == VerifyMode::Restore,
        }),
        "created_at",
        Some(copy.created_at),
    )
}

fn about_size(manifest: &Manifest, database: &WiredDatabase) -> Value {
    event(
        json!({
            "database": manifest.database,
            "priority": database.config.priority,
            "date": manifest.date,
            "size_bytes": manifest.plain.size_bytes,
            "size": ByteCount(manifest.plain.size_bytes).to_string(),
            "rows": manifest.evidence.total_rows(),
            "tables": manifest.evidence.tables.len(),
        }),
        "created_at",
        manifest.completed(),
    )
}

fn about_result(database: &WiredDatabase, report: &DatabaseReport) -> Value {
    let (status, manifest, error) = match &report.outcome {
        Outcome::Stored { manifest, .. } => ("success", Some(manifest), None),
        Outcome::Failed { message } => ("failed", None, Some(message.as_str())),
        Outcome::Skipped { reason } => ("skipped", None, Some(reason.as_str())),
        Outcome::Interrupted => ("interrupted", None, None),
    };
    let size = manifest.map(|manifest| manifest.plain.size_bytes);
    let is_restored = database.config.export.verify == VerifyMode::Restore;
    json!({
        "version": VERSION,
        "status": status,
        "key": manifest.map(|manifest| &manifest.key),
        "size_bytes": size,
        "size": size.map(|size| ByteCount(size).to_string()),
        "rows": manifest.map(|manifest| manifest.evidence.total_rows()),
        "tables": manifest.map(|manifest| manifest.evidence.tables.len()),
        "sha256": manifest.map(|manifest| manifest.plain.sha256),
        "duration_ms": report.duration_ms,
        "duration": humantime::format_duration(Duration::from_millis(report.duration_ms)).to_string(),
        "error": error,
        "class": manifest.map(|manifest| manifest.class),
        "form": manifest.map(|manifest| manifest.key.form().as_str()),
        "exceptions": manifest.map_or(&[][..], |manifest| &manifest.exceptions),
        "verified": manifest.is_some_and(|manifest| manifest.class != EvidenceClass::S) && is_restored,
    })
}

/// Adds the version and a time in both forms.
fn event(mut event: Value, name: &str, time: Option<DateTime<Utc>>) -> Value {
    event["version"] = VERSION.into();
    event[name] = json!(time.map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true)));
    event[format!("{name}_unix")] = json!(time.map(|time| time.timestamp()));
    event
}

/// The newest copies that hold all of the database and lie undamaged somewhere, each an object of its own.
fn recent_copies(
    wiring: &Wiring,
    database: &WiredDatabase,
) -> Result<Vec<StoredCopy>, CatalogError> {
    let filter = CopyFilter {
        database: Some(database.config.name.clone()),
        ours: true,
        ..CopyFilter::default()
    };
    let mut copies = wiring.catalog.copies(&filter)?;
    copies.retain(|copy| {
        let is_whole = !copy.manifest.incomplete && copy.manifest.class != EvidenceClass::S;
        is_whole && copy.live().next().is_some()
    });
    copies.truncate(HISTORY_MAX);
    Ok(copies)
}

fn labels(after: After) -> BTreeMap<String, String> {
    let labels = after.labels.into_iter().take(LABELS_MAX);
    labels
        .map(|(name, value)| (name, value.to_string()))
        .collect()
}
