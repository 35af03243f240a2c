//! Holds what every command is given, and prints. Invariant: a closed stdout or stderr is no panic.

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

/// What the global options say.
pub(super) struct Context {
    /// The configuration's path, as it was given.
    pub(super) config: PathBuf,
    /// Print JSON.
    pub(super) json: bool,
    /// Show no progress.
    pub(super) quiet: bool,
    /// How the log is written: errors, too, where a machine reads it.
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

    /// The same for another configuration.
    pub(super) fn with_config(&self, config: PathBuf) -> Self {
        Self {
            config,
            json: self.json,
            quiet: self.quiet,
            log_format: self.log_format,
            format: self.format,
        }
    }

    /// How to show mistakes in a configuration.
    pub(super) fn format(&self) -> Format {
        let fitting = match io::stderr().is_terminal() {
            true => Format::Pretty,
            false => Format::Short,
        };
        self.format.unwrap_or(fitting)
    }

    /// Mistakes in the form in which they are to be shown.
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

    /// The same; where it cannot be used and no person watches, the sinks in it are told.
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

    /// The catalog, for queries alone.
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

    /// The configuration and its catalog, for writing down what a person decides. It needs no lock.
    pub(super) fn open(&self) -> anyhow::Result<(Config, Catalog)> {
        let config = self.load()?.config;
        // Only one that exists is opened for writing.
        let known = self.catalog(&config)?;
        let catalog = Catalog::open(known.path())?;
        Ok((config, catalog))
    }

    /// What a command works on that looks at stored objects and writes down what it finds; where the catalog cannot be
    /// written it looks all the same, and says so.
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
        // What is hidden in a name has no place in lines of ours, whoever forgot it there.
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
    // Stdout itself would hand on each line alone: a list may have a million.
    let mut out = BufWriter::new(io::stdout().lock());
    let written = write(&mut out).and_then(|()| out.flush());
    written.map_err(|cause| about_stdout(&cause))
}

/// The same error, told in a way that stands alone; its kind still says whether the reader just went away.
pub(super) fn about_stdout(cause: &io::Error) -> io::Error {
    io::Error::new(cause.kind(), format!("stdout cannot be written: {cause}"))
}

/// How a command ends that did its work and then could not show it: as the work went.
pub(super) fn in_spite_of(shown: io::Result<()>, exit: Exit) -> Exit {
    match shown {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tell(format_args!("error: {error}"));
        }
        _ => {}
    }
    exit
}

/// Writes a line to stderr; where that is closed, nobody wants to know.
pub(super) fn tell(text: impl Display) {
    tell_drawn(quote::lines(&text.to_string()));
}

/// The same for text with colours of ours.
pub(super) fn tell_drawn(text: impl Display) {
    let _ = super::meter::aside(|| writeln!(io::stderr().lock(), "{text}"));
}

/// Text from a database or file, made safe for a terminal.
pub(super) fn printable(text: &str) -> String {
    quote::line(text).into_owned()
}
