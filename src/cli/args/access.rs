//! Defines the arguments of `key`, `audit` and `hook`, which control and record what others may do.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::types::DatabaseName;

/// `patina key …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum KeyCommand {
    /// Print a new key once, and the lines for patina.toml, which stores only its digest
    New(KeyArgs),
    /// Show each key of patina.toml: its scopes, its age and its last use
    List,
}

/// `patina key new`.
#[derive(Debug, Args)]
pub(in crate::cli) struct KeyArgs {
    /// Id of the key in logs and the audit; random by default
    #[arg(value_name = "ID", value_parser = super::key_id)]
    pub(in crate::cli) id: Option<String>,
    /// Scope of the key; may be repeated
    #[arg(
        long,
        value_name = "SCOPE",
        value_delimiter = ',',
        default_value = "read"
    )]
    pub(in crate::cli) scope: Vec<ScopeArg>,
    /// Expiry of the key: a day, `2027-01-31`, or a time ahead, `90d`
    #[arg(long, value_name = "WHEN")]
    pub(in crate::cli) expires: Option<String>,
}

/// A scope of a key.
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
    /// Show granted and refused requests, the last first
    List {
        /// Maximum number of rows
        #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
        limit: usize,
        /// Only refused requests
        #[arg(long)]
        refused: bool,
    },
    /// Recompute the hash chain and find a row that was changed, removed or inserted
    Verify,
}

/// `patina hook …`.
#[derive(Debug, Subcommand)]
pub(in crate::cli) enum HookCommand {
    /// List the hooks and their scripts
    List,
    /// Call one hook and show its return value, its log and its duration
    Run(HookRunArgs),
    /// Run every `test_…` function of `scripts/tests/*.rhai`
    Test {
        /// Only the files of this folder
        #[arg(value_name = "DIR")]
        directory: Option<PathBuf>,
    },
    /// Write a commented script to `scripts/NAME.rhai`
    New {
        /// Name of the script
        name: String,
    },
}

/// `patina hook run`.
#[derive(Debug, Args)]
pub(in crate::cli) struct HookRunArgs {
    /// The hook, such as `check_size`
    pub(in crate::cli) hook: String,
    /// File with the event: the first argument as JSON, or a list of all arguments; samples by default
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) event: Option<PathBuf>,
    /// The present size for `check_size`
    #[arg(long, value_name = "SIZE", value_parser = crate::cli::hook::size)]
    pub(in crate::cli) current: Option<i64>,
    /// The earlier sizes, the newest first
    #[arg(long, value_name = "SIZES", value_delimiter = ',', value_parser = crate::cli::hook::size)]
    pub(in crate::cli) history: Vec<i64>,
    /// Call the hook of this database
    #[arg(long, value_name = "DB")]
    pub(in crate::cli) database: Option<DatabaseName>,
    /// Call the hook of this script, given by name or path
    #[arg(long, value_name = "SCRIPT")]
    pub(in crate::cli) script: Option<PathBuf>,
    /// Really send requests and start programs; otherwise they are only shown
    #[arg(long)]
    pub(in crate::cli) live: bool,
}
