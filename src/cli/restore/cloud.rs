//! Restores into a D1 database: finds it by name or id, and asks before anything there is replaced.

use std::io::{self, BufRead, IsTerminal};
use std::sync::Arc;
use std::time::Instant;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::report::{self, Done};
use super::{What, overwrite};
use crate::app;
use crate::cli::args::RestoreArgs;
use crate::cli::context::{Context, tell};
use crate::cli::exit::{Exit, Refusal};
use crate::cli::meter::ByteMeter;
use crate::cli::names::hint_for;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, SourceSpec};
use crate::engine::restore::{self, Cloud, Job, Overwrite};
use crate::source::d1::Client;
use crate::types::counted;

/// Prefix of a target in D1.
pub(super) const PREFIX: &str = "d1:";

/// Restores `what` into the D1 database with the name or id `name`.
pub(super) async fn run(
    context: &Context,
    args: &RestoreArgs,
    what: &What,
    name: &str,
    stop: &CancellationToken,
) -> anyhow::Result<Exit> {
    let cloud = find(context, args, name, stop).await?;
    let there = cloud.look(stop).await.map_err(|error| what.told(error))?;
    let tables = there.iter().filter(|entry| entry.kind == "table").count();
    if args.dry_run {
        return plan(context, args, what, &cloud, tables);
    }
    let tables = counted(tables as u64, "table");
    if !there.is_empty() && overwrite(args) == Overwrite::AfterCopy {
        let target = cloud.what();
        tell(match args.tables.as_slice() {
            [] => format!("{target} has {tables}, which the copy replaces"),
            some => format!("{target}: the tables {} are replaced", some.join(", ")),
        });
        if !args.yes && !is_confirmed(&cloud.name)? {
            return Err(Refusal::failed("nothing was changed").into());
        }
    }
    let started = Instant::now();
    let meter = ByteMeter::start(context, what.origin.stored_bytes());
    let job = Job {
        origin: &what.origin,
        tables: &args.tables,
        progress: &meter.progress,
        stop,
    };
    let now = SystemClock::new().now();
    let restored = restore::to_d1(&job, &cloud, overwrite(args), now).await;
    meter.stop().await;
    let done = Done {
        what,
        target: cloud.what(),
        restored: restored.map_err(|error| what.told(error))?,
        duration: started.elapsed(),
    };
    Ok(report::show(context, &[done]))
}

async fn find(
    context: &Context,
    args: &RestoreArgs,
    wanted: &str,
    stop: &CancellationToken,
) -> anyhow::Result<Cloud> {
    let config = context.load()?.config;
    let client = app::client(&config, &app::system_clock())?;
    let client: Arc<Client> = client.ok_or_else(|| {
        let text = "there is no [cloudflare] in the configuration\nhint: it says which account and with which token; \
                    restoring needs the permission Account > D1 > Edit";
        Refusal::usage(text)
    })?;
    let listed = client.databases(stop).await?;
    let by_listing = listed
        .iter()
        .find(|database| database.uuid.eq_ignore_ascii_case(wanted) || database.name == wanted);
    let configured = configured_id(&config, wanted);
    let found = match (by_listing, &configured) {
        (Some(by_name), Some(id)) if !by_name.uuid.eq_ignore_ascii_case(id) => {
            let text = format!(
                "`{wanted}` is the account's name for {} and this configuration's for {id}\nhint: write the id: \
                 `--to d1:{id}`",
                by_name.uuid
            );
            return Err(Refusal::usage(text).into());
        }
        (Some(database), _) => Some(database),
        (None, Some(id)) => listed
            .iter()
            .find(|database| database.uuid.eq_ignore_ascii_case(id)),
        (None, None) => None,
    };
    let found = found.ok_or_else(|| {
        let hint = hint_for(wanted, listed.iter().map(|database| database.name.as_str()));
        Refusal::usage(format!(
            "the account has no D1 database `{wanted}`\nhint: {hint}"
        ))
    })?;
    let in_state = || config.agent().state.join("safety");
    Ok(Cloud {
        client,
        id: found.uuid.clone(),
        name: found.name.clone(),
        safety_folder: args.safety_copy.clone().unwrap_or_else(in_state),
    })
}

/// Returns the id of the configured D1 database of this name.
fn configured_id(config: &Config, name: &str) -> Option<String> {
    let mut databases = config.databases().iter();
    let database = databases.find(|database| database.name.as_str() == name)?;
    match &database.source {
        SourceSpec::D1 { id, .. } => Some(id.clone()),
        SourceSpec::Sqlite(_) => None,
    }
}

fn plan(
    context: &Context,
    args: &RestoreArgs,
    what: &What,
    cloud: &Cloud,
    tables: usize,
) -> anyhow::Result<Exit> {
    let is_refused = tables > 0 && args.tables.is_empty() && overwrite(args) == Overwrite::Never;
    let held = counted(tables as u64, "table");
    let action = match tables {
        0 => "empty".to_owned(),
        _ if is_refused => format!("has {held}: needs `--replace`"),
        _ => format!(
            "has {held}: a proven safety copy goes to {} first",
            cloud.safety_folder.display()
        ),
    };
    match context.json {
        true => context.print_json(&json!({ "plan": [{
            "copy": what.name, "target": cloud.what(), "id": cloud.id, "tables_there": tables, "action": action,
        }]}))?,
        false => context.print(format_args!(
            "copy    {}\ntarget  {}: {action}\n\nnothing was changed",
            what.name,
            cloud.what()
        ))?,
    }
    match is_refused {
        true => {
            Err(Refusal::failed(format!("{} is not empty\nhint: `--replace`", cloud.what())).into())
        }
        false => Ok(Exit::Ok),
    }
}

fn is_confirmed(name: &str) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        let text = "`patina restore` asks before it replaces what is in D1, and there is no terminal\nhint: add `--yes`";
        return Err(Refusal::usage(text).into());
    }
    tell(format_args!(
        "Write the D1 database's name, `{name}`, to confirm:"
    ));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == name)
}
