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
