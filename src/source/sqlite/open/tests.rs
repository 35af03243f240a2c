use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rusqlite::Connection;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::{Opened, Watch};
use crate::source::{SourceError, SqliteSource};

const OPENS: usize = 1000;

/// Commits one row per transaction, and counts them in another table. In WAL mode it never pauses; with a rollback
/// journal, such a writer would keep every reader out.
const WRITER: &str = "
import sqlite3, sys, time
db = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
db.execute('pragma synchronous=off')
print('ready', flush=True)
while True:
    db.execute('begin immediate')
    db.execute('update counter set n = n + 1')
    db.execute('insert into t values(null)')
    db.execute('commit')
    if sys.argv[2] != 'wal':
        time.sleep(0.001)
";

struct Case {
    folder: TempDir,
}

impl Case {
    fn new(journal: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("scratch")).unwrap();
        let case = Self { folder };
        let db = Connection::open(case.database()).unwrap();
        db.execute_batch(&format!(
            "PRAGMA journal_mode={journal}; CREATE TABLE counter(n); INSERT INTO counter VALUES(0);
             CREATE TABLE t(id INTEGER PRIMARY KEY);"
        ))
        .unwrap();
        case
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("a.db")
    }

    fn source(&self) -> SqliteSource {
        SqliteSource::new(self.database(), self.folder.path().join("scratch"))
    }

    fn open(&self) -> Result<Opened, SourceError> {
        Opened::open(&self.source(), &CancellationToken::new())
    }
}

struct Writer(Child);

