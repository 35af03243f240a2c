//! `patina check`: what the configuration means, or everything that is wrong with it.

use serde_json::json;

use super::context::{Context, tell};
use super::exit::Exit;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

/// Runs `patina check`.
pub(super) fn run(context: &Context) -> anyhow::Result<Exit> {
    let loaded = context.load()?;
    let config = &loaded.config;
    let now = SystemClock::new().now();
    if context.json {
        let mut document = loaded.warnings.json();
        document["agent"] = config.agent().name.as_str().into();
        document["timezone"] = config.agent().timezone.name().into();
        document["databases"] = databases(config);
        document["next_runs"] = config
            .next_runs(now)
            .iter()
            .map(
                |run| json!({"name": run.name, "schedule": run.schedule.to_string(), "at": run.at}),
            )
            .collect();
        context.print_json(&document)?;
        return Ok(Exit::Ok);
    }
    context.print(config.summary(now))?;
    for warning in &loaded.warnings {
        tell(warning);
    }
    Ok(Exit::Ok)
}

fn databases(config: &Config) -> serde_json::Value {
    let databases = config.databases().iter();
    databases
        .map(|database| {
            json!({
                "name": database.name,
                "priority": database.priority,
                "kind": database.source.kind(),
                "location": database.source.location(),
            })
        })
        .collect()
}
