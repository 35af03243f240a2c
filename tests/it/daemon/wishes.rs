//! What a command does while a daemon works in the same state folder: it has the daemon do it, and ends as it did.

use std::fs;
use std::process::{Child, Output, Stdio};

use patina::catalog::{Job, JobStatus};
use patina::types::Trigger;
use rustix::process::{Pid, Signal, kill_process};

use super::{Daemon, Home, database, entry, wait};

/// Rows of a database whose dump takes a few seconds.
const LARGE: u32 = 80_000;

impl Home {
    /// A daemon under a configuration with nothing due.
    fn calm_daemon(&self, databases: &str) -> Daemon {
        fs::write(self.path("patina.toml"), self.calm(databases)).unwrap();
        let daemon = self.start();
        daemon.wait_for_log("patina works as");
        daemon
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_command_has_the_running_daemon_do_it_and_ends_with_its_code_and_words() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    let daemon = home.calm_daemon(&format!("{blog}{}", entry("gone", "")));
    let ran = home.run(&["backup", "blog", "--reason", "stale alert"]);
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{err}");
    assert!(out.contains("1 of 1 database backed up"), "{out}");
    assert!(err.contains("the running daemon does it"), "{err}");
    let job = &home.jobs()[0];
    assert_eq!(
        (job.trigger, job.reason.as_deref()),
        (Trigger::Manual, Some("stale alert"))
    );
    // One that fails, as a document.
    let ran = home.run(&["backup", "--json"]);
    assert_eq!(ran.status.code(), Some(3), "{}", text(&ran.stderr));
    let report: serde_json::Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(report["job"]["failed"], 1);
    let ran = home.run(&["backup", "blok"]);
    assert_eq!(ran.status.code(), Some(2));
    assert!(text(&ran.stderr).contains("did you mean `blog`?"));
    for (args, says) in [
        (&["archive"][..], "nothing was packed"),
        (&["expire"], "0 expired"),
        (&["verify", "blog"], "1 of 1 right"),
        (&["verify", "--all"], "2 of 2 right"),
        (&["drill", "blog"], "1 of 1 database came back"),
        (&["drill", "blog", "--cold"], "from the manifests"),
        (&["reconcile"], "STORAGE"),
    ] {
        let ran = home.run(args);
        let (out, err) = (text(&ran.stdout), text(&ran.stderr));
        assert_eq!(ran.status.code(), Some(0), "{args:?}: {out}{err}");
        assert!(out.contains(says), "{args:?}: {out}");
        let line = format!("`patina {}` ended with exit code 0", args[0]);
        assert!(daemon.log().contains(&line), "{args:?}: {}", daemon.log());
    }
    daemon.stop();
    // Without a daemon the command works by itself, as ever.
    assert_eq!(home.run(&["backup", "blog"]).status.code(), Some(0));
}

#[test]
fn a_database_added_a_moment_ago_is_backed_up_by_the_daemon_in_the_next_breath() {
    let home = Home::new();
    let blog = home.database("blog", 10);
    database(&home.path("shop.db"), 10);
    let daemon = home.calm_daemon(&blog);
    let added = home.run(&["add", "shop", "--sqlite", "shop.db"]);
    assert_eq!(added.status.code(), Some(0), "{}", text(&added.stderr));
    let ran = home.run(&["backup", "shop"]);
    assert_eq!(ran.status.code(), Some(0), "{}", text(&ran.stderr));
    assert_eq!(home.copies("shop"), 1);
    daemon.stop();
}

#[test]
fn ctrl_c_ends_the_command_and_leaves_the_daemon_to_it() {
    let home = Home::new();
    let large = home.database("large", LARGE);
    let daemon = home.calm_daemon(&large);
    let command = home.spawn(&["backup", "large"]);
    home.wait_for_export("large");
    let pid = Pid::from_raw(command.id().try_into().unwrap()).unwrap();
    kill_process(pid, Signal::INT).unwrap();
    let ran = command.wait_with_output().unwrap();
    let err = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{err}");
    assert!(
        err.contains("the daemon goes on with `patina backup`"),
        "{err}"
    );
    let jobs = home.wait_for_end(1);
    assert_eq!(jobs[0].status, JobStatus::Completed);
    assert_eq!(home.copies("large"), 1);
    daemon.stop();
}

#[test]
fn two_commands_at_once_are_carried_out_one_after_the_other() {
    let home = Home::new();
    let large = home.database("large", LARGE);
    let daemon = home.calm_daemon(&large);
    let first = home.spawn(&["backup"]);
    home.wait_for_export("large");
    let second = home.run(&["backup", "large"]);
    let err = text(&second.stderr);
    assert_eq!(second.status.code(), Some(0), "{err}");
    assert!(err.contains("waits for its turn"), "{err}");
    let first = first.wait_with_output().unwrap();
    assert_eq!(first.status.code(), Some(0), "{}", text(&first.stderr));
    let jobs = home.jobs();
    assert_eq!(jobs.len(), 2);
    // The second job begins, and its database waits until the first one has let go of it. Times are whole seconds.
    let catalog = home.catalog().unwrap();
    let result = |job: &Job| catalog.results(job.id).unwrap().remove(0);
    let mut results: Vec<_> = jobs.iter().map(result).collect();
    results.sort_by_key(|result| (result.completed_at, result.started_at));
    assert!(results[0].completed_at.unwrap() <= results[1].started_at);
    daemon.stop();
}

#[test]
fn where_the_daemon_cannot_be_asked_the_message_names_the_way_out() {
    let home = Home::new();
    let blog = home.database("blog", 10);
    let daemon = home.calm_daemon(&blog);
    assert_eq!(home.run(&["backup"]).status.code(), Some(0));
    fs::copy(home.path("patina.toml"), home.path("other.toml")).unwrap();
    let ran = home.run(&["--config", "other.toml", "backup"]);
    let err = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{err}");
    let own = fs::canonicalize(home.path("patina.toml")).unwrap();
    let way = format!("hint: `patina --config {} backup`", own.display());
    assert!(err.contains(&way), "{err}");
    // As of a daemon that is older than this.
    fs::remove_file(home.path("state/daemon.sock")).unwrap();
    for verb in ["backup", "archive", "expire"] {
        let ran = home.run(&[verb]);
        let err = text(&ran.stderr);
        assert_eq!(ran.status.code(), Some(1), "{err}");
        assert!(
            err.contains("restart it: `systemctl restart patina`"),
            "{err}"
        );
    }
    assert_eq!(home.run(&["reconcile"]).status.code(), Some(0));
    daemon.stop();
}

#[test]
fn a_daemon_that_is_told_to_end_ends_what_commands_wished_for_and_they_say_so() {
    let home = Home::new();
    let large = home.database("large", LARGE);
    let daemon = home.calm_daemon(&large);
    let command = home.spawn(&["backup", "large"]);
    home.wait_for_export("large");
    daemon.stop();
    let ran = command.wait_with_output().unwrap();
    let (out, err) = (text(&ran.stdout), text(&ran.stderr));
    assert_eq!(ran.status.code(), Some(1), "{out}{err}");
    assert!(err.contains("interrupted"), "{out}{err}");
    wait("the end of the job", || {
        home.jobs()
            .iter()
            .all(|job| job.status == JobStatus::Interrupted)
    });
}

/// As under a service manager that allows few open files: what clients hold is not what a backup needs.
#[test]
fn with_few_open_files_clients_starve_no_backup() {
    let home = Home::new();
    let blog = home.database("blog", 50);
    fs::write(home.path("patina.toml"), home.calm(&blog)).unwrap();
    let program = env!("CARGO_BIN_EXE_patina");
    let mut command = std::process::Command::new("sh");
    command.current_dir(home.path(""));
    command.args(["-c", &format!("ulimit -n 64; exec \"{program}\" run")]);
    let daemon = Daemon::start(command, home.path("log"));
    daemon.wait_for_log("listening on http://");
    let log = daemon.log();
    let address = log.split("listening on http://").nth(1).unwrap();
    let address = address.lines().next().unwrap().to_owned();
    let clients: Vec<_> = (0..100)
        .filter_map(|_| std::net::TcpStream::connect(&address).ok())
        .collect();
    assert!(clients.len() > 60);
    std::thread::sleep(std::time::Duration::from_millis(500));
    let ran = home.run(&["backup"]);
    assert_eq!(
        ran.status.code(),
        Some(0),
        "{}{}",
        text(&ran.stderr),
        daemon.log()
    );
    drop(clients);
    daemon.stop();
}
