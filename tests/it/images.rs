//! A database that SQL text cannot carry is kept as an image, and every command takes it as any other copy.

use std::fs;
use std::path::Path;
use std::process::Output;

use patina::catalog::{Catalog, EventKind};
use rusqlite::Connection;
use serde_json::Value;

use crate::guide::{Desk, free_port, served};
use crate::week::damaged::damage;

/// One database whose collation only its program has.
const CONFIG: &str = "[export]\ntimeout = \"5m\"\n[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
    [[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n";

/// Opens a database as its own program does.
pub(crate) fn open(path: &Path) -> Connection {
    let db = Connection::open(path).unwrap();
    db.create_collation("german", |one, other| {
        one.to_lowercase().cmp(&other.to_lowercase())
    })
    .unwrap();
    db
}

/// A table that is unique by the program's collation: SQL text of it does not restore without the program.
pub(crate) fn build_image(path: &Path) {
    let db = open(path);
    db.execute_batch(
        "PRAGMA journal_mode = WAL;
         CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT UNIQUE COLLATE german);
         INSERT INTO names (name) VALUES ('Zoe'), ('adam'), ('Öl'), ('Ärger');
         CREATE TABLE plain (x);
         INSERT INTO plain VALUES (1), (2.5), (x'00ff'), ('text');",
    )
    .unwrap();
}

fn desk(more: &str) -> Desk {
    let desk = Desk::new(&format!("{more}{CONFIG}"));
    build_image(&desk.path("shop.db"));
    desk
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

fn json(desk: &Desk, command: &str) -> Value {
    let output = desk.try_to(command);
    let (out, told) = texts(&output);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{command}: {error}\n{out}\n{told}"))
}

/// What its own program finds in a file.
#[track_caller]
pub(crate) fn is_whole(path: &Path) {
    let db = open(path);
    let answer: String = db
        .query_row("PRAGMA integrity_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(answer, "ok");
    let found: Vec<String> = db
        .prepare("SELECT name FROM names ORDER BY name")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(found, ["adam", "Zoe", "Ärger", "Öl"]);
    let rows: i64 = db
        .query_row("SELECT count(*) FROM plain", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 4);
}

#[test]
fn why_a_copy_is_an_image_is_said_once_and_shown_always() {
    let desk = desk("");
    let (out, told) = texts(&desk.try_to("patina backup"));
    let note = "note: database `shop`: the copy is an image: ";
    assert!(told.contains(note), "{out}{told}");
    assert!(
        told.contains("german"),
        "the reason names the collation: {told}"
    );
    let (_, again) = texts(&desk.try_to("patina backup"));
    assert!(!again.contains("image"), "{again}");
    let listed = json(&desk, "patina list --json");
    let copies = listed["copies"].as_array().unwrap();
    assert_eq!(copies.len(), 2, "{listed}");
    for copy in copies {
        assert_eq!(copy["form"], "image", "{copy}");
        assert!(copy["key"].as_str().unwrap().ends_with(".sqlite"), "{copy}");
        assert!(copy["form_reason"].is_string(), "{copy}");
        assert!(
            copy["exceptions"].is_array() && copy["check"].is_object(),
            "{copy}"
        );
    }
    let shown = desk.run("patina show shop");
    assert!(
        shown.contains("form        an image of the file's pages: "),
        "{shown}"
    );
    let shown = json(&desk, "patina show shop --json");
    assert_eq!(shown["form"], "image");
    assert_eq!(shown["manifest"]["source"]["method"], "image");
}

#[test]
fn every_command_reads_an_image() {
    let desk = desk("");
    desk.run("patina backup");
    let drilled = desk.run("patina drill");
    assert!(drilled.contains("1 of 1 database came back"), "{drilled}");
    let drilled = desk.run("patina drill --cold");
    assert!(drilled.contains("1 of 1 database came back"), "{drilled}");
    let verified = desk.run("patina verify --all");
    assert!(verified.contains("1 of 1 right"), "{verified}");
    let reconciled = desk.try_to("patina reconcile");
    assert!(reconciled.status.success(), "{:?}", texts(&reconciled));
    fs::remove_dir_all(desk.path("state")).unwrap();
    desk.run("patina rebuild");
    desk.run("patina cat shop > out.sqlite");
    is_whole(&desk.path("out.sqlite"));
    let answer = desk.run("patina query shop 'SELECT count(*) FROM plain'");
    assert!(answer.contains('4'), "{answer}");
    open(&desk.path("shop.db"))
        .execute_batch("INSERT INTO plain VALUES (9)")
        .unwrap();
    desk.run("patina backup");
    let diff = desk.try_to("patina diff shop@latest~1 shop");
    let (out, told) = texts(&diff);
    assert!(out.contains("plain"), "{out}{told}");
}

#[test]
fn an_image_is_restored_as_the_file_that_it_was() {
    let desk = desk("");
    desk.run("patina backup");
    let report = desk.run("patina restore shop --to back.db");
    assert!(report.contains("the copy is an image"), "{report}");
    is_whole(&desk.path("back.db"));
    let document = json(&desk, "patina --json restore shop --to two.db");
    let restored = &document["databases"][0];
    assert_eq!(restored["form"], "image", "{document}");
    assert!(restored["exceptions"].is_array(), "{document}");
    let refused = desk.try_to("patina restore shop --to back.db");
    assert!(!refused.status.success());
    desk.run("patina restore shop --to back.db --replace");
    is_whole(&desk.path("back.db"));
    desk.run("patina restore shop --table plain --to one.db");
    let one = Connection::open(desk.path("one.db")).unwrap();
    let rows: i64 = one
        .query_row("SELECT count(*) FROM plain", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 4);
}

#[test]
fn a_fetched_image_without_its_manifest_is_told_to_be_the_database_itself() {
    let desk = desk("");
    desk.run("patina backup");
    desk.run("patina cat shop > mine.sqlite; rm -r state store");
    let refused = desk.try_to("patina restore --file mine.sqlite --to back.db");
    let (_, told) = texts(&refused);
    assert!(!refused.status.success());
    assert!(
        told.contains("is a SQLite database file, not SQL text"),
        "{told}"
    );
    assert!(told.contains("hint: ") && told.contains("cp "), "{told}");
}

#[test]
fn compressed_images_are_read_like_others() {
    for compression in ["gzip", "zstd"] {
        let more = format!("[export]\ncompression = \"{compression}\"\ntimeout = \"5m\"\n");
        let config = CONFIG.replace("[export]\ntimeout = \"5m\"\n", &more);
        let desk = Desk::new(&config);
        build_image(&desk.path("shop.db"));
        desk.run("patina backup");
        desk.run("patina verify --all");
        desk.run("patina restore shop --to back.db");
        is_whole(&desk.path("back.db"));
    }
}

/// A contentless index under `method = "sql"`: SQL text cannot carry it, and the copy says so.
#[test]
fn an_exception_is_told_once_and_shown_always() {
    let config = CONFIG.replace(
        "sqlite = \"shop.db\"",
        "sqlite = \"shop.db\"\nmethod = \"sql\"",
    );
    let desk = Desk::new(&config);
    Connection::open(desk.path("shop.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE plain(x); INSERT INTO plain VALUES (1);
             CREATE VIRTUAL TABLE words USING fts5(text, content='');
             INSERT INTO words(rowid, text) VALUES (1, 'one word'), (2, 'another');",
        )
        .unwrap();
    let (out, told) = texts(&desk.try_to("patina backup"));
    assert!(
        told.contains("warning: shop: `words` is without rows"),
        "{out}{told}"
    );
    assert!(out.contains("B, 1 exception"), "{out}");
    let (_, again) = texts(&desk.try_to("patina backup"));
    assert!(
        !again.contains("warning: shop: `words` is without rows"),
        "{again}"
    );
    assert!(
        again.contains("note: shop: 1 exception, as before"),
        "{again}"
    );
    let document = json(&desk, "patina --json backup");
    let database = &document["databases"][0];
    assert_eq!(
        database["new_exceptions"],
        serde_json::json!([]),
        "{document}"
    );
    assert_eq!(database["exceptions"][0]["object"], "words", "{document}");
    assert_eq!(database["exceptions"][0]["kind"], "rows", "{document}");
    let shown = desk.run("patina show shop");
    assert!(
        shown.contains("exception   `words` is without rows: "),
        "{shown}"
    );
    let guide = desk.run("patina guide shop");
    assert!(
        guide.contains("**Exception:** `words` is without rows: "),
        "{guide}"
    );
    let catalog = Catalog::open(&desk.path("state/catalog.db")).unwrap();
    let events = catalog.events(100).unwrap();
    let news = events
        .iter()
        .filter(|event| event.kind == EventKind::NewExceptions);
    assert_eq!(news.count(), 1, "{events:?}");
}

/// A source that was copied while it was whole, and again when it was damaged.
fn damaged_desk(more: &str) -> Desk {
    let desk = Desk::new(&format!("{more}{CONFIG}"));
    let db = Connection::open(desk.path("shop.db")).unwrap();
    db.execute_batch(
        "CREATE TABLE nights(at TEXT PRIMARY KEY, note TEXT); CREATE INDEX by_note ON nights(note);
         INSERT INTO nights VALUES ('first', 'all is well')",
    )
    .unwrap();
    drop(db);
    desk.run("patina backup");
    damage(&desk.path("shop.db"));
    desk
}

#[test]
fn a_copy_of_a_damaged_source_is_told_loudly_and_never_taken_before_a_healthy_one() {
    let desk = damaged_desk("");
    let healthy = json(&desk, "patina list --json")["copies"][0]["key"].clone();
    let healthy = healthy.as_str().unwrap();
    let output = desk.try_to("patina backup");
    let (out, told) = texts(&output);
    assert_eq!(output.status.code(), Some(4), "{out}{told}");
    assert!(
        told.contains("SUSPECT COPY: SQLite finds the source damaged: "),
        "{told}"
    );
    assert!(out.contains("proof S: suspect"), "{out}");
    let catalog = Catalog::open_read_only(&desk.path("state/catalog.db"));
    let work = catalog.unwrap().unwrap().work(chrono::DateTime::UNIX_EPOCH);
    let work = work.unwrap();
    let (ended, success) = (work.last_ended.unwrap(), work.last_success.unwrap());
    assert!(
        success.id != ended.id,
        "a job whose copy is suspect is no success: {ended:?}"
    );
    let listed = desk.run("patina list");
    assert!(
        listed.contains("S SUSPECT") && listed.contains("do not count as backups: shop"),
        "{listed}"
    );
    let suspect = json(&desk, "patina list --json")["copies"][0].clone();
    assert_eq!(suspect["class"], "S", "{suspect}");
    let key = suspect["key"].as_str().unwrap();
    let shown = desk.run(&format!("patina show {key}"));
    assert!(
        shown.contains("SUSPECT: SQLite found the source damaged"),
        "{shown}"
    );
    // What names no copy means a healthy one, and says so.
    let output = desk.try_to("patina restore shop --to back.db");
    let (out, told) = texts(&output);
    assert!(
        output.status.success() && out.contains(healthy),
        "{out}{told}"
    );
    assert!(
        told.contains(&format!("note: {key} is newer, and suspect")),
        "{told}"
    );
    let guide = desk.run("patina guide shop");
    assert!(
        guide.contains(healthy) && guide.contains("**SUSPECT**: a copy of a damaged source"),
        "{guide}"
    );
    assert!(
        guide.contains(&format!("restore {healthy}")) || guide.contains("restore shop@"),
        "{guide}"
    );
    let (_, told) = texts(&desk.try_to("patina verify"));
    assert!(
        told.contains("is SUSPECT: its bytes were compared"),
        "{told}"
    );
    let drilled = desk.run("patina drill");
    assert!(drilled.contains(healthy), "{drilled}");
    // By its key it is restored, with words.
    let output = desk.try_to(&format!("patina restore {key} --to hurt.db"));
    let (out, told) = texts(&output);
    assert!(output.status.success(), "{out}{told}");
    assert!(told.contains("suspect"), "{told}");
}

#[test]
fn a_suspect_copy_is_offered_with_words_where_nothing_else_is_left() {
    let desk = damaged_desk("");
    fs::remove_dir_all(desk.path("state")).unwrap();
    fs::remove_dir_all(desk.path("store")).unwrap();
    assert_eq!(desk.try_to("patina backup").status.code(), Some(4));
    let guide = desk.run("patina guide shop");
    assert!(
        guide.contains("**SUSPECT:** there is no healthy copy."),
        "{guide}"
    );
    assert!(
        guide.contains("**Warning:** The copy is SUSPECT:"),
        "{guide}"
    );
    let output = desk.try_to("patina cat shop > hurt.sqlite");
    let (_, told) = texts(&output);
    assert!(
        told.contains("is SUSPECT: its source was damaged"),
        "{told}"
    );
}

#[test]
fn the_api_says_form_proof_and_damage_and_gives_an_image_as_one() {
    let port = free_port();
    let served = served(port).replace("[\"download\"]", "[\"read\", \"download\"]");
    let mut desk = damaged_desk(&served);
    assert_eq!(desk.try_to("patina backup").status.code(), Some(4));
    let _daemon = desk.serve(port);
    let get = |path: &str| {
        json(
            &desk,
            &format!("curl -fsS -H \"X-Patina-Key: $PATINA_KEY\" http://127.0.0.1:{port}{path}"),
        )
    };
    let status = get("/status");
    let shop = &status["databases"][0];
    assert_eq!(shop["lastGood"]["evidence"], "A", "{status}");
    assert_eq!(shop["lastGood"]["form"], "sql");
    assert!(
        shop["lastGood"]["check"]["rows"].is_u64() && shop["lastGood"]["exceptions"].is_array()
    );
    assert!(shop["suspect"]["damage"][0].is_string(), "{status}");
    assert!(
        shop["expiryHeld"].as_str().unwrap().contains("suspect"),
        "{status}"
    );
    assert!(
        status["safety"]
            .as_str()
            .unwrap()
            .starts_with("shop is damaged."),
        "{status}"
    );
    let list = get("/list?state=all");
    let suspect = list["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|copy| copy["evidence"] == "S");
    let suspect = suspect.unwrap_or_else(|| panic!("{list}"));
    assert_eq!(
        (&suspect["form"], &suspect["counts"]),
        (&"image".into(), &false.into()),
        "{list}"
    );
    let page = desk.run(&format!(
        "curl -fsS -H \"X-Patina-Key: $PATINA_KEY\" -H 'Accept: text/html' http://127.0.0.1:{port}/"
    ));
    for part in [
        "shop is damaged.",
        "Suspect: the copy of ",
        "Nothing of it expires now: ",
    ] {
        assert!(page.contains(part), "`{part}` is not in {page}");
    }
}

#[test]
fn a_download_of_an_image_is_a_database_file() {
    let port = free_port();
    let mut desk = desk(&served(port));
    desk.run("patina backup");
    let _daemon = desk.serve(port);
    let date = json(&desk, "patina list --json")["copies"][0]["date"].clone();
    let date = date.as_str().unwrap();
    let headers = desk.run(&format!(
        "curl -fsS -D - -o got.sqlite -H \"X-Patina-Key: $PATINA_KEY\" http://127.0.0.1:{port}/download/{date}/shop"
    ));
    let headers = headers.to_lowercase();
    for header in [
        "content-type: application/vnd.sqlite3",
        &format!("filename=\"shop-{date}.sqlite\""),
        "x-patina-class: a",
    ] {
        assert!(headers.contains(header), "{headers}");
    }
    is_whole(&desk.path("got.sqlite"));
}

#[test]
fn rows_that_are_left_out_never_come_into_an_image() {
    let desk = Desk::new(&format!("{CONFIG}skip_data = [\"plain\"]\n"));
    build_image(&desk.path("shop.db"));
    let output = desk.try_to("patina backup");
    let (_, told) = texts(&output);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("german"), "{told}");
    assert!(told.contains("hint: an image could carry it"), "{told}");
    assert!(told.contains("remove `skip_data`"), "{told}");
}

#[test]
fn an_index_over_rows_that_are_left_out_is_an_exception() {
    let desk = Desk::new(&format!("{CONFIG}skip_data = [\"posts\"]\n"));
    Connection::open(desk.path("shop.db"))
        .unwrap()
        .execute_batch(
            "CREATE TABLE posts(id INTEGER PRIMARY KEY, text);
             INSERT INTO posts VALUES (1, 'one'), (2, 'two');
             CREATE VIRTUAL TABLE found USING fts5(text, content='posts', content_rowid='id');
             INSERT INTO found(found) VALUES ('rebuild');
             CREATE TABLE other(a); INSERT INTO other VALUES (7);",
        )
        .unwrap();
    desk.run("patina backup");
    let shown = json(&desk, "patina show shop --json");
    let shown = &shown["manifest"];
    assert_eq!(shown["class"], "B", "{shown}");
    let exceptions = shown["exceptions"].as_array().unwrap();
    let named: Vec<(&str, &str)> = exceptions
        .iter()
        .map(|exception| {
            let text = |key: &str| exception[key].as_str().unwrap();
            (text("object"), text("kind"))
        })
        .collect();
    assert_eq!(named, [("found", "index"), ("posts", "rows")], "{shown}");
    desk.run("patina restore shop --to back.db");
    let rows: i64 = Connection::open(desk.path("back.db"))
        .unwrap()
        .query_row("SELECT a FROM other", [], |row| row.get(0))
        .unwrap();
    assert_eq!(rows, 7);
}
