//! Holds a command's output, so that it can be shown here or by the command that requested it from a daemon. Invariant:
//! nothing is written before [`Shown::print`].

use std::fmt::Display;

use serde::Serialize;

use super::context::{Context, in_spite_of, tell};
use super::exit::{Exit, Refusal};
use crate::daemon::wish::Outcome;
use crate::quote;

/// A command's output and exit code.
#[derive(Debug)]
pub(super) struct Shown {
    out: String,
    err: Vec<String>,
    exit: Exit,
}

impl Shown {
    /// Creates an output with text for stdout.
    pub(super) fn text(exit: Exit, text: impl Display) -> Self {
        Self {
            out: text.to_string(),
            err: Vec::new(),
            exit,
        }
    }

    /// Creates an output with one JSON document for stdout.
    pub(super) fn document(exit: Exit, document: &impl Serialize) -> Self {
        let mut text = Vec::new();
        quote::write_json(&mut text, document).expect("a report becomes JSON");
        Self::text(exit, String::from_utf8_lossy(&text))
    }

    /// Adds a line for stderr.
    pub(super) fn line(&mut self, text: impl Display) {
        self.err.push(text.to_string());
    }

    /// Writes everything, and returns the exit code.
    pub(super) fn print(self, context: &Context) -> Exit {
        let shown = match self.out.is_empty() {
            true => Ok(()),
            false => context.print(&self.out),
        };
        self.err.iter().for_each(tell);
        in_spite_of(shown, self.exit)
    }

    /// Converts the outcome from a daemon.
    ///
    /// # Errors
    /// The reason that it could not carry out the request.
    pub(super) fn from_outcome(outcome: Outcome) -> Result<Self, Refusal> {
        let exit = Exit::from_code(outcome.exit);
        match outcome.error {
            Some(text) => Err(Refusal { exit, text }),
            None => Ok(Self {
                out: outcome.out,
                err: outcome.err,
                exit,
            }),
        }
    }

    /// Converts the output to an outcome for a command.
    pub(super) fn into_outcome(self) -> Outcome {
        Outcome {
            out: self.out,
            err: self.err,
            error: None,
            exit: self.exit as u8,
        }
    }
}
