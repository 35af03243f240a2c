//! Names a backup job and what started it.

use std::fmt;
use std::str::FromStr;

use super::Refused;

/// The id of one job: a random UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JobId(uuid::Uuid);

impl JobId {
    /// A new id that no other job has.
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

/// What started a job; the catalog's `trigger_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    /// The schedule in `patina.toml`.
    Scheduled,
    /// A person or a script.
    Manual,
}

impl Trigger {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Manual => "manual",
        }
    }
}
