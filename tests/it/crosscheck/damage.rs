//! Files that were damaged byte by byte: none that SQLite's own check calls damaged is proven, none is refused without
//! a way out, none hangs or panics.
//!
//! `PATINA_DAMAGED=n` sets how many, `PATINA_DAMAGE_SEED=n` replays one.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;

use super::patina::{Outcome, protect};
use super::{compare, folder, inventory, silent};
use crate::torture::Dice;

/// Files over all tests.
const FILES: u64 = 2_000;

/// Tests that share them.
const SHARES: u64 = 2;

/// Whatever takes longer hangs: a file here is copied within milliseconds.
const LONGEST: Duration = Duration::from_secs(30);

const MOST_TOLD: usize = 12;

/// Page size and `auto_vacuum` of the files that are damaged.
const LAYOUTS: &[(usize, u8)] = &[
    (512, 0),
    (512, 1),
    (1024, 2),
    (4096, 0),
    (4096, 1),
    (1024, 0),
];

#[test]
fn no_damaged_file_is_proven_and_each_has_a_way_out_first_half() {
    check_share(0);
}

#[test]
fn no_damaged_file_is_proven_and_each_has_a_way_out_second_half() {
    check_share(1);
}

#[test]
fn the_files_are_sound_before_they_are_damaged() {
    let folder = folder();
    for (at, layout) in LAYOUTS.iter().enumerate() {
        let path = folder.path().join(format!("{at}.db"));
        build(&path, *layout);
        assert_eq!(inventory::check(&path), Ok(Vec::new()), "{layout:?}");
        let db = Connection::open(&path).unwrap();
        let free: i64 = db
            .query_row("PRAGMA freelist_count", [], |row| row.get(0))
            .unwrap();
        // Where the file shrinks by itself, nothing is free.
        assert_eq!(free > 0, layout.1 != 1, "{layout:?}");
    }
}

#[derive(Default)]
struct Tally {
    /// How many files came to what, and the first of them.
    outcomes: BTreeMap<String, (u64, u64)>,
    faults: Vec<String>,
    faulty: u64,
}

fn check_share(share: u64) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds: Vec<u64> = match number("PATINA_DAMAGE_SEED") {
        Some(seed) if seed % SHARES == share => vec![seed],
        Some(_) => return,
        None => (0..number("PATINA_DAMAGED").unwrap_or(FILES))
            .filter(|seed| seed % SHARES == share)
            .collect(),
    };
    let folder = folder();
    let sound: Vec<Vec<u8>> = LAYOUTS
        .iter()
        .map(|layout| {
            let path = folder.path().join("sound.db");
            build(&path, *layout);
            let bytes = fs::read(&path).unwrap();
            fs::remove_file(&path).unwrap();
            bytes
        })
        .collect();
    let mut tally = Tally::default();
    for seed in &seeds {
        check_one(&mut tally, *seed, &sound);
    }
    println!("{} files: {:?}", seeds.len(), tally.outcomes);
    if seeds.len() > 100 {
        let damaged = tally
            .outcomes
            .iter()
            .filter(|(what, _)| what.starts_with("damaged"));
        let damaged: u64 = damaged.map(|(_, (count, _))| count).sum();
        let least = seeds.len() as u64 / 2;
        assert!(damaged > least, "only {damaged} of the files are damaged");
    }
    assert!(
        tally.faulty == 0,
        "{} of {} files; {:?}\n{}",
        tally.faulty,
        seeds.len(),
        tally.outcomes,
        tally.faults.join("\n")
    );
}

