//! Types of the catalog's input and output. Invariant: words stored in the tables are enums here.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::AlertLevel;
pub use crate::types::EventKind;
use crate::types::{
    ArchiveManifest, BackupDate, DatabaseName, IsoWeek, JobId, Manifest, ObjectKey, StoredFacts,
    Trigger,
};

/// Job that is about to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Trigger of the job.
    pub trigger: Trigger,
    /// Reason given by a person; `None`: none was given.
    pub reason: Option<String>,
    /// Number of databases.
    pub databases: usize,
    /// Start time.
    pub started_at: DateTime<Utc>,
}

/// Proven dump in the spool that is not yet in every storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooled {
    /// The database.
    pub database: DatabaseName,
    /// File with the bytes to store.
    pub path: PathBuf,
    /// Commit record that it will get.
    pub manifest: Manifest,
    /// Time at which it was proven.
    pub created_at: DateTime<Utc>,
}

/// Backup whose manifest lies in at least one storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed<'a> {
    /// Id of the database in its source: a D1 UUID or a path.
    pub database_id: String,
    /// Commit record.
    pub manifest: &'a Manifest,
    /// Names of the storages that hold it and returned it; at least one.
    pub storages: Vec<String>,
    /// True if every byte was read back there; false: only samples were, and a verification has to read the rest.
    pub is_read_whole: bool,
    /// Problems with the other storages; empty if there were none.
    pub degraded: Vec<String>,
    /// Time at which work on this database started.
    pub started_at: DateTime<Utc>,
    /// Time at which its copy was read back and committed.
    pub completed_at: DateTime<Utc>,
    /// Time from which expiry may consider it.
    pub expires_at: DateTime<Utc>,
}

/// Outcome in more storages of a backup that is already committed.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedStorages<'a> {
    /// Commit record.
    pub manifest: &'a Manifest,
    /// Names of the storages that also hold it and returned it.
    pub storages: &'a [String],
    /// Problems with other storages.
    pub degraded: &'a [String],
    /// True if every byte was read back there.
    pub is_read_whole: bool,
    /// Time of that.
    pub at: DateTime<Utc>,
}

/// An archive whose manifest lies in at least one storage.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedArchive<'a> {
    /// The commit record.
    pub manifest: &'a ArchiveManifest,
    /// Names of the storages that hold it and returned it; at least one.
    pub storages: &'a [String],
    /// True if every byte was read back; false if only samples were and a verification has to read the rest.
    pub is_read_whole: bool,
    /// Time at which it was read back and committed.
    pub completed_at: DateTime<Utc>,
    /// Earliest time at which expiry considers it.
    pub expires_at: DateTime<Utc>,
}

/// Status of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Its process is at work.
    Running,
    /// It finished, and no database failed.
    Completed,
    /// At least one database failed, or the job as a whole did.
    Failed,
    /// It was stopped, or its process ended, before it finished.
    Interrupted,
}

impl JobStatus {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Past or running job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// Status of the job.
    pub status: JobStatus,
    /// Problems with single storages although the backups are good; empty if there were none.
    pub degraded: Vec<String>,
    /// Trigger of the job.
    pub trigger: Trigger,
    /// Reason given by a person; `None`: none was given.
    pub reason: Option<String>,
    /// Start time, to the second.
    pub started_at: DateTime<Utc>,
    /// End time, to the second; `None` while it runs. If its process died: when that was noticed.
    pub completed_at: Option<DateTime<Utc>>,
    /// Number of databases.
    pub total: u64,
    /// Number of databases that were backed up.
    pub successful: u64,
    /// Number of databases that failed.
    pub failed: u64,
    /// Number of databases that a hook or rule skipped.
    pub skipped: u64,
    /// Stored bytes of all its backups, each counted once.
    pub total_size_bytes: u64,
    /// Duration; `None` while it runs, and if its process died.
    pub duration_ms: Option<u64>,
    /// Reason that the job as a whole failed or was interrupted.
    pub error_message: Option<String>,
}

