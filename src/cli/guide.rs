//! `patina guide` and `patina runbook`: print how to get databases back in the worst case.

use super::address::{Address, When, resolve, unknown};
use super::context::Context;
use super::exit::Exit;
use crate::clock::{Clock, SystemClock};
use crate::guide::{Guide, Runbook};

/// Runs `patina guide`.
pub(super) fn guide(context: &Context, address: &Address) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    let guide = match address {
        Address::Copy {
            database,
            when: When::Latest(0),
        } => match Guide::read(&config, &catalog, database, None)? {
            Some(guide) => guide,
            None => return Err(unknown(database, &catalog, &config)?.into()),
        },
        other => {
            let found = resolve(other, &catalog, &config)?;
            let manifest = found.manifest();
            let guide = Guide::read(&config, &catalog, &manifest.database, Some(&manifest.key))?;
            guide.expect("it has a copy")
        }
    };
    match context.json {
        true => context.print_json(&guide.document())?,
        false => context.print(guide.markdown().trim_end())?,
    }
    Ok(Exit::Ok)
}

/// Runs `patina runbook`.
pub(super) fn runbook(context: &Context) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let catalog = context.catalog(&config)?;
    let runbook = Runbook::read(&config, &catalog, SystemClock::new().now())?;
    match context.json {
        true => context.print_json(&runbook.document())?,
        false => context.print(runbook.markdown().trim_end())?,
    }
    Ok(Exit::Ok)
}
