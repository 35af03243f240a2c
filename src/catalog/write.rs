//! Writes rows inside a transaction. Invariant: each function on a connection is called inside one transaction.

use std::os::unix::ffi::OsStrExt;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, named_params, params};

use crate::types::{DatabaseName, JobId, KeyKind, Manifest, ObjectKey};

use super::Catalog;
use super::conditions::{News, announce, end, raise};
use super::error::{CatalogError, Stop};
use super::history::{HistoryLimit, let_jobs_go};
use super::order::{insert_committed, note_ahead};
use super::query::select_job;
use super::record::{
    AddedStorages, Committed, CopyState, Damage, Job, JobStatus, NewJob, ResultStatus, Spooled,
};
use super::row::{compression_word, integer, manifest_text, parsed};
use super::samples::insert_sample;
use super::telling;

const INTERRUPTED: &str = "the process ended before the job did";

impl Catalog {
    /// Marks the jobs that a dead process left `running` as `interrupted`, and returns their ids.
    ///
    /// Call it once, on start, under the state directory's lock.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn interrupt_running(&self, now: DateTime<Utc>) -> Result<Vec<JobId>, CatalogError> {
        self.write(|transaction| {
            let mut statement = transaction.prepare(
                "UPDATE backup_jobs SET status = 'interrupted', completed_at = ?, error_message = ?
                 WHERE status = 'running' RETURNING job_id",
            )?;
            let jobs = statement.query_map(params![now.timestamp(), INTERRUPTED], |row| {
                parsed(row, "job_id")
            })?;
            Ok(jobs.collect::<Result<_, _>>()?)
        })
    }

    /// Commits a backup that a restart found complete or completed after its job was interrupted; same rows as
    /// [`Run::succeed`](super::Run::succeed), and the job stays `interrupted`.
    ///
    /// # Errors
    /// [`CatalogError::NotSpooled`] if it is not waiting, otherwise same as `succeed`.
    pub fn settle_spooled(
        &self,
        job: JobId,
        committed: &Committed<'_>,
    ) -> Result<(), CatalogError> {
        self.settle_spooled_with(job, committed, &News::default())
    }

    /// Same as [`Catalog::settle_spooled`], and writes the alert changes of the copy.
    ///
    /// # Errors
    /// Same as [`Catalog::settle_spooled`].
    pub fn settle_spooled_with(
        &self,
        job: JobId,
        committed: &Committed<'_>,
        news: &News,
    ) -> Result<(), CatalogError> {
        self.write(|transaction| {
            remove_spooled(transaction, job, &committed.manifest.database)?;
            commit(transaction, job, committed, news, Rest::Nothing)
        })
    }

    /// Same as [`Catalog::settle_spooled_with`], while other storages are still uploading: the dump stays spooled until
    /// [`Catalog::end_spooled`].
    ///
    /// # Errors
    /// Same as [`Run::succeed`](super::Run::succeed).
    pub fn settle_first(
        &self,
        job: JobId,
        committed: &Committed<'_>,
        news: &News,
    ) -> Result<(), CatalogError> {
        self.write(|transaction| commit(transaction, job, committed, news, Rest::Waits))
    }

    /// Writes the outcome in more storages of a backup that is already committed.
    ///
    /// # Errors
    /// [`CatalogError::Conflict`] if another content is known under the key; also if the rows cannot be written.
    pub fn add_storages(&self, job: JobId, added: &AddedStorages<'_>) -> Result<(), CatalogError> {
        self.write(|transaction| add_storages(transaction, job, added))
    }

    /// Removes a dump whose copy lies in every storage that accepts it. Without effect if it is already removed.
    ///
    /// # Errors
    /// If the row cannot be removed.
    pub fn end_spooled(&self, job: JobId, database: &DatabaseName) -> Result<(), CatalogError> {
        self.write(|transaction| delete_spooled(transaction, job, database).map(drop))
    }

    /// Removes a dump that waits to be stored, because its file is gone or changed.
    ///
    /// # Errors
    /// [`CatalogError::NotSpooled`] if it is not waiting; also if the row cannot be removed.
    pub fn discard_spooled(&self, job: JobId, database: &DatabaseName) -> Result<(), CatalogError> {
        self.write(|transaction| remove_spooled(transaction, job, database))
    }

    /// Replaces the row of a waiting dump, for example because its key changed.
    ///
    /// # Errors
    /// [`CatalogError::NotSpooled`] if it is not waiting; also if the row cannot be written.
    pub fn respool(&self, job: JobId, spooled: &Spooled) -> Result<(), CatalogError> {
        self.write(|transaction| {
            remove_spooled(transaction, job, &spooled.database)?;
            insert_spooled(transaction, job, spooled)
        })
    }

    /// Records that every byte of a copy or an archive was read and is right; resolves earlier damage.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchCopy`]; also if the row cannot be written.
    pub fn mark_verified(
        &self,
        key: &ObjectKey,
        storage: &str,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let sql = format!(
            "UPDATE {} SET state = 'live', damage = NULL, damaged_at = NULL, verified_at = ?3
             WHERE r2_key = ?1 AND storage = ?2",
            table_of(key)
        );
        self.write(|transaction| {
            let changed =
                transaction.execute(&sql, params![key.as_str(), storage, at.timestamp()])?;
            known(changed, key, storage)?;
            end(transaction, &telling::sound(key, storage, at)).map(drop)
        })
    }

    /// Records that a copy or an archive is missing or corrupt. It no longer counts as good at once, and one event is
    /// written.
    ///
    /// # Errors
    /// [`CatalogError::NoSuchCopy`]; also if the row cannot be written.
    pub fn mark_damaged(
        &self,
        key: &ObjectKey,
        storage: &str,
        damage: Damage,
        message: &str,
        at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let table = table_of(key);
        let found = format!("SELECT state <> ?3 FROM {table} WHERE r2_key = ?1 AND storage = ?2");
        let update = format!(
            "UPDATE {table} SET state = ?3, damage = ?4, damaged_at = iif(state = ?3, damaged_at, ?5)
             WHERE r2_key = ?1 AND storage = ?2"
        );
        let state = CopyState::from(damage).as_str();
        self.write(|transaction| {
            let is_new = transaction
                .query_row(&found, params![key.as_str(), storage, state], |row| {
                    row.get(0)
                })
                .optional()?;
            known(usize::from(is_new.is_some()), key, storage)?;
            let row = params![key.as_str(), storage, state, message, at.timestamp()];
            transaction.execute(&update, row)?;
            match is_new {
                Some(true) => raise(
                    transaction,
                    &telling::damaged(key, storage, damage, message, at),
                )
                .map(drop),
                _ => Ok(()),
            }
        })
    }
}

