//! Calls the user's scripts. Invariant: no script runs in this process; a call always ends in time, and its result is
//! data.
//!
//! A hook is a function with a fixed name in a script of `[hooks] scripts` or of a database's `script`. A call starts
//! this program again, passes the arguments as JSON, and reads one answer as JSON. That child starts the process that
//! runs the script, with limits of its own, and ends all processes that it leaves behind.

mod child;
mod descendants;
mod engine;
mod error;
mod explain;
mod functions;
mod jail;
mod limits;
mod name;
mod process;
mod rhai_hooks;
pub mod sample;
mod script;
mod tally;
mod text;
mod trail;
pub mod verdict;
mod warden;
mod wire;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

pub use error::{HookError, HookErrorKind};
pub use name::HookName;
pub use rhai_hooks::{Attached, RhaiHooks, Tests, Watched, check};
pub use tally::Tally;
pub use wire::{Effects, LogLevel, LogLine};

use crate::types::DatabaseName;

/// Hidden command that starts a child.
pub const COMMAND: &str = "hook-call";

/// Argument for the process that runs the script, below its supervisor.
pub const INSIDE: &str = "--inside";

/// Answers one call: the implementation of [`COMMAND`], with or without [`INSIDE`].
pub fn answer_call(is_inside: bool) -> ExitCode {
    match is_inside {
        true => child::main(),
        false => warden::main(),
    }
}

/// Scripts that can be called.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Calls the hook: of the script of `database` if it defines the hook, else of the first script in `[hooks]
    /// scripts` that does.
    ///
    /// `arguments` must be [`HookName::arity`] values. `None`: no script defines the hook, or it returned `()`. A
    /// returned value is valid for the hook; see [`HookName::keys`].
    ///
    /// # Errors
    /// If the script failed, threw, took too long, died, or returned an invalid value.
    async fn call(
        &self,
        hook: HookName,
        database: Option<&DatabaseName>,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError>;

    /// Calls the hook of this one script, which a sink's `format` names; the path is that of the configuration.
    ///
    /// # Errors
    /// As [`Hooks::call`].
    async fn call_in(
        &self,
        script: &Path,
        hook: HookName,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError>;

    /// True if a script defines the hook for this database; `None` stands for events without a database.
    fn attached(&self, hook: HookName, database: Option<&DatabaseName>) -> bool;

    /// Statistics of all calls of this process; empty if calls are not counted.
    fn tally(&self) -> Arc<Tally> {
        Arc::default()
    }
}

/// No scripts: no hook is attached, and every call returns `None`.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;

#[async_trait]
impl Hooks for NoHooks {
    async fn call(
        &self,
        _: HookName,
        _: Option<&DatabaseName>,
        _: Vec<Value>,
    ) -> Result<Option<Value>, HookError> {
        Ok(None)
    }

    async fn call_in(
        &self,
        _: &Path,
        _: HookName,
        _: Vec<Value>,
    ) -> Result<Option<Value>, HookError> {
        Ok(None)
    }

    fn attached(&self, _: HookName, _: Option<&DatabaseName>) -> bool {
        false
    }
}
