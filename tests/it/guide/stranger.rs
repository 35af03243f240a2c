//! A stranger has the bucket, its keys and the page that the README links: every command of the page is run word for
//! word, and all six databases are back.

use std::fs;

use tokio::runtime::Runtime;

use super::{Desk, commands};
use crate::cli::demo::NAMES;
use crate::images::{build_image, is_whole};
use crate::s3::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};
use crate::torture::{build, compare};

/// The page itself.
const PAGE: &str = include_str!("../../../src/guide/stranger.md");

/// Six databases as `patina demo` makes them, one of them with everything that breaks backup tools instead, backed up
/// into the bucket from a host that is gone afterwards.
fn lost_host(server: &Server, compression: &str) -> Desk {
    let mut desk = Desk::new("");
    desk.run("patina demo --once home");
    fs::remove_file(desk.path("home/grove-domain-jobs.db")).unwrap();
    build(&desk.path("home/grove-domain-jobs.db"));
    fs::remove_file(desk.path("home/autumnsgrove-git-stats.db")).unwrap();
    build_image(&desk.path("home/autumnsgrove-git-stats.db"));
    let mut config = format!(
        "[export]\ntimeout = \"5m\"\ncompression = \"{compression}\"\n\
         [[storage]]\nname = \"r2\"\n[storage.s3]\nendpoint = \"{}\"\nbucket = \"{BUCKET}\"\nprefix = \"grove\"\n\
         access_key_id = \"env:AWS_ACCESS_KEY_ID\"\nsecret_access_key = \"env:AWS_SECRET_ACCESS_KEY\"\n",
        server.endpoint()
    );
    for name in NAMES {
        config += &format!("[[database]]\nname = \"{name}\"\nsqlite = \"{name}.db\"\n");
    }
    fs::write(desk.path("home/patina.toml"), config).unwrap();
    desk.set("AWS_ACCESS_KEY_ID", ACCESS_KEY_ID);
    desk.set("AWS_SECRET_ACCESS_KEY", SECRET_ACCESS_KEY);
    fs::remove_dir_all(desk.path("home/state")).unwrap();
    fs::create_dir(desk.path("was")).unwrap();
    for name in NAMES {
        let home = desk.path(&format!("home/{name}.db"));
        fs::copy(home, desk.path(&format!("was/{name}.db"))).unwrap();
    }
    desk.run("patina -c home/patina.toml backup");
    fs::remove_dir_all(desk.path("home")).unwrap();
    fs::remove_file(desk.path("patina.toml")).unwrap();
    desk
}

/// What a person puts in for the six variables of the page.
fn fill_in(desk: &mut Desk, server: &Server) {
    desk.set("S3_ENDPOINT", &server.endpoint());
    desk.set("S3_BUCKET", BUCKET);
    desk.set("S3_REGION", "auto");
    desk.set("S3_PREFIX", "grove");
    let nowhere = desk.path("rclone.conf").display().to_string();
    desk.set("RCLONE_CONFIG", &nowhere);
    for variable in [
        "S3_ENDPOINT",
        "S3_BUCKET",
        "S3_REGION",
        "S3_PREFIX",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ] {
        assert!(PAGE.contains(&format!("| `{variable}` |")), "{variable}");
    }
}

#[track_caller]
fn all_are_back(desk: &Desk, folder: &str) {
    for name in NAMES {
        let was = desk.path(&format!("was/{name}.db"));
        if name == "autumnsgrove-git-stats" {
            // Its collation is its program's: stock tools brought the file back as it was.
            is_whole(&desk.path(&format!("{folder}/{name}.db")));
            continue;
        }
        let differences = compare(&was, &desk.path(&format!("{folder}/{name}.db")));
        assert!(differences.is_empty(), "{name}: {differences:#?}");
    }
}

fn check(compression: &str) {
    let server = Runtime::new().unwrap().block_on(Server::start());
    let mut desk = lost_host(&server, compression);
    fill_in(&mut desk, &server);
    let steps = commands(PAGE);
    assert!(steps.len() >= 8, "{steps:?}");
    let mut told = Vec::new();
    for step in &steps {
        told.push((step.command.clone(), desk.run(&step.command)));
    }
    all_are_back(&desk, "back");
    all_are_back(&desk, "plain");
    let answer = |command: &str| {
        let found = told.iter().find(|(said, _)| said.starts_with(command));
        &found
            .unwrap_or_else(|| panic!("the page has no `{command}`"))
            .1
    };
    assert!(answer("patina drill").contains("6 of 6 databases came back in "));
    let listed = answer("patina list");
    assert!(NAMES.iter().all(|name| listed.contains(name)), "{listed}");
    let runbook = fs::read_to_string(desk.path("runbook.md")).unwrap();
    assert!(
        NAMES
            .iter()
            .all(|name| runbook.contains(&format!("`{name}`"))),
        "{runbook}"
    );
}

#[test]
fn with_the_bucket_and_the_page_alone_all_six_databases_are_back() {
    check("none");
}

#[test]
fn with_the_bucket_and_the_page_alone_compressed_copies_are_back_too() {
    check("zstd");
}

#[test]
fn a_file_that_names_a_storage_alone_reads_and_makes_and_deletes_nothing() {
    let desk = Desk::new(
        "[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n[[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n",
    );
    build(&desk.path("shop.db"));
    desk.run("patina backup");
    fs::remove_dir_all(desk.path("state")).unwrap();
    fs::write(
        desk.path("patina.toml"),
        "[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n",
    )
    .unwrap();
    desk.run("patina rebuild");
    for reads in [
        "patina list",
        "patina show shop",
        "patina cat shop > shop.sql",
        "patina query shop 'SELECT count(*) FROM sqlite_schema'",
        "patina guide shop",
        "patina runbook",
        "patina verify",
        "patina plan",
        "patina drill",
        "patina restore shop --to one.db",
    ] {
        desk.run(reads);
    }
    for works in ["backup", "run", "check", "expire", "archive"] {
        let output = desk.try_to(&format!("patina {works}"));
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{works}: {told}");
        assert!(
            told.contains("the file names no database"),
            "{works}: {told}"
        );
    }
}

#[test]
fn the_readme_links_the_page() {
    let readme = include_str!("../../../README.md");
    assert!(readme.contains("(src/guide/stranger.md)"));
}
