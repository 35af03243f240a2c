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

/// As nobody, which takes root. `None`, with the reason: this is not root.
fn as_nobody(command: std::process::Command) -> Option<std::process::Command> {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can be somebody else");
        return None;
    }
    let mut nobody = std::process::Command::new("setpriv");
    nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    nobody.arg(command.get_program()).args(command.get_args());
    nobody.current_dir(command.get_current_dir().unwrap());
    Some(nobody)
}

#[test]
fn a_command_of_another_user_is_told_whose_the_daemon_is_and_root_is_heard() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let home = Home::new();
    let blog = home.database("blog", 10);
    fs::set_permissions(home.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = home.calm_daemon(&blog);
    // As it is made, and as an operator may have left it.
    for mode in [0o700, 0o755] {
        fs::set_permissions(home.path("state"), fs::Permissions::from_mode(mode)).unwrap();
        for verb in ["backup", "archive", "expire", "reconcile"] {
            let Some(mut command) = as_nobody(home.command(&[verb])) else {
                return;
            };
            let ran = command.output().unwrap();
            let err = text(&ran.stderr);
            assert_eq!(ran.status.code(), Some(1), "{verb}: {err}");
            assert!(err.contains("belong to another user"), "{verb}: {err}");
            let way = format!("hint: run `patina {verb}` as that user, or with sudo");
            assert!(err.contains(&way), "{verb}: {err}");
        }
    }
    assert_eq!(home.jobs().len(), 0);
    daemon.stop();

    // The other way round, root is heard.
    for path in [
        home.path(""),
        home.path("patina.toml"),
        home.path("blog.db"),
    ] {
        chown(path, Some(65534), Some(65534)).unwrap();
    }
    fs::remove_dir_all(home.path("state")).unwrap();
    fs::remove_file(home.path("log")).unwrap();
    let run = as_nobody(home.command(&["run"])).unwrap();
    let daemon = Daemon::start(run, home.path("log"));
    daemon.wait_for_log("patina works as");
    let ran = home.run(&["backup"]);
    let err = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(0), "{err}");
    assert!(err.contains("the running daemon does it"), "{err}");
    daemon.stop();
}

#[test]
fn a_daemon_and_a_command_of_different_versions_say_so_and_do_nothing() {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::{UnixListener, UnixStream};
    let home = Home::new();
    let blog = home.database("blog", 10);
    let daemon = home.calm_daemon(&blog);
    for wish in [
        r#"{"version":2,"config":"/x","json":false,"verb":{"backup":{"databases":[],"reason":null}}}"#,
        r#"{"verb":"backup"}"#,
        "backup",
    ] {
        let mut stream = UnixStream::connect(home.path("state/daemon.sock")).unwrap();
        writeln!(stream, "{wish}").unwrap();
        let answer = BufReader::new(stream).lines().next().unwrap().unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let error = answer["ended"]["error"].as_str().unwrap();
        assert!(error.contains("which is of another version"), "{error}");
        assert!(error.contains("restart the daemon"), "{error}");
        assert_eq!(answer["ended"]["exit"], 2);
    }
    assert_eq!(home.jobs().len(), 0);
    daemon.stop();

    // A daemon of a later version answers in words that this command does not know.
    let state = patina::engine::state::StateDir::lock(&home.path("state")).unwrap();
    state.hear_hangups().unwrap();
    let listener = match UnixListener::bind(home.path("state/daemon.sock")) {
        Ok(listener) => listener,
        Err(_) => {
            fs::remove_file(home.path("state/daemon.sock")).unwrap();
            UnixListener::bind(home.path("state/daemon.sock")).unwrap()
        }
    };
    let later = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        writeln!(&stream, r#"{{"heard_in_another_way":{{}}}}"#).unwrap();
        line
    });
    let ran = home.run(&["backup"]);
    let err = text(&ran.stderr);
    assert_eq!(ran.status.code(), Some(1), "{err}");
    assert!(
        err.contains("the daemon answers what this command does not understand"),
        "{err}"
    );
    assert!(
        err.contains("both are of one version: `systemctl restart patina`"),
        "{err}"
    );
    let wish: serde_json::Value = serde_json::from_str(&later.join().unwrap()).unwrap();
    assert_eq!(wish["version"], 1);
    assert_eq!(home.copies("blog"), 0);
}

#[test]
fn a_copy_too_large_to_be_read_back_says_what_was_read_and_the_daemon_reads_the_rest_at_once() {
    let home = Home::new();
    let db = rusqlite::Connection::open(home.path("large.db")).unwrap();
    db.execute_batch(
        "PRAGMA synchronous = OFF; CREATE TABLE t(v);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 150)
         INSERT INTO t SELECT randomblob(1048576) FROM n",
    )
    .unwrap();
    let config = home.calm(&entry("large", ""));
    fs::write(home.path("patina.toml"), config).unwrap();
    assert_eq!(home.run(&["backup"]).status.code(), Some(0));
    let shown = |args: &[&str]| text(&home.run(args).stdout);
    assert!(
        shown(&["list"]).contains("64 samples"),
        "{}",
        shown(&["list"])
    );
    let told = shown(&["show", "large"]);
    assert!(
        told.contains("64 samples read back when it was stored"),
        "{told}"
    );

    // A daemon reads it as soon as its own backup, or any other command, is done.
    let daemon = home.start();
    daemon.wait_for_log("patina works as");
    assert_eq!(home.run(&["reconcile"]).status.code(), Some(0));
    wait("the reading of all", || {
        !shown(&["list"]).contains("samples")
    });
    assert!(daemon.log().contains("1 object read"), "{}", daemon.log());
    let told = shown(&["show", "large"]);
    assert!(!told.contains("samples"), "{told}");
    daemon.stop();
}