/// Table that holds the placements of such a key.
pub(super) fn table_of(key: &ObjectKey) -> &'static str {
    match key.kind() {
        KeyKind::Weekly { .. } => "archives",
        KeyKind::Daily { .. } | KeyKind::Manifest { .. } | KeyKind::Claim { .. } => "copies",
    }
}

/// Outcome of one database in a job.
pub(super) struct Outcome<'a> {
    pub(super) database: &'a DatabaseName,
    pub(super) database_id: &'a str,
    pub(super) status: ResultStatus,
    pub(super) message: Option<&'a str>,
    pub(super) copy: Option<&'a Manifest>,
    /// Tells if its dump stays spooled.
    pub(super) rest: Rest,
    pub(super) started_at: DateTime<Utc>,
    pub(super) completed_at: DateTime<Utc>,
}

pub(super) fn insert_job(connection: &Connection, job: &NewJob) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO backup_jobs (job_id, started_at, status, trigger_type, total_databases)
         VALUES (?, ?, ?, ?, ?)",
        params![
            job.id.to_string(),
            job.started_at.timestamp(),
            JobStatus::Running.as_str(),
            job.trigger.as_str(),
            integer(job.databases as u64),
        ],
    )?;
    note_ahead(connection, job.started_at)?;
    let_jobs_go(connection, job.started_at, HistoryLimit::USUAL)?;
    telling::tell_started(connection, job)?;
    match &job.reason {
        Some(reason) => insert_note(connection, job.id, None, "reason", reason),
        None => Ok(()),
    }
}

pub(super) fn insert_spooled(
    connection: &Connection,
    job: JobId,
    spooled: &Spooled,
) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO spooled (job_id, database_name, path, manifest, created_at)
         VALUES (?, ?, CAST(? AS TEXT), ?, ?)",
        params![
            job.to_string(),
            spooled.database.as_str(),
            // A path need not be UTF-8; SQLite keeps the bytes unchanged.
            spooled.path.as_os_str().as_bytes(),
            manifest_text(&spooled.manifest),
            spooled.created_at.timestamp(),
        ],
    )?;
    Ok(())
}

/// Tells if the outcome of other storages is still open when a backup is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// No outcome is open.
    Nothing,
    /// The dump stays spooled for the open ones.
    Waits,
}

