//! Defines every command and argument. Invariant: an argument that clap accepts here needs no second check of its form.

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

/// Options of every command.
#[derive(Debug, Args)]
pub(super) struct Global {
    /// Configuration file
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
    /// Format of configuration errors; pretty on a terminal, else short
    #[arg(long, global = true, value_name = "FORM")]
    pub(super) format: Option<Format>,
    /// Log more; twice: everything. `RUST_LOG` gives finer control
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
    /// Show no progress
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Format of the log on stderr
    #[arg(
        long,
        global = true,
        value_name = "FORM",
        env = "PATINA_LOG_FORMAT",
        default_value = "text"
    )]
    pub(super) log_format: LogFormat,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people
    Text,
    /// One JSON object per line
    Json,
}

/// Format of configuration errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// One line each, as compilers do
    Short,
    /// With the lines of the file that they refer to
    Pretty,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run the daemon
    Run,
    /// Make the running daemon read its configuration again, and show the result
    Reload,
    /// Show the next run of every task
    Next(NextArgs),
    /// Back up databases: export, restore, compare, store
    Backup(BackupArgs),
    /// List copies, the newest first
    #[command(visible_alias = "ls")]
    List(ListArgs),
    /// Show everything about one copy
    Show {
        /// The copy
        #[arg(value_name = "DB[@WHEN]")]
        copy: Address,
    },
    /// Write one copy's SQL to stdout
    Cat(CatArgs),
    /// Print how to get a database back: every available way, command by command
    Guide {
        /// The copy
        #[arg(value_name = "DB[@WHEN]")]
        copy: Address,
    },
    /// Print what to do when more than one database is lost
    Runbook,
    /// Restore a copy into a file or into D1: proven first, table by table
    Restore(RestoreArgs),
    /// Run one SQL query on a copy, without restoring it to a target
    Query(QueryArgs),
    /// Show the differences between two copies; exit code 0 if there are none, 1 if there are, 2 on any error
    Diff(DiffArgs),
    /// Read stored copies again and compare every byte with what was stored
    Verify(VerifyArgs),
    /// Rehearse the worst case: restore the newest copy of every database from storage, prove it, and measure the time
    ///
    /// The databases are created in `$TMPDIR`, by a running daemon in its state folder, one after the other, and
    /// removed again. No target is touched.
    Drill(DrillArgs),
    /// Put every good copy up to the last Sunday into the weekly archive
    Archive,
    /// Show for every stored object if it is kept or may be deleted, and by which rule
    Plan,
    /// Delete expired copies
    Expire(ExpireArgs),
    /// Compare the catalog with the content of the storages; deletes nothing
    Reconcile(ReconcileArgs),
    /// Rebuild a lost catalog from the storages; deletes nothing
    Rebuild(RebuildArgs),
    /// Keep a copy regardless of its age
    Pin(PinArgs),
    /// Let a pinned copy expire again
    Unpin {
        /// The copy
        #[arg(value_name = "DB[@WHEN]")]
        copy: Address,
    },
    /// Acknowledge known damage so that expiry resumes
    Ack {
        /// The databases
        #[arg(value_name = "DB", required = true)]
        databases: Vec<DatabaseName>,
    },
    /// Let the copies of a database expire that was removed from the configuration
    Forget(ForgetArgs),
    /// Show a summary of the configuration, or every error in it
    Check {
        /// Also try every source, storage, alert sink and the API token
        #[arg(long)]
        online: bool,
    },
    /// Try the alert sinks
    #[command(subcommand)]
    Alert(AlertCommand),
    /// List the D1 databases of the Cloudflare account, and show which of them are not backed up
    Discover(DiscoverArgs),
    /// Print the configuration schema, or the effective configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Create and list keys for the API
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show the download audit log, and verify it
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List, run and test the hooks of the scripts
    #[command(subcommand)]
    Hook(HookCommand),
    /// Write a small commented configuration
    Init(InitArgs),
    /// Add a database to the configuration
    Add(AddArgs),
    /// Remove a database from the configuration; its copies are kept
    Remove {
        /// The database
        name: DatabaseName,
    },
    /// Create six small databases and back them up, as a demonstration
    Demo {
        /// Folder to create them in
        #[arg(value_name = "DIR", default_value = "demo")]
        directory: PathBuf,
        /// Do not serve the dashboard afterwards, as without a terminal
        #[arg(long)]
        once: bool,
    },
    /// Answer one call of a hook: the child process of a running Patina
    #[command(hide = true, name = crate::hook::COMMAND)]
    HookCall {
        /// Run the script in this process
        #[arg(long)]
        inside: bool,
    },
    /// Print or write the files that another program needs to run the daemon
    #[command(arg_required_else_help = true)]
    Install(InstallArgs),
    /// Print a completion script
    Completions {
        /// The shell
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
    /// Print the files instead of writing them (default)
    #[arg(long)]
    pub(super) print: bool,
    /// Write the files below /etc
    #[arg(long)]
    pub(super) write: bool,
    /// Write below this folder instead of /
    #[arg(long, value_name = "DIR", default_value = "/", requires = "write")]
    pub(super) root: PathBuf,
}