/// Outcome of a job for one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultStatus {
    /// A proven copy is stored.
    Success,
    /// There is no new copy.
    Failed,
    /// A hook or rule skipped it.
    Skipped,
    /// The process was stopped first.
    Interrupted,
}

impl ResultStatus {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// Result of a job for one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// The database.
    pub database: DatabaseName,
    /// Id of the database in its source.
    pub database_id: String,
    /// Outcome.
    pub status: ResultStatus,
    /// Key of the stored object; `None` unless it succeeded, as for the next three.
    pub key: Option<ObjectKey>,
    /// Stored bytes.
    pub size_bytes: Option<u64>,
    /// Number of tables.
    pub table_count: Option<u64>,
    /// Number of rows.
    pub row_count: Option<u64>,
    /// Start time, to the second.
    pub started_at: DateTime<Utc>,
    /// End time, to the second.
    pub completed_at: Option<DateTime<Utc>>,
    /// Duration.
    pub duration_ms: Option<u64>,
    /// Reason for a failure or skip; for a success, the problems with single storages.
    pub error_message: Option<String>,
}

/// Backup and its placements.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCopy {
    /// Commit record: key, database, date, sizes, hashes, evidence.
    pub manifest: Manifest,
    /// Time of the commit, to the second.
    pub created_at: DateTime<Utc>,
    /// Every storage that holds or held it, by name; at least one.
    pub placements: Vec<Placement>,
}

impl StoredCopy {
    /// Key of the object.
    pub fn key(&self) -> &ObjectKey {
        &self.manifest.key
    }

    /// Storages that hold it undamaged, as far as known.
    pub fn live(&self) -> impl Iterator<Item = &Placement> {
        let placements = self.placements.iter();
        placements.filter(|placement| placement.state == CopyState::Live)
    }
}

/// Copy of a backup in one storage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Name of the storage.
    pub storage: String,
    /// State of the copy.
    pub state: CopyState,
    /// Damage that was found; `None` while live.
    pub damage: Option<String>,
    /// Time at which it was found; `None` while live.
    pub damaged_at: Option<DateTime<Utc>>,
    /// Time at which every byte was last read and its hash was right; `None`: never since the catalog knows it.
    pub verified_at: Option<DateTime<Utc>>,
}

/// State of a copy in one storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// It is there.
    Live,
    /// It disappeared, and Patina did not delete it.
    Missing,
    /// Its bytes changed.
    Corrupt,
}

impl CopyState {
    /// Word stored in the catalog.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
        }
    }
}

/// Kinds of damage to a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Damage {
    /// It disappeared, and Patina did not delete it.
    Missing,
    /// Its bytes changed.
    Corrupt,
}

impl From<Damage> for CopyState {
    fn from(damage: Damage) -> Self {
        match damage {
            Damage::Missing => Self::Missing,
            Damage::Corrupt => Self::Corrupt,
        }
    }
}

/// Filter for copies; by default all, including those of other installations.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyFilter {
    /// Only copies of this database.
    pub database: Option<DatabaseName>,
    /// Only copies of this day.
    pub date: Option<BackupDate>,
    /// Upper bound for their number, keeping the newest; `None`: no bound.
    pub limit: Option<usize>,
    /// Only copies that this installation wrote.
    pub ours: bool,
}

/// Weekly archive and its placements.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredArchive {
    /// Commit record: key, week, members, sizes, hashes.
    pub manifest: ArchiveManifest,
    /// Time of the commit, to the second.
    pub created_at: DateTime<Utc>,
    /// Every storage that holds or held it, by name; at least one.
    pub placements: Vec<Placement>,
}

impl StoredArchive {
    /// Key of the object.
    pub fn key(&self) -> &ObjectKey {
        &self.manifest.key
    }

    /// Storages that hold it undamaged, as far as known.
    pub fn live(&self) -> impl Iterator<Item = &Placement> {
        let placements = self.placements.iter();
        placements.filter(|placement| placement.state == CopyState::Live)
    }
}

