//! Runs requests on separate low-priority threads and limits their CPU share during backups. Invariant: the request
//! load barely slows a backup.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tokio::runtime::{Builder, Runtime};

/// Nice value of the request threads: when both compete for a processor, Linux gives such a thread about a tenth of the
/// time of a backup thread.
#[cfg(target_os = "linux")]
const NICE: i32 = 10;

/// While a backup runs, requests may use one part in this many of all processors.
const SHARE: u32 = 8;

/// Upper bound for the CPU time owed, so that one long response does not delay the short ones.
const MOST_OWED: Duration = Duration::from_millis(100);

/// The low-priority threads.
pub(super) struct Threads(Option<Runtime>);

impl Threads {
    /// Starts the threads.
    ///
    /// # Errors
    /// If the system provides no threads.
    pub(super) fn new() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .enable_all()
            .thread_name("patina-http")
            .on_thread_start(stand_back)
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Runs `work` on these threads; dropping [`Threads`] cancels it.
    ///
    /// # Panics
    /// If `work` panics.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let runtime = self.0.as_ref().expect("taken only at the end");
        match runtime.spawn(work).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl Drop for Threads {
    /// Cancels running work without waiting: an async task that drops a runtime must not block on it.
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(target_os = "linux")]
fn stand_back() {
    // On Linux this affects only the calling thread. Any process may raise its own nice value.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!("requests have the same priority as backups: {error}");
    }
}

#[cfg(not(target_os = "linux"))]
fn stand_back() {
    // On other systems it would affect the whole process, backups included.
}

/// CPU budget of the requests. Clones share one budget.
#[derive(Debug, Clone)]
pub(super) struct Share(Arc<Mutex<Owed>>);

/// CPU time owed, which is paid off as time passes.
#[derive(Debug)]
struct Owed {
    /// CPU time not yet paid off.
    time: Duration,
    at: Instant,
    /// Wall time needed to pay off one unit of CPU time.
    slowness: f64,
}

impl Share {
    pub(super) fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self(Arc::new(Mutex::new(Owed {
            time: Duration::ZERO,
            at: Instant::now(),
            slowness: f64::from(SHARE) / processors as f64,
        })))
    }

    /// Runs `work` and charges the CPU time that this thread spent on it.
    pub(super) fn charged<T>(&self, work: impl FnOnce() -> T) -> T {
        let before = thread_time();
        let done = work();
        self.with(|owed| owed.add(thread_time().saturating_sub(before), Instant::now()));
        done
    }

    /// Charges the CPU time of each poll of `work`, not the time between polls.
    pub(super) async fn charged_steps<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        std::future::poll_fn(|context| self.charged(|| work.as_mut().poll(context))).await
    }

    /// Waits until no CPU time is owed. Once `is_free` returns true, no one else needs the processors, and the debt is
    /// cleared.
    pub(super) async fn wait(&self, is_free: impl Fn() -> bool) {
        while !is_free() {
            let pause = self.with(|owed| owed.paid_in(Instant::now()));
            if pause.is_zero() {
                return;
            }
            tokio::time::sleep(pause).await;
        }
        self.with(|owed| owed.time = Duration::ZERO);
    }

    fn with<T>(&self, work: impl FnOnce(&mut Owed) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Owed {
    fn add(&mut self, time: Duration, now: Instant) {
        let paid = (now - self.at).div_f64(self.slowness);
        self.time = (self.time.saturating_sub(paid) + time).min(MOST_OWED);
        // Callers may arrive in another order than they read the clock.
        self.at = self.at.max(now);
    }

    fn paid_in(&mut self, now: Instant) -> Duration {
        self.add(Duration::ZERO, now);
        self.time.mul_f64(self.slowness)
    }
}

/// CPU time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_the_threads_of_requests_stand_back() {
        let nice = || rustix::process::getpriority_process(None).unwrap();
        let before = nice();
        let threads = Threads::new().unwrap();
        let (task, blocking) = threads
            .run(async move { (nice(), tokio::task::spawn_blocking(nice).await.unwrap()) })
            .await;
        assert_eq!((task, blocking), (NICE.max(before), NICE.max(before)));
        assert_eq!(nice(), before);
    }

    #[tokio::test]
    #[should_panic(expected = "of the work")]
    async fn a_panic_of_the_work_is_not_lost() {
        Threads::new()
            .unwrap()
            .run(async { panic!("of the work") })
            .await
    }

    #[test]
    fn what_is_owed_is_paid_off_as_time_passes_and_has_a_limit() {
        let at = Instant::now();
        let ms = Duration::from_millis;
        let mut owed = Owed {
            time: ms(0),
            at,
            slowness: 4.0,
        };
        owed.add(ms(10), at);
        assert_eq!(owed.paid_in(at), ms(40));
        assert_eq!(owed.paid_in(at + ms(20)), ms(20));
        owed.add(ms(5), at + ms(20));
        assert_eq!(owed.paid_in(at + ms(20)), ms(40));
        assert_eq!(owed.paid_in(at + ms(60)), ms(0));
        owed.add(Duration::from_secs(9), at + ms(60));
        assert_eq!(owed.paid_in(at + ms(60)), 4 * MOST_OWED);
    }

    #[tokio::test]
    async fn work_is_charged_and_waiting_is_not() {
        let share = Share::new();
        share
            .charged_steps(tokio::time::sleep(Duration::from_millis(60)))
            .await;
        let owed = |share: &Share| share.with(|owed| owed.time);
        assert!(owed(&share) < Duration::from_millis(30));
        let work = || {
            let begun = thread_time();
            while thread_time() - begun < Duration::from_millis(80) {}
        };
        share.charged(work);
        assert!(owed(&share) >= Duration::from_millis(80));
        let begun = Instant::now();
        share.wait(|| false).await;
        assert!(
            begun.elapsed() >= share.with(|owed| Duration::from_millis(70).mul_f64(owed.slowness))
        );
        share.charged(work);
        share.wait(|| true).await;
        assert!(owed(&share).is_zero());
    }
}
