//! Names the hooks and says what each takes and returns.

use std::fmt;

/// A function that a script may define to be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookName {
    /// Before a backup job: go on or skip it.
    BeforeJob,
    /// Before a database's backup: go on, skip it, or abort it.
    BeforeBackup,
    /// After a database's backup, good or bad.
    AfterBackup,
    /// After a backup job.
    AfterJob,
    /// Whether a copy's size is right; instead of the built-in rule.
    CheckSize,
    /// Whether a sink gets an alert.
    FilterAlert,
    /// What a sink is sent.
    FormatAlert,
}

impl HookName {
    /// All of them, in the order in which a night calls them.
    pub const ALL: [Self; 7] = [
        Self::BeforeJob,
        Self::BeforeBackup,
        Self::CheckSize,
        Self::AfterBackup,
        Self::AfterJob,
        Self::FilterAlert,
        Self::FormatAlert,
    ];

    /// The name of the function in a script.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BeforeJob => "before_job",
            Self::BeforeBackup => "before_backup",
            Self::AfterBackup => "after_backup",
            Self::AfterJob => "after_job",
            Self::CheckSize => "check_size",
            Self::FilterAlert => "filter_alert",
            Self::FormatAlert => "format_alert",
        }
    }

    /// The hook of this name; `None` where there is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.as_str() == name)
    }

    /// What its arguments are called.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::BeforeJob => &["job"],
            Self::BeforeBackup => &["db"],
            Self::AfterBackup => &["db", "result"],
            Self::AfterJob => &["job", "result"],
            Self::CheckSize => &["current", "history"],
            Self::FilterAlert | Self::FormatAlert => &["alert", "sink"],
        }
    }

    /// How many arguments it takes.
    pub fn arity(self) -> usize {
        self.arguments().len()
    }

    /// The keys of the map it may return; empty where it returns none, or any.
    pub fn keys(self) -> &'static [&'static str] {
        match self {
            Self::BeforeJob | Self::BeforeBackup => &["action", "reason"],
            Self::AfterBackup => &["labels"],
            Self::CheckSize => &["verdict", "reason"],
            Self::AfterJob | Self::FilterAlert | Self::FormatAlert => &[],
        }
    }
}

impl fmt::Display for HookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
