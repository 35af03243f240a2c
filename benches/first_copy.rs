//! Times the dump, the compressed spool and the drill against what a user would otherwise run, in the same run.
//!
//! `cargo bench --bench first_copy` prints one line per measurement: both medians and their ratio.
//! `PATINA_BENCH_MB` sets the size of the databases (default 100), `PATINA_BENCH_ONLY` picks by a part of a line's name.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use patina::dump::Header;
use patina::engine::drill::{Trial, prove};
use patina::engine::spool::{Partial, Writing};
use patina::source::{DumpForm, DumpRequest, Dumped, Look, Source, SqliteSource};
use patina::types::{ByteCount, Compression, JobId};
use rusqlite::{Connection, params};
use tokio_util::sync::CancellationToken;

/// Each side runs this often, in turns; the median counts.
const ROUNDS: usize = 5;

/// Set for the child process whose peak memory is measured: the compression to use.
const CHILD: &str = "PATINA_BENCH_CHILD";

fn main() {
    if let Ok(compression) = std::env::var(CHILD) {
        return child(&compression);
    }
    let megabytes = std::env::var("PATINA_BENCH_MB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let databases = [
        ("mixed rows", mixed as fn(&Connection, usize)),
        ("long text", long_text),
        ("blobs", blobs),
        ("2,000 small tables", small_tables),
        ("full-text search", full_text),
    ];
    println!("{:<44} {:>9} {:>9} {:>7}", "", "stock", "patina", "ratio");
    let only = std::env::var("PATINA_BENCH_ONLY").unwrap_or_default();
    for (name, fill) in databases {
        let path = folder.path().join("source.db");
        make(&path, fill, megabytes);
        let bench = Bench {
            name,
            folder: folder.path().to_owned(),
            database: path.clone(),
            only: only.clone(),
        };
        bench.run();
        if name == "mixed rows" {
            bench.peak_memory(megabytes);
        }
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}

struct Bench {
    name: &'static str,
    folder: PathBuf,
    database: PathBuf,
    only: String,
}

impl Bench {
    fn run(&self) {
        let db = self.database.display();
        let out = self.folder.join("stock.out");
        let o = out.display();
        let pairs = [
            (
                Compression::None,
                "dump vs .dump",
                format!("sqlite3 '{db}' .dump > '{o}'"),
            ),
            (
                Compression::Gzip,
                "gzip vs .dump | gzip -6",
                format!("sqlite3 '{db}' .dump | gzip -6 > '{o}'"),
            ),
            (
                Compression::Zstd,
                "zstd vs .dump | zstd",
                format!("sqlite3 '{db}' .dump | zstd -q > '{o}'"),
            ),
        ];
        for (compression, what, stock) in pairs {
            if !self.is_wanted(what) {
                continue;
            }
            let (mut theirs, mut ours) = (Vec::new(), Vec::new());
            let mut size_bytes = 0;
            for _ in 0..ROUNDS {
                theirs.push(timed(|| shell(&stock)));
                ours.push(timed(|| {
                    let (partial, _) = self.dump(compression, Look::Nothing);
                    size_bytes = partial.stored.size_bytes;
                }));
            }
            self.print(what, theirs, ours);
            let stock_bytes = std::fs::metadata(&out).expect("stock output").len();
            println!("{:<44} {stock_bytes:>9} {size_bytes:>9} bytes", "");
        }
        if !self.is_wanted("drill") {
            return;
        }
        let dump = self.folder.join("stock.sql");
        shell(&format!("sqlite3 '{db}' .dump > '{}'", dump.display()));
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let new = self.folder.join("new.db");
            theirs.push(timed(|| {
                shell(&format!(
                    "sqlite3 '{}' < '{}'",
                    new.display(),
                    dump.display()
                ));
            }));
            std::fs::remove_file(new).expect("the restored database");
            let (partial, dumped) = self.dump(Compression::None, Look::Nothing);
            ours.push(timed(|| self.prove(partial, dumped)));
        }
        self.print("drill vs sqlite3 new.db < dump.sql", theirs, ours);
        self.cost_of_the_check();
    }

    /// Dump and drill without a second look at the source, with one at its content, and with one at its health, too.
    fn cost_of_the_check(&self) {
        let looks = [Look::Nothing, Look::Content, Look::ContentAndHealth];
        let mut times = [Vec::new(), Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (look, times) in looks.into_iter().zip(&mut times) {
                times.push(timed(|| {
                    let (partial, dumped) = self.dump(Compression::Gzip, look);
                    self.prove(partial, dumped);
                }));
            }
        }
        let [without, content, health] = times.map(|times| median(times).as_secs_f64());
        println!(
            "{:<44} {without:>8.2}s {content:>8.2}s {:>6.1}%",
            format!("{}: backup, then with the check", self.name),
            (content / without - 1.0) * 100.0,
        );
        println!(
            "{:<44} {content:>8.2}s {health:>8.2}s {:>6.1}%",
            format!("{}: with the check, then with health", self.name),
            (health / content - 1.0) * 100.0,
        );
        // SQLite's check speaks for what the check then need not read: what a backup pays is both.
        println!(
            "{:<44} {without:>8.2}s {health:>8.2}s {:>6.1}%",
            format!("{}: backup, then with both", self.name),
            (health / without - 1.0) * 100.0,
        );
    }

    /// The most memory that the dump and the drill of a database ten times as large take, in a process of their own.
    fn peak_memory(&self, megabytes: usize) {
        if !self.is_wanted("memory") {
            return;
        }
        let path = self.folder.join("large.db");
        make(&path, mixed, 30 * megabytes);
        let size = ByteCount(std::fs::metadata(&path).expect("the database").len());
        for compression in ["none", "gzip", "zstd"] {
            let program = std::env::current_exe().expect("this program");
            let output = Command::new(program)
                .env(CHILD, compression)
                .env("PATINA_BENCH_DB", &path)
                .output()
                .expect("the child process");
            assert!(output.status.success(), "{output:?}");
            let what = format!("memory of dump and drill, {compression}, {size}");
            println!(
                "{what:<44} {}",
                String::from_utf8_lossy(&output.stdout).trim()
            );
        }
        std::fs::remove_file(path).expect("the database");
    }

    fn is_wanted(&self, what: &str) -> bool {
        format!("{}: {what}", self.name).contains(&self.only)
    }

    fn dump(&self, compression: Compression, look: Look) -> (Partial, Dumped) {
        let source = SqliteSource::new(self.database.clone(), self.folder.clone());
        let header = Header {
            agent: "bench".to_owned(),
            database: "source".parse().expect("a valid name"),
            generated: chrono::DateTime::UNIX_EPOCH,
            job: JobId::random(),
            source: "sqlite source.db".to_owned(),
        };
        let request = DumpRequest {
            header: &header,
            skip_data: &[],
            form: DumpForm::WholeSql,
            look,
            progress: &Default::default(),
            stop: &CancellationToken::new(),
        };
        let path = self.folder.join("source.partial");
        let mut writing = Writing::create(&path, compression).expect("a spool");
        let dumped = source.dump(&request, &mut writing).expect("a dump");
        (writing.finish().expect("a spool"), dumped)
    }

    fn prove(&self, partial: Partial, mut dumped: Dumped) {
        let witness = dumped.witness.take();
        let trial = Trial {
            evidence: &dumped.evidence,
            class: dumped.class,
            form: DumpForm::WholeSql,
            exceptions: &dumped.exceptions,
            skip_data: &[],
            scratch: &self.folder.join("scratch.db"),
            progress: &Arc::default(),
            stop: &CancellationToken::new(),
        };
        let (ready, _) = prove(partial, &trial, witness).expect("a proven dump");
        ready.remove().expect("the spool is ours");
    }

    fn print(&self, what: &str, theirs: Vec<Duration>, ours: Vec<Duration>) {
        let (theirs, ours) = (median(theirs), median(ours));
        let ratio = theirs.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{:<44} {:>8.2}s {:>8.2}s {ratio:>6.1}x",
            format!("{}: {what}", self.name),
            theirs.as_secs_f64(),
            ours.as_secs_f64(),
        );
    }
}