/// Writes all rows of a committed backup.
pub(super) fn commit(
    connection: &Connection,
    job: JobId,
    committed: &Committed<'_>,
    news: &News,
    rest: Rest,
) -> Result<(), Stop> {
    let manifest = committed.manifest;
    if committed.storages.is_empty() {
        let key = manifest.key.clone();
        return Err(CatalogError::Unstored { key }.into());
    }
    // Same time as an adoption of the manifest gives, so that it follows from the bucket alone.
    let created = manifest.completed().unwrap_or(committed.completed_at);
    let verified = committed.is_read_whole.then_some(committed.completed_at);
    insert_inventory(connection, manifest, created, committed.expires_at)?;
    insert_committed(connection, manifest, created)?;
    for storage in &committed.storages {
        insert_copy(connection, manifest, storage, created, verified)?;
    }
    for message in &committed.degraded {
        let database = Some(&manifest.database);
        insert_note(connection, job, database, "degraded", message)?;
    }
    let message = (!committed.degraded.is_empty()).then(|| committed.degraded.join("; "));
    let outcome = Outcome {
        database: &manifest.database,
        database_id: &committed.database_id,
        status: ResultStatus::Success,
        message: message.as_deref(),
        copy: Some(manifest),
        rest,
        started_at: committed.started_at,
        completed_at: committed.completed_at,
    };
    insert_result(connection, job, &outcome, news)
}

/// Writes a database's result and alert changes, adds it to its job's counters, and deletes its `spooled` row.
pub(super) fn insert_result(
    connection: &Connection,
    job: JobId,
    outcome: &Outcome<'_>,
    news: &News,
) -> Result<(), Stop> {
    let size_bytes = outcome.copy.map(|copy| integer(copy.stored.size_bytes));
    connection.execute(
        "INSERT INTO backup_results (job_id, database_name, database_id, status, r2_key, size_bytes,
            table_count, row_count, started_at, completed_at, duration_ms, error_message)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        params![
            job.to_string(),
            outcome.database.as_str(),
            outcome.database_id,
            outcome.status.as_str(),
            outcome.copy.map(|copy| copy.key.as_str()),
            size_bytes,
            outcome.copy.map(table_count),
            outcome.copy.map(row_count),
            outcome.started_at.timestamp(),
            outcome.completed_at.timestamp(),
            duration_ms(outcome.started_at, outcome.completed_at),
            outcome.message,
        ],
    )?;
    connection.execute(
        "UPDATE backup_jobs SET successful_count = successful_count + ?2,
            failed_count = failed_count + ?3, total_size_bytes = total_size_bytes + ?4
         WHERE job_id = ?1",
        params![
            job.to_string(),
            outcome.status == ResultStatus::Success,
            outcome.status == ResultStatus::Failed,
            size_bytes.unwrap_or(0),
        ],
    )?;
    if outcome.status != ResultStatus::Interrupted && outcome.rest == Rest::Nothing {
        delete_spooled(connection, job, outcome.database)?;
    }
    announce(connection, news).map(drop)
}

/// Writes the outcome of a committed backup in more storages. A message is appended to its result.
pub(super) fn add_storages(
    connection: &Connection,
    job: JobId,
    added: &AddedStorages<'_>,
) -> Result<(), Stop> {
    let manifest = added.manifest;
    let created = manifest.completed().unwrap_or(added.at);
    let verified = added.is_read_whole.then_some(added.at);
    for storage in added.storages {
        insert_copy(connection, manifest, storage, created, verified)?;
    }
    let sql = "UPDATE backup_results
               SET error_message = iif(error_message IS NULL, ?3, error_message || '; ' || ?3)
               WHERE job_id = ?1 AND database_name = ?2 AND status = 'success'";
    for message in added.degraded {
        let database = &manifest.database;
        insert_note(connection, job, Some(database), "degraded", message)?;
        connection.execute(sql, params![job.to_string(), database.as_str(), message])?;
    }
    Ok(())
}

/// Ends a running job and returns its final state.
pub(super) fn end_job(
    connection: &Connection,
    job: JobId,
    failure: Option<&str>,
    started_at: DateTime<Utc>,
    at: DateTime<Utc>,
) -> Result<Job, Stop> {
    let changed = connection.execute(
        "UPDATE backup_jobs SET completed_at = ?2, duration_ms = ?3, error_message = ?4,
            status = CASE
                WHEN ?4 IS NOT NULL OR failed_count > 0 THEN 'failed'
                WHEN EXISTS (SELECT 1 FROM backup_results AS result
                    WHERE result.job_id = ?1 AND result.status = 'interrupted') THEN 'interrupted'
                ELSE 'completed' END
         WHERE job_id = ?1 AND status = 'running'",
        params![
            job.to_string(),
            at.timestamp(),
            duration_ms(started_at, at),
            failure
        ],
    )?;
    if changed != 1 {
        return Err(CatalogError::NotRunning { job }.into());
    }
    let ended = select_job(connection, job)?;
    let ended = ended.expect("its row was just written");
    telling::tell_ended(connection, &ended, at)?;
    Ok(ended)
}

