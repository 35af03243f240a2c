//! Holds the global options, and prints. Invariant: a closed stdout or stderr causes no panic.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use serde::Serialize;

use super::args::{Format, Global, LogFormat};
use super::exit::{Exit, Refusal};
use crate::app;
use crate::catalog::Catalog;
use crate::config::{Config, Loaded, Problems};
use crate::quote;
use crate::wiring::Wiring;

/// The values of the global options.
pub(super) struct Context {
    /// Path of the configuration, as it was given.
    pub(super) config: PathBuf,
    /// Print JSON.
    pub(super) json: bool,
    /// Show no progress.
    pub(super) quiet: bool,
    /// Format of the log; with JSON, errors are logged, too.
    pub(super) log_format: LogFormat,
    format: Option<Format>,
}

impl Context {
    pub(super) fn new(global: &Global) -> Self {
        Self {
            config: global.config.clone(),
            json: global.json,
            quiet: global.quiet,
            log_format: global.log_format,
            format: global.format,
        }
    }

    /// Returns the same options for another configuration.
    pub(super) fn with_config(&self, config: PathBuf) -> Self {
        Self {
            config,
            json: self.json,
            quiet: self.quiet,
            log_format: self.log_format,
            format: self.format,
        }
    }

    /// Returns the format of configuration errors.
    pub(super) fn format(&self) -> Format {
        let fitting = match io::stderr().is_terminal() {
            true => Format::Pretty,
            false => Format::Short,
        };
        self.format.unwrap_or(fitting)
    }

    /// Formats configuration errors as they are to be shown.
    pub(super) fn shown(&self, problems: &Problems) -> String {
        match self.format() {
            Format::Pretty => {
                let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
                problems.pretty(color).trim_end().to_owned()
            }
            Format::Short => quote::lines(&problems.short()).into_owned(),
        }
    }

    /// Reads the configuration.
    pub(super) fn load(&self) -> anyhow::Result<Loaded> {
        Ok(Config::load(&self.config)?)
    }

    /// Reads the configuration and compiles its scripts.
    pub(super) fn load_with_scripts(&self) -> anyhow::Result<Loaded> {
        Ok(app::load(&self.config)?)
    }

    /// Reads the configuration and compiles its scripts; if it cannot be used and stderr is not a terminal, an alert is
    /// sent to its sinks.
    pub(super) async fn load_or_tell(&self) -> anyhow::Result<Loaded> {
        match app::load(&self.config) {
            Err(problems) => {
                if !io::stderr().is_terminal() {
                    app::startup::tell_rejected(&problems).await;
                }
                Err(problems.into())
            }
            Ok(loaded) => Ok(loaded),
        }
    }

    /// Opens the catalog for queries only.
    pub(super) fn catalog(&self, config: &Config) -> anyhow::Result<Catalog> {
        let catalog = app::known(config)?;
        let state = config.agent().state.display();
        catalog.ok_or_else(|| {
            let text = format!(
                "no backup was taken yet: there is no catalog in `{state}`\nhint: `patina backup` takes one; \
                 `patina rebuild` finds what the storages hold"
            );
            Refusal::failed(text).into()
        })
    }

    /// Opens the configuration and its catalog, for recording a person's decision. No lock is needed.
    pub(super) fn open(&self) -> anyhow::Result<(Config, Catalog)> {
        let config = self.load()?.config;
        // Only an existing catalog is opened for writing.
        let known = self.catalog(&config)?;
        let catalog = Catalog::open(known.path())?;
        Ok((config, catalog))
    }

    /// Builds the wiring for a command that reads stored objects and records its findings; if the catalog cannot be
    /// written, the command works nonetheless, with a warning.
    pub(super) async fn wiring(&self) -> anyhow::Result<Wiring> {
        let config = self.load()?.config;
        let known = self.catalog(&config)?;
        let catalog = match Catalog::open(known.path()) {
            Err(error) if error.may_be_unwritable() => {
                tell(format_args!(
                    "warning: {error}\nnote: what is found is shown and not written down"
                ));
                known
            }
            opened => opened?,
        };
        Ok(app::wiring_to_read(Arc::new(config), catalog).await?)
    }

    /// Writes lines to stdout.
    pub(super) fn print(&self, text: impl Display) -> io::Result<()> {
        // A hidden character in a name must not appear in the output, even if a caller did not remove it.
        write_stdout(|out| writeln!(out, "{}", quote::lines(&text.to_string())))
    }

    /// Writes one JSON document to stdout.
    pub(super) fn print_json(&self, document: &(impl Serialize + ?Sized)) -> io::Result<()> {
        write_stdout(|out| {
            quote::write_json(&mut *out, document)?;
            writeln!(out)
        })
    }
}

fn write_stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    // Stdout itself would write each line separately: a list may have a million.
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush());
    written.map_err(|cause| about_stdout(&cause))
}

/// Returns the same error with a complete message; its kind still shows if the reader just closed the pipe.
pub(super) fn about_stdout(cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("stdout cannot be written: {cause}"))
}

/// Returns the exit code of a command that did its work, even if the result could not be shown.
pub(super) fn in_spite_of(shown: io::Result<()>, exit: Exit) -> Exit {
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(format_args!("error: {error}"));
        }
        _ => {}
    }
    exit
}

/// Writes a line to stderr; if that is closed, the line is dropped.
pub(super) fn tell(text: impl Display) {
    tell_drawn(quote::lines(&text.to_string()));
}

/// Writes text that contains Patina's own colours to stderr.
pub(super) fn tell_drawn(text: impl Display) {
    let _ = super::meter::aside(|| writeln!(io::stderr().lock(), "{text}"));
}

/// Makes text from a database or file safe for a terminal.
pub(super) fn printable(text: &str) -> String {
    quote::line(text).into_owned()
}
