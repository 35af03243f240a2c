//! Adds functions to the script language. Invariant: a function with access beyond the script checks an allowlist
//! first.

mod http;
mod log;
mod program;
mod testing;
mod text;
mod time;

use std::time::{Duration, Instant};

use rhai::Engine;

use super::explain::raised;
use super::wire::Reach;

/// Adds all functions to an interpreter whose call may take `timeout` from now on.
pub(super) fn register(engine: &mut Engine, reach: &Reach, timeout: Duration) {
    let deadline = Instant::now() + timeout;
    log::register(engine);
    text::register(engine);
    time::register(engine, deadline);
    testing::register(engine);
    http::register(engine, reach, deadline);
    program::register(engine, reach, deadline);
    let environment = reach.environment.clone();
    engine.register_fn("env", move |name: &str| match environment.get(name) {
        Some(Some(value)) => Ok(value.clone().into()),
        Some(None) => Ok(rhai::Dynamic::UNIT),
        None => Err(raised(format!(
            "the variable `{name}` may not be read\nhint: add it to `[hooks] env_allow`"
        ))),
    });
}
