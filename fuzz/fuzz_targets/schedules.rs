//! Reads any text as a schedule: an error lies inside the text, and what is read runs forward.

#![no_main]

use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use patina::schedule::Schedule;

fuzz_target!(|data: (&str, u32, u8)| {
    let (text, seconds, zone) = data;
    match text.parse::<Schedule>() {
        Ok(schedule) => {
            let zones = chrono_tz::TZ_VARIANTS;
            let zone = zones[usize::from(zone) * zones.len() / 256];
            let after: DateTime<Utc> =
                DateTime::from_timestamp(i64::from(seconds), 0).expect("a moment before 2107");
            if let Some(next) = schedule.next_after(zone, after) {
                assert!(next > after, "{text}: {next} is not after {after}");
                assert_eq!(schedule.last_between(zone, after, next), Some(next), "{text}");
            }
            assert_eq!(schedule.to_string().parse(), Ok(schedule.clone()), "{text}");
        }
        Err(error) => {
            assert!(error.offset + error.length <= text.len(), "{text:?}: {error:?}");
            assert!(text.is_char_boundary(error.offset), "{text:?}: {error:?}");
        }
    }
});