fn check_one(tally: &mut Tally, seed: u64, sound: &[Vec<u8>]) {
    let mut dice = Dice::new(seed);
    let at = dice.below(sound.len());
    let (mut bytes, page) = (sound[at].clone(), LAYOUTS[at].0);
    let done: Vec<String> = (0..1 + dice.below(3))
        .map(|_| damage(&mut bytes, page, &mut dice))
        .collect();
    let folder = folder();
    let source = folder.path().join("source.db");
    fs::write(&source, &bytes).unwrap();
    // The check has a file of its own: it must not change what is copied.
    let looked_at = folder.path().join("checked.db");
    fs::write(&looked_at, &bytes).unwrap();
    let findings = findings(&looked_at);
    let health = if findings.is_empty() {
        "sound"
    } else {
        "damaged"
    };
    let (result, fault) = match copy(&source, folder.path()) {
        Err(trouble) => (trouble.to_owned(), Some(trouble.to_owned())),
        Ok(Outcome::Refused(message)) => {
            let fault = (!message.contains("hint:")).then(|| format!("no way out: {message}"));
            ("refused".to_owned(), fault)
        }
        Ok(Outcome::Copied(copied)) => {
            let kind = if copied.is_image { "image" } else { "sql" };
            let fault = match findings.is_empty() {
                false if copied.class == "A" => Some("proven although it is damaged".to_owned()),
                false => None,
                true => lost(&looked_at, &copied),
            };
            (format!("{kind} {}", copied.class), fault)
        }
    };
    let outcome = format!("{health}: {result}");
    tally.outcomes.entry(outcome).or_insert((0, seed)).0 += 1;
    let Some(fault) = fault else {
        return;
    };
    tally.faulty += 1;
    if tally.faults.len() < MOST_TOLD {
        tally.faults.push(format!(
            "seed {seed}, {:?}, again with PATINA_DAMAGE_SEED={seed}: {fault}\n  {}\n  SQLite: {:?}",
            LAYOUTS[at],
            done.join("; "),
            findings.iter().take(3).collect::<Vec<_>>()
        ));
    }
}

/// What SQLite's own check finds, without rows that break a rule of their table: those may have been there before.
fn findings(path: &Path) -> Vec<String> {
    match inventory::check(path) {
        Err(error) => vec![error],
        Ok(lines) => lines
            .into_iter()
            .filter(|line| !inventory::is_about_rules(line))
            .collect(),
    }
}

/// What a copy of a sound file does not hold and does not admit.
fn lost(source: &Path, copied: &super::patina::Copied) -> Option<String> {
    let held = inventory::take(source).ok()?;
    let found = match inventory::take(&copied.restored) {
        Ok(found) => found,
        Err(error) => return Some(format!("the copy cannot be read: {error}")),
    };
    let differences = silent(copied, compare::differences(&held, &found));
    let first = differences.into_iter().next()?;
    Some(format!("lost in silence: {}", first.text))
}

/// Copies on a thread of its own, so that one which hangs or panics is told with its seed.
fn copy(source: &Path, work: &Path) -> Result<Outcome, &'static str> {
    let (sender, outcome) = channel();
    let (source, work) = (source.to_owned(), work.to_owned());
    let worker = thread::spawn(move || sender.send(protect(&source, &work)));
    match outcome.recv_timeout(LONGEST) {
        Ok(outcome) => {
            worker.join().map_err(|_| "panicked")?.ok();
            Ok(outcome)
        }
        Err(RecvTimeoutError::Timeout) => Err("hangs"),
        Err(RecvTimeoutError::Disconnected) => Err("panicked"),
    }
}

