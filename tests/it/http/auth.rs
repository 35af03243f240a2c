//! Who is let in, by key and by address; every cell of the matrix.

use reqwest::{Method, StatusCode};
use serde_json::json;

use super::{World, from_anywhere, full_key, json, key, key_text};

const DOWNLOAD: &str = "/download/2026-11-30/shop";

/// What one client gets: status, download, trigger.
async fn cells(world: &World, headers: &[(&str, &str)]) -> [u16; 3] {
    let mut found = [0; 3];
    for (cell, (method, path)) in found.iter_mut().zip([
        (Method::GET, "/status"),
        (Method::HEAD, DOWNLOAD),
        // Refused for its body where it is let in: no job is made.
        (Method::POST, "/trigger"),
    ]) {
        let mut request = world.request(method, path).body("{");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        *cell = request.send().await.unwrap().status().as_u16();
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_may_do_what_its_scopes_say_while_it_is_valid_and_where_it_may_be_used() {
    let keys = [
        key("reader", r#""read""#, ""),
        key("loader", r#""download""#, ""),
        key("starter", r#""trigger""#, ""),
        key("gauge", r#""metrics""#, ""),
        key("all", r#""read", "download", "trigger""#, ""),
        key(
            "old",
            r#""read", "download", "trigger""#,
            "expires = \"2026-11-30\"",
        ),
        key(
            "fresh",
            r#""read", "download", "trigger""#,
            "expires = \"2026-12-01\"",
        ),
        key(
            "office",
            r#""read", "download", "trigger""#,
            "allow_ips = [\"203.0.113.0/24\"]",
        ),
    ];
    let world = World::new(&from_anywhere(&keys.concat())).await;
    let wrong = format!("{}x", key_text("all"));
    let mixed = key_text("all").replace("ptk_all", "ptk_reader");
    for (key, from, wanted) in [
        ("", "203.0.113.7", [401, 401, 401]),
        (&key_text("reader"), "192.0.2.1", [200, 403, 403]),
        (&key_text("loader"), "192.0.2.2", [403, 200, 403]),
        (&key_text("starter"), "192.0.2.3", [403, 403, 400]),
        (&key_text("gauge"), "192.0.2.4", [403, 403, 403]),
        (&key_text("all"), "192.0.2.5", [200, 200, 400]),
        (&key_text("old"), "192.0.2.6", [401, 401, 401]),
        (&key_text("fresh"), "192.0.2.7", [200, 200, 400]),
        (&key_text("office"), "203.0.113.7", [200, 200, 400]),
        (&key_text("office"), "192.0.2.8", [401, 401, 401]),
        (&key_text("nobody"), "192.0.2.9", [401, 401, 401]),
        (&wrong, "192.0.2.10", [401, 401, 401]),
        (&mixed, "192.0.2.11", [401, 401, 401]),
        ("ptk_all_", "192.0.2.12", [401, 401, 401]),
        ("ptk_all", "192.0.2.13", [401, 401, 401]),
        ("secret-of-all", "192.0.2.14", [401, 401, 401]),
    ] {
        let mut headers = vec![("X-Forwarded-For", from)];
        headers.extend((!key.is_empty()).then_some(("X-Patina-Key", key)));
        assert_eq!(cells(&world, &headers).await, wanted, "{key} from {from}");
    }
    // Two keys at once are none.
    let two = world
        .with_key("/status")
        .header("X-Patina-Key", key_text("reader"));
    assert_eq!(two.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_says_what_the_specification_says_and_not_how_near_it_was() {
    let world = World::new(&full_key()).await;
    let (status, body) = json(world.get(DOWNLOAD)).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let wanted = json!({
        "error": "unauthorized",
        "message": "Valid authentication required to download backups",
    });
    assert_eq!(body, wanted);
    for key in [key_text("nobody"), format!("{}x", key_text("all"))] {
        let (_, body) = json(world.get(DOWNLOAD).header("X-Patina-Key", key)).await;
        assert_eq!(body, wanted);
    }
    // Nor whether there is such a copy, or such a database.
    let (_, body) = json(world.get("/download/1999-01-01/nope")).await;
    assert_eq!(body, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_address_is_refused_even_if_it_is_right() {
    let world = World::new(&full_key()).await;
    let key = key_text("all");
    for query in [
        format!("?key={key}"),
        format!("?database=blog&X-Patina-Key={key}"),
        format!("?api_key={key}"),
        format!("?anything={key}"),
        format!("?anything={}", key.replace("ptk", "p%74k")),
    ] {
        let (status, body) = json(world.with_key(&format!("/list{query}"))).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(!body.to_string().contains("secret-of"), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_lets_in_and_nobody_but_a_trusted_proxy_can_claim_one() {
    let allowed = "allow_ips = [\"203.0.113.0/24\", \"2001:db8::/32\"]";
    let behind = World::new(&from_anywhere(allowed)).await;
    for (from, wanted) in [
        ("203.0.113.7", [200, 200, 400]),
        ("2001:db8::7", [200, 200, 400]),
        ("203.0.114.7", [401, 401, 401]),
        ("203.0.113.7, 192.0.2.1", [401, 401, 401]),
        ("nonsense", [400, 400, 400]),
    ] {
        let found = cells(&behind, &[("X-Forwarded-For", from)]).await;
        assert_eq!(found, wanted, "{from}");
    }
    let direct = World::new(allowed).await;
    for name in [
        "X-Forwarded-For",
        "CF-Connecting-IP",
        "X-Real-IP",
        "Forwarded",
    ] {
        let found = cells(&direct, &[(name, "203.0.113.7")]).await;
        assert_eq!(found, [401, 401, 401], "{name}");
    }
    let cloudflare = "trusted_proxies = [\"127.0.0.1\"]\nclient_ip_header = \"CF-Connecting-IP\"\n";
    let behind = World::new(&format!("{cloudflare}{allowed}")).await;
    let spoofed = [
        ("X-Forwarded-For", "203.0.113.7"),
        ("CF-Connecting-IP", "192.0.2.1"),
    ];
    assert_eq!(cells(&behind, &spoofed).await, [401, 401, 401]);
    let real = [("CF-Connecting-IP", "203.0.113.7")];
    assert_eq!(cells(&behind, &real).await, [200, 200, 400]);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_this_host_with_nothing_configured_all_is_open_but_the_copies_themselves() {
    let world = World::new("").await;
    assert_eq!(cells(&world, &[]).await, [200, 401, 400]);
    let (_, body) = json(world.get(DOWNLOAD)).await;
    assert!(
        body["hint"].as_str().unwrap().contains("patina key new"),
        "{body}"
    );
    // A page of another site may have led its own name here.
    assert_eq!(
        cells(&world, &[("Host", "evil.example")]).await,
        [421, 401, 421]
    );
    assert_eq!(
        cells(&world, &[("Host", "localhost:8787")]).await,
        [200, 401, 400]
    );
    // Or send a form.
    for elsewhere in [
        ("Origin", "http://evil.example"),
        ("Sec-Fetch-Site", "cross-site"),
    ] {
        assert_eq!(cells(&world, &[elsewhere]).await[2], 403, "{elsewhere:?}");
    }
    let origin = format!("http://{}", world.address);
    assert_eq!(cells(&world, &[("Origin", &origin)]).await[2], 400);
    // Behind a proxy on this host the client is not here.
    let world = World::new(&from_anywhere("")).await;
    let far = [("X-Forwarded-For", "203.0.113.7")];
    assert_eq!(cells(&world, &far).await, [401, 401, 401]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_added_and_removed_while_the_server_runs() {
    let world = World::new(&key("first", r#""read""#, "")).await;
    let status = async |id: &str| {
        let request = world.get("/status").header("X-Patina-Key", key_text(id));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!((status("first").await, status("second").await), (200, 401));
    let both = key("first", r#""read""#, "") + key("second", r#""read""#, "").as_str();
    world.reconfigure(&both);
    assert_eq!((status("first").await, status("second").await), (200, 200));
    world.reconfigure(&key("second", r#""read""#, ""));
    assert_eq!((status("first").await, status("second").await), (401, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_keys_use_up_a_budget_of_their_own_and_the_right_key_still_opens() {
    let world = World::new(&from_anywhere(&full_key())).await;
    let attempt = async |from: &str, key: &str| {
        let request = world.get("/status").header("X-Forwarded-For", from);
        request.header("X-Patina-Key", key).send().await.unwrap()
    };
    for _ in 0..20 {
        let response = attempt("203.0.113.7", "ptk_all_wrong").await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    }
    let response = attempt("203.0.113.7", "ptk_all_wrong").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(super::retry_after(&response), 300);
    let other = attempt("203.0.113.8", "ptk_all_wrong").await;
    assert_eq!(other.status(), StatusCode::UNAUTHORIZED);
    // A secret of 256 bits is not guessed; whoever has it must not be locked out by who has not.
    let right = attempt("203.0.113.7", &key_text("all")).await;
    assert_eq!(right.status(), StatusCode::OK);
}
