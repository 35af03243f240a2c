//! The worst day: a disk that became read-only, a catalog that is damaged. What is stored is still listed, read and
//! restored.

use std::fs;
use std::process::{Command, Output};

use chrono::{TimeDelta, Utc};
use patina::catalog::Catalog;
use rusqlite::Connection;

use super::Place;

/// What only reads.
const READING: [&str; 14] = [
    "list",
    "show blog",
    "cat blog",
    "guide blog",
    "runbook",
    "query blog 'SELECT count(*) FROM notes'",
    "diff blog@latest~1 blog",
    "plan",
    "expire --dry-run",
    "next",
    "verify blog",
    "drill blog",
    "restore blog --to back.db",
    "audit verify",
];

/// Runs a command where the state folder lies on a read-only disk. `None`: this system lets nobody mount.
fn on_a_read_only_disk(place: &Place, command: &str) -> Option<Output> {
    let program = env!("CARGO_BIN_EXE_patina");
    let script = format!(
        "{{ mount --bind state state && mount -o remount,bind,ro state; }} || exit 77; exec \"{program}\" {command}"
    );
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
        .current_dir(place.path(""))
        .output()
        .ok()?;
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    let cannot = output.status.code() == Some(77) || complained.contains("unshare failed");
    if cannot {
        println!("not run: this system lets nobody mount: {complained}");
    }
    (!cannot).then_some(output)
}

fn reads_everything(place: &Place) {
    for command in READING {
        let _ = fs::remove_file(place.path("back.db"));
        let Some(output) = on_a_read_only_disk(place, command) else {
            return;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        let expected = if command.starts_with("diff") { 1 } else { 0 };
        assert_eq!(
            output.status.code(),
            Some(expected),
            "{command}: {out}{err}"
        );
        assert!(!out.is_empty(), "{command}: {err}");
    }
}

fn two_nights() -> Place {
    let place = Place::with(&["blog"], "");
    place.ok(&["backup"]);
    Connection::open(place.path("blog.db"))
        .unwrap()
        .execute_batch("INSERT INTO notes(text) VALUES('one more')")
        .unwrap();
    place.ok(&["backup"]);
    place
}

#[test]
fn on_a_read_only_state_disk_everything_that_reads_works() {
    let place = two_nights();
    assert!(place.path("state/catalog.db").exists());
    reads_everything(&place);
}

/// As where the disk became read-only under a daemon: what it wrote last is in the log alone.
#[test]
fn on_a_read_only_state_disk_what_is_in_the_log_alone_is_read_too() {
    let place = two_nights();
    let held = Connection::open(place.path("state/catalog.db")).unwrap();
    held.query_row("SELECT count(*) FROM copies", [], |row| {
        row.get::<_, i64>(0)
    })
    .unwrap();
    place.ok(&["backup", "--reason", "the last one"]);
    let log = fs::metadata(place.path("state/catalog.db-wal")).unwrap();
    assert!(log.len() > 0);
    // A process that died leaves the log and no lock.
    let copy = Place::with(&["blog"], "");
    for (from, to) in [
        ("catalog.db", "catalog.db"),
        ("catalog.db-wal", "catalog.db-wal"),
    ] {
        fs::create_dir_all(copy.path("state")).unwrap();
        fs::copy(place.path("state").join(from), copy.path("state").join(to)).unwrap();
    }
    drop(held);
    let Some(output) = on_a_read_only_disk(&copy, "list --json") else {
        return;
    };
    let listed: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["copies"].as_array().unwrap().len(), 3);
}

fn kept_aside(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("state")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names
        .filter(|name| name.starts_with("catalog.db.damaged-"))
        .collect();
    names.retain(|name| !name.ends_with("-wal") && !name.ends_with("-shm"));
    names
}

#[test]
fn a_damaged_catalog_is_kept_aside_and_made_anew_and_nothing_expires_for_a_day() {
    for damage in ["page", "header", "emptied"] {
        let place = two_nights();
        let keys = |listed: serde_json::Value| -> Vec<String> {
            let copies = listed["copies"].as_array().unwrap().iter();
            copies
                .map(|copy| copy["key"].as_str().unwrap().to_owned())
                .collect()
        };
        let before = keys(place.json(&["list"]));
        let path = place.path("state/catalog.db");
        let mut bytes = fs::read(&path).unwrap();
        match damage {
            "page" => {
                let middle = bytes.len() / 2 / 4096 * 4096;
                bytes[middle..].fill(0xA5);
            }
            "header" => bytes[..100].fill(0),
            _ => bytes.clear(),
        }
        fs::write(&path, &bytes).unwrap();
        let ran = place.ok(&["backup"]);
        ran.says("1 of 1 database backed up");
        let kept = kept_aside(&place);
        assert_eq!(kept.len(), 1, "{damage}: {kept:?}");
        let aside = fs::read(place.path("state").join(&kept[0])).unwrap();
        // Of an emptied file nothing is left to keep.
        assert!(damage == "emptied" || aside == bytes, "{damage}");
        let after = keys(place.json(&["list"]));
        assert_eq!(after.len(), 3, "{damage}");
        assert!(before.iter().all(|key| after.contains(key)), "{damage}");
        let catalog = Catalog::open_read_only(&path).unwrap().unwrap();
        let care = catalog.care(Utc::now()).unwrap();
        assert!(care.quiet_until.unwrap() > Utc::now() + TimeDelta::hours(23));
        let db = Connection::open(&path).unwrap();
        let told: (String, String) = db
            .query_row(
                "SELECT severity, message FROM events WHERE message LIKE '%rebuilt%'",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(told.0, "critical");
        assert!(
            told.1.contains(&kept[0]) && told.1.contains("2 objects were found"),
            "{told:?}"
        );
        // Once: the next night finds all in order.
        place.ok(&["backup"]);
        assert_eq!(kept_aside(&place).len(), 1);
    }
}

#[test]
fn a_file_that_is_no_catalog_of_ours_is_not_moved() {
    let place = Place::with(&["blog"], "");
    fs::create_dir(place.path("state")).unwrap();
    Connection::open(place.path("state/catalog.db"))
        .unwrap()
        .execute_batch("CREATE TABLE somebody_elses(x)")
        .unwrap();
    place
        .ends(1, &["backup"])
        .complains("not a catalog of Patina");
    assert!(kept_aside(&place).is_empty());
}

#[test]
fn a_cold_drill_tells_of_a_storage_that_is_not_mounted_once() {
    let place = Place::with(
        &["blog"],
        "[[storage]]\nname = \"usb\"\ndirectory = \"mnt\"\n[[storage]]\nname = \"nas\"\ndirectory = \"nas\"\n",
    );
    place.ok(&["backup"]);
    fs::rename(place.path("mnt"), place.path("away")).unwrap();
    let ran = place.ok(&["drill", "--cold"]);
    assert_eq!(ran.err.matches("is it mounted?").count(), 1, "{ran:?}");
}

#[test]
fn a_name_in_table_rows_below_that_no_table_has_is_told() {
    let place = Place::new();
    Connection::open(place.path("blog.db"))
        .unwrap()
        .execute_batch("CREATE TABLE sessions(x); INSERT INTO sessions VALUES (1)")
        .unwrap();
    place.write(
        "patina.toml",
        "[[database]]\nname = \"blog\"\nsqlite = \"blog.db\"\ntable_rows_below = { sesions = 0.5 }\n",
    );
    place
        .ok(&["backup"])
        .complains("`table_rows_below` names `sesions`, and no table is called so")
        .complains("did you mean `sessions`?");
}
