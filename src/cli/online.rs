//! Shows the results of `patina check --online`. Invariant: the exit code distinguishes all, some and none.

use serde_json::{Value, json};

use super::context::{Context, printable, tell};
use super::exit::Exit;
use super::table::{Side, Table};
use crate::app::online::{Outcome, Trial};

/// Returns the exit code of the check.
pub(super) fn exit(trials: &[Trial]) -> Exit {
    let failed = |trial: &&Trial| matches!(trial.outcome, Outcome::Failed(_));
    match trials.iter().filter(failed).count() {
        0 => Exit::Ok,
        failed if failed == trials.len() => Exit::Failed,
        _ => Exit::Partly,
    }
}

/// Prints a line for each check, then the problems.
pub(super) fn show(context: &Context, trials: &[Trial]) -> std::io::Result<()> {
    let mut table = Table::new([
        ("RESULT", Side::Left),
        ("WHAT", Side::Left),
        ("NAME", Side::Left),
        ("TIME", Side::Right),
        ("TRIED", Side::Left),
    ]);
    for trial in trials {
        table.row([
            word(&trial.outcome).to_owned(),
            trial.subject.word().to_owned(),
            trial.name.clone(),
            format!("{} ms", trial.took.as_millis()),
            trial.tried.to_owned(),
        ]);
    }
    context.print(format_args!("\n{table}"))?;
    for trial in trials {
        let level = match &trial.outcome {
            Outcome::Good => continue,
            Outcome::Remark(_) => "warning",
            Outcome::Failed(_) => "error",
        };
        let subject = format!("{} `{}`: ", trial.subject.word(), trial.name);
        let text = text(&trial.outcome).unwrap_or_default();
        let lines: Vec<String> = text.lines().map(printable).collect();
        let lines = lines.join("\n");
        // A storage's errors name the storage already.
        let lines = lines.strip_prefix(&subject).unwrap_or(&lines);
        tell(format_args!("{level}: {subject}{lines}"));
    }
    Ok(())
}

/// Returns the results as JSON.
pub(super) fn document(trials: &[Trial]) -> Value {
    trials
        .iter()
        .map(|trial| {
            json!({
                "subject": trial.subject.word(),
                "name": trial.name,
                "tried": trial.tried,
                "result": word(&trial.outcome),
                "message": text(&trial.outcome),
                "took_ms": u64::try_from(trial.took.as_millis()).unwrap_or(u64::MAX),
            })
        })
        .collect()
}

fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Good => "ok",
        Outcome::Remark(_) => "remark",
        Outcome::Failed(_) => "failed",
    }
}

fn text(outcome: &Outcome) -> Option<&str> {
    match outcome {
        Outcome::Good => None,
        Outcome::Remark(text) | Outcome::Failed(text) => Some(text),
    }
}
