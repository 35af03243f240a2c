//! The demo, and what it says one may try next.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use super::Place;
use crate::torture::{compare, shell_restore};

pub(crate) const NAMES: [&str; 6] = [
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
    // An object and a manifest for each, the claim on the place, and nothing else.
    assert_eq!(place.files("demo/backups").len(), 13);
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

#[test]
fn at_a_terminal_the_demo_ends_by_serving_the_dashboard_until_ctrl_c() {
    let place = Place::new();
    // The shell that `script` starts becomes the program: some shells would themselves die of Ctrl-C.
    let command = format!("exec '{}' demo", env!("CARGO_BIN_EXE_patina"));
    // `script` gives the program a terminal; what is written to it is typed there.
    let mut terminal = Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .current_dir(place.path("."))
        .env_remove("CARGO")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = terminal.stdin.take().unwrap();
    let lines = BufReader::new(terminal.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let told = lines.find(|line| line.contains("The dashboard is at "));
    let told = told.expect("the dashboard is served");
    let (_, rest) = told.split_once("http://").unwrap();
    let address = rest.split_once('/').unwrap().0;
    let mut connection = TcpStream::connect(address).unwrap();
    let ask = format!(
        "GET / HTTP/1.1\r\nHost: {address}\r\nAccept: text/html\r\nConnection: close\r\n\r\n"
    );
    connection.write_all(ask.as_bytes()).unwrap();
    let mut page = String::new();
    connection.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(
        page.to_lowercase()
            .contains("content-security-policy: default-src 'self'")
    );
    assert!(page.contains("Everything is safe."), "{page}");
    keys.write_all(b"\x03").unwrap();
    assert_eq!(lines.filter(|line| line.contains("error")).count(), 0);
    assert!(terminal.wait().unwrap().success());
}

#[test]
fn a_demo_that_is_to_run_once_ends() {
    Place::new().ok(&["demo", "--once"]).says("Try next:");
}
