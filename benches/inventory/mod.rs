//! Makes up an inventory of many copies, and a database to back up.

use std::path::Path;

use chrono::{DateTime, SecondsFormat, Utc};
use patina::catalog::{Adoption, Record};
use patina::types::{
    BackupDate, Compression, CopyForm, DatabaseName, EvidenceClass, JobId, MANIFEST_FORMAT,
    Manifest, ObjectKey, PlainFacts, Sha256, SourceEvidence, SourceFacts, StoredFacts,
};
use rusqlite::{Connection, params};

/// What every object of the inventory holds.
pub(crate) const CONTENT: &[u8] = b"-- made up";

/// Copies of many databases, so many days of each up to that of `newest`.
pub(crate) struct Inventory<'a> {
    pub(crate) objects: usize,
    pub(crate) days: usize,
    pub(crate) newest: DateTime<Utc>,
    /// The installation that made them.
    pub(crate) instance: &'a str,
}

impl Inventory<'_> {
    /// Of every object its manifest.
    pub(crate) fn manifests(&self) -> Vec<Manifest> {
        (0..self.objects)
            .map(|number| self.manifest(number))
            .collect()
    }

    /// What adopts these objects into a catalog.
    pub(crate) fn adoptions(&self, manifests: Vec<Manifest>) -> Vec<Adoption> {
        let adoptions = manifests.into_iter().map(|manifest| Adoption {
            record: Record::Daily(Box::new(manifest)),
            created_at: self.newest,
            expires_at: self.newest,
            made_at: self.newest,
            is_ahead: false,
            is_unconfirmed: false,
        });
        adoptions.collect()
    }

    fn manifest(&self, number: usize) -> Manifest {
        let database = name(number / self.days);
        let newest = BackupDate(self.newest.date_naive());
        let date = newest.minus_days((number % self.days) as u64);
        let key = ObjectKey::daily(date, &database, None, CopyForm::Sql, Compression::None);
        let at = self.newest.to_rfc3339_opts(SecondsFormat::Secs, true);
        let facts = PlainFacts {
            sha256: Sha256::of(CONTENT),
            size_bytes: CONTENT.len() as u64,
        };
        Manifest {
            format: MANIFEST_FORMAT,
            instance: self.instance.to_owned(),
            key,
            database,
            date,
            zone: "UTC".to_owned(),
            job: JobId::random(),
            source: SourceFacts {
                kind: "sqlite".to_owned(),
                id: "/srv/x.db".to_owned(),
                method: None,
                method_reason: None,
                bookmark: None,
            },
            started_at: at.clone(),
            completed_at: at,
            plain: facts,
            stored: StoredFacts {
                sha256: facts.sha256,
                size_bytes: facts.size_bytes,
                compression: Compression::None,
            },
            database_bytes: None,
            evidence: SourceEvidence {
                tables: Vec::new(),
                schema: Sha256::of(b""),
                user_version: 0,
                application_id: 0,
                foreign_key_violations: 0,
            },
            class: EvidenceClass::A,
            check: None,
            exceptions: Vec::new(),
            incomplete: false,
            warnings: Vec::new(),
            sqlite_version: "3".to_owned(),
            patina_version: "0".to_owned(),
        }
    }
}

/// The name of one of the inventory's databases.
pub(crate) fn name(number: usize) -> DatabaseName {
    format!("db-{number}").parse().expect("a name")
}

/// Makes a database with rows of text that compresses about as well as people's writing, and of bytes that do not.
pub(crate) fn fill(path: &Path, megabytes: usize) {
    let mut db = Connection::open(path).expect("a database");
    db.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE entries(id INTEGER PRIMARY KEY, at INTEGER, note TEXT, token BLOB)")
        .expect("a table");
    let transaction = db.transaction().expect("a transaction");
    {
        let mut insert = transaction
            .prepare("INSERT INTO entries VALUES (?, ?, ?, randomblob(32))")
            .expect("a statement");
        for row in 0..megabytes * 4_000 {
            let (day, hour) = (row % 365, row * 7 % 24);
            let note = format!(
                "on day {day} at {hour} visitor {} read page {} and stayed for {} seconds, then left a note of {} words",
                row * 31 % 9_973,
                row * 17 % 4_999,
                row * 13 % 600,
                row % 97
            );
            insert.execute(params![row, row * 60, note]).expect("a row");
        }
    }
    transaction.commit().expect("a commit");
}
