//! `patina hook`: lists the hooks, calls one, runs the scripts' own tests, and creates a new script.

mod event;
mod tests;

pub(super) use event::size;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::args::{Format, HookCommand, HookRunArgs};
use super::context::{Context, printable, tell, tell_drawn};
use super::exit::{Exit, Refusal};
use super::names::hint_for;
use super::table::{Side, Table};
use crate::app;
use crate::config::Config;
use crate::hook::{Attached, Effects, HookName, LogLevel, RhaiHooks, Watched};

const TEMPLATE: &str = include_str!("template.rhai");

/// Runs one of the commands.
pub(super) async fn run(context: &Context, command: &HookCommand) -> anyhow::Result<Exit> {
    match command {
        HookCommand::List => list(context),
        HookCommand::Run(args) => watch(context, args).await,
        HookCommand::Test { directory } => tests::run(context, directory.as_deref()).await,
        HookCommand::New { name } => new(context, name),
    }
}

/// Reads the configuration and compiles its scripts; warnings are shown.
fn open(context: &Context) -> anyhow::Result<(Config, RhaiHooks)> {
    let loaded = context.load_with_scripts()?;
    for warning in &loaded.warnings {
        tell(warning);
    }
    let hooks = app::hooks(&loaded.config)?;
    Ok((loaded.config, hooks))
}

fn list(context: &Context) -> anyhow::Result<Exit> {
    let (_, hooks) = open(context)?;
    let attached = hooks.list();
    if context.json {
        let hooks: Vec<Value> = attached.iter().map(document).collect();
        context.print_json(&json!({ "hooks": hooks }))?;
        return Ok(Exit::Ok);
    }
    if attached.is_empty() {
        context.print("no hook is attached: list scripts in `[hooks] scripts`")?;
        return Ok(Exit::Ok);
    }
    let mut table = Table::new([
        ("HOOK", Side::Left),
        ("DATABASES", Side::Left),
        ("WHERE", Side::Left),
        ("WHAT FOR", Side::Left),
    ]);
    for hook in &attached {
        let database = hook.database.as_ref();
        table.row([
            hook.hook.to_string(),
            database.map_or("all".to_owned(), ToString::to_string),
            format!("{}:{}", hook.script, hook.line),
            printable(&hook.doc.join(" ")),
        ]);
    }
    context.print(table)?;
    Ok(Exit::Ok)
}

fn document(hook: &Attached) -> Value {
    json!({
        "hook": hook.hook,
        "database": hook.database,
        "script": hook.script,
        "line": hook.line,
        "doc": hook.doc,
    })
}

async fn watch(context: &Context, args: &HookRunArgs) -> anyhow::Result<Exit> {
    let (config, hooks) = open(context)?;
    let known = HookName::ALL.map(HookName::as_str);
    let hook = HookName::named(&args.hook).ok_or_else(|| {
        let hint = hint_for(&args.hook, known.into_iter());
        Refusal::usage(format!("`{}` is not a hook\nhint: {hint}", args.hook))
    })?;
    let arguments = event::arguments(hook, args)?;
    let effects = match args.live {
        true => Effects::Live,
        false => Effects::Recorded,
    };
    let script = args
        .script
        .as_ref()
        .map(|name| named(&config, name))
        .transpose()?;
    let database = args.database.as_ref();
    let watched = hooks
        .watch(hook, script.as_deref(), database, arguments, effects)
        .await;
    let watched = watched.ok_or_else(|| {
        Refusal::failed(format!(
            "no script defines `{hook}`\nhint: patina hook list"
        ))
    })?;
    show(context, hook, &watched)
}

/// Returns the configured script with this path or name.
fn named(config: &Config, name: &Path) -> Result<PathBuf, Refusal> {
    let own = config
        .databases()
        .iter()
        .filter_map(|database| database.script.as_ref());
    let mut scripts = config.hooks().scripts.iter().chain(own);
    let is_it = |script: &&PathBuf| *script == name || script.file_stem() == Some(name.as_os_str());
    scripts.find(is_it).cloned().ok_or_else(|| {
        let name = name.display();
        Refusal::usage(format!(
            "no script is called `{name}`\nhint: list its file in `[hooks] scripts`"
        ))
    })
}

fn show(context: &Context, hook: HookName, watched: &Watched) -> anyhow::Result<Exit> {
    let exit = match watched.returned {
        Ok(_) => Exit::Ok,
        Err(_) => Exit::Failed,
    };
    let took = watched.took.as_millis();
    if context.json {
        let (returned, error) = match &watched.returned {
            Ok(value) => (json!(value), Value::Null),
            Err(error) => (Value::Null, json!(error.to_string())),
        };
        context.print_json(&json!({
            "hook": hook,
            "returned": returned,
            "error": error,
            "log": watched.log,
            "duration_ms": u64::try_from(took).unwrap_or(u64::MAX),
        }))?;
        return Ok(exit);
    }
    for line in &watched.log {
        let level = match line.level {
            LogLevel::Info => "info",
            LogLevel::Warn => "warning",
            LogLevel::Error => "error",
            LogLevel::Recorded => "not done, for want of --live",
        };
        context.print(format_args!("{level}: {}", printable(&line.text)))?;
    }
    match &watched.returned {
        Ok(Some(Value::String(text))) => context.print(printable(text))?,
        Ok(Some(value)) => context.print_json(value)?,
        Ok(None) => context.print("()")?,
        Err(error) => match &watched.shown {
            Some(problems) if context.format() == Format::Pretty => {
                tell_drawn(context.shown(problems));
            }
            _ => tell(format_args!("error: {error}")),
        },
    }
    context.print(format_args!("{hook} took {took} ms"))?;
    Ok(exit)
}

fn new(context: &Context, name: &str) -> anyhow::Result<Exit> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || !name.chars().all(is_plain) {
        let text =
            format!("`{name}` is no name for a script\nhint: use letters, digits, `_` and `-`");
        return Err(Refusal::usage(text).into());
    }
    let folder = context
        .config
        .parent()
        .unwrap_or(Path::new(""))
        .join("scripts");
    std::fs::create_dir_all(&folder)?;
    let path = folder.join(format!("{name}.rhai"));
    let text = TEMPLATE.replace("NAME", name);
    let mut options = std::fs::OpenOptions::new();
    let created = options.write(true).create_new(true).open(&path);
    let written =
        created.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
    written.map_err(|error| {
        Refusal::failed(format!("`{}` cannot be written: {error}", path.display()))
    })?;
    context.print(format_args!("{} is written", path.display()))?;
    tell(format_args!(
        "hint: add \"scripts/{name}.rhai\" to `[hooks] scripts`, then: patina hook list"
    ));
    Ok(Exit::Ok)
}
