//! `patina pin`, `unpin`, `ack` and `forget`: record a person's decisions about the expiry of copies.

use std::io::{self, BufRead, IsTerminal};

use super::address::{Address, resolve, unknown};
use super::args::{ForgetArgs, PinArgs};
use super::context::{Context, tell};
use super::exit::{Exit, Refusal};
use crate::clock::{Clock, SystemClock};
use crate::types::{DatabaseName, counted, either};

/// Runs `patina pin`.
pub(super) fn pin(context: &Context, args: &PinArgs) -> anyhow::Result<Exit> {
    let (config, catalog) = context.open()?;
    let copy = resolve(&args.copy, &catalog, &config)?;
    let now = SystemClock::new().now();
    catalog.pin(copy.object(), args.reason.as_deref(), now)?;
    context.print(format_args!(
        "{} stays whatever its age\nhint: `patina unpin {}` lets it go again",
        copy.object(),
        args.copy
    ))?;
    Ok(Exit::Ok)
}

/// Runs `patina unpin`.
pub(super) fn unpin(context: &Context, address: &Address) -> anyhow::Result<Exit> {
    let (config, catalog) = context.open()?;
    let copy = resolve(address, &catalog, &config)?;
    let key = copy.object();
    if !catalog.unpin(key)? {
        let text =
            format!("`{key}` is not pinned\nhint: `patina plan` shows why each object stays");
        return Err(Refusal::failed(text).into());
    }
    context.print(format_args!(
        "{key} is kept as long as every other copy of its age"
    ))?;
    Ok(Exit::Ok)
}

/// Runs `patina ack`.
pub(super) fn acknowledge(context: &Context, databases: &[DatabaseName]) -> anyhow::Result<Exit> {
    let (config, catalog) = context.open()?;
    let now = SystemClock::new().now();
    let care = catalog.care(now)?;
    let frozen = care.held(now);
    for name in databases {
        if config.database(name).is_none() && !frozen.contains_key(name) {
            return Err(unknown(name, &catalog, &config)?.into());
        }
    }
    for name in databases {
        let reason = frozen.get(name).map(String::as_str);
        let is_frozen = catalog.acknowledge(name, now)? || reason.is_some();
        let text = match is_frozen {
            true => format!(
                "{name}: expiry goes on in spite of what was found up to now: {}",
                reason
                    .unwrap_or_default()
                    .lines()
                    .next()
                    .unwrap_or_default()
            ),
            false => format!("{name}: nothing held expiry up"),
        };
        context.print(text)?;
        if let Some(suspect) = care.suspect.get(name) {
            tell(format_args!(
                "warning: {name}: {}; for eight days its older copies expire by their age all the same\nhint: `patina pin` \
                 keeps the last healthy one; repair the source, and back it up",
                suspect.why()
            ));
        }
    }
    Ok(Exit::Ok)
}

/// Runs `patina forget`.
pub(super) fn forget(context: &Context, args: &ForgetArgs) -> anyhow::Result<Exit> {
    let (config, catalog) = context.open()?;
    let name = &args.database;
    if config.database(name).is_some() {
        let text = format!(
            "`{name}` is in the configuration: its copies are kept\nhint: `patina remove {name}` first"
        );
        return Err(Refusal::usage(text).into());
    }
    let held = catalog.held(name, None, None)?;
    if held.is_empty() {
        return Err(unknown(name, &catalog, &config)?.into());
    }
    tell(format_args!(
        "{} of `{name}`, the newest of {}, {} by {} age from now on, the last one too.",
        counted(held.len(), "copy"),
        held[0].date,
        either(held.len(), "expires", "expire"),
        either(held.len(), "its", "their"),
    ));
    if !args.yes && !is_confirmed(name)? {
        return Err(Refusal::failed("nothing was changed").into());
    }
    catalog.forget(name, SystemClock::new().now())?;
    context.print(format_args!(
        "{name} is forgotten: the next `patina expire` lets its old copies go\n\
         hint: `patina add {name} …` before that keeps them"
    ))?;
    Ok(Exit::Ok)
}

fn is_confirmed(name: &DatabaseName) -> anyhow::Result<bool> {
    if !io::stdin().is_terminal() {
        let text =
            format!("`patina forget {name}` asks, and there is no terminal\nhint: add `--yes`");
        return Err(Refusal::usage(text).into());
    }
    tell(format_args!("Write the database's name to confirm:"));
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim() == name.as_str())
}
