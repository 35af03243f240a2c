//! What a script is told of the copies that there are.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use chrono::TimeDelta;
use patina::clock::Clock;
use patina::config::Config;
use patina::engine::backup::Outcome;
use patina::engine::verify::Scope;
use patina::hook::RhaiHooks;
use patina::store::Prune;

use super::world::World;

const SCRIPT: &str = "fn before_backup(db) {
    let last = db.last_good;
    if last == () { throw \"there is no copy\"; }
    #{ action: \"skip\", reason: `${last.key} of ${last.date}, ${last.rows} rows, ${last.size_bytes} bytes` }
}";

fn hooks(folder: &Path) -> RhaiHooks {
    fs::write(folder.join("it.rhai"), SCRIPT).unwrap();
    let path = folder.join("patina.toml");
    let text =
        "[hooks]\nscripts = [\"it.rhai\"]\n[[database]]\nname = \"shop\"\nsqlite = \"shop.db\"\n";
    fs::write(&path, text).unwrap();
    let config = Config::load(&path);
    let config = config.unwrap_or_else(|problems| panic!("{}", problems.short()));
    let hooks = RhaiHooks::new(&config.config, Path::new(env!("CARGO_BIN_EXE_patina")));
    hooks.unwrap_or_else(|problems| panic!("{}", problems.short()))
}

#[tokio::test]
async fn a_script_is_told_of_the_last_good_copy_where_an_archive_alone_holds_it() {
    let world = World::new("2026-01-10T03:00:00Z", &["shop"], "daily_days = 1");
    let mut process = world.healthy().await;
    world.live_on("shop");
    process.day(false).await;
    world.clock.go_to(world.clock.now() + TimeDelta::days(1));
    world.live_on("shop");
    process.day(true).await;
    let catalog = &process.wiring.catalog;
    let shop = super::world::name("shop");
    let last = catalog.newest_good(&shop).unwrap().unwrap();
    assert_eq!(last.archive, None);
    // The objects of the days go, and verification sees it.
    for copy in catalog.copies(&Default::default()).unwrap() {
        world.bucket.remove(copy.key()).await.unwrap();
    }
    process.verify(Scope::All).await;
    let last = catalog.newest_good(&shop).unwrap().unwrap();
    assert!(last.archive.is_some());

    let folder = tempfile::tempdir().unwrap();
    process.wiring.hooks = Arc::new(hooks(folder.path()));
    world.clock.go_to(world.clock.now() + TimeDelta::days(1));
    let report = process.night().await;
    let Outcome::Skipped { reason } = &report.databases[0].outcome else {
        panic!("{report:?}");
    };
    let told = format!(
        "{} of 2026-01-11, 2 rows, {} bytes",
        last.key, last.plain_bytes
    );
    assert!(reason.ends_with(&told), "{reason}");
}
