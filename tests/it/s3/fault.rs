//! A line and a service that break on the way. After each fault a copy is whole or absent, and no part is left.

use std::time::{Duration, Instant};

use patina::store::{Body, S3Patience, Store, digest};
use tokio::io::AsyncReadExt;

use super::proxy::{Fault, Op, error_body};
use super::server::BUCKET;
use super::{Bench, KEY, LARGE_BYTES, PATIENCE, body, spool, store_with};
use crate::store_contract::{content, key};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_survives_what_passes() {
    let bench = Bench::start().await;
    let large = spool(LARGE_BYTES);
    let slow = Fault::refuse(503, "SlowDown");
    let many = Fault::refuse(429, "TooManyRequests");
    let reset = |percent| Fault::CutRequest { percent };
    let half_way = Fault::Answer {
        status: 200,
        body: error_body("InternalError"),
    };
    let cases: [(Op, Vec<usize>, Fault); 14] = [
        (Op::Part, vec![1, 2], slow.clone()),
        (Op::Part, vec![1], many.clone()),
        (Op::Part, vec![1, 4], reset(10)),
        (Op::Part, vec![2], reset(50)),
        (Op::Part, vec![3], reset(99)),
        (Op::Part, vec![2], Fault::LoseAnswer),
        (Op::Part, vec![2], Fault::Delay(Duration::from_millis(300))),
        (Op::Begin, vec![1], slow.clone()),
        (Op::Complete, vec![1, 2], slow),
        (Op::Complete, vec![1], many),
        (Op::Complete, vec![1], half_way),
        (Op::Complete, vec![1], Fault::LoseAnswer),
        (Op::Complete, vec![1], Fault::CutAnswer { percent: 50 }),
        (Op::Head, vec![2], Fault::refuse(503, "SlowDown")),
    ];
    for (number, (op, calls, fault)) in cases.into_iter().enumerate() {
        let prefix = format!("passes{number}/");
        let store = bench.store(&prefix).await;
        bench.plan.break_at(op, calls.clone(), &fault);
        let told = format!("{op:?} {calls:?} {fault:?}");
        let created = store.create(&key(KEY), body(&large)).await;
        assert!(created.is_ok(), "{told}: {created:?}");
        let found = digest(&store, &key(KEY)).await.unwrap();
        assert_eq!(found, Some(large.1), "{told}");
        assert_eq!(
            bench.left(&prefix).await,
            (vec![KEY.to_owned()], 0),
            "{told}"
        );
        bench.plan.heal();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_fails_for_good_leaves_nothing() {
    let bench = Bench::start().await;
    let large = spool(LARGE_BYTES);
    let denied = Fault::refuse(403, "AccessDenied");
    let half_way = Fault::Answer {
        status: 200,
        body: error_body("InternalError"),
    };
    let cases = [
        (Op::Begin, Fault::refuse(503, "SlowDown"), true),
        (Op::Part, Fault::refuse(503, "SlowDown"), true),
        (Op::Part, Fault::CutRequest { percent: 50 }, true),
        (Op::Part, denied.clone(), false),
        (Op::Complete, denied, false),
        (Op::Complete, half_way, true),
        (
            Op::Complete,
            Fault::refuse(409, "ConditionalRequestConflict"),
            true,
        ),
        (Op::Complete, Fault::refuse(404, "NoSuchUpload"), true),
    ];
    for (number, (op, fault, retryable)) in cases.into_iter().enumerate() {
        let prefix = format!("fails{number}/");
        let store = bench.store(&prefix).await;
        bench.plan.always(op, fault.clone());
        let error = store.create(&key(KEY), body(&large)).await.unwrap_err();
        let told = format!("{op:?} {fault:?}: {error}");
        assert_eq!(error.is_retryable(), retryable, "{told}");
        assert!(!error.is_exists(), "{told}");
        bench.plan.heal();
        assert_eq!(store.stat(&key(KEY)).await.unwrap(), None, "{told}");
        assert_eq!(bench.left(&prefix).await, (vec![], 0), "{told}");
    }

    // A service that says "completed" and has done nothing.
    let store = bench.store("lies/").await;
    let body_text = "<?xml version=\"1.0\"?><CompleteMultipartUploadResult>\
                     <ETag>&quot;e&quot;</ETag></CompleteMultipartUploadResult>";
    let lie = Fault::Answer {
        status: 200,
        body: body_text.to_owned(),
    };
    bench.plan.always(Op::Complete, lie);
    let error = store.create(&key(KEY), body(&large)).await.unwrap_err();
    assert!(error.to_string().contains("nothing is there"), "{error}");
    assert_eq!(bench.left("lies/").await, (vec![], 0));

    // Somebody whom the service lets complete at the same time: it is noticed, and theirs is not removed.
    bench.plan.heal();
    let store = bench.store("both/").await;
    bench
        .plan
        .break_at(Op::Head, [2], &Fault::Delay(Duration::from_secs(4)));
    let theirs = async {
        while bench.plan.seen(Op::Head) < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let put = bench.server.client().put_object().bucket(BUCKET);
        let put = put
            .key(format!("both/{KEY}"))
            .body(vec![7; LARGE_BYTES].into());
        put.send().await.unwrap();
    };
    let orders = key(KEY);
    let (created, ()) = tokio::join!(store.create(&orders, body(&large)), theirs);
    let error = created.unwrap_err();
    assert!(
        error.to_string().contains("something else is there"),
        "{error}"
    );
    assert_eq!(bench.left("both/").await, (vec![KEY.to_owned()], 0));

    // One who stops waiting: the upload is aborted behind him.
    bench.plan.heal();
    let store = bench.store("dropped/").await;
    bench.plan.always(Op::Part, Fault::Hang);
    let creating = store.create(&orders, body(&large));
    let dropped = tokio::time::timeout(Duration::from_millis(800), creating).await;
    assert!(dropped.is_err());
    let started = Instant::now();
    while bench.left("dropped/").await.1 > 0 {
        assert!(started.elapsed() < Duration::from_secs(20), "not aborted");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_object_whose_answer_is_lost_is_ours_only_if_it_is_equal() {
    let bench = Bench::start().await;
    let store = bench.store("lost/").await;
    let lost = [
        Fault::LoseAnswer,
        Fault::CutAnswer { percent: 0 },
        Fault::Instead {
            status: 500,
            body: error_body("InternalError"),
        },
    ];
    for (number, fault) in lost.into_iter().enumerate() {
        let key = key(&format!("daily/2026-11-22/ours{number}.sql"));
        bench.plan.break_at(Op::Put, [1], &fault);
        let created = store.create(&key, Body::Bytes(b"ours")).await;
        assert!(created.is_ok(), "{fault:?}: {created:?}");
        assert_eq!(content(&store, &key).await.unwrap(), b"ours");
    }
    // The first request is lost on the way there, and somebody else is faster than the second.
    for foreign in [b"else".as_slice(), b"ours and more"] {
        let key = key(&format!("daily/2026-11-22/foreign{}.sql", foreign.len()));
        let client = bench.server.client();
        let put = client
            .put_object()
            .bucket(BUCKET)
            .key(format!("lost/{key}"));
        put.body(foreign.to_vec().into()).send().await.unwrap();
        bench
            .plan
            .break_at(Op::Put, [1], &Fault::CutRequest { percent: 50 });
        let error = store.create(&key, Body::Bytes(b"ours")).await.unwrap_err();
        assert!(error.is_exists(), "{error}");
        assert_eq!(content(&store, &key).await.unwrap(), foreign);
    }
    // A service that turns us away has not stored ours: an equal object is somebody else's.
    let taken = key("daily/2026-11-22/taken.sql");
    store.create(&taken, Body::Bytes(b"same")).await.unwrap();
    bench
        .plan
        .break_at(Op::Put, [1], &Fault::refuse(503, "SlowDown"));
    let error = store
        .create(&taken, Body::Bytes(b"same"))
        .await
        .unwrap_err();
    assert!(error.is_exists(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_is_taken_up_where_the_line_broke() {
    let bench = Bench::start().await;
    let store = bench.store("read/").await;
    let large = spool(LARGE_BYTES);
    let orders = key(KEY);
    store.create(&orders, body(&large)).await.unwrap();

    for percent in [0, 10, 50, 99] {
        let cut = Fault::CutAnswer { percent };
        bench.plan.break_at(Op::Get, [1, 2, 3], &cut);
        let found = digest(&store, &orders).await.unwrap();
        assert_eq!(found, Some(large.1), "cut at {percent} %");
        assert_eq!(bench.plan.seen(Op::Get), 4);
    }
    // A range is taken up within the range.
    bench
        .plan
        .break_at(Op::Get, [1], &Fault::CutAnswer { percent: 50 });
    let range = Some(1_000..9_000_000);
    let mut reader = store.open(&orders, range).await.unwrap().unwrap();
    let mut found = Vec::new();
    reader.read_to_end(&mut found).await.unwrap();
    let bytes = std::fs::read(large.0.path()).unwrap();
    assert!(found == bytes[1_000..9_000_000]);

    // It never ends early without an error.
    bench.plan.always(Op::Get, Fault::CutAnswer { percent: 10 });
    let error = digest(&store, &orders).await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
    bench.plan.heal();

    // A turned bit passes the service's and the line's checks; the digest tells.
    bench
        .plan
        .break_at(Op::Get, [1], &Fault::FlipAnswer { at: 12_345_678 });
    let found = digest(&store, &orders).await.unwrap().unwrap();
    assert_eq!(found.size_bytes, large.1.size_bytes);
    assert_ne!(found, large.1);

    // Another version in the meantime is not glued to the first.
    bench
        .plan
        .break_at(Op::Get, [1], &Fault::CutAnswer { percent: 50 });
    let mut reader = store.open(&orders, None).await.unwrap().unwrap();
    let put = bench.server.client().put_object().bucket(BUCKET);
    let put = put
        .key(format!("read/{KEY}"))
        .body(bytes[1..].to_vec().into());
    put.send().await.unwrap();
    let error = reader.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert!(error.to_string().contains("changed"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_hangs_is_given_up() {
    let bench = Bench::start().await;
    let patience = S3Patience {
        attempt: Duration::from_millis(400),
        idle: Duration::from_millis(300),
        attempts: 2,
        ..PATIENCE
    };
    let store = store_with(&bench.settings("hang/"), patience);
    let orders = key(KEY);
    let limit = Duration::from_secs(30);
    for op in [Op::Put, Op::Get, Op::Head, Op::List] {
        bench.plan.always(op, Fault::Hang);
    }
    let started = Instant::now();
    let errors = [
        store.create(&orders, Body::Bytes(b"x")).await.unwrap_err(),
        store.open(&orders, None).await.err().unwrap(),
        store.stat(&orders).await.unwrap_err(),
        store.list().await.unwrap_err(),
    ];
    assert!(started.elapsed() < limit, "{:?}", started.elapsed());
    for error in errors {
        assert!(error.is_retryable(), "{error}");
        assert!(
            error.to_string().contains("did not answer within 400ms"),
            "{error}"
        );
    }
    // Once, and then it comes back.
    bench.plan.heal();
    store.conditional_writes().await.unwrap();
    bench.plan.break_at(Op::Put, [1], &Fault::Hang);
    store.create(&orders, Body::Bytes(b"x")).await.unwrap();
    assert_eq!(bench.left("hang/").await.0, [KEY]);
}
