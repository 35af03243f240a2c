//! Describes the failure of a call.

use std::fmt;

use super::HookName;

/// Reason that a call returned no result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookError {
    /// The hook.
    pub hook: HookName,
    /// Kind of the failure.
    pub kind: HookErrorKind,
    /// `file:line:column`: the innermost known place, at least that of the hook's definition.
    pub place: String,
    /// Message, with the hint, if there is one, on a line of its own.
    pub message: String,
}

/// Kind of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookErrorKind {
    /// The script used `throw`.
    Thrown,
    /// The script has a mistake, exceeded a limit, or called a function that failed.
    Failed,
    /// The script returned a value that is invalid for the hook.
    Misfit,
    /// The call took longer than `[hooks] timeout`.
    Timeout,
    /// The child process died, could not be started, or wrote no answer.
    Died,
}

impl fmt::Display for HookError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}`: {}", self.place, self.hook, self.message)
    }
}

impl std::error::Error for HookError {}
