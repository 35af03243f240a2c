//! `patina next`: shows the next run of every task.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};

use super::args::NextArgs;
use super::context::Context;
use super::exit::Exit;
use super::table::{Side, Table};
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::daemon::{self, Job};
use crate::schedule::Oddity;

/// Runs `patina next`.
pub(super) fn run(context: &Context, args: &NextArgs) -> anyhow::Result<Exit> {
    let config = context.load()?.config;
    let now = SystemClock::new().now();
    let runs = coming(&config, now, args.count);
    if context.json {
        let runs: Vec<Value> = runs.iter().map(|run| document(run, &config, now)).collect();
        context.print_json(&json!({ "now": now, "next_runs": runs }))?;
        return Ok(Exit::Ok);
    }
    context.print(table(&runs, &config, now))?;
    for run in &runs {
        if let Some(oddity) = run.oddity {
            let (name, local) = (&run.job.name, local(run.at, &config));
            context.print(format_args!("note: {name} at {local}: {oddity}"))?;
        }
    }
    Ok(Exit::Ok)
}

/// One future run of one job.
struct Coming {
    job: Job,
    at: DateTime<Utc>,
    oddity: Option<Oddity>,
}

/// Returns the next `count` runs of each job after `now`, the soonest first.
fn coming(config: &Config, now: DateTime<Utc>, count: u16) -> Vec<Coming> {
    let tz = config.agent().timezone;
    let mut runs = Vec::new();
    for job in daemon::table(config) {
        let mut after = now;
        for _ in 0..count {
            let Some(at) = job.schedule.next_after(tz, after) else {
                break;
            };
            let oddity = job.schedule.oddity(tz, at);
            let job = job.clone();
            runs.push(Coming { job, at, oddity });
            after = at;
        }
    }
    runs.sort_by_key(|run| run.at);
    runs
}

fn table(runs: &[Coming], config: &Config, now: DateTime<Utc>) -> Table<5> {
    let mut table = Table::new([
        ("TASK", Side::Left),
        ("SCHEDULE", Side::Left),
        ("LOCAL TIME", Side::Left),
        ("UTC", Side::Left),
        ("", Side::Left),
    ]);
    for run in runs {
        table.row([
            run.job.name.clone(),
            run.job.schedule.to_string(),
            local(run.at, config),
            run.at.format("%Y-%m-%d %H:%M").to_string(),
            wait_text(run.at - now),
        ]);
    }
    table
}

fn document(run: &Coming, config: &Config, now: DateTime<Utc>) -> Value {
    let tz = config.agent().timezone;
    let text = SecondsFormat::Secs;
    json!({
        "task": run.job.name,
        "database": run.job.database(),
        "schedule": run.job.schedule.to_string(),
        "at": run.at.to_rfc3339_opts(text, true),
        "local": run.at.with_timezone(&tz).to_rfc3339_opts(text, false),
        "timezone": tz.name(),
        "in_seconds": (run.at - now).num_seconds(),
        "note": run.oddity.map(|oddity| oddity.to_string()),
    })
}

fn local(at: DateTime<Utc>, config: &Config) -> String {
    let local = at.with_timezone(&config.agent().timezone);
    local.format("%a %Y-%m-%d %H:%M %Z").to_string()
}

/// Formats the time until then, in its two largest units.
fn wait_text(wait: TimeDelta) -> String {
    let (days, hours, minutes) = (
        wait.num_days(),
        wait.num_hours() % 24,
        wait.num_minutes() % 60,
    );
    match (days, hours, minutes) {
        (0, 0, 0) => "in less than a minute".to_owned(),
        (0, 0, minutes) => format!("in {minutes} min"),
        (0, hours, minutes) => format!("in {hours} h {minutes} min"),
        (days, hours, _) => format!("in {days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_told_in_its_two_largest_units() {
        for (seconds, text) in [
            (59, "in less than a minute"),
            (60, "in 1 min"),
            (11_559, "in 3 h 12 min"),
            (3_600, "in 1 h 0 min"),
            (187_200, "in 2 d 4 h"),
        ] {
            assert_eq!(wait_text(TimeDelta::seconds(seconds)), text);
        }
    }
}
