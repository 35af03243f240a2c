//! Breaks sources, stores and disks under the backup engine: one clear error each, and nothing partial.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use patina::catalog::{CopyFilter, JobStatus, ResultStatus};
use patina::clock::{Clock, SystemClock};
use patina::dump::{ContentHasher, Sink};
use patina::engine::backup::{Outcome, Report};
use patina::source::{DumpRequest, Dumped, Source, SourceError};
use patina::store::{Fault, FaultStore, MemoryStore};
use patina::types::{EvidenceClass, Health, Sha256, SourceFacts};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::night::{DATABASES, Night, database, failure, is_stored, of, prepare};

const DISK: &str = "PATINA_TEST_DISK";
const EXPORT: &str = "concurrency = 2\ntimeout = \"24h\"\nretries = 0\ncompression = \"zstd\"";

/// Lets waits pass this many times faster.
struct Hasty(SystemClock);

const HASTE: u32 = 100;

#[async_trait]
impl Clock for Hasty {
    fn now(&self) -> DateTime<Utc> {
        self.0.now()
    }

    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }

    async fn sleep(&self, duration: Duration) {
        self.0.sleep(duration / HASTE).await;
    }
}

fn installation(export: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    prepare(folder.path(), export);
    folder
}

/// Asserts that `beta` alone failed, for a reason that holds `why`, told once everywhere, and that nothing of it is
/// left.
async fn check_only_beta_failed(night: &Night, report: &Report, why: &str) {
    let message = failure(report, "beta");
    assert!(message.contains(why), "no `{why}` in: {message}");
    assert!(
        message.lines().count() <= 2,
        "more than an error and a hint: {message}"
    );
    assert!(
        is_stored(report, "alpha") && is_stored(report, "gamma"),
        "{report:?}"
    );
    let job = &report.job;
    assert_eq!((job.successful, job.failed), (2, 1));
    assert_eq!(job.status, JobStatus::Failed);
    let results = night.wiring.catalog.results(job.id).unwrap();
    assert_eq!(results.len(), 3);
    let mut failed = results.iter().filter(|r| r.status == ResultStatus::Failed);
    let result = failed.next().unwrap();
    assert_eq!(result.database.as_str(), "beta");
    assert_eq!(result.error_message.as_ref(), Some(&message));
    assert_eq!(night.check().await, 2);
    let copies = night.wiring.catalog.copies(&CopyFilter::default()).unwrap();
    assert_eq!(copies.len(), 2);
    for store in &night.wiring.stores {
        let listing = store.list().await.unwrap();
        let of_beta = listing
            .objects
            .iter()
            .filter(|(key, _)| key.as_str().contains("beta"));
        assert_eq!(of_beta.count(), 0, "something of beta was stored");
    }
}

#[tokio::test]
async fn a_broken_source_fails_alone_with_one_clear_error() {
    type Damage = fn(&Path);
    let damages: [(Damage, &str); 4] = [
        (|path| fs::remove_file(path).unwrap(), "does not exist"),
        (
            |path| fs::write(path, "").unwrap(),
            "the file is empty (0 bytes)",
        ),
        (
            |path| fs::write(path, "no database".repeat(99)).unwrap(),
            "does not begin with `SQLite format 3`",
        ),
        (
            |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
            },
            "it is not a regular file",
        ),
    ];
    for (damage, why) in damages {
        let folder = installation(EXPORT);
        damage(&database(folder.path(), "beta"));
        let night = Night::open(folder.path());
        let report = night.run().await;
        check_only_beta_failed(&night, &report, why).await;
    }
}

#[tokio::test]
async fn a_damaged_source_gets_a_suspect_copy_that_does_not_count() {
    type Damage = fn(&Path);
    let damages: [Damage; 2] = [
        |path| {
            // The root page of the table, behind the page of the schema.
            let file = File::options().write(true).open(path).unwrap();
            file.write_all_at(&[0xff; 64], 4096).unwrap();
        },
        |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(5000).unwrap();
        },
    ];
    for damage in damages {
        let folder = installation(EXPORT);
        damage(&database(folder.path(), "beta"));
        let night = Night::open(folder.path());
        let report = night.run().await;
        let Outcome::Stored { manifest, .. } = &of(&report, "beta").outcome else {
            panic!("{report:?}");
        };
        assert_eq!(manifest.class, EvidenceClass::S);
        assert!(manifest.is_image());
        let health = manifest
            .check
            .as_ref()
            .and_then(|check| check.health.clone());
        assert!(matches!(health, Some(Health::Damaged(_))), "{health:?}");
        assert!(is_stored(&report, "alpha") && is_stored(&report, "gamma"));
        let samples = night
            .wiring
            .catalog
            .samples(&manifest.database, &manifest.key.manifest());
        assert_eq!(samples.unwrap(), [], "it is compared with");
    }
}

/// A source whose ways can be changed.
struct Odd<F> {
    inner: Arc<dyn Source>,
    tries: AtomicU64,
    way: F,
}

