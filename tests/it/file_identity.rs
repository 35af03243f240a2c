//! Reads databases under names that their programs do not use: links, mounts, renamed files. Each must give every
//! committed row, or a refusal with the way out.

use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use patina::source::SourceError;
use patina::types::Compression;

use crate::dumping::Workshop;
use crate::sqlite_source::{Holder, dump_of};

const MOUNTED: &str = "PATINA_TEST_MOUNTED";
const ROWS: usize = 3000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Wal,
    Rollback,
}

/// What the program that writes the database is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    /// It has the database open, and a transaction.
    Live,
    /// It was killed with changes in a log.
    Killed,
    /// It closed the database.
    Closed,
}

use Mode::{Rollback, Wal};
use State::{Closed, Killed, Live};

const ALL: [(Mode, State); 6] = [
    (Wal, Live),
    (Wal, Killed),
    (Wal, Closed),
    (Rollback, Live),
    (Rollback, Killed),
    (Rollback, Closed),
];

/// Opens `path` as a program does and commits [`ROWS`] rows; `then` happens while it has the database open.
fn write(path: &Path, mode: Mode, state: State, then: impl FnOnce()) -> Option<Holder> {
    let half = ROWS / 2;
    let fill = |from: usize, to: usize| {
        format!(
            "WITH RECURSIVE n(i) AS (VALUES ({from}) UNION ALL SELECT i + 1 FROM n WHERE i < {to})
             INSERT INTO t SELECT i, 'committed'||hex(zeroblob(100)) FROM n;"
        )
    };
    let mut program = Holder::open(path);
    program.run(&format!(
        "PRAGMA journal_mode={}; PRAGMA wal_autocheckpoint=0;
         CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT); {}
         PRAGMA wal_checkpoint(TRUNCATE); {}",
        if mode == Wal { "WAL" } else { "DELETE" },
        fill(1, half),
        fill(half + 1, ROWS),
    ));
    if state != Closed {
        let spill = if state == Killed && mode == Rollback {
            "PRAGMA cache_size=5;"
        } else {
            ""
        };
        program.run(&format!(
            "{spill} BEGIN IMMEDIATE; UPDATE t SET v = 'changed';"
        ));
    }
    then();
    match state {
        Live => return Some(program),
        Killed => program.kill(),
        Closed => program.close(),
    }
    None
}

struct Case {
    workshop: Workshop,
}

impl Case {
    fn new() -> Self {
        let workshop = Workshop::new();
        for folder in ["data", "other", "config"] {
            fs::create_dir(workshop.path(folder)).unwrap();
        }
        Self { workshop }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.workshop.path(name)
    }

    fn link(&self, to: &str, name: &str) {
        symlink(to, self.path(name)).unwrap();
    }

    #[track_caller]
    fn check_read(&self, configured: &Path, what: &str) {
        let source = self.workshop.source(configured);
        source
            .try_out()
            .unwrap_or_else(|error| panic!("{what}: trying it out: {error}"));
        let dump = self.workshop.dump(configured, "a.sql");
        let text =
            fs::read_to_string(dump.unwrap_or_else(|error| panic!("{what}: {error}"))).unwrap();
        assert_eq!(text.matches("'committed").count(), ROWS, "{what}");
        assert!(!text.contains("'changed"), "{what}");
        let copies = fs::read_dir(self.path("scratch")).unwrap().count();
        assert_eq!(copies, 0, "{what}: a private copy was left");
    }

    #[track_caller]
    fn check_refused(&self, configured: &Path, why: &str, hint: &str, what: &str) {
        let tried = self.workshop.source(configured).try_out();
        let dumped = self.workshop.dump(configured, "a.sql").map(drop);
        for (how, result) in [("tried", tried), ("dumped", dumped)] {
            let error = result.expect_err(what);
            assert!(
                matches!(error, SourceError::UnknownLog { .. }),
                "{what}, {how}: {error}"
            );
            let (said, hinted) = error
                .to_string()
                .split_once("\nhint: ")
                .map(|(a, b)| (a.to_owned(), b.to_owned()))
                .unwrap();
            assert!(said.contains(why), "{what}, {how}: {said}");
            assert!(hinted.contains(hint), "{what}, {how}: {hinted}");
            let name = configured.display().to_string();
            assert!(
                said.contains(&name),
                "{what}, {how}: `{name}` is not in {said}"
            );
        }
    }
}