/// `patina next`.
#[derive(Debug, Args)]
pub(super) struct NextArgs {
    /// Number of runs of each task
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) count: u16,
}

/// `patina backup`.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The databases; all if none is given
    #[arg(value_name = "DB")]
    pub(super) databases: Vec<DatabaseName>,
    /// Reason, stored with the job
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
    /// Maximum number of copies; the newest are shown
    #[arg(long, short = 'n', value_name = "N")]
    pub(super) limit: Option<usize>,
}

/// `patina cat`.
#[derive(Debug, Args)]
pub(super) struct CatArgs {
    /// The copy
    #[arg(value_name = "DB[@WHEN]")]
    pub(super) copy: Address,
    /// Read only from this storage
    #[arg(long, value_name = "NAME")]
    pub(super) storage: Option<String>,
}

/// `patina verify`.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// The copies; the newest of each database if none is given
    #[arg(value_name = "DB[@WHEN]")]
    pub(super) copies: Vec<Address>,
    /// Every copy
    #[arg(long, conflicts_with = "copies")]
    pub(super) all: bool,
}

/// `patina expire`.
#[derive(Debug, Args)]
pub(super) struct ExpireArgs {
    /// Delete nothing: show the same as `patina plan`
    #[arg(long)]
    pub(super) dry_run: bool,
}

/// `patina reconcile`.
#[derive(Debug, Args)]
pub(super) struct ReconcileArgs {
    /// Wait ten minutes if an object is absent, and check again
    #[arg(long)]
    pub(super) wait: bool,
    /// Confirm that a storage that lost everything is really empty: its objects are recorded as missing, and it is used
    /// again
    #[arg(long, value_name = "STORAGE", conflicts_with = "wait")]
    pub(super) replaced: Option<String>,
}

/// `patina rebuild`.
#[derive(Debug, Args)]
pub(super) struct RebuildArgs {
    /// Continue as this installation, if the storages contain copies of several
    #[arg(long, value_name = "ID")]
    pub(super) instance: Option<String>,
}

/// `patina pin`.
#[derive(Debug, Args)]
pub(super) struct PinArgs {
    /// The copy
    #[arg(value_name = "DB[@WHEN]")]
    pub(super) copy: Address,
    /// Reason, shown by `patina plan`
    #[arg(long, value_name = "TEXT")]
    pub(super) reason: Option<String>,
}

/// `patina forget`.
#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// The database
    #[arg(value_name = "DB")]
    pub(super) database: DatabaseName,
    /// Do not ask for confirmation
    #[arg(long)]
    pub(super) yes: bool,
}

/// `patina alert …`.
#[derive(Debug, Subcommand)]
pub(super) enum AlertCommand {
    /// Send a test to every sink and show each response
    Test,
}

/// `patina config …`.
#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Print the JSON Schema of patina.toml, for editors
    Schema,
    /// Print every effective value, including defaults; of secrets only the origin
    Show,
}

/// `patina init`.
#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// The file; by default that of `--config`
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
    /// Name of the database
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
    /// Add the unprotected ones to the configuration: all, or those with these names in the account
    #[arg(long, value_name = "NAME", num_args = 0..)]
    pub(super) add: Option<Vec<String>>,
    /// Exit with code 3 if a database is left unprotected
    #[arg(long)]
    pub(super) check: bool,
}

/// Checks an id for `[[http.key]]`: a `_` would end it in `ptk_<id>_<secret>`.
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
