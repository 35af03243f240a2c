//! `patina check`: shows a summary of the configuration, or all its errors.

use serde_json::json;

use super::context::{Context, in_spite_of, tell};
use super::exit::Exit;
use super::{absent, key, online};
use crate::app;
use crate::catalog::{Reload, ReloadOutcome};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::engine::foresee;

/// Runs `patina check`.
pub(super) async fn run(context: &Context, goes_online: bool) -> anyhow::Result<Exit> {
    let loaded = context.load_with_scripts()?;
    let (config, mut warnings) = (&loaded.config, loaded.warnings);
    if !goes_online {
        // Else each is opened, and its error says more.
        warnings.append(absent::warnings(config));
    }
    let now = SystemClock::new().now();
    let trials = match goes_online {
        true => Some(app::online::try_all(config).await?),
        false => None,
    };
    // If the catalog cannot be read, other commands report that.
    let catalog = app::known(config).ok().flatten();
    let reload = catalog
        .as_ref()
        .and_then(|catalog| catalog.last_reload().ok().flatten());
    let foreseen = catalog.and_then(|catalog| foresee::expirable(&catalog, config, None, now).ok());
    let exit = trials.as_deref().map_or(Exit::Ok, online::exit);
    if context.json {
        let mut document = warnings.json();
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
        document["last_reload"] = reload.map_or(serde_json::Value::Null, |last| {
            json!({"at": last.at, "cause": last.cause.as_str(), "outcome": last.outcome.as_str(), "told": last.told})
        });
        document["expirable"] = json!(foreseen);
        document["old_keys"] = key::warnings(config, now).into();
        if let Some(trials) = &trials {
            document["online"] = online::document(trials);
        }
        return Ok(in_spite_of(context.print_json(&document), exit));
    }
    context.print(config.summary(now))?;
    if let Some(foreseen) = foreseen.filter(|foreseen| foreseen.count() > 0) {
        let at = config.next_expiry(now);
        context.print(format_args!(
            "expiry: with the next weekly run, {at}, {foreseen}; `patina plan` names each"
        ))?;
    }
    if let Some(reload) = reload {
        context.print(format_args!("\n{}", last(&reload, config)))?;
    }
    for warning in &warnings {
        tell(warning);
    }
    for warning in key::warnings(config, now) {
        tell(warning);
    }
    let shown = trials.map_or(Ok(()), |trials| online::show(context, &trials));
    Ok(in_spite_of(shown, exit))
}

/// Describes the daemon's last reload.
fn last(reload: &Reload, config: &Config) -> String {
    let at = reload.at.with_timezone(&config.agent().timezone);
    let at = at.format("%Y-%m-%d %H:%M:%S %Z");
    match reload.outcome {
        ReloadOutcome::Applied => format!("last reload: applied on {at}"),
        ReloadOutcome::Restored => format!("last reload: on {at} the file was as before again"),
        ReloadOutcome::Rejected => {
            let told = reload.told.join("\n");
            format!("last reload: rejected on {at}\n{told}")
        }
    }
}

fn databases(config: &Config) -> serde_json::Value {
    let databases = config.databases().iter();
    databases
        .map(|database| {
            json!({
                "name": database.name,
                "priority": database.priority,
                "restore_after": database.restore_after,
                "kind": database.source.kind(),
                "location": database.source.location(),
            })
        })
        .collect()
}