#[test]
fn a_database_behind_symbolic_links_is_read_with_the_log_beside_its_file() {
    for (mode, state) in ALL {
        let case = Case::new();
        let _program = write(&case.path("data/app.db"), mode, state, || {});
        case.link("../data/app.db", "config/relative.db");
        symlink(case.path("data/app.db"), case.path("config/absolute.db")).unwrap();
        case.link("relative.db", "config/chain.db");
        case.link("../config/chain.db", "other/far.db");
        case.link("data", "folder");
        case.link("../folder/app.db", "config/both.db");
        for name in [
            "config/relative.db",
            "config/absolute.db",
            "config/chain.db",
            "other/far.db",
            "folder/app.db",
            "config/both.db",
            "config/../folder/../data/app.db",
        ] {
            case.check_read(&case.path(name), &format!("{name}, {mode:?}, {state:?}"));
        }
    }
}

#[test]
fn a_path_with_bytes_that_are_special_in_a_uri_or_no_text_is_read() {
    for (mode, state) in ALL {
        let case = Case::new();
        for name in [
            b"a b%20?mode=rw#&.db".to_vec(),
            b"\xff\xfe\\040.db".to_vec(),
        ] {
            let path = case.path("data").join(std::ffi::OsString::from_vec(name));
            let _program = write(&path, mode, state, || {});
            case.check_read(&path, &format!("{path:?}, {mode:?}, {state:?}"));
        }
    }
}

#[test]
fn a_hard_link_in_the_folder_of_the_other_name_is_read_with_that_names_log() {
    for (mode, state) in ALL {
        let case = Case::new();
        let _program = write(&case.path("data/app.db"), mode, state, || {});
        fs::hard_link(case.path("data/app.db"), case.path("data/link.db")).unwrap();
        case.link("../data/link.db", "config/link.db");
        for name in ["data/link.db", "data/app.db", "config/link.db"] {
            case.check_read(&case.path(name), &format!("{name}, {mode:?}, {state:?}"));
        }
    }
}

#[test]
fn a_hard_link_whose_other_name_is_unknown_is_refused() {
    for (mode, state) in ALL {
        let case = Case::new();
        let _program = write(&case.path("data/app.db"), mode, state, || {});
        fs::hard_link(case.path("data/app.db"), case.path("other/link.db")).unwrap();
        let what = format!("{mode:?}, {state:?}");
        let (why, hint) = match (mode, state) {
            (Wal, Live) => (
                "(`sqlite3`) has it open, but not with the log",
                "configure the name that it uses",
            ),
            (Wal, _) => (
                "it has 2 names (hard links), of which 1 could be found; a write-ahead log",
                "-samefile",
            ),
            (Rollback, _) => (
                "it has 2 names (hard links), of which 1 could be found; a rollback journal",
                "-samefile",
            ),
        };
        case.check_refused(&case.path("other/link.db"), why, hint, &what);
    }
}

#[test]
fn a_hard_link_with_the_log_beside_the_configured_name_is_read() {
    for state in [Live, Killed] {
        let case = Case::new();
        let _program = write(&case.path("data/app.db"), Wal, state, || {});
        fs::hard_link(case.path("data/app.db"), case.path("other/link.db")).unwrap();
        case.check_read(&case.path("data/app.db"), &format!("{state:?}"));
    }
}

#[test]
fn a_hard_link_with_a_stale_log_of_its_own_is_refused_while_its_program_uses_another_name() {
    let case = Case::new();
    write(&case.path("other/link.db"), Wal, Killed, || {});
    fs::hard_link(case.path("other/link.db"), case.path("data/app.db")).unwrap();
    let mut program = Holder::open(&case.path("data/app.db"));
    program.run("INSERT INTO t VALUES (9999, 'elsewhere');");
    let why = "has it open, but not with the log";
    case.check_refused(&case.path("other/link.db"), why, "", "a stale log");
    program.close();
}

