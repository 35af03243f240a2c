//! Reads `patina.toml` into a [`Config`], or reports everything wrong with it. Invariant: a configuration is complete
//! or absent.
//!
//! Two representations: the typed text (`raw`) and its meaning (`model`). In between, `read` joins all files in one
//! tree, `expand` replaces variables, `shape` removes what does not fit the schema, and `validate` checks the rest.
//! Each step reports and continues, so that one run finds all mistakes.

mod deadline;
mod diff;
mod duration;
pub mod edit;
mod environment;
mod expand;
mod finding;
mod foreign;
mod model;
mod network;
mod order;
mod pretty;
mod problem;
mod raw;
mod read;
mod regular;
mod schema;
mod secret;
mod shape;
mod summary;
mod template;
mod validate;
mod way_in;
#[cfg(test)]
mod tests;

pub use deadline::{LONGEST_READ, NotRead, within};
pub use diff::diff;
pub use duration::duration_text;
pub use environment::{Environment, System};
pub use model::{
    Access, Agent, AlertLevel, Alerts, ApiKey, Cloudflare, Config, CopyMethod, D1Method, Database,
    Export, ExportValues, Hooks, Http, Jobs, Loaded, OnError, Opening, Retention, S3, Scope, Sink,
    SinkKind, SourceSpec, Storage, StorageKind, Thresholds, VerifyMode,
};
pub use network::Network;
pub use problem::{Place, Problem, Problems, Remains, Remark, Severity};
pub use regular::{MOST_READ_BYTES, open_regular, read_regular, read_text};
pub use schema::schema;
pub use secret::{Secret, SecretOrigin};
pub(crate) use shape::did_you_mean;
pub use summary::{NextRun, Summary};
pub use template::template;
pub use validate::events;
pub use way_in::WayIn;

use std::path::Path;

use serde::Deserialize;

use finding::{Findings, Paths};
use raw::RawConfig;
use read::Sources;

impl Config {
    /// Reads the file at `path`, its includes and the secrets it refers to.
    ///
    /// The error contains every finding, including a file that cannot be read, or not within [`LONGEST_READ`].
    pub fn load(path: &Path) -> Result<Loaded, Problems> {
        let own = path.to_owned();
        let loaded = within(move || Self::load_in(&own, &System));
        loaded.unwrap_or_else(|late| Err(late.problems(path)))
    }

    /// Same as [`Config::load`], with every access to files and variables through `env`.
    pub fn load_in(path: &Path, env: &dyn Environment) -> Result<Loaded, Problems> {
        let name = path.display().to_string();
        match env.read(path) {
            Ok(text) => Self::read(&name, path, text, env),
            Err(error) => Err(unreadable(&name, path, &error)),
        }
    }

    /// Returns the state folder that the file itself names, even if the rest is wrong; for finding a daemon that uses
    /// the folder. `None`: the file cannot be read as TOML, or the name depends on more than this file.
    pub fn state_named_in(path: &Path) -> Option<std::path::PathBuf> {
        let own = path.to_owned();
        let text = within(move || System.read(&own)).ok()?.ok()?;
        let file: toml::Table = text.parse().ok()?;
        let state = file.get("agent")?.get("state")?.as_str()?;
        let folder = path.parent().unwrap_or(Path::new(""));
        (!state.contains("${")).then(|| folder.join(state))
    }

    /// Reads a configuration from its text; `name` is the file name in findings, and relative paths start at
    /// `base_dir`.
    pub fn from_text(
        text: &str,
        name: &str,
        base_dir: &Path,
        env: &dyn Environment,
    ) -> Result<Loaded, Problems> {
        let file = Path::new(name).file_name().unwrap_or_default();
        Self::read(name, &base_dir.join(file), text.to_owned(), env)
    }

    fn read(
        name: &str,
        path: &Path,
        text: String,
        env: &dyn Environment,
    ) -> Result<Loaded, Problems> {
        let mut findings = Findings::default();
        if let Some(problems) = unusable(name, path, &text) {
            return Err(problems);
        }
        let sources = read::sources(name, path.to_owned(), text, env, &mut findings);
        let mut tree = read::tree(&sources, &mut findings);
        let paths = Paths::new(&tree);
        expand::expand(&mut tree, &sources, env, &mut findings);
        shape::prune(&mut tree, &schema(), &mut findings);
        let deserializer = toml::de::Deserializer::from(toml::Spanned::new(0..0, tree));
        let files = sources.files.iter().map(|file| file.path.clone());
        let mut inputs: Vec<_> = files.collect();
        let (config, remains) = match RawConfig::deserialize(deserializer) {
            Ok(raw) => {
                let (config, remains) =
                    validate::validate(raw, &sources, env, &mut findings, &mut inputs);
                (config, Some(Box::new(remains)))
            }
            Err(error) => {
                // The schema is derived from the type, so this reports a gap between the two.
                findings.error(error.span().unwrap_or(0..0), error.message());
                (None, None)
            }
        };
        let mut problems = findings.into_problems(&sources, &paths);
        problems.inputs = inputs;
        match config {
            Some(config) if !problems.has_errors() => Ok(Loaded {
                config,
                warnings: problems,
            }),
            _ => {
                problems.remains = remains;
                Err(problems)
            }
        }
    }
}

impl Loaded {
    /// Requires at least one database. A configuration with storages only serves to read copies; an operation that
    /// makes, archives or deletes copies must not take it for "no databases".
    ///
    /// # Errors
    /// If it names none.
    pub fn with_databases(self) -> Result<Self, Problems> {
        if !self.config.databases().is_empty() {
            return Ok(self);
        }
        let inputs = self.config.inputs();
        let path = inputs.first().map_or(Path::new(""), |path| path.as_path());
        let name = path.display().to_string();
        let mut problems = alone(
            &name,
            path,
            validate::NO_DATABASE.0,
            validate::NO_DATABASE.1,
        );
        problems.inputs = inputs.to_vec();
        problems.keep(self.config.remains());
        Err(problems)
    }
}

/// Rejects a file that is empty or far too long, before any other check.
fn unusable(name: &str, path: &Path, text: &str) -> Option<Problems> {
    let (message, hint) = if text.trim().is_empty() {
        ("the file is empty", "write a new one: `patina init`")
    } else if text.len() > read::FILE_BYTES_MAX {
        (
            "the file is too long for a configuration",
            "is it the right one?",
        )
    } else {
        return None;
    };
    Some(alone(name, path, message, hint))
}

fn unreadable(name: &str, path: &Path, error: &std::io::Error) -> Problems {
    let hint = match error.kind() {
        std::io::ErrorKind::NotFound => "write a new one: `patina init`",
        std::io::ErrorKind::PermissionDenied => "let the user that runs patina read it",
        _ => "it must be a text file in UTF-8",
    };
    alone(name, path, &format!("cannot read the file: {error}"), hint)
}

fn alone(name: &str, path: &Path, message: &str, hint: &str) -> Problems {
    let mut findings = Findings::default();
    findings.error(0..0, message).hint(hint);
    let mut problems = findings.into_problems(&Sources::empty(name, path), &Paths::default());
    problems.inputs = vec![path.to_owned()];
    problems
}
