//! What the daemon makes of each way to change a file: one reload of the whole file, or none.

use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use patina::catalog::{EventKind, Reload, ReloadOutcome};

use super::{Daemon, Home, entry, wait};

/// Longer than the daemon waits for quiet: who was not heard of by then is not coming.
const AFTERWARDS: Duration = Duration::from_millis(700);

/// A daemon with nothing to do but to watch its configuration.
pub(super) struct Watched {
    pub(super) home: Home,
    pub(super) daemon: Daemon,
    /// What the configuration said last.
    text: String,
    databases: u32,
}

impl Watched {
    pub(super) fn new() -> Self {
        let home = Home::new();
        let text = home.calm(&entry("first", ""));
        fs::write(home.path("patina.toml"), &text).unwrap();
        let daemon = home.start();
        Self::of(home, daemon, text)
    }

    pub(super) fn of(home: Home, daemon: Daemon, text: String) -> Self {
        daemon.wait_for_log("patina works as");
        Self {
            home,
            daemon,
            text,
            databases: 0,
        }
    }

    /// Another database's entry.
    fn addition(&mut self) -> String {
        self.databases += 1;
        entry(&format!("db{}", self.databases), "")
    }

    /// The configuration with one more database.
    pub(super) fn next(&mut self) -> String {
        let addition = self.addition();
        self.text.push_str(&addition);
        self.text.clone()
    }

    pub(super) fn write(&self, text: &str) {
        fs::write(self.home.path("patina.toml"), text).unwrap();
    }

    /// What is new in the catalog after `before`, and nothing more comes. The first must come within `limit`.
    #[track_caller]
    pub(super) fn settled(&self, what: &str, before: usize, limit: Duration) -> Vec<Reload> {
        let began = Instant::now();
        wait(what, || self.home.reloads().len() > before);
        let took = began.elapsed();
        assert!(took < limit, "{what}: noticed after {took:?}");
        sleep(AFTERWARDS);
        self.home.reloads().split_off(before)
    }

    /// Exactly one reload, which took the newest database in.
    #[track_caller]
    pub(super) fn check_one(&self, what: &str, before: usize, limit: Duration) {
        let new = self.settled(what, before, limit);
        assert_eq!(new.len(), 1, "{what}: {new:#?}\n{}", self.daemon.log());
        assert_eq!(new[0].outcome, ReloadOutcome::Applied, "{what}: {new:#?}");
        let told = format!("database `db{}` is new", self.databases);
        assert_eq!(new[0].told, [told], "{what}");
    }
}

/// Without load it is 300 ms; a busy machine may stop the daemon in between.
pub(super) const SOON: Duration = Duration::from_secs(4);

#[track_caller]
fn run(folder: &std::path::Path, program: &str, args: &[&str]) {
    let mut command = Command::new(program);
    let output = command.current_dir(folder).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}: scripts/test-deps.sh"));
    assert!(output.status.success(), "{program}: {output:?}");
}

/// Saves `text` as patina.toml in the folder; `addition` is what it has more than before.
type Save = fn(folder: &std::path::Path, text: &str, addition: &str);

