//! The arguments of what others may do: `key`, `audit`, `hook`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::types::DatabaseName;

/// `patina key …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Print a new key once, and the lines for patina.toml, which keeps its digest alone
    New(KeyArgs),
    /// Show each key of patina.toml: what it may do, how old it is, and when it was used last
    List,
}

/// `patina key new`.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyArgs {
    /// How logs and the audit call it; by default something random
    #[arg(value_name = "ID", value_parser = super::key_id)]
    pub(in crate::cli) id: Option<String>,
    /// What it may do; may be repeated
    #[arg(
        long,
        value_name = "SCOPE",
        value_delimiter = ',',
        default_value = "read"
    )]
    pub(in crate::cli) scope: Vec<ScopeArg>,
    /// When it ends: a day, `2027-01-31`, or a time ahead, `90d`
    #[arg(long, value_name = "WHEN")]
    pub(in crate::cli) expires: Option<String>,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum ScopeArg {
    /// See status, lists and guides
    Read,
    /// Fetch copies
    Download,
    /// Start a backup
    Trigger,
    /// Read metrics
    Metrics,
}

/// `patina audit …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum AuditCommand {
    /// Show who was given what, and who was refused, the last first
    List {
        /// At most so many rows
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Only what was refused
        #[arg(long)]
        refused: bool,
    },
    /// Compute the chain of hashes anew and find a row that was changed, taken out or put in
    Verify,
}

/// `patina hook …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HookCommand {
    /// List what is attached where
    List,
    /// Call one hook and show what it returns, logs, and how long it takes
    Run(HookRunArgs),
    /// Run every `test_…` function of `scripts/tests/*.rhai`
    Test {
        /// Only the files of this folder
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Write a commented script to `scripts/NAME.rhai`
    New {
        /// How to call it
        name: String,
    },
}

/// `patina hook run`.
#[derive(Debug, Args)]
pub(in crate::cli) struct HookRunArgs {
    /// Which hook, such as `check_size`
    pub(in crate::cli) hook: String,
    /// The event: the first argument as JSON, or a list of all arguments; samples where absent
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) event: Option<PathBuf>,
    /// The size that `check_size` is asked about
    #[arg(long, value_name = "SIZE", value_parser = crate::cli::hook::size)]
    pub(in crate::cli) current: Option<i64>,
    /// The sizes before it, the newest first
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = crate::cli::hook::size)]
    pub(in crate::cli) history: Vec<i64>,
    /// As for this database
    #[arg(long, value_name = "DB")]
    pub(in crate::cli) database: Option<DatabaseName>,
    /// Of this script, by its name or path
    #[arg(long, value_name = "SCRIPT")]
    pub(in crate::cli) script: Option<PathBuf>,
    /// Really send requests and start programs; else they are only shown
    #[arg(long)]
    pub(in crate::cli) live: bool,
}
