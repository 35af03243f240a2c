//! Renders the metrics as OpenMetrics text. Invariant: every series exists before the first run, and labels come only
//! from the configuration and from fixed lists, so that no client can create series.

use std::sync::atomic::AtomicU64;

use chrono::{DateTime, Utc};
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::catalog::Rehearsal;
use crate::config::{Config, Database};
use crate::overview::{DatabaseOverview, Overview, Staleness};
use crate::quote;
use crate::retention::Kept;
use crate::types::EvidenceClass;

/// `Content-Type` of the text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Process state that the catalog does not hold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vitals {
    /// True if the configuration in force matches the file; false once a changed file was rejected.
    pub is_config_current: bool,
    /// Time when the configuration in force was read; `None` if unknown.
    pub config_loaded_at: Option<DateTime<Utc>>,
    /// Number of messages waiting for delivery.
    pub outbox_depth: u64,
    /// Number of failed hook calls since the process began.
    pub hook_failures: u64,
    /// Total run time of all hook calls since the process began, in seconds.
    pub hook_seconds: f64,
}

impl Default for Vitals {
    /// Values of a process that just began.
    fn default() -> Self {
        Self {
            is_config_current: true,
            config_loaded_at: None,
            outbox_depth: 0,
            hook_failures: 0,
            hook_seconds: 0.0,
        }
    }
}

