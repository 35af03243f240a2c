//! Events to try a script with. Invariant: their shape is that of the real ones; every key is there.

use serde_json::{Value, json};

use crate::types::ByteCount;

/// An alert of this event.
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

/// A database as `before_backup` is given it.
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

/// A copy as `check_size` is given it.
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