fn child(compression: &str) {
    let database = PathBuf::from(std::env::var_os("PATINA_BENCH_DB").expect("a database"));
    let compression = match compression {
        "gzip" => Compression::Gzip,
        "zstd" => Compression::Zstd,
        _ => Compression::None,
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bench = Bench {
        name: "memory",
        folder: folder.path().to_owned(),
        database,
        only: String::new(),
    };
    let (partial, dumped) = bench.dump(compression, Look::ContentAndHealth);
    let after_dump = peak();
    bench.prove(partial, dumped);
    println!("{after_dump} after the dump, {} after the drill", peak());
}

/// The most memory this process has taken so far.
fn peak() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.expect("a peak").trim().to_owned()
}

fn timed(work: impl FnOnce()) -> Duration {
    let started = Instant::now();
    work();
    started.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn shell(command: &str) {
    let status = Command::new("bash")
        .args(["-o", "pipefail", "-c", command])
        .stdin(Stdio::null())
        .status()
        .expect("bash");
    assert!(status.success(), "{command}");
}

fn make(path: &Path, fill: fn(&Connection, usize), megabytes: usize) {
    let connection = Connection::open(path).expect("a new database");
    connection
        .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; BEGIN;")
        .expect("a transaction");
    fill(&connection, megabytes);
    connection.execute_batch("COMMIT").expect("the rows");
}

/// Repeatable numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// Words as they stand in prose: few common ones, many rare ones.
    fn prose(&mut self, words: usize) -> String {
        const COMMON: [&str; 16] = [
            "the", "of", "and", "to", "in", "that", "it's", "was", "for", "on", "with", "as",
            "grove", "backup", "is", "at",
        ];
        let mut text = String::new();
        for _ in 0..words {
            let number = self.next();
            if !number.is_multiple_of(3) {
                text.push_str(COMMON[(number >> 8) as usize % COMMON.len()]);
            } else {
                let letters = 3 + (number >> 20) % 8;
                for letter in 0..letters {
                    text.push(char::from(
                        b'a' + ((number >> (24 + 4 * letter)) % 26) as u8,
                    ));
                }
            }
            text.push(if number.is_multiple_of(17) { '\n' } else { ' ' });
        }
        text
    }
}

