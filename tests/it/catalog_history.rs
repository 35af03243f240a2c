//! How much of the past the catalog keeps: old jobs and requests go, and whoever asks for what is left finds all of it.

use chrono::TimeDelta;
use patina::catalog::{Asked, BackupRequest, Catalog, HistoryLimit, JobStatus};
use patina::types::JobId;
use rusqlite::Connection;

use super::catalog::{at, backup, begin, committed, fresh, manifest, name, new_job, spooled};

const NOW: &str = "2026-11-22T03:00:00Z";

fn count(catalog: &Catalog, table: &str) -> u64 {
    let db = Connection::open(catalog.path()).unwrap();
    let sql = format!("SELECT count(*) FROM {table}");
    db.query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// Until nothing goes any more; gives how many jobs went.
fn let_go(catalog: &Catalog, limit: HistoryLimit) -> u64 {
    let mut gone = 0;
    loop {
        match catalog.let_jobs_go(at(NOW), limit).unwrap() {
            0 => return gone,
            jobs => gone += jobs,
        }
    }
}

/// A job of an old day in which one database failed, with everything that is written about one.
fn failure(catalog: &Catalog, day: &str) -> JobId {
    let run = begin(catalog, day);
    let time = at(&format!("{day}T03:00:01Z"));
    let orders = name("orders");
    run.fail_database(&orders, "uuid", "it is gone", time, time)
        .unwrap();
    run.note(Some(&orders), "a hook failed").unwrap();
    let labels = [("team".to_owned(), "shop".to_owned())];
    run.label(&orders, &labels.into()).unwrap();
    let id = run.id();
    run.finish(time).unwrap();
    id
}

const SMALL: HistoryLimit = HistoryLimit {
    most: 1_000,
    most_results: 1_000,
    most_age: TimeDelta::days(400),
    least: 3,
};

#[test]
fn old_jobs_go_with_all_that_is_written_about_them_and_what_is_needed_stays() {
    let (_folder, catalog) = fresh();
    let success = backup(&catalog, "orders", "2025-01-01", |_| ());
    // A dead process left a dump in the spool; settling it needs the job.
    let waiting = begin(&catalog, "2025-01-02");
    let dump = manifest(waiting.id(), "users", "2025-01-02");
    waiting.spooled(&spooled(&dump)).unwrap();
    let waiting = waiting.id();
    catalog
        .interrupt_running(at("2025-01-03T00:00:00Z"))
        .unwrap();
    let running = begin(&catalog, "2025-01-04");
    for day in 1..=28 {
        failure(&catalog, &format!("2025-02-{day:02}"));
    }
    let recent = failure(&catalog, "2026-01-01");

    // All of February but the newest three jobs of all, of which one is young.
    assert_eq!(let_go(&catalog, SMALL), 26);
    let left = catalog.jobs(100).unwrap();
    assert_eq!(left.len(), 31 - 26 + 1, "{left:#?}");
    assert_eq!(count(&catalog, "backup_results"), 1 + 3);
    assert_eq!(count(&catalog, "result_labels"), 3);
    assert_eq!(
        count(&catalog, "job_notes"),
        3 + 6,
        "a reason each, and a note"
    );
    assert!(left.iter().any(|job| job.id == recent));
    let status = |id| catalog.job(id).unwrap().unwrap().status;
    assert_eq!(status(running.id()), JobStatus::Running);
    assert_eq!(status(waiting), JobStatus::Interrupted);

    // Whoever reads the past: the last success, the copies, the spool, the failures in a row.
    let work = catalog.work(at("2024-01-01T00:00:00Z")).unwrap();
    assert_eq!(work.last_success.unwrap().status, JobStatus::Completed);
    assert_eq!(work.jobs[0].job.id, recent);
    assert_eq!(work.failures, 3);
    assert_eq!(catalog.endings(&name("orders")).unwrap().len(), 4);
    let good = catalog.newest_good(&name("orders")).unwrap().unwrap();
    assert_eq!(good.key, success);
    catalog
        .settle_spooled(waiting, &committed(&dump, &["r2"]))
        .unwrap();
    assert_eq!(catalog.results(waiting).unwrap().len(), 1);
    // What no longer waits may go, too.
    assert_eq!(let_go(&catalog, SMALL), 1);
    assert!(catalog.job(waiting).unwrap().is_none());
    assert!(catalog.newest_good(&name("users")).unwrap().is_some());
}

#[test]
fn neither_many_jobs_nor_many_results_nor_a_clock_that_jumps_leave_too_much_or_too_little() {
    let (_folder, catalog) = fresh();
    for _ in 0..40 {
        failure(&catalog, "2026-11-21");
    }
    let few = |most, most_results| HistoryLimit {
        most,
        most_results,
        ..SMALL
    };
    assert_eq!(let_go(&catalog, few(1_000, 1_000)), 0);
    assert_eq!(let_go(&catalog, few(30, 1_000)), 10);
    assert_eq!(let_go(&catalog, few(1_000, 20)), 10);
    assert_eq!(count(&catalog, "backup_results"), 20);
    let later = at(NOW) + TimeDelta::days(36_500);
    while catalog.let_jobs_go(later, SMALL).unwrap() > 0 {}
    assert_eq!(catalog.jobs(100).unwrap().len() as u64, SMALL.least);
}

#[test]
fn each_job_that_begins_lets_a_few_old_ones_go() {
    let (_folder, catalog) = fresh();
    let db = Connection::open(catalog.path()).unwrap();
    db.execute_batch(
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1200)
         INSERT INTO backup_jobs (job_id, started_at, status, trigger_type, total_databases)
         SELECT printf('00000000-0000-4000-8000-%012d', i), i, 'failed', 'scheduled', 1 FROM n",
    )
    .unwrap();
    for jobs in 1..=30 {
        let run = catalog.begin(new_job(at(NOW))).unwrap();
        run.finish(at(NOW)).unwrap();
        let left = count(&catalog, "backup_jobs");
        assert!(
            left <= 1200 + jobs && left >= HistoryLimit::USUAL.least,
            "{left}"
        );
    }
    assert_eq!(count(&catalog, "backup_jobs"), HistoryLimit::USUAL.least);
}

