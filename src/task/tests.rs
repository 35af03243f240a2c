//! Drives small tasks on a manual clock.

use std::sync::Mutex;

use tokio::sync::mpsc;

use super::*;
use crate::clock::ManualClock;

fn noon() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Task that records its checks and runs; it wants a check each hour and runs the work it is given.
#[derive(Default)]
struct Hourly {
    looks: Mutex<Vec<DateTime<Utc>>>,
    work: Mutex<Option<Work>>,
}

impl Task for Hourly {
    fn name(&self) -> &str {
        "hourly"
    }

    fn activate(&self, now: DateTime<Utc>) -> Next {
        self.looks.lock().unwrap().push(now);
        match self.work.lock().unwrap().take() {
            Some(work) => Next::Work(work),
            None => Next::Rest(Some(now + chrono::TimeDelta::hours(1))),
        }
    }
}

struct Bench {
    task: Arc<Hourly>,
    clock: Arc<ManualClock>,
    activator: Activator,
    stop: CancellationToken,
}

impl Bench {
    fn new() -> Self {
        Self {
            task: Arc::default(),
            clock: Arc::new(ManualClock::at(noon())),
            activator: Activator::default(),
            stop: CancellationToken::new(),
        }
    }

    fn driver(&self) -> Driver {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        let tasks: Vec<Arc<dyn Task>> = vec![Arc::clone(&self.task) as _];
        Driver::new(tasks, clock, self.activator.clone(), LONGEST_PAUSE)
    }

    /// Drives, calling `each` in each round with its number, until it returns false.
    async fn drive(&self, mut each: impl FnMut(usize) -> bool) {
        let (_replace, replacements) = mpsc::channel(1);
        let mut round = 0;
        let mut driver = self.driver();
        let beat = |_: &Standing| {
            round += 1;
            if !each(round) {
                self.stop.cancel();
            }
        };
        driver.run(&self.stop, replacements, beat).await;
    }

    fn looks(&self) -> usize {
        self.task.looks.lock().unwrap().len()
    }
}

#[tokio::test]
async fn a_resting_task_is_looked_at_when_it_wants_and_the_clock_is_read_each_half_minute() {
    let bench = Bench::new();
    let end = noon() + chrono::TimeDelta::hours(10);
    let mut rounds = 0;
    bench
        .drive(|round| {
            rounds = round;
            bench.clock.now() < end
        })
        .await;
    assert_eq!(bench.looks(), 11);
    assert!(rounds >= 10 * 120, "{rounds}");
}

#[tokio::test]
async fn a_clock_that_is_set_either_way_makes_the_task_look_again() {
    let bench = Bench::new();
    bench
        .drive(|round| {
            match round {
                3 => bench.clock.set(noon() + chrono::TimeDelta::days(2)),
                6 => bench.clock.set(noon()),
                _ => {}
            }
            round < 9
        })
        .await;
    let looks = bench.task.looks.lock().unwrap();
    let days: Vec<i64> = looks.iter().map(|at| (*at - noon()).num_days()).collect();
    assert_eq!(days, [0, 2, 0]);
}

#[tokio::test]
async fn activating_says_look_again_and_many_calls_are_one() {
    let bench = Bench::new();
    bench
        .drive(|round| {
            if round == 2 {
                bench.activator.activate();
                bench.activator.activate();
            }
            round < 6
        })
        .await;
    assert_eq!(bench.looks(), 2);
}

#[tokio::test]
async fn a_task_at_work_is_not_looked_at_and_stop_waits_for_it() {
    let bench = Bench::new();
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let mut end = Some(end);
    *bench.task.work.lock().unwrap() = Some(Box::pin(async move { ended.await.unwrap() }));
    let mut last = 0;
    bench
        .drive(|round| {
            last = round;
            if round == 300 {
                assert_eq!(bench.looks(), 1);
                end.take().unwrap().send(()).unwrap();
            }
            round < 200
        })
        .await;
    assert!(last >= 300, "it was not waited for");
    assert_eq!(bench.looks(), 1);
}

#[tokio::test]
async fn work_that_panics_takes_no_other_work_down_and_the_task_is_looked_at_again() {
    let bench = Bench::new();
    *bench.task.work.lock().unwrap() = Some(Box::pin(async { panic!("on purpose") }));
    bench.drive(|round| round < 20).await;
    assert_eq!(bench.looks(), 2);
}

#[tokio::test]
async fn replaced_tasks_look_at_once_but_never_beside_their_own_work() {
    let bench = Bench::new();
    *bench.task.work.lock().unwrap() = Some(Box::pin(std::future::pending()));
    let mut driver = bench.driver();
    driver.look(noon());
    driver.replace(vec![Arc::clone(&bench.task) as _]);
    driver.look(noon());
    assert_eq!(bench.looks(), 1);
    assert_eq!(driver.standing().at_work, ["hourly"]);
    let other = Bench::new();
    driver.replace(vec![Arc::clone(&other.task) as _]);
    assert!(matches!(driver.entries[0].state, State::AtWork));
}
