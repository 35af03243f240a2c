//! Formats commands for a POSIX shell. Invariant: every word that comes from outside is quoted.

use std::path::Path;

use super::Step;
use crate::config::Config;
use crate::quote::shell;

/// Default path of the configuration.
const USUAL_CONFIG: &str = "patina.toml";

/// Quotes a file name as an argument.
pub(super) fn path(path: &Path) -> String {
    let path = path.to_string_lossy();
    match path.starts_with('-') {
        // With `./`, no program takes it for an option.
        true => shell(&format!("./{path}")),
        false => shell(&path),
    }
}

/// Returns `patina` with the option for the configuration that it reads.
pub(super) fn patina(config: &Config) -> String {
    let file = config.path();
    match file == Path::new(USUAL_CONFIG) || file.as_os_str().is_empty() {
        true => "patina".to_owned(),
        false => format!("patina --config {}", path(file)),
    }
}

/// Quotes an SQL identifier.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

impl Step {
    /// Creates a step with a command and its description.
    pub(super) fn run(say: impl Into<String>, command: impl Into<String>) -> Self {
        Self {
            say: say.into(),
            command: Some(command.into()),
        }
    }

    /// Creates a step that a person must do.
    pub(super) fn by_hand(say: impl Into<String>) -> Self {
        Self {
            say: say.into(),
            command: None,
        }
    }
}
