//! Says how a call failed.

use std::fmt;

use super::HookName;

/// Why a call gave no verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    /// The hook.
    pub hook: HookName,
    /// What kind of failure it is.
    pub kind: HookErrorKind,
    /// `file:line:column`: the innermost place that is known, at least that of the hook's definition.
    pub place: String,
    /// What happened, and where there is one the hint on a line of its own.
    pub message: String,
}

/// What kind of failure it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookErrorKind {
    /// The script said `throw`.
    Thrown,
    /// The script has a mistake, ran into a limit, or a function it called failed.
    Failed,
    /// It returned what the hook does not return.
    Misfit,
    /// It took longer than `[hooks] timeout`.
    Timeout,
    /// The child process died or could not be started, or wrote no verdict.
    Died,
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.place, self.hook, self.message)
    }
}

impl std::error::Error for HookError {}
