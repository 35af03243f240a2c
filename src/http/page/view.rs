//! Turns an overview into the texts and drawings of the page.

use askama::Template;
use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;

use super::{assets, chart, strip};
use crate::catalog::{
    CopyState, Good, Harm, Job, JobResult, JobStatus, Past, Point, ResultStatus, SuspectCopy,
};
use crate::config::AlertLevel;
use crate::overview::{
    DatabaseOverview, NextRun, Overview, Role, Safety, Staleness, StorageOverview, ago, duration,
};
use crate::retention::Kept;
use crate::types::{
    BackupDate, ByteCount, CopyForm, JobId, Priority, Trigger, counted, grouped, share,
};

/// Number of concerns that fit on a phone's first screen.
const MOST_CONCERNS: usize = 5;

/// Values of the template.
#[derive(Template)]
#[template(path = "page.html", config = "src/http/page/askama.toml")]
pub(super) struct Page {
    style: &'static str,
    script: &'static str,
    icon: &'static str,
    agent: String,
    now: Moment,
    zone: &'static str,
    level: &'static str,
    headline: String,
    reason: String,
    totals: String,
    /// Result of the last drill, and true if it was good.
    rehearsal: (String, bool),
    /// Rules that stopped expiry; empty if none did.
    expiry: String,
    concerns: Vec<ConcernView>,
    concerns_more: usize,
    databases: Vec<DatabaseView>,
    running: Option<RunningView>,
    harmed: Vec<HarmView>,
    harmed_more: u64,
    jobs: Vec<JobView>,
    next_runs: Vec<NextView>,
    next_backup: Option<Moment>,
    storages: Vec<StorageView>,
}

/// A time for people and for programs.
struct Moment {
    /// RFC 3339 in UTC.
    iso: String,
    /// Local time: `Tue 24 Nov, 03:00`.
    local: String,
    /// Distance from now: `9 hours ago`, `in 3 h 12 min`.
    distance: String,
}

/// A problem in a few words, and the place on the page with the details.
struct ConcernView {
    place: String,
    name: String,
    what: String,
}

struct DatabaseView {
    name: String,
    note: String,
    level: &'static str,
    word: &'static str,
    good: Option<GoodView>,
    suspect: Option<SuspectView>,
    /// Reason that nothing of the database expires; empty if it does.
    held: String,
    failure: Option<FailureView>,
    strip: String,
    charts: Vec<ChartView>,
    weeks: Vec<(BackupDate, String, String)>,
}

struct GoodView {
    made: Moment,
    size: String,
    rows: String,
    tables: String,
    proof: String,
    form: String,
    exceptions: Vec<String>,
    verified: Option<Moment>,
    place: String,
}

struct SuspectView {
    key: String,
    date: BackupDate,
    damage: Vec<String>,
}

struct FailureView {
    at: Moment,
    text: String,
    count: u32,
}

struct ChartView {
    title: &'static str,
    now: String,
    svg: String,
}

struct RunningView {
    id: JobId,
    started: Moment,
    about: String,
}

struct HarmView {
    key: String,
    storage: String,
    what: &'static str,
    damage: String,
}

struct JobView {
    id: JobId,
    started: Moment,
    status: &'static str,
    level: &'static str,
    counts: String,
    details: String,
    troubles: Vec<(String, String)>,
}

struct NextView {
    task: String,
    purpose: &'static str,
    at: Moment,
}

struct StorageView {
    name: String,
    kind: &'static str,
    size: String,
    objects: String,
    unverified: String,
    harmed: u64,
    days: String,
}

impl Page {
    pub(super) fn of(overview: &Overview) -> Self {
        let words = Words::of(overview);
        let mut concerns = concerns(overview);
        let concerns_more = concerns.len().saturating_sub(MOST_CONCERNS);
        concerns.truncate(MOST_CONCERNS);
        Self {
            style: assets::path_of("patina.css"),
            script: assets::path_of("patina.js"),
            icon: assets::path_of("patina.svg"),
            agent: overview.agent.clone(),
            now: words.past(overview.now),
            zone: overview.timezone.name(),
            level: level_word(overview.safety.level()),
            headline: overview.safety.headline(),
            reason: overview.safety.reason(),
            totals: totals(overview),
            rehearsal: words.rehearsal(overview),
            expiry: words.expiry(overview),
            concerns,
            concerns_more,
            databases: overview
                .databases
                .iter()
                .map(|one| words.database(one))
                .collect(),
            running: overview.running.first().map(|job| words.running(job)),
            harmed: overview.harmed.iter().map(harm).collect(),
            harmed_more: overview.harmed_count - overview.harmed.len() as u64,
            jobs: overview.jobs.iter().map(|past| words.job(past)).collect(),
            next_runs: overview
                .next_runs
                .iter()
                .map(|run| words.next(run))
                .collect(),
            next_backup: overview.next_backup().map(|run| words.future(run.at)),
            storages: overview.storages.iter().map(storage).collect(),
        }
    }
}