pub(super) fn insert_note(
    connection: &Connection,
    job: JobId,
    database: Option<&DatabaseName>,
    kind: &str,
    message: &str,
) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO job_notes (job_id, database_name, kind, message) VALUES (?, ?, ?, ?)",
        params![
            job.to_string(),
            database.map(DatabaseName::as_str),
            kind,
            message
        ],
    )?;
    Ok(())
}

pub(super) fn insert_inventory(
    connection: &Connection,
    manifest: &Manifest,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), Stop> {
    connection.execute(
        "INSERT INTO backup_inventory (r2_key, database_name, backup_date, size_bytes, table_count,
            created_at, expires_at)
         VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (r2_key) DO NOTHING",
        params![
            manifest.key.as_str(),
            manifest.database.as_str(),
            manifest.date.to_string(),
            integer(manifest.stored.size_bytes),
            table_count(manifest),
            created_at.timestamp(),
            expires_at.timestamp(),
        ],
    )?;
    insert_sample(connection, manifest, created_at)
}

pub(super) fn insert_copy(
    connection: &Connection,
    manifest: &Manifest,
    storage: &str,
    created_at: DateTime<Utc>,
    verified_at: Option<DateTime<Utc>>,
) -> Result<(), Stop> {
    let changed = connection.execute(
        "INSERT INTO copies (r2_key, storage, database_name, backup_date, job_id, state,
            stored_sha256, stored_bytes, plain_sha256, plain_bytes, compression, class, row_count,
            table_count, incomplete, created_at, verified_at, instance, manifest)
         VALUES (:key, :storage, :database, :date, :job, 'live', :stored_sha256, :stored_bytes,
            :plain_sha256, :plain_bytes, :compression, :class, :row_count, :table_count,
            :incomplete, :created_at, :verified_at, :instance, :manifest)
         ON CONFLICT (r2_key, storage) DO UPDATE
            SET verified_at = coalesce(excluded.verified_at, verified_at),
                state = iif(excluded.verified_at IS NULL, state, 'live'),
                damage = iif(excluded.verified_at IS NULL, damage, NULL),
                damaged_at = iif(excluded.verified_at IS NULL, damaged_at, NULL)
            WHERE stored_sha256 = excluded.stored_sha256",
        named_params! {
            ":key": manifest.key.as_str(),
            ":storage": storage,
            ":database": manifest.database.as_str(),
            ":date": manifest.date.to_string(),
            ":job": manifest.job.to_string(),
            ":stored_sha256": manifest.stored.sha256.to_string(),
            ":stored_bytes": integer(manifest.stored.size_bytes),
            ":plain_sha256": manifest.plain.sha256.to_string(),
            ":plain_bytes": integer(manifest.plain.size_bytes),
            ":compression": compression_word(manifest.stored.compression),
            ":class": format!("{:?}", manifest.class),
            ":row_count": row_count(manifest),
            ":table_count": table_count(manifest),
            ":incomplete": manifest.incomplete,
            ":created_at": created_at.timestamp(),
            ":verified_at": verified_at.map(|at| at.timestamp()),
            ":instance": manifest.instance,
            ":manifest": manifest_text(manifest),
        },
    )?;
    if changed == 0 {
        let (key, storage) = (manifest.key.clone(), storage.to_owned());
        return Err(CatalogError::Conflict { key, storage }.into());
    }
    Ok(())
}

fn remove_spooled(
    connection: &Connection,
    job: JobId,
    database: &DatabaseName,
) -> Result<(), Stop> {
    if delete_spooled(connection, job, database)? == 0 {
        let database = database.clone();
        return Err(CatalogError::NotSpooled { job, database }.into());
    }
    Ok(())
}

fn delete_spooled(
    connection: &Connection,
    job: JobId,
    database: &DatabaseName,
) -> Result<usize, Stop> {
    let sql = "DELETE FROM spooled WHERE job_id = ? AND database_name = ?";
    Ok(connection.execute(sql, params![job.to_string(), database.as_str()])?)
}

fn known(changed: usize, key: &ObjectKey, storage: &str) -> Result<(), Stop> {
    if changed == 0 {
        let (key, storage) = (key.clone(), storage.to_owned());
        return Err(CatalogError::NoSuchCopy { key, storage }.into());
    }
    Ok(())
}

fn table_count(manifest: &Manifest) -> i64 {
    integer(manifest.evidence.tables.len() as u64)
}

fn row_count(manifest: &Manifest) -> i64 {
    integer(manifest.evidence.total_rows())
}

/// Zero if the wall clock went back meanwhile.
fn duration_ms(from: DateTime<Utc>, to: DateTime<Utc>) -> i64 {
    (to - from).num_milliseconds().max(0)
}
