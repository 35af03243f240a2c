//! Shows the checker one made-up tree per rule.

use super::*;

const LIB: &str = "pub mod types;\npub mod dump;\npub mod config;\npub mod clock;\npub mod source;\n\
                   pub mod store;\npub mod catalog;\npub mod engine;\npub mod app;\npub mod cli;\n";

fn check_one(name: &str, text: &str) -> Vec<String> {
    let lib = File {
        name: "lib.rs".to_owned(),
        text: LIB.to_owned(),
    };
    check(&[
        lib,
        File {
            name: name.to_owned(),
            text: text.to_owned(),
        },
    ])
}

#[track_caller]
fn caught(name: &str, text: &str, sentence: &str) {
    let broken = check_one(name, text);
    assert_eq!(broken.len(), 1, "{name}: {text}\n{broken:#?}");
    assert!(broken[0].starts_with(sentence), "{}", broken[0]);
    assert!(broken[0].contains("\nhint: "), "{}", broken[0]);
}

#[track_caller]
fn allowed(name: &str, text: &str) {
    let broken = check_one(name, text);
    assert!(broken.is_empty(), "{name}: {text}\n{broken:#?}");
}

#[test]
fn an_import_from_below_is_caught_however_it_is_written() {
    let texts = [
        "\nuse crate::config::Config;",
        "\nuse crate::{types::Sha256, config::Config};",
        "\npub(crate) use crate::{types, config};",
        "\nfn f() { crate::config::load(); }",
        "\nuse super::config::Config;",
        "\nuse self::super::config::Config;",
        "\nuse super::{types, config};",
        "\nmod a { use super::super::config::Config; }",
        "\nmod a { mod b {} fn f() { super::super::config::load() } }",
        "\n#[serde(with = \"crate::config::text\")] struct A;",
        "\n#[cfg(test)] mod tests { use crate::config::Config; }",
        "\nmacro_rules! a { () => { $crate::config::load() } }",
    ];
    for text in texts {
        caught(
            "dump/mod.rs",
            text,
            "src/dump/mod.rs:2: `dump` imports `config`",
        );
    }
    caught(
        "dump/split.rs",
        "use super::super::config;",
        "src/dump/split.rs:1: `dump` imports `config`",
    );
}

#[test]
fn an_import_from_above_or_from_the_own_room_is_allowed() {
    for text in [
        "use crate::types::{Sha256, Hasher}; use crate::{dump::split, types};",
        "use super::types; mod config { } use self::config::X; use config::Y;",
        "// crate::config\n/* crate::config */ const A: &str = \"use crate::config;\";",
        "/// See [`config`](crate::config).\npub(crate) fn crate_config() {}",
        "mod tests { use super::config; fn f() -> super::config::A {} }",
    ] {
        allowed("dump/mod.rs", text);
    }
    allowed(
        "dump/split.rs",
        "use super::config; use super::super::types;",
    );
    allowed(
        "main.rs",
        "use patina::cli; fn main() { patina::app::run() }",
    );
}

#[test]
fn a_path_that_hides_its_room_is_caught() {
    caught(
        "dump/mod.rs",
        "use crate as c;",
        "src/dump/mod.rs:1: the crate's root",
    );
    caught(
        "dump/mod.rs",
        "use crate::nowhere;",
        "src/dump/mod.rs:1: `crate::nowhere` is no room",
    );
    caught("lost.rs", "", "src/lost.rs:1: `lost` is not declared");
    assert!(!check_one("dump/mod.rs", "use crate::*;").is_empty());
    assert!(!check_one("dump/mod.rs", "use crate::{self as c};").is_empty());
}

#[test]
fn every_ban_is_caught_outside_its_places_and_only_there() {
    let cases: &[(&[&str], &str, &str)] = &[
        (&["tokio"], "types/name.rs", "config/mod.rs"),
        (&["reqwest"], "types/name.rs", "source/d1/mod.rs"),
        (&["std", "fs"], "dump/mod.rs", "store/dir.rs"),
        (&["std", "net"], "dump/mod.rs", "app.rs"),
        (&["rusqlite"], "engine/backup.rs", "engine/drill.rs"),
        (&["rhai"], "config/mod.rs", "hook/mod.rs"),
        (&["axum"], "app.rs", "http/router.rs"),
        (&["Client", "builder"], "source/d1/mod.rs", "net/mod.rs"),
        (&["clap"], "config/mod.rs", "main.rs"),
        (&["SystemTime", "now"], "store/dir.rs", "clock.rs"),
        (&["Utc", "now"], "catalog/mod.rs", "clock.rs"),
        (&["Local", "now"], "catalog/mod.rs", "clock.rs"),
        (&["Prune"], "engine/backup.rs", "engine/expire.rs"),
    ];
    assert_eq!(cases.len(), BANS.len(), "a ban without a case");
    for (ban, (names, outside, inside)) in BANS.iter().zip(cases) {
        assert_eq!(ban.names, *names);
        assert!(ban.places.allow(inside), "{names:?} in {inside}");
        let path = names.join("::");
        let sentence = format!("src/{outside}:2: `{path}` is not for this place");
        caught(outside, &format!("\nfn f() {{ {path}::x() }}"), &sentence);
        caught(outside, &format!("\nuse {path};"), &sentence);
        caught(outside, &format!("\nuse {path} as other;"), &sentence);
        let in_test = format!("\n#[cfg(test)] mod tests {{ use {path}; }}");
        if ban.free_in_tests {
            allowed(outside, &in_test);
        } else {
            caught(outside, &in_test, &sentence);
        }
    }
    caught(
        "dump/mod.rs",
        "use std::{io, fs::{self, File}};\n",
        "src/dump/mod.rs:1: `std::fs`",
    );
}

#[test]
fn only_the_named_files_may_use_rusqlite() {
    for file in [
        "source/sqlite.rs",
        "source/sqlite/read.rs",
        "catalog/jobs.rs",
        "cli/demo.rs",
    ] {
        allowed(file, "use rusqlite::Connection;");
    }
    for file in [
        "source/mod.rs",
        "cli/mod.rs",
        "engine/mod.rs",
        "app.rs",
        "main.rs",
    ] {
        caught(
            file,
            "use rusqlite::Connection;",
            &format!("src/{file}:1: `rusqlite`"),
        );
    }
}

#[test]
fn a_test_module_in_its_own_file_is_test_code() {
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let tree = |tests: &str| {
        check(&[
            file("lib.rs", LIB),
            file("dump/write.rs", "#[cfg(test)]\nmod tests;"),
            file("dump/write/tests.rs", tests),
        ])
    };
    assert!(tree("use rusqlite::Connection; use std::fs;").is_empty());
    assert_eq!(tree("use crate::config::Config;").len(), 1);
}

#[test]
fn a_file_of_601_lines_is_caught() {
    allowed("app.rs", &"\n".repeat(600));
    caught(
        "app.rs",
        &"\n".repeat(601),
        "src/app.rs:601: the file has 601 lines",
    );
}

#[test]
fn a_tree_without_rooms_is_caught() {
    assert_eq!(check(&[]).len(), 1);
    let empty = File {
        name: "lib.rs".to_owned(),
        text: "// mod a;".to_owned(),
    };
    assert_eq!(check(&[empty]).len(), 1);
}
