//! What version 0.1 wrote stays readable: a state folder and two storages that it filled over a week, with copies, an
//! archive, a pin, a lease, a freeze, events and audit rows (`tests/fixtures/v0.1`).

use std::fs;
use std::path::Path;
use std::process::Output;

use rusqlite::Connection;
use serde_json::Value;

use crate::guide::Desk;

/// How many copies and archives version 0.1 left in each storage.
const COPIES: usize = 13;

fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy_folder(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

/// The folder as version 0.1 left it.
fn left_behind() -> Desk {
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v0.1");
    let config = fs::read_to_string(fixture.join("patina.toml")).unwrap();
    let desk = Desk::new(&config);
    for name in ["state", "backups", "second"] {
        copy_folder(&fixture.join(name), &desk.path(name));
    }
    for entry in fs::read_dir(&fixture).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), desk.path(entry.file_name().to_str().unwrap())).unwrap();
        }
    }
    // The storages took the objects when they were made.
    ran(
        &desk,
        "find backups second -type f -exec touch -d '2026-11-19 09:00:00 UTC' {} +",
    );
    desk
}

fn text(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + text(&output.stderr).as_str()
}

#[track_caller]
fn ran(desk: &Desk, command: &str) -> String {
    let output = desk.try_to(command);
    let told = text(&output);
    assert!(output.status.success(), "{command}:\n{told}");
    told
}

fn json(desk: &Desk, command: &str) -> Value {
    serde_json::from_str(&ran(desk, command)).unwrap()
}

/// Every row of every table, as the stock shell writes them.
fn content(desk: &Desk, database: &str) -> String {
    ran(desk, &format!("sqlite3 {database} .dump"))
}

#[test]
fn its_catalog_migrates_with_every_row_of_it() {
    let desk = left_behind();
    let count = |table: &str| -> i64 {
        let catalog = Connection::open(desk.path("state/catalog.db")).unwrap();
        let sql = format!("SELECT count(*) FROM {table}");
        catalog.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    const TABLES: [&str; 12] = [
        "copies",
        "archives",
        "archive_members",
        "pins",
        "leases",
        "freezes",
        "events",
        "audit",
        "rehearsals",
        "conditions",
        "backup_jobs",
        "backup_results",
    ];
    let before = TABLES.map(count);
    assert!(before.iter().all(|rows| *rows > 0), "{before:?}");
    let list = json(&desk, "patina list --json");
    assert_eq!(TABLES.map(count), before);
    let copies = list["copies"].as_array().unwrap();
    assert_eq!(copies.len(), COPIES, "{list}");
    let shown = ran(&desk, "patina show shop@2026-11-14");
    assert!(shown.contains("checked by version 0.1"), "{shown}");
    let plan = ran(&desk, "patina plan");
    let pinned = plan
        .lines()
        .find(|line| line.contains("daily/2026-11-16/shop.sql.gz"));
    assert!(
        pinned.is_some_and(|line| line.contains("it is pinned")),
        "{plan}"
    );
    let audit = ran(&desk, "patina audit list");
    assert!(
        audit.contains("restore_guide") && audit.contains("key:ci"),
        "{audit}"
    );
}

#[test]
fn its_copies_restore_from_storage_and_from_the_archive() {
    let desk = left_behind();
    ran(&desk, "sqlite3 expected.db < shop@2026-11-14.sql");
    let expected = content(&desk, "expected.db");
    for (from, into) in [("daily", "a.db"), ("archive", "b.db")] {
        if from == "archive" {
            for storage in ["backups", "second"] {
                fs::remove_file(desk.path(storage).join("daily/2026-11-14/shop.sql.gz")).unwrap();
            }
        }
        ran(
            &desk,
            &format!("patina restore shop@2026-11-14 --to {into}"),
        );
        assert_eq!(content(&desk, into), expected, "{from}");
    }
    let cat = ran(&desk, "patina cat -q shop@2026-11-16");
    assert_eq!(
        cat,
        fs::read_to_string(desk.path("shop@2026-11-16.sql")).unwrap()
    );
    // Version 0.1 lost the languages of such rows; what it wrote comes back, and is told to be checked by it.
    ran(
        &desk,
        "patina restore letters@2026-11-18 --to letters-again.db",
    );
    let letters = |database: &str| {
        let sql = "SELECT docid, body FROM old; SELECT docid FROM old WHERE old MATCH 'hello'; SELECT * FROM letter";
        ran(&desk, &format!("sqlite3 {database} \"{sql}\""))
    };
    assert_eq!(letters("letters-again.db"), letters("letters.db"));
}

#[test]
fn its_storages_are_verified_drilled_and_make_a_lost_catalog_anew() {
    let desk = left_behind();
    let verified = desk.try_to("patina verify --all");
    let told = text(&verified);
    assert_eq!(verified.status.code(), Some(4), "{told}");
    assert_eq!(told.matches("\ndamaged").count(), 1, "{told}");
    let drilled = ran(&desk, "patina drill");
    assert!(drilled.contains("2 of 2 databases came back"), "{drilled}");
    fs::remove_dir_all(desk.path("state")).unwrap();
    ran(&desk, "patina rebuild");
    let list = json(&desk, "patina list --json");
    assert_eq!(list["copies"].as_array().unwrap().len(), COPIES, "{list}");
    ran(&desk, "patina restore shop@2026-11-19 --to again.db");
}

#[test]
fn it_goes_on_where_that_version_stopped() {
    let desk = left_behind();
    ran(&desk, "patina backup");
    ran(&desk, "patina archive");
    ran(&desk, "patina expire");
    let pinned = desk.path("backups/daily/2026-11-16/shop.sql.gz");
    assert!(pinned.exists(), "the pinned copy went");
    ran(&desk, "patina restore shop --to newest.db");
    assert_eq!(content(&desk, "newest.db"), content(&desk, "shop.db"));
}
