//! Limits the resources of a script. Invariant: every limit is set before the script's first line runs.

use std::time::Duration;

use rhai::{Dynamic, Engine};
use rustix::process::{Resource, Rlimit, setrlimit};

/// Address space of the child: the program itself, a 16 MiB stack, and room for a hook's data.
pub(super) const ADDRESS_SPACE_BYTES: u64 = 512 << 20;

/// Stack of the interpreter: 32 levels of calls need 7 MiB in a build without optimization.
pub(super) const STACK_BYTES: usize = 16 << 20;

/// Upper bound for operations, about 200 ms of work.
pub(super) const OPERATIONS: u64 = 5_000_000;

/// Operations between two reads of the clock, each of which costs as much as an operation.
const OPERATIONS_PER_LOOK: u64 = 64;

pub(super) const CALL_LEVELS: usize = 32;
const EXPRESSION_DEPTH: usize = 32;

/// Upper bound for all text of one value together, and so for a response or a program's output.
pub(super) const STRING_BYTES: usize = 1 << 20;

const ELEMENTS: usize = 10_000;
const VARIABLES: usize = 1_000;
const FUNCTIONS: usize = 500;
const MODULES: usize = 20;

/// Time after the deadline before the child is killed: it ends itself in time unless something blocks it.
pub(super) const KILL_GRACE: Duration = Duration::from_secs(1);

/// Applies Rhai's own limits.
pub(super) fn apply(engine: &mut Engine) {
    engine
        .set_max_operations(OPERATIONS)
        .set_max_call_levels(CALL_LEVELS)
        .set_max_expr_depths(EXPRESSION_DEPTH, EXPRESSION_DEPTH)
        .set_max_string_size(STRING_BYTES)
        .set_max_array_size(ELEMENTS)
        .set_max_map_size(ELEMENTS)
        .set_max_variables(VARIABLES)
        .set_max_functions(FUNCTIONS)
        .set_max_modules(MODULES)
        .set_strict_variables(true)
        .set_fail_on_invalid_map_property(true)
        .disable_symbol("eval");
}

/// Ends the script soon after `timeout`. A single operation that takes long has a time limit of its own.
pub(super) fn deadline(engine: &mut Engine, timeout: Duration) {
    let begun = std::time::Instant::now();
    engine.on_progress(move |operations| {
        let is_over = operations % OPERATIONS_PER_LOOK == 0 && begun.elapsed() >= timeout;
        is_over.then(|| Dynamic::from("timeout"))
    });
}

/// Sets the limits of this process, which cannot be raised again.
///
/// # Errors
/// If the system rejects one; nothing may run then.
pub(super) fn confine(timeout: Duration) -> Result<(), rustix::io::Errno> {
    let only = |most: u64| Rlimit {
        current: Some(most),
        maximum: Some(most),
    };
    setrlimit(Resource::As, only(ADDRESS_SPACE_BYTES))?;
    setrlimit(Resource::Core, only(0))?;
    setrlimit(Resource::Cpu, only((timeout + KILL_GRACE).as_secs() + 1))
}
