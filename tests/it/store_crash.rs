//! Kills a process that writes a directory store, fills its disk, and looks for halves of objects.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use patina::store::{Body, Digest, DirStore, Store, StoreErrorKind, digest};
use patina::types::ObjectKey;
use tempfile::TempDir;

use crate::store_contract::key;

const KILLS: u64 = 12;
const ROOT: &str = "PATINA_TEST_STORE";
const OBJECT_BYTES: usize = 300_000;

fn numbered(number: u64) -> ObjectKey {
    key(&format!("daily/2026-11-22/db{number}.sql"))
}

/// The bytes of every object, different for each.
fn bytes_of(key: &ObjectKey) -> Vec<u8> {
    key.as_str().bytes().cycle().take(OBJECT_BYTES).collect()
}

fn root() -> Option<PathBuf> {
    std::env::var_os(ROOT).map(PathBuf::from)
}

fn child(test: &str, root: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = format!("store_crash::{test}");
    command.args(["--exact", &test, "--nocapture"]);
    command.env(ROOT, root).stdout(Stdio::piped());
    command
}

/// What the killed process does; without a folder to do it in, nothing.
#[tokio::test]
async fn store_until_killed() {
    let Some(root) = root() else { return };
    let store = DirStore::open("nas", &root, "one").unwrap();
    let first = store.list().await.unwrap().objects.len() as u64;
    for key in (first..).map(numbered) {
        let bytes = bytes_of(&key);
        store.create(&key, Body::Bytes(&bytes)).await.unwrap();
        println!("stored {key}");
    }
}

#[tokio::test]
async fn a_killed_writer_leaves_whole_objects_or_none() {
    let root = TempDir::new().unwrap();
    let mut stored = 0;
    for kill in 0..KILLS {
        let mut child = child("store_until_killed", root.path()).spawn().unwrap();
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut [0; 64]).unwrap();
        std::thread::sleep(Duration::from_millis(3 + 4 * kill));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "it ended by itself");
        let mut said = String::new();
        output.read_to_string(&mut said).unwrap();

        let store = DirStore::open("nas", root.path(), "one").unwrap();
        assert_eq!(store.sweep().unwrap(), 0, "opening left something to sweep");
        let listing = store.list().await.unwrap();
        let now = listing.objects.len() as u64;
        assert!(now > stored, "nothing was stored before kill {kill}");
        stored = now;
        for key in (0..stored).map(numbered) {
            let found = digest(&store, &key).await.unwrap();
            assert_eq!(found, Some(Digest::of(&bytes_of(&key))), "{key}");
        }
        let last = said
            .lines()
            .filter_map(|line| line.strip_prefix("stored "))
            .next_back();
        let last = last.and_then(|last| last.parse::<ObjectKey>().ok());
        assert!(last.is_none_or(|last| listing.objects.iter().any(|(key, _)| *key == last)));
        let folder = root.path().join("daily/2026-11-22");
        assert_eq!(std::fs::read_dir(folder).unwrap().count() as u64, stored);
    }
}

/// Fills the small disk it is given; without one, does nothing.
#[tokio::test]
async fn store_until_full() {
    let Some(root) = root() else { return };
    let store = DirStore::open("nas", &root, "one").unwrap();
    let mut stored = 0;
    let error = loop {
        let key = numbered(stored);
        match store.create(&key, Body::Bytes(&bytes_of(&key))).await {
            Ok(()) => stored += 1,
            Err(error) => break error,
        }
    };
    let place = root.join("daily/2026-11-22").display().to_string();
    assert_eq!(error.kind, StoreErrorKind::NoSpace { place });
    assert!(!error.is_retryable());
    assert_eq!(store.list().await.unwrap().objects.len() as u64, stored);
    assert_eq!(store.stat(&numbered(stored)).await.unwrap(), None);
    for key in (0..stored).map(numbered) {
        let found = digest(&store, &key).await.unwrap();
        assert_eq!(found, Some(Digest::of(&bytes_of(&key))), "{key}");
    }
    // What did not fit was removed again: something smaller still does.
    store
        .create(&numbered(stored), Body::Bytes(b"small"))
        .await
        .unwrap();
    println!("held {stored} objects");
}

#[test]
fn a_full_disk_stores_nothing_and_keeps_what_is_there() {
    let root = TempDir::new().unwrap();
    let inner = child("store_until_full", root.path());
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg("mount -t tmpfs -o size=2m tmpfs \"$0\" || exit 77; exec \"$@\"");
    command
        .arg(root.path())
        .arg(inner.get_program())
        .args(inner.get_args());
    command.env(ROOT, root.path());
    let Ok(output) = command.output() else {
        return println!("not run: `unshare` is not installed");
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(77) || complained.contains("unshare failed") {
        return println!("not run: this system lets nobody mount: {complained}");
    }
    assert!(output.status.success(), "{said}{complained}");
    assert!(said.contains("held 6 objects"), "{said}");
}
