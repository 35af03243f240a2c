//! Shows the result of a backup: a table or one JSON document on stdout, problems on stderr.

use std::time::Duration;

use serde_json::{Value, json};

use super::Night;
use crate::anomaly::Changes;
use crate::cli::context::printable;
use crate::cli::exit::Exit;
use crate::cli::list::{add_proof, proof};
use crate::cli::shown::Shown;
use crate::cli::table::{Side, Table};
use crate::engine::backup::{DatabaseReport, Outcome, Report, SizeFinding};
use crate::engine::recover::Recovery;
use crate::types::{
    ByteCount, DatabaseName, EvidenceClass, Manifest, counted, either, grouped, share,
};

/// Number of databases above which only those that need attention are listed.
const MOST_LISTED: usize = 100;

/// Returns the exit code for a job.
fn exit(report: &Report) -> Exit {
    let outcomes = report.databases.iter().map(|database| &database.outcome);
    let stored = outcomes
        .filter(|outcome| matches!(outcome, Outcome::Stored { .. }))
        .count();
    let is_skipped = |entry: &&DatabaseReport| matches!(entry.outcome, Outcome::Skipped { .. });
    let skipped = report.databases.iter().filter(is_skipped).count();
    match stored {
        _ if report.skipped.is_some() => Exit::Skipped,
        _ if stored + skipped == report.databases.len() => match is_suspect(report) {
            true => Exit::Damage,
            false => Exit::Ok,
        },
        0 => Exit::Failed,
        _ => Exit::Partly,
    }
}

/// True if a source is damaged: its copy is stored, but does not count as a backup.
fn is_suspect(report: &Report) -> bool {
    let mut manifests = report.databases.iter().filter_map(manifest);
    manifests.any(|manifest| manifest.class == EvidenceClass::S)
}

/// Returns the output and the exit code.
pub(super) fn shown(json: bool, night: &Night) -> Shown {
    let (report, exit) = (&night.report, exit(&night.report));
    let mut shown = match json {
        true => Shown::document(exit, &document(night)),
        false => Shown::text(exit, format_args!("{}{}", listed(report), summary(report))),
    };
    if night.recovery != Recovery::default() {
        shown.line(recovered(&night.recovery));
    }
    for line in troubles(report).iter().filter(|_| !json) {
        shown.line(line);
    }
    shown
}

fn recovered(recovery: &Recovery) -> String {
    let list = |names: &[DatabaseName]| {
        let names: Vec<&str> = names.iter().map(DatabaseName::as_str).collect();
        names.join(", ")
    };
    let mut done = Vec::new();
    if !recovery.interrupted.is_empty() {
        done.push(format!(
            "{} marked interrupted",
            counted(recovery.interrupted.len() as u64, "job")
        ));
    }
    if !recovery.completed.is_empty() {
        done.push(format!(
            "the proven copies of {} stored after all",
            list(&recovery.completed)
        ));
    }
    if !recovery.discarded.is_empty() {
        done.push(format!(
            "the copies of {} given up",
            list(&recovery.discarded)
        ));
    }
    if recovery.listed_again > 0 {
        let count = recovery.listed_again;
        done.push(format!(
            "{} that {} to be deleted {} listed again",
            counted(count, "copy"),
            either(count, "was", "were"),
            either(count, "is", "are")
        ));
    }
    if recovery.swept > 0 {
        let files = usize::try_from(recovery.swept).unwrap_or(usize::MAX);
        done.push(format!(
            "{} removed",
            counted(files as u64, "left-over file")
        ));
    }
    format!(
        "note: the last run ended early; brought in order: {}",
        done.join(", ")
    )
}

/// Returns the table with an empty line after it. If there are very many databases it contains only those that need
/// attention, and may be empty.
fn listed(report: &Report) -> String {
    let is_listed: fn(&&DatabaseReport) -> bool = match report.databases.len() <= MOST_LISTED {
        true => |_| true,
        false => |entry| match &entry.outcome {
            Outcome::Stored {
                manifest, degraded, ..
            } => manifest.class == EvidenceClass::S || manifest.incomplete || !degraded.is_empty(),
            Outcome::Failed { .. } | Outcome::Skipped { .. } | Outcome::Interrupted => true,
        },
    };
    let listed: Vec<&DatabaseReport> = report.databases.iter().filter(is_listed).collect();
    match listed.is_empty() {
        true => String::new(),
        false => format!("{}\n\n", table(&listed)),
    }
}

