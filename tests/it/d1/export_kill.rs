//! kill -9 in the middle of Cloudflare's own export: nothing of it is left, and the next run makes the copy.

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use patina::catalog::{Catalog, CopyFilter, JobStatus};

use super::engine::{ACCOUNT, TOKEN};
use super::export::engine_with_what_is_kept;
use super::proxy::{Fate, Proxy, Seen};

/// Nothing here takes nearly so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn patina(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_patina"));
    command.args(["--json", "backup"]).current_dir(folder);
    command.env_remove("PATINA_CONFIG").env_remove("RUST_LOG");
    command.env("D1_TOKEN", TOKEN);
    command
}

/// Every file of these folders of an installation.
fn files(folder: &Path, of: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = of.iter().map(|name| folder.join(name)).collect();
    while let Some(next) = folders.pop() {
        // A storage is made by its first use.
        let Ok(entries) = std::fs::read_dir(next) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.ends_with(".patina-spool") => {}
                false => found.push(path),
            }
        }
    }
    found
}

#[track_caller]
fn wait_for(reached: &AtomicBool, child: &mut Child) {
    let began = Instant::now();
    while !reached.load(Ordering::SeqCst) {
        assert!(child.try_wait().unwrap().is_none(), "it ended by itself");
        assert!(began.elapsed() < PATIENCE, "it never came so far");
        std::thread::sleep(Duration::from_millis(5));
    }
    // What came of the answer is read and written by then.
    std::thread::sleep(Duration::from_millis(100));
}

/// Kills a backup when `fate` befalls the first request that `is_there` names, and looks what is left.
fn kill_at(is_there: fn(&Seen) -> bool, fate: Fate) {
    let folder = tempfile::tempdir().unwrap();
    let (engine, id) = engine_with_what_is_kept();
    let reached = Arc::new(AtomicBool::new(false));
    let seen_by_proxy = Arc::clone(&reached);
    let proxy = Proxy::start(engine.port, move |seen| {
        match is_there(seen) && !seen_by_proxy.swap(true, Ordering::SeqCst) {
            true => fate.clone(),
            false => Fate::Pass,
        }
    });
    let config = format!(
        "[agent]\nstate = \"state\"\n\
         [cloudflare]\naccount_id = \"{ACCOUNT}\"\napi_token = \"env:D1_TOKEN\"\napi_url = \"{}\"\n\
         [[storage]]\nname = \"nas\"\ndirectory = \"store\"\n\
         [[database]]\nname = \"shop\"\nd1 = \"{id}\"\nmethod = \"export\"\ntimeout = \"5m\"\n",
        proxy.url()
    );
    std::fs::write(folder.path().join("patina.toml"), config).unwrap();
    let mut child = patina(folder.path()).spawn().unwrap();
    wait_for(&reached, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let is_object = |path: &PathBuf| path.to_string_lossy().contains("shop");
    let stored = files(folder.path(), &["store"]);
    assert!(!stored.iter().any(is_object), "{stored:?}");
    let catalog = || {
        let path = folder.path().join("state/catalog.db");
        Catalog::open_read_only(&path).unwrap().unwrap()
    };
    assert_eq!(catalog().copies(&CopyFilter::default()).unwrap(), []);
    let output = patina(folder.path()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let catalog = catalog();
    assert_eq!(catalog.copies(&CopyFilter::default()).unwrap().len(), 1);
    let jobs = catalog.jobs(10).unwrap();
    let ends: Vec<JobStatus> = jobs.iter().map(|job| job.status).collect();
    assert_eq!(ends, [JobStatus::Completed, JobStatus::Interrupted]);
    // The copy and its manifest, and nothing that the killed process had written.
    let left = files(folder.path(), &["store", "state/spool"]);
    let objects = left.iter().filter(|path| is_object(path)).count();
    assert_eq!(objects, 2, "{left:?}");
    assert!(files(folder.path(), &["state/spool"]).is_empty());
}

fn is_export(seen: &Seen) -> bool {
    seen.line.contains("/export ")
}

fn is_download(seen: &Seen) -> bool {
    seen.line.contains("/signed/")
}

#[test]
fn a_process_killed_while_it_polls_leaves_nothing_of_the_export() {
    kill_at(is_export, Fate::Stall);
}

#[test]
fn a_process_killed_in_the_middle_of_the_download_leaves_nothing_of_the_export() {
    kill_at(is_download, Fate::Hang(50));
}
