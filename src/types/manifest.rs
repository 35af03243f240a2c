//! Describes a stored copy; its presence in a store commits the copy.

use chrono::{DateTime, Utc};

use super::{BackupDate, CheckFacts, Compression, DatabaseName, EvidenceClass, Exception, JobId};
use super::{CopyForm, Health, ObjectKey, Sha256, SourceEvidence};

/// The version of the manifest's fields. Version 1 knew no independent check; its copies say what they are by that.
pub const MANIFEST_FORMAT: u32 = 2;

/// The commit record of one stored dump: `manifests/<key>.json`, written last and never modified.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Manifest {
    /// [`MANIFEST_FORMAT`] when it was written.
    pub format: u32,
    /// The Patina installation that wrote it.
    pub instance: String,
    /// The object this manifest commits.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// The day the copy stands for, in `zone`.
    pub date: BackupDate,
    /// The IANA time zone of `date`.
    pub zone: String,
    /// The job that made it.
    pub job: JobId,
    /// Where the content came from.
    pub source: SourceFacts,
    /// When the export began, RFC 3339 in UTC.
    pub started_at: String,
    /// When the copy was proven, RFC 3339 in UTC.
    pub completed_at: String,
    /// The SQL text.
    pub plain: PlainFacts,
    /// The bytes in the store.
    pub stored: StoredFacts,
    /// How large the restored database was when the copy was proven. `None`: it is an image, nothing was restored, or the
    /// manifest is from before this was noted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database_bytes: Option<u64>,
    /// What the source held and the restored copy was compared with.
    pub evidence: SourceEvidence,
    /// How well the copy is proven.
    pub class: EvidenceClass,
    /// What the independent check found. `None`: the copy was checked by version 0.1, or not compared at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<CheckFacts>,
    /// What of the source the copy does not carry, or not equally.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exceptions: Vec<Exception>,
    /// True where a table's schema could not be read and the table is missing.
    pub incomplete: bool,
    /// What a person should know before restoring.
    pub warnings: Vec<String>,
    /// The SQLite library that restored the copy.
    pub sqlite_version: String,
    /// The Patina that wrote it.
    pub patina_version: String,
}

impl Manifest {
    /// When the copy was proven. `None`: the manifest does not say it in a form that is one.
    pub fn completed(&self) -> Option<DateTime<Utc>> {
        super::moment(&self.completed_at)
    }

    /// Whether the copy is an image of the source's pages, not SQL text.
    pub fn is_image(&self) -> bool {
        self.key.form() == CopyForm::Image
    }

    /// What the proof is worth, for people: its class, and by which check.
    pub fn proof(&self) -> String {
        self.class.proof(self.check.is_some())
    }

    /// Whether the copy counts as a backup: proven, and nothing of its schema is missing.
    pub fn counts(&self) -> bool {
        self.class.counts() && !self.incomplete
    }

    /// What SQLite said of the source's damage; empty where it found none, or was not asked.
    pub fn damage(&self) -> &[String] {
        match self.check.as_ref().and_then(|check| check.health.as_ref()) {
            Some(Health::Damaged(lines)) => lines,
            Some(Health::Ok) | None => &[],
        }
    }
}

/// Where a copy's content came from.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceFacts {
    /// `sqlite` or `d1`.
    pub kind: String,
    /// The file's path or the D1 database's UUID.
    pub id: String,
    /// The D1 Time Travel bookmark, where the source gives one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bookmark: Option<String>,
    /// How it was read, where that is not the usual way: `export`, `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Why it was read that way, where the configuration left the choice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method_reason: Option<String>,
}

/// What was dumped, before compression: SQL text, or an image's pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PlainFacts {
    /// Digest of the whole.
    pub sha256: Sha256,
    /// Its length.
    pub size_bytes: u64,
}

/// A dump's bytes as they lie in a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct StoredFacts {
    /// Digest of the stored bytes.
    pub sha256: Sha256,
    /// How many there are.
    pub size_bytes: u64,
    /// How the text became these bytes.
    pub compression: Compression,
}
