//! Finding copies, looking at them, reading them, and finding damage.

use super::{Place, first_key, small_database};

/// Two copies of `a` and one of `b`.
fn three_copies() -> Place {
    let place = Place::with(&["a", "b"], "");
    place.ok(&["backup"]);
    place.ok(&["backup", "a"]);
    place
}

#[test]
fn list_shows_the_newest_copy_first_and_json_says_the_same() {
    let place = three_copies();
    let ran = place.ok(&["list"]);
    ran.says("DATABASE")
        .says("daily/")
        .says("local")
        .says("just now");
    assert_eq!(ran.out.lines().count(), 4, "{ran:?}");
    let listed = place.json(&["list", "a"]);
    let copies = listed["copies"].as_array().unwrap();
    assert_eq!(copies.len(), 2);
    assert!(copies[0]["key"].as_str().unwrap().contains("/a~"));
    assert_eq!(copies[0]["rows"], 40);
    assert_eq!(copies[0]["class"], "A");
    assert_eq!(copies[0]["storages"][0]["state"], "live");
    let newest = place.json(&["list", "--limit", "1"]);
    assert_eq!(newest["copies"].as_array().unwrap().len(), 1);
    place
        .ends(1, &["list", "--date", "2001-01-01"])
        .complains("there is no copy of 2001-01-01");
}

#[test]
fn a_copy_is_found_by_every_form_of_address() {
    let place = three_copies();
    let key = |address: &str| {
        let shown = place.json(&["show", address]);
        shown["manifest"]["key"].as_str().unwrap().to_owned()
    };
    let newest = key("a");
    let oldest = key("a@latest~1");
    assert!(newest.contains("/a~") && oldest.ends_with("/a.sql"));
    assert_eq!(key("a@latest"), newest);
    let day = newest.split('/').nth(1).unwrap();
    assert_eq!(key(&format!("a@{day}")), newest);
    assert_eq!(key(&oldest), oldest);
    assert_eq!(key(&format!("manifests/{oldest}.json")), oldest);
}

#[test]
fn an_address_that_names_nothing_tells_what_there_is() {
    let place = three_copies();
    place
        .ends(1, &["cat", "a@latest~7"])
        .complains("there are 2; the newest is daily/");
    place
        .ends(1, &["show", "b@2001-01-01"])
        .complains("the only copy is daily/");
    place
        .ends(1, &["show", "daily/2001-01-01/a.sql"])
        .complains("no copy has the key");
    place
        .ends(2, &["show", "a@yesterday"])
        .complains("write `@latest`");
    place
        .ends(2, &["show", "c"])
        .complains("no database is called `c`");
}

#[test]
fn a_misspelt_name_is_answered_with_the_near_one() {
    let place = Place::with(&["groveauth"], "");
    place
        .ends(2, &["backup", "grovauth"])
        .complains("did you mean `groveauth`?");
    place.ok(&["backup"]);
    for command in ["list", "show", "cat", "verify"] {
        place
            .ends(2, &[command, "grovauth"])
            .complains("did you mean `groveauth`?");
    }
}

#[test]
fn before_the_first_backup_one_is_told_how_to_take_it() {
    let place = Place::with(&["a"], "");
    for args in [
        &["list"][..],
        &["show", "a"],
        &["cat", "a"],
        &["verify"],
        &["verify", "--all"],
    ] {
        place
            .ends(1, args)
            .complains("no backup was taken yet")
            .complains("hint: `patina backup`");
    }
    assert!(!place.path("state").exists() && !place.path("backups").exists());
}

#[test]
fn copies_of_a_database_that_left_the_configuration_are_still_read() {
    let place = three_copies();
    place.ok(&["remove", "b"]).says("its copies are kept");
    place.ok(&["list", "b"]).says("/b.sql");
    place.ok(&["cat", "b"]).says("Backup Complete");
}

#[test]
fn show_tells_everything_of_one_copy_and_its_tables() {
    let place = three_copies();
    place
        .ok(&["show", "b"])
        .says("proof       A: restored")
        .says("source      sqlite ")
        .says("sha256 ")
        .says("storage     local, every byte read just now")
        .says("TABLE  ROWS  CONTENT")
        .says("notes    40  ");
}

