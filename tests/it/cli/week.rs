//! Packing, planning, expiring, reconciling and rebuilding from the command line.

use std::process::{Command, Stdio};

use serde_json::Value;

use super::Place;
use crate::week::kill::installation;

fn some_weeks() -> Place {
    Place {
        folder: installation(),
    }
}

/// The days of `alpha` that are in an archive alone, the newest first.
fn archived_days(place: &Place) -> Vec<String> {
    let listed = place.json(&["list", "alpha"]);
    let days = |copies: &Value| -> Vec<String> {
        let copies = copies.as_array().unwrap().iter();
        let of_alpha = copies.filter(|copy| copy["database"] == "alpha");
        of_alpha
            .map(|copy| copy["date"].as_str().unwrap().to_owned())
            .collect()
    };
    let dailies = days(&listed["copies"]);
    let mut archived = Vec::new();
    for archive in listed["archives"].as_array().unwrap() {
        archived.extend(days(&archive["members"]));
    }
    archived.retain(|day| !dailies.contains(day));
    archived.sort();
    archived.reverse();
    archived
}

#[test]
fn a_week_is_packed_planned_and_expired_and_every_day_stays_readable() {
    let place = some_weeks();
    place
        .ok(&["archive"])
        .says("packed")
        .says("every member was read back");
    place.ok(&["archive"]).says("nothing was packed");
    place.ok(&["list"]).says("WEEK").says("weekly/");
    let before = place.files("store").len();
    place
        .ok(&["plan"])
        .says("delete")
        .says("it is older than 1 day")
        .says("objects may go");
    place.ok(&["expire", "--dry-run"]).says("objects may go");
    assert_eq!(
        place.files("store").len(),
        before,
        "a dry run deletes nothing"
    );
    let report = place.json(&["expire"]);
    assert!(report["deleted"].as_array().unwrap().len() > 20, "{report}");
    assert_eq!(report["failed"], serde_json::json!([]));
    assert!(place.files("store").len() < before);

    let days = archived_days(&place);
    assert!(days.len() > 3, "{days:?}");
    let address = format!("alpha@{}", days[0]);
    place
        .ok(&["show", &address])
        .says("archive")
        .says("weekly/");
    let restored = place.path("restored.db");
    let sql = place.ok(&["cat", &address]).out;
    let mut shell = Command::new("sqlite3")
        .arg(&restored)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut shell.stdin.take().unwrap(), sql.as_bytes()).unwrap();
    assert!(shell.wait().unwrap().success());
    let db = rusqlite::Connection::open(&restored).unwrap();
    let rows: i64 = db
        .query_row("SELECT count(*) FROM t", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 50);
    place.ok(&["verify", &address]).says("1 of 1 right");
    place.ok(&["verify", "--all"]);
}

#[test]
fn a_lost_state_directory_is_made_anew_from_the_storage_alone() {
    let place = some_weeks();
    place.ok(&["archive"]);
    let before = place.ok(&["list", "--json"]).out;
    std::fs::remove_dir_all(place.path("state")).unwrap();
    place
        .ends(1, &["list"])
        .complains("no backup was taken yet");
    place
        .ok(&["rebuild"])
        .says("ADOPTED")
        .says("Nothing is deleted for 24 hours");
    assert_eq!(place.ok(&["list", "--json"]).out, before);
    place.ok(&["plan"]).says("0 of").says("quiet");
    place.ok(&["verify", "--all"]);
    place.ok(&["backup"]);
}

#[test]
fn what_is_pinned_stays_until_it_is_let_go() {
    let place = some_weeks();
    place.ok(&["archive"]);
    let plan = place.json(&["plan"]);
    let objects = plan["objects"].as_array().unwrap().iter();
    // The newest that goes: the archive that holds it stays.
    let mut gone = objects.filter(|object| object["fate"] == "delete");
    let key = gone.rfind(|object| object["key"].as_str().unwrap().starts_with("daily/"));
    let key = key.unwrap()["key"].as_str().unwrap().to_owned();
    place
        .ok(&["pin", &key, "--reason", "before the move"])
        .says("stays whatever its age");
    place.ok(&["plan"]).says("it is pinned");
    assert!(place.path("store").join(&key).exists());
    place.ok(&["unpin", &key]);
    place.ends(1, &["unpin", &key]).complains("is not pinned");
    place.ok(&["expire"]);
    assert!(!place.path("store").join(&key).exists());
}

#[test]
fn a_database_is_forgotten_only_after_it_left_the_configuration_and_only_on_purpose() {
    let place = some_weeks();
    place
        .ends(2, &["forget", "alpha"])
        .complains("patina remove alpha");
    place.ok(&["remove", "alpha"]);
    place.ends(2, &["forget", "alpha"]).complains("--yes");
    place.ok(&["list", "alpha"]);
    place
        .ok(&["forget", "alpha", "--yes"])
        .says("alpha is forgotten");
    place
        .ends(2, &["forget", "alhpa", "--yes"])
        .complains("alpha");
}

#[test]
fn a_vanished_object_is_told_stops_expiry_and_a_person_lets_it_go_on() {
    let place = some_weeks();
    place.ok(&["archive"]);
    let key = place.json(&["show", "beta@latest~1"])["object"]
        .as_str()
        .unwrap()
        .to_owned();
    std::fs::remove_file(place.path("store").join(&key)).unwrap();
    place
        .ends(4, &["reconcile"])
        .complains("warning: absent in nas")
        .complains("10 minutes later");
    place.ends(4, &["verify", &key]).complains("is missing");
    place.ok(&["plan"]).says("a person has to look first");
    let refused = place.json(&["expire"]);
    assert!(
        refused["refused"]["beta"].as_str().unwrap().contains(&key),
        "{refused}"
    );
    place.ok(&["ack", "beta"]).says("expiry goes on");
    place.ok(&["ack", "beta"]).says("nothing held expiry up");
    assert!(
        place.json(&["expire"])["refused"]
            .as_object()
            .unwrap()
            .is_empty()
    );
    place.ends(2, &["ack", "betta"]).complains("beta");
}

#[test]
fn an_object_of_nobody_is_untracked_and_left_alone() {
    let place = some_weeks();
    let stray = place.path("store/daily/2020-01-01");
    std::fs::create_dir_all(&stray).unwrap();
    std::fs::write(stray.join("alpha.sql"), "half").unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(7200);
    let file = std::fs::File::options()
        .write(true)
        .open(stray.join("alpha.sql"))
        .unwrap();
    file.set_modified(long_ago).unwrap();
    place
        .ok(&["reconcile"])
        .complains("untracked in nas: daily/2020-01-01/alpha.sql");
    assert!(stray.join("alpha.sql").exists());
}

#[test]
fn an_archive_that_leaves_a_damaged_copy_out_ends_with_damage_found() {
    let place = some_weeks();
    let listed = place.json(&["list"]);
    let key = |copy: &Value| copy["key"].as_str().unwrap().to_owned();
    let archives = listed["archives"].as_array().unwrap().iter();
    let members = archives.flat_map(|archive| archive["members"].as_array().unwrap());
    let packed: Vec<String> = members.map(key).collect();
    let copies = listed["copies"].as_array().unwrap().iter().map(key);
    let waiting: Vec<String> = copies.filter(|key| !packed.contains(key)).collect();
    let key = waiting.last().unwrap();
    place.flip(&format!("store/{key}"), 40);
    let ran = place.ends(4, &["archive"]);
    ran.says("packed")
        .complains(&format!("error: left out: {key}"));
}