#[test]
fn two_names_with_a_log_each_are_refused() {
    let case = Case::new();
    write(&case.path("data/app.db"), Wal, Killed, || {});
    fs::hard_link(case.path("data/app.db"), case.path("data/link.db")).unwrap();
    let mut program = Holder::open(&case.path("data/link.db"));
    program.run("INSERT INTO t VALUES (9999, 'elsewhere');");
    program.kill();
    for name in ["data/app.db", "data/link.db"] {
        case.check_refused(
            &case.path(name),
            "each has a log of its own",
            "keep one name",
            name,
        );
    }
}

#[test]
fn a_database_that_was_renamed_while_open_is_refused_or_read_whole() {
    for (mode, state) in ALL {
        for to in ["data/new.db", "other/new.db"] {
            let case = Case::new();
            let (old, new) = (case.path("data/old.db"), case.path(to));
            let _program = write(&old, mode, state, || fs::rename(&old, &new).unwrap());
            let what = format!("{to}, {mode:?}, {state:?}");
            match (mode, state) {
                (Wal, Live) => {
                    let why = "has it open, but not with the log";
                    case.check_refused(&new, why, "restart that program", &what);
                    let log = format!("(it has `{}` open)", case.path("data/old.db-wal").display());
                    case.check_refused(&new, &log, "restart that program", &what);
                }
                // A program that ends leaves the log of a file that lost its name. Only the folder can show that: the file
                // itself bears no mark.
                (_, Killed) | (Wal, Closed) if to == "data/new.db" => {
                    let why = "has no database and fits this one";
                    let suffix = if mode == Wal { "-wal" } else { "-journal" };
                    let hint = format!("rename the log to `{}{suffix}`", new.display());
                    case.check_refused(&new, why, &hint, &what);
                    let log = |path: &Path| PathBuf::from(format!("{}{suffix}", path.display()));
                    fs::rename(log(&old), log(&new)).unwrap();
                    case.check_read(&new, &what);
                }
                (_, Killed) | (Wal, Closed) => {}
                // A writer with a rollback journal changes the file only where nobody reads it.
                (Rollback, Closed | Live) => case.check_read(&new, &what),
            }
        }
    }
}

#[test]
fn a_log_that_another_database_left_keeps_nobody_from_being_read() {
    for mode in [Wal, Rollback] {
        let case = Case::new();
        let other = case.path("data/other.db");
        let mut program = Holder::open(&other);
        let journal = if mode == Wal { "WAL" } else { "DELETE" };
        program.run(&format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE a(x); CREATE INDEX ax ON a(x); CREATE TABLE b(y PRIMARY KEY);
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 900)
             INSERT INTO a SELECT hex(randomblob(90)) FROM n; INSERT INTO b SELECT x FROM a;
             PRAGMA wal_checkpoint(TRUNCATE); UPDATE a SET x = 'x'||x WHERE rowid % 50 = 0;
             PRAGMA cache_size=5; BEGIN; UPDATE a SET x = lower(x); UPDATE b SET y = lower(y);"
        ));
        program.kill();
        fs::remove_file(&other).unwrap();
        let logs = fs::read_dir(case.path("data")).unwrap().count();
        assert!(logs >= 1, "no log was left");
        write(&case.path("data/app.db"), mode, Closed, || {});
        case.check_read(&case.path("data/app.db"), &format!("{mode:?}"));
    }
}

#[test]
fn a_database_that_replaced_another_one_under_its_program_is_not_read_with_the_old_log() {
    let case = Case::new();
    let (app, new) = (case.path("data/app.db"), case.path("data/new.db"));
    write(&app, Wal, Killed, || {});
    let program = write(&new, Wal, Live, || fs::rename(&new, &app).unwrap());
    case.check_refused(
        &app,
        "has it open, but not with the log",
        "restart",
        "replaced",
    );
    drop(program);
}