impl Writer {
    fn start(database: &Path, journal: &str) -> Self {
        let mut child = Command::new("python3")
            .args(["-c", WRITER])
            .arg(database)
            .arg(journal.to_lowercase())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 is installed: scripts/test-deps.sh");
        let mut line = String::new();
        let output = child.stdout.take().unwrap();
        BufReader::new(output).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready");
        Self(child)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn counts(db: &Connection) -> (u64, u64) {
    let sql = "SELECT n, (SELECT count(*) FROM t) FROM counter";
    db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
}

/// Opens the database many times while it is written; returns the number of different states that were seen.
fn check(journal: &str, opens: usize) -> usize {
    let case = Case::new(journal);
    let _writer = Writer::start(&case.database(), journal);
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..opens {
        let mut opened = case
            .open()
            .unwrap_or_else(|error| panic!("open {number}: {error}"));
        let companion = opened.take_companion().unwrap();
        assert!(opened.take_companion().is_none());
        let watch = opened.watch();
        let later = std::thread::spawn(move || {
            let counted = counts(companion.connection());
            drop(companion);
            counted
        });
        let (n, rows) = counts(opened.connection());
        assert_eq!(n, rows, "open {number} mixes states");
        drop(opened);
        assert_eq!(later.join().unwrap(), (n, rows), "open {number}");
        watch.check_unchanged().unwrap();
        seen.insert(n);
    }
    seen.len()
}

#[test]
fn both_connections_see_one_state_of_a_wal_database_under_a_fast_writer() {
    let states = check("WAL", OPENS);
    println!("{states} states in {OPENS} opens");
    assert!(states > OPENS / 10, "only {states} states: was it written?");
}

#[test]
fn both_connections_see_one_state_of_a_rollback_database_under_a_fast_writer() {
    let states = check("DELETE", 50);
    assert!(states > 25, "only {states} states: was it written?");
}

#[test]
fn a_private_copy_lives_until_both_connections_are_gone() {
    for companion_first in [true, false] {
        let case = Case::new("DELETE");
        let copies = || {
            std::fs::read_dir(case.folder.path().join("scratch"))
                .unwrap()
                .count()
        };
        let mut opened = case.open().unwrap();
        let companion = opened.take_companion().unwrap();
        assert_eq!(copies(), 1);
        if companion_first {
            drop(companion);
            assert_eq!(copies(), 1);
            assert_eq!(counts(opened.connection()), (0, 0));
            drop(opened);
        } else {
            drop(opened);
            assert_eq!(copies(), 1);
            assert_eq!(counts(companion.connection()), (0, 0));
            drop(companion);
        }
        assert_eq!(copies(), 0);
    }
}

#[test]
fn an_immutable_read_is_checked_by_another_thread_after_both_connections_are_gone() {
    let check = |watch: Watch| std::thread::spawn(move || watch.check_unchanged());
    let case = Case::new("WAL");
    let mut opened = case.open().unwrap();
    let watch = opened.watch();
    drop(opened.take_companion());
    drop(opened);
    check(watch.clone()).join().unwrap().unwrap();
    let db = Connection::open(case.database()).unwrap();
    db.execute_batch("INSERT INTO t VALUES (1)").unwrap();
    drop(db);
    let error = check(watch).join().unwrap().unwrap_err();
    assert!(error.to_string().contains("was written to"), "{error}");
}

#[test]
fn a_request_to_stop_interrupts_both_connections() {
    let case = Case::new("WAL");
    let stop = CancellationToken::new();
    let mut opened = Opened::open(&case.source(), &stop).unwrap();
    let companion = opened.take_companion().unwrap();
    stop.cancel();
    let endless =
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    for connection in [opened.connection(), companion.connection()] {
        let error = connection
            .query_row(endless, [], |row| row.get::<_, i64>(0))
            .unwrap_err();
        let code = error.sqlite_error_code();
        assert_eq!(code, Some(rusqlite::ErrorCode::OperationInterrupted));
    }
}

#[test]
fn a_second_look_at_a_database_keeps_the_locks_of_the_first() {
    let case = Case::new("WAL");
    let writer = Writer::start(&case.database(), "WAL");
    let opened = case.open().unwrap();
    drop(writer);
    case.source().try_out().unwrap();
    drop(case.open().unwrap());
    let leave_wal_mode = || {
        let output = Command::new("sqlite3")
            .arg(case.database())
            .arg("PRAGMA journal_mode=DELETE")
            .output()
            .expect("sqlite3 is installed: scripts/test-deps.sh");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    assert_ne!(leave_wal_mode(), "delete", "the read lock is lost");
    let (n, rows) = counts(opened.connection());
    assert_eq!(n, rows);
    drop(opened);
    assert_eq!(leave_wal_mode(), "delete");
}

#[test]
fn a_database_that_another_room_keeps_open_keeps_its_locks_and_gathers_no_descriptors() {
    let case = Case::new("WAL");
    let claim = super::Claim::of(&case.database()).unwrap();
    let kept = Connection::open(case.database()).unwrap();
    counts(&kept);
    let descriptors = || {
        let open = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = open.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        targets.filter(|target| *target == case.database()).count()
    };
    drop(case.open().unwrap());
    let before = descriptors();
    for _ in 0..10 {
        drop(case.open().unwrap());
    }
    assert_eq!(descriptors(), before);
    let output = Command::new("sqlite3")
        .arg(case.database())
        .arg("PRAGMA journal_mode=DELETE")
        .output()
        .expect("sqlite3 is installed: scripts/test-deps.sh");
    let mode = String::from_utf8_lossy(&output.stdout);
    assert_ne!(mode.trim(), "delete", "its locks are lost");
    drop(kept);
    drop(claim);
}

#[test]
fn what_was_read_is_stated_with_its_log() {
    use std::os::unix::fs::MetadataExt;
    let case = Case::new("WAL");
    let link = case.folder.path().join("link.db");
    std::os::unix::fs::symlink("a.db", &link).unwrap();
    let source = SqliteSource::new(link, case.folder.path().join("scratch"));
    let file = std::fs::canonicalize(case.database()).unwrap();
    let metadata = std::fs::metadata(&file).unwrap();
    let check = |log: Option<&str>| {
        let opened = Opened::open(&source, &CancellationToken::new()).unwrap();
        let stated = opened.file();
        assert_eq!(stated.path, file);
        assert_eq!(
            (stated.device, stated.inode),
            (metadata.dev(), metadata.ino())
        );
        let log = log.map(|suffix| PathBuf::from(format!("{}{suffix}", file.display())));
        assert_eq!(stated.log, log);
    };
    check(None);
    let writer = Writer::start(&case.database(), "WAL");
    check(Some("-wal"));
    drop(writer);
    check(Some("-wal"));
}