const WAYS: &[(&str, Save)] = &[
    ("written in place", |folder, text, _| {
        fs::write(folder.join("patina.toml"), text).unwrap();
    }),
    ("truncated, then written", |folder, text, _| {
        let mut file = File::create(folder.join("patina.toml")).unwrap();
        sleep(Duration::from_millis(400));
        file.write_all(text.as_bytes()).unwrap();
    }),
    ("appended to", |folder, _, addition| {
        let file = File::options()
            .append(true)
            .open(folder.join("patina.toml"));
        file.unwrap().write_all(addition.as_bytes()).unwrap();
    }),
    ("sed -i", |folder, _, addition| {
        let lines = addition.trim_end().replace('\n', "\\n");
        run(
            folder,
            "sed",
            &["-i", &format!("$a\\\n{lines}"), "patina.toml"],
        );
    }),
    ("mv over it", |folder, text, _| {
        fs::write(folder.join("new"), text).unwrap();
        run(folder, "mv", &["new", "patina.toml"]);
    }),
    ("cp over it", |folder, text, _| {
        fs::write(folder.join("new"), text).unwrap();
        run(folder, "cp", &["new", "patina.toml"]);
    }),
    ("vim, which renames", |folder, _, addition| {
        vim(folder, addition, "no");
    }),
    ("vim, which writes in place", |folder, _, addition| {
        vim(folder, addition, "yes");
    }),
    ("deleted and made anew", |folder, text, _| {
        fs::remove_file(folder.join("patina.toml")).unwrap();
        sleep(Duration::from_millis(50));
        fs::write(folder.join("patina.toml"), text).unwrap();
    }),
    ("saved three times in a row", |folder, text, addition| {
        for text in [text.strip_suffix(addition).unwrap(), "", text] {
            fs::write(folder.join("patina.toml"), text).unwrap();
            sleep(Duration::from_millis(100));
        }
    }),
];

fn vim(folder: &std::path::Path, addition: &str, backupcopy: &str) {
    fs::write(folder.join("addition"), addition).unwrap();
    let set = format!("set backup writebackup backupskip= backupcopy={backupcopy}");
    let args = ["-u", "NONE", "-N", "-es", "-c"];
    let args = [
        &args[..],
        &[&set, "-c", "$read addition", "-c", "wq", "patina.toml"],
    ];
    run(folder, "vim", &args.concat());
}

#[test]
fn each_way_to_save_a_file_leads_to_one_reload_of_the_whole_file_within_a_second() {
    let mut watched = Watched::new();
    let folder = watched.home.path("");
    let mut took = Vec::new();
    for (what, save) in WAYS {
        let before = watched.home.reloads().len();
        let old = watched.text.clone();
        let text = watched.next();
        save(&folder, &text, &text[old.len()..]);
        let saved = fs::read_to_string(folder.join("patina.toml")).unwrap();
        assert_eq!(saved.trim_end(), text.trim_end(), "{what}");
        let began = Instant::now();
        wait(what, || watched.home.reloads().len() > before);
        took.push(began.elapsed());
        watched.check_one(what, before, SOON);
    }
    took.sort();
    assert!(took[WAYS.len() / 2] < Duration::from_secs(1), "{took:?}");
    assert_eq!(watched.home.reloads().len(), WAYS.len());
    let log = watched.daemon.stop();
    assert_eq!(
        log.matches("the configuration is reloaded").count(),
        WAYS.len()
    );
}

#[test]
fn a_file_that_is_half_written_for_five_seconds_is_not_read_though_its_half_is_valid() {
    let mut watched = Watched::new();
    let text = watched.next();
    let (half, rest) = text.split_at(text.find("[[database]]").unwrap());
    let whole_half = format!("{half}{}", entry("other", ""));
    assert!(
        patina::config::Config::from_text(
            &whole_half,
            "patina.toml",
            "/".as_ref(),
            &patina::config::System
        )
        .is_ok()
    );
    let mut file = File::create(watched.home.path("patina.toml")).unwrap();
    file.write_all(half.as_bytes()).unwrap();
    sleep(Duration::from_secs(5));
    assert_eq!(watched.home.reloads(), []);
    file.write_all(rest.as_bytes()).unwrap();
    drop(file);
    watched.check_one("half-written", 0, SOON);
}

#[test]
fn a_thousand_touches_reload_nothing() {
    let watched = Watched::new();
    let file = File::open(watched.home.path("patina.toml")).unwrap();
    for _ in 0..1_000 {
        file.set_modified(std::time::SystemTime::now()).unwrap();
    }
    sleep(AFTERWARDS * 2);
    assert_eq!(watched.home.reloads(), []);
    let log = watched.daemon.stop();
    assert!(!log.contains("configuration"), "{log}");
}