#[test]
fn a_link_that_leads_elsewhere_after_the_read_is_an_error() {
    for mode in [Wal, Rollback] {
        let case = Case::new();
        let _program = write(&case.path("data/app.db"), mode, Closed, || {});
        fs::copy(case.path("data/app.db"), case.path("other/app.db")).unwrap();
        let configured = case.path("config/app.db");
        case.link("../data/app.db", "config/app.db");
        let error = dump_of(&case.workshop.source(&configured), || {
            fs::remove_file(&configured).unwrap();
            symlink("../other/app.db", &configured).unwrap();
        });
        assert!(
            error.to_string().contains("was replaced by another file"),
            "{error}"
        );
    }
}

#[test]
fn a_closed_wal_database_with_a_rollback_journal_is_never_read_without_it() {
    // A program killed while it changed the journal mode: the header says WAL, and the journal takes that back.
    let case = Case::new();
    let path = case.path("data/app.db");
    write(&path, Rollback, Killed, || {});
    let mut bytes = fs::read(&path).unwrap();
    bytes[18..20].copy_from_slice(&[2, 2]);
    fs::write(&path, bytes).unwrap();
    case.check_read(&path, "both");
}

/// What a mounted case does inside its own mount namespace; without being told one, nothing.
#[test]
fn a_database_that_is_mounted_as_a_single_file_is_read_with_its_log_or_refused() {
    if std::env::var_os(MOUNTED).is_some() {
        return check_mounted();
    }
    // What is made below a mount cannot be removed from inside.
    let temporary = tempfile::tempdir().unwrap();
    let test = "file_identity::a_database_that_is_mounted_as_a_single_file_is_read_with_its_log_or_refused";
    for options in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let output = Command::new("unshare")
            .args(options)
            .args(["--propagation", "private", "sh", "-c"])
            .arg("d=$(mktemp -d) && mount --bind \"$d\" \"$d\" || exit 77; umount \"$d\"; exec \"$@\"")
            .arg("sh")
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(MOUNTED, "1")
            .env("TMPDIR", temporary.path())
            .output();
        let Ok(output) = output else {
            return println!("not run: `unshare` is not installed");
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || complained.contains("unshare failed") {
            println!("not run with {options:?}: {complained}");
            continue;
        }
        assert!(output.status.success(), "{said}{complained}");
        assert!(said.contains("checked 24 mounts"), "{said}{complained}");
        return;
    }
}

fn mount(options: &[&str], from: &Path, to: &Path) {
    let status = Command::new("mount")
        .args(options)
        .arg(from)
        .arg(to)
        .status();
    assert!(status.unwrap().success(), "{options:?} {from:?} {to:?}");
}

fn check_mounted() {
    let mut checked = 0;
    for (mode, state) in ALL {
        let what = format!("{mode:?}, {state:?}");
        // The original is in sight.
        let case = Case::new();
        let folder = case.path("mounted here");
        fs::create_dir(&folder).unwrap();
        let (original, mounted) = (case.path("data/app.db"), folder.join("app.db"));
        let _program = write(&original, mode, state, || {});
        fs::write(&mounted, "").unwrap();
        mount(&["--bind"], &original, &mounted);
        case.check_read(&mounted, &format!("{what}: the mount"));
        // The whole folder is mounted.
        mount(&["--bind"], &case.path("data"), &case.path("other"));
        case.check_read(&case.path("other/app.db"), &format!("{what}: the folder"));
        // The original is out of sight, as in a container.
        mount(&["-t", "tmpfs"], Path::new("none"), &case.path("data"));
        mount(&["-t", "tmpfs"], Path::new("none"), &case.path("other"));
        let (why, hint) = match (mode, state) {
            (Wal, Live) => (
                "has it open, but not with the log",
                "share the folder with it, not the file",
            ),
            _ => (
                "it is mounted as a single file",
                "mount the folder that holds the database",
            ),
        };
        case.check_refused(&mounted, why, hint, &format!("{what}: hidden"));

        // The program uses the mount, and the original is configured.
        let case = Case::new();
        let (original, mounted) = (case.path("data/app.db"), case.path("other/app.db"));
        fs::write(&original, "").unwrap();
        fs::write(&mounted, "").unwrap();
        mount(&["--bind"], &original, &mounted);
        let _program = write(&mounted, mode, state, || {});
        case.check_read(&original, &format!("{what}: the original"));
        checked += 4;
    }
    println!("checked {checked} mounts");
}

