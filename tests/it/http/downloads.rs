//! The copies themselves: right to the last byte, or visibly cut off.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use patina::catalog::{AuditAction, AuditOutcome};
use patina::types::{ObjectKey, Sha256};
use reqwest::{Method, Response, StatusCode};

use super::{ALL, TODAY, World, full_key, key_text};

/// Takes a whole download and compares it with its own headers.
async fn taken(response: Response) -> Vec<u8> {
    assert_eq!(response.status(), StatusCode::OK);
    let headers = response.headers().clone();
    let bytes = response.bytes().await.unwrap().to_vec();
    let digest = Sha256::of(&bytes).to_string();
    assert_eq!(headers["x-patina-sha256"], digest);
    assert_eq!(headers["etag"], format!("\"{digest}\""));
    let raw = STANDARD.encode(hex::decode(&digest).unwrap());
    assert_eq!(headers["repr-digest"], format!("sha-256=:{raw}:"));
    assert_eq!(headers["content-length"], bytes.len().to_string());
    assert_eq!(headers["content-type"], "application/sql");
    bytes
}

fn manifest_digest(world: &World, key: &str) -> String {
    let key: ObjectKey = key.parse().unwrap();
    let copy = world.catalog().copy(&key).unwrap().unwrap();
    copy.manifest.plain.sha256.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daily_copy_arrives_as_plain_sql_under_a_name_of_its_own() {
    let world = World::new(&full_key()).await;
    let response = world.download("/download/2026-11-30/blog").await;
    let wanted = "attachment; filename=\"blog-2026-11-30.sql\"";
    assert_eq!(response.headers()["content-disposition"], wanted);
    let bytes = taken(response).await;
    let digest = manifest_digest(&world, &format!("daily/{TODAY}/blog.sql"));
    assert_eq!(Sha256::of(&bytes).to_string(), digest);
    assert!(bytes.len() > 3_000_000);
    for storage in ["near", "far"] {
        let path = format!("/download/2026-11-30/shop?storage={storage}");
        taken(world.download(&path).await).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_copy_arrives_as_plain_sql_too() {
    for compression in ["gzip", "zstd"] {
        let export = format!("compression = \"{compression}\"");
        let world = World::empty(&full_key(), &export, None).await;
        world.night().await;
        let bytes = taken(world.download("/download/2026-11-30/blog").await).await;
        assert!(bytes.starts_with(b"--") && bytes.len() > 3_000_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_only_an_archive_holds_arrives_the_same() {
    let world = World::with_archive().await;
    let path = "/download/2026-11-10/blog";
    let whole = taken(world.download(path).await).await;
    let part = world
        .with_key(path)
        .header("Range", "bytes=1000000-1999999");
    let part = part.send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.bytes().await.unwrap(), whole[1_000_000..2_000_000]);
    assert!(!world.path("near/daily/2026-11-10/blog.sql").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn head_says_what_get_would_and_a_range_gives_that_part() {
    let world = World::new(&full_key()).await;
    let path = "/download/2026-11-30/blog";
    let whole = taken(world.download(path).await).await;
    let key = key_text(ALL.0);
    let head = world
        .request(Method::HEAD, path)
        .header("X-Patina-Key", &key);
    let head = head.send().await.unwrap();
    assert_eq!(head.status(), StatusCode::OK);
    assert_eq!(head.headers()["content-length"], whole.len().to_string());
    assert_eq!(head.headers()["accept-ranges"], "bytes");
    let etag = head.headers()["etag"].to_str().unwrap().to_owned();
    let end = whole.len();
    for (range, from, until) in [
        ("bytes=0-9", 0, 10),
        ("bytes=262140-262149", 262_140, 262_150),
        ("bytes=100-", 100, end),
        ("bytes=-5", end - 5, end),
    ] {
        let request = world.with_key(path).header("Range", range);
        let response = request.header("If-Range", &etag).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PARTIAL_CONTENT, "{range}");
        let told = format!("bytes {from}-{}/{end}", until - 1);
        assert_eq!(response.headers()["content-range"], told);
        assert_eq!(
            response.bytes().await.unwrap(),
            whole[from..until],
            "{range}"
        );
    }
    let beyond = world
        .with_key(path)
        .header("Range", format!("bytes={end}-"));
    let beyond = beyond.send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()["content-range"], format!("bytes */{end}"));
    let other = world.with_key(path).header("Range", "bytes=0-9");
    let other = other
        .header("If-Range", "\"another\"")
        .send()
        .await
        .unwrap();
    assert_eq!(other.status(), StatusCode::OK);
}

/// Flips one bit of a stored object.
fn flip(world: &World, name: &str, at: usize) {
    use std::os::unix::fs::PermissionsExt;
    let path = world.path(name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[at] ^= 1;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_never_ends_as_a_clean_answer() {
    let name = format!("near/daily/{TODAY}/blog.sql");
    for (place, range) in [
        (0, None),
        (1_500_000, None),
        (3_000_000, None),
        // Behind the part that is asked for: it may be the wrong copy all the same.
        (3_000_000, Some("bytes=0-999999")),
        (3_000_000, Some("bytes=10-19")),
    ] {
        let world = World::new(&full_key()).await;
        flip(&world, &name, place);
        let mut request = world.with_key("/download/2026-11-30/blog?storage=near");
        if let Some(range) = range {
            request = request.header("Range", range);
        }
        let response = request.send().await.unwrap();
        let status = response.status();
        let is_whole = response.bytes().await.is_ok();
        let is_clean = status.is_success() && is_whole;
        assert!(!is_clean, "{place} {range:?}: {status}");
        let rows = world.audit_of(2).await;
        assert_eq!(
            rows[1].audit.outcome,
            AuditOutcome::Damaged,
            "{place} {range:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_not_right_from_its_start_is_taken_from_another_storage() {
    let world = World::new(&full_key()).await;
    // A small copy is looked at to its end before a byte of it leaves.
    flip(&world, &format!("near/daily/{TODAY}/shop.sql"), 100);
    taken(world.download("/download/2026-11-30/shop").await).await;
    std::fs::remove_file(world.path(&format!("near/daily/{TODAY}/blog.sql"))).unwrap();
    taken(world.download("/download/2026-11-30/blog").await).await;
    flip(&world, &format!("far/daily/{TODAY}/shop.sql"), 100);
    let (status, body) = super::json(world.with_key("/download/2026-11-30/shop")).await;
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    assert_eq!(body["error"], "no_right_copy");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_download_is_in_the_audit_before_and_after_and_expiry_waits_for_it() {
    let world = World::new(&full_key()).await;
    let mut response = world.download("/download/2026-11-30/blog").await;
    response.chunk().await.unwrap().unwrap();
    let rows = world.audit();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].audit.outcome, AuditOutcome::Granted);
    let now = world.wiring().clock.now();
    let leased = world.catalog().care(now).unwrap().leased;
    assert_eq!(leased.len(), 1);
    let request = response.headers()["x-request-id"]
        .to_str()
        .unwrap()
        .to_owned();
    let rest = response.bytes().await.unwrap();
    let rows = world.audit_of(2).await;
    let end = &rows[1].audit;
    assert_eq!(end.outcome, AuditOutcome::Complete);
    assert!(end.size_bytes > rest.len() as u64);
    assert_eq!((&end.request, end.client.as_str()), (&request, "key:all"));
    assert_eq!(end.subject, format!("daily/{TODAY}/blog.sql"));
    assert_eq!(end.address.to_string(), "127.0.0.1");
    assert_eq!(end.action, AuditAction::Download);
    let catalog = world.catalog();
    super::eventually("the end of the lease", || {
        catalog.care(now).unwrap().leased.is_empty()
    })
    .await;
}
