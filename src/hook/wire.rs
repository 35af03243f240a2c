//! Defines the messages to and from the child. Invariant: both ends use only these types.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{HookErrorKind, HookName};

/// Longest result; a hook returns a decision or one message.
pub(super) const VERDICT_MAX_BYTES: usize = 64 << 10;

/// Size of a script's log that one call keeps; the rest is dropped.
pub(super) const LOG_MAX_BYTES: usize = 64 << 10;

/// Longest script; it is sent with each call.
pub(super) const SCRIPT_MAX_BYTES: usize = 1 << 20;

/// One call, sent on the child's stdin.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    /// Name of the script in messages.
    pub(super) name: String,
    /// Text of the script, as it was when the configuration was read.
    pub(super) text: String,
    /// Folder that `import` searches.
    pub(super) folder: PathBuf,
    /// The function to call.
    pub(super) function: String,
    /// The hook called; `None`: a test of `patina hook test`.
    pub(super) hook: Option<HookName>,
    pub(super) arguments: Vec<Value>,
    pub(super) timeout_ms: u64,
    pub(super) reach: Reach,
}

/// Permissions of a script beyond itself.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Reach {
    /// Mode of requests and programs.
    pub(super) effects: Effects,
    pub(super) http_allow: Vec<String>,
    pub(super) exec_allow: Vec<PathBuf>,
    /// Values of the variables in `env_allow`; `None`: allowed, but not set.
    pub(super) environment: BTreeMap<String, Option<String>>,
}

/// Mode of requests and programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Effects {
    /// They are executed.
    #[default]
    Live,
    /// They are only recorded, and report success.
    Recorded,
}

/// Result of a call, on the child's stdout.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Returned(Value),
    Failed(Failure),
}

/// Place and reason of a failure.
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
    /// Severity.
    pub level: LogLevel,
    /// Text of the line.
    pub text: String,
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Information.
    Info,
    /// Warning.
    Warn,
    /// Error.
    Error,
    /// A request or program that was only recorded.
    Recorded,
}
