//! What is late, and what must not wait for it.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use patina::catalog::{EventKind, JobStatus, ResultStatus};
use patina::clock::Clock;
use patina::engine::backup::Outcome;
use patina::store::{Fault, FaultStore, MemoryStore, Prune, Store};

use super::home::Home;
use super::time::{SimTime, run};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn home(time: &Arc<SimTime>, databases: &[&str]) -> Home {
    let bucket = Arc::new(MemoryStore::new("bucket", time.clone()));
    Home::new(time, databases, bucket)
}

/// A storage of this name that accepts every call and never answers.
fn hung(time: &Arc<SimTime>, name: &str) -> Arc<dyn Prune> {
    let store = FaultStore::new(Arc::new(MemoryStore::new(name, time.clone())), []);
    store.set_always(Some(Fault::Hang));
    Arc::new(store)
}

/// How long after the job's begin each database had its copy.
fn waits(home: &Home) -> Vec<(String, i64)> {
    let catalog = home.catalog();
    let job = catalog.jobs(1).unwrap().remove(0);
    let mut waits: Vec<(String, i64)> = catalog
        .results(job.id)
        .unwrap()
        .into_iter()
        .map(|result| {
            assert_eq!(result.status, ResultStatus::Success, "{result:?}");
            let ended = result.completed_at.unwrap();
            (
                result.database.to_string(),
                (ended - job.started_at).num_seconds(),
            )
        })
        .collect();
    waits.sort();
    waits
}

#[test]
fn one_database_that_is_late_holds_up_none_of_those_that_come_after_it() {
    run("2026-03-02T02:00:00Z", async |time| {
        let home = home(&time, &["a", "b", "c", "d", "e", "f"]);
        // It is tried again after 1, 2, 4, 8 and 16 seconds.
        home.fail_next("a", 5);
        let report = home.back_up().await;
        assert_eq!(report.job.status, JobStatus::Completed);
        let waits = waits(&home);
        assert_eq!(waits[0], ("a".to_owned(), 31));
        assert!(
            waits[1..].iter().all(|(_, seconds)| *seconds == 0),
            "{waits:?}"
        );
        // What is told of has the order in which they were to begin.
        let names = report.databases.iter().map(|one| one.database.as_str());
        assert_eq!(Vec::from_iter(names), ["a", "b", "c", "d", "e", "f"]);
    });
}

#[test]
fn a_storage_that_never_answers_keeps_no_copy_from_the_one_that_works_first_or_last() {
    for is_first in [true, false] {
        run("2026-03-02T02:00:00Z", async |time| {
            let mut home = home(&time, &["a", "b", "c", "d", "e", "f"]);
            let place = if is_first { 0 } else { 1 };
            home.stores.insert(place, hung(&time, "offsite"));
            let began = time.elapsed();
            let report = home.back_up().await;
            let took = time.elapsed() - began;
            let waits = waits(&home);
            assert!(waits.iter().all(|(_, seconds)| *seconds <= 5), "{waits:?}");
            // The other has its deadline, once for all databases.
            assert!(took < Duration::from_secs(5 * 60), "{took:?}");
            assert_eq!(report.job.degraded.len(), 6, "{:?}", report.job.degraded);
            for one in &report.databases {
                let Outcome::Stored {
                    degraded, manifest, ..
                } = &one.outcome
                else {
                    panic!("{one:?}");
                };
                assert!(degraded[0].contains("offsite"), "{degraded:?}");
                assert!(
                    home.bucket
                        .stat(&manifest.key.manifest())
                        .await
                        .unwrap()
                        .is_some()
                );
            }
            assert!(home.catalog().spooled().unwrap().is_empty());
        });
    }
}

#[test]
fn a_storage_that_never_answers_delays_the_week_by_minutes_and_not_by_its_number_of_copies() {
    run("2026-03-02T10:00:00Z", async |time| {
        let mut home = home(&time, &["a", "b", "c"]);
        home.run_until(at("2026-03-07T10:00:00Z")).await;
        home.stores.insert(0, hung(&time, "offsite"));
        home.run_until(at("2026-03-08T12:00:00Z")).await;
        let catalog = home.catalog();
        let archive = catalog.archives().unwrap().remove(0);
        assert_eq!(archive.manifest.week.to_string(), "2026-W10");
        let late = archive.created_at - at("2026-03-08T03:00:00Z");
        assert!(late < TimeDelta::minutes(15), "{late}");
        // What is read again does not wait either, and neither does the comparison of the storage that works.
        let verify = catalog.last_slot("verify", time.now()).unwrap().unwrap();
        assert!(
            verify.ended_at.unwrap() - verify.at < TimeDelta::minutes(15),
            "{verify:?}"
        );
    });
}

#[test]
fn after_a_downtime_over_sunday_the_week_waits_for_the_night_and_is_packed() {
    run("2026-03-02T10:00:00Z", async |time| {
        let home = home(&time, &["a", "b"]);
        home.run_until(at("2026-03-07T22:00:00Z")).await;
        time.sleep_until(at("2026-03-08T08:00:00Z")).await;
        home.fail_next("a", 8);
        home.run_until(at("2026-03-08T12:00:00Z")).await;
        let catalog = home.catalog();
        let archive = catalog.archives().unwrap().remove(0);
        let sunday = archive.manifest.members.iter();
        let sunday = sunday.filter(|member| member.manifest.date.to_string() == "2026-03-08");
        assert_eq!(sunday.count(), 2, "the night that was made good is in it");
        let skipped = catalog.events(1_000).unwrap();
        assert!(
            !skipped
                .iter()
                .any(|event| event.kind == EventKind::WeeklySkipped)
        );
        // So did whatever else was due in the same second.
        let night = catalog.jobs(1).unwrap().remove(0).completed_at.unwrap();
        for task in ["weekly", "reconcile", "verify"] {
            let slot = catalog.last_slot(task, time.now()).unwrap().unwrap();
            assert!(slot.ended_at.unwrap() >= night, "{task}");
        }
    });
}

#[test]
fn only_a_night_of_more_than_two_hours_leaves_the_week_out_and_the_next_one_takes_both() {
    run("2026-03-02T10:00:00Z", async |time| {
        let home = home(&time, &["a", "b"]);
        home.run_until(at("2026-03-08T01:00:00Z")).await;
        // 2^13 - 1 seconds: two hours and a quarter.
        home.fail_next("a", 13);
        home.run_until(at("2026-03-08T12:00:00Z")).await;
        let catalog = home.catalog();
        assert!(catalog.archives().unwrap().is_empty());
        let events = catalog.events(1_000).unwrap();
        let skipped: Vec<_> = events
            .iter()
            .filter(|one| one.kind == EventKind::WeeklySkipped)
            .collect();
        assert_eq!(skipped.len(), 1, "{skipped:?}");
        // It began at three o'clock in Berlin, and was waited for until five.
        assert_eq!(skipped[0].at, at("2026-03-08T04:00:00Z"));
        home.run_until(at("2026-03-15T12:00:00Z")).await;
        let archive = catalog.archives().unwrap().remove(0);
        assert_eq!(archive.manifest.week.to_string(), "2026-W11");
        assert_eq!(archive.manifest.members.len(), 2 * 14);
    });
}