#[test]
fn verify_reads_the_newest_copies_or_all_and_finds_them_right() {
    let place = three_copies();
    place.ok(&["verify"]).says("2 of 2 right");
    place.ok(&["verify", "--all"]).says("3 of 3 right");
    place.ok(&["verify", "a@latest~1"]).says("1 of 1 right");
    let found = place.json(&["verify", "--all"]);
    assert_eq!(found["findings"].as_array().unwrap().len(), 3);
    assert_eq!(found["findings"][0]["result"], "right");
}

#[test]
fn a_flipped_byte_is_found_by_verify_and_never_written_by_cat() {
    for compression in ["none", "gzip", "zstd"] {
        let more = format!("[export]\ncompression = \"{compression}\"\n");
        let place = Place::with(&["a"], &more);
        let key = first_key(&place.json(&["backup"]));
        place.flip(&format!("backups/{key}"), 200);
        let ran = place.ends(4, &["cat", "a"]);
        ran.complains("is damaged").complains("nothing was written");
        assert_eq!(ran.out, "");
        place
            .ends(4, &["verify"])
            .says("damaged  local")
            .complains("is damaged")
            .complains("hint: ");
        place.ok(&["list"]).says("local (corrupt)");
        // Put right again, it counts again.
        place.flip(&format!("backups/{key}"), 200);
        place.ok(&["verify"]);
        place.ok(&["cat", "a"]).says("Backup Complete");
        assert!(!place.ok(&["list"]).out.contains("corrupt"));
    }
}

#[test]
fn of_a_large_damaged_copy_the_end_is_withheld() {
    let place = Place::with(&[], "[[database]]\nname = \"a\"\nsqlite = \"a.db\"\n");
    small_database(&place.path("a.db"), 10_000);
    let key = first_key(&place.json(&["backup"]));
    place.flip(&format!("backups/{key}"), 100_000);
    let ran = place.ends(4, &["cat", "a"]);
    ran.complains("the rest was withheld");
    assert!(!ran.out.is_empty() && !ran.out.contains("Backup Complete"));
}

#[test]
fn a_missing_object_or_manifest_is_damage() {
    for folder in ["backups", "backups/manifests"] {
        let place = Place::with(&["a"], "");
        let key = first_key(&place.json(&["backup"]));
        let json = if folder == "backups" { "" } else { ".json" };
        std::fs::remove_file(place.path(&format!("{folder}/{key}{json}"))).unwrap();
        place
            .ends(4, &["verify"])
            .says("missing  local")
            .complains("is missing");
        place.ok(&["list"]).says("local (missing)");
    }
}

#[test]
fn a_changed_manifest_is_damage() {
    let place = Place::with(&["a"], "");
    let key = first_key(&place.json(&["backup"]));
    let manifest = format!("backups/manifests/{key}.json");
    let text = place.read(&manifest);
    place.write(&manifest, &text.replace("\"rows\": 40", "\"rows\": 41"));
    place
        .ends(4, &["verify"])
        .complains("says something else than when it was written");
    place.write(&manifest, "{");
    place
        .ends(4, &["verify"])
        .complains("is not a manifest any more");
}

const TWO: &str = "[[storage]]\nname = \"first\"\ndirectory = \"first\"\n\
                   [[storage]]\nname = \"second\"\ndirectory = \"second\"\n";

#[test]
fn cat_takes_the_next_storage_where_one_is_gone_or_damaged() {
    let place = Place::with(&["a"], TWO);
    let key = first_key(&place.json(&["backup"]));
    place.flip(&format!("first/{key}"), 300);
    let ran = place.ok(&["cat", "a"]);
    ran.says("Backup Complete")
        .complains("warning: storage `first`");
    place.ends(4, &["cat", "a", "--storage", "first"]);
    place.ok(&["cat", "a", "--storage", "second"]);
    place
        .ends(2, &["cat", "a", "--storage", "secnd"])
        .complains("did you mean `second`?");

    std::fs::rename(place.path("first"), place.path("away")).unwrap();
    place
        .ok(&["cat", "a"])
        .says("Backup Complete")
        .complains("the directory `first` is not there");
    // A share that is not mounted has lost nothing, and is not made anew.
    let ran = place.ends(3, &["verify"]);
    ran.says("not read  first").says("1 of 2 right");
    assert!(!place.path("first").exists());
    assert!(!place.ok(&["list"]).out.contains("missing"));
}
