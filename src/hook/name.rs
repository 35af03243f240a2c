//! Names the hooks, their arguments and their results.

use std::fmt;

/// A function that a script may define as a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HookName {
    /// Before a backup job: continue or skip it.
    BeforeJob,
    /// Before a database's backup: continue or skip it; a `throw` aborts it.
    BeforeBackup,
    /// After a database's backup, successful or not.
    AfterBackup,
    /// After a backup job.
    AfterJob,
    /// Checks the size of a copy, in place of the built-in rule.
    CheckSize,
    /// Decides if a sink receives an alert.
    FilterAlert,
    /// Composes the message to a sink.
    FormatAlert,
}

impl HookName {
    /// All hooks, in the order in which a nightly job calls them.
    pub const ALL: [Self; 7] = [
        Self::BeforeJob,
        Self::BeforeBackup,
        Self::CheckSize,
        Self::AfterBackup,
        Self::AfterJob,
        Self::FilterAlert,
        Self::FormatAlert,
    ];

    /// Name of the function in a script.
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

    /// Returns the hook with this name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| hook.as_str() == name)
    }

    /// Names of the arguments.
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

    /// Number of arguments.
    pub fn arity(self) -> usize {
        self.arguments().len()
    }

    /// Keys of the map that the hook may return; empty if it returns no map, or any.
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
