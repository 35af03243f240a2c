//! Holds each kind of store to the contract, and to what is its own.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use patina::clock::{Clock, ManualClock};
use patina::store::{
    Body, DirStore, Fault, FaultStore, MemoryStore, Operation, Prune, Retry, RetryPolicy, Store,
    StoreErrorKind, digest, read_small,
};
use tempfile::TempDir;

use crate::store_contract::{content, contract, key};

const KEY: &str = "daily/2026-11-22/orders.sql";

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at("2026-11-22T03:00:00Z".parse().unwrap()))
}

fn memory() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new("ram", clock()))
}

fn dir(root: &TempDir) -> DirStore {
    DirStore::open("nas", root.path(), "one").unwrap()
}

fn retry<S: Store>(inner: Arc<S>) -> (Arc<ManualClock>, Retry<S>) {
    let clock = clock();
    let retry = Retry::new(inner, Arc::clone(&clock) as _, RetryPolicy::default());
    (clock, retry)
}

/// Every name below `root`, sorted.
/// The files below a folder, but for the mark of the storage.
fn names(root: &Path) -> Vec<String> {
    let mut names = all_names(root);
    names.retain(|name| !name.starts_with(".patina-storage-"));
    names
}

fn all_names(root: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry
                .path()
                .strip_prefix(root)
                .unwrap()
                .display()
                .to_string();
            match entry.file_type().unwrap().is_dir() {
                true => left.push(entry.path()),
                false => names.push(name),
            }
        }
    }
    names.sort();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_keeps_the_contract() {
    let root = TempDir::new().unwrap();
    let count = std::sync::atomic::AtomicU32::new(0);
    contract(|| async {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let folder = root.path().join(format!("deep/{number}"));
        Arc::new(DirStore::open("nas", &folder, "one").unwrap())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_the_contract() {
    contract(|| async { memory() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrapped_store_keeps_the_contract() {
    contract(|| async { Arc::new(retry(memory()).1) }).await;
    contract(|| async { Arc::new(FaultStore::new(memory(), [])) }).await;
    contract(|| async {
        let plan = [1, 3, 5].map(|call| (call, Fault::Before(Fault::passing())));
        Arc::new(retry(Arc::new(FaultStore::new(memory(), plan))).1)
    })
    .await;
}

#[tokio::test]
async fn files_are_private_and_no_temporary_one_is_left() {
    let root = TempDir::new().unwrap();
    let folder = root.path().join("new/store");
    let store = DirStore::open("nas", &folder, "one").unwrap();
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    store
        .create(&key(KEY), Body::Bytes(b"x"))
        .await
        .unwrap_err();
    assert_eq!(names(&folder), [KEY]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder.join(KEY)), 0o600);
    assert_eq!(mode(&folder.join("daily/2026-11-22")), 0o700);
    assert_eq!(mode(&folder), 0o700);
    let all = all_names(&folder);
    let marks: Vec<_> = all.iter().filter(|name| *name != KEY).collect();
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_eq!(mode(&folder.join(marks[0])), 0o600);
}

#[tokio::test]
async fn a_sweep_takes_only_what_a_dead_process_of_this_instance_left() {
    let root = TempDir::new().unwrap();
    let store = dir(&root);
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    let folder = root.path().join("daily/2026-11-22");
    let mark = |instance: &str| patina::types::Sha256::of(instance.as_bytes()).to_string();
    let ours = folder.join(format!(".tmp-{}-dead", &mark("one")[..16]));
    let living = folder.join(format!(".tmp-{}-living", &mark("one")[..16]));
    let foreign = folder.join(format!(".tmp-{}-dead", &mark("two")[..16]));
    for path in [&ours, &living, &foreign] {
        fs::write(path, b"half").unwrap();
    }
    let writer = fs::File::open(&living).unwrap();
    rustix::fs::flock(&writer, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(store.list().await.unwrap().foreign, 0);
    assert_eq!(store.sweep().unwrap(), 1);
    assert!(!ours.exists() && living.exists() && foreign.exists());
    drop(writer);
    DirStore::open("nas", root.path(), "one").unwrap();
    assert!(!living.exists() && foreign.exists());
    assert_eq!(content(&store, &key(KEY)).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_listing_counts_foreign_names_and_enters_no_foreign_folder() {
    let root = TempDir::new().unwrap();
    let store = dir(&root);
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    let folder = root.path();
    fs::create_dir_all(folder.join("lost+found/daily")).unwrap();
    fs::write(folder.join("README"), b"x").unwrap();
    fs::write(folder.join("daily/2026-11-22/Orders.sql"), b"x").unwrap();
    fs::create_dir(folder.join("daily/2026-11-22/folder.sql")).unwrap();
    symlink(folder.join(KEY), folder.join("daily/2026-11-22/link.sql")).unwrap();
    let listing = store.list().await.unwrap();
    assert_eq!(listing.objects.len(), 1);
    assert_eq!(listing.foreign, 5);
}

#[tokio::test]
async fn a_link_never_leads_out_of_the_directory() {
    let (root, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let store = dir(&root);
    symlink(outside.path(), root.path().join("daily")).unwrap();
    let error = store
        .create(&key(KEY), Body::Bytes(b"x"))
        .await
        .unwrap_err();
    assert!(!error.is_retryable() && !error.is_exists(), "{error}");
    assert_eq!(names(outside.path()).len(), 0);
    fs::create_dir(root.path().join("weekly")).unwrap();
    let weekly = "weekly/2026-W47.tar.gz";
    fs::write(outside.path().join("secret"), b"secret").unwrap();
    symlink(outside.path().join("secret"), root.path().join(weekly)).unwrap();
    assert!(store.open(&key(weekly), None).await.is_err());
    assert!(store.stat(&key(weekly)).await.is_err());
    let error = store
        .create(&key(weekly), Body::Bytes(b"x"))
        .await
        .unwrap_err();
    assert!(error.is_exists(), "{error}");
    store.remove(&key(weekly)).await.unwrap();
    assert_eq!(fs::read(outside.path().join("secret")).unwrap(), b"secret");
}

#[tokio::test]
async fn the_directory_itself_may_be_a_link() {
    let outside = TempDir::new().unwrap();
    let root = TempDir::new().unwrap();
    let link = root.path().join("backups");
    symlink(outside.path(), &link).unwrap();
    let store = DirStore::open("nas", &link, "one").unwrap();
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    assert_eq!(names(outside.path()), [KEY]);
}

#[tokio::test]
async fn a_directory_that_is_gone_is_an_error_and_not_an_empty_store() {
    let root = TempDir::new().unwrap();
    let store = dir(&root);
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    fs::rename(root.path(), root.path().with_extension("away")).unwrap();
    let errors = [
        store.stat(&key(KEY)).await.map(drop),
        store.open(&key(KEY), None).await.map(drop),
        store.list().await.map(drop),
        store.remove(&key(KEY)).await,
        store.create(&key(KEY), Body::Bytes(b"x")).await,
    ];
    for error in errors {
        let text = error.unwrap_err().to_string();
        assert!(text.contains("the directory is gone"), "{text}");
    }
    assert!(!root.path().exists(), "a new directory hides the lost one");
    fs::remove_dir_all(root.path().with_extension("away")).unwrap();
}

/// What an unmounted disk leaves in its place, and what happens when it comes back, all under one open store.
#[tokio::test]
async fn an_empty_directory_in_place_of_the_one_that_was_is_neither_read_nor_written() {
    let outside = TempDir::new().unwrap();
    let (root, away) = (outside.path().join("mnt"), outside.path().join("away"));
    let store = DirStore::open("nas", &root, "one").unwrap();
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    fs::rename(&root, &away).unwrap();
    fs::create_dir(&root).unwrap();
    let other = key("daily/2026-11-23/orders.sql");
    for error in [
        store.stat(&key(KEY)).await.map(drop),
        store.open(&key(KEY), None).await.map(drop),
        store.list().await.map(drop),
        store.remove(&key(KEY)).await,
        store.create(&other, Body::Bytes(b"y")).await,
        store.try_out(clock().now()).await.map(drop),
    ] {
        let text = error.unwrap_err().to_string();
        assert!(text.contains("is its disk mounted?"), "{text}");
    }
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
    // Another installation's disk is another one, too.
    let foreign = DirStore::open("nas", &root, "two").unwrap();
    foreign.create(&key(KEY), Body::Bytes(b"z")).await.unwrap();
    store.create(&other, Body::Bytes(b"y")).await.unwrap_err();
    fs::remove_dir_all(&root).unwrap();
    // The same disk, mounted anew: another directory with the mark.
    let copied = std::process::Command::new("cp")
        .arg("-a")
        .args([&away, &root])
        .status();
    assert!(copied.unwrap().success());
    store.create(&other, Body::Bytes(b"y")).await.unwrap();
    assert_eq!(content(&store, &key(KEY)).await.unwrap(), b"x");
}

#[tokio::test]
async fn a_directory_whose_content_is_removed_while_it_is_open_is_not_begun_anew() {
    let root = TempDir::new().unwrap();
    let store = dir(&root);
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    for name in all_names(root.path()) {
        fs::remove_file(root.path().join(name)).unwrap();
    }
    fs::remove_dir_all(root.path().join("daily")).unwrap();
    let error = store
        .create(&key(KEY), Body::Bytes(b"x"))
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("is its disk mounted?"),
        "{error}"
    );
}

#[tokio::test]
async fn a_directory_that_is_a_file_says_so() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = DirStore::open("nas", file.path(), "one").err().unwrap();
    assert_eq!(error.operation, Operation::Prepare);
    let text = error.to_string();
    assert!(
        text.starts_with("storage `nas`: cannot be opened: "),
        "{text}"
    );
    assert!(text.contains(&file.path().display().to_string()), "{text}");
}

#[tokio::test]
async fn a_passing_failure_is_waited_out_and_a_lasting_one_is_not() {
    let plan = [1, 2].map(|call| (call, Fault::Before(Fault::passing())));
    let (clock, store) = retry(Arc::new(FaultStore::new(memory(), plan)));
    store.create(&key(KEY), Body::Bytes(b"x")).await.unwrap();
    let waited = clock.elapsed();
    assert!(waited >= Duration::from_millis(1500), "{waited:?}");
    assert!(waited <= Duration::from_secs(3), "{waited:?}");

    let faulty = Arc::new(FaultStore::new(memory(), []));
    let (clock, store) = retry(Arc::clone(&faulty));
    let (place, cause) = ("/srv".to_owned(), "no".to_owned());
    faulty.set_always(Some(Fault::Before(StoreErrorKind::Denied { place, cause })));
    store
        .create(&key(KEY), Body::Bytes(b"x"))
        .await
        .unwrap_err();
    assert_eq!((faulty.calls(), clock.elapsed()), (1, Duration::ZERO));
    faulty.set_always(Some(Fault::Before(Fault::passing())));
    store.list().await.unwrap_err();
    assert_eq!(faulty.calls(), 4);
}

#[tokio::test]
async fn a_lost_answer_of_our_own_create_is_ok() {
    let plan = [(1, Fault::After(Fault::passing()))];
    let (_, store) = retry(Arc::new(FaultStore::new(memory(), plan)));
    store.create(&key(KEY), Body::Bytes(b"ours")).await.unwrap();
    assert_eq!(content(&store, &key(KEY)).await.unwrap(), b"ours");
}

#[tokio::test]
async fn a_foreign_object_under_our_key_is_never_taken_for_ours() {
    for foreign in [b"else".as_slice(), b"ours and more"] {
        let inner = memory();
        inner.create(&key(KEY), Body::Bytes(foreign)).await.unwrap();
        let plan = [(1, Fault::Before(Fault::passing()))];
        let (_, store) = retry(Arc::new(FaultStore::new(inner, plan)));
        let error = store
            .create(&key(KEY), Body::Bytes(b"ours"))
            .await
            .unwrap_err();
        assert!(error.is_exists(), "{error}");
    }
    // Without a lost answer before, even an equal object is somebody else's.
    let (_, store) = retry(memory());
    store.create(&key(KEY), Body::Bytes(b"ours")).await.unwrap();
    let error = store
        .create(&key(KEY), Body::Bytes(b"ours"))
        .await
        .unwrap_err();
    assert!(error.is_exists(), "{error}");
}

#[tokio::test]
async fn planned_faults_break_readers_as_planned() {
    let plan = [
        (2, Fault::Cut { after_bytes: 4 }),
        (3, Fault::Break { after_bytes: 4 }),
        (4, Fault::Flip { at: 3 }),
        (5, Fault::ShortListing { keep: 0 }),
        (6, Fault::Hang),
    ];
    let store = FaultStore::new(memory(), plan);
    store
        .create(&key(KEY), Body::Bytes(b"01234567"))
        .await
        .unwrap();
    assert_eq!(content(&store, &key(KEY)).await.unwrap(), b"0123");
    let error = digest(&store, &key(KEY)).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    assert_eq!(content(&store, &key(KEY)).await.unwrap(), b"01224567");
    assert!(store.list().await.unwrap().objects.is_empty());
    let orders = key(KEY);
    let hanging = tokio::time::timeout(Duration::from_millis(20), store.remove(&orders));
    assert!(hanging.await.is_err());
    assert_eq!(content(&store, &key(KEY)).await.unwrap(), b"01234567");
    assert_eq!(store.calls(), 7);
}

#[tokio::test]
async fn a_small_read_of_a_long_object_is_refused() {
    let store = memory();
    store.create(&key(KEY), Body::Bytes(b"0123")).await.unwrap();
    assert!(read_small(&*store, &key(KEY), 3).await.is_err());
    assert!(read_small(&*store, &key(KEY), 4).await.unwrap().is_some());
    assert!(store.damage(&key(KEY), |bytes| bytes.truncate(1)));
    assert_eq!(content(&*store, &key(KEY)).await.unwrap(), b"0");
}
