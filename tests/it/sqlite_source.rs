//! Reads SQLite files in every state a process can leave them in, and looks for traces of the reader.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use patina::dump::Sink;
use patina::progress::Progress;
use patina::source::{DumpForm, DumpRequest, Look, Source, SourceError, SqliteSource};
use patina::types::{Hasher, Sha256};
use tokio_util::sync::CancellationToken;

use crate::dumping::{Workshop, header};

const FOLDER: &str = "PATINA_TEST_READ_ONLY";
const SCHEMA: &str = "CREATE TABLE t(i INTEGER PRIMARY KEY, v TEXT);";

/// Another process that has a database open: the stock shell.
pub(crate) struct Holder {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Holder {
    pub(crate) fn open(database: &Path) -> Self {
        let mut child = Command::new("sqlite3")
            .args(["-init", "/dev/null", "-batch", "-bail"])
            .arg(database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sqlite3 is installed: scripts/test-deps.sh");
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// Runs statements and returns once they are done.
    pub(crate) fn run(&mut self, sql: &str) {
        writeln!(self.input, "{sql}\n.print done").unwrap();
        self.input.flush().unwrap();
        let mut line = String::new();
        while line.trim() != "done" {
            line.clear();
            let count = self.output.read_line(&mut line).unwrap();
            assert!(count > 0, "the shell ended at: {sql}");
        }
    }

    /// Ends as `kill -9` does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn close(self) {
        let Self {
            mut child, input, ..
        } = self;
        drop(input);
        assert!(child.wait().unwrap().success());
    }
}

/// Every file of a folder: its bytes and when it was written.
type Trace = BTreeMap<PathBuf, (Vec<u8>, SystemTime)>;

fn trace(folder: &Path) -> Trace {
    let look = |entry: io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        let modified = fs::metadata(&path).unwrap().modified().unwrap();
        (path.clone(), (fs::read(&path).unwrap(), modified))
    };
    fs::read_dir(folder).unwrap().map(look).collect()
}

fn names(trace: &Trace) -> Vec<&str> {
    let names = trace.keys().map(|path| path.file_name().unwrap());
    names.map(|name| name.to_str().unwrap()).collect()
}

/// A folder with one database, its reader's scratch elsewhere.
struct Case {
    workshop: Workshop,
}

impl Case {
    fn new() -> Self {
        let workshop = Workshop::new();
        fs::create_dir(workshop.path("data")).unwrap();
        Self { workshop }
    }

    fn folder(&self) -> PathBuf {
        self.workshop.path("data")
    }

    fn database(&self) -> PathBuf {
        self.folder().join("a.db")
    }

    fn holder(&self, sql: &str) -> Holder {
        let mut holder = Holder::open(&self.database());
        holder.run(sql);
        holder
    }

    /// Dumps and asserts that the dump holds `row` and nothing in the folder, nor in the scratch folder, changed.
    fn check(&self, files: &[&str], row: &str) {
        let before = trace(&self.folder());
        assert_eq!(names(&before), files);
        let dump = self.workshop.dump(&self.database(), "a.sql").unwrap();
        let text = fs::read_to_string(dump).unwrap();
        assert!(text.contains(row), "no {row} in {text}");
        let after = trace(&self.folder());
        assert_eq!(names(&after), files);
        for (path, (bytes, modified)) in &before {
            let path_shown = path.display();
            assert!(after[path].0 == *bytes, "{path_shown} has other bytes");
            assert_eq!(after[path].1, *modified, "{path_shown} was written");
        }
        let scratch = fs::read_dir(self.workshop.path("scratch")).unwrap();
        assert_eq!(scratch.count(), 0, "a private copy was left");
    }

