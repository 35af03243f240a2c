//! What goes wrong on the worst day is said clearly, and nothing is lost by it.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rusqlite::Connection;
use rustix::process::{Resource, Rlimit};

use super::site::{Ran, Site, execute, same};
use crate::s3::server::{SECRET_ACCESS_KEY, Server};

/// A database of some hundred kilobytes, backed up two days ago and today.
fn two_copies() -> (Site, String, String) {
    let site = Site::new("[export]\ncompression = \"gzip\"\n");
    site.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, hex(randomblob(200000)));");
    let old = site.night(2);
    site.execute("INSERT INTO t VALUES (2, hex(randomblob(200000)));");
    let new = site.night(0);
    (site, old, new)
}

/// A target that must stay as it is.
fn precious(site: &Site) -> Vec<u8> {
    execute(
        &site.path("target.db"),
        "CREATE TABLE precious(a); INSERT INTO precious VALUES (42);",
    );
    fs::read(site.path("target.db")).unwrap()
}

const REPLACE: [&str; 5] = ["restore", "shop", "--to", "target.db", "--replace"];

#[test]
fn a_damaged_copy_is_refused_and_an_older_good_one_is_named() {
    let (site, old, new) = two_copies();
    let before = precious(&site);
    let path = site.path(&format!("store/{new}"));
    let bytes = fs::read(&path).unwrap();
    type Damage = fn(&mut Vec<u8>);
    let damages: [(&str, Damage); 4] = [
        ("flipped", |bytes| {
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
        }),
        ("cut", |bytes| bytes.truncate(bytes.len() - 9)),
        ("longer", |bytes| bytes.extend_from_slice(b"more")),
        ("empty", Vec::clear),
    ];
    for (what, damage) in damages {
        let mut damaged = bytes.clone();
        damage(&mut damaged);
        fs::write(&path, damaged).unwrap();
        site.ends(4, &REPLACE)
            .complains("is damaged")
            .complains(&format!("the next older good copy is `{old}`"));
        assert_eq!(fs::read(site.path("target.db")).unwrap(), before, "{what}");
        site.ends(4, &["query", "shop", "SELECT 1"])
            .complains("is damaged");
        site.holds_no_leftovers();
    }
    fs::remove_file(&path).unwrap();
    site.ends(4, &REPLACE)
        .complains("is missing")
        .complains(&old);
    site.ok(&["restore", &old, "--to", "older.db"]);
    let rows = site.json(&["query", &old, "SELECT count(*) FROM t"]);
    assert_eq!(rows["rows"][0][0], 1);
}

#[test]
fn a_copy_that_is_not_there_is_told_with_what_is() {
    let (site, _, new) = two_copies();
    site.ends(1, &["restore", "shop@2001-01-01", "--to", "x.db"])
        .complains("names no copy")
        .complains(&new);
    site.ends(
        2,
        &["restore", "shop", "--storage", "nowhere", "--to", "x.db"],
    )
    .complains("no storage is called `nowhere`");
    site.ends(1, &["restore", "shop", "--to", "no/such/folder/x.db"])
        .complains("make the folder first");
    site.ends(1, &["restore", "shop", "--to", "store"])
        .complains("not a regular file");
    site.ends(2, &["restore", "--to", "x.db"]);
    assert!(!site.path("x.db").exists());
}

#[test]
fn a_target_that_somebody_uses_is_left_alone() {
    let (site, ..) = two_copies();
    let before = precious(&site);
    let target = site.path("target.db");
    // Another process that only has it open, as an idle program does.
    let mut idle = Command::new("sqlite3")
        .arg(&target)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = idle.stdin.take().unwrap();
    input.write_all(b"SELECT * FROM precious;\n").unwrap();
    input.flush().unwrap();
    let mut first = [0; 3];
    std::io::Read::read_exact(idle.stdout.as_mut().unwrap(), &mut first).unwrap();
    let told = format!("process {} (`sqlite3`) has it open", idle.id());
    site.ends(1, &REPLACE)
        .complains("is in use")
        .complains(&told);
    assert_eq!(fs::read(&target).unwrap(), before);
    drop(input);
    idle.wait().unwrap();
    // One that writes.
    let db = Connection::open(&target).unwrap();
    db.execute_batch("BEGIN IMMEDIATE; INSERT INTO precious VALUES (43);")
        .unwrap();
    site.ends(1, &REPLACE).complains("is in use");
    db.execute_batch("COMMIT").unwrap();
    drop(db);
    assert_eq!(
        Connection::open(&target)
            .unwrap()
            .query_row("SELECT count(*) FROM precious", [], |row| row
                .get::<_, i64>(0))
            .unwrap(),
        2
    );
    site.ok(&REPLACE);
    same(&site.path("source.db"), &target);
}

