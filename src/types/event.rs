//! Defines the kinds of events for people.

use std::fmt;

/// Kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EventKind {
    /// A backup job began. Only heartbeat sinks get it.
    BackupStarted,
    /// A backup job ended and no database failed.
    BackupCompleted,
    /// A backup job ended and at least one database failed.
    BackupFailed,
    /// A week was archived.
    WeeklyCompleted,
    /// A week was not archived: the next archive contains it, too.
    WeeklySkipped,
    /// A database has had no good copy for too long.
    StaleBackup,
    /// A copy is far smaller than those of the last days.
    SizeDecrease,
    /// A copy is far larger than those of the last days.
    SizeIncrease,
    /// A table lost most of its rows, or is gone.
    RowsDropped,
    /// A database's schema differs from that of the previous copy.
    SchemaChanged,
    /// A copy lacks something of its source that the previous copy had, or did not report.
    NewExceptions,
    /// A copy has another form than the one before: SQL text or an image.
    FormChanged,
    /// The newest copy is one of a damaged source.
    SuspectCopy,
    /// A database failed several times in a row.
    ConsecutiveFailures,
    /// A stored object has other bytes than were stored.
    VerifyFailed,
    /// The newest copy of a database could not be restored in a drill, or not from every storage.
    DrillFailed,
    /// Expiry deletes nothing of a database until a person acknowledges.
    ExpiryRefused,
    /// A storage holds objects under our keys without a manifest.
    UntrackedObjects,
    /// A storage lost an object.
    MissingObject,
    /// A configuration was rejected, or the daemon could not start with it.
    ConfigRejected,
    /// The account has a D1 database that no `[[database]]` names.
    UnprotectedDatabase,
    /// The API is used, or tried, in an unusual way.
    UnusualAccess,
    /// An API key is older than it should be.
    KeyIsOld,
    /// Test of the delivery of alerts.
    Test,
    /// A reported condition has ended.
    Resolved,
}

impl EventKind {
    /// All kinds, in the order of the documentation.
    pub const ALL: [Self; 25] = [
        Self::BackupStarted,
        Self::BackupCompleted,
        Self::BackupFailed,
        Self::WeeklyCompleted,
        Self::WeeklySkipped,
        Self::StaleBackup,
        Self::SizeDecrease,
        Self::SizeIncrease,
        Self::RowsDropped,
        Self::SchemaChanged,
        Self::NewExceptions,
        Self::FormChanged,
        Self::SuspectCopy,
        Self::ConsecutiveFailures,
        Self::VerifyFailed,
        Self::DrillFailed,
        Self::ExpiryRefused,
        Self::UntrackedObjects,
        Self::MissingObject,
        Self::ConfigRejected,
        Self::UnprotectedDatabase,
        Self::UnusualAccess,
        Self::KeyIsOld,
        Self::Test,
        Self::Resolved,
    ];

    /// Word in the catalog and in alerts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BackupStarted => "backup_started",
            Self::BackupCompleted => "backup_completed",
            Self::BackupFailed => "backup_failed",
            Self::WeeklyCompleted => "weekly_completed",
            Self::WeeklySkipped => "weekly_skipped",
            Self::StaleBackup => "stale_backup",
            Self::SizeDecrease => "size_decrease",
            Self::SizeIncrease => "size_increase",
            Self::RowsDropped => "rows_dropped",
            Self::SchemaChanged => "schema_changed",
            Self::NewExceptions => "new_exceptions",
            Self::FormChanged => "form_changed",
            Self::SuspectCopy => "suspect_copy",
            Self::ConsecutiveFailures => "consecutive_failures",
            Self::VerifyFailed => "verify_failed",
            Self::DrillFailed => "drill_failed",
            Self::ExpiryRefused => "expiry_refused",
            Self::UntrackedObjects => "untracked_objects",
            Self::MissingObject => "missing_object",
            Self::ConfigRejected => "config_rejected",
            Self::UnprotectedDatabase => "unprotected_database",
            Self::UnusualAccess => "unusual_access",
            Self::KeyIsOld => "key_is_old",
            Self::Test => "test",
            Self::Resolved => "resolved",
        }
    }

    /// Title for people, without any name or number: it may appear in a redacted message.
    pub fn title(self) -> &'static str {
        match self {
            Self::BackupStarted => "Backup started",
            Self::BackupCompleted => "Backup completed",
            Self::BackupFailed => "Backup failed",
            Self::WeeklyCompleted => "Week packed",
            Self::WeeklySkipped => "Week not packed",
            Self::StaleBackup => "No good copy for too long",
            Self::SizeDecrease => "Copy much smaller than usual",
            Self::SizeIncrease => "Copy much larger than usual",
            Self::RowsDropped => "Rows are missing",
            Self::SchemaChanged => "Schema changed",
            Self::NewExceptions => "Copy lacks something of its source",
            Self::FormChanged => "Copies have another form",
            Self::SuspectCopy => "Source database is damaged",
            Self::ConsecutiveFailures => "Backup failed repeatedly",
            Self::VerifyFailed => "Stored copy is damaged",
            Self::DrillFailed => "Rehearsal of a restore failed",
            Self::ExpiryRefused => "Expiry paused: acknowledgement needed",
            Self::UntrackedObjects => "Untracked objects in a storage",
            Self::MissingObject => "Stored copy is missing",
            Self::ConfigRejected => "Configuration rejected",
            Self::UnprotectedDatabase => "Database without a backup",
            Self::UnusualAccess => "Unusual access",
            Self::KeyIsOld => "An API key should be replaced",
            Self::Test => "Test",
            Self::Resolved => "Resolved",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
