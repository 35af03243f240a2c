//! Sends the log to stderr. Invariant: what a command tells itself is not logged a second time.

use std::io::{self, Write};

use tracing_subscriber::EnvFilter;

/// Warnings, but for those of the engine that end up in a command's own report.
const QUIET: &str = "warn,patina::engine::backup=off,patina::engine::backup::one=warn,\
                     patina::engine::commit=off,patina::engine::recover=off";

/// Starts logging: quiet by default, `verbose` times louder, or as `RUST_LOG` says.
pub(super) fn start(verbose: u8) {
    let level = match verbose {
        0 => QUIET,
        1 => "info",
        _ => "debug",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::builder().parse_lossy(directives),
        _ => EnvFilter::new(level),
    };
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(verbose > 1)
        .with_ansi(false)
        .without_time()
        .log_internal_errors(false)
        .with_writer(|| Beside)
        .finish();
    // Only a second call fails, and there is one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Stderr, beside the progress bars.
struct Beside;

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        super::meter::aside(|| io::stderr().lock().write_all(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
