//! Thousands of generated databases: whatever a copy does not bring back, it says so.
//!
//! `PATINA_SCHEMAS=n` sets how many, `PATINA_SCHEMA_SEED=n` replays one.

use std::collections::BTreeMap;
use std::env;
use std::path::Path;

use super::patina::{Copied, Outcome, protect};
use super::{compare, folder, generator, inventory, silent};
use crate::torture::shell_restore;

/// Databases over all tests.
const DATABASES: u64 = 5_000;

/// Tests that share them, so that they run beside each other.
const SHARES: u64 = 4;

/// Of so many databases one is restored by the stock shell, too: a process each is slow.
const SHELL_EVERY: u64 = 50;

/// Failures told whole; of the rest only the kind.
const MOST_TOLD: usize = 5;

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
    refused_by_shell: u64,
    compared_by_shell: u64,
    /// What went wrong, told whole.
    faults: Vec<String>,
    /// What went wrong, counted by what it was.
    by_fault: BTreeMap<String, u64>,
}

fn check_share(share: u64) {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse().unwrap());
    let seeds: Vec<u64> = match number("PATINA_SCHEMA_SEED") {
        Some(seed) if seed % SHARES == share => vec![seed],
        Some(_) => return,
        None => (0..number("PATINA_SCHEMAS").unwrap_or(DATABASES))
            .filter(|seed| seed % SHARES == share)
            .collect(),
    };
    assert!(!seeds.is_empty(), "no databases");
    let mut tally = Tally::default();
    seeds
        .into_iter()
        .for_each(|seed| check_one(&mut tally, seed));
    let (databases, outcomes) = (tally.databases, &tally.by_outcome);
    println!("{databases} databases: {outcomes:?}");
    println!(
        "by the shell: {} compared, {} refused",
        tally.compared_by_shell, tally.refused_by_shell
    );
    let total: u64 = tally.by_fault.values().sum();
    assert!(
        tally.by_fault.is_empty(),
        "{total} of {databases} databases: {:#?}\n{}",
        tally.by_fault,
        tally.faults.join("\n\n")
    );
}

fn check_one(tally: &mut Tally, seed: u64) {
    let folder = folder();
    let source = folder.path().join("source.db");
    let recipe = generator::generate(&source, folder.path(), seed);
    tally.databases += 1;
    let copied = match protect(&source, folder.path()) {
        Outcome::Copied(copied) => copied,
        Outcome::Refused(message) => {
            // A healthy database always gets a copy.
            *tally.by_outcome.entry("refused".to_owned()).or_default() += 1;
            return tally.fault(seed, &recipe, &[format!("refused: {message}")]);
        }
    };
    let kind = if copied.is_image { "image" } else { "sql" };
    let outcome = format!("{kind} {}", copied.class);
    *tally.by_outcome.entry(outcome).or_default() += 1;
    let taken = inventory::take(&source);
    let held = taken.unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", recipe.sql));
    let mut faults = unlike(&held, &copied.restored, &copied);
    if let Some(sql) = copied
        .sql
        .as_deref()
        .filter(|_| (seed / SHARES) % SHELL_EVERY == 0)
    {
        let by_shell = folder.path().join("shell.db");
        match shell_restore(sql, &by_shell, false) {
            // An older shell lacks what a newer SQLite knows; that is no silence.
            Err(_) => tally.refused_by_shell += 1,
            Ok(()) => {
                tally.compared_by_shell += 1;
                let texts = unlike(&held, &by_shell, &copied);
                faults.extend(
                    texts
                        .into_iter()
                        .map(|text| format!("by the shell: {text}")),
                );
            }
        }
    }
    if !faults.is_empty() {
        tally.fault(seed, &recipe, &faults);
    }
}

/// What differs in a restored file and was not declared.
fn unlike(held: &inventory::Inventory, restored: &Path, copied: &Copied) -> Vec<String> {
    match inventory::take(restored) {
        Ok(found) => silent(copied, compare::differences(held, &found)),
        Err(error) => vec![format!("the copy cannot be read: {error}")],
    }
}

impl Tally {
    fn fault(&mut self, seed: u64, recipe: &generator::Recipe, texts: &[String]) {
        let first = texts[0].split([':', ';']).take(2).collect::<String>();
        let kind: String = first
            .split_whitespace()
            .take(3)
            .collect::<Vec<_>>()
            .join(" ");
        let kinds = recipe.kinds.join(", ");
        *self.by_fault.entry(kind).or_default() += 1;
        if self.faults.len() < MOST_TOLD {
            let text = texts.join("\n  ");
            self.faults.push(format!(
                "seed {seed} ({kinds}), again with PATINA_SCHEMA_SEED={seed}:\n  {text}\nbuilt by:\n{}",
                recipe.sql
            ));
        }
    }
}
