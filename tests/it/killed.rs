//! Kills a process at each of its durable steps, one after the other.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// What makes something last, or makes it last no longer.
const DURABLE: &str =
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat";

/// How long a thread is held after a durable call: the kill is then on its way.
const HELD_US: u32 = 8_000;

/// A killed process is gone after this, however busy the machine.
const LONGEST_END: Duration = Duration::from_secs(30);

/// A second kill during recovery is tried after every so many first kills.
const TWICE: u64 = 7;

/// A test of this program that does the work in a folder, as a process of its own.
#[derive(Clone, Copy)]
pub(crate) struct Victim {
    /// The test's name.
    pub(crate) test: &'static str,
    /// The variable that tells it the folder.
    pub(crate) folder: &'static str,
}

impl Victim {
    /// Kills it at each step, each time in a new installation, and looks what is left. Gives the number of steps.
    pub(crate) fn kill_at_every_step(
        self,
        installation: impl Fn() -> TempDir + Sync,
        check: impl AsyncFn(&Path) + Sync,
    ) -> u64 {
        let (next, last) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
        let work = || {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_all()
                .build();
            let killed = self.kill_from(&next, &last, &installation, &check);
            runtime.unwrap().block_on(killed)
        };
        let killed: u64 = std::thread::scope(|scope| {
            let threads = [scope.spawn(work), scope.spawn(work)];
            threads.map(|thread| thread.join().unwrap()).iter().sum()
        });
        let steps = last.load(Ordering::SeqCst);
        assert!(killed >= steps, "only {killed} of {steps} were killed");
        steps
    }

    /// Takes steps from `next` until one is not reached any more; returns how many processes were killed.
    async fn kill_from(
        self,
        next: &AtomicU64,
        last: &AtomicU64,
        installation: &impl Fn() -> TempDir,
        check: &impl AsyncFn(&Path),
    ) -> u64 {
        let mut killed = 0;
        loop {
            let step = next.fetch_add(1, Ordering::SeqCst);
            if step > last.load(Ordering::SeqCst) {
                return killed;
            }
            let folder = installation();
            let root = folder.path();
            if !self.is_killed_at(root, step) {
                last.fetch_min(step - 1, Ordering::SeqCst);
                return killed;
            }
            killed += 1;
            if step.is_multiple_of(TWICE) {
                // Recovery begins with the first steps of the next process.
                self.is_killed_at(root, 1 + step % 13);
            }
            check(root).await;
        }
    }

    /// Runs it under `strace` and kills it after durable step `step`, whichever thread takes it; false where it
    /// came to its end before.
    ///
    /// strace counts calls for each thread alone, so the count is kept here; strace holds a thread after each call for
    /// long enough to be told.
    fn is_killed_at(self, root: &Path, step: u64) -> bool {
        let mut strace = Command::new("strace")
            .args(["-f", "-qq", "-e"])
            .arg(format!("trace={DURABLE}"))
            .arg("-e")
            .arg(format!("inject={DURABLE}:delay_exit={HELD_US}"))
            .args(["sh", "-c", "echo pid $$ >&2; exec \"$0\" \"$@\""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", self.test, "--nocapture"])
            .env(self.folder, root)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace is installed: scripts/test-deps.sh");
        let mut pid = None;
        let mut taken = 0;
        let mut said = String::new();
        for line in BufReader::new(strace.stderr.take().unwrap()).lines() {
            let line = line.unwrap();
            if let Some(number) = line.strip_prefix("pid ") {
                pid = Pid::from_raw(number.parse().unwrap());
            } else if line.ends_with("(DELAYED)") {
                taken += 1;
                if taken == step {
                    // The process may have ended by itself.
                    let _ = kill_process(pid.expect("the shell tells it first"), Signal::KILL);
                }
            } else {
                said += &format!("{line}\n");
            }
        }
        let ended = strace.wait().unwrap();
        assert!(
            pid.is_some(),
            "strace may not trace here (allow ptrace: seccomp, yama, or --cap-add SYS_PTRACE): {said}"
        );
        let is_killed = ended.signal() == Some(9) || ended.code() == Some(137);
        assert!(is_killed || ended.success(), "{ended}: {said}");
        assert_eq!(
            is_killed,
            taken >= step,
            "{ended} after {taken} steps: {said}"
        );
        wait_for_end(pid.expect("checked above"));
        is_killed
    }
}

/// Waits until no thread of a killed process is left to hold a file: `strace` may end before the last of them does.
fn wait_for_end(pid: Pid) {
    let tasks = format!("/proc/{}/task", pid.as_raw_nonzero());
    let is_over = || {
        let Ok(tasks) = fs::read_dir(&tasks) else {
            return true;
        };
        let mut tasks = tasks.flatten();
        // Where nobody asks how it ended, its first thread stays as a name alone.
        tasks.all(|task| {
            let status = fs::read_to_string(task.path().join("status"));
            status.map_or(true, |status| status.contains("State:\tZ"))
        })
    };
    let begun = Instant::now();
    while !is_over() {
        assert!(begun.elapsed() < LONGEST_END, "{pid:?} does not end");
        std::thread::sleep(Duration::from_millis(1));
    }
}
