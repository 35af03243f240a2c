//! Holds the catalog to its file: what it makes, what it brings up to date, and what it refuses.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use patina::catalog::{Catalog, CatalogError};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::catalog::{at, backup, begin, fresh};

fn columns(path: &Path, table: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let sql = "SELECT name || ' ' || type || iif(\"notnull\", ' NOT NULL', '')
               || coalesce(' DEFAULT ' || dflt_value, '') FROM pragma_table_info(?)";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([table], |row| row.get(0)).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_four_tables_have_exactly_the_columns_of_the_spec() {
    let (_folder, catalog) = fresh();
    let spec = [
        (
            "backup_jobs",
            "id INTEGER, job_id TEXT NOT NULL, started_at INTEGER NOT NULL, completed_at INTEGER, \
             status TEXT NOT NULL, trigger_type TEXT NOT NULL, total_databases INTEGER NOT NULL, \
             successful_count INTEGER DEFAULT 0, failed_count INTEGER DEFAULT 0, \
             total_size_bytes INTEGER DEFAULT 0, duration_ms INTEGER, error_message TEXT",
        ),
        (
            "backup_results",
            "id INTEGER, job_id TEXT NOT NULL, database_name TEXT NOT NULL, \
             database_id TEXT NOT NULL, status TEXT NOT NULL, r2_key TEXT, size_bytes INTEGER, \
             table_count INTEGER, row_count INTEGER, started_at INTEGER NOT NULL, \
             completed_at INTEGER, duration_ms INTEGER, error_message TEXT",
        ),
        (
            "backup_inventory",
            "id INTEGER, r2_key TEXT NOT NULL, database_name TEXT NOT NULL, \
             backup_date TEXT NOT NULL, size_bytes INTEGER NOT NULL, table_count INTEGER, \
             created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, deleted_at INTEGER",
        ),
        (
            "alert_config",
            "id INTEGER, webhook_url TEXT, enabled INTEGER DEFAULT 1, \
             notify_on_success INTEGER DEFAULT 0, notify_on_failure INTEGER DEFAULT 1, \
             created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL",
        ),
    ];
    for (table, expected) in spec {
        assert_eq!(
            columns(catalog.path(), table).join(", "),
            expected,
            "{table}"
        );
    }
    let connection = Connection::open(catalog.path()).unwrap();
    let count = "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name IN (
        'idx_backup_jobs_started', 'idx_backup_jobs_status', 'idx_backup_results_job',
        'idx_backup_results_db', 'idx_inventory_date', 'idx_inventory_db', 'idx_inventory_expires')";
    let found: i64 = connection.query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(found, 7);
}

#[test]
fn a_catalog_of_every_earlier_version_is_brought_up_to_date_and_keeps_its_rows() {
    let (_folder, catalog) = fresh();
    let new = columns(catalog.path(), "copies");
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let old = Connection::open(&path).unwrap();
    let first = include_str!("../../migrations/001_backup_metadata.sql");
    old.execute_batch(&format!(
        "{first}; PRAGMA application_id = 0x50746E61; PRAGMA user_version = 1;
         INSERT INTO backup_jobs (job_id, started_at, status, trigger_type, total_databases)
         VALUES ('550e8400-e29b-41d4-a716-446655440000', 1, 'completed', 'scheduled', 6);"
    ))
    .unwrap();
    drop(old);
    let as_written = std::fs::read(&path).unwrap();
    let read = Catalog::open_read_only(&path).unwrap().unwrap();
    assert_eq!(read.jobs(10).unwrap()[0].total, 6);
    assert!(
        std::fs::read(&path).unwrap() == as_written,
        "reading changed it"
    );
    let catalog = Catalog::open(&path).unwrap();
    assert_eq!(catalog.jobs(10).unwrap()[0].total, 6);
    assert_eq!(columns(&path, "copies"), new);
    drop((catalog, Catalog::open(&path).unwrap()));
    assert!(Catalog::open_read_only(&path).unwrap().is_some());
}

