//! Describes what the catalog takes and gives. Invariant: words of the tables are enums here.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::config::AlertLevel;
pub use crate::types::EventKind;
use crate::types::{
    ArchiveManifest, BackupDate, DatabaseName, IsoWeek, JobId, Manifest, ObjectKey, StoredFacts,
    Trigger,
};

/// A job that is about to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// What started it.
    pub trigger: Trigger,
    /// Why, in a person's words; `None` where nobody said.
    pub reason: Option<String>,
    /// How many databases it is about.
    pub databases: usize,
    /// When it started.
    pub started_at: DateTime<Utc>,
}

/// A proven dump in the spool that no storage holds for sure yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Spooled {
    /// The database.
    pub database: DatabaseName,
    /// The file with the bytes to store.
    pub path: PathBuf,
    /// The commit record it will get.
    pub manifest: Manifest,
    /// When it was proven.
    pub created_at: DateTime<Utc>,
}

/// A backup whose manifest lies in at least one storage.
#[derive(Debug, Clone, PartialEq)]
pub struct Committed<'a> {
    /// The source's id for the database: a D1 UUID or a path.
    pub database_id: String,
    /// The commit record.
    pub manifest: &'a Manifest,
    /// The names of the storages that hold and returned it; at least one.
    pub storages: Vec<String>,
    /// Whether every byte was read back there; false: samples were, and a verification has to read the rest.
    pub is_read_whole: bool,
    /// What went wrong with the other storages; empty where nothing did.
    pub degraded: Vec<String>,
    /// When work on this database started.
    pub started_at: DateTime<Utc>,
    /// When its copy was read back and committed.
    pub completed_at: DateTime<Utc>,
    /// From when on expiry may look at it.
    pub expires_at: DateTime<Utc>,
}

/// What became in more storages of a backup that counts already.
#[derive(Debug, Clone, PartialEq)]
pub struct AddedStorages<'a> {
    /// The commit record.
    pub manifest: &'a Manifest,
    /// The names of the storages that hold and returned it, too.
    pub storages: &'a [String],
    /// What went wrong with others.
    pub degraded: &'a [String],
    /// Whether every byte was read back there.
    pub is_read_whole: bool,
    /// When that was.
    pub at: DateTime<Utc>,
}

/// An archive whose manifest lies in at least one storage.
#[derive(Debug, Clone, PartialEq)]
pub struct CommittedArchive<'a> {
    /// The commit record.
    pub manifest: &'a ArchiveManifest,
    /// The names of the storages that hold and returned it; at least one.
    pub storages: &'a [String],
    /// Whether every byte was read back there; false: samples were, and a verification has to read the rest.
    pub is_read_whole: bool,
    /// When it was read back and committed.
    pub completed_at: DateTime<Utc>,
    /// From when on expiry may look at it.
    pub expires_at: DateTime<Utc>,
}

/// How a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobStatus {
    /// Its process is at work.
    Running,
    /// It came to its end and no database failed.
    Completed,
    /// At least one database failed, or all of it did.
    Failed,
    /// Its process ended first.
    Interrupted,
}

impl JobStatus {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
        }
    }
}

/// A job of the past or present.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// How it stands.
    pub status: JobStatus,
    /// What went wrong with single storages although the backups are good; empty where nothing did.
    pub degraded: Vec<String>,
    /// What started it.
    pub trigger: Trigger,
    /// Why, in a person's words; `None` where nobody said.
    pub reason: Option<String>,
    /// When it started, to the second.
    pub started_at: DateTime<Utc>,
    /// When it ended, to the second; `None` while it runs. Of an interrupted job: when that was noticed.
    pub completed_at: Option<DateTime<Utc>>,
    /// How many databases it is about.
    pub total: u64,
    /// How many of them were backed up.
    pub successful: u64,
    /// How many failed.
    pub failed: u64,
    /// How many a hook or rule left out.
    pub skipped: u64,
    /// The stored bytes of all its backups, each counted once.
    pub total_size_bytes: u64,
    /// How long it took; `None` while it runs and for an interrupted one.
    pub duration_ms: Option<u64>,
    /// Why the job as a whole failed or was interrupted.
    pub error_message: Option<String>,
}