/// Builds a small file with every kind of page: tables, indexes, overflow, free pages, pointer maps, full text, R-tree.
fn build(path: &Path, (page_size, auto_vacuum): (usize, u8)) {
    let db = Connection::open(path).unwrap();
    db.execute_batch(&format!(
        "PRAGMA page_size={page_size}; PRAGMA auto_vacuum={auto_vacuum}; PRAGMA journal_mode=MEMORY; PRAGMA synchronous=OFF;"
    ))
    .unwrap();
    db.execute_batch(
        "BEGIN;
         CREATE TABLE people(id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, age INTEGER CHECK (age < 200), note);
         WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 150)
         INSERT INTO people(name, age, note) SELECT 'name ' || (i * 7919 % 1000), i % 90, i * 1.5 FROM n;
         CREATE UNIQUE INDEX by_name ON people(name, id);
         CREATE INDEX by_age ON people(age DESC) WHERE age > 20;
         CREATE TABLE keyed(a TEXT, b INTEGER, c, PRIMARY KEY (a, b)) WITHOUT ROWID;
         INSERT INTO keyed SELECT note || 'k', id, name FROM people;
         CREATE TABLE files(id INTEGER PRIMARY KEY, bytes BLOB, t TEXT UNIQUE);
         INSERT INTO files SELECT id * 3, zeroblob(id * 40), hex(zeroblob(id)) || id FROM people WHERE id % 10 = 0;
         CREATE VIRTUAL TABLE notes USING fts5(title, body, prefix = '2');
         INSERT INTO notes SELECT name, 'age ' || age || ' restore backups' FROM people WHERE id % 3 = 0;
         CREATE VIRTUAL TABLE old_notes USING fts4(body);
         INSERT INTO old_notes SELECT name || ' backup' FROM people WHERE id % 5 = 0;
         CREATE VIRTUAL TABLE boxes USING rtree(id, x0, x1);
         INSERT INTO boxes SELECT id, age, age + 1 FROM people WHERE id % 2 = 0;
         CREATE VIEW old_people AS SELECT name FROM people WHERE age > 60;
         CREATE TRIGGER forget AFTER DELETE ON people BEGIN DELETE FROM keyed WHERE b = old.id; END;
         CREATE TABLE gone(v);
         INSERT INTO gone SELECT zeroblob(700) FROM people WHERE id < 30;
         COMMIT;
         DROP TABLE gone;
         ANALYZE;
         DROP TABLE sqlite_stat4;",
    )
    .unwrap();
}

/// Damages `bytes` in one way, and says which.
fn damage(bytes: &mut Vec<u8>, page: usize, dice: &mut Dice) -> String {
    let pages = bytes.len() / page;
    if pages < 2 {
        return "nothing left to damage".to_owned();
    }
    let start = dice.below(pages) * page;
    let at = dice.below(bytes.len());
    match dice.below(12) {
        0..3 => {
            let bit = dice.below(8);
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        3 => {
            let (count, end) = (1 + dice.below(64), bytes.len());
            bytes[at..end.min(at + count)].fill(0);
            format!("{count} bytes from {at} zeroed")
        }
        4 => {
            bytes[start..start + page].fill(dice.pick(&[0, 0xff]));
            format!("the page at {start} filled")
        }
        5 => {
            bytes.truncate(at);
            format!("cut to {at} bytes")
        }
        6 => {
            bytes.truncate(start.max(page));
            format!("cut to {} bytes, between pages", bytes.len())
        }
        7 => {
            let from = dice.below(pages) * page;
            bytes.copy_within(from..from + page, start);
            format!("the page at {from} copied to {start}")
        }
        8 => {
            let other = dice.below(pages) * page;
            for offset in 0..page {
                bytes.swap(start + offset, other + offset);
            }
            format!("the pages at {start} and {other} swapped")
        }
        // What leads a page: its kind, its cells and where they are.
        9 => {
            let offset = start + if start == 0 { 100 } else { 0 } + dice.below(16);
            bytes[offset] = dice.bits().to_le_bytes()[0];
            format!("byte {offset}, in the head of a page, overwritten")
        }
        // What leads the file, except for the text that says what it is.
        10 => {
            let offset = 16 + dice.below(84);
            bytes[offset] = dice.bits().to_le_bytes()[0];
            format!("byte {offset}, in the head of the file, overwritten")
        }
        _ => {
            let count = (1 + dice.below(40)).min(bytes.len() - at);
            for byte in &mut bytes[at..at + count] {
                *byte = dice.bits().to_le_bytes()[0];
            }
            format!("{count} bytes from {at} overwritten")
        }
    }
}
