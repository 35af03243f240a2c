//! Drives a nightly job through a year and through clock errors, over a real catalog.

use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::clock::ManualClock;
use crate::task::{Activator, Driver};

const BERLIN: Tz = chrono_tz::Europe::Berlin;

/// Long pauses shorten the simulated year; the driver's own tests use the real one.
const PAUSE: Duration = Duration::from_secs(600);

type Log = Arc<Mutex<Vec<(DateTime<Utc>, Because)>>>;

/// One installation with one nightly job that records its slots.
struct Bench {
    _folder: TempDir,
    catalog: Catalog,
    clock: Arc<ManualClock>,
    log: Log,
}

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn local(moment: DateTime<Utc>) -> String {
    let local = moment.with_timezone(&BERLIN);
    local.format("%m-%d %H:%M").to_string()
}

impl Bench {
    fn new(now: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let catalog = Catalog::open(&folder.path().join("catalog.db")).unwrap();
        Self {
            _folder: folder,
            catalog,
            clock: Arc::new(ManualClock::at(at(now))),
            log: Arc::default(),
        }
    }

    /// Returns the task as in a process that just started; `ends` is the result of each of its runs.
    fn task(&self, schedule: &str, ends: fn() -> Result<Ended, JobError>) -> Arc<dyn Task> {
        let log = Arc::clone(&self.log);
        Arc::new(Scheduled {
            slots: Slots {
                name: "nightly".to_owned(),
                schedule: schedule.parse().unwrap(),
                zone: BERLIN,
                catch_up: Duration::from_secs(12 * 3600),
                catalog: self.catalog.clone(),
                begun: Begun::default(),
            },
            clock: Arc::clone(&self.clock) as _,
            told: Arc::default(),
            job: Arc::new(move |slot, because| {
                log.lock().unwrap().push((slot, because));
                Box::pin(async move { ends() })
            }),
        })
    }

    /// Drives the task as one process until `each`, which is called in each round, returns false.
    async fn drive(&self, task: Arc<dyn Task>, mut each: impl FnMut(&ManualClock) -> bool) {
        let (_replace, replacements) = mpsc::channel(1);
        let stop = CancellationToken::new();
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        let mut driver = Driver::new(vec![task], clock, Activator::default(), PAUSE);
        let beat = |_: &_| {
            if !each(&self.clock) {
                stop.cancel();
            }
        };
        driver.run(&stop, replacements, beat).await;
    }

    async fn drive_until(&self, task: Arc<dyn Task>, end: &str) {
        let end = at(end);
        self.drive(task, |clock| clock.now() < end).await;
    }

    fn slots(&self) -> Vec<String> {
        let log = self.log.lock().unwrap();
        log.iter().map(|(slot, _)| local(*slot)).collect()
    }
}

fn well() -> Result<Ended, JobError> {
    Ok(Ended::Well("done".to_owned()))
}

#[tokio::test]
async fn a_year_of_nights_in_berlin_has_each_day_once() {
    let bench = Bench::new("2026-01-01T12:00:00Z");
    let task = bench.task("30 2 * * *", well);
    bench.drive_until(task, "2027-01-01T12:00:00Z").await;
    let log = bench.log.lock().unwrap().clone();
    let mut days: Vec<_> = log
        .iter()
        .map(|(slot, _)| slot.with_timezone(&BERLIN).date_naive())
        .collect();
    // The first is of the day it started on: it was missed by ten hours.
    assert_eq!(days.len(), 366);
    days.dedup();
    assert_eq!(days.len(), 366);
    assert!(
        log[1..]
            .iter()
            .all(|(_, because)| *because == Because::OnTime)
    );
    let odd = log.iter().map(|(slot, _)| local(*slot));
    let odd: Vec<String> = odd.filter(|slot| !slot.ends_with("02:30")).collect();
    assert_eq!(odd, ["03-29 03:00"]);
    assert!(
        log.iter()
            .any(|(slot, _)| *slot == at("2026-10-25T00:30:00Z"))
    );
}

#[tokio::test]
async fn after_three_days_of_sleep_one_night_is_made_good() {
    let bench = Bench::new("2026-11-20T11:00:00Z");
    let task = bench.task("0 3 * * *", well);
    let mut rounds = 0;
    bench
        .drive(task, |clock| {
            rounds += 1;
            if rounds == 10 {
                clock.set(clock.now() + TimeDelta::days(3));
            }
            rounds < 20
        })
        .await;
    assert_eq!(bench.slots(), ["11-20 03:00", "11-23 03:00"]);
    assert_eq!(bench.log.lock().unwrap()[1].1, Because::Missed);
}

