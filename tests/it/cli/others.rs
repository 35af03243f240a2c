//! A second installation in the same place, and a state folder that was lost: told apart, each with its way out.

use super::Place;

/// A place whose storage is this directory.
fn place(storage: &std::path::Path, rows: usize) -> Place {
    let more = format!(
        "[[storage]]\nname = \"nas\"\ndirectory = \"{}\"\n",
        storage.display()
    );
    let place = Place::with(&["d3"], &more);
    std::fs::remove_file(place.path("d3.db")).unwrap();
    super::small_database(&place.path("d3.db"), rows);
    place
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
    std::fs::remove_dir_all(place.path("state")).unwrap();
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
    std::fs::create_dir_all(place.path("state/spool/mail")).unwrap();
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
