//! Tracks the position of a script, for the errors that the interpreter raises without one: those of its own limits.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rhai::debugger::{DebuggerCommand, DebuggerEvent};
use rhai::{ASTNode, Engine, Expr, Position};

/// The last position that was reached. It is written millions of times and read once.
#[derive(Clone, Default)]
pub(super) struct Trail(Arc<Steps>);

#[derive(Default)]
struct Steps {
    /// The line in the upper half and the column in the lower one; 0: nothing has run yet.
    at: AtomicU64,
    /// Address of the file's name, so that not every step compares names.
    file_at: AtomicUsize,
    file: Mutex<String>,
}

/// A place in a script or in an imported module.
pub(super) struct Place {
    /// Name of the text; empty if it has none.
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
    /// From 1.
    pub(super) column: usize,
}

impl Trail {
    /// Tracks the script that this interpreter runs.
    #[expect(
        deprecated,
        reason = "the interpreter calls it volatile, not deprecated"
    )]
    pub(super) fn follow(&self, engine: &mut Engine) {
        let steps = Arc::clone(&self.0);
        engine.register_debugger(
            |_, debugger| debugger,
            move |_, event, node, file, at| {
                // Errors pass the ends of functions on their way out.
                let is_inward = matches!(event, DebuggerEvent::Start | DebuggerEvent::Step);
                // A name or a constant alone does nothing: in `f(a, 1)` the call is the place.
                let is_idle = matches!(node, ASTNode::Expr(expr)
                    if expr.is_constant() || matches!(expr, Expr::Variable(..)));
                if is_inward && !is_idle {
                    steps.reach(file.unwrap_or_default(), at);
                }
                Ok(DebuggerCommand::StepInto)
            },
        );
    }

    /// Returns the last position; `None` if nothing has run yet.
    pub(super) fn last(&self) -> Option<Place> {
        let at = self.0.at.load(Ordering::Relaxed);
        let file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        let half = |at: u64| usize::try_from(at & u64::from(u32::MAX)).unwrap_or(1);
        (at > 0).then(|| Place {
            file: file.clone(),
            line: half(at >> 32),
            column: half(at).max(1),
        })
    }
}

impl Steps {
    fn reach(&self, file: &str, at: Position) {
        let Some(line) = at.line() else {
            return;
        };
        let at = (line as u64) << 32 | at.position().unwrap_or(1) as u64;
        self.at.store(at, Ordering::Relaxed);
        let file_at = file.as_ptr() as usize;
        if self.file_at.swap(file_at, Ordering::Relaxed) != file_at {
            let mut known = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.clone_into(&mut known);
        }
    }
}