/// How a job ended for one database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultStatus {
    /// A proven copy is stored.
    Success,
    /// There is no new copy.
    Failed,
    /// A hook or rule left it out.
    Skipped,
    /// The process was told to end first.
    Interrupted,
}

impl ResultStatus {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Interrupted => "interrupted",
        }
    }
}

/// What a job did with one database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobResult {
    /// The job.
    pub job: JobId,
    /// The database.
    pub database: DatabaseName,
    /// The source's id for it.
    pub database_id: String,
    /// How it ended.
    pub status: ResultStatus,
    /// The stored object; `None` unless it succeeded, as for the next three.
    pub key: Option<ObjectKey>,
    /// Its stored bytes.
    pub size_bytes: Option<u64>,
    /// How many tables it has.
    pub table_count: Option<u64>,
    /// How many rows they have.
    pub row_count: Option<u64>,
    /// When work on it started, to the second.
    pub started_at: DateTime<Utc>,
    /// When it ended, to the second.
    pub completed_at: Option<DateTime<Utc>>,
    /// How long it took.
    pub duration_ms: Option<u64>,
    /// Why it failed or was skipped; for a success, what went wrong with single storages.
    pub error_message: Option<String>,
}

/// A backup and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCopy {
    /// Its commit record: key, database, date, sizes, hashes, evidence.
    pub manifest: Manifest,
    /// When it was committed, to the second.
    pub created_at: DateTime<Utc>,
    /// Every storage that holds or held it, by name; at least one.
    pub placements: Vec<Placement>,
}

impl StoredCopy {
    /// The object's key.
    pub fn key(&self) -> &ObjectKey {
        &self.manifest.key
    }

    /// The storages that hold it undamaged, as far as known.
    pub fn live(&self) -> impl Iterator<Item = &Placement> {
        let placements = self.placements.iter();
        placements.filter(|placement| placement.state == CopyState::Live)
    }
}

/// One storage's copy of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The storage's name.
    pub storage: String,
    /// How the copy stands.
    pub state: CopyState,
    /// What was found wrong; `None` while live.
    pub damage: Option<String>,
    /// When that was found; `None` while live.
    pub damaged_at: Option<DateTime<Utc>>,
    /// When every byte was last read and its hash was right; `None`: never since the catalog knows it.
    pub verified_at: Option<DateTime<Utc>>,
}

/// How one storage's copy stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CopyState {
    /// It is there.
    Live,
    /// It is gone without our doing.
    Missing,
    /// Its bytes changed.
    Corrupt,
}

impl CopyState {
    /// The word the catalog stores.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Missing => "missing",
            Self::Corrupt => "corrupt",
        }
    }
}

/// What can be wrong with a copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Damage {
    /// It is gone without our doing.
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

/// Which copies to list; by default all, those of other installations too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CopyFilter {
    /// Only this database's.
    pub database: Option<DatabaseName>,
    /// Only this day's.
    pub date: Option<BackupDate>,
    /// At most so many, the newest; `None`: no bound.
    pub limit: Option<usize>,
    /// Only those that this installation wrote.
    pub ours: bool,
}

/// A weekly archive and where it lies.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredArchive {
    /// Its commit record: key, week, members, sizes, hashes.
    pub manifest: ArchiveManifest,
    /// When it was committed, to the second.
    pub created_at: DateTime<Utc>,
    /// Every storage that holds or held it, by name; at least one.
    pub placements: Vec<Placement>,
}

impl StoredArchive {
    /// The object's key.
    pub fn key(&self) -> &ObjectKey {
        &self.manifest.key
    }

    /// The storages that hold it undamaged, as far as known.
    pub fn live(&self) -> impl Iterator<Item = &Placement> {
        let placements = self.placements.iter();
        placements.filter(|placement| placement.state == CopyState::Live)
    }
}

