//! Reports a panic, which is always a bug of Patina. Invariant: the process exits with [`Exit::Bug`], and the message
//! names the place of the bug and where to report it.

use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

use super::args::LogFormat;
use super::exit::Exit;
use crate::quote;

/// Address for bug reports.
const REPORTS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/issues");

/// True if some thread panicked: its work may have been reported as an error.
static SEEN: AtomicBool = AtomicBool::new(false);

/// Reports every panic from now on; as a log event if the log is in JSON, or is the daemon's only output.
pub(super) fn watch(log_format: LogFormat, is_daemon: bool) {
    let is_logged = is_daemon || log_format == LogFormat::Json;
    std::panic::set_hook(Box::new(move |panic| {
        SEEN.store(true, Ordering::Relaxed);
        let text = text(panic);
        match is_logged {
            true => tracing::error!("{text}"),
            // Bypasses the progress bars: they may be what panicked.
            false => drop(writeln!(io::stderr(), "error: {text}")),
        }
        let trace = std::backtrace::Backtrace::capture();
        if trace.status() == std::backtrace::BacktraceStatus::Captured {
            let _ = writeln!(io::stderr(), "{trace}");
        }
    }));
}

/// Runs `work`; a panic in it, or a failure after a panic, exits as a bug.
pub(super) fn guarded(work: impl FnOnce() -> Exit) -> Exit {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Exit::Failed) if SEEN.load(Ordering::Relaxed) => Exit::Bug,
        Ok(exit) => exit,
        Err(_) => Exit::Bug,
    }
}

fn text(panic: &PanicHookInfo<'_>) -> String {
    let what = match panic.payload_as_str() {
        Some(what) => quote::name(what),
        None => "it gave no reason".to_owned(),
    };
    let place = panic.location().map_or_else(
        || "an unknown place".to_owned(),
        |place| format!("{}:{}", place.file(), place.line()),
    );
    format!(
        "this is a bug in Patina {} at {place}: {what}\nhint: no copy was replaced or half stored by it; `patina list` shows \
         what there is. Please report these lines, and the command, at {REPORTS}",
        env!("CARGO_PKG_VERSION")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_as_a_bug_and_not_as_a_failure() {
        assert_eq!(guarded(|| Exit::Partly), Exit::Partly);
        assert_eq!(guarded(|| panic!("on purpose")), Exit::Bug);
    }
}
