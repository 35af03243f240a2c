//! Writes commands for a POSIX shell. Invariant: every word that comes from outside is quoted.

use std::path::Path;

use super::Step;
use crate::config::Config;

/// The name that the configuration has where nobody says another.
const USUAL_CONFIG: &str = "patina.toml";

/// A word as a shell takes it back.
pub(super) fn quoted(word: &str) -> String {
    // It refuses a NUL alone, which neither a path nor a name holds.
    shlex::try_quote(word).map_or_else(|_| String::new(), |word| word.into_owned())
}

pub(super) fn path(path: &Path) -> String {
    quoted(&path.to_string_lossy())
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
