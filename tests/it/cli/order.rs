//! The order in which databases are restored, and words that agree with what they count.

use serde_json::Value;

use super::{Place, small_database};

/// `shop` stands first in the file, and needs `users`, which needs `tax`.
fn place() -> Place {
    let place = Place::new();
    let mut config = String::new();
    for (name, more) in [
        (
            "shop",
            "priority = \"critical\"\nrestore_after = [\"users\"]\nreason = \"References users\"\n",
        ),
        ("blog", ""),
        (
            "users",
            "priority = \"critical\"\nrestore_after = [\"tax\"]\n",
        ),
        ("tax", ""),
    ] {
        small_database(&place.path(&format!("{name}.db")), 40);
        config.push_str(&format!(
            "[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n{more}"
        ));
    }
    place.write("patina.toml", &config);
    place.ok(&["backup"]);
    place
}

const ORDER: [&str; 4] = ["tax", "users", "shop", "blog"];

fn names(list: &Value, field: &str) -> Vec<String> {
    let list = list.as_array().unwrap().iter();
    list.map(|one| one[field].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn restore_drill_and_runbook_take_databases_behind_those_they_depend_on() {
    let place = place();
    let runbook = place.json(&["runbook"]);
    assert_eq!(names(&runbook["databases"], "database"), ORDER);
    assert_eq!(runbook["databases"][2]["reason"], "References users");
    for args in [&["drill"][..], &["drill", "--cold"]] {
        let drill = place.json(args);
        assert_eq!(names(&drill["databases"], "database"), ORDER);
    }
    let restored = place.ok(&["restore", "--all", "--to", "back"]);
    let at = |name: &str| restored.out.find(&format!("back/{name}.db"));
    let places: Vec<_> = ORDER.iter().map(|name| at(name).unwrap()).collect();
    assert!(places.is_sorted(), "{restored:?}");
    let planned = place.ok(&["restore", "--all", "--to", "again", "--dry-run"]);
    let at = |name: &str| planned.out.find(&format!("again/{name}.db"));
    let places: Vec<_> = ORDER.iter().map(|name| at(name).unwrap()).collect();
    assert!(places.is_sorted(), "{planned:?}");
    place
        .ok(&["check"])
        .says("restored in the order\n  tax, users, shop, blog");
    place
        .ok(&["guide", "shop"])
        .says("Restore it after `users`: References users");
}

#[test]
fn a_database_that_others_wait_for_is_not_removed_unnoticed() {
    let place = place();
    let ran = place.run(&["remove", "tax"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    ran.complains("`restore_after` names `tax`, which is no database here");
    assert!(place.read("patina.toml").contains("name = \"tax\""));
}

#[test]
fn one_database_with_one_row_is_told_in_the_singular() {
    let place = Place::new();
    small_database(&place.path("a.db"), 1);
    place.write(
        "patina.toml",
        "[[database]]\nname = \"a\"\nsqlite = \"a.db\"\n",
    );
    let told = [
        &["backup"][..],
        &["show", "a"],
        &["list"],
        &["guide", "a"],
        &["runbook"],
        &["drill"],
        &["verify", "--all"],
        &["plan"],
        &["archive"],
        &["restore", "a", "--to", "back.db"],
        &["check"],
        &["audit", "verify"],
    ];
    for args in told {
        let ran = place.run(args);
        let all = format!("{}\n{}", ran.out, ran.err);
        let wrong = all.lines().find(|line| {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != ',');
            let is_plural = |word: &str| word.len() > 3 && word.ends_with('s') && word != "bytes";
            let mut before = "";
            words.any(|word| {
                let is_wrong = before == "1" && is_plural(word);
                before = word;
                is_wrong
            })
        });
        assert_eq!(wrong, None, "{args:?}");
    }
    place.ok(&["backup"]).says("1 of 1 database backed up");
}

#[test]
fn a_new_key_is_taken_by_saving_the_file_and_reload_says_whether_it_was() {
    let place = Place::new();
    let ran = place.ok(&["key", "new", "me", "--scope", "read"]);
    ran.says("`patina reload`");
    assert!(!ran.out.contains("kill"), "{ran:?}");
}