/// Context of the texts: the current time and the time zone.
struct Words {
    now: DateTime<Utc>,
    zone: Tz,
    first_day: BackupDate,
    today: BackupDate,
}

impl Words {
    fn of(overview: &Overview) -> Self {
        let strip = overview.databases.first().map(|one| &one.strip);
        let first = strip.and_then(|days| days.first()).map(|day| day.date);
        Self {
            now: overview.now,
            zone: overview.timezone,
            first_day: first.unwrap_or(overview.today),
            today: overview.today,
        }
    }

    /// Describes the age and the result of the last drill.
    fn rehearsal(&self, overview: &Overview) -> (String, bool) {
        let Some(rehearsal) = &overview.rehearsal else {
            let text = "No restore from storage was rehearsed yet: patina drill";
            return (text.to_owned(), true);
        };
        let when = ago(self.now - rehearsal.ended_at());
        let took = duration(rehearsal.duration_ms);
        let (proven, all) = (rehearsal.proven(), rehearsal.results.len());
        let count = counted(all as u64, "database");
        let text = match rehearsal.is_good() {
            true => {
                format!("Rehearsed {when}: {count} restored from storage and proven, in {took}.")
            }
            false => format!(
                "The rehearsal {when} did not go well: of {count}, {proven} came back from storage."
            ),
        };
        (text, rehearsal.is_good())
    }

    /// Describes the rules that stopped the last expiry run; empty if none did.
    fn expiry(&self, overview: &Overview) -> String {
        let Some(run) = &overview.expiry else {
            return String::new();
        };
        let stops = run.kept.iter().filter(|by| Kept::stops(&by.rule));
        let told = stops.map(|by| {
            let objects = counted(by.objects, "object");
            format!(
                "{objects} old enough to go {} kept: {}.",
                if by.objects == 1 { "was" } else { "were" },
                by.why
            )
        });
        let told: Vec<String> = told.collect();
        match told.is_empty() {
            true => String::new(),
            false => format!(
                "When expiry ran {}, {}",
                ago(self.now - run.at),
                told.join(" ")
            ),
        }
    }

    fn past(&self, at: DateTime<Utc>) -> Moment {
        self.moment(at, ago(self.now - at))
    }

    fn future(&self, at: DateTime<Utc>) -> Moment {
        let wait = (at - self.now).max(chrono::TimeDelta::zero());
        let (days, hours, minutes) = (
            wait.num_days(),
            wait.num_hours() % 24,
            wait.num_minutes() % 60,
        );
        let distance = match (days, hours, minutes) {
            (0, 0, 0) => "in less than a minute".to_owned(),
            (0, 0, minutes) => format!("in {minutes} min"),
            (0, hours, minutes) => format!("in {hours} h {minutes} min"),
            (days, hours, _) => format!("in {days} d {hours} h"),
        };
        self.moment(at, distance)
    }

    fn moment(&self, at: DateTime<Utc>, distance: String) -> Moment {
        Moment {
            iso: at.to_rfc3339_opts(SecondsFormat::Secs, true),
            local: at
                .with_timezone(&self.zone)
                .format("%a %-d %b, %H:%M")
                .to_string(),
            distance,
        }
    }

    fn database(&self, database: &DatabaseOverview) -> DatabaseView {
        DatabaseView {
            name: database.name.to_string(),
            note: note(&database.role),
            level: match database.staleness {
                Staleness::Retired => "retired",
                _ => level_word(database.level()),
            },
            word: state_word(database),
            good: database.last_good.as_ref().map(|good| self.good(good)),
            suspect: database.suspect.as_ref().map(suspect),
            held: held(database),
            failure: database.current_failure().map(|failure| FailureView {
                at: self.past(failure.completed_at.unwrap_or(failure.started_at)),
                text: message(failure),
                count: database.failures_in_a_row,
            }),
            strip: strip::draw(&database.strip),
            charts: self.charts(database),
            weeks: chart::weekly(&database.history)
                .into_iter()
                .map(|(date, point)| {
                    let size = ByteCount(point.size_bytes).to_string();
                    (date, size, grouped(point.rows))
                })
                .collect(),
        }
    }

