//! Calls the scripts of a configuration through child processes.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use super::process::{self, Ran};
use super::script::{Script, Scripts};
use super::wire::{Answer, Call, Effects, Failure, LogLevel, LogLine, Reach};
use super::{HookError, HookName, Hooks, Tally, engine, script, text};
use crate::config::{self, Config, Environment, Problems, Remark, System, read_text};
use crate::types::DatabaseName;

/// Compiled scripts that can be called.
pub struct RhaiHooks {
    scripts: Scripts,
    settings: config::Hooks,
    program: PathBuf,
    tally: Arc<Tally>,
}

/// Result of a call with all details.
#[derive(Debug)]
pub struct Watched {
    /// The result that [`Hooks::call`] would return.
    pub returned: Result<Option<Value>, HookError>,
    /// The error with its line in the script; `None` if there is no error, or its file can no longer be read.
    pub shown: Option<Problems>,
    /// Log of the script, with the requests and programs that were only recorded.
    pub log: Vec<LogLine>,
    /// Duration, including the start of the process.
    pub took: Duration,
}

/// A hook and its place of definition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// The hook.
    pub hook: HookName,
    /// The only database that it serves; `None`: all databases without a hook of their own.
    pub database: Option<DatabaseName>,
    /// Path of the script, as in the configuration.
    pub script: String,
    /// Line of the definition, from 1.
    pub line: usize,
    /// The `///` lines above it.
    pub doc: Vec<String>,
}

/// A compiled file of tests.
pub struct Tests {
    script: Script,
}

impl Tests {
    /// Names of the tests, in the order of the file.
    pub fn names(&self) -> &[String] {
        &self.script.tests
    }
}

/// Compiles every script of `config` and returns the problems; runs none of them.
pub fn check(config: &Config) -> Problems {
    Scripts::read(config).1
}

impl RhaiHooks {
    /// Compiles the scripts of `config`; `program` is this program's own file, which each call starts as a child.
    ///
    /// # Errors
    /// All mistakes in the scripts.
    pub fn new(config: &Config, program: &Path) -> Result<Self, Problems> {
        let (scripts, problems) = Scripts::read(config);
        match problems.has_errors() {
            true => Err(problems),
            false => Ok(Self {
                scripts,
                settings: config.hooks().clone(),
                program: program.to_owned(),
                tally: Arc::default(),
            }),
        }
    }

    /// Continues the statistics of earlier scripts of this process.
    #[must_use]
    pub fn counting_on(mut self, tally: Arc<Tally>) -> Self {
        self.tally = tally;
        self
    }

    /// Lists all attached hooks: those of `[hooks] scripts` first, then those of databases.
    pub fn list(&self) -> Vec<Attached> {
        let common = self.scripts.common.iter().map(|script| (None, script));
        let own = self
            .scripts
            .own
            .iter()
            .map(|(name, script)| (Some(name), script));
        let mut list = Vec::new();
        for (database, script) in common.chain(own) {
            for defined in &script.hooks {
                list.push(Attached {
                    hook: defined.hook,
                    database: database.cloned(),
                    script: script.name.clone(),
                    line: text::line_and_column(&script.text, defined.span.start).0,
                    doc: defined.doc.clone(),
                });
            }
        }
        list
    }

    /// Calls as [`Hooks::call`] does, or as [`Hooks::call_in`] if `path` names a script, and returns all details.
    /// `None`: no script defines the hook.
    pub async fn watch(
        &self,
        hook: HookName,
        path: Option<&Path>,
        database: Option<&DatabaseName>,
        arguments: Vec<Value>,
        effects: Effects,
    ) -> Option<Watched> {
        let script = match path {
            Some(path) => self.scripts.at(path).filter(|script| script.defines(hook)),
            None => self.scripts.of(hook, database),
        }?;
        let call = self.prepared(script, hook.as_str(), Some(hook), arguments, effects);
        let ran = process::run(&self.program, &call).await;
        Some(watched(hook, script, ran))
    }

    /// Compiles a file of tests.
    ///
    /// # Errors
    /// The mistakes in the file.
    pub fn tests(&self, path: &Path) -> Result<Tests, Problems> {
        let read = script::read(&engine::to_compile(), path, &[]);
        match read.script {
            Some(script) => Ok(Tests { script }),
            None => Err(read.problems),
        }
    }