#[test]
fn a_catalog_of_a_newer_patina_is_refused_and_left_as_it_is() {
    let (_folder, catalog) = fresh();
    let path = catalog.path().to_owned();
    drop(catalog);
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 99)
        .unwrap();
    let before = fs::read(&path).unwrap();
    for error in [
        Catalog::open(&path).err(),
        Catalog::open_read_only(&path).err(),
    ] {
        let text = error.unwrap().to_string();
        assert!(
            text.contains("was written by a newer Patina (schema 99; this one knows ")
                && text.contains(")\nhint: "),
            "{text}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn a_file_that_is_no_catalog_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    fs::write(
        &path,
        b"a text that is certainly no database, whatever its name may say",
    )
    .unwrap();
    let error = Catalog::open(&path).err().unwrap();
    assert!(
        matches!(error, CatalogError::NotADatabase { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("`patina rebuild`"), "{error}");

    let foreign = folder.path().join("orders.db");
    Connection::open(&foreign)
        .unwrap()
        .execute_batch("CREATE TABLE orders (id)")
        .unwrap();
    let before = fs::read(&foreign).unwrap();
    let error = Catalog::open(&foreign).err().unwrap();
    assert!(matches!(error, CatalogError::Foreign { .. }), "{error}");
    assert_eq!(fs::read(&foreign).unwrap(), before);

    let error = Catalog::open(folder.path()).err().unwrap();
    assert!(matches!(error, CatalogError::Denied { .. }), "{error}");
}

#[test]
fn a_damaged_page_is_reported_with_the_way_out() {
    let (_folder, catalog) = fresh();
    for day in 10..28 {
        backup(&catalog, "orders", &format!("2026-11-{day}"), |_| ());
    }
    let path = catalog.path().to_owned();
    drop(catalog);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2 / 4096 * 4096;
    bytes[middle..].fill(0xA5);
    fs::write(&path, bytes).unwrap();
    let error = Catalog::open(&path).err().unwrap();
    assert!(matches!(error, CatalogError::Damaged { .. }), "{error}");
    let text = error.to_string();
    assert!(
        text.contains("hint: no backup is lost") && text.contains("`patina rebuild`"),
        "{text}"
    );
}

#[test]
fn an_absent_catalog_is_none_for_a_reader_and_private_for_a_writer() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("state/catalog.db");
    assert!(Catalog::open_read_only(&path).unwrap().is_none());
    assert!(!path.exists());
    let catalog = Catalog::open(&path).unwrap();
    let run = begin(&catalog, "2026-11-22");
    for file in ["catalog.db", "catalog.db-wal", "catalog.db-shm"] {
        let mode = fs::metadata(path.with_file_name(file))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    let reader = Catalog::open_read_only(&path).unwrap().unwrap();
    assert_eq!(reader.jobs(1).unwrap()[0].id, run.id());
    let error = reader
        .interrupt_running(at("2026-11-22T04:00:00Z"))
        .unwrap_err();
    assert!(matches!(error, CatalogError::Denied { .. }), "{error}");
}

#[test]
fn the_instance_is_made_once() {
    let (_folder, catalog) = fresh();
    let id = catalog.instance().unwrap();
    assert_eq!(id.len(), 36);
    assert_eq!(catalog.instance().unwrap(), id);
    let again = Catalog::open(catalog.path()).unwrap();
    assert_eq!(again.instance().unwrap(), id);
    assert_ne!(fresh().1.instance().unwrap(), id);
}

#[test]
fn a_second_writer_waits_for_the_first() {
    let (_folder, catalog) = fresh();
    let other = Connection::open(catalog.path()).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let started = Instant::now();
    let writer = std::thread::spawn(move || begin(&catalog, "2026-11-22").id());
    std::thread::sleep(Duration::from_millis(300));
    other.execute_batch("COMMIT").unwrap();
    writer.join().unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn many_that_open_a_new_catalog_at_once_all_get_it() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("catalog.db");
    let openers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || Catalog::open(&path).unwrap().instance().unwrap())
        })
        .collect();
    let ids: Vec<String> = openers
        .into_iter()
        .map(|opener| opener.join().unwrap())
        .collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}
