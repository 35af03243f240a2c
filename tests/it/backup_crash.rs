//! Kills a backup after every durable step, and starts again.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::night::{DATABASES, Night, is_stored, prepare};

const ROOT: &str = "PATINA_TEST_NIGHT";

/// What makes something last, or makes it last no longer.
const DURABLE: &str =
    "fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,link,linkat,mkdir,mkdirat";

/// How long a thread is held after a durable call: the kill is then on its way.
const HELD_US: u32 = 8_000;

/// Fewer steps mean that the trace saw nothing.
const LEAST_STEPS: u64 = 60;

/// A second kill during recovery is tried after every so many first kills.
const TWICE: u64 = 7;

/// What the killed process does: recovery, then a backup. Without a folder, nothing.
#[tokio::test]
async fn a_night_in_the_given_folder() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let night = Night::open(Path::new(&root));
    night.recover().await;
    let report = night.run().await;
    assert!(
        DATABASES.iter().all(|name| is_stored(&report, name)),
        "{report:?}"
    );
}

/// Runs the night under `strace` and kills it after durable step `step`, whichever thread takes it; false where it
/// came to its end before.
///
/// strace counts calls for each thread alone, so the count is kept here; strace holds a thread after each call for
/// long enough to be told.
fn is_killed_at(root: &Path, step: u64) -> bool {
    let mut strace = Command::new("strace")
        .args(["-f", "-qq", "-e"])
        .arg(format!("trace={DURABLE}"))
        .arg("-e")
        .arg(format!("inject={DURABLE}:delay_exit={HELD_US}"))
        .args(["sh", "-c", "echo pid $$ >&2; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "backup_crash::a_night_in_the_given_folder",
            "--nocapture",
        ])
        .env(ROOT, root)
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
    is_killed
}

fn installation() -> (TempDir, PathBuf) {
    let folder = TempDir::new().unwrap();
    let root = folder.path().to_owned();
    // One at a time: the same step is then the same call each time.
    prepare(&root, "concurrency = 1\ncompression = \"gzip\"");
    (folder, root)
}

/// Starts again after a kill, and asserts that nothing was lost and nothing partial is left.
async fn check_after(root: &Path) {
    let night = Night::open(root);
    night.recover().await;
    let before = night.check().await;
    let report = night.run().await;
    assert!(
        DATABASES.iter().all(|name| is_stored(&report, name)),
        "{report:?}"
    );
    assert_eq!(night.check().await, before + DATABASES.len());
}

/// Takes steps from `next` until one is not reached any more; returns how many nights were killed.
async fn kill_nights(next: &AtomicU64, last: &AtomicU64) -> u64 {
    let mut killed = 0;
    loop {
        let step = next.fetch_add(1, Ordering::SeqCst);
        if step > last.load(Ordering::SeqCst) {
            return killed;
        }
        let (_folder, root) = installation();
        if !is_killed_at(&root, step) {
            last.fetch_min(step - 1, Ordering::SeqCst);
            return killed;
        }
        killed += 1;
        if step.is_multiple_of(TWICE) {
            // Recovery begins with the first steps of the next process.
            is_killed_at(&root, 1 + step % 13);
        }
        check_after(&root).await;
    }
}

#[test]
fn a_backup_that_is_killed_at_any_durable_step_leaves_whole_copies_or_none() {
    let (next, last) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let work = || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build();
        runtime.unwrap().block_on(kill_nights(&next, &last))
    };
    let killed: u64 = std::thread::scope(|scope| {
        let threads = [scope.spawn(work), scope.spawn(work)];
        threads.map(|thread| thread.join().unwrap()).iter().sum()
    });
    let steps = last.load(Ordering::SeqCst);
    println!("killed at each of {steps} durable steps");
    assert!(steps >= LEAST_STEPS, "only {steps} steps");
    assert!(
        killed >= steps,
        "only {killed} of {steps} nights were killed"
    );
}
