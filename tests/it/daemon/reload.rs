//! What a reload does to the daemon, and what `patina reload` says of it.

use std::fs;
use std::process::{Command, Output};
use std::time::Duration;

use patina::catalog::{Cause, CopyFilter, JobStatus, ReloadOutcome};
use patina::engine::state::StateDir;
use rustix::process::Signal;

use super::edits::Watched;
use super::{Daemon, Home, entry, wait};

fn reload(home: &Home) -> Output {
    home.command(&["reload"]).output().unwrap()
}

fn said(output: &Output) -> String {
    let [out, err] = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    format!("{out}{err}")
}

#[test]
fn a_running_job_ends_on_what_it_began_with_and_the_next_one_knows_the_edit() {
    let home = Home::new();
    let small = home.database("small", 50) + "priority = \"critical\"\n";
    let large = home.database("large", 80_000);
    home.database("shop", 50);
    home.write_night(&format!("{small}{large}"));
    let daemon = home.start();
    home.wait_for_export("large");
    let own = entry("shop", "schedule = \"* * * * *\"");
    home.write_night(&format!("{large}compression = \"gzip\"\n{own}"));
    wait("a reload", || !home.reloads().is_empty());
    assert_eq!(home.copies("large"), 0, "the job ended before the reload");
    let told = &home.reloads()[0].told;
    for change in [
        "database `shop` is new",
        "database `small` is gone; its copies stay",
        "database `large` changed: export",
    ] {
        assert!(told.iter().any(|told| told == change), "{told:?}");
    }
    wait("a copy of the new database", || home.copies("shop") > 0);
    let jobs = home.wait_for_end(2);
    daemon.stop();
    assert!(jobs.iter().all(|job| job.status == JobStatus::Completed));
    let night = jobs.iter().find(|job| job.total == 2).unwrap();
    assert_eq!(night.successful, 2);
    assert_eq!((home.copies("small"), home.copies("large")), (1, 1));
    let copies = home.catalog().unwrap().copies(&CopyFilter::default());
    let keys: Vec<String> = copies
        .unwrap()
        .iter()
        .map(|copy| copy.manifest.key.to_string())
        .collect();
    assert!(!keys.iter().any(|key| key.ends_with(".gz")), "{keys:?}");
    let list = home.command(&["list"]).output().unwrap();
    assert!(said(&list).contains("small"), "{list:?}");
}

#[test]
fn two_hundred_reloads_leave_no_descriptor_and_no_watch_behind() {
    let mut watched = Watched::new();
    let texts = [watched.next(), watched.next()];
    let held = |watched: &Watched| {
        let process = format!("/proc/{}", watched.daemon.child.id());
        let files = fs::read_dir(format!("{process}/fd")).unwrap();
        let files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
        let watches = files.iter().filter_map(|file| {
            let path = format!("{process}/fdinfo/{}", file.to_string_lossy());
            let text = fs::read_to_string(path).ok()?;
            Some(text.matches("inotify wd:").count())
        });
        (files.len(), watches.sum::<usize>())
    };
    let mut before = None;
    for round in 0..205 {
        let known = watched.home.reloads().last().map_or(0, |last| last.id);
        watched.write(&texts[round % 2]);
        watched.daemon.signal(Signal::HUP);
        wait("an answer", || {
            let last = watched.home.reloads().pop();
            last.is_some_and(|last| last.id > known && last.cause == Cause::Asked)
        });
        if round == 4 {
            before = Some(held(&watched));
        }
    }
    let before = before.unwrap();
    assert!(
        before.0 > 5 && before.1 > 0,
        "{before:?}: is this the daemon?"
    );
    // A blocking read may just be under way.
    wait("as many as before", || held(&watched) <= before);
    let reloads = watched.home.reloads();
    assert!(reloads.len() <= 100, "the table grows");
    assert!(
        reloads
            .iter()
            .all(|reload| reload.outcome == ReloadOutcome::Applied)
    );
}

