//! Identifies a backup job and its trigger.

use std::fmt;
use std::str::FromStr;

use super::Refused;

/// Id of one job: a random UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(uuid::Uuid);

impl JobId {
    /// Returns a new random id.
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4())
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for JobId {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        text.parse().map(Self).map_err(|_| Refused {
            what: "job id",
            value: text.to_owned(),
            rule: "use a UUID",
        })
    }
}

super::text_serde!(JobId);

/// Trigger of a job; the catalog's `trigger_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The schedule in `patina.toml`.
    Scheduled,
    /// A person or a script.
    Manual,
}

impl Trigger {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
        }
    }
}
