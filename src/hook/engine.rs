//! Builds the interpreter. Invariant: compiling and running use the same limits.

use std::path::Path;
use std::time::Duration;

use rhai::Engine;
use rhai::packages::{Package, StandardPackage};

use super::wire::Reach;
use super::{functions, jail, limits, trail::Trail};

/// Returns an interpreter that compiles scripts and runs none.
pub(super) fn to_compile() -> Engine {
    let mut engine = Engine::new_raw();
    engine.register_global_module(StandardPackage::new().as_shared_module());
    limits::apply(&mut engine);
    engine
}

/// Returns an interpreter for one call that starts now, and the tracker of its position.
pub(super) fn to_run(folder: &Path, reach: &Reach, timeout: Duration) -> (Engine, Trail) {
    let mut engine = to_compile();
    engine.set_module_resolver(jail::Jail::new(folder));
    limits::deadline(&mut engine, timeout);
    functions::register(&mut engine, reach, timeout);
    let trail = Trail::default();
    trail.follow(&mut engine);
    (engine, trail)
}
