//! Defines the arguments of the commands that recover data, `restore`, `query`, `diff`, and of their rehearsal,
//! `drill`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, ValueEnum};

use crate::cli::address::Address;
use crate::types::DatabaseName;

/// `patina restore`.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("what").required(true).args(["copy", "file", "all"])))]
pub(in crate::cli) struct RestoreArgs {
    /// The copy
    #[arg(value_name = "DB[@WHEN]")]
    pub(in crate::cli) copy: Option<Address>,
    /// A dump file: plain, `.gz` or `.zst`
    #[arg(long, value_name = "DUMP.sql")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// The manifest of that dump, to compare the restored database with
    #[arg(long, value_name = "FILE.json", requires = "file")]
    pub(in crate::cli) manifest: Option<PathBuf>,
    /// The newest copy of every database, by priority, each as NAME.db in the folder `--to`
    #[arg(long, conflicts_with = "tables")]
    pub(in crate::cli) all: bool,
    /// Target: a file, `d1:NAME` or `d1:UUID`
    #[arg(long, value_name = "TARGET")]
    pub(in crate::cli) to: PathBuf,
    /// Only these tables, with their indexes and triggers
    #[arg(long = "table", value_name = "T", num_args = 1..)]
    pub(in crate::cli) tables: Vec<String>,
    /// Read the copy only from this storage
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    pub(in crate::cli) storage: Option<String>,
    /// Replace an existing database, after a safety copy
    #[arg(long)]
    pub(in crate::cli) replace: bool,
    /// Folder for the safety copy of a D1 database; by default in the state directory
    #[arg(long, value_name = "DIR")]
    pub(in crate::cli) safety_copy: Option<PathBuf>,
    /// Do not ask for confirmation before a D1 database is replaced
    #[arg(long)]
    pub(in crate::cli) yes: bool,
    /// Change nothing: show what would be done
    #[arg(long)]
    pub(in crate::cli) dry_run: bool,
}

/// `patina query`.
#[derive(Debug, Args)]
pub(in crate::cli) struct QueryArgs {
    /// The copy
    #[arg(value_name = "DB[@WHEN]")]
    pub(in crate::cli) copy: Address,
    /// One statement that only reads
    #[arg(value_name = "SQL")]
    pub(in crate::cli) sql: String,
    /// Format of the rows
    #[arg(long = "as", value_name = "FORM", default_value = "table")]
    pub(in crate::cli) form: Form,
    /// Maximum number of rows; 0 for all
    #[arg(long, short = 'n', value_name = "N", default_value_t = 1_000)]
    pub(in crate::cli) limit: u64,
    /// Time limit of the statement
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(in crate::cli) timeout: std::time::Duration,
    /// Read the copy only from this storage
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) storage: Option<String>,
}

/// Format of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(in crate::cli) enum Form {
    /// Columns for people
    Table,
    /// RFC 4180: text always quoted, everything else never; NULL is empty, a blob X'…'
    Csv,
    /// One document
    Json,
}

/// `patina diff`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DiffArgs {
    /// The older copy
    #[arg(value_name = "DB@A")]
    pub(in crate::cli) a: Address,
    /// The newer copy
    #[arg(value_name = "DB@B")]
    pub(in crate::cli) b: Address,
    /// Only these tables
    #[arg(long = "table", value_name = "T", num_args = 1..)]
    pub(in crate::cli) tables: Vec<String>,
    /// Number of keys shown for each kind of change
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(in crate::cli) samples: usize,
    /// Read the copies only from this storage
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) storage: Option<String>,
}

/// `patina drill`.
#[derive(Debug, Args)]
pub(in crate::cli) struct DrillArgs {
    /// Only these databases
    #[arg(value_name = "DB")]
    pub(in crate::cli) databases: Vec<DatabaseName>,
    /// Use only the configuration: find the copies by the manifests in the storages
    #[arg(long)]
    pub(in crate::cli) cold: bool,
    /// Read only from this storage
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) storage: Option<String>,
}
