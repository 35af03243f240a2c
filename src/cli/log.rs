//! Writes the log to stderr. Invariant: what a command reports itself is not logged a second time.

use std::io::{self, IsTerminal, Write};

use tracing::Subscriber;
use tracing_subscriber::EnvFilter;

use super::args::{Command, Global, LogFormat};
use crate::quote;

/// Filter for warnings, without those of the engine that appear in a command's own report.
const QUIET: &str = "warn,patina::engine::backup=off,patina::engine::backup::one=warn,\
                     patina::engine::backup::hooks=warn,\
                     patina::engine::commit=off,patina::engine::recover=off,\
                     patina::engine::reconcile=off";

/// Starts logging: little by default, more with `--verbose`, or according to `RUST_LOG`. The daemon has no other output
/// than its log, so it logs more.
pub(super) fn start(global: &Global, command: &Command) {
    let is_daemon = matches!(command, Command::Run);
    let level = match (is_daemon, global.quiet, global.verbose) {
        (true, true, _) => "warn",
        (true, false, 0) | (false, _, 1) => "info",
        (false, _, 0) => QUIET,
        _ => "debug",
    };
    let filter = match std::env::var("RUST_LOG") {
        Ok(directives) if !directives.is_empty() => EnvFilter::builder().parse_lossy(directives),
        _ => EnvFilter::new(level),
    };
    let has_color =
        is_daemon && io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let format = global.log_format;
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(global.verbose > 1)
        .with_ansi(has_color)
        .log_internal_errors(false)
        .with_writer(move || Beside { format, has_color });
    // The journal adds its own times.
    let has_time = is_daemon && std::env::var_os("JOURNAL_STREAM").is_none();
    match global.log_format {
        LogFormat::Json => {
            let log = log.json().flatten_event(true);
            install(log.with_current_span(false).with_span_list(false).finish());
        }
        LogFormat::Text if has_time => install(log.finish()),
        LogFormat::Text => install(log.without_time().finish()),
    }
}

fn install(subscriber: impl Subscriber + Send + Sync) {
    // Only a second call would fail, and this is the only one.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Stderr, beside the progress bars. Each write is one event, which remains one line regardless of the names in it.
struct Beside {
    format: LogFormat,
    has_color: bool,
}

impl Beside {
    fn one_line(&self, event: &str) -> String {
        match self.format {
            LogFormat::Json => quote::json(event).into_owned(),
            LogFormat::Text if self.has_color => quote::log_drawn(event),
            LogFormat::Text => quote::log(event),
        }
    }
}

impl Write for Beside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let event = String::from_utf8_lossy(bytes);
        let mut line = self.one_line(event.trim_end_matches('\n'));
        line.push('\n');
        super::meter::aside(|| io::stderr().lock().write_all(line.as_bytes()))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
