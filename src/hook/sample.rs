//! Provides sample events for trying a script. Invariant: they have every key of the real events.

use serde_json::{Value, json};

use crate::types::ByteCount;

/// Returns an alert of this kind.
pub fn alert(event: &str) -> Value {
    let is_good = event == "backup_completed";
    let error = (!is_good).then_some("the export took longer than 30s");
    let failures = error.map(|error| json!({ "database": "orders", "error": error }));
    json!({
        "version": 1,
        "id": "4f6c1a3e-0d5b-4f7e-9c58-2f1f0a1b7d10",
        "event": event,
        "severity": if is_good { "info" } else { "critical" },
        "time": "2026-11-24T03:00:12Z",
        "time_unix": 1_795_489_212,
        "agent": "grove",
        "url": Value::Null,
        "database": "orders",
        "title": if is_good { "Backup completed" } else { "Backup failed" },
        "text": error.unwrap_or("1 of 1 databases are backed up, 1.0 MB"),
        "hint": Value::Null,
        "resolves": Value::Null,
        "job": "0d4d9f83-6c52-4a9a-8d3c-7a1a4f9f2b11",
        "status": if is_good { "success" } else { "failure" },
        "successful": i32::from(is_good),
        "failed": i32::from(!is_good),
        "skipped": 0,
        "total": 1,
        "size_bytes": if is_good { 1_048_576 } else { 0 },
        "size": if is_good { "1.0 MB" } else { "0 B" },
        "duration_ms": 30_000,
        "duration": "30s",
        "error": error,
        "details": [{
            "database": "orders",
            "status": if is_good { "success" } else { "failed" },
            "size_bytes": is_good.then_some(1_048_576),
            "size": is_good.then_some("1.0 MB"),
        }],
        "failures": failures.into_iter().collect::<Vec<_>>(),
    })
}

/// Returns a database as passed to `before_backup`.
pub fn database() -> Value {
    json!({
        "version": 1,
        "name": "orders",
        "priority": "critical",
        "kind": "sqlite",
        "description": "Orders and invoices",
        "last_good": {
            "key": "daily/2026-11-23/orders.sql",
            "date": "2026-11-23",
            "created_at": "2026-11-23T03:00:02Z",
            "created_at_unix": 1_795_402_802,
            "size_bytes": 1_048_576,
            "size": "1.0 MB",
            "rows": 5_000,
            "tables": 4,
            "verified": true,
        },
    })
}

/// Returns a copy as passed to `check_size`.
pub fn size(bytes: i64) -> Value {
    let unsigned = u64::try_from(bytes).unwrap_or(0);
    json!({
        "version": 1,
        "database": "orders",
        "priority": "critical",
        "date": "2026-11-24",
        "created_at": "2026-11-24T03:00:12Z",
        "created_at_unix": 1_795_489_212,
        "size_bytes": bytes,
        "size": ByteCount(unsigned).to_string(),
        "rows": 5_000,
        "tables": 4,
    })
}

/// Returns a sink as passed to `format_alert`.
pub fn sink() -> Value {
    json!({ "name": "ops", "kind": "webhook" })
}

/// Returns a job as passed to `before_job`.
pub fn job() -> Value {
    json!({
        "version": 1,
        "id": "0d4d9f83-6c52-4a9a-8d3c-7a1a4f9f2b11",
        "agent": "grove",
        "trigger": "scheduled",
        "reason": "nightly",
        "databases": ["orders", "blog"],
        "started_at": "2026-11-24T03:00:00Z",
        "started_at_unix": 1_795_489_200,
    })
}

/// Returns a database's result as passed to `after_backup`.
pub fn result() -> Value {
    json!({
        "version": 1,
        "status": "success",
        "key": "daily/2026-11-24/orders.sql",
        "size_bytes": 1_048_576,
        "size": "1.0 MB",
        "rows": 5_000,
        "tables": 4,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "duration_ms": 1_830,
        "duration": "1s 830ms",
        "error": Value::Null,
        "class": "A",
        "form": "sql",
        "exceptions": [],
        "verified": true,
    })
}

/// Returns a job's result as passed to `after_job`.
pub fn job_result() -> Value {
    let mut result = result();
    result["database"] = "orders".into();
    json!({
        "version": 1,
        "status": "completed",
        "total": 1,
        "successful": 1,
        "failed": 0,
        "skipped": 0,
        "warnings": [],
        "total_size_bytes": 1_048_576,
        "total_size": "1.0 MB",
        "duration_ms": 2_100,
        "error": Value::Null,
        "results": [result],
        "completed_at": "2026-11-24T03:00:02Z",
        "completed_at_unix": 1_795_489_202,
    })
}
