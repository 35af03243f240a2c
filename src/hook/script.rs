//! Reads and compiles scripts, and finds mistakes in them. Invariant: no script is run.

use std::ops::Range;
use std::path::{Path, PathBuf};

use rhai::{AST, Engine, FnAccess, ParseErrorType};

use super::wire::SCRIPT_MAX_BYTES;
use super::{HookName, engine, explain, text};
use crate::config::{Config, Problems, Remark, Severity, read_text};
use crate::types::DatabaseName;

/// Largest edit distance that counts as a typo: two wrong letters are one, three are another word.
const SLIPS_MAX: usize = 2;

/// One script, as it was when it was read.
#[derive(Debug, Clone)]
pub(super) struct Script {
    pub(super) path: PathBuf,
    /// Name in messages.
    pub(super) name: String,
    pub(super) text: String,
    pub(super) hooks: Vec<Defined>,
    /// Functions whose names begin with `test_`.
    pub(super) tests: Vec<String>,
}

/// A hook that a script defines.
#[derive(Debug, Clone)]
pub(super) struct Defined {
    pub(super) hook: HookName,
    /// The `///` lines above it, without the slashes.
    pub(super) doc: Vec<String>,
    pub(super) span: Range<usize>,
}

impl Script {
    pub(super) fn defines(&self, hook: HookName) -> bool {
        self.hooks.iter().any(|defined| defined.hook == hook)
    }

    /// Folder that `import` searches.
    pub(super) fn folder(&self) -> PathBuf {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
    }
}

/// All scripts of a configuration, each once, with the databases that they serve.
#[derive(Debug, Clone, Default)]
pub(super) struct Scripts {
    /// Scripts in `[hooks] scripts`, in their order.
    pub(super) common: Vec<Script>,
    /// Scripts of single databases.
    pub(super) own: Vec<(DatabaseName, Script)>,
}

impl Scripts {
    /// Reads and compiles all scripts. The problems may be mere warnings.
    pub(super) fn read(config: &Config) -> (Self, Problems) {
        let engine = engine::to_compile();
        let mut problems = Problems::default();
        let mut scripts = Self::default();
        for path in &config.hooks().scripts {
            let read = read(&engine, path, &scripts.common);
            problems.append(read.problems);
            scripts.common.extend(read.script);
        }
        for database in config.databases() {
            let Some(path) = &database.script else {
                continue;
            };
            let read = read(&engine, path, &[]);
            problems.append(read.problems);
            let own = read.script.map(|script| (database.name.clone(), script));
            scripts.own.extend(own);
        }
        (scripts, problems)
    }

    /// Returns the script that handles this hook for this database.
    pub(super) fn of(&self, hook: HookName, database: Option<&DatabaseName>) -> Option<&Script> {
        let own = self.own.iter().filter(|(name, _)| Some(name) == database);
        let mut scripts = own.map(|(_, script)| script).chain(&self.common);
        scripts.find(|script| script.defines(hook))
    }

    /// Returns the script with this path.
    pub(super) fn at(&self, path: &Path) -> Option<&Script> {
        let own = self.own.iter().map(|(_, script)| script);
        self.common
            .iter()
            .chain(own)
            .find(|script| script.path == path)
    }
}

/// A script, if it is usable, and its problems.
pub(super) struct Read {
    pub(super) script: Option<Script>,
    pub(super) problems: Problems,
}

/// Reads one script; `before` are the scripts that take precedence.
pub(super) fn read(engine: &Engine, path: &Path, before: &[Script]) -> Read {
    let name = path.display().to_string();
    let text = match text_of(path) {
        Ok(text) => text,
        Err(message) => {
            let remark = Remark::error(0..0, message);
            let problems = Problems::of_text(&name, path, "", vec![remark]);
            return Read {
                script: None,
                problems,
            };
        }
    };
    let mut remarks = Vec::new();
    let script = match engine.compile(&text) {
        Ok(ast) => Some(script_of(path, &name, &text, &ast, &mut remarks)),
        Err(error) => {
            remarks.push(syntax(&text, error.err_type(), error.position()));
            None
        }
    };
    if let Some(script) = &script {
        remarks.extend(shadowed(script, before));
        remarks.extend(script.hooks.iter().flat_map(|hook| odd_keys(&text, hook)));
    }
    let has_errors = remarks
        .iter()
        .any(|remark| remark.severity == Severity::Error);
    Read {
        script: script.filter(|_| !has_errors),
        problems: Problems::of_text(&name, path, &text, remarks),
    }
}

fn text_of(path: &Path) -> Result<String, String> {
    let text = read_text(path);
    let text = text.map_err(|error| format!("cannot read the script: {error}"))?;
    match text.len() > SCRIPT_MAX_BYTES {
        true => Err("the file is too long for a script".to_owned()),
        false => Ok(text),
    }
}