fn table(databases: &[&DatabaseReport]) -> Table<7> {
    let mut table = Table::new([
        ("DATABASE", Side::Left),
        ("ROWS", Side::Right),
        ("PLAIN", Side::Right),
        ("STORED", Side::Right),
        ("PROOF", Side::Left),
        ("TIME", Side::Right),
        ("KEY", Side::Left),
    ]);
    for entry in databases {
        let [rows, plain, stored, proof, key] = match &entry.outcome {
            Outcome::Stored { manifest, .. } => [
                grouped(manifest.evidence.total_rows()),
                ByteCount(manifest.plain.size_bytes).to_string(),
                ByteCount(manifest.stored.size_bytes).to_string(),
                proof(manifest),
                manifest.key.to_string(),
            ],
            Outcome::Failed { .. } => nothing("failed"),
            Outcome::Skipped { .. } => nothing("skipped"),
            Outcome::Interrupted => nothing("interrupted"),
        };
        let name = entry.database.to_string();
        let took = seconds(entry.duration_ms);
        table.row([name, rows, plain, stored, proof, took, key]);
    }
    table
}

fn nothing(instead: &str) -> [String; 5] {
    ["-", "-", "-", "-", instead].map(str::to_owned)
}

fn seconds(duration_ms: u64) -> String {
    format!("{:.1}s", Duration::from_millis(duration_ms).as_secs_f64())
}

/// Returns the explanation of the classes, and totals.
fn summary(report: &Report) -> String {
    let manifests = || report.databases.iter().filter_map(|entry| manifest(entry));
    let mut text = String::new();
    for class in EvidenceClass::ALL {
        if let Some(manifest) = manifests().find(|manifest| manifest.class == class) {
            text.push_str(&format!("proof {}\n", manifest.proof()));
        }
    }
    let with_exceptions = manifests().filter(|manifest| !manifest.exceptions.is_empty());
    let is_long = report.databases.len() > MOST_LISTED;
    if is_long && with_exceptions.clone().next().is_some() {
        let count = grouped(with_exceptions.clone().count() as u64);
        text.push_str(&format!(
            "copies with exceptions: {count}; `patina show DB` lists those of one\n"
        ));
    }
    for manifest in with_exceptions.filter(|_| !is_long) {
        let (name, count) = (&manifest.database, manifest.exceptions.len() as u64);
        let count = counted(count, "exception");
        text.push_str(&format!(
            "{name}: {count}; `patina show {name}` lists them\n"
        ));
    }
    let stored = manifests().count();
    let sizes = manifests().map(|manifest| manifest.stored.size_bytes);
    let bytes = sizes.fold(0, u64::saturating_add);
    let took = seconds(report.job.duration_ms.unwrap_or_default());
    let all = report.databases.len();
    let bytes = ByteCount(bytes);
    let done = share(stored, all, "database");
    format!("{text}{done} backed up in {took}, {bytes} stored")
}

fn manifest(entry: &DatabaseReport) -> Option<&Manifest> {
    match &entry.outcome {
        Outcome::Stored { manifest, .. } => Some(manifest),
        Outcome::Failed { .. } | Outcome::Skipped { .. } | Outcome::Interrupted => None,
    }
}

/// Describes what is new in a copy compared with the one before, and in short what is the same every night.
fn changed(name: &DatabaseName, manifest: &Manifest, changes: &Changes) -> Vec<String> {
    let mut lines = Vec::new();
    if manifest.class == EvidenceClass::S {
        let damage = manifest.damage().join("; ");
        lines.push(format!(
            "error: database `{name}`: SUSPECT COPY: SQLite finds the source damaged: {}\nhint: {} is kept and does not \
             count; `sqlite3 FILE 'PRAGMA integrity_check'` shows the damage, `.recover` saves what can be read, \
             `patina list {name}` has the copies from before",
            printable(&damage),
            manifest.key
        ));
    }
    if let Some(form) = &changes.form {
        lines.push(format!("note: database `{name}`: {}", printable(form)));
    }
    for exception in &changes.new_exceptions {
        let text = printable(&exception.to_string());
        lines.push(format!("warning: {name}: {text}"));
    }
    if changes.known_exceptions > 0 {
        let count = counted(changes.known_exceptions as u64, "exception");
        lines.push(format!("note: {name}: {count}, as before"));
    }
    lines
}

