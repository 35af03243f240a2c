//! Records a running job. Invariant: a job begins once and ends once, by `finish` or `fail`.

use chrono::{DateTime, Utc};

use crate::types::{DatabaseName, JobId};

use super::conditions::News;
use super::record::{Committed, Job, NewJob, ResultStatus, Spooled};
use super::write::{Outcome, Rest, commit, end_job, insert_job, insert_result, insert_spooled};
use super::{Catalog, CatalogError};

impl Catalog {
    /// Writes the row of a job that starts now.
    ///
    /// # Errors
    /// If the row cannot be written; the job must not start then.
    pub fn begin(&self, job: NewJob) -> Result<Run, CatalogError> {
        self.write(|transaction| insert_job(transaction, &job))?;
        Ok(Run {
            catalog: self.clone(),
            id: job.id,
            started_at: job.started_at,
            ended: false,
        })
    }
}

/// Job that is `running` in the catalog; shared by reference among the databases it works on.
#[must_use = "a job that is neither finished nor failed stays `running` until the next start"]
pub struct Run {
    pub(super) catalog: Catalog,
    pub(super) id: JobId,
    started_at: DateTime<Utc>,
    ended: bool,
}

impl Run {
    /// Id of the job.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Start time of the job.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Records that a proven dump is about to be stored, so that a restart can continue with it.
    ///
    /// # Errors
    /// If the row cannot be written, or the job already has one for this database.
    pub fn spooled(&self, spooled: &Spooled) -> Result<(), CatalogError> {
        self.catalog
            .write(|transaction| insert_spooled(transaction, self.id, spooled))
    }

    /// Commits a backup: writes result, inventory, copies and counters, and deletes its `spooled` row.
    ///
    /// # Errors
    /// [`CatalogError::Unstored`] without a storage, [`CatalogError::Conflict`] if another content is
    /// known under the key; also if the rows cannot be written.
    pub fn succeed(&self, committed: &Committed<'_>) -> Result<(), CatalogError> {
        self.succeed_with(committed, &News::default())
    }

    /// Same as [`Run::succeed`], and writes the alert changes of the copy.
    ///
    /// # Errors
    /// Same as [`Run::succeed`].
    pub fn succeed_with(&self, committed: &Committed<'_>, news: &News) -> Result<(), CatalogError> {
        self.catalog
            .write(|transaction| commit(transaction, self.id, committed, news, Rest::Nothing))
    }

    /// Same as [`Run::succeed_with`], for a backup that is in some storages while others are still uploading: its
    /// `spooled` row stays until [`Catalog::end_spooled`]. [`Catalog::add_storages`] adds the outcome of the others.
    ///
    /// # Errors
    /// Same as [`Run::succeed`].
    pub fn succeed_first(
        &self,
        committed: &Committed<'_>,
        news: &News,
    ) -> Result<(), CatalogError> {
        self.catalog
            .write(|transaction| commit(transaction, self.id, committed, news, Rest::Waits))
    }

    /// Records that a database has no new copy; its `spooled` row is deleted.
    ///
    /// # Errors
    /// If the rows cannot be written.
    pub fn fail_database(
        &self,
        name: &DatabaseName,
        database_id: &str,
        message: &str,
        started_at: DateTime<Utc>,
        completed_at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let times = (started_at, completed_at);
        self.fail_database_with(name, database_id, message, times, &News::default())
    }

    /// Same as [`Run::fail_database`], with start and end in `times`; also writes the alert changes of the failure.
    ///
    /// # Errors
    /// Same as [`Run::fail_database`].
    pub fn fail_database_with(
        &self,
        name: &DatabaseName,
        database_id: &str,
        message: &str,
        times: (DateTime<Utc>, DateTime<Utc>),
        news: &News,
    ) -> Result<(), CatalogError> {
        let outcome = outcome(ResultStatus::Failed, name, database_id, message, times);
        self.catalog
            .write(|transaction| insert_result(transaction, self.id, &outcome, news))
    }

    /// Records that a hook or rule skipped a database.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn skip_database(
        &self,
        name: &DatabaseName,
        database_id: &str,
        message: &str,
        started_at: DateTime<Utc>,
        completed_at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let times = (started_at, completed_at);
        self.end_database(ResultStatus::Skipped, name, database_id, message, times)
    }

    /// Records that the process was stopped before a database was finished. Its `spooled` row stays: the next start
    /// continues with it.
    ///
    /// # Errors
    /// If the row cannot be written.
    pub fn interrupt_database(
        &self,
        name: &DatabaseName,
        database_id: &str,
        message: &str,
        started_at: DateTime<Utc>,
        completed_at: DateTime<Utc>,
    ) -> Result<(), CatalogError> {
        let times = (started_at, completed_at);
        self.end_database(ResultStatus::Interrupted, name, database_id, message, times)
    }

    /// Ends the job by the outcomes of its databases: `failed` if any failed, else `interrupted` if any was, else
    /// `completed`.
    ///
    /// # Errors
    /// [`CatalogError::NotRunning`] if another process took this one for dead; also if the row cannot
    /// be written.
    pub fn finish(self, completed_at: DateTime<Utc>) -> Result<Job, CatalogError> {
        self.end(None, completed_at)
    }

    /// Ends the job as `failed` for a reason that does not belong to one database.
    ///
    /// # Errors
    /// Same as [`Run::finish`].
    pub fn fail(self, message: &str, at: DateTime<Utc>) -> Result<Job, CatalogError> {
        self.end(Some(message), at)
    }

    fn end(mut self, failure: Option<&str>, at: DateTime<Utc>) -> Result<Job, CatalogError> {
        self.ended = true;
        let (id, started_at) = (self.id, self.started_at);
        self.catalog
            .write(|transaction| end_job(transaction, id, failure, started_at, at))
    }

    fn end_database(
        &self,
        status: ResultStatus,
        name: &DatabaseName,
        database_id: &str,
        message: &str,
        times: (DateTime<Utc>, DateTime<Utc>),
    ) -> Result<(), CatalogError> {
        let outcome = outcome(status, name, database_id, message, times);
        let news = News::default();
        self.catalog
            .write(|transaction| insert_result(transaction, self.id, &outcome, &news))
    }
}

fn outcome<'a>(
    status: ResultStatus,
    database: &'a DatabaseName,
    database_id: &'a str,
    message: &'a str,
    (started_at, completed_at): (DateTime<Utc>, DateTime<Utc>),
) -> Outcome<'a> {
    Outcome {
        database,
        database_id,
        status,
        message: Some(message),
        copy: None,
        rest: Rest::Nothing,
        started_at,
        completed_at,
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.ended {
            tracing::debug!(job = %self.id, "job `{}` was left `running`", self.id);
        }
    }
}
