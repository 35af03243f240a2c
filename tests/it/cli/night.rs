//! `patina backup` when all goes well: what it shows, and to whom.

use super::Place;

#[test]
fn a_night_ends_with_a_table_and_the_meaning_of_its_proof() {
    let place = Place::with(&["a", "b"], "");
    let ran = place.ok(&["backup", "--reason", "before the move"]);
    ran.says("DATABASE  ROWS")
        .says("proof A: restored, every row and value equal to the source")
        .says("2 of 2 databases backed up");
    let named = place.ok(&["backup", "b"]);
    assert!(!named.out.contains("/a"), "{named:?}");
}

#[test]
fn without_a_terminal_a_short_night_says_nothing_but_its_report() {
    let place = Place::with(&["a", "b"], "");
    let ran = place.ok(&["backup"]);
    ran.says("2 of 2 databases backed up");
    assert_eq!(ran.err, "");
    assert_eq!(place.ok(&["backup", "--quiet"]).err, "");
}

#[test]
fn a_night_of_many_databases_is_a_few_lines_and_lists_those_that_need_a_person() {
    let names: Vec<String> = (0..150).map(|n| format!("d{n:03}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let place = Place::with(&names, "");
    let well = place.ok(&["backup"]);
    well.says("150 of 150 databases backed up");
    // On a slow machine there is a line of progress now and then.
    let is_progress = |line: &&str| line.contains(" of 150 databases done");
    assert_eq!(well.err.lines().find(|line| !is_progress(line)), None);
    assert!(well.out.lines().count() <= 6, "{well:?}");
    assert!(!well.out.contains("d000"), "{well:?}");

    // One is gone, and one is no database.
    std::fs::remove_file(place.path("d003.db")).unwrap();
    std::fs::write(place.path("d070.db"), "no database at all, but text").unwrap();
    let ran = place.ends(3, &["backup"]);
    ran.says("148 of 150 databases backed up");
    for name in ["d003", "d070"] {
        let lines = ran.out.lines().filter(|line| line.starts_with(name));
        assert_eq!(lines.count(), 1, "{name}: {ran:?}");
        assert!(ran.err.contains(name), "{name}: {ran:?}");
    }
    let errors = ran.err.lines().filter(|line| !is_progress(line));
    let all: Vec<&str> = ran.out.lines().chain(errors).collect();
    assert!(all.len() <= 16, "{} lines: {ran:?}", all.len());
    let all = all.join("\n");
    for name in names.iter().filter(|name| !["d003", "d070"].contains(name)) {
        assert!(!all.contains(name), "{name}: {ran:?}");
    }
}

#[test]
fn thousands_of_tables_and_indexes_are_backed_up_and_come_back() {
    let place = Place::with(&["a"], "");
    let db = rusqlite::Connection::open(place.path("a.db")).unwrap();
    let mut sql = "PRAGMA synchronous=OFF; BEGIN;".to_owned();
    for n in 0..TABLES {
        sql += &format!("CREATE TABLE t{n}(a UNIQUE, b); CREATE INDEX i{n} ON t{n}(b);");
    }
    db.execute_batch(&(sql + "COMMIT")).unwrap();
    drop(db);
    let report = place.json(&["backup"]);
    assert_eq!(report["databases"][0]["class"], "A");
    place.ok(&["restore", "a", "--to", "back.db"]);
    let back = rusqlite::Connection::open(place.path("back.db")).unwrap();
    let sql = "SELECT count(*) FROM sqlite_schema WHERE name GLOB '[ti][0-9]*'";
    let found: usize = back.query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(found, 2 * TABLES);
    let whole: String = back
        .query_row("PRAGMA quick_check", [], |row| row.get(0))
        .unwrap();
    assert_eq!(whole, "ok");
}

/// SQLite looks through the whole schema for each of them: 20,000 take two minutes, and come back as well.
const TABLES: usize = 1_000;

#[test]
fn json_is_one_document_that_holds_the_whole_report() {
    let place = Place::with(&["a"], "");
    let report = place.json(&["backup", "--reason", "why not"]);
    assert_eq!(report["job"]["status"], "completed");
    assert_eq!(report["job"]["reason"], "why not");
    assert_eq!(report["job"]["trigger"], "manual");
    let database = &report["databases"][0];
    assert_eq!(database["outcome"], "stored");
    assert_eq!(database["rows"], 40);
    assert_eq!(database["class"], "A");
    assert!(database["plain_bytes"].as_u64().unwrap() > 1000);
    assert_eq!(place.ok(&["backup", "--json"]).err, "");
}

#[test]
fn each_compression_is_stored_shorter_and_read_back_plain() {
    let plain = Place::with(&["a"], "");
    plain.ok(&["backup"]);
    let lines = |text: &str| -> Vec<String> {
        let rows = text.lines().filter(|line| !line.starts_with("--"));
        rows.map(str::to_owned).collect()
    };
    let expected = lines(&plain.ok(&["cat", "a"]).out);
    for (compression, suffix) in [("gzip", ".sql.gz"), ("zstd", ".sql.zst")] {
        let more = format!("[export]\ncompression = \"{compression}\"\n");
        let place = Place::with(&["a"], &more);
        let report = place.json(&["backup"]);
        assert!(super::first_key(&report).ends_with(suffix));
        let database = &report["databases"][0];
        assert!(database["stored_bytes"].as_u64() < database["plain_bytes"].as_u64());
        assert_eq!(lines(&place.ok(&["cat", "a"]).out), expected);
    }
}

#[test]
fn a_closed_stdout_is_no_panic_and_no_failure_of_the_work() {
    use std::process::{Command, Stdio};
    let place = Place::with(&["a"], "");
    for args in [&["backup"][..], &["list"], &["cat", "a"], &["man"]] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_patina"))
            .args(args)
            .current_dir(place.folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!complaint.contains("panicked"), "{args:?}: {complaint}");
        assert_eq!(output.status.code(), Some(0), "{args:?}: {complaint}");
    }
}
