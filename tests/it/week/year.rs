//! A year of nights and Sundays, and what is kept at every midnight of it.

use std::collections::BTreeSet;
use std::time::Instant;

use chrono::{Datelike, Days, NaiveDate, Weekday};
use patina::engine::verify::Scope;

use super::world::World;

const DATABASES: [&str; 6] = [
    "groveauth",
    "scout-db",
    "grove-engine-db",
    "autumnsgrove-posts",
    "autumnsgrove-git-stats",
    "grove-domain-jobs",
];

/// The bucket is printed at the midnight after these days: the first Sunday, a day within a week, a Sunday in full
/// swing, the last day of the year, and the Sunday of week 53.
const SHOWN: [&str; 5] = [
    "2026-01-11",
    "2026-04-15",
    "2026-08-30",
    "2026-12-31",
    "2027-01-03",
];

/// What is kept after the run of `today`, by the specification: "Delete daily backups older than 7 days", "Delete
/// weekly archives older than 12 weeks", both on Sunday.
fn kept(first: NaiveDate, today: NaiveDate) -> BTreeSet<String> {
    let back = today.weekday().num_days_from_sunday();
    let sunday = today - Days::new(u64::from(back));
    let mut keys = BTreeSet::new();
    for day in first.iter_days().take_while(|day| *day <= today) {
        if day >= sunday - Days::new(7) || sunday < first {
            keys.extend(DATABASES.map(|name| format!("daily/{day}/{name}.sql")));
        }
        let is_archived = day.weekday() == Weekday::Sun && day >= sunday - Days::new(12 * 7);
        if is_archived {
            keys.insert(format!("weekly/{}.tar.gz", day.format("%G-W%V")));
        }
    }
    keys
}

#[tokio::test]
async fn at_every_midnight_of_a_year_exactly_what_the_specification_says_is_kept() {
    let started = Instant::now();
    let first: NaiveDate = "2026-01-05".parse().unwrap();
    let world = World::new("2026-01-05T00:00:00Z", &DATABASES, "");
    let (mut nights, mut sundays) = (0, 0);
    for today in first.iter_days().take(365) {
        // Each day has a process of its own, as after an update or a reboot.
        let process = world.healthy().await;
        world
            .clock
            .go_to(today.and_hms_opt(3, 0, 0).unwrap().and_utc());
        world.live_on(DATABASES[nights % 6]);
        let is_sunday = today.weekday() == Weekday::Sun;
        process.day(is_sunday).await;
        nights += 1;
        sundays += usize::from(is_sunday);
        world.clock.go_to(
            (today + Days::new(1))
                .and_hms_opt(0, 0, 0)
                .unwrap()
                .and_utc(),
        );
        let objects = world.objects().await;
        assert_eq!(objects, kept(first, today), "at the end of {today}");
        if SHOWN.contains(&today.to_string().as_str()) {
            let lines: Vec<String> = objects.iter().map(|key| format!("  {key}")).collect();
            println!("the bucket at the end of {today}:\n{}", lines.join("\n"));
        }
    }
    assert_eq!((nights, sundays), (365, 52));
    assert!(world.objects().await.contains("weekly/2026-W53.tar.gz"));
    let process = world.healthy().await;
    let findings = process.verify(Scope::All).await;
    assert!(findings.len() >= 13 + 6 * 8, "{}", findings.len());
    for finding in findings {
        assert!(finding.found.is_ok(), "{finding:?}");
    }
    println!("365 nights took {:.1?}", started.elapsed());
}
