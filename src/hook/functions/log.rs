//! Provides `log_info`, `log_warn`, `log_error`, `print`, `debug`.

use std::io::Write;

use rhai::{Dynamic, Engine};

use crate::hook::wire::{LogLevel, LogLine};

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("log_info", |text: Dynamic| {
        line(LogLevel::Info, &text.to_string())
    });
    engine.register_fn("log_warn", |text: Dynamic| {
        line(LogLevel::Warn, &text.to_string())
    });
    engine.register_fn("log_error", |text: Dynamic| {
        line(LogLevel::Error, &text.to_string())
    });
    engine.on_print(|text| line(LogLevel::Info, text));
    engine.on_debug(|text, _, at| line(LogLevel::Info, &format!("{at:?}: {text}")));
}

/// Writes one line of JSON to the parent.
pub(super) fn line(level: LogLevel, text: &str) {
    let text = text.to_owned();
    let line = serde_json::to_string(&LogLine { level, text }).expect("it is two texts");
    // If the parent no longer reads, it has given up on this call.
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
