//! `patina backup` when something is wrong: with a database, a storage, the state, or the will of a person.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use patina::catalog::{Catalog, JobStatus, ResultStatus};
use patina::engine::state::StateDir;
use rustix::process::{Pid, Signal, kill_process};

use super::Place;

#[test]
fn a_database_that_fails_does_not_stop_the_others() {
    let place = Place::with(
        &["a", "b"],
        "[[database]]\nname = \"gone\"\nsqlite = \"gone.db\"\n",
    );
    let ran = place.ends(3, &["backup"]);
    ran.says("2 of 3 databases backed up")
        .complains("error: database `gone`: `gone.db` does not exist\nhint: ");
    // Told once, not logged besides.
    assert_eq!(ran.err.matches("does not exist").count(), 1, "{ran:?}");
    assert!(!place.path("gone.db").exists());
    place
        .ends(1, &["backup", "gone"])
        .says("0 of 1 database backed up");
    let report = place.ends(3, &["backup", "--json"]).out;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["databases"][2]["outcome"], "failed");
}

const BLOCKED: &str = "[[storage]]\nname = \"broken\"\ndirectory = \"file/backups\"\n";

#[test]
fn a_storage_that_cannot_be_opened_leaves_the_other_one_and_a_warning() {
    let more = format!("{BLOCKED}[[storage]]\nname = \"good\"\ndirectory = \"good\"\n");
    let place = Place::with(&["a"], &more);
    place.write("file", "");
    let ran = place.ok(&["backup"]);
    ran.says("1 of 1 database backed up")
        .complains("warning: a: not in every storage: storage `broken`");
    assert_eq!(ran.err.matches("broken").count(), 1, "{ran:?}");
    place.ok(&["cat", "a"]).says("Backup Complete");
    place.ok(&["verify"]).says("1 of 1 right");
    let report = place.json(&["backup"]);
    assert_eq!(report["job"]["degraded"].as_array().unwrap().len(), 1);
    assert_eq!(report["databases"][0]["outcome"], "stored");
}

#[test]
fn without_any_storage_every_database_fails_and_says_why() {
    let place = Place::with(&["a", "b"], BLOCKED);
    place.write("file", "");
    let ran = place.ends(1, &["backup"]);
    ran.says("0 of 2 databases backed up");
    for name in ["a", "b"] {
        ran.complains(&format!(
            "error: database `{name}`: no storage holds the copy: storage `broken`"
        ));
    }
    assert_eq!(place.files("state/spool").len(), 0);
}

#[test]
fn reading_does_not_make_a_directory_anew_that_is_gone() {
    let place = Place::with(&["a"], "");
    place.ok(&["backup"]);
    std::fs::rename(place.path("backups"), place.path("elsewhere")).unwrap();
    place
        .ends(1, &["cat", "a"])
        .complains("hint: is it mounted?");
    assert!(!place.path("backups").exists());
}

#[test]
fn a_backup_does_not_make_a_directory_anew_that_held_copies() {
    let place = Place::with(&["a"], "");
    place.ok(&["backup"]);
    std::fs::rename(place.path("backups"), place.path("elsewhere")).unwrap();
    place
        .ends(1, &["backup"])
        .complains("error: database `a`: no storage holds the copy: storage `local`")
        .complains("hint: is it mounted?");
    assert!(!place.path("backups").exists());
    std::fs::rename(place.path("elsewhere"), place.path("backups")).unwrap();
    place.ok(&["backup"]);
}

#[test]
fn the_second_process_is_told_who_works_here() {
    let place = Place::with(&["a"], "");
    let _held = StateDir::lock(&place.path("state")).unwrap();
    place
        .ends(1, &["backup"])
        .complains(&format!("(process {})", std::process::id()));
}

#[test]
fn a_d1_database_and_a_bucket_out_of_reach_leave_the_others_alone() {
    // Nothing listens on port 1.
    let far = "[[storage]]\nname = \"near\"\ndirectory = \"near\"\n\
               [[storage]]\nname = \"far\"\n[storage.s3]\nendpoint = \"http://127.0.0.1:1\"\n\
               bucket = \"b\"\naccess_key_id = \"env:HOME\"\nsecret_access_key = \"env:HOME\"\n\
               [[database]]\nname = \"d\"\nd1 = \"45eae4c7-8ae7-4078-9218-8e1677a4360f\"\nretries = 0\n\
               [cloudflare]\naccount_id = \"0123456789abcdef0123456789abcdef\"\n\
               api_token = \"env:HOME\"\napi_url = \"http://127.0.0.1:1\"\n";
    let place = Place::with(&["a"], far);
    let ran = place.ends(3, &["backup"]);
    ran.says("1 of 2 databases backed up")
        .complains("error: database `d`: ")
        .complains("warning: a: not in every storage: storage `far`");
    place
        .ok(&["cat", "a", "--storage", "near"])
        .says("Backup Complete");
}

/// A backup that waits for a locked database, seen by its first line.
fn waiting_backup(place: &Place) -> (rusqlite::Connection, Child) {
    let lock = rusqlite::Connection::open(place.path("a.db")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_patina"))
        .arg("backup")
        .current_dir(place.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut told = BufReader::new(child.stderr.take().unwrap());
    told.read_line(&mut line).unwrap();
    assert_eq!(line, "0 of 1 database done, 1 at work (a: exporting)\n");
    // Whoever writes on must not meet a closed pipe.
    std::thread::spawn(move || std::io::copy(&mut told, &mut std::io::sink()));
    (lock, child)
}

fn signal(child: &Child, signal: Signal) {
    let id = i32::try_from(child.id()).unwrap();
    kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
}

#[test]
fn a_signal_ends_a_backup_within_ten_seconds_and_marks_it_interrupted() {
    for kind in [Signal::INT, Signal::TERM] {
        let place = Place::with(&["a"], "");
        let (lock, mut child) = waiting_backup(&place);
        let sent = Instant::now();
        signal(&child, kind);
        let status = child.wait().unwrap();
        assert!(sent.elapsed() < Duration::from_secs(10));
        assert_eq!(status.code(), Some(1));
        drop(lock);
        let catalog = StateDir::catalog_path(&place.path("state"));
        let catalog = Catalog::open_read_only(&catalog).unwrap().unwrap();
        let job = catalog.jobs(1).unwrap().remove(0);
        assert_ne!(job.status, JobStatus::Running);
        let results = catalog.results(job.id).unwrap();
        assert_eq!(results[0].status, ResultStatus::Interrupted);
        assert_eq!(place.files("state/spool").len(), 0);
        // Nothing is left to bring in order.
        assert!(!place.ok(&["backup"]).err.contains("note:"));
    }
}

#[test]
fn after_a_kill_the_next_backup_tells_what_it_brought_in_order() {
    let place = Place::with(&["a"], "");
    let (lock, mut child) = waiting_backup(&place);
    signal(&child, Signal::KILL);
    child.wait().unwrap();
    drop(lock);
    place
        .ok(&["backup"])
        .complains("note: the last run ended early; brought in order: 1 job marked interrupted");
}
