//! The guide and the runbook of copies in a bucket, followed with the real rclone against a real S3 server.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;

use tokio::runtime::Runtime;

use super::{Desk, commands, section};
use crate::restore::site::night;
use crate::s3::server::{ACCESS_KEY_ID, BUCKET, SECRET_ACCESS_KEY, Server};
use crate::torture::{build, compare};

/// A bucket, and a desk whose database `shop` is to be backed up into it with these keys.
fn desk_with(export: &str, prefix: &str, keys: [&str; 2]) -> (Server, Desk) {
    let server = Runtime::new().unwrap().block_on(Server::start());
    let [id, secret] = keys;
    let mut desk = Desk::new(&format!(
        "[export]\ntimeout = \"5m\"\n{export}\n[[storage]]\nname = \"r2\"\n[storage.s3]\nendpoint = \"{}\"\n\
         bucket = \"{BUCKET}\"\nprefix = \"{prefix}\"\naccess_key_id = \"{id}\"\n\
         secret_access_key = \"{secret}\"\n\
         [[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\nmethod = \"sql\"\n",
        server.endpoint()
    ));
    for (name, value) in [
        ("ACCESS_KEY_ID", ACCESS_KEY_ID),
        ("SECRET_ACCESS_KEY", SECRET_ACCESS_KEY),
    ] {
        desk.set(&format!("R2_{name}"), value);
        desk.set(&format!("AWS_{name}"), value);
    }
    // rclone warns where it has no configuration of its own.
    let nowhere = desk.path("rclone.conf").display().to_string();
    desk.set("RCLONE_CONFIG", &nowhere);
    // Keys may stand in it.
    std::fs::set_permissions(desk.path("patina.toml"), Permissions::from_mode(0o600)).unwrap();
    build(&desk.path("shop.db"));
    std::fs::copy(desk.path("shop.db"), desk.path("was.db")).unwrap();
    (server, desk)
}

/// The same, backed up.
fn desk(export: &str, prefix: &str) -> (Server, Desk) {
    let keys = ["env:R2_ACCESS_KEY_ID", "env:R2_SECRET_ACCESS_KEY"];
    let (server, desk) = desk_with(export, prefix, keys);
    desk.run("patina backup");
    (server, desk)
}

/// The guide's way without Patina fetches by rclone; the stock shell then has the database as it was.
fn check(export: &str, prefix: &str) {
    let (_server, desk) = desk(export, prefix);
    let guide = desk.run("patina guide shop");
    let steps = section(&guide, "Storage `r2` alone, without Patina");
    assert!(steps[0].command.starts_with("rclone copyto "), "{steps:?}");
    // Nothing that Patina knows helps.
    std::fs::remove_dir_all(desk.path("state")).unwrap();
    std::fs::remove_file(desk.path("patina.toml")).unwrap();
    desk.follow(&steps);
    desk.run("(echo 'BEGIN;'; cat shop-*.sql; echo 'COMMIT;') | sqlite3 -bail back.db");
    let differences = compare(&desk.path("was.db"), &desk.path("back.db"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn rclone_fetches_a_plain_copy_as_the_guide_prints_it() {
    check("", "");
}

#[test]
fn rclone_fetches_a_compressed_copy_below_a_prefix_as_the_guide_prints_it() {
    check("compression = \"zstd\"", "grove/my backups");
}

#[test]
fn rclone_fetches_a_week_as_the_guide_prints_it() {
    let (server, desk) = desk_with(
        "compression = \"gzip\"",
        "",
        [ACCESS_KEY_ID, SECRET_ACCESS_KEY],
    );
    let config = desk.path("patina.toml");
    let runtime = Runtime::new().unwrap();
    let key = runtime.block_on(night(&config, 9));
    desk.run("patina archive");
    let manifest = format!("manifests/{key}.json");
    runtime.block_on(server.lose(&[&key, &manifest]));
    std::fs::remove_dir_all(desk.path("state")).unwrap();
    desk.run("patina rebuild");
    let guide = desk.run("patina guide shop");
    let steps = section(&guide, "Storage `r2` alone, without Patina");
    assert!(
        steps
            .iter()
            .any(|step| step.command.starts_with("tar -xzOf ")),
        "{steps:?}"
    );
    desk.follow(&steps);
    desk.run("(echo 'BEGIN;'; cat shop-*.sql; echo 'COMMIT;') | sqlite3 -bail back.db");
    let differences = compare(&desk.path("was.db"), &desk.path("back.db"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_runbook_of_a_bucket_brings_its_database_back_on_another_host() {
    let (_server, desk) = desk("", "grove");
    let page = desk.run("patina runbook");
    let lost = page
        .split("## When the host of Patina is lost")
        .nth(1)
        .unwrap();
    let all = commands(lost);
    assert!(all.len() >= 4, "{all:?}");
    assert!(!lost.contains(SECRET_ACCESS_KEY) && !lost.contains(ACCESS_KEY_ID));
    std::fs::remove_dir_all(desk.path("state")).unwrap();
    std::fs::remove_file(desk.path("patina.toml")).unwrap();
    std::fs::remove_file(desk.path("shop.db")).unwrap();
    desk.follow(&all);
    let differences = compare(&desk.path("was.db"), &desk.path("back/shop.db"));
    assert!(differences.is_empty(), "{differences:#?}");
}
