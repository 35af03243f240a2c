//! Names every command and argument. Invariant: what clap accepts here needs no second check of its form.

mod access;
mod recovery;

pub(super) use access::*;
pub(super) use recovery::*;

use std::path::PathBuf;

use clap::{ArgGroup, Args, Parser, Subcommand, ValueEnum};

use super::address::Address;
use crate::types::{BackupDate, DatabaseName};

/// Backups of SQLite and Cloudflare D1 databases that count only after they were restored and compared.
#[derive(Debug, Parser)]
#[command(name = "patina", version, arg_required_else_help = true)]
#[command(after_help = "\
Addresses of copies: `blog` or `blog@latest` (the newest), `blog@latest~2` (two before it), \
`blog@2026-11-20` (the newest of that day), or an object's key.

Exit codes: 0 done; 1 failed, nothing done; 2 wrong arguments or configuration; 3 some databases failed; \
4 damage found; 5 stale; 70 a bug of Patina; 75 skipped by a hook. `patina diff` ends as diff does: 0 equal, 1 different, 2 trouble.")]
pub(super) struct Arguments {
    #[command(flatten)]
    pub(super) global: Global,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// The configuration
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "PATINA_CONFIG",
        default_value = "patina.toml"
    )]
    pub(super) config: PathBuf,
    /// Print one JSON document instead of text
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// How mistakes in the configuration are shown; pretty on a terminal, else short
    #[arg(long, global = true, value_name = "FORM")]
    pub(super) format: Option<Format>,
    /// Log more; twice: everything. `RUST_LOG` says it in detail
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Show no progress
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// How the log is written to stderr
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        env = "PATINA_LOG_FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: LogFormat,
}

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// How mistakes in the configuration are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One line each, as compilers do
    Short,
    /// With the lines they are about
    Pretty,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Work by schedule until told to end: the daemon
    Run,
    /// Tell the running daemon to read its configuration again, and what came of it
    Reload,
    /// Say when everything runs next
    Next(NextArgs),
    /// Back up databases: export, restore, compare, store
    Backup(BackupArgs),
    /// List copies, the newest first
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show everything about one copy
    Show {
        /// Which copy
        #[arg(value_name = "DB[@WHEN]")]
        copy: Address,
    },
    /// Write one copy's SQL to stdout
    Cat(CatArgs),
    /// Print how to get a database back: every way there is, command by command
    Guide {
        /// Which copy
        #[arg(value_name = "DB[@WHEN]")]
        copy: Address,
    },
    /// Print what to do when more than one database is lost
    Runbook,
    /// Restore a copy into a file or into D1: proven first, table by table
    Restore(RestoreArgs),
    /// Ask a copy one question in SQL, without restoring it anywhere
    Query(QueryArgs),
    /// Say what changed from one copy to another; ends with 0 where nothing did, 1 where something did, 2 in trouble
    Diff(DiffArgs),
    /// Read stored copies again and compare every byte with what was stored
    Verify(VerifyArgs),
    /// Rehearse the worst day: restore the newest copy of every database from storage, prove it, and say how long it took
    ///
    /// The databases are made in `$TMPDIR`, by a running daemon in its state folder, one after the other, and removed again. No target is touched.
    Drill(DrillArgs),
    /// Pack every good copy up to the last Sunday into the week's archive
    Archive,
    /// Show of every stored object whether it stays or may go, and by which rule
    Plan,
    /// Delete what may go
    Expire(ExpireArgs),
    /// Compare what the catalog knows with what the storages hold; deletes nothing
    Reconcile(ReconcileArgs),
    /// Make a lost catalog anew from the storages; deletes nothing
    Rebuild(RebuildArgs),
    /// Keep a copy whatever its age
    Pin(PinArgs),
    /// Let a pinned copy go with its age again
    Unpin {
        /// Which copy
        #[arg(value_name = "DB[@WHEN]")]
        copy: Address,
    },
    /// Let expiry go on for databases in spite of the damage found up to now
    Ack {
        /// The databases
        #[arg(value_name = "DB", required = true)]
        databases: Vec<DatabaseName>,
    },
    /// Give up the copies of a database that left the configuration
    Forget(ForgetArgs),
    /// Say what the configuration means, or every mistake in it
    Check {
        /// Also try every source, storage, alert sink and the API token
        #[arg(long)]
        online: bool,
    },
    /// Try the alert sinks
    #[command(subcommand)]
    Alert(AlertCommand),
    /// List the D1 databases of the Cloudflare account and which of them nothing backs up
    Discover(DiscoverArgs),
    /// Print the configuration's schema or meaning
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Make a key for the API
    #[command(subcommand)]
    Key(KeyCommand),
    /// Look at who was given what
    #[command(subcommand)]
    Audit(AuditCommand),
    /// See, try and test the hooks of the scripts
    #[command(subcommand)]
    Hook(HookCommand),
    /// Write a small commented configuration
    Init(InitArgs),
    /// Add a database to the configuration
    Add(AddArgs),
    /// Take a database out of the configuration; its copies are kept
    Remove {
        /// The database
        name: DatabaseName,
    },
    /// Make six small databases and back them up, to see how it works
    Demo {
        /// Where to make them
        #[arg(value_name = "DIR", default_value = "demo")]
        directory: PathBuf,
        /// Do not serve the dashboard afterwards, as where nobody sits at a terminal
        #[arg(long)]
        once: bool,
    },
    /// Answer one call of a hook: the child of a running Patina
    #[command(hide = true, name = crate::hook::COMMAND)]
    HookCall {
        /// Run the script in this process
        #[arg(long)]
        inside: bool,
    },
    /// Print or write what another program needs to run the daemon
    #[command(arg_required_else_help = true)]
    Install(InstallArgs),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page, or write those of all commands
    Man {
        /// Write one page per command into this folder
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
}

