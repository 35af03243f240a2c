//! Writes commands for a POSIX shell. Invariant: every word that comes from outside is quoted.

use std::path::Path;

use super::Step;
use crate::config::Config;
use crate::quote::shell;

/// The name that the configuration has where nobody says another.
const USUAL_CONFIG: &str = "patina.toml";

/// A file's name as an argument.
pub(super) fn path(path: &Path) -> String {
    let path = path.to_string_lossy();
    match path.starts_with('-') {
        // No program takes it for an option.
        true => shell(&format!("./{path}")),
        false => shell(&path),
    }
}

/// `patina`, and the configuration it reads.
pub(super) fn patina(config: &Config) -> String {
    let file = config.path();
    match file == Path::new(USUAL_CONFIG) || file.as_os_str().is_empty() {
        true => "patina".to_owned(),
        false => format!("patina --config {}", path(file)),
    }
}

/// An identifier as SQL quotes it.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Step {
    /// A command, and what it does.
    pub(super) fn run(say: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            say: say.into(),
            command: Some(command.into()),
        }
    }

    /// What no command does.
    pub(super) fn by_hand(say: impl Into<String>) -> Self {
        Self {
            say: say.into(),
            command: None,
        }
    }
}
