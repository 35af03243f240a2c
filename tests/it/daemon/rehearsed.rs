//! The daemon rehearses the worst day by schedule, from what the storage shows alone.

use patina::catalog::{EventKind, RehearsalOutcome};
use patina::types::Trigger;

use super::Home;

#[test]
fn a_missed_rehearsal_is_made_good_and_what_did_not_come_back_is_told() {
    let home = Home::new();
    let blog = home.database("blog", 200);
    let shop = home.database("shop", 200);
    let calm = home.calm(&format!("{blog}{shop}"));
    std::fs::write(home.path("patina.toml"), &calm).unwrap();
    let output = home.command(&["backup"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let objects = home.left();
    let shop = objects
        .iter()
        .find(|path| path.ends_with("shop.sql"))
        .unwrap();
    let mut text = std::fs::read(shop).unwrap();
    let middle = text.len() / 2;
    text[middle] ^= 1;
    std::fs::write(shop, text).unwrap();
    let due = (chrono::Utc::now() - chrono::TimeDelta::minutes(10)).format("%-M %-H %-d %-m *");
    let config = calm.replace("drill = \"never\"", &format!("drill = \"{due}\""));
    assert_ne!(config, calm);
    std::fs::write(home.path("patina.toml"), config).unwrap();
    let daemon = home.start();
    daemon.wait_for_log("task drill ended");
    let log = daemon.stop();
    assert!(
        log.contains("1 of 2 databases came back from storage"),
        "{log}"
    );
    let catalog = home.catalog().unwrap();
    let rehearsal = catalog.last_rehearsal().unwrap().unwrap();
    assert_eq!(rehearsal.trigger, Trigger::Scheduled);
    assert!(rehearsal.is_cold && !rehearsal.is_good());
    let outcomes: Vec<_> = rehearsal.results.iter().map(|one| one.outcome).collect();
    assert_eq!(
        outcomes,
        [RehearsalOutcome::Proven, RehearsalOutcome::Damaged]
    );
    let events = catalog.events(100).unwrap();
    let told = events
        .iter()
        .find(|event| event.kind == EventKind::DrillFailed);
    assert_eq!(told.unwrap().database.as_ref().unwrap().as_str(), "shop");
    let next = home.command(&["next"]).output().unwrap();
    assert!(
        String::from_utf8_lossy(&next.stdout).contains("drill"),
        "{next:?}"
    );
    let state = std::fs::read_dir(home.path("state")).unwrap().flatten();
    let names: Vec<String> = state
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.starts_with("drill-")),
        "{names:?}"
    );
}