    /// Runs one test; its imports are loaded from the folder above the tests.
    ///
    /// # Errors
    /// If the test fails: the place and the reason.
    pub async fn test(&self, tests: &Tests, name: &str) -> Result<(), Problems> {
        let mut call = self.prepared(&tests.script, name, None, Vec::new(), Effects::Recorded);
        call.folder = call
            .folder
            .parent()
            .map_or(call.folder.clone(), Path::to_owned);
        match process::run(&self.program, &call).await.answer {
            Answer::Returned(_) => Ok(()),
            Answer::Failed(failure) => Err(shown(&tests.script, &failure).unwrap_or_else(|| {
                let remark =
                    Remark::error(0..0, format!("{}: {}", place(&failure), failure.message));
                Problems::of_text(&tests.script.name, &tests.script.path, "", vec![remark])
            })),
        }
    }

    fn prepared(
        &self,
        script: &Script,
        function: &str,
        hook: Option<HookName>,
        arguments: Vec<Value>,
        effects: Effects,
    ) -> Call {
        let settings = &self.settings;
        let variables = settings.env_allow.iter();
        Call {
            name: script.name.clone(),
            text: script.text.clone(),
            folder: script.folder(),
            function: function.to_owned(),
            hook,
            arguments,
            timeout_ms: u64::try_from(settings.timeout.as_millis()).unwrap_or(u64::MAX),
            reach: Reach {
                effects,
                http_allow: settings.http_allow.clone(),
                exec_allow: settings.exec_allow.clone(),
                environment: variables
                    .map(|name| (name.clone(), System.var(name)))
                    .collect(),
            },
        }
    }

    async fn told(
        &self,
        script: Option<&Script>,
        hook: HookName,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError> {
        let Some(script) = script else {
            return Ok(None);
        };
        let call = self.prepared(script, hook.as_str(), Some(hook), arguments, Effects::Live);
        let watched = watched(hook, script, process::run(&self.program, &call).await);
        self.tally.count(watched.returned.is_err(), watched.took);
        for line in &watched.log {
            log(hook, &script.name, line);
        }
        watched.returned
    }
}

#[async_trait]
impl Hooks for RhaiHooks {
    async fn call(
        &self,
        hook: HookName,
        database: Option<&DatabaseName>,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError> {
        let script = self.scripts.of(hook, database);
        self.told(script, hook, arguments).await
    }

    async fn call_in(
        &self,
        script: &Path,
        hook: HookName,
        arguments: Vec<Value>,
    ) -> Result<Option<Value>, HookError> {
        let script = self
            .scripts
            .at(script)
            .filter(|script| script.defines(hook));
        self.told(script, hook, arguments).await
    }

    fn attached(&self, hook: HookName, database: Option<&DatabaseName>) -> bool {
        self.scripts.of(hook, database).is_some()
    }

    fn tally(&self) -> Arc<Tally> {
        Arc::clone(&self.tally)
    }
}

fn watched(hook: HookName, script: &Script, ran: Ran) -> Watched {
    let shown = match &ran.answer {
        Answer::Returned(_) => None,
        Answer::Failed(failure) => shown(script, failure),
    };
    let returned = match ran.answer {
        Answer::Returned(value) => Ok((!value.is_null()).then_some(value)),
        Answer::Failed(failure) => Err(HookError {
            hook,
            kind: failure.kind,
            place: place(&failure),
            message: match failure.hint {
                Some(hint) => format!("{}\nhint: {hint}", failure.message),
                None => failure.message,
            },
        }),
    };
    Watched {
        returned,
        shown,
        log: ran.log,
        took: ran.took,
    }
}

/// Shows the failure in its text: the script's own, or that of a module.
fn shown(script: &Script, failure: &Failure) -> Option<Problems> {
    let (path, text) = match failure.file == script.name {
        true => (script.path.clone(), script.text.clone()),
        false => {
            let text = read_text(Path::new(&failure.file)).ok()?;
            (PathBuf::from(&failure.file), text)
        }
    };
    let span = match failure.line {
        Some(line) => text::token_at(&text, line, failure.column.unwrap_or(1)),
        None => 0..0,
    };
    let mut remark = Remark::error(span, failure.message.clone());
    if let Some(hint) = &failure.hint {
        remark = remark.hint(hint);
    }
    Some(Problems::of_text(&failure.file, &path, &text, vec![remark]))
}

fn place(failure: &Failure) -> String {
    match (failure.line, failure.column) {
        (Some(line), column) => format!("{}:{line}:{}", failure.file, column.unwrap_or(1)),
        (None, _) => failure.file.clone(),
    }
}

fn log(hook: HookName, script: &str, line: &LogLine) {
    let text = &line.text;
    match line.level {
        LogLevel::Info | LogLevel::Recorded => tracing::info!(%hook, script, "{script}: {text}"),
        LogLevel::Warn => tracing::warn!(%hook, script, "{script}: {text}"),
        LogLevel::Error => tracing::error!(%hook, script, "{script}: {text}"),
    }
}
