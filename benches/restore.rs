//! Times what most restores are for, one table or one row, against loading the whole dump into the stock shell, in the
//! same run.
//!
//! `cargo bench --bench restore` prints one line per measurement: both medians and their ratio. `PATINA_BENCH_MB` sets
//! the size of the dump (default 1000).

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use patina::types::ByteCount;
use rusqlite::{Connection, params};

/// Each side runs this often, in turns; the median counts.
const ROUNDS: usize = 3;

/// A user and ten events take about so many bytes of a dump.
const BYTES_PER_USER: usize = 1_335;

/// The user that is asked for.
const WANTED: usize = 4_321;

fn main() {
    let megabytes: usize = std::env::var("PATINA_BENCH_MB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(1000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let bench = Bench {
        folder: folder.path().to_owned(),
    };
    bench.fill(megabytes);
    for compression in ["none", "gzip"] {
        bench.run(compression);
    }
}

struct Bench {
    folder: PathBuf,
}

impl Bench {
    /// Makes a database of ten events for every user.
    fn fill(&self, megabytes: usize) {
        let users = (megabytes * 1_000_000 / BYTES_PER_USER).max(WANTED + 1);
        let connection = Connection::open(self.path("shop.db")).expect("a new database");
        connection
            .execute_batch(
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=OFF; BEGIN;
                 CREATE TABLE users(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT);
                 CREATE TABLE events(id INTEGER PRIMARY KEY, user INTEGER REFERENCES users(id), kind TEXT, note TEXT);
                 CREATE INDEX events_user ON events(user);",
            )
            .expect("tables");
        let mut user = connection
            .prepare("INSERT INTO users VALUES(?,?,?)")
            .expect("insert");
        let mut event = connection
            .prepare("INSERT INTO events(user,kind,note) VALUES(?,?,?)")
            .expect("insert");
        for id in 0..users {
            user.execute(params![
                id,
                format!("user{id}@example.com"),
                format!("User {id}")
            ])
            .expect("row");
            for number in 0..10 {
                let note = format!("{:0>110}", id.wrapping_mul(2_654_435_761) ^ number);
                event.execute(params![id, "view", note]).expect("row");
            }
        }
        connection.execute_batch("COMMIT").expect("the rows");
    }

    fn run(&self, compression: &str) {
        let config = format!(
            "[agent]\nstate = \"state-{compression}\"\n[export]\ncompression = \"{compression}\"\ntimeout = \"1h\"\n\
             [[storage]]\nname = \"nas\"\ndirectory = \"store-{compression}\"\n\
             [[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n"
        );
        std::fs::write(self.path("patina.toml"), config).expect("a configuration");
        self.patina(&["--quiet", "backup"]);
        let dump = self.path("dump.sql");
        self.shell(&format!(
            "'{}' cat shop > '{}'",
            env!("CARGO_BIN_EXE_patina"),
            dump.display()
        ));
        let size = ByteCount(std::fs::metadata(&dump).expect("the dump").len());
        println!(
            "{:<52} {:>9} {:>9} {:>7}",
            format!("{size} of SQL, kept as {compression}"),
            "sqlite3",
            "patina",
            "ratio"
        );
        let row = format!("SELECT * FROM users WHERE id = {WANTED}");
        let of_large = format!("SELECT * FROM events WHERE user = {WANTED}");
        // One transaction, as who knows the shell would do it: without it, it takes several times as long.
        let load = |then: &str| {
            format!(
                "(echo 'BEGIN;'; cat dump.sql; echo 'COMMIT;') | sqlite3 new.db && sqlite3 new.db \"{then}\" >&2"
            )
        };
        let table = ["restore", "shop", "--table", "users", "--to", "out.db"];
        self.compare(
            "the whole database",
            &load("SELECT 1"),
            &["restore", "shop", "--to", "out.db"],
        );
        self.compare(
            "one table of a tenth of the rows",
            &load("SELECT 1"),
            &table,
        );
        self.compare(
            "one row of that table, by query",
            &load(&row),
            &["query", "shop", &row],
        );
        self.compare(
            "ten rows of the large table, by query",
            &load(&of_large),
            &["query", "shop", &of_large],
        );
    }

    fn compare(&self, what: &str, theirs: &str, ours: &[&str]) {
        let (mut stock, mut patina) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            self.remove("new.db");
            stock.push(timed(|| self.shell(theirs)));
            self.remove("new.db");
            self.remove("out.db");
            patina.push(timed(|| self.patina(ours)));
        }
        let (stock, patina) = (median(stock), median(patina));
        println!(
            "{what:<52} {:>8.2}s {:>8.2}s {:>6.1}x",
            stock.as_secs_f64(),
            patina.as_secs_f64(),
            stock.as_secs_f64() / patina.as_secs_f64()
        );
    }

    fn patina(&self, args: &[&str]) {
        let output = Command::new(env!("CARGO_BIN_EXE_patina"))
            .args(args)
            .current_dir(&self.folder)
            .env_remove("PATINA_CONFIG")
            .output()
            .expect("patina");
        assert!(output.status.success(), "{args:?}: {output:?}");
    }

    fn shell(&self, command: &str) {
        let status = Command::new("bash")
            .args(["-c", command])
            .current_dir(&self.folder)
            .env_remove("PATINA_CONFIG")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .expect("bash");
        assert!(status.success(), "{command}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn remove(&self, name: &str) {
        let path = self.path(name);
        if Path::exists(&path) {
            std::fs::remove_file(path).expect("a file of ours");
        }
    }
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
