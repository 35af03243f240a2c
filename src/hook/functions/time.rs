//! Provides `now`, `format_time`, and a `sleep` that ends with the call.

use std::time::{Duration, Instant};

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rhai::{Engine, EvalAltResult};

use super::raised;
use crate::clock::{Clock, SystemClock};

pub(super) fn register(engine: &mut Engine, deadline: Instant) {
    let clock = SystemClock::new();
    engine.register_fn("now", move || clock.now().timestamp());
    engine.register_fn("format_time", |seconds: i64, format: &str| {
        shown(seconds, format, "UTC")
    });
    engine.register_fn("format_time", shown);
    engine.register_fn("sleep", move |seconds: i64| {
        let asked = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
        std::thread::sleep(asked.min(deadline.saturating_duration_since(Instant::now())));
    });
    engine.register_fn("sleep", move |seconds: f64| {
        let asked = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        std::thread::sleep(asked.min(deadline.saturating_duration_since(Instant::now())));
    });
}

fn shown(seconds: i64, format: &str, zone: &str) -> Result<String, Box<EvalAltResult>> {
    let zone: Tz = zone.parse().map_err(|_| {
        raised(format!(
            "no time zone is called `{zone}`\nhint: write `Europe/Berlin` or `UTC`"
        ))
    })?;
    let time: DateTime<Utc> = DateTime::from_timestamp(seconds, 0)
        .ok_or_else(|| raised(format!("{seconds} is no time in seconds since 1970")))?;
    let items: Vec<Item<'_>> = StrftimeItems::new(format).collect();
    if items.contains(&Item::Error) {
        let message = format!("`{format}` is no time format\nhint: write `%Y-%m-%d %H:%M`");
        return Err(raised(message));
    }
    Ok(time
        .with_timezone(&zone)
        .format_with_items(items.iter())
        .to_string())
}
