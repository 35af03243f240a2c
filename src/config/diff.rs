//! Describes the difference of two configurations in sentences, for the log. Invariant: no sentence contains a secret.

use super::duration_text;
use super::model::{Config, Database, Http};
use crate::schedule::Schedule;

/// Lists the changes from `old` to `new`, one sentence each; empty if both mean the same.
///
/// The sentence of a change that needs a restart mentions that.
pub fn diff(old: &Config, new: &Config) -> Vec<String> {
    let mut changes = Vec::new();
    databases(old, new, &mut changes);
    let names = |config: &Config| config.storages.iter().map(|s| s.name.clone()).collect();
    listed("storage", names(old), names(new), &mut changes);
    for storage in &new.storages {
        let before = old.storage(&storage.name);
        if before.is_some_and(|before| before.kind != storage.kind) {
            changes.push(format!("storage `{}` leads elsewhere", storage.name));
        }
    }
    let names = |config: &Config| config.alerts.sinks.iter().map(|s| s.name.clone()).collect();
    listed("alert sink", names(old), names(new), &mut changes);
    for sink in &new.alerts.sinks {
        let before = old.alerts.sinks.iter().find(|s| s.name == sink.name);
        if before.is_some_and(|before| before != sink) {
            changes.push(format!("alert sink `{}` changed", sink.name));
        }
    }
    schedules(old, new, &mut changes);
    retention(old, new, &mut changes);
    sections(old, new, &mut changes);
    changes
}

fn databases(old: &Config, new: &Config, changes: &mut Vec<String>) {
    let names = |config: &Config| {
        let names = config.databases.iter();
        names.map(|database| database.name.to_string()).collect()
    };
    listed("database", names(old), names(new), changes);
    for database in &new.databases {
        let before = old.database(&database.name);
        if let Some(before) = before.filter(|before| *before != database) {
            let what = database_changes(before, database).join(", ");
            changes.push(format!("database `{}` changed: {what}", database.name));
        }
    }
}

fn database_changes(old: &Database, new: &Database) -> Vec<String> {
    let mut what = Vec::new();
    let mut note = |changed: bool, text: String| {
        if changed {
            what.push(text);
        }
    };
    let show = |database: &Database| {
        let own = database.schedule.as_ref();
        own.map_or("nightly".to_owned(), ToString::to_string)
    };
    note(old.source != new.source, "source".to_owned());
    note(
        old.priority != new.priority,
        format!("priority {} → {}", old.priority, new.priority),
    );
    note(
        old.schedule != new.schedule,
        format!("schedule `{}` → `{}`", show(old), show(new)),
    );
    note(
        old.export.timeout != new.export.timeout,
        format!(
            "timeout {} → {}",
            duration_text(old.export.timeout),
            duration_text(new.export.timeout)
        ),
    );
    let rest = |database: &Database| {
        let export = database.export;
        (export.retries, export.compression, export.verify)
    };
    note(rest(old) != rest(new), "export".to_owned());
    note(old.skip_data != new.skip_data, "skip_data".to_owned());
    note(old.script != new.script, "script".to_owned());
    let rules = |database: &Database| (database.alerts, database.table_rows_below.clone());
    note(rules(old) != rules(new), "alert thresholds".to_owned());
    note(old.form != new.form, "method".to_owned());
    let place = |database: &Database| (database.restore_after.clone(), database.reason.clone());
    note(place(old) != place(new), "order of restore".to_owned());
    note(old.description != new.description, "description".to_owned());
    what
}

fn listed(what: &str, old: Vec<String>, new: Vec<String>, changes: &mut Vec<String>) {
    for name in new.iter().filter(|name| !old.contains(name)) {
        changes.push(format!("{what} `{name}` is new"));
    }
    for name in old.iter().filter(|name| !new.contains(name)) {
        let kept = if what == "database" {
            "; its copies stay"
        } else {
            ""
        };
        changes.push(format!("{what} `{name}` is gone{kept}"));
    }
    if new.first() != old.first() && what == "storage" {
        let name = new.first().map_or("", String::as_str);
        changes.push(format!("storage `{name}` is the primary now"));
    }
}

fn schedules(old: &Config, new: &Config, changes: &mut Vec<String>) {
    let (old, new) = (&old.jobs, &new.jobs);
    for (name, old, new) in [
        ("nightly", &old.nightly, &new.nightly),
        ("weekly", &old.weekly, &new.weekly),
        ("reconcile", &old.reconcile, &new.reconcile),
        ("verify", &old.verify, &new.verify),
    ] {
        if old != new {
            changes.push(format!("schedule {name} `{old}` → `{new}`"));
        }
    }
    if old.drill != new.drill {
        let word = |drill: &Option<Schedule>| {
            let text = drill.as_ref().map(|schedule| format!("`{schedule}`"));
            text.unwrap_or_else(|| "never".to_owned())
        };
        let (old, new) = (word(&old.drill), word(&new.drill));
        changes.push(format!("schedule drill {old} → {new}"));
    }
    if old.catch_up != new.catch_up {
        let (old, new) = (duration_text(old.catch_up), duration_text(new.catch_up));
        changes.push(format!("schedule catch_up {old} → {new}"));
    }
}

fn retention(old: &Config, new: &Config, changes: &mut Vec<String>) {
    let (old, new) = (old.retention, new.retention);
    for (name, old, new) in [
        ("daily_days", old.daily_days, new.daily_days),
        ("weekly_weeks", old.weekly_weeks, new.weekly_weeks),
        ("min_copies", old.min_copies, new.min_copies),
    ] {
        if old != new {
            changes.push(format!("retention {name} {old} → {new}"));
        }
    }
    if old.grace != new.grace {
        let (old, new) = (duration_text(old.grace), duration_text(new.grace));
        changes.push(format!("retention grace {old} → {new}"));
    }
}

fn sections(old: &Config, new: &Config, changes: &mut Vec<String>) {
    let mut note = |changed: bool, text: &str| {
        if changed {
            changes.push(text.to_owned());
        }
    };
    note(old.agent.name != new.agent.name, "agent name changed");
    note(
        old.agent.timezone != new.agent.timezone,
        "agent timezone changed",
    );
    note(
        old.agent.state != new.agent.state,
        "agent state changed: restart to apply",
    );
    note(
        old.export.concurrency != new.export.concurrency,
        "export concurrency changed",
    );
    note(
        old.cloudflare != new.cloudflare,
        "cloudflare account or token changed",
    );
    note(old.hooks != new.hooks, "hooks changed");
    let rules = |config: &Config| {
        let alerts = &config.alerts;
        let told = (alerts.on_success, alerts.on_failure, alerts.redact);
        (told, alerts.thresholds)
    };
    note(rules(old) != rules(new), "alert rules changed");
    note(
        old.http.listen != new.http.listen,
        "http listen changed: restart to apply",
    );
    let mut http = new.http.clone();
    http.listen = old.http.listen;
    let follows = |http: &Http| http.public_url == format!("http://{}", http.listen);
    if follows(&old.http) && follows(&new.http) {
        http.public_url.clone_from(&old.http.public_url);
    }
    note(http != old.http, "http access changed");
}
