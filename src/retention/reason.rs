//! Defines every reason to keep or delete an object.

use std::fmt;

use crate::types::{DatabaseName, counted};

/// Decision about an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is kept.
    Keep(Kept),
    /// It may be deleted.
    Delete(Because),
}

impl Fate {
    /// True if it may be deleted.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete(_))
    }
}

/// Reason to keep an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// It is not old enough.
    Young,
    /// Too few verified copies of a database would be left.
    Last {
        /// The database.
        database: DatabaseName,
        /// Number of copies that would be left.
        left: usize,
        /// Number of copies that must be left.
        min_copies: u32,
    },
    /// A database has no newer verified copy.
    Newer {
        /// The database.
        database: DatabaseName,
    },
    /// No verified archive contains it.
    Week,
    /// It is being read.
    Lease,
    /// A person pinned it.
    Pin,
    /// Another installation wrote it.
    Own,
    /// The time cannot be trusted, for this reason.
    Clock(String),
    /// An object of one of its databases is damaged, or too much would be deleted at once; with the details.
    Breaker(String),
    /// The catalog was rebuilt; with the end of the waiting period.
    Quiet(String),
}

/// Reason that an object may be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is a daily copy and too old.
    Daily {
        /// Limit that its age exceeds, in days.
        daily_days: u32,
    },
    /// It is a weekly archive and too old.
    Weekly {
        /// Limit that the age of its Sunday exceeds, in weeks.
        weekly_weeks: u32,
    },
}

/// Rule that keeps objects that are old enough to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// Keeps `min_copies` verified copies of each database.
    Last,
    /// Keeps a copy unless a newer verified one stays.
    Newer,
    /// Keeps a daily copy unless a verified archive contains it.
    Week,
    /// Keeps an object that is being read.
    Lease,
    /// Keeps a pinned object.
    Pin,
    /// Keeps an object that another installation wrote.
    Own,
    /// Keeps everything while the time cannot be trusted.
    Clock,
    /// Keeps everything for a while after a rebuild.
    Quiet,
    /// Keeps every copy of a database that has damage or would lose more than half.
    Breaker,
}

impl Guard {
    /// All guards.
    pub const ALL: [Self; 9] = [
        Self::Last,
        Self::Newer,
        Self::Week,
        Self::Lease,
        Self::Pin,
        Self::Own,
        Self::Clock,
        Self::Quiet,
        Self::Breaker,
    ];
}

/// Active guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guards {
    missing: Option<Guard>,
}

impl Guards {
    /// All guards.
    pub fn all() -> Self {
        Self::default()
    }

    /// All guards except one: for tests that show the effect of that one.
    #[doc(hidden)]
    pub fn without(guard: Guard) -> Self {
        Self {
            missing: Some(guard),
        }
    }

    /// True if this guard is active.
    pub(crate) fn has(self, guard: Guard) -> bool {
        self.missing != Some(guard)
    }
}

impl Kept {
    /// Name of every rule, in alphabetical order.
    pub const RULES: [&'static str; 9] = [
        "breaker", "clock", "last", "lease", "newer", "own", "pin", "quiet", "week",
    ];

    /// True if this rule stops expiry: objects old enough to go wait until the problem ends, or for a person.
    pub fn is_stop(&self) -> bool {
        Self::stops(self.word())
    }

    /// Same as [`Kept::is_stop`], for the name of a rule.
    pub fn stops(rule: &str) -> bool {
        matches!(rule, "clock" | "week" | "breaker" | "quiet")
    }

    /// Name of the rule: one word for tables, logs and the API.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Young => "young",
            Self::Last { .. } => "last",
            Self::Newer { .. } => "newer",
            Self::Week => "week",
            Self::Lease => "lease",
            Self::Pin => "pin",
            Self::Own => "own",
            Self::Clock(_) => "clock",
            Self::Breaker(_) => "breaker",
            Self::Quiet(_) => "quiet",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Young => write!(f, "it is not old enough"),
            Self::Last {
                database,
                left,
                min_copies,
            } => write!(
                f,
                "{} of `{database}` would be left, and {min_copies} must stay",
                counted(*left, "verified copy")
            ),
            Self::Newer { database } => {
                write!(f, "there is no newer verified copy of `{database}`")
            }
            Self::Week => write!(f, "no verified archive holds it"),
            Self::Lease => write!(f, "it is being read"),
            Self::Pin => write!(f, "it is pinned"),
            Self::Own => write!(f, "another installation wrote it"),
            Self::Clock(why) => write!(f, "the time cannot be trusted: {why}"),
            Self::Breaker(why) => write!(f, "a person has to look first: {why}"),
            Self::Quiet(until) => write!(f, "the catalog was rebuilt: nothing goes before {until}"),
        }
    }
}

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of_age = |f: &mut fmt::Formatter<'_>, count: u32, unit| {
            write!(f, "it is older than {}", counted(count, unit))
        };
        match *self {
            Self::Daily { daily_days } => of_age(f, daily_days, "day"),
            Self::Weekly { weekly_weeks } => of_age(f, weekly_weeks, "week"),
        }
    }
}
