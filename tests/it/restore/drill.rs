//! Rehearses the worst day by the real binary: what comes back is told, and what does not, and nothing is touched.

use std::fs;

use patina::catalog::{Catalog, EventKind, RehearsalOutcome};
use serde_json::Value;

use super::site::{Ran, Site};
use crate::s3::server::Server;
use crate::torture::build;

/// A database in two storages and another in one night's copy.
fn small(more: &str) -> Site {
    let site = Site::new(more);
    site.execute(
        "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT);
         INSERT INTO t VALUES (1, hex(randomblob(2000))), (2, 'two');",
    );
    site
}

const SECOND: &str = "[[storage]]\nname = \"usb\"\ndirectory = \"second\"\n";

fn report(site: &Site, code: i32, args: &[&str]) -> Value {
    let ran = site.ends(code, &[&["--json", "drill"], args].concat());
    serde_json::from_str(&ran.out).unwrap()
}

fn catalog(site: &Site) -> Catalog {
    Catalog::open(&site.path("state/catalog.db")).unwrap()
}

fn conditions(site: &Site) -> Vec<(EventKind, String)> {
    let conditions = catalog(site).conditions().unwrap().into_iter();
    let conditions = conditions.map(|one| (one.kind, one.scope));
    conditions.collect()
}

fn flip(site: &Site, key: &str) {
    let path = site.path(key);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// No scratch database stays anywhere.
fn left(site: &Site) -> Vec<String> {
    let folders = [site.path("scratch"), site.path("state")];
    let entries = folders
        .iter()
        .filter_map(|folder| fs::read_dir(folder).ok());
    let names = entries
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("drill-")).collect()
}

#[test]
fn a_drill_restores_the_newest_copy_and_says_what_came_back_in_which_time() {
    let site = small("[export]\ncompression = \"zstd\"\n");
    site.night(2);
    site.execute("INSERT INTO t VALUES (3, 'three')");
    let newest = site.night(0);
    for args in [&[][..], &["--cold"]] {
        let report = report(&site, 0, args);
        assert_eq!(
            (&report["total"], &report["proven"]),
            (&1.into(), &1.into())
        );
        let database = &report["databases"][0];
        assert_eq!(database["result"], "proven");
        assert_eq!(database["key"], newest);
        assert_eq!(database["storage"], "nas");
        assert_eq!(database["rows"], 3);
        assert_eq!(database["tables"][0]["result"], "equal");
        let stored = fs::metadata(site.path(&format!("store/{newest}"))).unwrap();
        assert_eq!(database["read_bytes"], stored.len());
        assert!(database["plain_bytes"].as_u64().unwrap() > 4_000);
        assert!(database["plain_bytes_per_second"].as_u64().unwrap() > 0);
        let kept = catalog(&site).last_rehearsal().unwrap().unwrap();
        assert!(kept.is_good() && kept.is_cold == (args.len() == 1));
        assert_eq!(kept.results[0].outcome, RehearsalOutcome::Proven);
        assert_eq!(kept.results[0].rows, 3);
    }
    let ran = site.ok(&["drill", "shop", "shop"]);
    ran.says("1 of 1 database came back in ")
        .says(" restored and compared, ");
    assert!(left(&site).is_empty());
    assert!(conditions(&site).is_empty());
    let at = catalog(&site).rehearsed().unwrap();
    assert!(at.contains_key(&"shop".parse().unwrap()));
}

#[test]
fn a_cold_drill_needs_neither_state_nor_databases_in_the_configuration_and_makes_none() {
    let site = small("");
    site.night(0);
    fs::remove_dir_all(site.path("state")).unwrap();
    fs::remove_file(site.path("source.db")).unwrap();
    site.configure("[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n");
    site.ends(1, &["drill"]).complains("there is no catalog");
    // A name that is misspelt is told before what is missing besides.
    site.ends(2, &["drill", "--storage", "nass"])
        .complains("did you mean `nas`");
    let report = report(&site, 0, &["--cold"]);
    assert_eq!(report["databases"][0]["database"], "shop");
    assert!(!site.path("state").exists());
    site.ends(2, &["drill", "--cold", "shopp"])
        .complains("no database is called `shopp`");
    site.ends(2, &["drill", "--cold", "--storage", "nass"])
        .complains("did you mean `nas`");
}