/// `patina install`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("form").args(["print", "write"])))]
pub(super) struct InstallArgs {
    /// For systemd: the unit, its user and its folders
    #[arg(long, required = true)]
    pub(super) systemd: bool,
    /// Print what would be written; so it is where neither is said
    #[arg(long)]
    pub(super) print: bool,
    /// Write it below /etc
    #[arg(long)]
    pub(super) write: bool,
    /// Write below this folder instead of /
    #[arg(long, value_name = "DIR", default_value = "/", requires = "write")]
    pub(super) root: PathBuf,
}

/// `patina next`.
#[derive(Debug, Args)]
pub(super) struct NextArgs {
    /// So many runs of each task
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) count: u16,
}

/// `patina backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The databases; all where none is given
    #[arg(value_name = "DB")]
    pub(super) databases: Vec<DatabaseName>,
    /// Why; kept with the job
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

/// `patina list`.
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    /// Only this database's copies
    #[arg(value_name = "DB")]
    pub(super) database: Option<DatabaseName>,
    /// Only this day's copies
    #[arg(long, value_name = "YYYY-MM-DD")]
    pub(super) date: Option<BackupDate>,
    /// At most so many, the newest
    #[arg(long, short = 'n', value_name = "N")]
    pub(super) limit: Option<usize>,
}

/// `patina cat`.
#[derive(Debug, Args)]
pub(super) struct CatArgs {
    /// Which copy
    #[arg(value_name = "DB[@WHEN]")]
    pub(super) copy: Address,
    /// Read it from this storage alone
    #[arg(long, value_name = "NAME")]
    pub(super) storage: Option<String>,
}

/// `patina verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Which copies; the newest of each database where none is given
    #[arg(value_name = "DB[@WHEN]")]
    pub(super) copies: Vec<Address>,
    /// Every copy
    #[arg(long, conflicts_with = "copies")]
    pub(super) all: bool,
}

/// `patina expire`.
#[derive(Debug, Args)]
pub(super) struct ExpireArgs {
    /// Delete nothing: show what `patina plan` shows
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// `patina reconcile`.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// Wait ten minutes where an object is absent, and look for it again
    #[arg(long)]
    pub(super) wait: bool,
    /// Say that a storage which lost everything is really empty: its objects are noted as missing, and it is used again
    #[arg(long, value_name = "STORAGE", conflicts_with = "wait")]
    pub(super) replaced: Option<String>,
}

/// `patina rebuild`.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Go on as this installation, where the storages hold copies of several
    #[arg(long, value_name = "ID")]
    pub(super) instance: Option<String>,
}

/// `patina pin`.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// Which copy
    #[arg(value_name = "DB[@WHEN]")]
    pub(super) copy: Address,
    /// Why; shown by `patina plan`
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

/// `patina forget`.
#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// The database
    #[arg(value_name = "DB")]
    pub(super) database: DatabaseName,
    /// Do not ask
    #[arg(long)]
    pub(super) yes: bool,
}

/// `patina alert …`.
#[derive(Debug, Subcommand)]
pub(super) enum AlertCommand {
    /// Send a test to every sink and say what each answered
    Test,
}

/// `patina config …`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the JSON Schema of patina.toml, for editors
    Schema,
    /// Print every value that is in force, defaults filled in; of secrets only where they come from
    Show,
}

/// `patina init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The file; by default the one `--config` names
    #[arg(value_name = "FILE")]
    pub(super) file: Option<PathBuf>,
    /// A database to start with; may be repeated
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    pub(super) sqlite: Vec<(DatabaseName, PathBuf)>,
}

/// `patina add`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("source").required(true).args(["sqlite", "d1"])))]
pub(super) struct AddArgs {
    /// How to call it
    pub(super) name: DatabaseName,
    /// A SQLite file
    #[arg(long, value_name = "PATH")]
    pub(super) sqlite: Option<PathBuf>,
    /// A Cloudflare D1 database
    #[arg(long, value_name = "UUID")]
    pub(super) d1: Option<String>,
}

/// `patina discover`.
#[derive(Debug, Args)]
pub(super) struct DiscoverArgs {
    /// Add the unprotected ones to the configuration: all, or those the account calls so
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(super) add: Option<Vec<String>>,
    /// End with code 3 where a database is left unprotected
    #[arg(long)]
    pub(super) check: bool,
}

/// As `[[http.key]]` takes it: a `_` would end it in `ptk_<id>_<secret>`.
fn key_id(text: &str) -> Result<String, String> {
    let mut bytes = text.bytes();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let begins = bytes.next().is_some_and(is_plain);
    match begins && text.len() <= 64 && bytes.all(|byte| is_plain(byte) || byte == b'-') {
        true => Ok(text.to_owned()),
        false => Err("use a-z, 0-9 and `-`, at most 64".to_owned()),
    }
}

fn named_path(text: &str) -> Result<(DatabaseName, PathBuf), String> {
    let (name, path) = text
        .split_once('=')
        .filter(|(_, path)| !path.is_empty())
        .ok_or("write NAME=PATH")?;
    let name = name
        .parse::<DatabaseName>()
        .map_err(|error| error.to_string())?;
    Ok((name, path.into()))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_tree_of_commands_contradicts_itself_nowhere() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_named_path_needs_both_parts() {
        let (name, path) = named_path("blog=/srv/a=b.db").unwrap();
        assert_eq!(
            (name.as_str(), path.as_path()),
            ("blog", "/srv/a=b.db".as_ref())
        );
        for bad in ["blog", "blog=", "=x", "B=x"] {
            assert!(named_path(bad).is_err(), "{bad}");
        }
    }
}
