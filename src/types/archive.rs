//! Describes a stored weekly archive; the manifest's presence in a store commits the archive.

use chrono::{DateTime, Utc};

use super::{IsoWeek, JobId, Manifest, ObjectKey, PlainFacts, StoredFacts};

/// Version of the archive manifest's fields.
pub const ARCHIVE_FORMAT: u32 = 1;

/// Commit record of one weekly archive: `manifests/weekly/<week>.tar.gz.json`, written last and never modified.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ArchiveManifest {
    /// Value of [`ARCHIVE_FORMAT`] when it was written.
    pub format: u32,
    /// Installation of Patina that wrote it.
    pub instance: String,
    /// Key of the object that this manifest commits.
    pub key: ObjectKey,
    /// Week whose Sunday it was made on.
    pub week: IsoWeek,
    /// IANA time zone of the members' dates.
    pub zone: String,
    /// Job that made it.
    pub job: JobId,
    /// Start of the archiving, RFC 3339 in UTC.
    pub started_at: String,
    /// Time at which the archive was read back and every member was right, RFC 3339 in UTC.
    pub completed_at: String,
    /// Size, digest and compression of the stored bytes.
    pub stored: StoredFacts,
    /// Members, in the archive's order.
    pub members: Vec<ArchiveMember>,
    /// Copies that belong in it and are missing: damaged, or unreadable.
    pub left_out: Vec<LeftOut>,
    /// Size and digest of the runbook in it; `None`: an older version of Patina made it, without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<PlainFacts>,
    /// Version of Patina that wrote it.
    pub patina_version: String,
}

impl ArchiveManifest {
    /// Time at which it was proven. `None`: the manifest's time is not valid.
    pub fn completed(&self) -> Option<DateTime<Utc>> {
        super::moment(&self.completed_at)
    }
}

/// Daily copy inside an archive.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ArchiveMember {
    /// Name of the entry in the tar file.
    pub path: String,
    /// Commit record of the daily, complete, so that it is known when the daily is gone.
    pub manifest: Manifest,
}

/// Daily copy that an archive should contain and does not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct LeftOut {
    /// Key of the daily.
    pub key: ObjectKey,
    /// Reason.
    pub why: String,
}