/// Stored dump, as an object of its own or inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Key of the daily copy.
    pub key: ObjectKey,
    /// Day of the backup.
    pub date: BackupDate,
    /// True if only an archive contains it.
    pub is_archived: bool,
    /// True if it is a copy of a damaged source.
    pub is_suspect: bool,
    /// True if it is dated later than it can have been made.
    pub is_ahead: bool,
    /// True if it was found in a storage and never committed here.
    pub is_unconfirmed: bool,
    /// Position in the order in which copies were made; the last one is the highest.
    pub order: (i64, i64),
}

/// Proven archive in the spool that is not yet committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// File with the bytes to store.
    pub path: PathBuf,
    /// Commit record that it will get.
    pub manifest: ArchiveManifest,
}

/// Commit record that was found in a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Dump of one database of one day.
    Daily(Box<Manifest>),
    /// Weekly archive.
    Weekly(Box<ArchiveManifest>),
}

impl Record {
    /// Key of the object that it commits.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Daily(manifest) => &manifest.key,
            Self::Weekly(manifest) => &manifest.key,
        }
    }

    /// Installation that wrote it.
    pub fn instance(&self) -> &str {
        match self {
            Self::Daily(manifest) => &manifest.instance,
            Self::Weekly(manifest) => &manifest.instance,
        }
    }

    /// Stored bytes of the object that it commits.
    pub fn stored(&self) -> &StoredFacts {
        match self {
            Self::Daily(manifest) => &manifest.stored,
            Self::Weekly(manifest) => &manifest.stored,
        }
    }
}

/// Object in a store that the catalog should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// Commit record.
    pub record: Record,
    /// Time at which it was proven.
    pub created_at: DateTime<Utc>,
    /// Time from which expiry may consider it.
    pub expires_at: DateTime<Utc>,
    /// Credible time of its making: if the storage's own date is earlier, that one.
    pub made_at: DateTime<Utc>,
    /// True if it is dated later than it can have been made.
    pub is_ahead: bool,
    /// True if the catalog existed all the time and never committed it: anybody may have put it into the storage.
    pub is_unconfirmed: bool,
}

/// Stored object as expiry, reconciliation and verification see it; without its manifest, because there may be many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Key of the object.
    pub key: ObjectKey,
    /// Contents.
    pub content: ItemContent,
    /// Installation that wrote it; mostly the same for all, and then shared.
    pub instance: Arc<str>,
    /// True if it counts as a backup while it is live: of class A or B, and no table is missing.
    pub is_good: bool,
    /// Stored bytes, in each storage.
    pub size_bytes: u64,
    /// Time of the commit, to the second.
    pub created_at: DateTime<Utc>,
    /// Time at which expiry marked it; `None`: it is not marked.
    pub marked_at: Option<DateTime<Utc>>,
    /// Every storage that holds or held it, by name; at least one.
    pub placements: Vec<Placement>,
}

/// Contents of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemContent {
    /// Dump of one database of one day.
    Daily {
        /// The database.
        database: DatabaseName,
        /// The day.
        date: BackupDate,
    },
    /// Dumps of a week.
    Weekly {
        /// The week.
        week: IsoWeek,
        /// Daily copies in it.
        members: Vec<ItemMember>,
    },
}

/// Daily copy inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemMember {
    /// Key of the daily copy.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// The day.
    pub date: BackupDate,
}

/// Event that people should know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Kind of event.
    pub kind: EventKind,
    /// Severity.
    pub severity: AlertLevel,
    /// Database that it is about; `None`: not about one.
    pub database: Option<DatabaseName>,
    /// Message for people: what, where and the way out.
    pub message: String,
    /// Time, to the second.
    pub at: DateTime<Utc>,
}

/// Slot (due time) of a task that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// Due time.
    pub at: DateTime<Utc>,
    /// Number of processes that began it and did not end it in order; at least 1 while one works on it.
    pub attempts: u32,
    /// Time at which its work ended, well or not; `None`: a process works on it, or died first.
    pub ended_at: Option<DateTime<Utc>>,
}
