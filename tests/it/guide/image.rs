//! The guide of a database whose copy is an image: the file itself comes back, with stock tools and with Patina.

use super::{Desk, free_port, section, served};
use crate::images::{build_image, open};

const CONFIG: &str = "[export]\ntimeout = \"5m\"\ncompression = \"COMPRESSION\"\n\
    [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n[[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n";

fn desk(compression: &str, more: &str) -> Desk {
    let config = CONFIG.replace("COMPRESSION", compression);
    let desk = Desk::new(&format!("{more}{config}"));
    build_image(&desk.path("shop.db"));
    desk.run("patina backup");
    open(&desk.path("shop.db"))
        .execute_batch("DELETE FROM names; PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    desk
}

#[track_caller]
fn is_back(desk: &Desk) {
    let db = open(&desk.path("shop.db"));
    let found: (i64, String) = db
        .query_row(
            "SELECT count(*), (SELECT * FROM pragma_integrity_check) FROM names",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
        .unwrap();
    assert_eq!(found, (4, "ok".to_owned()));
}

#[test]
fn stock_tools_bring_an_image_back_whatever_its_compression() {
    for compression in ["none", "gzip", "zstd"] {
        let port = free_port();
        let mut desk = desk(compression, &served(port));
        let _daemon = desk.serve(port);
        let guide = desk.run("patina guide shop");
        assert!(guide.contains("an image of a SQLite file"), "{guide}");
        assert!(
            !guide.contains("sqlite3 -bail"),
            "nothing is executed: {guide}"
        );
        let steps = section(&guide, "cp, without Patina");
        assert!(steps.iter().any(|step| step.command.starts_with("curl ")));
        desk.follow(&steps);
        is_back(&desk);
        desk.follow(&section(&guide, "Storage `nas` alone, without Patina"));
        desk.follow(&section(&guide, "One table, or one row"));
    }
}

#[test]
fn patina_brings_an_image_back_by_its_guide_and_by_the_runbook() {
    let desk = desk("zstd", "");
    let guide = desk.run("patina guide shop");
    desk.follow(&section(&guide, "Patina (Recommended)"));
    is_back(&desk);
    let runbook = desk.run("patina runbook");
    assert!(
        runbook.contains("the file of a SQLite database (`.sqlite`)"),
        "{runbook}"
    );
}

#[test]
fn the_document_names_form_reason_and_exceptions() {
    let desk = desk("gzip", "");
    let document: serde_json::Value =
        serde_json::from_str(&desk.run("patina --json guide shop")).unwrap();
    assert_eq!(document["copy"]["form"], "image");
    assert!(document["copy"]["exceptions"].is_array());
    assert!(document["copy"]["formReason"].is_string(), "{document}");
}
