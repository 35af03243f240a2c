//! `patina config show`: prints every effective value, including defaults. Invariant: of a secret only its origin.

use serde_json::{Map, Value, json};

use super::context::Context;
use super::exit::Exit;
use crate::config::{
    Config, Database, Http, S3, Secret, Sink, SourceSpec, Storage, StorageKind, Thresholds, WayIn,
    duration_text,
};

/// Runs `patina config show`.
pub(super) fn run(context: &Context) -> anyhow::Result<Exit> {
    let document = document(&context.load()?.config);
    match context.json {
        true => context.print_json(&document)?,
        false => context.print(toml_edit::ser::to_string_pretty(&document)?.trim_end())?,
    }
    Ok(Exit::Ok)
}

/// Returns the origin of a secret.
fn origin(secret: &Secret) -> String {
    secret.origin().to_string()
}

fn texts<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

/// Removes the keys without a value from an object: TOML has no null.
fn object(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let known = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(known.collect::<Map<_, _>>())
        }
        other => other,
    }
}

fn document(config: &Config) -> Value {
    let (agent, jobs, export) = (config.agent(), config.schedule(), config.export());
    let (retention, hooks, alerts) = (config.retention(), config.hooks(), config.alerts());
    let cloudflare = config.cloudflare().map(|cloudflare| {
        json!({
            "account_id": cloudflare.account_id,
            "api_token": origin(&cloudflare.api_token),
            "api_url": cloudflare.api_url,
        })
    });
    let mut told = thresholds(&alerts.thresholds);
    told["on_success"] = alerts.on_success.into();
    told["on_failure"] = alerts.on_failure.into();
    told["redact"] = alerts.redact.into();
    told["sink"] = alerts.sinks.iter().map(sink).collect();
    object(json!({
        "agent": {
            "name": agent.name,
            "state": agent.state,
            "timezone": agent.timezone.name(),
        },
        "schedule": {
            "nightly": jobs.nightly.to_string(),
            "weekly": jobs.weekly.to_string(),
            "reconcile": jobs.reconcile.to_string(),
            "verify": jobs.verify.to_string(),
            "drill": jobs.drill.as_ref().map_or("never".to_owned(), ToString::to_string),
            "catch_up": duration_text(jobs.catch_up),
        },
        "export": {
            "concurrency": export.concurrency,
            "timeout": duration_text(export.defaults.timeout),
            "retries": export.defaults.retries,
            "compression": export.defaults.compression,
            "verify": export.defaults.verify,
        },
        "retention": {
            "daily_days": retention.daily_days,
            "weekly_weeks": retention.weekly_weeks,
            "min_copies": retention.min_copies,
            "grace": duration_text(retention.grace),
        },
        "storage": config.storages().iter().map(storage).collect::<Vec<_>>(),
        "cloudflare": cloudflare,
        "database": config.databases().iter().map(database).collect::<Vec<_>>(),
        "hooks": {
            "scripts": hooks.scripts,
            "timeout": duration_text(hooks.timeout),
            "http_allow": hooks.http_allow,
            "exec_allow": hooks.exec_allow,
            "env_allow": hooks.env_allow,
            "on_error": hooks.on_error,
        },
        "alerts": told,
        "http": http(config.http()),
    }))
}

fn storage(storage: &Storage) -> Value {
    match &storage.kind {
        StorageKind::Directory(folder) => json!({"name": storage.name, "directory": folder}),
        StorageKind::S3(s3) => json!({"name": storage.name, "s3": bucket(s3)}),
    }
}

fn bucket(s3: &S3) -> Value {
    json!({
        "endpoint": s3.endpoint,
        "bucket": s3.bucket,
        "region": s3.region,
        "prefix": s3.prefix,
        "access_key_id": origin(&s3.access_key_id),
        "secret_access_key": origin(&s3.secret_access_key),
    })
}

fn database(database: &Database) -> Value {
    let export = &database.export;
    let mut value = json!({
        "name": database.name,
        "priority": database.priority,
        "description": database.description,
        "restore_after": database.restore_after,
        "reason": database.reason,
        "timeout": duration_text(export.timeout),
        "retries": export.retries,
        "compression": export.compression,
        "verify": export.verify,
        "schedule": database.schedule.as_ref().map(ToString::to_string),
        "skip_data": database.skip_data,
        "script": database.script,
    });
    match &database.source {
        SourceSpec::Sqlite(path) => {
            value["sqlite"] = json!(path);
            value["method"] = json!(database.form);
        }
        SourceSpec::D1 { id, method } => {
            value["d1"] = json!(id);
            value["method"] = json!(method);
        }
    }
    if !database.table_rows_below.is_empty() {
        value["table_rows_below"] = json!(database.table_rows_below);
    }
    if let (Some(fields), Value::Object(alerts)) =
        (value.as_object_mut(), thresholds(&database.alerts))
    {
        fields.extend(alerts);
    }
    object(value)
}

fn thresholds(thresholds: &Thresholds) -> Value {
    json!({
        "stale_after": duration_text(thresholds.stale_after),
        "warn_after": duration_text(thresholds.warn_after),
        "shrink_below": thresholds.shrink_below,
        "grow_above": thresholds.grow_above,
        "rows_below": thresholds.rows_below,
        "consecutive_failures": thresholds.consecutive_failures,
    })
}

fn sink(sink: &Sink) -> Value {
    let mut value = json!({
        "name": sink.name,
        "format": sink.format,
        "only": sink.only,
        "min_severity": sink.min_severity,
        "databases": sink.databases,
        "secret": sink.secret.as_ref().map(origin),
        "allow_private": sink.allow_private,
    });
    value[sink.kind.as_str()] = origin(&sink.url).into();
    object(value)
}

fn http(http: &Http) -> Value {
    let access = http.access.as_ref();
    let access = access.map(|access| json!({"team": access.team, "aud": access.aud}));
    let keys = http.keys.iter().map(|key| {
        object(json!({
            "id": key.id,
            "sha256": key.sha256,
            "scopes": key.scopes,
            "created": key.created,
            "expires": key.expires,
            "allow_ips": texts(&key.allow_ips),
        }))
    });
    object(json!({
        "listen": http.listen,
        "public_url": (http.way_in() != WayIn::Unknown).then_some(&http.public_url),
        "trusted_proxies": texts(&http.trusted_proxies),
        "client_ip_header": http.client_ip_header,
        "hosts": http.hosts,
        "allow_ips": texts(&http.allow_ips),
        "open": http.open.iter().map(|open| open.as_str()).collect::<Vec<_>>(),
        "rotate_after": duration_text(http.rotate_after),
        "access": access,
        "key": keys.collect::<Vec<_>>(),
    }))
}
