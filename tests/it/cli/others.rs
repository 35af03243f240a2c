//! A second installation in the same place, and a state folder that was lost: told apart, each with its way out.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Barrier, Mutex};

use tokio::runtime::Runtime;

use super::Place;
use crate::s3::proxy::{Fault, Op, Plan, Proxy, Request, Rules};
use crate::s3::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};

/// A place whose storage is this directory.
fn place(storage: &Path, rows: usize) -> Place {
    place_on(&directory(storage), rows)
}

fn directory(storage: &Path) -> String {
    let storage = storage.display();
    format!("[[storage]]\nname = \"nas\"\ndirectory = \"{storage}\"\n")
}

fn bucket(endpoint: &str) -> String {
    format!(
        "[[storage]]\nname = \"b2\"\n[storage.s3]\nendpoint = \"{endpoint}\"\nbucket = \"{BUCKET}\"\n\
         access_key_id = \"{ACCESS_KEY_ID}\"\nsecret_access_key = \"{SECRET_ACCESS_KEY}\"\n"
    )
}

/// A place with one database of so many rows and this storage.
fn place_on(storage: &str, rows: usize) -> Place {
    let place = Place::with(&["d3"], "");
    let config = place.read("patina.toml");
    place.write_private("patina.toml", &format!("{config}{storage}"));
    fs::remove_file(place.path("d3.db")).unwrap();
    super::small_database(&place.path("d3.db"), rows);
    place
}

/// Another machine with a copy of the state folder.
fn clone(place: &Place, storage: &str) -> Place {
    let copied = place_on(storage, 70);
    let (from, to) = (place.path("state"), copied.path("state"));
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(status.unwrap().success());
    copied
}