type Number = Gauge<f64, AtomicU64>;
type Labels = Vec<(&'static str, String)>;
type Numbers = Family<Labels, Number>;

/// Renders all metrics as OpenMetrics text. Times are Unix seconds; 0 means never.
pub fn render(overview: &Overview, config: &Config, vitals: &Vitals) -> String {
    let mut registry = Registry::with_prefix("backup");
    whole(&mut registry, overview);
    databases(&mut registry, overview, config);
    storages(&mut registry, overview);
    tasks(&mut registry, overview);
    expiry(&mut registry, overview);
    process(&mut registry, vitals);
    let mut text = String::new();
    text::encode(&mut text, &registry).expect("a string takes everything that is written to it");
    quote::lines(&text).into_owned()
}

/// The first five metrics, whose names are a promise, the number of running jobs, and the last drill.
fn whole(registry: &mut Registry, overview: &Overview) {
    let success = overview.last_success.as_ref();
    let ended = overview.last_ended.as_ref();
    let rehearsal = overview.rehearsal.as_ref();
    for (name, help, value) in [
        (
            "last_success_timestamp",
            "When the last job ended that backed up every one of its databases",
            seconds(success.and_then(|job| job.completed_at)),
        ),
        (
            "last_duration_ms",
            "What the last job took, in milliseconds",
            number(ended.and_then(|job| job.duration_ms).unwrap_or(0)),
        ),
        (
            "total_size_bytes",
            "Stored bytes of all daily copies and weekly archives, each counted once",
            number(overview.totals.size_bytes),
        ),
        (
            "databases_count",
            "Databases that the configuration names",
            overview.configured().count() as f64,
        ),
        (
            "failures_24h",
            "Backups that failed in the last 24 hours",
            number(overview.failures_24h),
        ),
        (
            "running_jobs",
            "Jobs at work",
            overview.running.len() as f64,
        ),
        (
            "drill_last_timestamp",
            "When the last rehearsal of a restore from storage ended",
            seconds(rehearsal.map(Rehearsal::ended_at)),
        ),
        (
            "drill_last_duration_seconds",
            "What the last rehearsal took for all databases",
            rehearsal.map_or(0.0, |one| number(one.duration_ms) / 1_000.0),
        ),
        (
            "drill_last_successful",
            "1 where every database came back in the last rehearsal, 0 where one did not or there was none",
            truth(rehearsal.is_some_and(Rehearsal::is_good)),
        ),
    ] {
        gauge(registry, name, help, value);
    }
}

fn databases(registry: &mut Registry, overview: &Overview, config: &Config) {
    let one = |database: &DatabaseOverview| vec![("database", database.name.to_string())];
    type Value = fn(&DatabaseOverview) -> f64;
    let values: [(&str, &str, Value); 10] = [
        (
            "last_good_timestamp",
            "When the last good copy of a database was proven",
            |database| seconds(database.dated_at),
        ),
        (
            "last_good_size_bytes",
            "Stored bytes of the last good copy of a database",
            |database| {
                number(
                    database
                        .last_good
                        .as_ref()
                        .map_or(0, |good| good.size_bytes),
                )
            },
        ),
        (
            "last_good_rows",
            "Rows in the last good copy of a database",
            |database| number(database.last_good.as_ref().map_or(0, |good| good.rows)),
        ),
        (
            "last_verified_timestamp",
            "When every byte of the last good copy of a database was last read back",
            |database| {
                seconds(
                    database
                        .last_good
                        .as_ref()
                        .and_then(|good| good.verified_at),
                )
            },
        ),
        (
            "last_drilled_timestamp",
            "When the newest copy of a database last came back in a rehearsal",
            |database| seconds(database.rehearsed_at),
        ),
        (
            "consecutive_failures",
            "Backups of a database that failed one after the other, up to now",
            |database| f64::from(database.failures_in_a_row),
        ),
        (
            "last_good_exceptions",
            "Things of its source that the last good copy of a database does not carry, or not equally",
            |database| {
                let good = database.last_good.as_ref();
                good.map_or(0.0, |good| good.exceptions.len() as f64)
            },
        ),
        (
            "suspect",
            "1 where the newest copy of a database is one of a damaged source and does not count, 0 where it is not",
            |database| truth(database.suspect.is_some()),
        ),
        (
            "expiry_held",
            "1 where nothing of a database expires until a good copy follows or a person looks, 0 where it does",
            |database| truth(database.held.is_some()),
        ),
        (
            "staleness",
            "How late a database is: 0 not, 1 past warn_after, 2 past stale_after or without a good copy",
            |database| match database.staleness {
                Staleness::Ok | Staleness::Retired => 0.0,
                Staleness::Warning => 1.0,
                Staleness::Critical => 2.0,
            },
        ),
    ];
    for (name, help, value) in values {
        let numbers = family(registry, name, help);
        for database in overview.configured() {
            set(&numbers, one(database), value(database));
        }
    }
    let help = "1 for the class of evidence that the last good copy of a database has";
    let classes = family(registry, "last_good_class", help);
    for database in overview.configured() {
        let found = database.last_good.as_ref().map(|good| good.class);
        for class in [EvidenceClass::A, EvidenceClass::B] {
            let mut labels = one(database);
            labels.push(("class", format!("{class:?}")));
            set(&classes, labels, truth(found == Some(class)));
        }
    }
    type Threshold = fn(&Database) -> f64;
    let thresholds: [(&str, &str, Threshold); 2] = [
        (
            "warn_after_seconds",
            "The age of its last good copy from which a database is late",
            |database| database.alerts.warn_after.as_secs_f64(),
        ),
        (
            "stale_after_seconds",
            "The age of its last good copy from which a database is stale",
            |database| database.alerts.stale_after.as_secs_f64(),
        ),
    ];
    for (name, help, value) in thresholds {
        let numbers = family(registry, name, help);
        for database in config.databases() {
            let labels = vec![("database", database.name.to_string())];
            set(&numbers, labels, value(database));
        }
    }
}

fn storages(registry: &mut Registry, overview: &Overview) {
    type Value = fn(&crate::catalog::Stock) -> u64;
    let values: [(&str, &str, Value); 4] = [
        (
            "storage_size_bytes",
            "Bytes that a storage holds, as far as known",
            |stock| stock.size_bytes,
        ),
        (
            "storage_objects",
            "Daily copies and weekly archives that a storage holds, as far as known",
            |stock| stock.objects,
        ),
        (
            "storage_unverified_bytes",
            "Bytes in a storage that were never read back whole",
            |stock| stock.unverified_bytes,
        ),
        (
            "storage_damaged_objects",
            "Objects that are missing or changed in a storage",
            |stock| stock.harmed,
        ),
    ];
    for (name, help, value) in values {
        let numbers = family(registry, name, help);
        let storages = overview.storages.iter();
        for storage in storages.filter(|storage| storage.kind.is_some()) {
            let labels = vec![("storage", storage.name.clone())];
            set(&numbers, labels, number(value(&storage.stock)));
        }
    }
}

fn tasks(registry: &mut Registry, overview: &Overview) {
    let numbers = family(registry, "next_run_timestamp", "When a task runs next");
    for run in &overview.next_runs {
        let labels = vec![("task", run.task.clone())];
        set(&numbers, labels, seconds(Some(run.at)));
    }
}

/// Results of the last expiry run, and the objects that it kept, by rule.
fn expiry(registry: &mut Registry, overview: &Overview) {
    let run = overview.expiry.as_ref();
    for (name, help, value) in [
        (
            "expiry_last_timestamp",
            "When expiry ran last",
            seconds(run.map(|run| run.at)),
        ),
        (
            "expiry_last_deleted_objects",
            "Objects that the last run of expiry deleted",
            number(run.map_or(0, |run| run.deleted)),
        ),
        (
            "expiry_last_failed_objects",
            "Objects that the last run of expiry could not delete",
            number(run.map_or(0, |run| run.failed)),
        ),
    ] {
        gauge(registry, name, help, value);
    }
    let help = "Objects old enough to go that a rule kept in the last run of expiry";
    let numbers = family(registry, "expiry_kept_objects", help);
    for rule in Kept::RULES {
        let kept = run.and_then(|run| run.kept.iter().find(|by| by.rule == rule));
        let labels = vec![("rule", rule.to_owned())];
        set(&numbers, labels, number(kept.map_or(0, |by| by.objects)));
    }
}

fn process(registry: &mut Registry, vitals: &Vitals) {
    for (name, help, value) in [
        (
            "config_last_reload_successful",
            "1 where the configuration in force is what the file says, 0 once a changed file was refused",
            truth(vitals.is_config_current),
        ),
        (
            "config_last_reload_timestamp",
            "When the configuration in force was read",
            seconds(vitals.config_loaded_at),
        ),
        (
            "alert_outbox_depth",
            "Alerts that wait to be delivered",
            number(vitals.outbox_depth),
        ),
    ] {
        gauge(registry, name, help, value);
    }
    let failures = ConstCounter::new(vitals.hook_failures);
    let help = "Hook calls that failed since the process began";
    registry.register("hook_failures", help, failures);
    let seconds = ConstCounter::new(vitals.hook_seconds);
    let help = "Total hook run time since start, in seconds";
    registry.register("hook_duration_seconds", help, seconds);
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let number = Number::default();
    number.set(value);
    registry.register(name, help, number);
}

fn family(registry: &mut Registry, name: &str, help: &str) -> Numbers {
    let numbers = Numbers::default();
    registry.register(name, help, numbers.clone());
    numbers
}

fn set(numbers: &Numbers, labels: Labels, value: f64) {
    numbers.get_or_create(&labels).set(value);
}

fn seconds(at: Option<DateTime<Utc>>) -> f64 {
    at.map_or(0.0, |at| at.timestamp() as f64)
}

fn number(value: u64) -> f64 {
    value as f64
}

fn truth(value: bool) -> f64 {
    f64::from(u8::from(value))
}