#[tokio::test]
async fn a_clock_that_goes_back_over_a_slot_does_not_run_it_again() {
    let bench = Bench::new("2026-11-20T20:00:00Z");
    let task = bench.task("0 3 * * *", well);
    let mut is_set_back = false;
    let end = at("2026-11-22T12:00:00Z");
    bench
        .drive(task, |clock| {
            if !is_set_back && clock.now() >= at("2026-11-21T03:00:00Z") {
                is_set_back = true;
                clock.set(clock.now() - TimeDelta::hours(2));
            }
            clock.now() < end
        })
        .await;
    assert!(is_set_back);
    assert_eq!(bench.slots(), ["11-21 03:00", "11-22 03:00"]);
}

#[tokio::test]
async fn a_clock_that_ran_ahead_and_is_set_right_stops_none_of_the_nights_between() {
    let bench = Bench::new("2026-11-20T20:00:00Z");
    let task = bench.task("0 3 * * *", well);
    let mut rounds = 0;
    bench
        .drive(task, |clock| {
            rounds += 1;
            match rounds {
                10 => clock.set(at("2026-11-23T08:00:00Z")),
                20 => clock.set(at("2026-11-20T22:00:00Z")),
                _ => {}
            }
            rounds < 20 || clock.now() < at("2026-11-24T12:00:00Z")
        })
        .await;
    // The run under the wrong clock was not the night of the 23rd: that runs when the night comes.
    let expected = [
        "11-23 03:00",
        "11-21 03:00",
        "11-22 03:00",
        "11-23 03:00",
        "11-24 03:00",
    ];
    assert_eq!(bench.slots(), expected);
    let log = bench.log.lock().unwrap();
    assert_eq!(log[3].1, Because::BeforeItsTime);
}

#[tokio::test]
async fn a_clock_that_began_years_behind_runs_no_night_again_once_it_is_right() {
    let bench = Bench::new("2026-11-20T20:00:00Z");
    let task = bench.task("0 3 * * *", well);
    bench.drive_until(task, "2026-11-21T04:00:00Z").await;
    // A machine without a clock battery starts in the past, and NTP corrects it.
    bench.clock.set(at("2020-01-01T00:00:00Z"));
    let task = bench.task("0 3 * * *", well);
    let mut rounds = 0;
    bench
        .drive(task, |clock| {
            rounds += 1;
            if rounds == 10 {
                clock.set(at("2026-11-21T05:00:00Z"));
            }
            rounds < 20 || clock.now() < at("2026-11-22T04:00:00Z")
        })
        .await;
    let slots = bench.slots();
    let nights = slots.iter().filter(|slot| *slot == "11-21 03:00").count();
    assert_eq!((nights, slots.last().unwrap().as_str()), (1, "11-22 03:00"));
}

#[tokio::test]
async fn a_run_that_fails_is_not_repeated_before_its_next_slot_not_even_by_a_restart() {
    fn badly() -> Result<Ended, JobError> {
        Ok(Ended::Badly("nothing worked".to_owned()))
    }
    let bench = Bench::new("2026-11-20T08:00:00Z");
    for _ in 0..3 {
        let task = bench.task("0 3 * * *", badly);
        let mut rounds = 0;
        bench
            .drive(task, |_| {
                rounds += 1;
                rounds < 5
            })
            .await;
    }
    assert_eq!(bench.slots(), ["11-20 03:00"]);
}

#[tokio::test]
async fn a_run_that_was_told_to_end_is_begun_again_by_each_start_and_only_by_a_start() {
    fn early() -> Result<Ended, JobError> {
        Ok(Ended::Early)
    }
    let bench = Bench::new("2026-11-20T08:00:00Z");
    for _ in 0..6 {
        let task = bench.task("0 3 * * *", early);
        let mut rounds = 0;
        bench
            .drive(task, |_| {
                rounds += 1;
                rounds < 5
            })
            .await;
    }
    assert_eq!(bench.slots(), ["11-20 03:00"; 6]);
    let log = bench.log.lock().unwrap();
    assert!(
        log[1..]
            .iter()
            .all(|(_, because)| *because == Because::Interrupted)
    );
}

#[tokio::test]
async fn a_run_that_kills_its_process_is_begun_three_times_at_most() {
    let bench = Bench::new("2026-11-20T08:00:00Z");
    for _ in 0..6 {
        // A process that dies records no end: the work is created, and dropped unfinished.
        let task = bench.task("0 3 * * *", well);
        drop(task.activate(bench.clock.now()));
    }
    let last = bench.catalog.last_slot("nightly", bench.clock.now());
    assert_eq!(
        last.unwrap().unwrap().attempts,
        crate::schedule::MOST_ATTEMPTS
    );
}