/// Returns one text per problem; a hint that several share is given once, at the first.
fn troubles(report: &Report) -> Vec<String> {
    let warnings = report.warnings.iter();
    // Notes about what is the same every night need no attention; with very many databases they would hide what does.
    let is_long = report.databases.len() > MOST_LISTED;
    let mut lines: Vec<String> = warnings.map(|text| format!("warning: {text}")).collect();
    for entry in &report.databases {
        let name = &entry.database;
        match &entry.outcome {
            Outcome::Stored {
                manifest,
                degraded,
                size,
                changes,
            } => {
                let is_told = |line: &String| !is_long || !line.starts_with("note: ");
                lines.extend(changed(name, manifest, changes).into_iter().filter(is_told));
                if let SizeFinding::Warn(reason) | SizeFinding::Alert(reason) = size {
                    lines.push(format!("warning: {name}: size: {}", printable(reason)));
                }
                for warning in &manifest.warnings {
                    lines.push(format!("warning: {name}: {}", printable(warning)));
                }
                for message in degraded {
                    lines.push(format!("warning: {name}: not in every storage: {message}"));
                }
                if manifest.incomplete {
                    lines.push(format!(
                        "warning: {name}: the copy is incomplete and does not replace an earlier one"
                    ));
                }
            }
            Outcome::Failed { message } => {
                lines.push(format!("error: database `{name}`: {message}"));
            }
            Outcome::Skipped { reason } => {
                lines.push(format!("note: {name}: {}", printable(reason)));
            }
            Outcome::Interrupted => {
                lines.push(format!(
                    "error: database `{name}`: interrupted; nothing of it was stored"
                ));
            }
        }
    }
    let mut hints = Vec::new();
    for line in &mut lines {
        if let Some((text, hint)) = line.split_once("\nhint: ") {
            if hints.iter().any(|known| known == hint) {
                *line = text.to_owned();
            } else {
                hints.push(hint.to_owned());
            }
        }
    }
    lines
}

fn document(night: &Night) -> Value {
    let Night { recovery, report } = night;
    let job = &report.job;
    json!({
        "job": {
            "id": job.id,
            "status": job.status,
            "trigger": job.trigger,
            "reason": job.reason,
            "started_at": job.started_at,
            "completed_at": job.completed_at,
            "duration_ms": job.duration_ms,
            "total": job.total,
            "successful": job.successful,
            "failed": job.failed,
            "skipped": job.skipped,
            "degraded": job.degraded,
            "total_size_bytes": job.total_size_bytes,
        },
        "recovered": {
            "interrupted_jobs": recovery.interrupted,
            "completed": recovery.completed,
            "discarded": recovery.discarded,
            "listed_again": recovery.listed_again,
            "swept_files": recovery.swept,
        },
        "databases": report.databases.iter().map(database).collect::<Vec<_>>(),
    })
}

fn database(entry: &DatabaseReport) -> Value {
    let mut value = json!({
        "database": entry.database,
        "duration_ms": entry.duration_ms,
    });
    match &entry.outcome {
        Outcome::Stored {
            manifest,
            degraded,
            changes,
            ..
        } => {
            value["new_exceptions"] = json!(changes.new_exceptions);
            value["outcome"] = "stored".into();
            value["key"] = json!(manifest.key);
            value["tables"] = manifest.evidence.tables.len().into();
            value["rows"] = manifest.evidence.total_rows().into();
            value["plain_bytes"] = manifest.plain.size_bytes.into();
            value["stored_bytes"] = manifest.stored.size_bytes.into();
            value["compression"] = json!(manifest.stored.compression);
            value["sha256"] = json!(manifest.stored.sha256);
            value["class"] = json!(manifest.class);
            value["evidence"] = manifest.proof().into();
            add_proof(&mut value, manifest);
            value["incomplete"] = manifest.incomplete.into();
            value["warnings"] = json!(manifest.warnings);
            value["degraded"] = json!(degraded);
        }
        Outcome::Failed { message } => {
            value["outcome"] = "failed".into();
            value["message"] = message.as_str().into();
        }
        Outcome::Skipped { reason } => {
            value["outcome"] = "skipped".into();
            value["reason"] = reason.as_str().into();
        }
        Outcome::Interrupted => value["outcome"] = "interrupted".into(),
    }
    value
}
