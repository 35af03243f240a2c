//! Stores jobs, results and copies in one SQLite file. Invariant: rows that belong together are written in one
//! transaction, so that a reader after any crash sees all of them or none.
//!
//! The file is a cache of the contents of the stores, the intent log of running jobs and the record of past ones. Every
//! call is short and blocks; it waits up to [`BUSY_TIMEOUT`] for a second process that writes.

mod access;
mod adopt;
mod alerting;
mod archives;
mod audit;
mod claims;
mod conditions;
mod error;
mod events;
mod expiry;
mod history;
mod keeping;
mod labels;
mod order;
mod others;
mod outbox;
mod page;
mod query;
mod record;
mod rehearsals;
mod reloads;
mod requests;
mod row;
mod run;
mod samples;
mod schema;
mod shelf;
mod slots;
mod standing;
mod states;
mod suspect;
mod telling;
mod unwritable;
mod write;

pub use access::{LastUse, MOST_REFUSALS, MOST_TOLD_AN_HOUR, Refused, Visit};
pub use audit::{
    Audit, AuditAction, AuditBegin, AuditLimit, AuditOutcome, AuditRow, AuditVerdict, Taken,
};
pub use claims::HeldClaim;
pub use conditions::{Condition, Ended, News, Noted, Raised};
pub use error::CatalogError;
pub use expiry::{ExpiryRun, KeptByRule};
pub use history::HistoryLimit;
pub use keeping::{Care, Lease, Removal};
pub use order::is_dated_ahead;
pub use others::Others;
pub use outbox::{Due, Posted, Queue, Sent};
pub use page::{Listed, ListedProof, PageFilter};
pub use record::{
    AddedStorages, Adoption, Committed, CommittedArchive, CopyFilter, CopyState, Damage, Event,
    EventKind, Held, Item, ItemContent, ItemMember, Job, JobResult, JobStatus, NewJob, Packed,
    Placement, Record, ResultStatus, Slot, Spooled, StoredArchive, StoredCopy,
};
pub use rehearsals::{Rehearsal, RehearsalOutcome, Rehearsed};
pub use reloads::{Cause, Reload, ReloadOutcome};
pub use requests::{Asked, BackupRequest};
pub use run::Run;
pub(crate) use samples::sample_of;
pub use shelf::{Good, Holding, Point, Shelf, SuspectCopy};
pub use standing::{Harm, Past, Standing, Stock, Totals, Work};
pub use states::{ListedState, STATES, StateFilter};
pub(crate) use suspect::AGREEMENT;
pub use suspect::Suspect;
pub(crate) use telling::WEEKLY;

