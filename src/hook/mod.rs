//! Calls the user's scripts. Invariant: no script runs in this process; whatever one does, a call ends in time, and
//! what comes back is data.
//!
//! A hook is a function of a fixed name in a script of `[hooks] scripts` or of a database's `script`. A call starts this
//! program anew, hands it the arguments as JSON, and reads one verdict as JSON. The child starts the one that runs the
//! script, with limits of its own, and ends what that leaves behind.

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

/// The hidden command that a child is started with.
pub const COMMAND: &str = "hook-call";

/// Its argument for the process that runs the script, below the one that watches it.
pub const INSIDE: &str = "--inside";

/// Answers one call: what [`COMMAND`] is, with [`INSIDE`] or without.
pub fn answer_call(is_inside: bool) -> ExitCode {
    match is_inside {
        true => child::main(),
        false => warden::main(),
    }
}

/// The scripts, ready to be called.
#[async_trait]
pub trait Hooks: Send + Sync {
    /// Calls the hook: the script of `database` where it defines it, else the first of `[hooks] scripts` that does.
    ///
    /// `arguments` are as many as [`HookName::arity`] says. `None`: no script defines it, or it returned `()`. What it
    /// returned fits [`HookName::keys`].
    ///
    /// # Errors
    /// Where the script failed, threw, took too long, died, or returned what the hook does not return.
    async fn call(
        &self,
        hook: HookName,
        database: Option<&DatabaseName>,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError>;

    /// Calls the hook of this one script, as a sink's `format` names it; the path is that of the configuration.
    ///
    /// # Errors
    /// As [`Hooks::call`].
    async fn call_in(
        &self,
        script: &Path,
        hook: HookName,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError>;

    /// Whether a script defines the hook for this database; of `None`: for what is about no database.
    fn attached(&self, hook: HookName, database: Option<&DatabaseName>) -> bool;

    /// What all calls of this process came to; nothing where none is counted.
    fn tally(&self) -> Arc<Tally> {
        Arc::default()
    }
}

/// No scripts: nothing is attached and every call gives `None`.
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
