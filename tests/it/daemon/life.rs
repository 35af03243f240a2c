//! What the daemon does, and what it leaves when it is ended in the middle.

use patina::catalog::{JobStatus, ResultStatus};
use patina::types::Trigger;
use rustix::process::Signal;

use super::{Home, entry};

/// Rows of a database whose dump takes a few seconds.
const LARGE: u32 = 80_000;

/// A schedule of its own that is due each minute.
const OWN: &str = "schedule = \"* * * * *\"";

#[test]
fn the_daemon_makes_the_missed_night_good_and_runs_own_schedules_and_ends_in_order() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    home.database("shop", 50);
    home.write_night(&format!("{blog}{}", entry("shop", OWN)));
    let daemon = home.start();
    let jobs = home.wait_for_end(2);
    assert!(jobs.iter().all(|job| job.status == JobStatus::Completed));
    assert!(jobs.iter().all(|job| job.trigger == Trigger::Scheduled));
    let reasons: Vec<_> = jobs.iter().filter_map(|job| job.reason.clone()).collect();
    assert!(
        reasons.contains(&"nightly: missed run, caught up".to_owned()),
        "{reasons:?}"
    );
    daemon.wait_for_log("task backup shop ended well");
    daemon.wait_for_log("task nightly ended well");
    let log = daemon.stop();
    let mut ends = log
        .lines()
        .filter(|line| line.contains("task nightly ended well after"));
    let end = ends.next_back().unwrap();
    for field in [
        "slot=",
        "started_at=",
        "duration_ms=",
        "result=\"well\"",
        "1 of 1 database",
    ] {
        assert!(end.contains(field), "`{field}` is not in {end}");
    }
    assert_eq!(home.copies("blog"), 1);
    // The night was taken: a start does not run it again.
    let daemon = home.start();
    daemon.wait_for_log("patina works as");
    std::thread::sleep(std::time::Duration::from_millis(500));
    daemon.stop();
    assert_eq!(home.copies("blog"), 1);
}

#[test]
fn sigterm_in_the_middle_of_an_export_interrupts_the_job_and_leaves_nothing_partial() {
    let home = Home::new();
    let large = home.database("large", LARGE);
    home.write_night(&large);
    let daemon = home.start();
    home.wait_for_export("large");
    let log = daemon.stop();
    assert!(log.contains("SIGTERM: stopping"), "{log}");
    let jobs = home.jobs();
    assert_eq!(jobs.len(), 1);
    assert_eq!(jobs[0].status, JobStatus::Interrupted);
    let results = home.catalog().unwrap().results(jobs[0].id).unwrap();
    assert_eq!(results[0].status, ResultStatus::Interrupted);
    let left = home.left();
    let is_object = |path: &std::path::PathBuf| path.to_string_lossy().contains("large");
    assert!(!left.iter().any(is_object), "{left:?}");
    let daemon = home.start();
    let jobs = home.wait_for_end(2);
    daemon.stop();
    assert_eq!(jobs[0].status, JobStatus::Completed);
    let reason = jobs[0].reason.as_deref();
    assert_eq!(reason, Some("nightly: interrupted, restarted"));
    assert_eq!(home.copies("large"), 1);
}

#[test]
fn after_kill_9_the_next_start_does_the_rest_of_the_night_and_only_that() {
    let home = Home::new();
    let small = home.database("small", 50) + "priority = \"critical\"\n";
    let large = home.database("large", LARGE);
    home.write_night(&(small + large.as_str()));
    let daemon = home.start();
    home.wait_for_export("large");
    daemon.signal(Signal::KILL);
    drop(daemon);
    assert_eq!((home.copies("small"), home.copies("large")), (1, 0));
    assert_eq!(home.jobs()[0].status, JobStatus::Running);
    let daemon = home.start();
    let jobs = home.wait_for_end(2);
    daemon.stop();
    assert_eq!(jobs[0].status, JobStatus::Completed);
    assert_eq!(jobs[1].status, JobStatus::Interrupted);
    assert_eq!((home.copies("small"), home.copies("large")), (1, 1));
    let left = home.left();
    let is_partial = |path: &std::path::PathBuf| path.starts_with(home.path("state/spool"));
    assert!(!left.iter().any(is_partial), "{left:?}");
}

#[test]
fn a_second_process_is_refused_and_told_who_holds_the_state() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    home.write_night(&blog);
    let daemon = home.start();
    home.wait_for_end(1);
    for command in [&["run"][..], &["rebuild"]] {
        let output = home.command(command).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let complaint = String::from_utf8(output.stderr).unwrap();
        let holder = format!("process {}", daemon.child.id());
        assert!(complaint.contains(&holder), "{complaint}");
        assert!(
            complaint.contains("hint: it is the daemon; stop it first"),
            "{complaint}"
        );
    }
    daemon.stop();
}

#[test]
fn sighup_takes_a_new_database_in_and_a_mistake_changes_nothing() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    home.database("shop", 50);
    home.write_night(&blog);
    let daemon = home.start();
    home.wait_for_end(1);
    std::fs::write(home.path("patina.toml"), "[schedul]\n").unwrap();
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration is not reloaded, the old one stays");
    home.write_night(&format!("{blog}{}", entry("shop", OWN)));
    daemon.signal(Signal::HUP);
    daemon.wait_for_log("the configuration is reloaded");
    daemon.wait_for_log("task backup shop ended well");
    let log = daemon.stop();
    assert!(log.contains("shop"), "{log}");
    // A minute may have ended meanwhile.
    assert!(home.copies("blog") == 1 && home.copies("shop") >= 1);
}

#[test]
fn a_damaged_catalog_does_not_keep_the_daemon_from_starting() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    std::fs::write(home.path("patina.toml"), home.calm(&blog)).unwrap();
    let backup = home.command(&["backup"]).output().unwrap();
    assert!(backup.status.success());
    let catalog = home.path("state/catalog.db");
    let mut bytes = std::fs::read(&catalog).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..].fill(0xA5);
    std::fs::write(&catalog, bytes).unwrap();
    let daemon = home.start();
    daemon.wait_for_log("patina works as");
    assert_eq!(home.copies("blog"), 1);
    let now = chrono::Utc::now();
    let care = home.catalog().unwrap().care(now).unwrap();
    let hours = (care.quiet_until.unwrap() - now).num_hours();
    assert!((22..=24).contains(&hours), "{hours}");
    let log = daemon.stop();
    assert!(log.contains("rebuilt from the storages"), "{log}");
}