impl<F> Source for Odd<F>
where
    F: Fn(u64, &dyn Source, &DumpRequest<'_>, &mut dyn Sink) -> Result<Dumped, SourceError>
        + Send
        + Sync,
{
    fn facts(&self) -> SourceFacts {
        self.inner.facts()
    }

    fn dump(&self, request: &DumpRequest<'_>, sink: &mut dyn Sink) -> Result<Dumped, SourceError> {
        let tries = self.tries.fetch_add(1, Ordering::SeqCst) + 1;
        (self.way)(tries, self.inner.as_ref(), request, sink)
    }
}

/// Lets `beta` be read in another way.
fn odd<F>(night: &mut Night, way: F) -> Arc<Odd<F>>
where
    F: Fn(u64, &dyn Source, &DumpRequest<'_>, &mut dyn Sink) -> Result<Dumped, SourceError>
        + Send
        + Sync
        + 'static,
{
    let beta = night.wiring.database(&"beta".parse().unwrap()).unwrap();
    let inner = Arc::clone(&beta.source);
    let tries = AtomicU64::new(0);
    let source = Arc::new(Odd { inner, tries, way });
    night.set_source("beta", Arc::clone(&source) as Arc<dyn Source>);
    source
}

fn lost() -> SourceError {
    SourceError::Unavailable {
        what: "`beta`".to_owned(),
        why: "connection reset".to_owned(),
        retryable: true,
    }
}

#[tokio::test]
async fn a_source_that_lies_is_never_stored() {
    let folder = installation(EXPORT);
    let mut night = Night::open(folder.path());
    odd(&mut night, |_, inner, request, sink| {
        let mut dumped = inner.dump(request, sink)?;
        dumped.evidence.tables[0].hash = Some(ContentHasher::default().finish());
        Ok(dumped)
    });
    let report = night.run().await;
    check_only_beta_failed(&night, &report, "table `t` has other values").await;

    let folder = installation(EXPORT);
    let mut night = Night::open(folder.path());
    odd(&mut night, |_, inner, request, sink| {
        let dumped = inner.dump(request, sink)?;
        sink.write_all(b"DELETE FROM t;\n")?;
        Ok(dumped)
    });
    let report = night.run().await;
    check_only_beta_failed(&night, &report, "").await;

    let folder = installation(EXPORT);
    let mut night = Night::open(folder.path());
    odd(&mut night, |_, inner, request, _| {
        inner.dump(request, &mut nowhere())
    });
    let report = night.run().await;
    check_only_beta_failed(&night, &report, "").await;
}

/// A sink that keeps nothing.
fn nowhere() -> impl Sink {
    struct Nowhere;
    impl std::io::Write for Nowhere {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Sink for Nowhere {
        fn digest(&mut self) -> std::io::Result<(Sha256, u64)> {
            Ok((Sha256::of(b""), 0))
        }
    }
    Nowhere
}

#[tokio::test]
async fn a_source_that_panics_fails_alone() {
    let folder = installation(EXPORT);
    let mut night = Night::open(folder.path());
    odd(&mut night, |_, _, _, sink| {
        sink.write_all(b"half a dump")?;
        panic!("planned");
    });
    let report = night.run().await;
    check_only_beta_failed(&night, &report, "panicked").await;
}

#[tokio::test]
async fn a_timeout_aborts_one_database_and_tells_how_far_it_came() {
    let folder = installation("concurrency = 2\ntimeout = \"1s\"");
    let mut night = Night::open(folder.path());
    odd(&mut night, |_, _, request, sink| {
        sink.write_all(b"half a dump")?;
        request.progress.add_rows(1234);
        while !request.stop.is_cancelled() {
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(SourceError::Stopped)
    });
    let report = night.run().await;
    check_only_beta_failed(
        &night,
        &report,
        "took longer than 1s; it had read 1,234 rows",
    )
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_tried_again_as_often_as_configured() {
    for (lost_tries, is_stored) in [(2, true), (3, false)] {
        let folder = installation("timeout = \"24h\"\nretries = 2");
        let mut night = Night::open(folder.path());
        night.wiring.clock = Arc::new(Hasty(SystemClock::new()));
        let source = odd(&mut night, move |tries, inner, request, sink| {
            if tries <= lost_tries {
                sink.write_all(b"-- half")?;
                return Err(lost());
            }
            inner.dump(request, sink)
        });
        let report = night.run().await;
        assert_eq!(source.tries.load(Ordering::SeqCst), 3);
        if is_stored {
            assert_eq!(report.job.successful, 3, "{report:?}");
            assert_eq!(night.check().await, 3);
        } else {
            check_only_beta_failed(&night, &report, "connection reset").await;
        }
    }
}

fn memory(
    name: &str,
    plan: impl IntoIterator<Item = (u64, Fault)>,
) -> Arc<FaultStore<MemoryStore>> {
    let memory = MemoryStore::new(name, Arc::new(SystemClock::new()));
    Arc::new(FaultStore::new(Arc::new(memory), plan))
}

#[tokio::test]
async fn good_in_one_of_two_storages_is_good_and_degraded() {
    for fault in [Fault::Before(Fault::passing()), Fault::Hang] {
        let folder = installation(EXPORT);
        let mut night = Night::open(folder.path());
        night.wiring.clock = Arc::new(Hasty(SystemClock::new()));
        let broken = memory("r2", []);
        night.wiring.stores.push(broken.clone());
        broken.set_always(Some(fault));
        let report = night.run().await;
        assert_eq!(report.job.status, JobStatus::Completed, "{report:?}");
        assert!(
            report.job.degraded.iter().any(|text| text.contains("r2")),
            "{report:?}"
        );
        let copies = night.wiring.catalog.copies(&CopyFilter::default()).unwrap();
        assert_eq!(copies.len(), 3);
        for copy in &copies {
            assert!(copy.live().any(|placement| placement.storage == "nas"));
        }
        for name in DATABASES {
            assert!(matches!(of(&report, name).outcome, Outcome::Stored { .. }));
        }
        night.wiring.stores.pop();
        assert_eq!(night.check().await, 3);
    }
}

#[tokio::test]
async fn a_store_that_always_fails_leaves_nothing_and_one_error_each() {
    let folder = installation(EXPORT);
    let mut night = Night::open(folder.path());
    let store = memory("nas", []);
    store.set_always(Some(Fault::Before(Fault::passing())));
    night.wiring.stores = vec![store.clone()];
    let report = night.run().await;
    assert_eq!(report.job.failed, 3);
    for name in DATABASES {
        assert!(failure(&report, name).contains("connection reset"));
    }
    store.set_always(None);
    assert_eq!(night.check().await, 0);
    assert_eq!(night.run().await.job.successful, 3);
    assert_eq!(night.check().await, 3);
}

#[tokio::test]
async fn a_fault_at_any_single_call_of_a_store_leaves_whole_copies_or_none() {
    let faults = [
        Fault::Before(Fault::passing()),
        Fault::After(Fault::passing()),
        Fault::Cut { after_bytes: 10 },
        Fault::Break { after_bytes: 10 },
        Fault::Flip { at: 3 },
    ];
    let mut failures = 0;
    for fault in faults {
        for call in 1.. {
            let folder = installation("concurrency = 1");
            let mut night = Night::open(folder.path());
            let store = memory("nas", [(call, fault.clone())]);
            night.wiring.stores = vec![store.clone()];
            let report = night.run().await;
            if store.calls() < call {
                assert!(call > 9, "only {call} calls");
                break;
            }
            assert!(report.job.failed <= 1, "{report:?}");
            failures += report.job.failed;
            let whole = night.check().await as u64;
            assert!(
                whole >= report.job.successful,
                "{fault:?} at call {call}: {report:?}"
            );
            let again = night.run().await;
            assert_eq!(
                again.job.successful, 3,
                "{fault:?} at call {call}: {again:?}"
            );
            assert_eq!(night.check().await as u64, whole + 3);
        }
    }
    assert!(failures >= 15, "only {failures} failures");
}

#[tokio::test]
async fn a_store_folder_that_cannot_be_written_is_one_clear_error() {
    let folder = installation(EXPORT);
    fs::create_dir(folder.path().join("store")).unwrap();
    fs::write(folder.path().join("store/daily"), "in the way").unwrap();
    let night = Night::open(folder.path());
    let report = night.run().await;
    for name in DATABASES {
        let message = failure(&report, name);
        assert!(message.contains("storage `nas`"), "{message}");
        assert_eq!(message.lines().count(), 1, "{message}");
    }
    assert_eq!(night.check().await, 0);
}

/// Backs up with the folder in which the disk is full; without one, runs itself on small disks.
#[tokio::test]
async fn a_full_disk_fails_one_database_and_leaves_nothing_of_it() {
    if let Some(root) = std::env::var_os(DISK) {
        let night = Night::open(Path::new(&root));
        let report = night.run().await;
        println!("{}", failure(&report, "beta"));
        check_only_beta_failed(&night, &report, "no").await;
        println!("held two databases");
        return;
    }
    for (place, size) in [("state", "1750k"), ("store", "1000k")] {
        let folder = installation("concurrency = 1\ncompression = \"none\"");
        let db = Connection::open(database(folder.path(), "beta")).unwrap();
        db.execute_batch("INSERT INTO t VALUES (1000, 'big', randomblob(800000))")
            .unwrap();
        drop(db);
        let disk = folder.path().join(place);
        fs::create_dir(&disk).unwrap();
        let test = "backup_faults::a_full_disk_fails_one_database_and_leaves_nothing_of_it";
        let output = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(format!(
                "mount -t tmpfs -o size={size} tmpfs \"$0\" || exit 77; exec \"$@\""
            ))
            .arg(&disk)
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .env(DISK, folder.path())
            .output();
        let Ok(output) = output else {
            return println!("not run: `unshare` is not installed");
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let complained = String::from_utf8_lossy(&output.stderr);
        if output.status.code() == Some(77) || complained.contains("unshare failed") {
            return println!("not run: this system lets nobody mount: {complained}");
        }
        assert!(output.status.success(), "{place}: {said}{complained}");
        assert!(said.contains("held two databases"), "{said}");
        println!("{place}: {said}");
    }
}
