//! Kills a process that writes the catalog, and looks for halves of what it wrote.

use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chrono::TimeDelta;
use patina::catalog::{Catalog, JobStatus};
use patina::types::{Compression, CopyForm, ObjectKey};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::catalog::{at, committed, manifest, name, new_job, spooled};

const KILLS: u64 = 12;
const CATALOG: &str = "PATINA_TEST_CATALOG";

/// What the killed process does; without a catalog, nothing. It says so on standard output once it is at work.
#[test]
fn write_until_killed() {
    let Some(path) = std::env::var_os(CATALOG) else {
        return;
    };
    let catalog = Catalog::open(Path::new(&path)).unwrap();
    let mut start = at("2026-11-22T03:00:00Z");
    start += TimeDelta::seconds(catalog.jobs(1_000_000).unwrap().len() as i64);
    loop {
        let run = catalog.begin(new_job(start)).unwrap();
        let mut copy = manifest(run.id(), "orders", "2026-11-22");
        let time = Some(start.time());
        copy.key = ObjectKey::daily(
            copy.date,
            &name("orders"),
            time,
            CopyForm::Sql,
            Compression::Zstd,
        );
        copy.started_at = start.to_rfc3339();
        run.spooled(&spooled(&copy)).unwrap();
        run.succeed(&committed(&copy, &["r2", "nas"])).unwrap();
        run.finish(start).unwrap();
        start += TimeDelta::seconds(1);
        println!("wrote");
    }
}

#[test]
fn a_killed_writer_leaves_no_half_of_a_backup() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let mut written = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "catalog_kill::write_until_killed", "--nocapture"])
            .env(CATALOG, &path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 64];
        let mut output = child.stdout.take().unwrap();
        output.read_exact(&mut said).unwrap();
        std::thread::sleep(Duration::from_millis(7 + 5 * kill));
        child.kill().unwrap();
        let ended = child.wait().unwrap();
        assert_eq!(ended.signal(), Some(9), "it ended by itself");
        let now = written_whole(&path);
        assert!(now > written, "nothing was written before kill {kill}");
        written = now;
    }
}

/// Recovers the catalog and returns how many backups it holds, each of them whole.
fn written_whole(path: &Path) -> i64 {
    let catalog = Catalog::open(path).unwrap();
    let waiting = catalog.spooled().unwrap();
    let interrupted = catalog
        .interrupt_running(at("2026-11-23T00:00:00Z"))
        .unwrap();
    assert!(waiting.len() <= 1 && interrupted.len() <= 1);
    for (job, spooled) in waiting {
        assert!(catalog.copy(&spooled.manifest.key).unwrap().is_none());
        catalog.discard_spooled(job, &spooled.database).unwrap();
    }
    let jobs = catalog.jobs(1_000_000).unwrap();
    assert!(jobs.iter().all(|job| job.status != JobStatus::Running));
    let counted: u64 = jobs.iter().map(|job| job.successful).sum();
    let connection = Connection::open(path).unwrap();
    let count = |sql: &str| {
        connection
            .query_row(sql, [], |row| row.get::<_, i64>(0))
            .unwrap()
    };
    let results = count("SELECT count(*) FROM backup_results WHERE status = 'success'");
    assert_eq!(results, counted as i64);
    assert_eq!(results, count("SELECT count(*) FROM backup_inventory"));
    assert_eq!(2 * results, count("SELECT count(*) FROM copies"));
    results
}