#[test]
fn a_second_installation_in_the_same_place_is_refused_and_restores_nothing_of_the_first() {
    let shared = tempfile::tempdir().unwrap();
    let staging = place(shared.path(), 10);
    let production = place(shared.path(), 40);
    staging.ok(&["backup"]);
    let ran = production.run(&["backup"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    for said in [
        "belongs to another installation",
        "`prefix`",
        "`patina rebuild`",
    ] {
        assert!(ran.err.contains(said), "{said}: {ran:?}");
    }
    let ran = production.run(&["restore", "d3", "--to", "out.db"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(!production.path("out.db").exists());
    // The first one goes on as before.
    staging.ok(&["backup"]);
    staging.ok(&["verify", "--all"]);

    // A place of its own is the way out.
    let own = place(&shared.path().join("production"), 40);
    own.ok(&["backup"]);
    own.ok(&["restore", "d3", "--to", "out.db"]);
    let restored = rusqlite::Connection::open(own.path("out.db")).unwrap();
    let rows = restored.query_row("SELECT count(*) FROM notes", [], |row| row.get(0));
    assert_eq!(rows, Ok(40));
}

#[test]
fn a_lost_state_folder_is_noticed_and_rebuild_goes_on_with_the_copies_there_are() {
    let shared = tempfile::tempdir().unwrap();
    let place = place(shared.path(), 10);
    place.ok(&["backup"]);
    fs::remove_dir_all(place.path("state")).unwrap();
    let ran = place.run(&["backup"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(ran.err.contains("`patina rebuild`"), "{ran:?}");
    place.ok(&["rebuild"]);
    place.ok(&["restore", "d3", "--to", "out.db"]);
    place.ok(&["backup"]);
    assert_eq!(place.json(&["list"])["copies"].as_array().unwrap().len(), 2);
}

#[test]
fn a_spool_folder_that_somebody_else_fills_is_left_as_it_is_and_named() {
    let shared = tempfile::tempdir().unwrap();
    let place = place(shared.path(), 10);
    fs::create_dir_all(place.path("state/spool/mail")).unwrap();
    place.write("state/spool/mail/inbox", "letters");
    let ran = place.run(&["backup"]);
    assert_ne!(ran.code, Some(0), "{ran:?}");
    assert!(
        ran.err.contains("state/spool/mail` was not made by Patina"),
        "{ran:?}"
    );
    assert_eq!(place.read("state/spool/mail/inbox"), "letters");
}

#[test]
fn a_configuration_that_is_a_pipe_or_a_device_is_refused_at_once() {
    let place = Place::new();
    let pipe = place.path("pipe.toml");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    for (path, what) in [("pipe.toml", "a pipe"), ("/dev/zero", "a device")] {
        let ran = place.ends(2, &["--config", path, "check"]);
        assert!(ran.err.contains(&format!("it is {what}")), "{ran:?}");
    }
    // Secrets, too.
    let place = Place::with(
        &["blog"],
        "[cloudflare]\naccount_id = \"a\"\napi_token = \"file:/dev/zero\"\n",
    );
    let ran = place.ends(2, &["check"]);
    assert!(ran.err.contains("it is a device"), "{ran:?}");
}

/// Two machines with one state folder, one of which worked after the other.
fn a_copied_state_folder_is_noticed(storage: &str) {
    let first = place_on(storage, 40);
    first.ok(&["backup"]);
    let second = clone(&first, storage);
    // A state folder that was moved to another machine goes on there.
    second.ok(&["backup"]);
    second.ok(&["backup"]);
    let words = [
        "another process works here with a copy of this state folder, on the host `",
        "`patina rebuild` takes in what the other one stored",
    ];
    let refused = |place: &Place| {
        for args in [&["backup"][..], &["check", "--online"]] {
            let ran = place.run(args);
            assert_ne!(ran.code, Some(0), "{args:?}: {ran:?}");
            let said = format!("{}{}", ran.out, ran.err);
            assert!(
                words.iter().all(|text| said.contains(text)),
                "{args:?}: {ran:?}"
            );
        }
    };
    refused(&first);
    refused(&first);
    second.ok(&["check", "--online"]);
    second.ok(&["backup"]);
    // The way out: this one goes on, with all that the other stored.
    first.ok(&["rebuild"]);
    first.ok(&["check", "--online"]);
    first.ok(&["backup"]);
    let copies = first.json(&["list"])["copies"].as_array().unwrap().len();
    assert_eq!(copies, 5);
    refused(&second);
    first.ok(&["backup"]);
}

#[test]
fn a_state_folder_that_was_copied_to_another_machine_is_noticed_in_a_directory() {
    let shared = tempfile::tempdir().unwrap();
    a_copied_state_folder_is_noticed(&directory(shared.path()));
}

#[test]
fn a_state_folder_that_was_copied_to_another_machine_is_noticed_in_a_bucket() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    a_copied_state_folder_is_noticed(&bucket(&server.endpoint()));
}

/// Starts two backups in the same moment. Gives how many of them ended well, and what the others said.
fn both(one: &Place, other: &Place) -> (usize, String) {
    let begin = Barrier::new(2);
    let ran = std::thread::scope(|scope| {
        let threads = [one, other].map(|place| {
            let begin = &begin;
            scope.spawn(move || {
                begin.wait();
                place.run(&["backup"])
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let well = ran.iter().filter(|ran| ran.code == Some(0)).count();
    let said = ran.iter().filter(|ran| ran.code != Some(0));
    (well, said.map(|ran| ran.err.as_str()).collect())
}

#[test]
fn of_two_new_installations_that_begin_in_the_same_second_one_has_an_empty_directory() {
    for round in 0..6 {
        let shared = tempfile::tempdir().unwrap();
        let (one, other) = (place(shared.path(), 40), place(shared.path(), 41));
        let (well, said) = both(&one, &other);
        assert_eq!(well, 1, "round {round}: {said}");
        assert!(said.contains("belongs to another installation"), "{said}");
    }
}

/// Lets nobody know what the bucket holds before two have asked: both find it empty.
struct BothFindItEmpty {
    lists: Mutex<usize>,
    begin: Barrier,
}

impl Rules for BothFindItEmpty {
    fn before(&self, request: &Request) -> Option<Fault> {
        if request.op == Op::List {
            let number = {
                let mut lists = self.lists.lock().unwrap();
                *lists += 1;
                *lists
            };
            if number <= 2 {
                // Whoever waits hands its other work on.
                tokio::task::block_in_place(|| self.begin.wait());
            }
        }
        None
    }
}

#[test]
fn of_two_new_installations_that_find_a_bucket_empty_in_the_same_moment_one_has_it() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let rules = Arc::new(BothFindItEmpty {
        lists: Mutex::default(),
        begin: Barrier::new(2),
    });
    let proxy = runtime.block_on(Proxy::start(server.port(), rules));
    let storage = bucket(&proxy.endpoint);
    let (one, other) = (place_on(&storage, 40), place_on(&storage, 41));
    let (well, said) = both(&one, &other);
    assert_eq!(well, 1, "{said}");
    assert!(said.contains("belongs to another installation"), "{said}");
}

#[test]
fn a_place_that_was_claimed_and_given_up_without_a_copy_can_be_taken() {
    let shared = tempfile::tempdir().unwrap();
    let gone = place(shared.path(), 10);
    gone.ok(&["backup"]);
    for below in ["daily", "manifests"] {
        fs::remove_dir_all(shared.path().join(below)).unwrap();
    }
    let place = place(shared.path(), 20);
    let ran = place.run(&["backup"]);
    assert_ne!(ran.code, Some(0));
    assert!(
        ran.err
            .contains("remove `claims/00000001.json` from this place"),
        "{ran:?}"
    );
    fs::remove_file(shared.path().join("claims/00000001.json")).unwrap();
    place.ok(&["backup"]);
}

#[test]
fn a_claim_that_a_process_made_before_it_died_is_its_own() {
    let shared = tempfile::tempdir().unwrap();
    let place = place(shared.path(), 10);
    place.ok(&["backup"]);
    place.ok(&["backup"]);
    // As the catalog is between the claim in the storage and the note of it.
    let claim = fs::read(shared.path().join("claims/00000002.json")).unwrap();
    let claim: serde_json::Value = serde_json::from_slice(&claim).unwrap();
    let catalog = rusqlite::Connection::open(place.path("state/catalog.db")).unwrap();
    let set = "UPDATE claims SET number = 1, pending = ?";
    assert_eq!(catalog.execute(set, [claim["token"].as_str()]), Ok(1));
    drop(catalog);
    place.ok(&["backup"]);
    let left: Vec<_> = fs::read_dir(shared.path().join("claims"))
        .unwrap()
        .collect();
    assert_eq!(left.len(), 1, "{left:?}");
    place.ok(&["check", "--online"]);
}

#[test]
fn whose_a_bucket_is_costs_one_listing_a_run_however_many_databases_are_refused() {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    place_on(&bucket(&server.endpoint()), 10).ok(&["backup"]);
    let plan = Arc::new(Plan::default());
    let proxy = runtime.block_on(Proxy::start(server.port(), plan.clone()));
    let names = ["a", "b", "c", "d", "e", "f"];
    let place = Place::with(&names, "");
    let config = place.read("patina.toml");
    place.write_private(
        "patina.toml",
        &format!("{config}{}", bucket(&proxy.endpoint)),
    );
    let ran = place.run(&["backup"]);
    assert_ne!(ran.code, Some(0));
    assert_eq!(
        ran.err.matches("belongs to another installation").count(),
        names.len(),
        "{ran:?}"
    );
    assert_eq!(plan.seen(Op::List), 1);
}