fn script_of(path: &Path, name: &str, text: &str, ast: &AST, remarks: &mut Vec<Remark>) -> Script {
    let mut script = Script {
        path: path.to_owned(),
        name: name.to_owned(),
        text: text.to_owned(),
        hooks: Vec::new(),
        tests: Vec::new(),
    };
    for function in ast
        .iter_functions()
        .filter(|f| !f.name.starts_with("anon$"))
    {
        let span = text::function(text, function.name).unwrap_or(0..0);
        let is_private = function.access == FnAccess::Private;
        match HookName::named(function.name) {
            Some(hook) if is_private => remarks.push(
                Remark::error(
                    span,
                    format!("`{hook}` is private and would never be called"),
                )
                .hint("remove `private`"),
            ),
            Some(hook) if function.params.len() != hook.arity() => {
                remarks.push(wrong_arity(hook, function.params.len(), span));
            }
            Some(hook) => script.hooks.push(Defined {
                hook,
                doc: doc(&function.comments),
                span,
            }),
            None if function.name.starts_with("test_") => {
                script.tests.push(function.name.to_owned())
            }
            None if !is_private => remarks.extend(slip(function.name, span)),
            None => {}
        }
    }
    script.hooks.sort_by_key(|defined| defined.span.start);
    script
        .tests
        .sort_by_key(|test| text::function(text, test).map(|span| span.start));
    script
}

fn wrong_arity(hook: HookName, found: usize, span: Range<usize>) -> Remark {
    let arguments = hook.arguments().join(", ");
    let plural = if hook.arity() == 1 { "" } else { "s" };
    let message = format!(
        "`{hook}` takes {} argument{plural} ({arguments}), yours takes {found}",
        hook.arity()
    );
    Remark::error(span, message).hint(format!("write `fn {hook}({arguments})`"))
}

/// Reports a public function whose name is almost that of a hook.
fn slip(name: &str, span: Range<usize>) -> Option<Remark> {
    let distance = |hook: &HookName| strsim::damerau_levenshtein(name, hook.as_str());
    let near = HookName::ALL.into_iter().min_by_key(distance)?;
    let remark = Remark::error(span, format!("`{name}` is not a hook"))
        .hint(format!("did you mean `{near}`? A helper is a `private fn`"));
    (distance(&near) <= SLIPS_MAX).then_some(remark)
}

/// Reports hooks that an earlier script handles. A sink names the script of its `format_alert`, so each script may
/// define one.
fn shadowed(script: &Script, before: &[Script]) -> Vec<Remark> {
    let mut remarks = Vec::new();
    for defined in script
        .hooks
        .iter()
        .filter(|defined| defined.hook != HookName::FormatAlert)
    {
        if let Some(first) = before.iter().find(|first| first.defines(defined.hook)) {
            let message = format!(
                "`{}` is never called: `{}` defines it too",
                defined.hook, first.name
            );
            let hint = "the first script of `[hooks] scripts` that defines a hook answers";
            remarks.push(Remark::warning(defined.span.clone(), message).hint(hint));
        }
    }
    remarks
}

/// Reports keys in a hook that are almost those of its result.
fn odd_keys(text: &str, defined: &Defined) -> Vec<Remark> {
    let start = defined.span.start;
    let keys = text::map_keys(text, start..text::end_of_function(text, start));
    let known = defined.hook.keys();
    let mut remarks = Vec::new();
    for span in keys {
        let key = &text[span.clone()];
        let near = known
            .iter()
            .find(|known| (1..=SLIPS_MAX).contains(&strsim::damerau_levenshtein(key, known)));
        if let Some(near) = near
            && !known.contains(&key)
        {
            let message = format!("the result of `{}` has no key `{key}`", defined.hook);
            remarks.push(Remark::warning(span, message).hint(format!("did you mean `{near}`?")));
        }
    }
    remarks
}

fn syntax(text: &str, kind: &ParseErrorType, at: rhai::Position) -> Remark {
    let span = match at.line() {
        Some(line) => text::token_at(text, line, at.position().unwrap_or(1)),
        None => text.len()..text.len(),
    };
    // A missing `;` is detected at the next token; the mistake is before it.
    let span = match kind {
        ParseErrorType::MissingToken(token, _) if token == ";" => {
            text::end_before(text, span.start)
        }
        _ => span,
    };
    let (message, hint) = explain::syntax(kind);
    let remark = Remark::error(span, message);
    match hint {
        Some(hint) => remark.hint(hint),
        None => remark.hint("see https://rhai.rs/book for how scripts are written"),
    }
}

fn doc(comments: &[&str]) -> Vec<String> {
    let lines = comments.iter().flat_map(|comment| comment.lines());
    lines
        .map(|line| line.trim().trim_start_matches('/').trim().to_owned())
        .collect()
}