#[test]
fn a_damaged_copy_is_told_and_alerted_and_its_end_is_too() {
    let site = small("");
    let key = site.night(0);
    let good = fs::read(site.path(&format!("store/{key}"))).unwrap();
    flip(&site, &format!("store/{key}"));
    let report = report(&site, 4, &["--cold"]);
    let database = &report["databases"][0];
    assert_eq!(database["result"], "damaged");
    assert!(database["message"].as_str().unwrap().contains("is damaged"));
    let known = conditions(&site);
    assert!(
        known.contains(&(EventKind::DrillFailed, "shop".to_owned())),
        "{known:?}"
    );
    // As if `verify` had found it.
    assert!(
        known
            .iter()
            .any(|(kind, _)| *kind == EventKind::VerifyFailed),
        "{known:?}"
    );
    let kept = catalog(&site).last_rehearsal().unwrap().unwrap();
    assert_eq!(kept.results[0].outcome, RehearsalOutcome::Damaged);
    site.ends(4, &["drill"])
        .complains("error: shop: storage `nas`")
        .complains("hint: `patina verify ");
    fs::write(site.path(&format!("store/{key}")), good).unwrap();
    site.ok(&["drill", "--cold"]);
    let known = conditions(&site);
    assert!(
        !known
            .iter()
            .any(|(kind, _)| *kind == EventKind::DrillFailed),
        "{known:?}"
    );
    let events = catalog(&site).events(100).unwrap();
    assert!(
        events.iter().any(|event| event.kind == EventKind::Resolved),
        "{events:?}"
    );
}

#[test]
fn a_copy_that_one_of_two_storages_lost_comes_back_from_the_other_and_the_loss_is_told() {
    let site = small(SECOND);
    let key = site.night(0);
    flip(&site, &format!("store/{key}"));
    let report = report(&site, 4, &["--cold"]);
    let database = &report["databases"][0];
    assert_eq!(
        (&database["result"], &database["storage"]),
        (&"proven".into(), &"usb".into())
    );
    assert_eq!(database["damage"], true);
    site.ok(&["drill", "--cold", "--storage", "usb"]);
    site.ends(4, &["drill", "--cold", "--storage", "nas"]);
}

#[test]
fn a_storage_that_is_away_is_no_damage_and_one_that_lies_is() {
    let site = small(SECOND);
    let key = site.night(0);
    fs::rename(site.path("store"), site.path("away")).unwrap();
    site.ok(&["drill", "--cold"])
        .complains("warning: storage `nas`")
        .says(&format!("{key} in usb"));
    site.ends(1, &["drill", "--cold", "--storage", "nas"])
        .complains("could not be looked through");
    fs::rename(site.path("away"), site.path("store")).unwrap();
    let manifest = format!("second/manifests/{key}.json");
    fs::write(site.path(&manifest), "{}").unwrap();
    site.ends(4, &["drill", "--cold"])
        .complains("leads to no copy");
}

#[test]
fn a_database_without_a_copy_is_told_and_the_others_come_back() {
    let site = small("[[database]]\nname = \"new\"\nsqlite = \"new.db\"\n");
    rusqlite::Connection::open(site.path("new.db")).unwrap();
    let alone = "[agent]\nstate = \"state\"\n[[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
                 [[database]]\nname = \"shop\"\nsqlite = \"source.db\"\n";
    let both = fs::read_to_string(site.path("patina.toml")).unwrap();
    site.configure(alone);
    site.night(0);
    site.configure(&both);
    let report = report(&site, 3, &["--cold"]);
    let results: Vec<&Value> = report["databases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["result"])
        .collect();
    assert_eq!(results, ["absent", "proven"]);
}

/// The torture database, from the bucket, first by its own object and then out of the week's archive.
#[test]
fn the_torture_database_comes_back_from_a_bucket_in_a_cold_drill() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = runtime.block_on(Server::start());
    let site = Site::new(&format!(
        "{}[export]\ncompression = \"gzip\"\n",
        Site::bucket(&server)
    ));
    build(&site.path("source.db"));
    let key = site.night(9);
    let args = ["--cold", "--storage", "bucket"];
    let first = report(&site, 0, &args);
    assert!(first["databases"][0]["tables"].as_array().unwrap().len() >= 80);
    site.ok(&["archive"]).says("packed");
    let manifest = format!("manifests/{key}.json");
    runtime.block_on(server.lose(&[&key, &manifest]));
    let second = report(&site, 0, &args);
    assert_eq!(
        second["databases"][0]["rows"],
        first["databases"][0]["rows"]
    );
    assert_eq!(second["databases"][0]["key"], key);
}

#[test]
fn a_drill_that_is_told_to_end_leaves_nothing() {
    let site = small("");
    site.execute(
        "WITH RECURSIVE n(i) AS (VALUES (10) UNION ALL SELECT i + 1 FROM n WHERE i < 400000)
         INSERT INTO t SELECT i, hex(randomblob(100)) FROM n;",
    );
    site.night(0);
    fs::create_dir(site.path("scratch")).unwrap();
    let mut command = site.command(&["drill", "--cold"]);
    command.env("TMPDIR", site.path("scratch"));
    let child = command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    let is_at_work = || {
        let folders = fs::read_dir(site.path("scratch")).unwrap().flatten();
        folders
            .map(|folder| folder.path().join("shop.db"))
            .any(|path| path.exists())
    };
    while !is_at_work() {
        assert!(began.elapsed().as_secs() < 60, "it does not begin");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let pid = rustix::process::Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(ran.code, Some(1), "{}{}", ran.err, ran.out);
    ran.complains("stopped; nothing was changed");
    assert!(left(&site).is_empty());
    assert_eq!(catalog(&site).last_rehearsal().unwrap(), None);
}