    fn error(&self) -> SourceError {
        let dumped = self.workshop.dump(&self.database(), "a.sql");
        dumped.expect_err("it was dumped")
    }
}

fn wal() -> String {
    format!("PRAGMA journal_mode=WAL; {SCHEMA} INSERT INTO t VALUES (1, 'one');")
}

#[test]
fn a_wal_database_with_a_live_connection_is_read_without_a_trace() {
    let case = Case::new();
    let mut holder = case.holder(&wal());
    case.check(&["a.db", "a.db-shm", "a.db-wal"], "(1,'one')");
    holder.run("INSERT INTO t VALUES (2, 'two');");
    case.check(&["a.db", "a.db-shm", "a.db-wal"], "(2,'two')");
    holder.run("PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (3, 'three');");
    case.check(&["a.db", "a.db-shm", "a.db-wal"], "(3,'three')");
    holder.run("BEGIN; INSERT INTO t VALUES (4, 'uncommitted');");
    case.check(&["a.db", "a.db-shm", "a.db-wal"], "(3,'three');");
    holder.close();
}

#[test]
fn a_wal_database_that_was_closed_is_read_without_a_trace() {
    let case = Case::new();
    case.holder(&wal()).close();
    case.check(&["a.db"], "(1,'one')");
}

#[test]
fn a_wal_that_a_killed_process_left_is_read_without_a_trace() {
    let case = Case::new();
    case.holder(&wal()).kill();
    case.check(&["a.db", "a.db-shm", "a.db-wal"], "(1,'one')");
    fs::remove_file(case.folder().join("a.db-shm")).unwrap();
    case.check(&["a.db", "a.db-wal"], "(1,'one')");
}

#[test]
fn a_rollback_journal_database_is_read_without_a_trace() {
    let case = Case::new();
    let mut holder = case.holder(&format!("{SCHEMA} INSERT INTO t VALUES (1, 'one');"));
    case.check(&["a.db"], "(1,'one')");
    holder.run("BEGIN IMMEDIATE; INSERT INTO t VALUES (2, 'uncommitted');");
    case.check(&["a.db", "a.db-journal"], "(1,'one');");
    holder.close();
}

#[test]
fn a_large_rollback_journal_database_is_read_without_a_trace() {
    let case = Case::new();
    let fill = "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
                INSERT INTO t SELECT i, hex(randomblob(500)) FROM n;";
    let sql = format!("PRAGMA synchronous=OFF; {SCHEMA} INSERT INTO t VALUES (1, 'one'); {fill}");
    let holder = case.holder(&sql);
    assert!(fs::metadata(case.database()).unwrap().len() > 17_000_000);
    case.check(&["a.db"], "(1,'one')");
    holder.close();
}

/// Kills a process in the middle of a transaction whose changes are already in the file.
fn leave_a_hot_journal(case: &Case) {
    let fill = "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < 2000)
                INSERT INTO t SELECT i, 'before'||hex(zeroblob(200)) FROM n;";
    let mut holder = case.holder(&format!("{SCHEMA} INSERT INTO t VALUES (1, 'one'); {fill}"));
    let before = fs::read(case.database()).unwrap();
    holder.run("PRAGMA cache_size=5; BEGIN; UPDATE t SET v = 'after';");
    holder.kill();
    assert_ne!(
        fs::read(case.database()).unwrap(),
        before,
        "nothing was spilled"
    );
}

#[test]
fn a_hot_journal_is_rolled_back_in_a_copy_only() {
    let case = Case::new();
    leave_a_hot_journal(&case);
    case.check(&["a.db", "a.db-journal"], "(1,'one')");
    let text = fs::read_to_string(case.workshop.path("a.sql")).unwrap();
    assert_eq!(text.matches("'before").count(), 1999);
    assert!(!text.contains("'after'"));
}

#[test]
fn a_database_that_another_process_locks_is_an_error_after_a_bounded_wait() {
    for size in ["small", "large"] {
        let case = Case::new();
        let rows = if size == "large" { 20_000 } else { 2 };
        let mut holder = case.holder(&format!(
            "PRAGMA synchronous=OFF; {SCHEMA}
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO t SELECT i, hex(randomblob(500)) FROM n;"
        ));
        holder.run("BEGIN EXCLUSIVE;");
        let source = case.workshop.source(&case.database());
        let source = source.with_busy_timeout(Duration::from_millis(300));
        let started = Instant::now();
        let spooled = case
            .workshop
            .spool(&source, "a.partial", patina::types::Compression::None);
        let error = spooled.unwrap_err();
        assert!(
            matches!(error, SourceError::Locked { waited_ms: 300, .. }),
            "{size}: {error}"
        );
        assert!(error.is_retryable());
        let waited = started.elapsed();
        assert!(
            waited >= Duration::from_millis(250) && waited < Duration::from_secs(3),
            "{waited:?}"
        );
        holder.run("COMMIT;");
        case.check(&["a.db"], "(1,'");
        holder.close();
    }
}

/// A sink that does something to the source when the first text arrives.
struct Meddler<F: FnMut() + Send> {
    meddle: F,
    hasher: Hasher,
}

impl<F: FnMut() + Send> Write for Meddler<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.hasher.seen_bytes() == 0 {
            (self.meddle)();
        }
        self.hasher.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<F: FnMut() + Send> Sink for Meddler<F> {
    fn digest(&mut self) -> io::Result<(Sha256, u64)> {
        Ok((self.hasher.clone().finish(), self.hasher.seen_bytes()))
    }
}

fn dump_while(case: &Case, meddle: impl FnMut() + Send) -> SourceError {
    dump_of(&case.workshop.source(&case.database()), meddle)
}

/// Dumps `source`, which `meddle` spoils once the first text arrives.
pub(crate) fn dump_of(source: &SqliteSource, meddle: impl FnMut() + Send) -> SourceError {
    let mut sink = Meddler {
        meddle,
        hasher: Hasher::default(),
    };
    let request = DumpRequest {
        header: &header(),
        skip_data: &[],
        form: DumpForm::WholeSql,
        look: Look::ContentAndHealth,
        progress: &Progress::default(),
        stop: &CancellationToken::new(),
    };
    source.dump(&request, &mut sink).unwrap_err()
}

#[test]
fn a_database_that_is_replaced_or_deleted_while_it_is_read_is_an_error() {
    for journal in ["WAL", "DELETE"] {
        let case = Case::new();
        case.holder(&format!("PRAGMA journal_mode={journal}; {SCHEMA}"))
            .close();
        let other = case.workshop.path("other.db");
        fs::copy(case.database(), &other).unwrap();
        let error = dump_while(&case, || fs::rename(&other, case.database()).unwrap());
        assert!(
            error.to_string().contains("was replaced by another file"),
            "{error}"
        );
        assert!(error.is_retryable());
        let error = dump_while(&case, || fs::remove_file(case.database()).unwrap());
        assert!(error.to_string().contains("was deleted"), "{error}");
        assert!(matches!(case.error(), SourceError::NotFound { .. }));
    }
}

#[test]
fn a_closed_wal_database_that_is_written_while_it_is_read_is_an_error() {
    let case = Case::new();
    case.holder(&wal()).close();
    let error = dump_while(&case, || {
        case.holder("INSERT INTO t VALUES (2, 'two');").close()
    });
    assert!(error.to_string().contains("was written to"), "{error}");
    assert!(error.is_retryable());
    case.check(&["a.db"], "(2,'two')");
}

#[test]
fn what_is_no_database_is_told_as_such() {
    let case = Case::new();
    for (bytes, why) in [
        (&b""[..], "0 bytes"),
        (b"just some text, long enough", "does not begin"),
    ] {
        fs::write(case.database(), bytes).unwrap();
        let error = case.error();
        assert!(matches!(error, SourceError::NotADatabase { .. }));
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(names(&trace(&case.folder())), ["a.db"]);
    }
}

/// Reads every database of a folder that is mounted read-only; without one, does nothing.
#[test]
fn databases_on_read_only_media_are_read() {
    if let Some(folder) = std::env::var_os(FOLDER) {
        return read_all(Path::new(&folder));
    }
    let case = Case::new();
    leave_a_hot_journal(&case);
    for name in ["a.db", "a.db-journal"] {
        let to = case.folder().join(name.replace("a.db", "hot.db"));
        fs::rename(case.folder().join(name), to).unwrap();
    }
    let make = |name: &str, sql: &str| {
        let mut holder = Holder::open(&case.folder().join(name));
        holder.run(&format!("{sql} INSERT INTO t VALUES (7, 'seven');"));
        holder
    };
    make("rollback.db", SCHEMA).close();
    make("closed.db", &wal()).close();
    make("killed.db", &wal()).kill();
    make("alone.db", &wal()).kill();
    fs::remove_file(case.folder().join("alone.db-shm")).unwrap();
    let test = "sqlite_source::databases_on_read_only_media_are_read";
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg(
            "mount --bind \"$0\" \"$0\" && mount -o remount,ro,bind \"$0\" || exit 77; exec \"$@\"",
        )
        .arg(case.folder())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(FOLDER, case.folder())
        .output();
    let Ok(output) = output else {
        return println!("not run: `unshare` is not installed");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || complained.contains("unshare failed") {
        return println!("not run: this system lets nobody mount: {complained}");
    }
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("read 5 databases"), "{said}{complained}");
}

fn read_all(folder: &Path) {
    assert!(
        fs::write(folder.join("new"), "x").is_err(),
        "it can be written"
    );
    let workshop = Workshop::new();
    let before = trace(folder);
    let mut read = 0;
    for name in ["rollback", "closed", "killed", "alone", "hot"] {
        let dump = workshop.dump(&folder.join(format!("{name}.db")), "a.sql");
        let text =
            fs::read_to_string(dump.unwrap_or_else(|error| panic!("{name}: {error}"))).unwrap();
        let row = if name == "hot" {
            "(1,'one')"
        } else {
            "(7,'seven')"
        };
        assert!(text.contains(row), "{name}: {text}");
        read += 1;
    }
    assert_eq!(trace(folder), before);
    println!("read {read} databases");
}
