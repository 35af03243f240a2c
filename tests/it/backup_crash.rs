//! Kills a backup after every durable step, and starts again.

use std::path::Path;

use tempfile::TempDir;

use crate::killed::Victim;
use crate::night::{DATABASES, Night, is_stored, prepare};

const ROOT: &str = "PATINA_TEST_NIGHT";

/// Fewer steps mean that the trace saw nothing.
const LEAST_STEPS: u64 = 60;

/// What the killed process does: recovery, then a backup. Without a folder, nothing.
#[tokio::test]
async fn a_night_in_the_given_folder() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let night = Night::open(Path::new(&root));
    night.recover().await;
    let report = night.run().await;
    assert!(
        DATABASES.iter().all(|name| is_stored(&report, name)),
        "{report:?}"
    );
}

fn installation() -> TempDir {
    let folder = TempDir::new().unwrap();
    // One at a time: the same step is then the same call each time.
    prepare(folder.path(), "concurrency = 1\ncompression = \"gzip\"");
    folder
}

/// Starts again after a kill, and asserts that nothing was lost and nothing partial is left.
async fn check_after(root: &Path) {
    let night = Night::open(root);
    night.recover().await;
    let before = night.check().await;
    let report = night.run().await;
    assert!(
        DATABASES.iter().all(|name| is_stored(&report, name)),
        "{report:?}"
    );
    assert_eq!(night.check().await, before + DATABASES.len());
}

#[test]
fn a_backup_that_is_killed_at_any_durable_step_leaves_whole_copies_or_none() {
    let victim = Victim {
        test: "backup_crash::a_night_in_the_given_folder",
        folder: ROOT,
    };
    let steps = victim.kill_at_every_step(installation, check_after);
    println!("killed at each of {steps} durable steps");
    assert!(steps >= LEAST_STEPS, "only {steps} steps");
}
