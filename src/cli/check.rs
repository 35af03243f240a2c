//! `patina check`: what the configuration means, or everything that is wrong with it.

use serde_json::json;

use super::context::{Context, in_spite_of, tell};
use super::exit::Exit;
use super::online;
use crate::app;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;

/// Runs `patina check`.
pub(super) async fn run(context: &Context, goes_online: bool) -> anyhow::Result<Exit> {
    let loaded = context.load_with_scripts()?;
    let config = &loaded.config;
    let now = SystemClock::new().now();
    let trials = match goes_online {
        true => Some(app::online::try_all(config).await?),
        false => None,
    };
    let exit = trials.as_deref().map_or(Exit::Ok, online::exit);
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
        if let Some(trials) = &trials {
            document["online"] = online::document(trials);
        }
        return Ok(in_spite_of(context.print_json(&document), exit));
    }
    context.print(config.summary(now))?;
    for warning in &loaded.warnings {
        tell(warning);
    }
    let shown = trials.map_or(Ok(()), |trials| online::show(context, &trials));
    Ok(in_spite_of(shown, exit))
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
