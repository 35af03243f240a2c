//! Listings of many pages, and those that lie.

use std::fmt::Write;

use futures_util::StreamExt;
use futures_util::stream;
use patina::store::{Store, StoreErrorKind};

use super::proxy::{Fault, Op};
use super::server::BUCKET;
use super::{Bench, store};

/// One page as a service would send it; `said`: how many keys it says it has.
fn page(prefix: &str, names: &[&str], truncated: bool, next: Option<&str>, said: usize) -> Fault {
    let mut body = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListBucketResult xmlns=\
         \"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>{BUCKET}</Name><Prefix>{prefix}</Prefix>\
         <KeyCount>{said}</KeyCount><MaxKeys>1000</MaxKeys><IsTruncated>{truncated}</IsTruncated>"
    );
    if let Some(next) = next {
        write!(
            body,
            "<NextContinuationToken>{next}</NextContinuationToken>"
        )
        .unwrap();
    }
    for name in names {
        write!(
            body,
            "<Contents><Key>{prefix}daily/2026-11-22/{name}.sql</Key><LastModified>\
             2026-11-22T03:00:00.123Z</LastModified><ETag>&quot;e&quot;</ETag><Size>7</Size>\
             </Contents>"
        )
        .unwrap();
    }
    body.push_str("</ListBucketResult>");
    Fault::Answer { status: 200, body }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_of_a_long_listing_is_read() {
    const OBJECTS: usize = 2_103;
    let bench = Bench::start().await;
    let client = bench.server.client();
    let put = |number: usize| {
        let name = format!("long/daily/2026-11-22/db{number:04}.sql");
        let put = client.put_object().bucket(BUCKET).key(name);
        async { put.send().await.unwrap() }
    };
    let puts = stream::iter((0..OBJECTS).map(put)).buffer_unordered(16);
    assert_eq!(puts.count().await, OBJECTS);
    let store = bench.store("long/").await;
    let listing = store.list().await.unwrap();
    assert_eq!((listing.objects.len(), listing.foreign), (OBJECTS, 0));
    assert_eq!(bench.plan.seen(Op::List), 3);
    // An error on the second page is an error of the whole.
    bench
        .plan
        .break_at(Op::List, [2], &Fault::refuse(403, "AccessDenied"));
    let error = store.list().await.unwrap_err();
    assert!(
        matches!(error.kind, StoreErrorKind::Refused { .. }),
        "{error}"
    );
    bench
        .plan
        .break_at(Op::List, [2], &Fault::CutAnswer { percent: 50 });
    assert_eq!(store.list().await.unwrap().objects.len(), OBJECTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_that_cannot_be_complete_is_an_error() {
    let bench = Bench::start().await;
    let store = store(&bench.settings("odd/"));
    let p = |names: &[&str], truncated, next| page("odd/", names, truncated, next, names.len());
    let listed = |pages: Vec<Fault>| {
        for (number, fault) in (1..).zip(&pages) {
            bench.plan.break_at(Op::List, [number], fault);
        }
        store.list()
    };

    let gap = vec![
        p(&["a", "b"], true, Some("t1")),
        p(&[], true, Some("t2")),
        p(&["c"], false, None),
    ];
    assert_eq!(listed(gap).await.unwrap().objects.len(), 3);

    let odd = [
        (
            "goes in circles",
            vec![p(&["a"], true, Some("t1")), p(&["b"], true, Some("t1"))],
        ),
        ("that more follow", vec![p(&["a"], true, None)]),
        ("that it is the last", vec![p(&["a"], false, Some("t1"))]),
        (
            "says 2 keys and has 1",
            vec![page("odd/", &["a"], false, None, 2)],
        ),
        (
            "twice",
            vec![p(&["a"], true, Some("t1")), p(&["a"], false, None)],
        ),
        ("not asked for", vec![page("even/", &["a"], false, None, 1)]),
    ];
    for (expected, pages) in odd {
        let error = listed(pages).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
        assert!(error.is_retryable(), "{error}");
    }
    for status in [200, 404, 503] {
        bench.plan.heal();
        let body = "<html>maintenance</html>".to_owned();
        bench.plan.always(Op::List, Fault::Answer { status, body });
        let error = store.list().await.unwrap_err();
        assert!(!error.is_exists(), "{error}");
    }
}
