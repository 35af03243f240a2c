//! Computes the next run of each task.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::config::Config;
use crate::schedule::Schedule;
use crate::types::DatabaseName;

/// Schedule of the search for databases that nothing backs up: away from the nightly jobs.
pub const DISCOVER: &str = "0 12 * * *";

/// Schedule of the check of the last good copies' age.
pub const STALE: &str = "7 * * * *";

/// Schedule of the test alert to every sink: on a working day's morning, so that its absence is noticed.
pub const ALERT_TEST: &str = "0 9 * * 1";

/// Next run of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextRun {
    /// Name of the task: `nightly`, `weekly`, or `backup NAME` for a database with a schedule of its own.
    pub task: String,
    /// Purpose, in a few words.
    pub purpose: &'static str,
    /// The database; `None` if the task is about more than one.
    pub database: Option<DatabaseName>,
    /// True if the task makes backups.
    pub is_backup: bool,
    /// Time of the run.
    pub at: DateTime<Utc>,
    /// The same time in the agent's zone.
    pub local: DateTime<Tz>,
}

/// Returns the next run of each task after `now`, soonest first.
pub(super) fn next(config: &Config, now: DateTime<Utc>) -> Vec<NextRun> {
    let when = config.schedule();
    let [discover, stale, alert_test] = [DISCOVER, STALE, ALERT_TEST]
        .map(|text| -> Schedule { text.parse().expect("it is a valid schedule") });
    let has_night = config.databases().iter().any(|one| one.schedule.is_none());
    let nightly = ("nightly", "back up every database", &when.nightly);
    let discover = ("discover", "look for unprotected databases", &discover);
    let alert_test = ("alert test", "send every sink a test", &alert_test);
    let mut tasks = vec![
        ("stale", "look how old the last copies are", &stale),
        ("weekly", "pack the week, let the oldest go", &when.weekly),
        ("reconcile", "compare storages and catalog", &when.reconcile),
        ("verify", "read a seventh of all bytes again", &when.verify),
    ];
    let drill = when.drill.as_ref();
    tasks.extend(drill.map(|schedule| {
        (
            "drill",
            "restore every newest copy as a rehearsal",
            schedule,
        )
    }));
    tasks.extend(has_night.then_some(nightly));
    tasks.extend(config.cloudflare().map(|_| discover));
    tasks.extend((!config.alerts().sinks.is_empty()).then_some(alert_test));
    let tz = config.agent().timezone;
    let shared = tasks.into_iter().filter_map(|(task, purpose, schedule)| {
        let at = schedule.next_after(tz, now)?;
        Some(NextRun {
            task: task.to_owned(),
            purpose,
            database: None,
            is_backup: task == "nightly",
            at,
            local: at.with_timezone(&tz),
        })
    });
    let own = config.databases().iter().filter_map(|database| {
        let at = database.schedule.as_ref()?.next_after(tz, now)?;
        Some(NextRun {
            task: format!("backup {}", database.name),
            purpose: "back up this database",
            database: Some(database.name.clone()),
            is_backup: true,
            at,
            local: at.with_timezone(&tz),
        })
    });
    let mut runs: Vec<NextRun> = shared.chain(own).collect();
    runs.sort_by(|one, other| (one.at, &one.task).cmp(&(other.at, &other.task)));
    runs
}
