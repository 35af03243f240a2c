//! Represents a database's name and its priority.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::Refused;

/// Name of a configured database: `[a-z0-9][a-z0-9_-]{0,63}`.
///
/// It is part of object keys, file names and metrics, so no other characters are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DatabaseName(Arc<str>);

impl DatabaseName {
    /// Longest name, in bytes.
    pub const MAX_BYTES: usize = 64;

    /// Name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for DatabaseName {
    type Err = Refused;

    fn from_str(text: &str) -> Result<Self, Refused> {
        let mut bytes = text.bytes();
        let first_ok = bytes
            .next()
            .is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        let rest_ok =
            bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-');
        if first_ok && rest_ok && text.len() <= Self::MAX_BYTES {
            return Ok(Self(text.into()));
        }
        Err(Refused {
            what: "database name",
            value: text.to_owned(),
            rule: "use 1 to 64 of a-z, 0-9, `_` and `-`, starting with a letter or digit",
        })
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

super::text_serde!(DatabaseName);

/// Priority of a database in export and restore.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Before all others.
    Critical,
    /// After the critical ones.
    High,
    /// Last; the default.
    #[default]
    Normal,
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Normal => "normal",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        let long = "a".repeat(65);
        for bad in ["", "..", "a/b", "A", "-a", "a b", "a.b", "ä", long.as_str()] {
            assert!(bad.parse::<DatabaseName>().is_err(), "{bad:?}");
        }
        for good in ["a", "0", "scout-db", "a_b", &long[..64]] {
            assert_eq!(good.parse::<DatabaseName>().unwrap().as_str(), good);
        }
    }
}