#[test]
fn a_log_that_may_not_be_read_is_named_with_a_hint() {
    let is_root =
        fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return println!("not run: only root can become another user");
    }
    let patina = || {
        let mut patina = Command::new(env!("CARGO_BIN_EXE_patina"));
        patina.uid(65534).gid(65534).env("HOME", "/nonexistent");
        patina
    };
    if !patina()
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return println!("not run: the program lies where no other user may start it");
    }
    for (mode, state, suffix) in [
        (Wal, Live, "-wal"),
        (Wal, Killed, "-wal"),
        (Wal, Live, "-shm"),
        (Rollback, Killed, "-journal"),
    ] {
        let case = Case::new();
        let run = case.path("run");
        fs::create_dir(&run).unwrap();
        std::os::unix::fs::chown(&run, Some(65534), Some(65534)).unwrap();
        fs::set_permissions(run.parent().unwrap(), fs::Permissions::from_mode(0o755)).unwrap();
        let database = case.path("data/app.db");
        let _program = write(&database, mode, state, || {});
        let log = PathBuf::from(format!("{}{suffix}", database.display()));
        fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
        let config = format!(
            "[[database]]\nname = \"db\"\nsqlite = \"{}\"\n",
            database.display()
        );
        fs::write(run.join("patina.toml"), config).unwrap();
        let output = patina().arg("backup").current_dir(&run).output().unwrap();
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        );
        assert!(!output.status.success(), "{said}");
        assert!(
            said.contains(&format!("its log `{}` cannot be read", log.display())),
            "{said}"
        );
        let hint =
            "hint: it belongs to user 0 and group 0 with mode 600; Patina runs as user 65534";
        assert!(said.contains(hint), "{said}");
    }
}

#[test]
fn a_program_in_another_mount_namespace_is_seen_by_its_lock() {
    let case = Case::new();
    let original = case.path("data/app.db");
    write(&original, Wal, Closed, || {});
    fs::write(case.path("other/app.db"), "").unwrap();
    let ready = case.path("ready");
    let script = "mount --bind \"$1\" \"$2\" || exit 77
        exec python3 -c 'import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute(\"insert into t values(9999, 1)\")
open(sys.argv[2], \"w\").close()
time.sleep(60)' \"$2\" \"$3\"";
    let program = Command::new("unshare")
        .args([
            "--mount",
            "--propagation",
            "private",
            "sh",
            "-c",
            script,
            "sh",
        ])
        .args([&original, &case.path("other/app.db"), &ready])
        .spawn();
    let Ok(mut program) = program else {
        return println!("not run: `unshare` is not installed");
    };
    while !ready.exists() {
        if program.try_wait().unwrap().is_some() {
            return println!("not run: this system lets nobody mount");
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let why = "has it open, but not with the log";
    case.check_refused(
        &original,
        why,
        "share the folder with it, not the file",
        "another namespace",
    );
    program.kill().unwrap();
    program.wait().unwrap();
}

#[test]
fn a_copy_of_a_linked_database_is_proven() {
    let case = Case::new();
    let _program = write(&case.path("data/app.db"), Wal, Live, || {});
    case.link("../data/app.db", "config/app.db");
    let source = case.workshop.source(&case.path("config/app.db"));
    let spooled = case.workshop.spool(&source, "a.partial", Compression::None);
    let (partial, mut dumped) = spooled.unwrap();
    case.workshop.prove(partial, &mut dumped).unwrap();
}
