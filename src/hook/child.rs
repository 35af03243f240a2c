//! Runs one call in a process of its own: the call on stdin, the answer on stdout, log lines on stderr.

use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rhai::{Dynamic, EvalAltResult, Position, Scope};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde_json::Value;

use super::wire::{Answer, Call, Failure, SCRIPT_MAX_BYTES, VERDICT_MAX_BYTES};
use super::{HookErrorKind, engine, explain, limits, verdict};

/// Upper bound for a call: a script, its arguments and lists, with room for escapes.
pub(super) const CALL_MAX_BYTES: u64 = 4 * SCRIPT_MAX_BYTES as u64;

/// Answers the call on stdin. Only the supervisor starts this process.
pub(super) fn main() -> ExitCode {
    match answer() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "the call cannot be answered: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer() -> io::Result<()> {
    // Without the supervisor nothing would end the processes that this one starts.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut text = Vec::new();
    io::stdin()
        .lock()
        .take(CALL_MAX_BYTES)
        .read_to_end(&mut text)?;
    let call: Call = serde_json::from_slice(&text)?;
    drop(text);
    limits::confine(Duration::from_millis(call.timeout_ms))?;
    let thread = std::thread::Builder::new().stack_size(limits::STACK_BYTES);
    let answer = thread.spawn(move || run(&call))?.join();
    let answer = answer.map_err(|_| io::Error::other("the interpreter panicked"))?;
    let mut out = io::stdout().lock();
    out.write_all(&answer)?;
    out.flush()
}

/// Runs the call and returns the answer as JSON.
fn run(call: &Call) -> Vec<u8> {
    let answer = match returned(call) {
        Ok(value) => Answer::Returned(value),
        Err(failure) => Answer::Failed(failure),
    };
    let text = serde_json::to_vec(&answer).expect("it is made of text, numbers and maps of text");
    if text.len() <= VERDICT_MAX_BYTES {
        return text;
    }
    let most = VERDICT_MAX_BYTES >> 10;
    let failure = misfit(
        call,
        format!("what it returned is longer than {most} KiB as JSON"),
    );
    serde_json::to_vec(&Answer::Failed(failure)).expect("it is text")
}

fn returned(call: &Call) -> Result<Value, Failure> {
    let timeout = Duration::from_millis(call.timeout_ms);
    let begun = Instant::now();
    let (engine, trail) = engine::to_run(&call.folder, &call.reach, timeout);
    let mut ast = engine
        .compile(&call.text)
        .map_err(|error| explain::failure(call, &error.into(), &trail))?;
    ast.set_source(call.name.clone());
    let arguments = call.arguments.iter().map(rhai::serde::to_dynamic);
    let arguments: Vec<Dynamic> = arguments
        .collect::<Result<_, _>>()
        .map_err(|error| explain::failure(call, &error, &trail))?;
    let result: Dynamic = engine
        .call_fn(&mut Scope::new(), &ast, &call.function, arguments)
        .or_else(|error| match *error {
            EvalAltResult::Exit(value, _) => Ok(value),
            _ => Err(error),
        })
        .map_err(|error| explain::failure(call, &error, &trail))?;
    if begun.elapsed() >= timeout {
        // A sleep that ends at the deadline may be the script's last operation.
        let late = EvalAltResult::ErrorTerminated(Dynamic::UNIT, Position::NONE);
        return Err(explain::failure(call, &late, &trail));
    }
    let value = serde_json::to_value(&result)
        .map_err(|error| misfit(call, format!("what it returned is no data: {error}")))?;
    if let Some(hook) = call.hook {
        verdict::check(hook, &value).map_err(|misfit| explain::misfit(call, misfit))?;
    }
    Ok(value)
}

fn misfit(call: &Call, message: String) -> Failure {
    let misfit = verdict::Misfit {
        key: None,
        message,
        hint: None,
    };
    let failure = explain::misfit(call, misfit);
    debug_assert_eq!(failure.kind, HookErrorKind::Misfit);
    failure
}
