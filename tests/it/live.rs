//! Dumps a database while another process writes it: the dump is one committed state, and the writer goes on.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use patina::types::Compression;
use rusqlite::{Connection, params};

use crate::dumping::Workshop;

const DATABASE: &str = "PATINA_TEST_LIVE";
const ACCOUNTS: i64 = 30_000;
const DUMPS: usize = 5;

/// A commit of the writer waits no longer than this, whatever is read meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
const LEAST_RATE: f64 = 200.0;

/// Each transaction moves money between accounts, adds to the ledger, and updates the checksum over all of it.
const SCHEMA: &str = "
    CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL, note TEXT);
    CREATE TABLE ledger(id INTEGER PRIMARY KEY, account INTEGER NOT NULL, amount INTEGER NOT NULL);
    CREATE TABLE checksum(transactions INTEGER, weighted INTEGER, ledger INTEGER);";
const CHECK: &str = "
    SELECT transactions > 0
       AND weighted = (SELECT sum(id * balance) FROM account)
       AND ledger = (SELECT total(id * amount) FROM ledger)
       AND 2 * transactions = (SELECT count(*) FROM ledger)
       AND (SELECT sum(balance) FROM account) = 0
    FROM checksum";

fn create(path: &Path, journal: &str) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA journal_mode={journal}; PRAGMA synchronous=OFF; BEGIN; {SCHEMA}
         INSERT INTO checksum VALUES (0, 0, 0);
         WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {ACCOUNTS})
         INSERT INTO account SELECT i, 0, hex(randomblob(300)) FROM n;
         COMMIT;"
    ))
    .unwrap();
}

/// What the other process does until its input ends: it then says how many transactions it made, in how many
/// milliseconds, and how long the slowest took. Without a database, nothing.
#[test]
fn write_until_told_to_end() {
    let Some(path) = std::env::var_os(DATABASE) else {
        return;
    };
    let mut db = Connection::open(path).unwrap();
    let journal: String = db
        .query_row("PRAGMA journal_mode", [], |row| row.get(0))
        .unwrap();
    // With a rollback journal, a writer that never rests lets no reader in, whoever reads, and each of its commits
    // waits for the disk.
    let (synchronous, rest) = match journal.as_str() {
        "wal" => ("NORMAL", Duration::ZERO),
        _ => ("OFF", Duration::from_millis(1)),
    };
    db.execute_batch(&format!("PRAGMA synchronous={synchronous}"))
        .unwrap();
    db.busy_timeout(Duration::from_secs(30)).unwrap();
    let told = std::thread::spawn(|| std::io::stdin().read_to_end(&mut Vec::new()));
    println!("writing");
    let (started, mut slowest, mut count) = (Instant::now(), Duration::ZERO, 0i64);
    while !told.is_finished() {
        let began = Instant::now();
        transact(&mut db, count).unwrap();
        slowest = slowest.max(began.elapsed());
        count += 1;
        std::thread::sleep(rest);
    }
    let elapsed = started.elapsed().as_millis();
    println!("wrote {count} {elapsed} {}", slowest.as_millis());
}

fn transact(db: &mut Connection, count: i64) -> rusqlite::Result<()> {
    let (from, to) = (count * 7919 % ACCOUNTS, (count * 104_729 + 1) % ACCOUNTS);
    let amount = count % 1000 + 1;
    let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut ledger = 0;
    for (account, amount) in [(from, -amount), (to, amount)] {
        let mut update = transaction
            .prepare_cached("UPDATE account SET balance = balance + ?2 WHERE id = ?1")?;
        update.execute(params![account, amount])?;
        let mut insert =
            transaction.prepare_cached("INSERT INTO ledger(account, amount) VALUES (?1, ?2)")?;
        insert.execute(params![account, amount])?;
        ledger += transaction.last_insert_rowid() * amount;
    }
    let mut update = transaction.prepare_cached(
        "UPDATE checksum SET transactions = transactions + 1, weighted = weighted + ?1, ledger = ledger + ?2",
    )?;
    update.execute(params![amount * (to - from), ledger])?;
    drop(update);
    transaction.commit()
}

struct Writer {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Writer {
    fn start(database: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "live::write_until_told_to_end", "--nocapture"])
            .env(DATABASE, database)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut writer = Self { child, output };
        writer.line("writing");
        writer
    }

    fn line(&mut self, start: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(
                self.output.read_line(&mut line).unwrap() > 0,
                "the writer ended"
            );
            // The test runner may have begun the line.
            if let Some(at) = line.find(start) {
                return line[at..].to_owned();
            }
        }
    }

    /// Transactions a second, and how long the slowest took.
    fn end(mut self) -> (f64, Duration) {
        drop(self.child.stdin.take());
        let line = self.line("wrote ");
        assert!(self.child.wait().unwrap().success());
        let numbers = line.split_whitespace().skip(1).map(|n| n.parse().unwrap());
        let numbers: Vec<u32> = numbers.collect();
        let rate = f64::from(numbers[0]) / f64::from(numbers[1]) * 1000.0;
        (rate, Duration::from_millis(numbers[2].into()))
    }
}

/// Dumps again and again under a writer; each dump must hold one committed state, and a later one each time.
fn check(journal: &str, longest_wait: Duration) {
    let workshop = Workshop::new();
    let database = workshop.path("live.db");
    create(&database, journal);
    assert!(std::fs::metadata(&database).unwrap().len() > 18_000_000);
    let writer = Writer::start(&database);
    let mut last = 0;
    for number in 0..DUMPS {
        std::thread::sleep(Duration::from_millis(100));
        let source = workshop.source(&database);
        let source = source.with_busy_timeout(Duration::from_secs(30));
        let spooled = workshop.spool(&source, "live.partial", Compression::None);
        let (partial, mut dumped) = spooled.unwrap();
        let restored = workshop.restore(&partial, &format!("{number}.db")).unwrap();
        workshop.prove(partial, &mut dumped).unwrap();
        let db = Connection::open(restored).unwrap();
        let is_one_state: bool = db.query_row(CHECK, [], |row| row.get(0)).unwrap();
        assert!(is_one_state, "dump {number} mixes states");
        let transactions = "SELECT transactions FROM checksum";
        let now: i64 = db.query_row(transactions, [], |row| row.get(0)).unwrap();
        assert!(
            now > last,
            "the writer made no progress before dump {number}"
        );
        last = now;
    }
    let (rate, slowest) = writer.end();
    println!("{journal}: {rate:.0} transactions a second, the slowest took {slowest:?}");
    assert!(rate > LEAST_RATE, "only {rate:.0} transactions a second");
    assert!(slowest < longest_wait, "a transaction took {slowest:?}");
}

#[test]
fn a_dump_under_a_wal_writer_is_one_committed_state_and_does_not_block_it() {
    check("WAL", LONGEST_WAIT);
}

#[test]
fn a_dump_under_a_rollback_journal_writer_blocks_it_only_while_pages_are_copied() {
    check("DELETE", 2 * LONGEST_WAIT);
}
