//! Which copies `GET /list` shows, in which state, and how many backups the status counts.

use std::fs;

use patina::engine::pack;
use patina::engine::verify::{self, Scope};
use reqwest::StatusCode;
use serde_json::{Value, json as document};

use super::{TODAY, World, full_key, json};

impl World {
    /// Reads every stored byte again, as the daemon does in the course of a week.
    async fn verify(&self) {
        let wiring = self.wiring();
        let targets = verify::select(&wiring, Scope::All).unwrap();
        let found = verify::run(&wiring, targets, &Default::default(), &self.stop).await;
        found.unwrap();
    }

    /// Does something to both storages' objects of this key.
    fn harm(&self, key: &str, harm: impl Fn(&std::path::Path)) {
        for storage in ["near", "far"] {
            let path = self.path(&format!("{storage}/{key}"));
            assert!(path.exists(), "{}", path.display());
            harm(&path);
        }
    }

    /// What `GET /list` says of each copy: its database and state.
    async fn listed(&self, query: &str) -> (Vec<(String, String)>, u64, u64) {
        let (status, list) = json(self.with_key(&format!("/list{query}"))).await;
        assert_eq!(status, StatusCode::OK, "{list}");
        let copies = list["backups"].as_array().unwrap().iter();
        let word = |copy: &Value, field: &str| copy[field].as_str().unwrap().to_owned();
        let copies = copies.map(|copy| (word(copy, "database"), word(copy, "state")));
        let number = |field: &str| list[field].as_u64().unwrap();
        (copies.collect(), number("total"), number("filtered"))
    }
}

fn damaged(path: &std::path::Path) {
    let mut bytes = fs::read(path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(path, bytes).unwrap();
}

fn of(database: &str, state: &str) -> (String, String) {
    (database.to_owned(), state.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_list_shows_what_a_restore_takes_and_damaged_copies_only_to_who_asks_for_them() {
    let world = World::new(&full_key()).await;
    let (all, total, filtered) = world.listed("").await;
    assert_eq!(all, [of("shop", "good"), of("blog", "good")]);
    assert_eq!((total, filtered), (2, 2));

    world.harm(&format!("daily/{TODAY}/blog.sql"), damaged);
    world.verify().await;
    let (good, total, filtered) = world.listed("").await;
    assert_eq!(good, [of("shop", "good")]);
    assert_eq!((total, filtered), (1, 1));
    let (all, total, filtered) = world.listed("?state=all").await;
    assert_eq!(all, [of("shop", "good"), of("blog", "corrupt")]);
    assert_eq!((total, filtered), (2, 2));
    let (corrupt, total, filtered) = world.listed("?state=corrupt&database=blog").await;
    assert_eq!(corrupt, [of("blog", "corrupt")]);
    assert_eq!((total, filtered), (1, 1));
    assert_eq!(world.listed("?state=missing").await, (Vec::new(), 0, 0));
    // The database is known all the same: no answer says that there is none.
    assert_eq!(world.listed("?database=blog").await, (Vec::new(), 1, 0));
    let refused = world.download(&format!("/download/{TODAY}/blog")).await;
    let is_refused = !refused.status().is_success();
    assert!(
        is_refused || refused.bytes().await.is_err(),
        "it was served whole"
    );
    let (_, status) = json(world.with_key("/status")).await;
    assert_eq!(status["storage"]["totalBackups"], 1);

    world.harm(&format!("daily/{TODAY}/shop.sql"), |path| {
        fs::remove_file(path).unwrap();
    });
    world.verify().await;
    assert_eq!(world.listed("").await, (Vec::new(), 0, 0));
    let (all, ..) = world.listed("?state=all").await;
    assert_eq!(all, [of("shop", "missing"), of("blog", "corrupt")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_one_storage_or_an_archive_still_holds_is_good() {
    let world = World::new(&full_key()).await;
    damaged(&world.path(&format!("near/daily/{TODAY}/blog.sql")));
    world.verify().await;
    let (all, total, _) = world.listed("").await;
    assert_eq!((all.len(), total), (2, 2), "the other storage has it");

    // A week later an archive holds the copies, too; then the objects themselves go wrong.
    world
        .clock
        .0
        .advance(std::time::Duration::from_secs(7 * 24 * 3600));
    let packed = pack::run(
        &world.wiring(),
        &world.state,
        &Default::default(),
        &world.stop,
    )
    .await;
    assert!(
        matches!(packed, Ok(pack::Outcome::Packed { .. })),
        "{packed:?}"
    );
    world.harm(&format!("daily/{TODAY}/shop.sql"), damaged);
    world.verify().await;
    let (_, list) = json(world.with_key("/list?database=shop")).await;
    let copy = &list["backups"][0];
    assert_eq!(copy["state"], "good", "{copy}");
    assert!(
        copy["archive"].as_str().unwrap().starts_with("weekly/"),
        "{copy}"
    );
    assert_eq!(copy["rows"], 20);
    let path = format!("/download/{TODAY}/shop");
    assert!(world.download(&path).await.status().is_success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_nothing_was_compared_with_is_unproven_and_still_listed() {
    let world = World::empty(&full_key(), "verify = \"checksum\"", None).await;
    world.night().await;
    let (all, total, _) = world.listed("").await;
    assert_eq!(all, [of("shop", "unproven"), of("blog", "unproven")]);
    assert_eq!(total, 2);
    assert_eq!(world.listed("?state=good").await, (Vec::new(), 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_none_is_refused_with_those_there_are() {
    let world = World::new(&full_key()).await;
    for bad in ["live", "", "Good", "good,corrupt", "*", "%00", "all%20"] {
        let (status, refused) = json(world.with_key(&format!("/list?state={bad}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{bad}: {refused}");
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with("`state` cannot be `"), "{refused}");
        assert!(
            message.contains("good, unproven, suspect, corrupt, missing or all"),
            "{refused}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_status_counts_backups_of_databases_as_the_list_does_wherever_they_lie() {
    let world = World::with_archive().await;
    let (_, list) = json(world.with_key("/list")).await;
    let (_, status) = json(world.with_key("/status")).await;
    let storage = &status["storage"];
    assert_eq!(list["total"], 4);
    assert_eq!(storage["totalBackups"], list["total"], "{storage}");
    assert_eq!(
        (&storage["dailyCopies"], &storage["weeklyArchives"]),
        (&document!(2), &document!(1))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_in_an_archive_was_created_when_it_was_made_and_not_when_it_was_packed() {
    let world = World::with_archive().await;
    let (_, list) = json(world.with_key("/list?date=2026-11-10")).await;
    let copies = list["backups"].as_array().unwrap();
    assert_eq!(copies.len(), 2);
    for copy in copies {
        assert!(copy["archive"].is_string(), "{copy}");
        assert_eq!(copy["createdAt"], "2026-11-10T03:00:00Z", "{copy}");
    }
}
