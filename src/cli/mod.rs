//! Parses the arguments, runs one command, and shows the result. Invariant: results go to stdout, everything else to
//! stderr; the exit code is one of [`Exit`].

mod absent;
mod address;
mod alert;
mod args;
mod audit;
mod backup;
mod bug;
mod cat;
mod check;
mod context;
mod daemon;
mod demo;
mod diff;
mod discover;
mod drill;
mod edit;
mod exit;
#[cfg(test)]
mod fuzz;
mod generate;
mod guide;
mod handover;
mod hands;
mod hook;
mod install;
mod keep;
mod key;
mod list;
mod log;
mod meter;
mod names;
mod next;
mod online;
mod query;
mod reconcile;
mod reload;
mod restore;
mod show;
mod show_config;
mod shown;
mod signals;
mod table;
mod verify;
mod ways;
mod week;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use self::args::{AlertCommand, Arguments, Command, ConfigCommand, KeyCommand, LogFormat};
use self::context::{Context, tell, tell_drawn};
use self::exit::Refusal;
use crate::app::AppError;
use crate::config::Problems;
use crate::quote;

pub use self::exit::Exit;

/// Time that abandoned blocking work may delay the end.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(1);

/// Runs the command in the process's arguments.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return refused(&error),
    };
    if let Command::HookCall { inside } = arguments.command {
        return crate::hook::answer_call(inside);
    }
    log::start(&arguments.global, &arguments.command);
    let is_daemon = matches!(arguments.command, Command::Run);
    bug::watch(arguments.global.log_format, is_daemon);
    let context = Context::new(&arguments.global);
    let exit = bug::guarded(|| match run(&context, arguments.command) {
        Ok(exit) => exit,
        Err(error) => report(&context, &error),
    });
    exit.into()
}

/// Prints help, version or an error in the arguments, the last with [`Exit::Usage`]; arguments are repeated without
/// hidden characters.
fn refused(error: &clap::Error) -> ExitCode {
    let arguments = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned());
    let arguments: Vec<String> = arguments.collect();
    if arguments.iter().all(|argument| quote::is_plain(argument)) {
        error.exit();
    }
    let shown = arguments
        .iter()
        .map(|argument| quote::line(argument).into_owned());
    match Arguments::try_parse_from(shown) {
        Err(error) => error.exit(),
        Ok(_) => tell("error: an argument holds a character that cannot be seen"),
    }
    Exit::Usage.into()
}

fn run(context: &Context, command: Command) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(async {
        match command {
            Command::Run => daemon::run(context).await,
            Command::Reload => reload::run(context).await,
            Command::Next(args) => next::run(context, &args),
            Command::Backup(args) => backup::run(context, &args).await,
            Command::List(args) => list::run(context, &args),
            Command::Show { copy } => show::run(context, &copy),
            Command::Guide { copy } => guide::guide(context, &copy),
            Command::Runbook => guide::runbook(context),
            Command::Cat(args) => cat::run(context, &args).await,
            Command::Restore(args) => restore::run(context, &args).await,
            Command::Query(args) => query::run(context, &args).await,
            Command::Diff(args) => diff::run(context, &args).await,
            Command::Verify(args) => verify::run(context, &args).await,
            Command::Drill(args) => drill::run(context, &args).await,
            Command::Archive => week::archive(context).await,
            Command::Plan => week::plan(context).await,
            Command::Expire(args) => week::expire(context, &args).await,
            Command::Reconcile(args) => reconcile::run(context, &args).await,
            Command::Rebuild(args) => reconcile::rebuild(context, &args).await,
            Command::Pin(args) => keep::pin(context, &args),
            Command::Unpin { copy } => keep::unpin(context, &copy),
            Command::Ack { databases } => keep::acknowledge(context, &databases),
            Command::Forget(args) => keep::forget(context, &args),
            Command::Check { online } => check::run(context, online).await,
            Command::Alert(AlertCommand::Test) => alert::test(context).await,
            Command::Discover(args) => discover::run(context, &args).await,
            Command::Config(ConfigCommand::Schema) => generate::schema(context),
            Command::Config(ConfigCommand::Show) => show_config::run(context),
            Command::Key(KeyCommand::New(args)) => key::new(context, &args),
            Command::Key(KeyCommand::List) => key::list(context),
            Command::Audit(command) => audit::run(context, &command),
            Command::Hook(command) => hook::run(context, &command).await,
            Command::Init(args) => edit::init(context, &args),
            Command::Add(args) => edit::add(context, &args),
            Command::Remove { name } => edit::remove(context, &name),
            Command::Demo { directory, once } => demo::run(context, &directory, once).await,
            Command::Install(args) => install::run(context, &args),
            Command::Completions { shell } => generate::completions(context, shell),
            Command::HookCall { .. } => unreachable!("`main` answers it"),
            Command::Man { dir } => generate::man(context, dir.as_deref()),
        }
    });
    runtime.shutdown_timeout(SHUTDOWN_GRACE);
    ended
}

/// Reports an error once and returns the exit code.
fn report(context: &Context, error: &anyhow::Error) -> Exit {
    if let Some(cause) = error.downcast_ref::<io::Error>()
        && cause.kind() == io::ErrorKind::BrokenPipe
    {
        // The reader of the output closed the pipe, as `head` does.
        return Exit::Ok;
    }
    let problems = match error.downcast_ref::<AppError>() {
        Some(AppError::Scripts(problems)) => Some(problems),
        _ => error.downcast_ref::<Problems>(),
    };
    if let Some(problems) = problems {
        match context.log_format {
            LogFormat::Json => tracing::error!("{}", problems.short()),
            LogFormat::Text => tell_problems(context, problems),
        }
        return Exit::Usage;
    }
    match context.log_format {
        LogFormat::Json => tracing::error!("{error:#}"),
        LogFormat::Text => tell(format_args!("error: {error:#}")),
    }
    let refusal = error.downcast_ref::<Refusal>();
    refusal.map_or(Exit::Failed, |refusal| refusal.exit)
}

fn tell_problems(context: &Context, problems: &Problems) {
    if context.json {
        let _ = context.print_json(&problems.json());
        return;
    }
    tell_drawn(context.shown(problems));
    if problems.has_errors() {
        let errors = problems
            .iter()
            .filter(|problem| problem.severity == crate::config::Severity::Error)
            .count();
        let mistakes = crate::types::counted(errors, "mistake");
        tell(format_args!(
            "error: the configuration has {mistakes}; nothing was done"
        ));
    }
    let _ = io::stderr().flush();
}
