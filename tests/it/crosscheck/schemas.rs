//! Thousands of generated databases: whatever a copy does not bring back, it says so.
//!
//! `PATINA_SCHEMAS=n` sets how many, `PATINA_SCHEMA_SEED=n` replays one; `PATINA_SCHEMA_SQL=file` checks the database
//! that the SQL of a file builds, which is how one is made smaller by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::path::Path;

use rusqlite::Connection;

use super::patina::{Copied, Outcome, protect};
use super::{compare, folder, generator, inventory, program, silent};
use crate::torture::shell_restore;

/// Databases over all tests.
const DATABASES: u64 = 5_000;

/// Tests that share them, so that they run beside each other.
const SHARES: u64 = 4;

/// One of this many databases is restored by the stock shell, too: a process each is slow.
const SHELL_EVERY: u64 = 10;

/// Databases told whole; of the rest only what sort of thing was wrong, and the first seed.
const MOST_TOLD: usize = 3;

/// Faults told of one database.
const MOST_FAULTS: usize = 12;

#[test]
fn generated_databases_lose_nothing_in_silence_first_quarter() {
    check_share(0);
}

#[test]
fn generated_databases_lose_nothing_in_silence_second_quarter() {
    check_share(1);
}

#[test]
fn generated_databases_lose_nothing_in_silence_third_quarter() {
    check_share(2);
}

#[test]
fn generated_databases_lose_nothing_in_silence_last_quarter() {
    check_share(3);
}

#[derive(Default)]
struct Tally {
    databases: u64,
    by_outcome: BTreeMap<String, u64>,
    /// Why the shell refused copies, how many, and the first seed.
    refused_by_shell: BTreeMap<String, (u64, u64)>,
    compared_by_shell: u64,
    /// What went wrong, told whole.
    told: Vec<String>,
    /// How many databases something of a sort went wrong with, and the first of them.
    by_kind: BTreeMap<String, (u64, u64)>,
    /// Databases with which anything went wrong.
    faulty: u64,
}

#[test]
fn the_database_of_a_file_loses_nothing_in_silence() {
    let sql = match env::var_os("PATINA_SCHEMA_SQL") {
        Some(file) => std::fs::read_to_string(file).unwrap(),
        None => {
            "CREATE TABLE t(a, b); INSERT INTO t VALUES (1, 'x'); CREATE INDEX i ON t(b)".to_owned()
        }
    };
    let folder = folder();
    let source = folder.path().join("source.db");
    let db = Connection::open(&source).unwrap();
    program::register(&db).unwrap();
    db.execute_batch(&sql).unwrap();
    drop(db);
    let mut tally = Tally::default();
    let recipe = generator::Recipe {
        kinds: vec!["file"],
        sql,
    };
    check(&mut tally, 0, &source, folder.path(), &recipe);
    println!("{:?}", tally.by_outcome);
    assert!(tally.faulty == 0, "{}", tally.told.join("\n"));
}

fn check_share(share: u64) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds: Vec<u64> = match number("PATINA_SCHEMA_SEED") {
        Some(seed) if seed % SHARES == share => vec![seed],
        Some(_) => return,
        None => (number("PATINA_SCHEMAS_FROM").unwrap_or(0)
            ..number("PATINA_SCHEMAS").unwrap_or(DATABASES))
            .filter(|seed| seed % SHARES == share)
            .collect(),
    };
    assert!(!seeds.is_empty(), "no databases");
    let mut tally = Tally::default();
    seeds
        .into_iter()
        .for_each(|seed| check_one(&mut tally, seed));
    let share = |kind: &str| {
        let outcomes = tally.by_outcome.iter();
        let of_kind = outcomes.filter(|(outcome, _)| outcome.starts_with(kind));
        of_kind.map(|(_, count)| count).sum::<u64>() * 100 / tally.databases
    };
    if tally.databases > 200 {
        let (sql, image) = (share("sql"), share("image"));
        assert!(
            sql > 20 && image > 20,
            "{sql} % SQL and {image} % images: nothing is tried"
        );
    }
    let (databases, outcomes) = (tally.databases, &tally.by_outcome);
    println!("{databases} databases: {outcomes:?}");
    println!(
        "by the shell: {} compared, refused: {:#?}",
        tally.compared_by_shell, tally.refused_by_shell
    );
    assert!(
        tally.faulty == 0,
        "{} of {databases} databases, by what is wrong (how many, the first seed): {:#?}\n{}",
        tally.faulty,
        tally.by_kind,
        tally.told.join("\n\n")
    );
}

fn check_one(tally: &mut Tally, seed: u64) {
    let folder = folder();
    let source = folder.path().join("source.db");
    let recipe = generator::generate(&source, folder.path(), seed);
    check(tally, seed, &source, folder.path(), &recipe);
}

