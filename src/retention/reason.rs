//! Names every reason an object stays or goes.

use std::fmt;

use crate::types::{DatabaseName, counted};

/// What becomes of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays.
    Keep(Kept),
    /// It may go.
    Delete(Because),
}

impl Fate {
    /// Whether it may go.
    pub fn is_delete(&self) -> bool {
        matches!(self, Self::Delete(_))
    }
}

/// Why an object stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// Its age does not let it go.
    Young,
    /// Too few verified copies of a database would be left.
    Last {
        /// The database.
        database: DatabaseName,
        /// How many would be left.
        left: usize,
        /// How many must be.
        min_copies: u32,
    },
    /// A database has no newer verified copy.
    Newer {
        /// The database.
        database: DatabaseName,
    },
    /// No verified archive holds it.
    Week,
    /// It is being read.
    Lease,
    /// A person pinned it.
    Pin,
    /// Another installation wrote it.
    Own,
    /// The time cannot be trusted, and why.
    Clock(String),
    /// Something of one of its databases is damaged, or too much would go at once; what.
    Breaker(String),
    /// The catalog is new; until when.
    Quiet(String),
}

/// Why an object may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Because {
    /// It is a daily copy of an age.
    Daily {
        /// The age it has passed, in days.
        daily_days: u32,
    },
    /// It is a weekly archive of an age.
    Weekly {
        /// The age its Sunday has passed, in weeks.
        weekly_weeks: u32,
    },
}

/// A rule that keeps what is old enough to go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Guard {
    /// `min_copies` verified copies of each database stay.
    Last,
    /// A copy goes only where a newer verified one stays.
    Newer,
    /// A daily copy goes only where a verified archive holds it.
    Week,
    /// What is being read stays.
    Lease,
    /// What is pinned stays.
    Pin,
    /// What another installation wrote stays.
    Own,
    /// While the time cannot be trusted, everything stays.
    Clock,
    /// After a rebuild everything stays for a while.
    Quiet,
    /// Of a database with damage, or that would lose more than half, everything stays.
    Breaker,
}

impl Guard {
    /// All guards there are.
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

/// The guards in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Guards {
    missing: Option<Guard>,
}

impl Guards {
    /// All of them.
    pub fn all() -> Self {
        Self::default()
    }

    /// All but one: for tests that show what that one is for.
    #[doc(hidden)]
    pub fn without(guard: Guard) -> Self {
        Self {
            missing: Some(guard),
        }
    }

    /// Whether this one is in force.
    pub(crate) fn has(self, guard: Guard) -> bool {
        self.missing != Some(guard)
    }
}

impl Kept {
    /// Every rule's name, in the order of names.
    pub const RULES: [&'static str; 9] = [
        "breaker", "clock", "last", "lease", "newer", "own", "pin", "quiet", "week",
    ];

    /// Whether expiry is stopped by it: what its age lets go waits for the trouble to end, or for a person.
    pub fn is_stop(&self) -> bool {
        Self::stops(self.word())
    }

    /// The same of a rule's name.
    pub fn stops(rule: &str) -> bool {
        matches!(rule, "clock" | "week" | "breaker" | "quiet")
    }

    /// The rule's name: one word for tables, logs and the API.
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
