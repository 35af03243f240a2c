//! Defines the exit codes. Invariant: scripts may rely on these numbers.

use std::process::ExitCode;

/// Exit code of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done. A backup that one of several storages did not take counts as done, with a warning.
    Ok = 0,
    /// Nothing was done. `patina diff`: the copies differ, as with `diff`.
    Failed = 1,
    /// The arguments or the configuration are wrong; nothing was done. `patina diff`: any error, as with `diff`.
    Usage = 2,
    /// Some databases or copies were processed, others not; or a query has more rows than were shown.
    Partly = 3,
    /// A copy is damaged or missing.
    Damage = 4,
    /// A database has had no good copy for too long.
    Stale = 5,
    /// A bug of Patina ended the work; the message says where to report it. `EX_SOFTWARE` of sysexits.
    Bug = 70,
    /// A hook requested to skip; `EX_TEMPFAIL` of sysexits.
    Skipped = 75,
}

impl Exit {
    const ALL: [Self; 8] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Partly,
        Self::Damage,
        Self::Stale,
        Self::Bug,
        Self::Skipped,
    ];

    /// Returns the exit with this code; [`Exit::Failed`] for an unknown code.
    pub(super) fn from_code(code: u8) -> Self {
        let found = Self::ALL.into_iter().find(|exit| *exit as u8 == code);
        found.unwrap_or(Self::Failed)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error that ends a command with a certain exit code.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Refusal {
    /// The arguments or the configuration request something impossible.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            text: text.into(),
        }
    }

    /// The command failed, or found nothing.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Failed,
            text: text.into(),
        }
    }

    /// A copy is damaged or missing.
    pub(super) fn damage(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Damage,
            text: text.into(),
        }
    }
}