/// A file that may grow no further fails as a full disk does.
fn with_little_room(site: &Site, args: &[&str], room_bytes: u64) -> Ran {
    let mut command = Command::new("prlimit");
    command
        .arg(format!("--fsize={room_bytes}"))
        .arg("env")
        // The signal that comes with the limit is to be ignored, so that the write fails.
        .args(["--ignore-signal=XFSZ"])
        .arg(env!("CARGO_BIN_EXE_patina"))
        .args(args)
        .current_dir(site.folder.path());
    Ran::of(command.output().unwrap())
}

#[test]
fn a_full_disk_changes_nothing_and_is_named() {
    let (site, ..) = two_copies();
    let limit = rustix::process::getrlimit(Resource::Fsize);
    assert!(matches!(limit, Rlimit { maximum: None, .. }), "{limit:?}");
    let dump = site.ok(&["cat", "shop"]).out;
    fs::write(site.path("shop.sql"), dump).unwrap();
    let args = [
        "restore",
        "--file",
        "shop.sql",
        "--to",
        "target.db",
        "--replace",
    ];
    precious(&site);
    // The safety copy is larger than what is restored.
    execute(
        &site.path("target.db"),
        "INSERT INTO precious VALUES (zeroblob(2000000));",
    );
    let before = fs::read(site.path("target.db")).unwrap();
    for room_bytes in [0, 4096, 100_000, 400_000, 700_000, 1_500_000] {
        let ran = with_little_room(&site, &args, room_bytes);
        assert_eq!(ran.code, Some(1), "{room_bytes}: {}{}", ran.err, ran.out);
        ran.complains("hint: nothing was changed; look for free space");
        assert_eq!(fs::read(site.path("target.db")).unwrap(), before);
        site.holds_no_leftovers();
    }
    site.ok(&args);
    same(&site.path("source.db"), &site.path("target.db"));
}

#[test]
fn a_text_that_reaches_beyond_its_database_is_refused() {
    let site = Site::new("");
    for sql in [
        "ATTACH 'other.db' AS o;",
        "VACUUM INTO 'other.db';",
        "SELECT load_extension('x');",
    ] {
        fs::write(
            site.path("evil.sql"),
            format!("CREATE TABLE t(a);\n{sql}\n"),
        )
        .unwrap();
        site.ends(4, &["restore", "--file", "evil.sql", "--to", "a.db"]);
        assert!(
            !site.path("a.db").exists() && !site.path("other.db").exists(),
            "{sql}"
        );
    }
}

#[test]
fn with_wrong_keys_of_the_bucket_the_target_stays_and_the_keys_are_named() {
    let server = tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(Server::start());
    let site = Site::new(&Site::bucket(&server));
    site.execute("CREATE TABLE t(a); INSERT INTO t VALUES (1);");
    site.night(0);
    let right = fs::read_to_string(site.path("patina.toml")).unwrap();
    let before = precious(&site);
    let from_bucket = [&REPLACE[..], &["--storage", "bucket"]].concat();
    for wrong in ["another-secret-that-nobody-has", "env:PATH"] {
        site.configure(&right.replace(SECRET_ACCESS_KEY, wrong));
        let ran = site.ends(1, &from_bucket);
        ran.complains("storage `bucket`").complains("hint: ");
        assert!(
            !ran.err.contains(wrong) && !ran.err.contains(SECRET_ACCESS_KEY),
            "{}",
            ran.err
        );
        assert_eq!(fs::read(site.path("target.db")).unwrap(), before);
        site.holds_no_leftovers();
        // What they do not open is not taken for lost: no other copy is named instead.
        assert!(!ran.err.contains("older"), "{}", ran.err);
        site.ends(1, &["query", "shop", "SELECT 1", "--storage", "bucket"]);
        site.ends(1, &["drill", "--cold", "--storage", "bucket"])
            .complains("could not be looked through");
        // The other storage still has it.
        site.ok(&["restore", "shop", "--to", "other.db"]);
        same(&site.path("source.db"), &site.path("other.db"));
        fs::remove_file(site.path("other.db")).unwrap();
    }
    site.configure(&right);
    site.ok(&from_bucket);
    same(&site.path("source.db"), &site.path("target.db"));
}
