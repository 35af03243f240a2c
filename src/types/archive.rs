//! Describes a stored weekly archive; its presence in a store commits the archive.

use chrono::{DateTime, Utc};

use super::{IsoWeek, JobId, Manifest, ObjectKey, PlainFacts, StoredFacts};

/// The version of the archive manifest's fields.
pub const ARCHIVE_FORMAT: u32 = 1;

/// The commit record of one weekly archive: `manifests/weekly/<week>.tar.gz.json`, written last and never modified.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ArchiveManifest {
    /// [`ARCHIVE_FORMAT`] when it was written.
    pub format: u32,
    /// The Patina installation that wrote it.
    pub instance: String,
    /// The object this manifest commits.
    pub key: ObjectKey,
    /// The week whose Sunday it was packed on.
    pub week: IsoWeek,
    /// The IANA time zone of the members' dates.
    pub zone: String,
    /// The job that packed it.
    pub job: JobId,
    /// When packing began, RFC 3339 in UTC.
    pub started_at: String,
    /// When the archive was read back and every member was right, RFC 3339 in UTC.
    pub completed_at: String,
    /// The bytes in the store.
    pub stored: StoredFacts,
    /// What it holds, in the archive's order.
    pub members: Vec<ArchiveMember>,
    /// What belonged in and is not: damaged, or not to be read.
    pub left_out: Vec<LeftOut>,
    /// What the runbook in it is; `None`: an older Patina packed it, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<PlainFacts>,
    /// The Patina that wrote it.
    pub patina_version: String,
}

impl ArchiveManifest {
    /// When it was proven. `None`: the manifest does not say it in a form that is one.
    pub fn completed(&self) -> Option<DateTime<Utc>> {
        super::moment(&self.completed_at)
    }
}

/// A daily copy inside an archive.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ArchiveMember {
    /// The entry's name in the tar.
    pub path: String,
    /// The daily's whole commit record, so that it is known when the daily is gone.
    pub manifest: Manifest,
}

/// A daily copy that an archive should hold and does not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// The daily's key.
    pub key: ObjectKey,
    /// Why.
    pub why: String,
}