#[test]
fn without_inotify_it_says_so_once_and_looks_every_five_seconds() {
    for call in [
        "inotify_init1:error=EMFILE",
        "inotify_add_watch:error=ENOSPC",
    ] {
        let home = Home::new();
        let text = home.calm(&entry("first", ""));
        fs::write(home.path("patina.toml"), &text).unwrap();
        let patina = home.command(&["run"]);
        // The kernel's own answer where a user has no instances or watches left, for this process alone.
        let mut command = Command::new("strace");
        command.args(["-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null"]);
        let traced = call.split(':').next().unwrap();
        command.args([
            "-e",
            &format!("trace={traced}"),
            "-e",
            &format!("inject={call}"),
        ]);
        command.arg(patina.get_program()).args(patina.get_args());
        command.current_dir(home.path(""));
        let daemon = Daemon::start(command, home.path("log"));
        let mut watched = Watched::of(home, daemon, text);
        for count in 0..2 {
            let text = watched.next();
            watched.write(&text);
            watched.check_one(call, count, Duration::from_secs(8));
        }
        let log = watched.daemon.stop();
        assert_eq!(log.matches("cannot be watched").count(), 1, "{log}");
    }
}

#[test]
fn reload_prints_what_changed_and_every_mistake_and_says_where_no_daemon_is() {
    let home = Home::new();
    let text = home.calm(&entry("first", ""));
    fs::write(home.path("patina.toml"), &text).unwrap();
    let output = reload(&home);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("no daemon works in"), "{output:?}");
    let lock = StateDir::lock(&home.path("state")).unwrap();
    let output = reload(&home);
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("it is no daemon"), "{output:?}");
    drop(lock);
    let daemon = home.start();
    let mut watched = Watched::of(home, daemon, text);
    let text = watched.next();
    watched.write(&text);
    let output = reload(&watched.home);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // On a busy machine it noticed by itself before it was asked, which is part of the answer.
    assert!(said(&output).starts_with("reloaded"), "{output:?}");
    assert!(said(&output).ends_with("\ndatabase `db1` is new\n"));
    let output = reload(&watched.home);
    assert_eq!(said(&output), "reloaded; nothing changed\n");
    let check = watched.home.command(&["check"]).output().unwrap();
    assert!(
        said(&check).contains("\nlast reload: applied on 20"),
        "{check:?}"
    );
    let known = watched.home.reloads().len();
    watched.write("[schedul]\n[retention]\ndaily_days = 0\n");
    let output = reload(&watched.home);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    for mistake in ["schedul", "daily_days"] {
        assert!(said(&output).contains(mistake), "{output:?}");
    }
    // It was not even told: whatever is noted, it noticed by itself.
    let reloads = watched.home.reloads().split_off(known);
    assert!(reloads.iter().all(|reload| reload.cause == Cause::Noticed));
}

#[test]
fn reload_reads_the_file_with_the_variables_of_the_daemon_and_names_what_takes_a_restart() {
    let home = Home::new();
    let sink = "[[alerts.sink]]\nname = \"ops\"\nwebhook = \"env:PATINA_TEST_HOOK\"\n";
    let text = home.calm(&entry("first", "")) + sink;
    fs::write(home.path("patina.toml"), &text).unwrap();
    let mut command = home.command(&["run"]);
    command.env("PATINA_TEST_HOOK", "https://example.com/hook");
    let daemon = Daemon::start(command, home.path("log"));
    let watched = Watched::of(home, daemon, text.clone());
    watched.write(&text.replace("127.0.0.1:0", "127.0.0.1:9999"));
    let output = reload(&watched.home);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let expected = "\nhttp listen changed: restart to apply\n";
    assert!(said(&output).contains(expected), "{output:?}");
    assert!(!said(&output).contains("http access"), "{output:?}");
    let output = reload(&watched.home);
    assert!(said(&output).contains("http listen is not what this process began with"));
    let output = watched
        .home
        .command(&["--json", "reload"])
        .output()
        .unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["outcome"], "applied");
}
