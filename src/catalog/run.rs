//! Records a running job. Invariant: a job begins once and is ended once, by `finish` or `fail`.

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
    /// Where the row cannot be written; the job must not start then.
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

/// A job that is `running` in the catalog; shared by reference among the databases it works on.
#[must_use = "a job that is neither finished nor failed stays `running` until the next start"]
pub struct Run {
    pub(super) catalog: Catalog,
    pub(super) id: JobId,
    started_at: DateTime<Utc>,
    ended: bool,
}

impl Run {
    /// The job's id.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// When the job started.
    pub fn started_at(&self) -> DateTime<Utc> {
        self.started_at
    }

    /// Notes that a proven dump is about to be stored, so that a restart can go on with it.
    ///
    /// # Errors
    /// Where the row cannot be written, or the job already has one for this database.
    pub fn spooled(&self, spooled: &Spooled) -> Result<(), CatalogError> {
        self.catalog
            .write(|transaction| insert_spooled(transaction, self.id, spooled))
    }

    /// Lets a committed backup count: result, inventory, copies and counters, and its `spooled` row goes.
    ///
    /// # Errors
    /// [`CatalogError::Unstored`] without a storage, [`CatalogError::Conflict`] where another content is
    /// known under the key, and where the rows cannot be written.
    pub fn succeed(&self, committed: &Committed<'_>) -> Result<(), CatalogError> {
        self.succeed_with(committed, &News::default())
    }

    /// The same, and with it what the copy brings.
    ///
    /// # Errors
    /// As [`Run::succeed`].
    pub fn succeed_with(&self, committed: &Committed<'_>, news: &News) -> Result<(), CatalogError> {
        self.catalog
            .write(|transaction| commit(transaction, self.id, committed, news, Rest::Nothing))
    }

    /// Lets a backup count that lies in some storages while others are still at it: as [`Run::succeed_with`], but its
    /// `spooled` row stays until [`Catalog::end_spooled`]. [`Catalog::add_storages`] adds what the others come to.
    ///
    /// # Errors
    /// As [`Run::succeed`].
    pub fn succeed_first(
        &self,
        committed: &Committed<'_>,
        news: &News,
    ) -> Result<(), CatalogError> {
        self.catalog
            .write(|transaction| commit(transaction, self.id, committed, news, Rest::Waits))
    }

    /// Notes that a database has no new copy; its `spooled` row goes.
    ///
    /// # Errors
    /// Where the rows cannot be written.
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

    /// The same, from the first of `times` to the second, and with it what the failure brings.
    ///
    /// # Errors
    /// As [`Run::fail_database`].
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

    /// Notes that a hook or rule left a database out.
    ///
    /// # Errors
    /// Where the row cannot be written.
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

    /// Notes that the process was told to end before a database was done. Its `spooled` row stays: the next
    /// start goes on with it.
    ///
    /// # Errors
    /// Where the row cannot be written.
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

    /// Ends the job by what became of its databases: `failed` where any failed, else `interrupted` where any
    /// was, else `completed`.
    ///
    /// # Errors
    /// [`CatalogError::NotRunning`] where another process took this one for dead, and where the row cannot
    /// be written.
    pub fn finish(self, completed_at: DateTime<Utc>) -> Result<Job, CatalogError> {
        self.end(None, completed_at)
    }

    /// Ends the job as `failed` for a reason that is not one database's.
    ///
    /// # Errors
    /// As [`Run::finish`].
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
