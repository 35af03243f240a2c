//! Kills a Sunday after every durable step: of recovery, packing, expiry and reconciliation.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use chrono::{Datelike, TimeDelta, Utc};
use patina::catalog::CatalogError;
use patina::engine::expire;
use patina::engine::pack;
use patina::engine::reconcile::{self, Patience};
use patina::engine::verify::{self, Scope};
use patina::retention::{Guard, Guards};
use patina::store::{DirStore, Prune};
use patina::wiring::Moment;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::world::SimClock;
use crate::killed::Victim;
use crate::night::{DATABASES, Night, prepare};

const ROOT: &str = "PATINA_TEST_SUNDAY";

/// Short, so that the Sunday ends the life of daily copies and of an archive.
const RETENTION: &str =
    "concurrency = 1\n[retention]\ndaily_days = 1\nweekly_weeks = 2\nmin_copies = 1";

/// So many nights lie behind the Sunday's run.
const NIGHTS: i64 = 27;

/// Fewer steps mean that the trace saw nothing.
const LEAST_STEPS: u64 = 80;

/// Packs, expires and reconciles.
async fn sunday(night: &Night) {
    let (stop, wiring) = (CancellationToken::new(), &night.wiring);
    pack::run(wiring, &night.state, &Arc::default(), &stop)
        .await
        .unwrap();
    let report = expire::run(wiring, &pruners(night), Guards::all(), &stop)
        .await
        .unwrap();
    assert!(report.failed.is_empty(), "{report:?}");
    reconcile::run(wiring, Patience::Leave, &stop)
        .await
        .unwrap();
}

fn pruners(night: &Night) -> Vec<Arc<dyn Prune>> {
    let instance = night.wiring.catalog.instance().unwrap();
    vec![Arc::new(
        DirStore::open("nas", &night.root.join("store"), &instance).unwrap(),
    )]
}

/// What the killed process does. Without a folder, nothing.
#[tokio::test]
async fn a_sunday_in_the_given_folder() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let night = Night::open(Path::new(&root));
    night.recover().await;
    sunday(&night).await;
}

/// Nights up to today, in the same clock as the folder's files: only the newest is held against them.
async fn live(root: &Path, size: Size) {
    prepare(root, RETENTION);
    if size == Size::Small {
        let text = fs::read_to_string(root.join("patina.toml")).unwrap();
        let second = text
            .rfind("[[database]]")
            .and_then(|third| text[..third].rfind("[[database]]"));
        fs::write(root.join("patina.toml"), &text[..second.unwrap()]).unwrap();
    }
    let mut night = Night::open(root);
    let today = Utc::now();
    for back in (0..=NIGHTS).rev() {
        let now = today - TimeDelta::days(back);
        let clock = Arc::new(SimClock::at(now));
        night.wiring.built_at = Moment::of(clock.as_ref());
        night.wiring.clock = clock;
        let report = night.run().await;
        assert_eq!(report.job.failed, 0, "{report:?}");
        let is_last_sunday = back < 7;
        if now.weekday() == chrono::Weekday::Sun && !is_last_sunday {
            let (wiring, stop) = (&night.wiring, CancellationToken::new());
            pack::run(wiring, &night.state, &Arc::default(), &stop)
                .await
                .unwrap();
            if size == Size::Small {
                // The folder's files are of today, and the nights are not.
                let guards = Guards::without(Guard::Clock);
                expire::run(wiring, &pruners(&night), guards, &stop)
                    .await
                    .unwrap();
            }
        }
    }
}

/// How much lies in an installation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Size {
    /// One database whose earlier weeks are expired.
    Small,
    /// All databases, and every day of them.
    Large,
}

/// An installation with the nights of some weeks behind it and a Sunday's run before it; prepared once, and copied.
pub(crate) fn installation() -> TempDir {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    copy_of(TEMPLATE.get_or_init(|| template(Size::Large)))
}

fn small_installation() -> TempDir {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    copy_of(TEMPLATE.get_or_init(|| template(Size::Small)))
}

fn template(size: Size) -> TempDir {
    let folder = TempDir::new().unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(live(folder.path(), size));
    folder
}

fn copy_of(template: &TempDir) -> TempDir {
    let folder = TempDir::new().unwrap();
    copy(template.path(), folder.path());
    let text = fs::read_to_string(folder.path().join("patina.toml")).unwrap();
    let (old, new) = (
        template.path().display().to_string(),
        folder.path().display().to_string(),
    );
    fs::write(folder.path().join("patina.toml"), text.replace(&old, &new)).unwrap();
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The days of each database that an object holds, and the objects themselves.
async fn inventory(night: &Night) -> Result<(BTreeSet<String>, BTreeSet<String>), CatalogError> {
    let mut held = BTreeSet::new();
    for name in DATABASES {
        for copy in night
            .wiring
            .catalog
            .held(&name.parse().unwrap(), None, None)?
        {
            held.insert(format!("{name} {}", copy.date));
        }
    }
    let listing = night.wiring.stores[0].list().await.unwrap();
    let objects = listing.objects.iter().map(|(key, _)| key.to_string());
    Ok((held, objects.collect()))
}

/// After a kill: nothing is lost that an undisturbed Sunday keeps, and the next run comes to the same end.
async fn check_after(root: &Path, undisturbed: &(BTreeSet<String>, BTreeSet<String>)) {
    let night = Night::open(root);
    night.recover().await;
    night.check().await;
    let (held, _) = inventory(&night).await.unwrap();
    assert!(
        held.is_superset(&undisturbed.0),
        "{:?}",
        undisturbed.0.difference(&held)
    );
    sunday(&night).await;
    let (held, objects) = inventory(&night).await.unwrap();
    let differ = |ours: &BTreeSet<String>, theirs| -> Vec<String> {
        ours.symmetric_difference(theirs).cloned().collect()
    };
    assert_eq!(differ(&objects, &undisturbed.1), Vec::<String>::new());
    assert_eq!(differ(&held, &undisturbed.0), Vec::<String>::new());
    let targets = verify::select(&night.wiring, Scope::All).unwrap();
    let stop = CancellationToken::new();
    for finding in verify::run(&night.wiring, targets, &Arc::default(), &stop)
        .await
        .unwrap()
    {
        assert!(finding.found.is_ok(), "{finding:?}");
    }
}

#[test]
fn a_sunday_that_is_killed_at_any_durable_step_loses_no_copy_and_comes_to_the_same_end() {
    let folder = small_installation();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (before, undisturbed) = runtime.block_on(async {
        let night = Night::open(folder.path());
        let before = inventory(&night).await.unwrap();
        sunday(&night).await;
        (before, inventory(&night).await.unwrap())
    });
    let gone = before.1.difference(&undisturbed.1).count();
    assert!(gone > 10, "only {gone} objects expire on this Sunday");
    let victim = Victim {
        test: "week::kill::a_sunday_in_the_given_folder",
        folder: ROOT,
    };
    let steps = victim.kill_at_every_step(small_installation, async |root: &Path| {
        check_after(root, &undisturbed).await;
    });
    println!("killed at each of {steps} durable steps; {gone} objects expire in them");
    assert!(steps >= LEAST_STEPS, "only {steps} steps");
}