#[test]
fn requests_that_were_done_with_are_bounded_and_one_that_waits_is_never_forgotten() {
    let (_folder, catalog) = fresh();
    let db = Connection::open(catalog.path()).unwrap();
    let insert = |first: u64, last: u64, ended: &str| {
        let sql = format!(
            "WITH RECURSIVE n(i) AS (VALUES ({first}) UNION ALL SELECT i + 1 FROM n WHERE i < {last})
             INSERT INTO requests (job_id, requested_at, client, databases, ended_at)
             SELECT printf('00000000-0000-4000-8000-%012d', i), i, 'key:ci', '[]', {ended} FROM n"
        );
        db.execute_batch(&sql).unwrap();
    };
    let ask = || {
        let request = BackupRequest {
            job: JobId::random(),
            at: at(NOW),
            client: "key:ci".to_owned(),
            reason: None,
            databases: Vec::new(),
            attempts: 0,
            ended_at: None,
        };
        (request.job, catalog.ask(&request).unwrap())
    };
    insert(1, 2_000, "i");
    let (job, asked) = ask();
    assert_eq!(asked, Asked::Accepted);
    assert_eq!(count(&catalog, "requests"), HistoryLimit::USUAL.least);
    // The same wish again is answered with the job that it became.
    assert_eq!(ask().1, Asked::Busy(job));
    catalog.end_request(job, at(NOW)).unwrap();
    assert!(catalog.request(job).unwrap().unwrap().ended_at.is_some());

    // One that waits is older than all others; it is what is made next.
    db.execute_batch("DELETE FROM requests").unwrap();
    insert(1, 1, "NULL");
    insert(2, 60_000, "i");
    let open = catalog.open_request().unwrap().unwrap();
    assert_eq!(ask().1, Asked::Busy(open.job));
    catalog.end_request(open.job, at(NOW)).unwrap();
    assert_eq!(ask().1, Asked::Accepted);
    assert_eq!(count(&catalog, "requests"), HistoryLimit::USUAL.least);
    assert!(catalog.open_request().unwrap().is_some());
}
