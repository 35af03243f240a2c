//! Turns an error of the interpreter into a place and a message. Invariant: the place is the innermost one, of the
//! mistake and not of the function call.

use rhai::{Dynamic, EvalAltResult, ParseErrorType, Position};

use super::limits::{CALL_LEVELS, OPERATIONS};
use super::trail::Trail;
use super::verdict::Misfit;
use super::wire::{Call, Failure};
use super::{HookErrorKind, text};

/// Tag for the value of an error raised by one of our own functions, to distinguish it from a `throw`.
pub(super) const OWN: i32 = 1;

/// Returns an error of one of our own functions; a script can catch it.
pub(super) fn raised(message: impl Into<String>) -> Box<EvalAltResult> {
    let mut value = Dynamic::from(message.into());
    value.set_tag(OWN);
    EvalAltResult::ErrorRuntime(value, Position::NONE).into()
}

/// Describes an error of a call and its place; uses the last place of `trail` if the error has none.
pub(super) fn failure(call: &Call, error: &EvalAltResult, trail: &Trail) -> Failure {
    let (inner, at, file) = innermost(error, Position::NONE, &call.name);
    let (kind, message, hint) = told(inner, call.timeout_ms);
    let mut failure = Failure {
        kind,
        file: file.to_owned(),
        line: at.line(),
        column: at.line().map(|_| at.position().unwrap_or(1)),
        message,
        hint,
    };
    if at.is_none() {
        let Some(last) = trail.last() else {
            return of_function(call, kind, failure.message, failure.hint);
        };
        if !last.file.is_empty() {
            failure.file = last.file;
        }
        (failure.line, failure.column) = (Some(last.line), Some(last.column));
    }
    failure
}

/// Describes a failure without a known place in the function: the place is the function's definition.
pub(super) fn of_function(
    call: &Call,
    kind: HookErrorKind,
    message: String,
    hint: Option<String>,
) -> Failure {
    let start = text::function(&call.text, &call.function).map(|span| span.start);
    let place = start.map(|start| text::line_and_column(&call.text, start));
    Failure {
        kind,
        file: call.name.clone(),
        line: place.map(|(line, _)| line),
        column: place.map(|(_, column)| column),
        message,
        hint,
    }
}

/// Describes an invalid result, at the key or the function.
pub(super) fn misfit(call: &Call, misfit: Misfit) -> Failure {
    let function = text::function(&call.text, &call.function);
    let start = function.as_ref().map_or(0, |span| span.start);
    let key = misfit.key.as_deref();
    let span = key
        .and_then(|key| text::key(&call.text, start, key))
        .or(function);
    let (line, column) = span.map_or((1, 1), |span| text::line_and_column(&call.text, span.start));
    Failure {
        kind: HookErrorKind::Misfit,
        file: call.name.clone(),
        line: Some(line),
        column: Some(column),
        message: misfit.message,
        hint: misfit.hint,
    }
}

/// Returns the innermost error, its position, and its file.
fn innermost<'a>(
    error: &'a EvalAltResult,
    outer: Position,
    file: &'a str,
) -> (&'a EvalAltResult, Position, &'a str) {
    let own = error.position();
    let at = if own.is_none() { outer } else { own };
    match error {
        EvalAltResult::ErrorInFunctionCall(_, source, inner, _) => {
            let file = if source.is_empty() { file } else { source };
            innermost(inner, at, file)
        }
        EvalAltResult::ErrorInModule(_, inner, _) => innermost(inner, at, file),
        _ => (error, at, file),
    }
}

fn told(error: &EvalAltResult, timeout_ms: u64) -> (HookErrorKind, String, Option<String>) {
    use EvalAltResult as E;
    use HookErrorKind::{Failed, Thrown, Timeout};
    let hint = |text: &str| Some(text.to_owned());
    match error {
        E::ErrorRuntime(value, _) if value.tag() == OWN => {
            let (message, hint) = split(value.to_string());
            (Failed, message, hint)
        }
        E::ErrorRuntime(value, _) => (Thrown, value.to_string(), None),
        E::ErrorTerminated(..) => {
            let took = humantime::format_duration(std::time::Duration::from_millis(timeout_ms));
            let way = "do less, or raise `[hooks] timeout`";
            (Timeout, format!("it took longer than {took}"), hint(way))
        }
        E::ErrorTooManyOperations(_) => {
            let message = format!("it did more than {OPERATIONS} operations");
            (Failed, message, hint("is there a loop without an end?"))
        }
        E::ErrorStackOverflow(_) => {
            let message = format!("its calls are nested more than {CALL_LEVELS} deep");
            (
                Failed,
                message,
                hint("does a function call itself without an end?"),
            )
        }
        E::ErrorDataTooLarge(what, _) => (
            Failed,
            format!("a value is too large: {}", lower(what)),
            hint("does it grow in a loop without an end?"),
        ),
        E::ErrorFunctionNotFound(signature, _) => {
            let way = "`scripts/README.md` lists the functions there are";
            (
                Failed,
                format!("there is no function `{signature}`"),
                hint(way),
            )
        }
        E::ErrorPropertyNotFound(name, _) => (
            Failed,
            format!("the map has no key `{name}`"),
            hint("look at it with `log_info(json_encode(…))`"),
        ),
        E::ErrorParsing(kind, _) => {
            let (message, hint) = syntax(kind);
            (Failed, message, hint)
        }
        other => (Failed, plain(other), None),
    }
}

/// Describes a syntax error in our own words.
pub(super) fn syntax(kind: &ParseErrorType) -> (String, Option<String>) {
    let hint = |text: String| Some(text);
    match kind {
        ParseErrorType::MissingToken(token, what) => (
            format!("`{token}` is missing {what}"),
            hint(format!("write `{token}` here")),
        ),
        ParseErrorType::VariableUndefined(name) => (
            format!("no variable is called `{name}`"),
            hint(
                "declare it with `let`; a function sees its arguments and its own variables alone"
                    .into(),
            ),
        ),
        ParseErrorType::ModuleUndefined(name) => (
            format!("no module is called `{name}`"),
            hint(format!("load it first: `import \"{name}\" as {name};`")),
        ),
        ParseErrorType::BadInput(input) if input.to_string().contains("eval") => (
            "`eval` is not there".to_owned(),
            hint("a script cannot run code that it builds as text".into()),
        ),
        other => (lower(&other.to_string()), None),
    }
}

fn plain(error: &EvalAltResult) -> String {
    let mut error = error.to_string();
    if let Some(at) = error.rfind(" (line ") {
        error.truncate(at);
    }
    lower(&error)
}

fn split(text: String) -> (String, Option<String>) {
    match text.split_once("\nhint: ") {
        Some((message, hint)) => (message.to_owned(), Some(hint.to_owned())),
        None => (text, None),
    }
}

fn lower(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(characters).collect()
}
