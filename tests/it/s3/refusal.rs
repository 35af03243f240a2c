//! Each refusal, told apart, with the way out and without a secret.

use std::sync::Arc;

use chrono::TimeDelta;
use patina::clock::{Clock, ManualClock, SystemClock};
use patina::config::S3;
use patina::store::{Body, S3Store, Store, StoreError, StoreErrorKind};

use super::proxy::{Fault, Op};
use super::server::{READER_KEY_ID, READER_SECRET, SECRET_ACCESS_KEY, secret};
use super::{Bench, KEY, PATIENCE, store};
use crate::store_contract::key;

/// What every call of a store says, the same for all.
async fn refused(store: &S3Store, settings: &S3, cause: &str, hint: &str) {
    let orders = key(KEY);
    let mut errors = vec![
        store.stat(&orders).await.unwrap_err(),
        store.list().await.unwrap_err(),
        store.create(&orders, Body::Bytes(b"x")).await.unwrap_err(),
        store.sweep().await.unwrap_err(),
    ];
    errors.extend(store.open(&orders, None).await.err());
    assert_eq!(errors.len(), 5);
    for error in errors {
        says(&error, settings, cause, hint);
    }
}

fn says(error: &StoreError, settings: &S3, cause: &str, hint: &str) {
    let text = error.to_string();
    assert!(text.contains(cause), "no `{cause}` in: {text}");
    assert!(text.contains(hint), "no `{hint}` in: {text}");
    assert!(text.contains("storage `r2`"), "{text}");
    for secret in [&settings.access_key_id, &settings.secret_access_key] {
        assert!(!text.contains(secret.expose()), "{text}");
        assert!(!format!("{error:?}").contains(secret.expose()), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_setting_makes_wrong_names_the_setting() {
    let bench = Bench::start().await;
    let right = || bench.server.settings("refused/");

    let unknown = S3 {
        access_key_id: secret("NOBODYSKEY"),
        ..right()
    };
    refused(
        &store(&unknown),
        &unknown,
        "does not know the access key id",
        "`access_key_id`",
    )
    .await;
    let wrong = S3 {
        secret_access_key: secret("not-the-secret"),
        ..right()
    };
    refused(
        &store(&wrong),
        &wrong,
        "the secret access key is wrong",
        "`secret_access_key`",
    )
    .await;
    let missing = S3 {
        bucket: "no-such-bucket".to_owned(),
        ..right()
    };
    refused(
        &store(&missing),
        &missing,
        "there is no bucket `no-such-bucket`",
        "`bucket`",
    )
    .await;

    // The server's own check, with a clock of ours that is wrong.
    let now = SystemClock::new().now();
    for (hours, told) in [(-30, "behind the service"), (5, "ahead of the service")] {
        let clock = ManualClock::at(now + TimeDelta::hours(hours));
        let settings = right();
        let store = S3Store::connect_with("r2", &settings, "one", Arc::new(clock), PATIENCE);
        refused(&store.unwrap(), &settings, told, "NTP").await;
    }

    // A key that may only read: reading works, writing says why not.
    let reader = S3 {
        access_key_id: secret(READER_KEY_ID),
        secret_access_key: secret(READER_SECRET),
        ..right()
    };
    let reading = store(&reader);
    reading.list().await.unwrap();
    assert_eq!(reading.stat(&key(KEY)).await.unwrap(), None);
    let created = reading.create(&key(KEY), Body::Bytes(b"x")).await;
    let hint = "read, write, list and delete objects of the bucket `patina-test`";
    says(&created.unwrap_err(), &reader, "denies it", hint);
    let removed = patina::store::Prune::remove(&reading, &key(KEY)).await;
    says(&removed.unwrap_err(), &reader, "denies it", hint);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_time_or_the_line_makes_wrong_says_so() {
    let bench = Bench::start().await;
    let settings = bench.settings("line/");
    let store = bench.store("line/").await;
    let orders = key(KEY);

    for op in [Op::Put, Op::Get, Op::Head] {
        let skewed = Fault::refuse(403, "RequestTimeTooSkewed");
        bench.plan.always(op, skewed);
    }
    let created = store.create(&orders, Body::Bytes(b"x")).await.unwrap_err();
    says(&created, &settings, "the clocks differ too much", "NTP");
    let stat = store.stat(&orders).await.unwrap_err();
    says(&stat, &settings, "the clocks differ too much", "NTP");

    bench.plan.heal();
    for (status, code) in [
        (503, "SlowDown"),
        (500, "InternalError"),
        (429, "TooManyRequests"),
    ] {
        bench.plan.always(Op::Get, Fault::refuse(status, code));
        let error = store.open(&orders, None).await.err().unwrap();
        assert!(error.is_retryable(), "{error}");
        says(&error, &settings, code, &status.to_string());
    }
    // A service that repeats the secret: it is cut out.
    bench.plan.always(
        Op::Get,
        Fault::Answer {
            status: 400,
            body: format!("<Error><Code>Odd</Code><Message>{SECRET_ACCESS_KEY}</Message></Error>"),
        },
    );
    let error = store.open(&orders, None).await.err().unwrap();
    assert!(!error.is_retryable(), "{error}");
    says(&error, &settings, "Odd (status 400): …", "");

    let gone = S3 {
        endpoint: "http://127.0.0.1:9".to_owned(),
        ..bench.server.settings("")
    };
    let unnamed = S3 {
        endpoint: "http://no-such-host.invalid".to_owned(),
        ..bench.server.settings("")
    };
    for settings in [gone, unnamed] {
        let error = super::store(&settings).list().await.unwrap_err();
        assert!(error.is_retryable(), "{error}");
        says(&error, &settings, "cannot be reached: ", &settings.endpoint);
    }
    // TLS where none is spoken.
    let settings = S3 {
        endpoint: bench.server.endpoint().replace("http:", "https:"),
        ..bench.server.settings("")
    };
    let error = super::store(&settings).list().await.unwrap_err();
    assert!(
        matches!(error.kind, StoreErrorKind::Refused { .. }),
        "{error}"
    );
    says(&error, &settings, "cannot be trusted", "`endpoint`");
}