fn check(tally: &mut Tally, seed: u64, source: &Path, work: &Path, recipe: &generator::Recipe) {
    tally.databases += 1;
    let copied = match protect(source, work) {
        Outcome::Copied(copied) => copied,
        // A file in which its program wrote nothing yet is no database yet, and the message says so.
        Outcome::Refused(message) if is_empty(source) && message.contains("the file is empty") => {
            *tally.by_outcome.entry("empty".to_owned()).or_default() += 1;
            return;
        }
        Outcome::Refused(message) => {
            // A healthy database always gets a copy.
            *tally.by_outcome.entry("refused".to_owned()).or_default() += 1;
            return tally.fault(seed, recipe, &[(refusal(&message), message)]);
        }
    };
    let kind = if copied.is_image { "image" } else { "sql" };
    let outcome = format!("{kind} {}", copied.class);
    *tally.by_outcome.entry(outcome).or_default() += 1;
    let held = match inventory::take(source) {
        Ok(held) => held,
        // SQLite's check calls it damaged, and so does the copy.
        Err(_) if copied.class == "S" => return,
        Err(error) => {
            let fault = ("the source cannot be read".to_owned(), error);
            return tally.fault(seed, recipe, &[fault]);
        }
    };
    let mut faults = unlike(&held, &copied.restored, &copied);
    if let Some(sql) = copied
        .sql
        .as_deref()
        .filter(|_| (seed / SHARES).is_multiple_of(SHELL_EVERY))
    {
        let by_shell = work.join("shell.db");
        match shell_restore(sql, &by_shell, false) {
            // An older shell lacks what a newer SQLite knows; that is no silence.
            Err(error) => {
                let line = error.split_once(" near line ").map_or("", |(_, rest)| rest);
                let (_, message) = line.split_once(": ").unwrap_or(("", &error));
                let reason = message.lines().next().unwrap_or_default().to_owned();
                tally.refused_by_shell.entry(reason).or_insert((0, seed)).0 += 1;
            }
            Ok(()) => {
                tally.compared_by_shell += 1;
                let mut texts = unlike(&held, &by_shell, &copied);
                let text = std::fs::read(sql).unwrap();
                texts.retain(|fault| !is_the_shells(fault, &String::from_utf8_lossy(&text)));
                let by_shell = |(kind, text)| (format!("by the shell: {kind}"), text);
                faults.extend(texts.into_iter().map(by_shell));
            }
        }
    }
    if !faults.is_empty() {
        tally.fault(seed, recipe, &faults);
    }
}

/// Whether the shell alone is the reason: it turns CRLF into LF, which each backup warns of; a SQLite of another version
/// may spell a float another way where a schema turns it into text, as search indexes and generated columns do; and in
/// 3.40, the tokenizer for trigrams ends at bytes that are no UTF-8.
fn is_the_shells((kind, text): &Fault, dump: &str) -> bool {
    let is_of_schema = kind.starts_with("schema of");
    // The rows of a table with such a name, and what SQLite's own tables say of it.
    let is_of_name = kind.contains("rows of") && text.contains(r"\n");
    let has_float = dump.as_bytes().windows(3).any(|three| {
        three[0].is_ascii_digit() && matches!(three[1], b'.' | b'e') && three[2] != b'\n'
    });
    let lower = dump.to_ascii_lowercase();
    let spells = ["using fts", "using \"fts", " as (", " as text"];
    let is_cut = lower.contains("trigram") && lower.contains("x'");
    let is_spelled = is_cut || has_float && spells.iter().any(|word| lower.contains(word));
    (is_of_schema || is_of_name) && dump.contains("\r\n") || !is_of_schema && is_spelled
}

fn is_empty(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|facts| facts.len() == 0)
}

/// What sort of thing is wrong, and what exactly.
type Fault = (String, String);

/// What differs in a restored file and was not declared.
fn unlike(held: &inventory::Inventory, restored: &Path, copied: &Copied) -> Vec<Fault> {
    let found = match inventory::take(restored) {
        Ok(found) => found,
        Err(error) => return vec![("the copy cannot be read".to_owned(), error)],
    };
    let differences = silent(copied, compare::differences(held, &found));
    differences
        .into_iter()
        .map(|difference| (difference.kind.to_owned(), difference.text))
        .collect()
}

/// A refusal's first line without names.
fn refusal(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let outside = line.split('`').step_by(2).collect::<Vec<_>>().join("…");
    let outside = outside.split_inclusive("failed").next().unwrap_or_default();
    let words = outside.split_whitespace().take(11).collect::<Vec<_>>();
    format!("refused: {}", words.join(" "))
}

impl Tally {
    fn fault(&mut self, seed: u64, recipe: &generator::Recipe, faults: &[Fault]) {
        let kinds: BTreeSet<&str> = faults.iter().map(|(kind, _)| kind.as_str()).collect();
        let is_new = kinds.iter().any(|kind| !self.by_kind.contains_key(*kind));
        for kind in kinds {
            self.by_kind.entry(kind.to_owned()).or_insert((0, seed)).0 += 1;
        }
        self.faulty += 1;
        if is_new && self.told.len() < MOST_TOLD {
            let pieces = recipe.kinds.join(", ");
            let texts = faults
                .iter()
                .take(MOST_FAULTS)
                .map(|(_, text)| text.as_str());
            self.told.push(format!(
                "seed {seed} ({pieces}), again with PATINA_SCHEMA_SEED={seed}: {} faults\n  {}\nbuilt by:\n{}",
                faults.len(),
                texts.collect::<Vec<_>>().join("\n  "),
                recipe.sql
            ));
        }
    }
}
