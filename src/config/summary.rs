//! Describes the meaning of a configuration in words, for `patina check`.

use std::fmt;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::duration_text;
use super::model::{Config, Database, StorageKind};
use crate::quote::padded;
use crate::schedule::Schedule;
use crate::types::counted;

impl Config {
    /// Summary of the configuration, with the next runs after `now` in the agent's time zone.
    pub fn summary(&self, now: DateTime<Utc>) -> Summary<'_> {
        Summary { config: self, now }
    }

    /// Returns the next run of each job after `now`. Own schedules of databases follow the shared jobs.
    pub fn next_runs(&self, now: DateTime<Utc>) -> Vec<NextRun<'_>> {
        let jobs = &self.jobs;
        let own = self.databases.iter().filter_map(|database| {
            let schedule = database.schedule.as_ref()?;
            Some((database.name.as_str(), schedule))
        });
        [
            ("nightly", &jobs.nightly),
            ("weekly", &jobs.weekly),
            ("reconcile", &jobs.reconcile),
            ("verify", &jobs.verify),
        ]
        .into_iter()
        .chain(jobs.drill.as_ref().map(|drill| ("drill", drill)))
        .chain(own)
        .map(|(name, schedule)| NextRun {
            name,
            schedule,
            at: schedule.next_after(self.agent.timezone, now),
        })
        .collect()
    }

    /// Formats the next weekly run after `now`, in which copies expire: for people, in the agent's time zone.
    pub fn next_expiry(&self, now: DateTime<Utc>) -> String {
        let zone = self.agent.timezone;
        local(self.jobs.weekly.next_after(zone, now), zone)
    }
}

/// Next run of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct NextRun<'a> {
    /// Name of the job, or of the database with its own schedule.
    pub name: &'a str,
    /// Its schedule.
    pub schedule: &'a Schedule,
    /// Time; `None`: after the year 2100.
    pub at: Option<DateTime<Utc>>,
}

/// Summary of a configuration; `Display` writes it for people.
#[derive(Debug)]
pub struct Summary<'a> {
    config: &'a Config,
    now: DateTime<Utc>,
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.config;
        let tz = config.agent.timezone;
        writeln!(f, "agent `{}`, time zone {tz}", config.agent.name)?;
        writeln!(f, "\ndatabases, in the order of export")?;
        let widest = longest(config.databases.iter().map(|d| d.name.as_str()));
        for database in &config.databases {
            write_database(f, database, widest)?;
        }
        self.write_order(f)?;
        writeln!(f, "\nnext runs")?;
        let runs = config.next_runs(self.now);
        let widest = longest(runs.iter().map(|run| run.name));
        for run in &runs {
            let (name, at) = (padded(run.name, widest), local(run.at, tz));
            writeln!(f, "  {name}  {at}  ({})", run.schedule)?;
        }
        self.write_storages(f)?;
        self.write_sinks(f)?;
        write!(
            f,
            "\nkept: daily copies {}, weekly archives {}, never fewer than {} verified",
            counted(config.retention.daily_days, "day"),
            counted(config.retention.weekly_weeks, "week"),
            config.retention.min_copies
        )
    }
}

impl Summary<'_> {
    /// Writes the order of restore if it may differ from that of export.
    fn write_order(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let databases = &self.config.databases;
        if databases.iter().all(|one| one.restore_after.is_empty()) {
            return Ok(());
        }
        let order = self.config.restore_order();
        let names: Vec<&str> = order.iter().map(|one| one.name.as_str()).collect();
        writeln!(f, "\nrestored in the order\n  {}", names.join(", "))
    }

    fn write_storages(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nstorages")?;
        let storages = self.config.storages();
        let widest = longest(storages.iter().map(|storage| storage.name.as_str()));
        for (index, storage) in storages.iter().enumerate() {
            let place = match &storage.kind {
                StorageKind::Directory(path) => path.display().to_string(),
                StorageKind::S3(s3) => {
                    let prefix = s3.prefix.trim_end_matches('/');
                    let slash = if prefix.is_empty() { "" } else { "/" };
                    format!("bucket {}{slash}{prefix} at {}", s3.bucket, s3.endpoint)
                }
            };
            let primary = if index == 0 { "  (primary)" } else { "" };
            let name = padded(&storage.name, widest);
            writeln!(f, "  {name}  {place}{primary}")?;
        }
        Ok(())
    }

    fn write_sinks(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\nalert sinks")?;
        let sinks = &self.config.alerts.sinks;
        if sinks.is_empty() {
            writeln!(f, "  none: alerts stay in the log and on the dashboard")?;
        }
        let widest = longest(sinks.iter().map(|sink| sink.name.as_str()));
        for sink in sinks {
            let (kind, origin) = (sink.kind.as_str(), sink.url.origin());
            let name = padded(&sink.name, widest);
            writeln!(f, "  {name}  {kind} ({origin})")?;
        }
        Ok(())
    }
}

fn write_database(f: &mut fmt::Formatter<'_>, database: &Database, widest: usize) -> fmt::Result {
    let (name, priority) = (padded(database.name.as_str(), widest), database.priority);
    let (kind, place) = (database.source.kind(), database.source.location());
    let timeout = duration_text(database.export.timeout);
    writeln!(
        f,
        "  {name}  {priority:8}  {kind} {place}, at most {timeout}"
    )
}

fn local(at: Option<DateTime<Utc>>, tz: Tz) -> String {
    at.map_or("never".to_owned(), |at| {
        let at = at.with_timezone(&tz);
        at.format("%a %Y-%m-%d %H:%M %Z").to_string()
    })
}

fn longest<'a>(names: impl Iterator<Item = &'a str>) -> usize {
    names.map(str::len).max().unwrap_or(0)
}
