//! The guide of a SQLite file, and a runbook of several.

use std::path::Path;

use rusqlite::Connection;

use super::{Desk, commands, free_port, section, served};
use crate::torture::{build, compare};

const CONFIG: &str = "[export]\ntimeout = \"5m\"\n\
    [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
    [[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\nmethod = \"sql\"\npriority = \"critical\"\ndescription = \"What is sold\"\n";

/// What is there on the worst day.
fn ruin(file: &Path) {
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    let db = Connection::open(file).unwrap();
    db.execute_batch(
        "PRAGMA journal_mode=WAL; CREATE TABLE wrong(x); INSERT INTO wrong VALUES (1)",
    )
    .unwrap();
}

/// A torture database, its copy, and what it was.
fn desk() -> Desk {
    desk_with("")
}

fn desk_with(more: &str) -> Desk {
    let desk = Desk::new(&format!("{more}{CONFIG}"));
    build(&desk.path("shop.db"));
    std::fs::copy(desk.path("shop.db"), desk.path("was.db")).unwrap();
    desk.run("patina backup");
    desk
}

#[track_caller]
fn is_back(desk: &Desk) {
    let differences = compare(&desk.path("was.db"), &desk.path("shop.db"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_way_of_patina_brings_a_file_back() {
    let desk = desk();
    ruin(&desk.path("shop.db"));
    let guide = desk.run("patina guide shop");
    desk.follow(&section(&guide, "Patina (Recommended)"));
    is_back(&desk);
}

#[test]
fn a_file_that_is_gone_comes_back_the_same_way() {
    let desk = desk();
    std::fs::remove_file(desk.path("shop.db")).unwrap();
    let guide = desk.run("patina guide shop");
    desk.follow(&section(&guide, "Patina (Recommended)"));
    is_back(&desk);
}

#[test]
fn the_way_of_the_stock_shell_brings_a_file_back_and_keeps_what_was_there() {
    let port = free_port();
    let mut desk = desk_with(&served(port));
    ruin(&desk.path("shop.db"));
    let _daemon = desk.serve(port);
    let guide = desk.run("patina guide shop@latest");
    let steps = section(&guide, "sqlite3, without Patina");
    assert!(steps.iter().any(|step| step.command.starts_with("curl ")));
    desk.follow(&steps);
    is_back(&desk);
    let aside = Connection::open(desk.path("shop.db.before-restore")).unwrap();
    let kept: i64 = aside
        .query_row("SELECT x FROM wrong", [], |row| row.get(0))
        .unwrap();
    assert_eq!(kept, 1, "what was there is kept");
}

#[test]
fn one_table_and_the_storage_alone_give_what_the_copy_has() {
    let desk = desk();
    let guide = desk.run("patina guide shop");
    desk.follow(&section(&guide, "One table, or one row"));
    desk.follow(&section(&guide, "Storage `nas` alone, without Patina"));
    let dump = std::fs::read_dir(desk.path("")).unwrap().flatten();
    let mut dump = dump.map(|entry| entry.path()).filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        name.starts_with("shop-2") && name.ends_with(".sql")
    });
    assert_eq!(
        std::fs::read_to_string(dump.next().unwrap()).unwrap(),
        desk.run("patina cat shop")
    );
}

#[test]
fn the_runbook_brings_every_database_back_in_its_order() {
    let config = "[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
        [[database]]\nname = \"stats\"\nsqlite = \"stats.db\"\n\
        [[database]]\nname = \"auth\"\nsqlite = \"auth.db\"\nmethod = \"sql\"\npriority = \"critical\"\ndescription = \"Users | sessions\"\n";
    let desk = Desk::new(config);
    for name in ["auth", "stats"] {
        build(&desk.path(&format!("{name}.db")));
        std::fs::copy(
            desk.path(&format!("{name}.db")),
            desk.path(&format!("{name}.was")),
        )
        .unwrap();
    }
    desk.run("patina backup");
    for name in ["auth", "stats"] {
        ruin(&desk.path(&format!("{name}.db")));
    }
    // The state is lost, too: the page says what to do about that.
    std::fs::remove_dir_all(desk.path("state")).unwrap();
    assert!(!desk.try_to("patina runbook").status.success());
    desk.run("patina rebuild");
    let page = desk.run("patina runbook");
    let order = page.find("### 1. `auth`").zip(page.find("### 2. `stats`"));
    assert!(
        order.is_some_and(|(first, second)| first < second),
        "{page}"
    );
    let all = commands(&page);
    assert!(all.len() >= 12, "{all:?}");
    desk.follow(&all);
    for name in ["auth", "stats"] {
        let was = desk.path(&format!("{name}.was"));
        let differences = compare(&was, &desk.path(&format!("{name}.db")));
        assert!(differences.is_empty(), "{name}: {differences:#?}");
    }
}

#[test]
fn the_document_has_the_fields_of_the_specification() {
    let desk = desk();
    let guide: serde_json::Value =
        serde_json::from_str(&desk.run("patina --json guide shop")).unwrap();
    for field in [
        "database",
        "databaseId",
        "description",
        "priority",
        "availableBackups",
        "restoreInstructions",
    ] {
        assert!(!guide[field].is_null(), "{field}: {guide}");
    }
    assert_eq!(guide["priority"], "critical");
    let way = &guide["restoreInstructions"]["method3_patina"];
    assert!(
        way["steps"][0].as_str().unwrap().starts_with("1. "),
        "{way}"
    );
    assert!(way["warning"].is_string());
    let copy = &guide["copy"];
    let tables = copy["tables"].as_array().unwrap();
    assert!(tables.len() > 10 && copy["sha256"].as_str().unwrap().len() == 64);
}

#[test]
fn a_guide_to_a_database_that_nobody_knows_is_refused_and_one_without_a_copy_says_so() {
    let desk = desk();
    let output = desk.try_to("patina guide shopp");
    assert_eq!(output.status.code(), Some(2));
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("did you mean `shop`"), "{told}");
    let more = "[[database]]\nname = \"new\"\nsqlite = \"new.db\"\n";
    std::fs::write(desk.path("patina.toml"), format!("{CONFIG}{more}")).unwrap();
    let guide = desk.run("patina guide new");
    assert!(guide.contains("There is no copy of it."), "{guide}");
    assert!(commands(&guide).is_empty());
}
