//! Describes a stored copy; the manifest's presence in a store commits the copy.

use chrono::{DateTime, Utc};

use super::{BackupDate, CheckFacts, Compression, DatabaseName, EvidenceClass, Exception, JobId};
use super::{CopyForm, Health, ObjectKey, Sha256, SourceEvidence};

/// Version of the manifest's fields. Version 1 had no independent check; its copies are recognized by that.
pub const MANIFEST_FORMAT: u32 = 2;

/// Commit record of one stored dump: `manifests/<key>.json`, written last and never modified.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// Value of [`MANIFEST_FORMAT`] when it was written.
    pub format: u32,
    /// Installation of Patina that wrote it.
    pub instance: String,
    /// Key of the object that this manifest commits.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// Day of the backup, in `zone`.
    pub date: BackupDate,
    /// IANA time zone of `date`.
    pub zone: String,
    /// Job that made it.
    pub job: JobId,
    /// Source of the content.
    pub source: SourceFacts,
    /// Start of the export, RFC 3339 in UTC.
    pub started_at: String,
    /// Time at which the copy was proven, RFC 3339 in UTC.
    pub completed_at: String,
    /// Size and digest of the SQL text or image before compression.
    pub plain: PlainFacts,
    /// Size, digest and compression of the stored bytes.
    pub stored: StoredFacts,
    /// Size of the restored database, in bytes, when the copy was proven. `None` for an image, for a copy that was not
    /// restored, and in manifests of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_bytes: Option<u64>,
    /// Facts about the source that the restored copy was compared with.
    pub evidence: SourceEvidence,
    /// Evidence class of the copy.
    pub class: EvidenceClass,
    /// Results of the independent check. `None`: version 0.1 checked the copy, or it was not compared at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckFacts>,
    /// Parts of the source that the copy does not carry, or not equally.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// True if a table's schema could not be read and the table is missing.
    pub incomplete: bool,
    /// Warnings for a person before a restore.
    pub warnings: Vec<String>,
    /// Version of the SQLite library that restored the copy.
    pub sqlite_version: String,
    /// Version of Patina that wrote it.
    pub patina_version: String,
}

impl Manifest {
    /// Time at which the copy was proven. `None`: the manifest's time is not valid.
    pub fn completed(&self) -> Option<DateTime<Utc>> {
        super::moment(&self.completed_at)
    }

    /// True if the copy is an image of the source's pages, not SQL text.
    pub fn is_image(&self) -> bool {
        self.key.form() == CopyForm::Image
    }

    /// Describes the proof for people: class and check.
    pub fn proof(&self) -> String {
        self.class.proof(self.check.is_some())
    }

    /// True if the copy counts as a backup: proven, and no table is missing.
    pub fn counts(&self) -> bool {
        self.class.counts() && !self.incomplete
    }

    /// Messages of SQLite about damage of the source; empty if it found none, or was not asked.
    pub fn damage(&self) -> &[String] {
        match self.check.as_ref().and_then(|check| check.health.as_ref()) {
            Some(Health::Damaged(lines)) => lines,
            Some(Health::Ok) | None => &[],
        }
    }
}

/// Source of a copy's content.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceFacts {
    /// `sqlite` or `d1`.
    pub kind: String,
    /// Path of the file or UUID of the D1 database.
    pub id: String,
    /// D1 Time Travel bookmark, if the source gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<String>,
    /// Reading method, unless it is the default one: `export`, `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Reason for the method, if the configuration left the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_reason: Option<String>,
}

/// Facts about the content before compression: SQL text, or an image's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlainFacts {
    /// Digest of the content.
    pub sha256: Sha256,
    /// Length in bytes.
    pub size_bytes: u64,
}

/// Facts about a dump's bytes in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredFacts {
    /// Digest of the stored bytes.
    pub sha256: Sha256,
    /// Number of stored bytes.
    pub size_bytes: u64,
    /// Compression from the content to these bytes.
    pub compression: Compression,
}
