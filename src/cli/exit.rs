//! Says how a command ended. Invariant: scripts may rely on these numbers.

use std::process::ExitCode;

/// How a command ended, as the shell sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done. A backup that one of several storages did not take is done, with a warning.
    Ok = 0,
    /// Nothing was done. Of `patina diff`: the copies differ, as of `diff`.
    Failed = 1,
    /// The arguments or the configuration are wrong; nothing was done. Of `patina diff`: any trouble, as of `diff`.
    Usage = 2,
    /// Some databases or copies were dealt with, others not; or a query has more rows than were shown.
    Partly = 3,
    /// A copy is damaged or missing.
    Damage = 4,
    /// A database has had no good copy for too long.
    Stale = 5,
    /// A bug of Patina ended the work; the message says where to report it. `EX_SOFTWARE` of sysexits.
    Bug = 70,
    /// A hook said to skip; `EX_TEMPFAIL` of sysexits.
    Skipped = 75,
}

impl Exit {
    const ALL: [Self; 7] = [
        Self::Ok,
        Self::Failed,
        Self::Usage,
        Self::Partly,
        Self::Damage,
        Self::Stale,
        Self::Skipped,
    ];

    /// The end of this number; [`Exit::Failed`] where there is none.
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

/// An error that ends a command with a code other than [`Exit::Failed`].
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub(super) struct Refusal {
    pub(super) exit: Exit,
    pub(super) text: String,
}

impl Refusal {
    /// The arguments ask for something that cannot be.
    pub(super) fn usage(text: impl Into<String>) -> Self {
        Self {
            exit: Exit::Usage,
            text: text.into(),
        }
    }

    /// There is nothing of that kind.
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
