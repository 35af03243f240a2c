//! A configuration, a part of which lies on a mount that takes every question and answers none: a real one, of a FUSE file
//! system that no process serves.

use std::fs;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use patina::catalog::ReloadOutcome;
use patina::config::LONGEST_READ;
use rustix::process::Signal;

use super::{Daemon, Home, entry, wait};

/// What else happens around the reading.
const SOON: Duration = Duration::from_secs(8);

/// Whoever holds descriptor 3 keeps the questions waiting; when it is closed, each ends with an error.
const MOUNT: &str = "exec 3<>/dev/fuse && \
    mount -i -t fuse -o fd=3,rootmode=40000,user_id=0,group_id=0 silent conf.d";

/// A configuration that includes `conf.d`. `None`, with the reason: no mount can be made here.
fn home() -> Option<Home> {
    let home = Home::new();
    fs::create_dir(home.path("conf.d")).unwrap();
    let text = home.calm(&home.database("blog", 5));
    let text = format!("include = [\"conf.d/*.toml\"]\n{text}");
    fs::write(home.path("patina.toml"), text).unwrap();
    let mut tried = command(&home, "unshare", &["-m", "sh", "-c", MOUNT]);
    match tried.output() {
        Ok(output) if output.status.success() => Some(home),
        why => {
            eprintln!("skipped: a FUSE file system cannot be mounted here: {why:?}");
            None
        }
    }
}

fn command(home: &Home, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(home.folder.path()).args(args);
    command
}

/// `patina run` in a mount namespace of its own, after `first`.
fn start(home: &Home, first: &str) -> Daemon {
    let script = format!("{first} && exec {} run", env!("CARGO_BIN_EXE_patina"));
    let mut run = command(home, "unshare", &["-m", "sh", "-c", &script]);
    for name in ["PATINA_CONFIG", "RUST_LOG", "NOTIFY_SOCKET"] {
        run.env_remove(name);
    }
    Daemon::start(run, home.path("log"))
}

/// What ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_start_whose_files_do_not_answer_ends_in_time_and_names_the_place() {
    let Some(home) = home() else { return };
    let began = Instant::now();
    let mut daemon = start(&home, MOUNT);
    wait("its end", || {
        daemon.log().contains("does not answer within 10 s")
    });
    let status = daemon.child.wait().unwrap();
    assert!(
        began.elapsed() < LONGEST_READ + SOON,
        "{:?}",
        began.elapsed()
    );
    let log = daemon.log();
    assert_eq!(status.code(), Some(2), "{log}");
    assert!(log.contains("patina.toml:1:1: cannot be read: `"), "{log}");
    assert!(log.contains("conf.d` does not answer"), "{log}");
}

#[test]
fn a_daemon_whose_files_stop_to_answer_works_on_tells_it_and_takes_them_again() {
    let Some(home) = home() else { return };
    let daemon = start(&home, "true");
    daemon.wait_for_log("patina works as");
    let namespace = format!("-t{}", daemon.child.id());
    // Entering a namespace leaves the working folder.
    let folder = home.folder.path().display();
    let held = format!("cd {folder} && {MOUNT} && exec sleep 600");
    let mut mount = command(&home, "nsenter", &[&namespace, "-m", "sh", "-c", &held]);
    let mount = Ended(mount.spawn().unwrap());
    let mounts = format!("/proc/{}/mounts", daemon.child.id());
    wait("the mount", || {
        fs::read_to_string(&mounts)
            .unwrap()
            .contains("/conf.d fuse")
    });
    // Who asks again while the first look still waits is answered at once.
    for seconds in [LONGEST_READ.as_secs() + 8, 2] {
        let before = home.reloads().len();
        let began = Instant::now();
        daemon.signal(Signal::HUP);
        wait("a refusal", || home.reloads().len() > before);
        assert!(began.elapsed() < Duration::from_secs(seconds));
    }
    let refused = home.reloads();
    assert_eq!(refused.len(), 2, "{refused:#?}");
    for one in &refused {
        assert_eq!(one.outcome, ReloadOutcome::Rejected);
        assert!(one.told[0].contains("conf.d` does not answer"), "{one:#?}");
    }
    let log = daemon.log();
    assert!(log.contains("is not reloaded, the old one stays"), "{log}");
    // It works on with what it has.
    let status = fs::read_dir(format!("/proc/{}/task", daemon.child.id()));
    let threads = status.unwrap().count();
    drop(mount);
    let path = format!("{folder}/conf.d");
    let mut unmount = command(&home, "nsenter", &[&namespace, "-m", "umount", &path]);
    assert!(unmount.status().unwrap().success());
    daemon.signal(Signal::HUP);
    wait("the old files again", || {
        home.reloads()
            .last()
            .is_some_and(|last| last.outcome == ReloadOutcome::Applied)
    });
    let added = home.path("conf.d/shop.toml");
    home.database("shop", 5);
    fs::write(added, entry("shop", "")).unwrap();
    wait("a new part", || {
        let reloads = home.reloads();
        let told = reloads.last().map(|last| last.told.join("\n"));
        told.is_some_and(|told| told.contains("shop"))
    });
    assert!(threads < 64, "{threads}");
    daemon.stop();
}
