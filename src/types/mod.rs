//! Defines types that all modules share. Invariant: a value of these types was validated when it was created; no I/O.

mod archive;
mod date;
mod event;
mod evidence;
mod hash;
mod job;
mod key;
mod manifest;
mod name;
mod size;

pub use archive::{ARCHIVE_FORMAT, ArchiveManifest, ArchiveMember, LeftOut};
pub use date::{BackupDate, IsoWeek};
pub use event::EventKind;
pub use evidence::{
    CheckFacts, EvidenceClass, Exception, ExceptionKind, Health, SourceEvidence, TableEvidence,
};
pub use hash::{ContentHash, Hasher, Sha256};
pub use job::{JobId, Trigger};
pub use key::{CopyForm, KeyKind, ObjectKey};
pub use manifest::{MANIFEST_FORMAT, Manifest, PlainFacts, SourceFacts, StoredFacts};
pub use name::{DatabaseName, Priority};
pub use size::{ByteCount, counted, either, grouped, share};

use chrono::{DateTime, Utc};

use crate::quote;

/// Compression of a stored dump.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Default,
    Hash,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Uncompressed.
    #[default]
    None,
    /// One gzip member, RFC 1952.
    Gzip,
    /// One Zstandard frame, RFC 8878.
    Zstd,
}

impl Compression {
    /// Suffix after `.sql` or `.sqlite` in an object's key: empty, `.gz` or `.zst`.
    pub fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
        }
    }
}

/// Error for an invalid value, with the rule that it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{}` is not valid: {rule}", quote::name(.value))]
pub struct Refused {
    /// Kind of value, such as `database name`.
    pub what: &'static str,
    /// Value as given.
    pub value: String,
    /// Description of a valid value.
    pub rule: &'static str,
}

/// Parses a time as in manifests, RFC 3339.
fn moment(text: &str) -> Option<DateTime<Utc>> {
    let time = DateTime::parse_from_rfc3339(text).ok()?;
    Some(time.to_utc())
}

/// Serializes and deserializes a type through its `Display` and `FromStr`.
macro_rules! text_serde {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}
use text_serde;
