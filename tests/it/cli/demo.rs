//! The demo, and what it says one may try next.

use std::process::Command;

use super::Place;
use crate::torture::{compare, shell_restore};

const NAMES: [&str; 6] = [
    "groveauth",
    "scout-db",
    "grove-engine-db",
    "autumnsgrove-posts",
    "autumnsgrove-git-stats",
    "grove-domain-jobs",
];

#[test]
fn the_demo_makes_six_databases_and_stores_a_proven_copy_of_each() {
    let place = Place::new();
    let ran = place.ok(&["demo"]);
    ran.says("Made 6 SQLite databases in demo")
        .says("proof A: restored, every row and value equal to the source")
        .says("6 of 6 databases backed up");
    for name in NAMES {
        ran.says(&format!("/{name}.sql"));
        let size_bytes = std::fs::metadata(place.path(&format!("demo/{name}.db")))
            .unwrap()
            .len();
        assert!(
            (40_000..900_000).contains(&size_bytes),
            "{name}: {size_bytes}"
        );
    }
    // An object and a manifest for each, and nothing else.
    assert_eq!(place.files("demo/backups").len(), 12);
}

#[test]
fn a_second_demo_keeps_the_databases_and_adds_a_copy_of_the_day() {
    let place = Place::new();
    place.ok(&["demo", "d"]);
    let before = std::fs::read(place.path("d/groveauth.db")).unwrap();
    place
        .ok(&["demo", "d"])
        .says("The 6 databases in d are there already.");
    assert_eq!(std::fs::read(place.path("d/groveauth.db")).unwrap(), before);
    let listed = place.json(&["--config", "d/patina.toml", "list"]);
    assert_eq!(listed["copies"].as_array().unwrap().len(), 12);
}

#[test]
fn the_demo_deals_the_same_databases_everywhere() {
    let places = [Place::new(), Place::new()];
    for place in &places {
        place.ok(&["demo"]);
    }
    for name in NAMES {
        let [a, b] = places
            .each_ref()
            .map(|place| place.path(&format!("demo/{name}.db")));
        assert_eq!(compare(&a, &b), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_folder_with_a_configuration_of_ones_own_is_left_alone() {
    let place = Place::with(&["a"], "");
    let config = place.read("patina.toml");
    place
        .ends(2, &["demo", "."])
        .complains("was not written by `patina demo`");
    assert_eq!(place.read("patina.toml"), config);
    assert!(!place.path("groveauth.db").exists());
}

#[test]
fn the_commands_that_the_demo_prints_work_word_for_word() {
    let place = Place::new();
    let ran = place.ok(&["demo", "my demo"]);
    let commands: Vec<&str> = ran
        .out
        .lines()
        .filter_map(|line| line.strip_prefix("  "))
        .collect();
    assert!(commands.len() >= 6, "{ran:?}");
    for command in commands {
        let output = Command::new("sh")
            .args(["-ec", command])
            .current_dir(place.folder.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        assert!(output.stderr.is_empty(), "{command}: {output:?}");
    }
    assert_eq!(
        compare(
            &place.path("my demo/scout-db.db"),
            &place.path("restored.db")
        ),
        Vec::<String>::new()
    );
}

#[test]
fn every_demo_copy_restored_by_the_sqlite3_shell_equals_its_source() {
    let place = Place::new();
    place.ok(&["demo"]);
    for name in NAMES {
        let ran = place.ok(&["--config", "demo/patina.toml", "cat", name]);
        place.write("dump.sql", &ran.out);
        let restored = place.path(&format!("{name}-restored.db"));
        shell_restore(&place.path("dump.sql"), &restored, true).unwrap();
        let source = place.path(&format!("demo/{name}.db"));
        assert_eq!(compare(&source, &restored), Vec::<String>::new(), "{name}");
    }
}