    fn good(&self, good: &Good) -> GoodView {
        let place = good.storages.join(", ");
        GoodView {
            made: self.past(good.created_at),
            size: ByteCount(good.size_bytes).to_string(),
            rows: counted(good.rows, "row"),
            tables: counted(good.tables, "table"),
            proof: proof(good),
            form: form(good),
            exceptions: good.exceptions.iter().map(ToString::to_string).collect(),
            verified: good.verified_at.map(|at| self.past(at)),
            place: match &good.archive {
                Some(archive) => format!("inside {archive} in {place}"),
                None => format!("in {place}"),
            },
        }
    }

    fn charts(&self, database: &DatabaseOverview) -> Vec<ChartView> {
        let Some((_, last)) = database.history.last() else {
            return Vec::new();
        };
        let draw = |value: &dyn Fn(&Point) -> u64| {
            let samples = database.history.iter();
            let samples: Vec<_> = samples.map(|(date, point)| (*date, value(point))).collect();
            chart::draw(&samples, self.first_day, self.today)
        };
        let charts = [
            ChartView {
                title: "Size",
                now: ByteCount(last.size_bytes).to_string(),
                svg: draw(&|point| point.size_bytes),
            },
            ChartView {
                title: "Rows",
                now: grouped(last.rows),
                svg: draw(&|point| point.rows),
            },
        ];
        charts
            .into_iter()
            .filter(|chart| !chart.svg.is_empty())
            .collect()
    }

    fn running(&self, job: &Job) -> RunningView {
        RunningView {
            id: job.id,
            started: self.past(job.started_at),
            about: counted(job.total, "database"),
        }
    }

    fn job(&self, past: &Past) -> JobView {
        let job = &past.job;
        let mut troubles: Vec<(String, String)> = past
            .failures
            .iter()
            .map(|result| (result.database.to_string(), message(result)))
            .collect();
        let of_job = job.error_message.iter().chain(&job.degraded);
        troubles.extend(of_job.map(|text| (String::new(), text.clone())));
        JobView {
            id: job.id,
            started: self.past(job.started_at),
            status: job.status.as_str(),
            level: match job.status {
                JobStatus::Completed if job.degraded.is_empty() => "safe",
                JobStatus::Completed | JobStatus::Interrupted => "warning",
                JobStatus::Failed => "critical",
                JobStatus::Running => "running",
            },
            counts: share(job.successful, job.total, "database"),
            details: details(job),
            troubles,
        }
    }

    fn next(&self, run: &NextRun) -> NextView {
        NextView {
            task: run.task.clone(),
            purpose: run.purpose,
            at: self.future(run.at),
        }
    }
}

/// Size and duration, if known, and the reason.
fn details(job: &Job) -> String {
    let mut parts = Vec::new();
    if let Some(duration_ms) = job.duration_ms {
        parts.push(ByteCount(job.total_size_bytes).to_string());
        parts.push(duration(duration_ms));
    }
    parts.push(match (&job.reason, job.trigger) {
        (Some(reason), _) => reason.clone(),
        (None, Trigger::Scheduled) => "by schedule".to_owned(),
        (None, Trigger::Manual) => "by hand".to_owned(),
    });
    parts.join(" · ")
}

/// Lists the concerns, worst first. Empty if nothing is backed up at all: the headline says so already.
fn concerns(overview: &Overview) -> Vec<ConcernView> {
    if matches!(overview.safety, Safety::Nothing { .. }) {
        return Vec::new();
    }
    let mut troubled: Vec<&DatabaseOverview> = overview
        .configured()
        .filter(|one| one.level() != AlertLevel::Info)
        .collect();
    troubled.sort_by_key(|one| std::cmp::Reverse(one.level()));
    let databases = troubled.into_iter().map(|one| ConcernView {
        place: format!("db-{}", one.name),
        name: one.name.to_string(),
        what: concern(one),
    });
    let harmed = (overview.harmed_count > 0).then(|| ConcernView {
        place: "damage".to_owned(),
        name: counted(overview.harmed_count, "stored object"),
        what: "missing or changed".to_owned(),
    });
    let run = overview.expiry.as_ref();
    let stopped = run.into_iter().flat_map(|run| &run.kept);
    let stopped = stopped.filter(|by| Kept::stops(&by.rule));
    let stopped: u64 = stopped.map(|by| by.objects).sum();
    let stopped = (stopped > 0).then(|| ConcernView {
        place: "expiry".to_owned(),
        name: counted(stopped, "old object"),
        what: "kept: expiry is stopped".to_owned(),
    });
    databases.chain(harmed).chain(stopped).collect()
}