fn mixed(connection: &Connection, megabytes: usize) {
    connection
        .execute_batch(
            "CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, score REAL, seen INTEGER);
             CREATE TABLE events(id TEXT PRIMARY KEY, user INTEGER REFERENCES users(id), kind TEXT, at INTEGER,
               amount REAL, note TEXT, payload TEXT);
             CREATE INDEX events_at ON events(at);",
        )
        .expect("tables");
    let mut numbers = Numbers(42);
    let mut user = connection
        .prepare("INSERT INTO users VALUES(?,?,?,?,?)")
        .expect("insert");
    let mut event = connection
        .prepare("INSERT INTO events VALUES(?,?,?,?,?,?,?)")
        .expect("insert");
    for id in 0..megabytes * 500 {
        let score = numbers.next() as f64 / 1e15;
        let email = format!("user{}@example.com", numbers.next());
        let seen = 1_700_000_000 + numbers.next() % 100_000_000;
        user.execute(params![id, email, format!("User {id}"), score, seen])
            .expect("row");
        for _ in 0..4 {
            let amount = (numbers.next() % 100_000) as f64 / 100.0;
            event
                .execute(params![
                    format!("{:016x}{:08x}", numbers.next(), numbers.next() as u32),
                    id,
                    ["view", "click", "buy"][numbers.next() as usize % 3],
                    1_700_000_000 + numbers.next() % 100_000_000,
                    amount,
                    Option::<String>::None,
                    format!(
                        "{{\"page\":\"/blog/{}\",\"ms\":{}}}",
                        numbers.next() % 1000,
                        numbers.next() % 5000
                    ),
                ])
                .expect("row");
        }
    }
}

fn long_text(connection: &Connection, megabytes: usize) {
    connection
        .execute_batch(
            "CREATE TABLE posts(id INTEGER PRIMARY KEY, title TEXT, body TEXT, at INTEGER);",
        )
        .expect("table");
    let mut numbers = Numbers(43);
    let mut insert = connection
        .prepare("INSERT INTO posts VALUES(?,?,?,?)")
        .expect("insert");
    for id in 0..megabytes * 100 {
        let body = numbers.prose(1800);
        insert
            .execute(params![id, format!("Post {id}"), body, 1_700_000_000 + id])
            .expect("row");
    }
}

fn blobs(connection: &Connection, megabytes: usize) {
    connection
        .execute_batch("CREATE TABLE files(id INTEGER PRIMARY KEY, name TEXT, data BLOB);")
        .expect("table");
    let mut numbers = Numbers(44);
    let mut insert = connection
        .prepare("INSERT INTO files VALUES(?,?,?)")
        .expect("insert");
    for id in 0..megabytes * 64 {
        let data: Vec<u8> = (0..2048)
            .flat_map(|_| numbers.next().to_le_bytes())
            .collect();
        insert
            .execute(params![id, format!("{id}.bin"), data])
            .expect("row");
    }
}

fn small_tables(connection: &Connection, _: usize) {
    for table in 0..2000 {
        connection
            .execute_batch(&format!(
                "CREATE TABLE t{table}(id INTEGER PRIMARY KEY, name TEXT, value REAL);
                 INSERT INTO t{table} VALUES(1,'one',1.5),(2,'two',2.5),(3,'three',3.5);"
            ))
            .expect("table");
    }
}

/// A table with its search index, and one that holds its text itself.
fn full_text(connection: &Connection, megabytes: usize) {
    connection
        .execute_batch(
            "CREATE TABLE posts(id INTEGER PRIMARY KEY, body TEXT);
             CREATE VIRTUAL TABLE posts_search USING fts5(body, content='posts', content_rowid='id');
             CREATE TRIGGER posts_added AFTER INSERT ON posts BEGIN
                 INSERT INTO posts_search(rowid, body) VALUES(new.id, new.body);
             END;
             CREATE VIRTUAL TABLE mail USING fts5(subject, body, tokenize='porter');",
        )
        .expect("tables");
    let mut numbers = Numbers(47);
    for id in 0..megabytes * 20 {
        let body = numbers.prose(1200);
        connection
            .execute("INSERT INTO posts VALUES(?,?)", params![id, body])
            .expect("row");
        connection
            .execute(
                "INSERT INTO mail(subject, body) VALUES(?,?)",
                params![format!("Re: {id}"), numbers.prose(600)],
            )
            .expect("row");
    }
}