/// A dump that is stored, as an object of its own or inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The key of the daily copy.
    pub key: ObjectKey,
    /// The day it stands for.
    pub date: BackupDate,
    /// True where it is inside an archive alone.
    pub is_archived: bool,
    /// True where it is a copy of a damaged source.
    pub is_suspect: bool,
    /// True where it is dated later than it can have been made.
    pub is_ahead: bool,
    /// True where it was found in a storage and nothing here ever committed it.
    pub is_unconfirmed: bool,
    /// Its place in the order in which copies were made, the last one highest.
    pub order: (i64, i64),
}

/// A proven archive in the spool that no storage holds for sure yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Packed {
    /// The file with the bytes to store.
    pub path: PathBuf,
    /// The commit record it will get.
    pub manifest: ArchiveManifest,
}

/// A commit record that was found in a store.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Of one database's dump of one day.
    Daily(Box<Manifest>),
    /// Of a weekly archive.
    Weekly(Box<ArchiveManifest>),
}

impl Record {
    /// The key of the object it commits.
    pub fn key(&self) -> &ObjectKey {
        match self {
            Self::Daily(manifest) => &manifest.key,
            Self::Weekly(manifest) => &manifest.key,
        }
    }

    /// The installation that wrote it.
    pub fn instance(&self) -> &str {
        match self {
            Self::Daily(manifest) => &manifest.instance,
            Self::Weekly(manifest) => &manifest.instance,
        }
    }

    /// The bytes of the object it commits.
    pub fn stored(&self) -> &StoredFacts {
        match self {
            Self::Daily(manifest) => &manifest.stored,
            Self::Weekly(manifest) => &manifest.stored,
        }
    }
}

/// An object that a store holds and the catalog is to know.
#[derive(Debug, Clone, PartialEq)]
pub struct Adoption {
    /// Its commit record.
    pub record: Record,
    /// When it was proven.
    pub created_at: DateTime<Utc>,
    /// From when on expiry may look at it.
    pub expires_at: DateTime<Utc>,
    /// When it was made as far as that is believed: where the storage's own date is earlier, that.
    pub made_at: DateTime<Utc>,
    /// Whether it is dated later than it can have been made.
    pub is_ahead: bool,
    /// Whether the catalog was there all the time and never committed it: anybody may have put it into the storage.
    pub is_unconfirmed: bool,
}

/// An object of ours as expiry, reconciliation and verification see it; without its manifest, for there may be
/// many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The object's key.
    pub key: ObjectKey,
    /// What it holds.
    pub content: ItemContent,
    /// The installation that wrote it; mostly the same for all, and then shared.
    pub instance: Arc<str>,
    /// Whether it counts as a backup where it is live: of class A or B, and no table is missing.
    pub is_good: bool,
    /// Its stored bytes, in each storage.
    pub size_bytes: u64,
    /// When it was committed, to the second.
    pub created_at: DateTime<Utc>,
    /// When expiry chose it; `None`: it did not.
    pub marked_at: Option<DateTime<Utc>>,
    /// Every storage that holds or held it, by name; at least one.
    pub placements: Vec<Placement>,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemContent {
    /// One database's dump of one day.
    Daily {
        /// The database.
        database: DatabaseName,
        /// The day.
        date: BackupDate,
    },
    /// The dumps of a week.
    Weekly {
        /// The week.
        week: IsoWeek,
        /// The dailies in it.
        members: Vec<ItemMember>,
    },
}

/// A daily copy inside an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemMember {
    /// The daily's key.
    pub key: ObjectKey,
    /// The database.
    pub database: DatabaseName,
    /// The day.
    pub date: BackupDate,
}

/// Something that people should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// How grave it is.
    pub severity: AlertLevel,
    /// The database it is about; `None` where it is not about one.
    pub database: Option<DatabaseName>,
    /// What, where and the way out, in a person's words.
    pub message: String,
    /// When, to the second.
    pub at: DateTime<Utc>,
}

/// A due moment of a task that was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    /// The moment.
    pub at: DateTime<Utc>,
    /// How many processes began it and did not end it in order; at least 1 while one works on it.
    pub attempts: u32,
    /// When its work ended, well or not; `None`: a process works on it, or ended first.
    pub ended_at: Option<DateTime<Utc>>,
}