/// Describes one database's problem: `stale, its last 5 backups failed`.
fn concern(database: &DatabaseOverview) -> String {
    let is_young = database.staleness == Staleness::Ok;
    let word = (!is_young).then(|| state_word(database).to_owned());
    let failed = match database.failures_in_a_row {
        0 => None,
        1 => Some("its last backup failed".to_owned()),
        failures => Some(format!("its last {failures} backups failed")),
    };
    let suspect = database.suspect.as_ref();
    let suspect = suspect.map(|_| "its newest copy is suspect: the source is damaged".to_owned());
    let word = word.filter(|word| suspect.is_none() || word != "damaged");
    let parts: Vec<String> = word.into_iter().chain(suspect).chain(failed).collect();
    parts.join(", ")
}

fn totals(overview: &Overview) -> String {
    let totals = &overview.totals;
    match totals.days {
        None => "Nothing is stored yet.".to_owned(),
        Some((first, _)) => format!(
            "{} and {}, {} in all, reach back to {first}.",
            counted(totals.dailies, "daily copy"),
            counted(totals.archives, "weekly archive"),
            ByteCount(totals.size_bytes)
        ),
    }
}

fn storage(storage: &StorageOverview) -> StorageView {
    let stock = &storage.stock;
    StorageView {
        name: storage.name.clone(),
        kind: storage.kind.unwrap_or("no longer configured"),
        size: ByteCount(stock.size_bytes).to_string(),
        objects: counted(stock.objects, "object"),
        unverified: match stock.unverified_bytes {
            0 => "every byte was read back".to_owned(),
            bytes => format!("{} not yet read back", ByteCount(bytes)),
        },
        harmed: stock.harmed,
        days: stock.days.map_or("–".to_owned(), |(first, last)| {
            format!("{first} to {last}")
        }),
    }
}

fn harm(harm: &Harm) -> HarmView {
    HarmView {
        key: harm.key.to_string(),
        storage: harm.storage.clone(),
        what: match harm.state {
            CopyState::Missing => "missing",
            CopyState::Corrupt | CopyState::Live => "changed",
        },
        damage: harm.damage.clone().unwrap_or_default(),
    }
}

fn note(role: &Role) -> String {
    match role {
        Role::Retired => "no longer configured".to_owned(),
        Role::Configured {
            priority,
            kind,
            description,
        } => {
            let kind = if *kind == "d1" { "D1" } else { "SQLite" };
            let mut parts = vec![kind.to_owned()];
            parts.extend((*priority != Priority::Normal).then(|| format!("{priority} priority")));
            parts.extend((!description.is_empty()).then(|| description.clone()));
            parts.join(" · ")
        }
    }
}

fn state_word(database: &DatabaseOverview) -> &'static str {
    match database.staleness {
        Staleness::Retired => "retired",
        Staleness::Critical if database.last_good.is_none() => "no backup",
        Staleness::Critical => "stale",
        Staleness::Ok | Staleness::Warning if database.suspect.is_some() => "damaged",
        Staleness::Warning => "late",
        Staleness::Ok if database.failures_in_a_row > 0 => "failing",
        Staleness::Ok => "safe",
    }
}

/// Describes the proof of a copy: its class in words, without the letter.
fn proof(good: &Good) -> String {
    let words = good.proof.split_once(": ");
    words.map_or_else(|| good.proof.clone(), |(_, words)| words.to_owned())
}

/// Reason that nothing of a database expires, on one line.
fn held(database: &DatabaseOverview) -> String {
    let why = database.held.as_deref().unwrap_or_default();
    why.lines().next().unwrap_or_default().to_owned()
}

/// Describes the form of a copy that is not SQL text, and the reason for it; empty for SQL text.
fn form(good: &Good) -> String {
    match (good.key.form(), &good.method_reason) {
        (CopyForm::Sql, _) => String::new(),
        (form, None) => form.meaning().to_owned(),
        (form, Some(why)) => format!("{}: {why}", form.meaning()),
    }
}

/// A copy of a damaged source, and the damage that SQLite found.
fn suspect(suspect: &SuspectCopy) -> SuspectView {
    SuspectView {
        key: suspect.key.to_string(),
        date: suspect.date,
        damage: suspect.damage.clone(),
    }
}

fn message(result: &JobResult) -> String {
    let silent = match result.status {
        ResultStatus::Skipped => "left out",
        ResultStatus::Interrupted => "the process ended first",
        ResultStatus::Failed | ResultStatus::Success => "failed",
    };
    result
        .error_message
        .clone()
        .unwrap_or_else(|| silent.to_owned())
}

fn level_word(level: AlertLevel) -> &'static str {
    match level {
        AlertLevel::Info => "safe",
        AlertLevel::Warning => "warning",
        AlertLevel::Critical => "critical",
    }
}
