//! Time that passes only when nothing works. Invariant: it goes on to the next moment that somebody sleeps until, once every
//! task waits and no blocking work is left; so it never depends on how busy the machine is.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use patina::clock::Clock;
use patina::task::{Next, Task};
use tokio::sync::{Notify, oneshot};

/// A clock, and what makes it go.
pub(super) struct SimTime {
    hands: Mutex<Hands>,
    /// How often anything was polled: whether something worked.
    polls: AtomicU64,
    is_waiting: AtomicBool,
    idle: Notify,
}

struct Hands {
    wall: DateTime<Utc>,
    elapsed: Duration,
    number: u64,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
}

impl SimTime {
    fn at(wall: DateTime<Utc>) -> Self {
        Self {
            hands: Mutex::new(Hands {
                wall,
                elapsed: Duration::ZERO,
                number: 0,
                sleepers: BTreeMap::new(),
            }),
            polls: AtomicU64::new(0),
            is_waiting: AtomicBool::new(false),
            idle: Notify::new(),
        }
    }

    /// Sets the wall time alone, as NTP or a person would.
    pub(super) fn set(&self, wall: DateTime<Utc>) {
        self.hands.lock().unwrap().wall = wall;
    }

    /// Sleeps until the wall shows `moment`, however it is set meanwhile.
    pub(super) async fn sleep_until(&self, moment: DateTime<Utc>) {
        while let Ok(left) = (moment - self.now()).to_std()
            && !left.is_zero()
        {
            self.sleep(left.min(Duration::from_secs(3600))).await;
        }
    }

    /// A task whose work makes time stand still.
    pub(super) fn counting(self: &Arc<Self>, task: Arc<dyn Task>) -> Arc<dyn Task> {
        Arc::new(Counting {
            task,
            time: Arc::clone(self),
        })
    }

    /// The runtime has nothing to run just now.
    fn parked(&self) {
        if self.is_waiting.swap(false, Ordering::SeqCst) {
            self.idle.notify_one();
        }
    }

    async fn idle(&self) {
        self.is_waiting.store(true, Ordering::SeqCst);
        self.idle.notified().await;
    }

    /// Lets time pass, for ever.
    async fn turn(self: Arc<Self>) {
        loop {
            self.idle().await;
            let polls = self.polls.load(Ordering::SeqCst);
            // There is one thread for blocking work: when this comes back, what was begun before it is done.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            self.idle().await;
            if polls == self.polls.load(Ordering::SeqCst) {
                self.wake_next();
            }
        }
    }

    fn wake_next(&self) {
        let mut hands = self.hands.lock().unwrap();
        let ((at, _), sleeper) = hands
            .sleepers
            .pop_first()
            .expect("nothing works and nothing sleeps");
        let passed = at.saturating_sub(hands.elapsed);
        hands.elapsed += passed;
        hands.wall += TimeDelta::from_std(passed).unwrap();
        // Whoever does not sleep any more took its entry out.
        let _ = sleeper.send(());
    }
}

#[async_trait]
impl Clock for SimTime {
    fn now(&self) -> DateTime<Utc> {
        self.hands.lock().unwrap().wall
    }

    fn elapsed(&self) -> Duration {
        self.hands.lock().unwrap().elapsed
    }

    async fn sleep(&self, duration: Duration) {
        let (send, wake) = oneshot::channel();
        let place = {
            let mut hands = self.hands.lock().unwrap();
            hands.number += 1;
            let place = (hands.elapsed + duration, hands.number);
            hands.sleepers.insert(place, send);
            place
        };
        let _asleep = Asleep { time: self, place };
        let _ = wake.await;
    }
}

/// Takes the entry of a sleep that nobody waits for any more away.
struct Asleep<'a> {
    time: &'a SimTime,
    place: (Duration, u64),
}

impl Drop for Asleep<'_> {
    fn drop(&mut self) {
        self.time.hands.lock().unwrap().sleepers.remove(&self.place);
    }
}

/// Runs a story that begins at `start`.
pub(super) fn run<F: Future>(start: &str, story: impl FnOnce(Arc<SimTime>) -> F) -> F::Output {
    let time = Arc::new(SimTime::at(start.parse().unwrap()));
    let parked = Arc::clone(&time);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(1)
        .on_thread_park(move || parked.parked())
        .build()
        .unwrap();
    let turning = runtime.spawn(Arc::clone(&time).turn());
    let story = Counted {
        work: Box::pin(story(Arc::clone(&time))),
        time,
    };
    let told = runtime.block_on(story);
    turning.abort();
    told
}

struct Counting {
    task: Arc<dyn Task>,
    time: Arc<SimTime>,
}

impl Task for Counting {
    fn name(&self) -> &str {
        self.task.name()
    }

    fn activate(&self, now: DateTime<Utc>) -> Next {
        match self.task.activate(now) {
            Next::Work(work) => Next::Work(Box::pin(Counted {
                work,
                time: Arc::clone(&self.time),
            })),
            rest => rest,
        }
    }
}

/// Counts how often something is polled.
struct Counted<F> {
    work: F,
    time: Arc<SimTime>,
}

impl<F: Future + Unpin> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.time.polls.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.work).poll(context)
    }
}
