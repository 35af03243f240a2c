//! `patina discover`: shows which D1 databases of the account are backed up. Invariant: an incomplete list is never
//! shown, and no token appears.

use std::path::Path;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::args::DiscoverArgs;
use super::context::{Context, in_spite_of, printable, tell};
use super::edit::{option_for, replace};
use super::exit::{Exit, Refusal};
use super::names::hint_for;
use super::table::{Side, Table};
use crate::app;
use crate::config::edit::add_database;
use crate::config::{Config, D1Method, SourceSpec, System, read_text};
use crate::source::d1::{Discovered, Standing, compare, name_for};
use crate::types::DatabaseName;

/// Name that is added to a file without databases, so that the rest of it can be read.
const PLACEHOLDER: &str = "patina-placeholder";

const NO_ACCOUNT: &str = "the configuration names no Cloudflare account, so there is nothing to look through\n\
     hint: add a `[cloudflare]` section with `account_id = \"env:CLOUDFLARE_ACCOUNT_ID\"` and \
     `api_token = \"env:CLOUDFLARE_API_TOKEN\"`; the token needs Account > D1 > Read";

/// Runs `patina discover`.
pub(super) async fn run(context: &Context, args: &DiscoverArgs) -> anyhow::Result<Exit> {
    // Read before the configuration, so that a change in between is noticed when it is written.
    let text = read_text(&context.config).unwrap_or_default();
    let config = load(context, &text)?;
    let client = app::client(&config, &app::system_clock())?.ok_or(Refusal::usage(NO_ACCOUNT))?;
    let listed = client.databases(&CancellationToken::new()).await?;
    let mut found = compare(&config, &listed);
    let added = match &args.add {
        Some(names) => add(context, &config, &text, names, &mut found)?,
        None => Vec::new(),
    };
    let left = count(&found, &Standing::Unprotected);
    let exit = match args.check && left > 0 {
        true => Exit::Partly,
        false => Exit::Ok,
    };
    Ok(show(context, &found, &added, exit))
}

/// Reads the configuration; one that only lacks a first database is accepted here.
fn load(context: &Context, text: &str) -> anyhow::Result<Config> {
    let problems = match Config::load(&context.config) {
        Ok(loaded) => return Ok(loaded.config),
        Err(problems) => problems,
    };
    let name: DatabaseName = PLACEHOLDER.parse().expect("it is a valid name");
    let source = SourceSpec::Sqlite(PLACEHOLDER.into());
    let folder = context.config.parent().unwrap_or(Path::new(""));
    let path = context.config.display().to_string();
    let filled = add_database(text, &name, &source).ok();
    let loaded = filled.and_then(|text| Config::from_text(&text, &path, folder, &System).ok());
    match loaded {
        Some(loaded) if !text.trim().is_empty() => Ok(loaded.config),
        _ => Err(problems.into()),
    }
}

/// Adds the unprotected databases to the file, all or those with these names, and returns their names there.
fn add(
    context: &Context,
    config: &Config,
    text: &str,
    names: &[String],
    found: &mut [Discovered],
) -> anyhow::Result<Vec<DatabaseName>> {
    refuse_unknown(names, found)?;
    let mut edited = text.to_owned();
    let mut added: Vec<DatabaseName> = Vec::new();
    for database in found {
        let is_wanted = names.is_empty() || names.iter().any(|name| is_called(database, name));
        if !is_wanted || database.standing != Standing::Unprotected {
            continue;
        }
        let name = free_name(config, database, &added)?;
        let source = SourceSpec::D1 {
            id: database.id.clone(),
            method: D1Method::default(),
        };
        edited = add_database(&edited, &name, &source)
            .map_err(|error| Refusal::usage(error.to_string()))?;
        database.standing = Standing::Protected(name.clone());
        added.push(name);
    }
    if !added.is_empty() {
        replace(&context.config, text, &edited)?;
    }
    Ok(added)
}

fn refuse_unknown(names: &[String], found: &[Discovered]) -> Result<(), Refusal> {
    let known = found.iter().filter_map(|one| one.listed_name.as_deref());
    let unknown = names
        .iter()
        .find(|name| !found.iter().any(|database| is_called(database, name)));
    match unknown {
        None => Ok(()),
        Some(name) => Err(Refusal::usage(format!(
            "the account has no D1 database called `{}`; nothing was added\nhint: {}",
            printable(name),
            printable(&hint_for(name, known))
        ))),
    }
}

/// True if the text names this database: by its name in the account, or by its id.
fn is_called(database: &Discovered, name: &str) -> bool {
    let is_listed = database.listed_name.is_some();
    let by_name = database.listed_name.as_deref() == Some(name);
    by_name || (is_listed && database.id.eq_ignore_ascii_case(name))
}

fn free_name(
    config: &Config,
    database: &Discovered,
    added: &[DatabaseName],
) -> Result<DatabaseName, Refusal> {
    let listed = database.listed_name.as_deref().unwrap_or_default();
    let is_taken = |name: &DatabaseName| config.database(name).is_some() || added.contains(name);
    name_for(listed, &database.id, is_taken).ok_or_else(|| {
        let (listed, id) = (printable(listed), &database.id);
        Refusal::usage(format!(
            "every name made of `{listed}` is taken; nothing was added\n\
             hint: choose one: `patina add NAME --d1 {id}`"
        ))
    })
}

fn count(found: &[Discovered], standing: &Standing) -> usize {
    let word = standing.word();
    let alike = found.iter().filter(|one| one.standing.word() == word);
    alike.count()
}

fn show(context: &Context, found: &[Discovered], added: &[DatabaseName], exit: Exit) -> Exit {
    if context.json {
        let databases: Vec<Value> = found.iter().map(document).collect();
        let document = json!({ "databases": databases, "added": added });
        return in_spite_of(context.print_json(&document), exit);
    }
    let unprotected = count(found, &Standing::Unprotected);
    let absent: Vec<_> = found
        .iter()
        .filter_map(|one| match &one.standing {
            Standing::Absent(name) => Some(name),
            _ => None,
        })
        .collect();
    let listed = found.len() - absent.len();
    let protected = listed - unprotected;
    let shown = context.print(format_args!(
        "{}\n\nof {listed} D1 databases in the account, {protected} protected and {unprotected} not",
        table(found)
    ));
    let with = option_for(&context.config);
    for name in added {
        let file = context.config.display();
        tell(format_args!(
            "added `{name}` to {file}; next: patina{with} backup {name}"
        ));
    }
    if unprotected > 0 {
        tell(format_args!(
            "warning: no backup is made of {unprotected} of them\n\
             hint: `patina{with} discover --add` adds them all, `--add NAME` one"
        ));
    }
    for name in absent {
        tell(format_args!(
            "warning: the account does not have the D1 database of `{name}`\n\
             hint: correct its `d1`, or `patina{with} remove {name}`; its copies are kept"
        ));
    }
    in_spite_of(shown, exit)
}

fn table(found: &[Discovered]) -> Table<4> {
    let mut table = Table::new([
        ("STANDING", Side::Left),
        ("DATABASE", Side::Left),
        ("IN THE ACCOUNT", Side::Left),
        ("ID", Side::Left),
    ]);
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    for one in found {
        table.row([
            one.standing.word().to_owned(),
            or_dash(one.standing.configured_name().map(ToString::to_string)),
            or_dash(one.listed_name.as_deref().map(printable)),
            printable(&one.id),
        ]);
    }
    table
}

fn document(one: &Discovered) -> Value {
    json!({
        "standing": one.standing.word(),
        "name": one.standing.configured_name(),
        "listed_name": one.listed_name,
        "id": one.id,
    })
}