use std::fs::{DirBuilder, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::source::Claim;

use error::Stop;

/// Longest time that a call waits for another process's transaction before it fails with [`CatalogError::Busy`].
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const SELECT_INSTANCE: &str = "SELECT id FROM instance";

/// The metadata database. Clones share one connection.
#[derive(Clone)]
pub struct Catalog {
    path: Arc<Path>,
    connection: Arc<Mutex<Connection>>,
    told: Arc<Notify>,
    /// States that SQLite has the file open, because this process may also back up the catalog as a source database.
    /// Declared after `connection`, so that it is dropped after it.
    _claim: Arc<Claim>,
    access: Access,
    /// Private copy that is read instead of the file; removed with the last clone.
    _copy: Option<Arc<TempDir>>,
}

/// Access mode of an open catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

impl Catalog {
    /// Opens the catalog for writing; creates it with mode 0600 if missing, and migrates it to the current schema.
    ///
    /// # Errors
    /// [`CatalogError::Newer`], [`CatalogError::NotADatabase`], [`CatalogError::Foreign`] and [`CatalogError::Damaged`]
    /// if the file cannot be used as our catalog, which leaves it untouched; the others if the system refuses.
    pub fn open(path: &Path) -> Result<Self, CatalogError> {
        create_private(path).map_err(|cause| CatalogError::denied(path, &cause))?;
        let mut catalog = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        catalog.access = Access::Write;
        catalog.with(|connection| schema::prepare(connection, path))?;
        Ok(catalog)
    }

    /// Opens the catalog for queries only, even if nothing can be written. `None`: the file does not exist.
    ///
    /// # Errors
    /// Same as [`Catalog::open`]. Of a file with an older schema a migrated private copy is read; the file stays
    /// unchanged.
    pub fn open_read_only(path: &Path) -> Result<Option<Self>, CatalogError> {
        if !path
            .try_exists()
            .map_err(|cause| CatalogError::denied(path, &cause))?
        {
            return Ok(None);
        }
        let opened = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY).and_then(|catalog| {
            catalog.with(|connection| schema::check(connection, path))?;
            Ok(catalog)
        });
        let known = match opened {
            Err(CatalogError::Older { .. }) => unwritable::brought_up_to_date(path)?,
            Err(error) if error.may_be_unwritable() => unwritable::open(path)?.ok_or(error)?,
            opened => opened?,
        };
        Ok(Some(known))
    }

    /// True if the catalog was opened for queries only: leases are empty then, and every other write fails.
    pub fn is_read_only(&self) -> bool {
        self.access == Access::Read
    }

    /// Path of the catalog file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// `PRAGMA data_version`: changes whenever another connection commits. Results computed earlier stay valid while it
    /// is the same.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn changes(&self) -> Result<i64, CatalogError> {
        self.with(|connection| {
            Ok(connection.pragma_query_value(None, "data_version", |row| row.get(0))?)
        })
    }

    /// Returns this installation's id. `None`: it has none yet.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn known_instance(&self) -> Result<Option<String>, CatalogError> {
        self.read(|connection| {
            let mut statement = connection.prepare(SELECT_INSTANCE)?;
            let mut ids = statement.query_map([], |row| row.get(0))?;
            Ok(ids.next().transpose()?)
        })
    }

    /// Returns this installation's id: a random UUID, created on the first call. Only
    /// [`Catalog::take_over`] replaces it.
    ///
    /// # Errors
    /// If the file cannot be read, or cannot be written on the first call.
    pub fn instance(&self) -> Result<String, CatalogError> {
        if let Some(id) = self.known_instance()? {
            return Ok(id);
        }
        let id = uuid::Uuid::new_v4().to_string();
        if self.is_read_only() {
            // The id is not stored: no object in this catalog belongs to it.
            return Ok(id);
        }
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO instance VALUES (1, ?)", [&id])?;
            Ok(transaction.query_row(SELECT_INSTANCE, [], |row| row.get(0))?)
        })
    }

    fn connect(path: &Path, mode: OpenFlags) -> Result<Self, CatalogError> {
        // No URI flag: SQLite must take the path literally.
        Self::connect_as(path, path, mode, None)
    }

    /// Opens `place`, a file with the contents of the catalog at `path`, for reading.
    fn connect_as(
        path: &Path,
        place: &Path,
        mode: OpenFlags,
        copy: Option<Arc<TempDir>>,
    ) -> Result<Self, CatalogError> {
        let flags = mode | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let claim = Claim::of(path).map_err(|cause| CatalogError::denied(path, &cause))?;
        let connection = Connection::open_with_flags(place, flags)
            .and_then(|connection| connection.busy_timeout(BUSY_TIMEOUT).map(|()| connection))
            .map_err(|cause| CatalogError::from_sqlite(path, &cause))?;
        Ok(Self {
            path: path.into(),
            connection: Arc::new(Mutex::new(connection)),
            told: Arc::default(),
            _claim: Arc::new(claim),
            access: Access::Read,
            _copy: copy,
        })
    }

    fn with<T>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, Stop>,
    ) -> Result<T, CatalogError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        work(&mut connection).map_err(|stop| stop.in_file(&self.path))
    }

    /// Runs queries in one transaction, so that they see one state of the file.
    fn read<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>,
    ) -> Result<T, CatalogError> {
        self.with(|connection| work(&connection.transaction()?))
    }

    /// Runs statements in one transaction: all take effect or none; durable on return.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Stop>,
    ) -> Result<T, CatalogError> {
        self.with(|connection| {
            // An immediate transaction waits for the lock within the busy timeout; upgrading a deferred one would fail
            // at once.
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let value = work(&transaction)?;
            let is_news = events::are_waiting(&transaction)?;
            transaction.commit()?;
            if is_news {
                self.told.notify_one();
            }
            Ok(value)
        })
    }
}

/// Creates an empty file that only its owner can read; SQLite gives its log files the same mode.
fn create_private(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
    }
    // Another user may have placed a link there to have a different file written.
    if path.symlink_metadata().is_ok_and(|facts| !facts.is_file()) {
        let why = "it is a link, or no file: Patina writes only to a file of its own";
        return Err(io::Error::other(why));
    }
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
