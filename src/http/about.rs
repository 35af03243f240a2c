//! Serves `GET /` as JSON: a description of the server and its endpoints.

use axum::extract::Extension;
use chrono_tz::Tz;
use serde_json::{Map, Value, json};

use super::answer::Json;
use super::call::Call;
use super::router::endpoints;
use crate::schedule::Schedule;
use crate::types::counted;

/// Returns the description, computed from the configuration in force.
pub(super) async fn about(Extension(call): Extension<Call>) -> Json<Value> {
    let config = &call.wiring.config;
    let weeks = config.retention().weekly_weeks;
    let name = &config.agent().name;
    let endpoints = endpoints().into_iter();
    let endpoints: Map<String, Value> = endpoints
        .map(|endpoint| {
            let path = endpoint.path.replace('{', ":").replace('}', "");
            let route = format!("{} {path}", endpoint.method);
            (route, endpoint.summary.into())
        })
        .collect();
    Json(json!({
        "name": "Patina",
        "version": env!("CARGO_PKG_VERSION"),
        "description": format!("Automated D1 and SQLite database backup system for {name}"),
        "schedule": in_words(&config.schedule().nightly, config.agent().timezone),
        "retention": counted(weeks, "week"),
        "databases": config.databases().len(),
        "endpoints": endpoints,
    }))
}

/// Describes a simple daily or weekly schedule in words, such as `Every Sunday at 3:00 AM UTC`; any other schedule is
/// given as its cron text.
fn in_words(schedule: &Schedule, zone: Tz) -> String {
    let text = schedule.as_str();
    plain(text, zone).unwrap_or_else(|| format!("`{text}` {zone}"))
}

fn plain(text: &str, zone: Tz) -> Option<String> {
    const DAYS: [&str; 8] = [
        "Sunday",
        "Monday",
        "Tuesday",
        "Wednesday",
        "Thursday",
        "Friday",
        "Saturday",
        "Sunday",
    ];
    let text = match text.trim().to_ascii_lowercase().as_str() {
        "@daily" | "@midnight" => "0 0 * * *".to_owned(),
        "@weekly" => "0 0 * * 0".to_owned(),
        other => other.to_owned(),
    };
    let fields: Vec<&str> = text.split_whitespace().collect();
    let [minute, hour, "*", "*", weekday] = fields[..] else {
        return None;
    };
    let (minute, hour): (u32, u32) = (minute.parse().ok()?, hour.parse().ok()?);
    let day = match weekday {
        "*" => "day",
        day => DAYS.get(day.parse::<usize>().ok()?)?,
    };
    let half = if hour < 12 { "AM" } else { "PM" };
    let hour = match hour % 12 {
        0 => 12,
        hour => hour,
    };
    Some(format!("Every {day} at {hour}:{minute:02} {half} {zone}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_schedule_is_told_in_words_and_any_other_as_it_is_written() {
        for (text, words) in [
            ("0 3 * * 0", "Every Sunday at 3:00 AM UTC"),
            ("0 3 * * *", "Every day at 3:00 AM UTC"),
            ("5 0 * * 7", "Every Sunday at 12:05 AM UTC"),
            ("30 12 * * 1", "Every Monday at 12:30 PM UTC"),
            ("@daily", "Every day at 12:00 AM UTC"),
            ("0 */6 * * *", "`0 */6 * * *` UTC"),
            ("0 3 1 * *", "`0 3 1 * *` UTC"),
            ("0 3 * * mon-fri", "`0 3 * * mon-fri` UTC"),
        ] {
            let schedule: Schedule = text.parse().unwrap();
            assert_eq!(in_words(&schedule, Tz::UTC), words);
        }
    }
}