#[test]
fn each_distinct_mistake_is_told_once_and_the_old_configuration_stays() {
    let mut watched = Watched::new();
    let good = watched.text.clone();
    let path = watched.home.path("patina.toml");
    let mistakes = [
        Some("[schedul]\n"),
        Some("[schedul]\n# the same mistake\n"),
        Some(""),
        None,
        Some("[retention]\ndaily_days = 0\nmin_copies = 0\n"),
    ];
    for text in mistakes {
        match text {
            Some(text) => watched.write(text),
            None => fs::remove_file(&path).unwrap(),
        }
        sleep(AFTERWARDS);
    }
    let reloads = watched.home.reloads();
    assert!(
        reloads
            .iter()
            .all(|reload| reload.outcome == ReloadOutcome::Rejected),
        "{reloads:#?}"
    );
    let told: Vec<String> = reloads
        .iter()
        .map(|reload| reload.told.join("\n"))
        .collect();
    assert_eq!(told.len(), 4, "{told:#?}");
    assert!(told[2].contains("cannot read the file"), "{told:#?}");
    let last = &reloads[3].told;
    assert!(last.len() >= 2, "not every mistake is told: {last:#?}");
    let events = watched.home.catalog().unwrap().events(100).unwrap();
    let mut events = events
        .iter()
        .filter(|event| event.kind == EventKind::ConfigRejected);
    assert!(events.next().unwrap().message.contains("daily_days"));
    assert_eq!(events.count(), 3);
    watched.write(&good);
    let restored = watched.settled("the old file", 4, SOON);
    assert_eq!(restored.len(), 1);
    assert_eq!(restored[0].outcome, ReloadOutcome::Restored);
    let text = watched.next();
    watched.write(&text);
    watched.check_one("a new file", 5, SOON);
    let log = watched.daemon.stop();
    assert_eq!(log.matches("is not reloaded, the old one stays").count(), 4);
}

#[test]
fn a_file_that_may_not_be_read_any_more_is_told_and_taken_again_when_it_may() {
    let home = Home::new();
    let text = home.calm(&entry("first", ""));
    fs::write(home.path("patina.toml"), &text).unwrap();
    let daemon = match rustix::process::geteuid().is_root() {
        false => home.start(),
        // Root reads everything.
        true => {
            for path in [home.path(""), home.path("patina.toml")] {
                chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
            }
            let patina = home.command(&["run"]);
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
            command.arg(patina.get_program()).args(patina.get_args());
            command.current_dir(home.path(""));
            Daemon::start(command, home.path("log"))
        }
    };
    let mut watched = Watched::of(home, daemon, text);
    let path = watched.home.path("patina.toml");
    fs::set_permissions(&path, Permissions::from_mode(0o000)).unwrap();
    let new = watched.settled("chmod 000", 0, SOON);
    assert_eq!(new.len(), 1, "{new:#?}");
    assert!(new[0].told[0].contains("Permission denied"), "{new:#?}");
    let text = watched.next();
    watched.write(&text);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    if !rustix::process::geteuid().is_root() {
        watched.write(&text);
    }
    watched.check_one("chmod 644", 1, SOON);
}

const NOBODY: u32 = 65534;

#[test]
fn a_configuration_that_becomes_a_pipe_is_refused_and_the_file_is_still_watched() {
    let mut watched = Watched::new();
    let before = watched.home.reloads().len();
    let path = watched.home.path("patina.toml");
    fs::remove_file(&path).unwrap();
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let new = watched.settled("a pipe", before, Duration::from_secs(20));
    assert_eq!(new[0].outcome, ReloadOutcome::Rejected, "{new:#?}");
    let before = watched.home.reloads().len();
    fs::remove_file(&path).unwrap();
    let text = watched.next();
    watched.write(&text);
    watched.check_one("a file again", before, Duration::from_secs(20));
}
