//! Kills a restore after every durable step: the target is as before, or complete.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use rusqlite::Connection;
use tempfile::TempDir;

use super::site::{Site, execute, same};
use crate::killed::Victim;

const ROOT: &str = "PATINA_TEST_RESTORE";

/// Fewer steps mean that the trace saw nothing.
const LEAST_STEPS: u64 = 10;

/// What the killed process does: replaces `target.db`. Without a folder, nothing.
#[test]
fn a_restore_in_the_given_folder() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    let root = Path::new(&root);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let ended = runtime.block_on(restore(root, &[]));
    ended.unwrap();
}

const MERGED: &str = "PATINA_TEST_MERGE";

/// The same with one table, which goes into `target.db`.
#[test]
fn a_table_in_the_given_folder() {
    let Some(root) = std::env::var_os(MERGED) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .unwrap();
    let ended = runtime.block_on(restore(Path::new(&root), &["t".to_owned()]));
    ended.unwrap();
}

async fn restore(
    root: &Path,
    tables: &[String],
) -> Result<(), patina::engine::restore::RestoreError> {
    use patina::engine::restore::{Job, Origin, Overwrite, to_file};
    let origin = Origin::File {
        path: root.join("shop.sql"),
        compression: patina::types::Compression::None,
        manifest: None,
        known: Vec::new(),
    };
    let (progress, stop) = (
        Default::default(),
        tokio_util::sync::CancellationToken::new(),
    );
    let job = Job {
        origin: &origin,
        tables,
        progress: &progress,
        stop: &stop,
    };
    let now = chrono::DateTime::UNIX_EPOCH;
    to_file(&job, &root.join("target.db"), Overwrite::AfterCopy, now)
        .await
        .map(drop)
}

/// A dump, and a target whose newest row is in its log alone.
fn template() -> &'static TempDir {
    static TEMPLATE: OnceLock<TempDir> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let site = Site::new("");
        site.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'new'), (2, 'newer');");
        site.night(0);
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("shop.sql"), site.ok(&["cat", "shop"]).out).unwrap();
        fs::copy(site.path("source.db"), folder.path().join("after.db")).unwrap();
        let old = site.path("old.db");
        let db = Connection::open(&old).unwrap();
        db.execute_batch(
            "PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE precious(a); INSERT INTO precious VALUES (42);",
        )
        .unwrap();
        for suffix in ["", "-wal"] {
            let name = format!("target.db{suffix}");
            fs::copy(site.path(&format!("old.db{suffix}")), folder.path().join(name)).unwrap();
        }
        execute(&folder.path().join("before.db"), "CREATE TABLE precious(a); INSERT INTO precious VALUES (42);");
        folder
    })
}

fn installation() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in [
        "shop.sql",
        "before.db",
        "after.db",
        "target.db",
        "target.db-wal",
    ] {
        fs::copy(template().path().join(name), folder.path().join(name)).unwrap();
    }
    folder
}

/// Whether the target is the restored one; if not, it is as it was.
fn is_restored(root: &Path) -> bool {
    let target = root.join("target.db");
    // Opening it for writing recovers it as any program would.
    let db = Connection::open(&target).unwrap();
    let tables: i64 = db
        .query_row(
            "SELECT count(*) FROM sqlite_schema WHERE name = 't'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    drop(db);
    let wanted = if tables == 1 { "after.db" } else { "before.db" };
    same(&root.join(wanted), &target);
    tables == 1
}

async fn check_after(root: &Path) {
    if is_restored(root) {
        let kept = root.join("target.db.before-19700101T000000Z");
        same(&root.join("before.db"), &kept);
    }
    // What the dead one left does not stop the next one, which removes it.
    restore(root, &[]).await.unwrap();
    assert!(is_restored(root));
    let left = fs::read_dir(root).unwrap().filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_string_lossy().starts_with('.')
    });
    assert_eq!(left.count(), 0);
}

#[test]
fn a_restore_that_is_killed_at_any_durable_step_leaves_the_old_database_or_the_new_one() {
    template();
    let victim = Victim {
        test: "restore::kill::a_restore_in_the_given_folder",
        folder: ROOT,
    };
    let steps = victim.kill_at_every_step(installation, check_after);
    println!("killed at each of {steps} durable steps");
    assert!(steps >= LEAST_STEPS, "only {steps} steps");
}

/// The table is there whole, or not at all; the other one stays in any case.
async fn check_after_merge(root: &Path) {
    let rows = |sql: &str| -> rusqlite::Result<i64> {
        let db = Connection::open(root.join("target.db"))?;
        db.query_row(sql, [], |row| row.get(0))
    };
    assert_eq!(rows("SELECT sum(a) FROM precious"), Ok(42));
    match rows("SELECT count(*) FROM sqlite_schema WHERE name = 't'") {
        Ok(0) => same(&root.join("before.db"), &root.join("target.db")),
        _ => assert_eq!(rows("SELECT count(*) FROM t"), Ok(2)),
    }
    restore(root, &["t".to_owned()]).await.unwrap();
    assert_eq!(rows("SELECT count(*) FROM t"), Ok(2));
    assert_eq!(rows("SELECT sum(a) FROM precious"), Ok(42));
}

#[test]
fn a_table_whose_restore_is_killed_at_any_durable_step_is_there_whole_or_not_at_all() {
    template();
    let victim = Victim {
        test: "restore::kill::a_table_in_the_given_folder",
        folder: MERGED,
    };
    let steps = victim.kill_at_every_step(installation, check_after_merge);
    println!("killed at each of {steps} durable steps");
    assert!(steps >= LEAST_STEPS, "only {steps} steps");
}

#[test]
fn a_restore_that_is_asked_to_stop_changes_nothing() {
    let site = Site::new("");
    site.execute("CREATE TABLE t(v); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 60000) INSERT INTO t SELECT hex(randomblob(100)) FROM n;");
    site.night(0);
    let child = site
        .command(&["restore", "shop", "--to", "new.db"])
        .spawn()
        .unwrap();
    let id = child.id().to_string();
    std::thread::sleep(std::time::Duration::from_millis(150));
    Command::new("kill").args(["-INT", &id]).status().unwrap();
    let output = child.wait_with_output().unwrap();
    // It may have been done already.
    match output.status.code() {
        Some(0) => same(&site.path("source.db"), &site.path("new.db")),
        code => {
            assert_eq!(code, Some(1));
            assert!(!site.path("new.db").exists());
        }
    }
    site.holds_no_leftovers();
}
