//! Shapes what goes to the child and what comes back. Invariant: both ends read these types and nothing else.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HookErrorKind, HookName};

/// The longest verdict; a hook returns a decision or one message.
pub(super) const VERDICT_MAX_BYTES: usize = 64 << 10;

/// How much of a script's log one call keeps; the rest is dropped.
pub(super) const LOG_MAX_BYTES: usize = 64 << 10;

/// The longest script; it travels with each call.
pub(super) const SCRIPT_MAX_BYTES: usize = 1 << 20;

/// One call, on the child's stdin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    /// How the script is called in messages.
    pub(super) name: String,
    /// Its text, as it was when the configuration was read.
    pub(super) text: String,
    /// Where `import` looks.
    pub(super) folder: PathBuf,
    /// The function to call.
    pub(super) function: String,
    /// The hook it is; `None`: a test of `patina hook test`.
    pub(super) hook: Option<HookName>,
    pub(super) arguments: Vec<Value>,
    pub(super) timeout_ms: u64,
    pub(super) reach: Reach,
}

/// What a script may reach outside itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Reach {
    /// Whether it really reaches there.
    pub(super) effects: Effects,
    pub(super) http_allow: Vec<String>,
    pub(super) exec_allow: Vec<PathBuf>,
    /// The variables of `env_allow`; `None`: allowed, but not set.
    pub(super) environment: BTreeMap<String, Option<String>>,
}

/// Whether requests and programs are really started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Effects {
    /// They are.
    #[default]
    Live,
    /// They are only noted, and answer as if all were well.
    Recorded,
}

/// What a call came to, on the child's stdout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Returned(Value),
    Failed(Failure),
}

/// Where and why it failed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Failure {
    pub(super) kind: HookErrorKind,
    pub(super) file: String,
    pub(super) line: Option<usize>,
    pub(super) column: Option<usize>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// A line that a script logged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// How bad it is.
    pub level: LogLevel,
    /// What it says.
    pub text: String,
}

/// How bad a log line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Worth knowing.
    Info,
    /// Somebody should look.
    Warn,
    /// Somebody must look.
    Error,
    /// A request or program that was only noted.
    Recorded,
}
