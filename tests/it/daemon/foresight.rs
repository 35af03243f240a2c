//! A shorter retention says what it lets go before anything goes.

use std::fs;
use std::process::Output;

use patina::catalog::ReloadOutcome;
use serde_json::Value;

use super::{Home, wait};
use crate::week::kill::installation;

/// Some weeks of real copies, under a configuration that keeps all of them and has nothing due.
fn some_weeks() -> Home {
    let home = Home {
        folder: installation(),
    };
    let text = fs::read_to_string(home.path("patina.toml")).unwrap();
    let calm = home.calm("");
    let schedule = calm.find("[schedule]").unwrap()..calm.find("[export]").unwrap();
    let http = "[http]\nlisten = \"127.0.0.1:0\"\n";
    let text = format!("{}{http}{text}", &calm[schedule]);
    fs::write(home.path("patina.toml"), text).unwrap();
    keep(&home, 1, 60, 60);
    home
}

/// Sets `daily_days` and `weekly_weeks`, which were so before, in the file.
fn keep(home: &Home, before: u32, days: u32, weeks: u32) {
    let text = fs::read_to_string(home.path("patina.toml")).unwrap();
    let is_known = text.contains(&format!("daily_days = {before}\n"));
    assert!(is_known, "{text}");
    let lines = text.lines().map(|line| match line.split_once(" = ") {
        Some(("daily_days", _)) => format!("daily_days = {days}\n"),
        Some(("weekly_weeks", _)) => format!("weekly_weeks = {weeks}\n"),
        _ => format!("{line}\n"),
    });
    fs::write(home.path("patina.toml"), lines.collect::<String>()).unwrap();
}

fn ran(home: &Home, args: &[&str]) -> (String, Output) {
    let output = home.command(args).output().unwrap();
    let out = String::from_utf8(output.stdout.clone()).unwrap();
    (out, output)
}

fn json(home: &Home, args: &[&str]) -> Value {
    let (out, output) = ran(home, &[&["--json"], args].concat());
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn a_reload_that_lets_copies_go_says_how_many_and_nothing_goes_yet() {
    let home = some_weeks();
    let daemon = home.start();
    daemon.wait_for_log("patina works as");
    let stored = home.left().len();

    keep(&home, 60, 7, 60);
    wait("a reload", || home.reloads().len() == 1);
    let reload = home.reloads().remove(0);
    assert_eq!(reload.outcome, ReloadOutcome::Applied);
    let told = reload.told.iter();
    let told: Vec<&String> = told
        .filter(|told| told.starts_with("retention: "))
        .collect();
    // One database's 28 nights but for the newest eight, three times; archives stay.
    let [told] = told[..] else {
        panic!("{reload:?}");
    };
    assert!(told.contains("with the next weekly run, "), "{told}");
    assert!(told.contains(" daily copies of "), "{told}");
    assert!(!told.contains("weekly archive"), "{told}");
    assert!(told.ends_with("; `patina plan` names each"), "{told}");
    let counts = json(&home, &["check"])["expirable"].clone();
    let daily = counts["daily"].as_u64().unwrap();
    assert!(daily > 20, "{counts}");
    assert!(
        told.contains(&format!(" {daily} daily copies of ")),
        "{told}"
    );
    for (database, count) in counts["databases"].as_object().unwrap() {
        assert!(told.contains(&format!("{count} of `{database}`")), "{told}");
    }
    assert!(daemon.log().contains(told.as_str()), "{}", daemon.log());

    // The other way nothing is let go, and there is nothing to say.
    keep(&home, 7, 60, 60);
    wait("another reload", || home.reloads().len() == 2);
    let told = home.reloads().remove(1).told;
    assert_eq!(told, ["retention daily_days 7 → 60"]);
    assert_eq!(home.left().len(), stored, "something went");
    daemon.stop();
}

#[test]
fn reload_tells_the_person_who_asks_for_it() {
    let home = some_weeks();
    let daemon = home.start();
    daemon.wait_for_log("patina works as");
    keep(&home, 60, 1, 1);
    let (out, output) = ran(&home, &["reload"]);
    assert!(output.status.success(), "{output:?}");
    assert!(
        out.contains("retention: with the next weekly run, "),
        "{out}"
    );
    assert!(out.contains(" may go, "), "{out}");
    daemon.stop();
}

#[test]
fn check_says_as_many_as_expiry_then_deletes() {
    let home = some_weeks();
    let (out, _) = ran(&home, &["check"]);
    assert!(!out.contains("expiry:"), "{out}");
    assert_eq!(json(&home, &["check"])["expirable"]["daily"], 0);

    keep(&home, 60, 7, 60);
    let (out, _) = ran(&home, &["check"]);
    let told = out.lines().find(|line| line.starts_with("expiry: "));
    let told = told.unwrap_or_else(|| panic!("{out}"));
    let counts = json(&home, &["check"])["expirable"].clone();
    let daily = counts["daily"].as_u64().unwrap();
    assert!(
        told.contains(&format!(" {daily} daily copies of ")),
        "{told}"
    );

    let report = json(&home, &["expire"]);
    let deleted = report["deleted"].as_array().unwrap().len() as u64;
    assert_eq!(deleted, daily, "{report}");
    assert_eq!(json(&home, &["check"])["expirable"]["daily"], 0);
}

#[test]
fn what_a_person_must_agree_to_first_is_told_apart() {
    let home = some_weeks();
    // Without archives a daily copy is the only one of its day.
    keep(&home, 60, 1, 1);
    let counts = json(&home, &["check"])["expirable"].clone();
    let refused = counts["refused"].as_object().unwrap();
    assert!(!refused.is_empty(), "{counts}");
    let (told, _) = ran(&home, &["check"]);
    for database in refused.keys() {
        assert!(
            told.contains(&format!("of `{database}` nothing goes before")),
            "{told}"
        );
        assert!(told.contains(&format!("`patina ack {database}`")), "{told}");
        ran(&home, &["ack", database]);
    }
    let agreed = json(&home, &["check"])["expirable"].clone();
    assert_eq!(agreed["refused"], serde_json::json!({}));
    let numbers = ["daily", "weekly", "bytes", "databases"];
    for number in numbers {
        assert_eq!(agreed[number], counts[number], "{number}");
    }
    let report = json(&home, &["expire"]);
    let deleted = report["deleted"].as_array().unwrap().len() as u64;
    let foreseen = counts["daily"].as_u64().unwrap() + counts["weekly"].as_u64().unwrap();
    assert_eq!(deleted, foreseen, "{report}");
}
